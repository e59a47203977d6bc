"""CC and BCC: headers with further routing keys of a message (RabbitMQ, "Sender-selected Distribution").

A server heeds them when a client publishes, a vhost when a link does.
"""

from typing import Final

import msgspec

from edge.core.message import FORM_AMQP091, Message
from edge.core.properties import BCC_FIELD, CC_FIELD, decode_properties, encode_properties
from edge.core.table import Table

CC: Final = "CC"
BCC: Final = "BCC"


def may_have_keys(message: Message) -> bool:
    """Whether it is worth looking: most messages have none. MQTT's user properties are no lists of keys."""
    properties = message.properties
    return message.form == FORM_AMQP091 and (CC_FIELD in properties or BCC_FIELD in properties)


def further_keys(headers: Table) -> tuple[str, ...]:
    """The routing keys of CC and BCC; what a list holds beside texts is passed over, and so is what is no list."""
    keys: list[str] = []
    for name in (CC, BCC):
        listed = headers.get(name)
        if isinstance(listed, list):
            keys += [key for key in listed if isinstance(key, str)]
    return tuple(keys)


def addressed(message: Message) -> tuple[Message, tuple[str, ...]]:
    """The message as it is delivered, which is without BCC, and its further routing keys."""
    if not may_have_keys(message):
        return message, ()
    properties = decode_properties(message.properties)
    headers = properties.headers or {}
    keys = further_keys(headers)
    if BCC not in headers:
        return message, keys
    properties.headers = {name: value for name, value in headers.items() if name != BCC}
    return msgspec.structs.replace(message, properties=encode_properties(properties)), keys
