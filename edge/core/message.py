"""The message that every protocol publishes and delivers, and its form on disk.

Properties travel undecoded in the encoding of the protocol that published them; only a crossing of protocols
converts (RabbitMQ's message containers do the same). So a message that comes and goes by the same protocol costs no
decoding, and routing reads nothing but ``exchange`` and ``routing_key``.
"""

from collections.abc import Callable
from typing import Final

import msgspec

FORM_AMQP091: Final = 0
"""``properties`` holds the property flags and list of an AMQP 0-9-1 content header (section 2.3.5.2)."""
FORM_MQTT: Final = 1
"""``properties`` holds MQTT 5 PUBLISH properties without their length; empty from MQTT 3.1.1."""

PERSISTENT: Final = 1
"""AMQP delivery mode 2, MQTT QoS 1 and 2."""
QOS2: Final = 2
"""Published at MQTT QoS 2: may be delivered at QoS 2."""
RETAIN: Final = 4
"""Published with MQTT's RETAIN; shown to subscribers that asked for "retain as published"."""
MANDATORY: Final = 8
"""AMQP ``mandatory``: comes back by basic.return when no queue takes it."""


class Message(msgspec.Struct, array_like=True, gc=False):
    """One message, immutable once published and shared by all queues that hold it.

    A msgspec struct rather than a class with slots: it is built in a quarter of the time, is not tracked by the
    garbage collector, and is written to the store as a MessagePack array with no step between. New fields go to the
    end and have a default, so that older stores stay readable.
    """

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    form: int = FORM_AMQP091
    flags: int = 0
    published_at_ms: int = 0
    """Elapsed time of the node (``Clock.elapsed_ms``) when it was read."""
    expires_at_ms: int = 0
    """Elapsed time at which it expires; 0: never."""
    priority: int = 0


Converter = Callable[[Message], bytes]

_to_amqp: dict[int, Converter] = {FORM_AMQP091: lambda message: message.properties}


def register_form(form: int, to_amqp: Converter) -> None:
    """Tell how properties of ``form`` become AMQP 0-9-1 properties, the form in which the core looks at headers."""
    _to_amqp[form] = to_amqp


def amqp_properties(message: Message) -> bytes:
    """Return the message's properties as an AMQP 0-9-1 property list, converted when it came by another protocol."""
    if message.form == FORM_AMQP091:
        return message.properties
    return _to_amqp[message.form](message)
