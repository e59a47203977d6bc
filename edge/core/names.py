"""Names that the protocols give meaning to."""

import secrets
from typing import Final

DEFAULT_VHOST: Final = "/"
DEFAULT_EXCHANGE: Final = ""
MQTT_EXCHANGE: Final = "amq.topic"
"""The exchange that MQTT topics are routing keys of (RabbitMQ's ``mqtt.exchange`` default)."""

MQTT_QUEUE_PREFIX: Final = "mqtt-subscription-"
"""How the queue of an MQTT session is named: RabbitMQ's names."""

PREDECLARED: Final = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.topic": "topic",
}
"""Exchanges of every vhost: name -> type (AMQP 0-9-1, section 3.1.3; ``amq.match`` is its other name for headers)."""

CLASSIC: Final = "classic"
QUORUM: Final = "quorum"
"""Types of queues (``x-queue-type``)."""

NAME_BYTES_MAX: Final = 255
"""A name is a short string on the AMQP wire."""


def is_reserved(name: str) -> bool:
    """Whether only the node itself may declare the name (AMQP 0-9-1, queue.declare and exchange.declare)."""
    return name.startswith("amq.")


GENERATED_PREFIX: Final = "amq.gen-"


def generated_queue_name(prefix: str = GENERATED_PREFIX) -> str:
    """A name for a queue that was declared without one."""
    return prefix + secrets.token_urlsafe(16)
