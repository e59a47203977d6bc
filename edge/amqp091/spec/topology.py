"""Classes exchange and queue (sections 1.6 and 1.7; exchange.bind and unbind are RabbitMQ's)."""

import msgspec

from edge.amqp091.spec.base import CLIENT, SERVER, Method
from edge.core.table import Table


class ExchangeDeclare(Method):
    ID = 40 << 16 | 10
    WIRE = "HssbbbbbT"
    SENDER = CLIENT
    ticket: int = 0
    exchange: str = ""
    type: str = "direct"
    passive: bool = False
    durable: bool = False
    auto_delete: bool = False
    internal: bool = False
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class ExchangeDeclareOk(Method):
    ID = 40 << 16 | 11
    SENDER = SERVER


class ExchangeDelete(Method):
    ID = 40 << 16 | 20
    WIRE = "Hsbb"
    SENDER = CLIENT
    ticket: int = 0
    exchange: str = ""
    if_unused: bool = False
    no_wait: bool = False


class ExchangeDeleteOk(Method):
    ID = 40 << 16 | 21
    SENDER = SERVER


class ExchangeBind(Method):
    ID = 40 << 16 | 30
    WIRE = "HsssbT"
    SENDER = CLIENT
    ticket: int = 0
    destination: str = ""
    source: str = ""
    routing_key: str = ""
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class ExchangeBindOk(Method):
    ID = 40 << 16 | 31
    SENDER = SERVER


class ExchangeUnbind(Method):
    ID = 40 << 16 | 40
    WIRE = "HsssbT"
    SENDER = CLIENT
    ticket: int = 0
    destination: str = ""
    source: str = ""
    routing_key: str = ""
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class ExchangeUnbindOk(Method):
    ID = 40 << 16 | 51
    SENDER = SERVER


class QueueDeclare(Method):
    ID = 50 << 16 | 10
    WIRE = "HsbbbbbT"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    passive: bool = False
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class QueueDeclareOk(Method):
    ID = 50 << 16 | 11
    WIRE = "sII"
    SENDER = SERVER
    queue: str = ""
    message_count: int = 0
    consumer_count: int = 0


class QueueBind(Method):
    ID = 50 << 16 | 20
    WIRE = "HsssbT"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    exchange: str = ""
    routing_key: str = ""
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class QueueBindOk(Method):
    ID = 50 << 16 | 21
    SENDER = SERVER


class QueuePurge(Method):
    ID = 50 << 16 | 30
    WIRE = "Hsb"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    no_wait: bool = False


class QueuePurgeOk(Method):
    ID = 50 << 16 | 31
    WIRE = "I"
    SENDER = SERVER
    message_count: int = 0


class QueueDelete(Method):
    ID = 50 << 16 | 40
    WIRE = "Hsbbb"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    if_unused: bool = False
    if_empty: bool = False
    no_wait: bool = False


class QueueDeleteOk(Method):
    ID = 50 << 16 | 41
    WIRE = "I"
    SENDER = SERVER
    message_count: int = 0


class QueueUnbind(Method):
    ID = 50 << 16 | 50
    WIRE = "HsssT"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    exchange: str = ""
    routing_key: str = ""
    arguments: Table = msgspec.field(default_factory=dict)


class QueueUnbindOk(Method):
    ID = 50 << 16 | 51
    SENDER = SERVER
