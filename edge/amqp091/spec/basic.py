"""Classes basic, confirm and tx (sections 1.8 and 1.9; nack and confirm are RabbitMQ's)."""

import msgspec

from edge.amqp091.spec.base import CLIENT, SERVER, Method
from edge.core.table import Table


class BasicQos(Method):
    ID = 60 << 16 | 10
    WIRE = "IHb"
    SENDER = CLIENT
    prefetch_size: int = 0
    prefetch_count: int = 0
    global_: bool = False


class BasicQosOk(Method):
    ID = 60 << 16 | 11
    SENDER = SERVER


class BasicConsume(Method):
    ID = 60 << 16 | 20
    WIRE = "HssbbbbT"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    consumer_tag: str = ""
    no_local: bool = False
    no_ack: bool = False
    exclusive: bool = False
    no_wait: bool = False
    arguments: Table = msgspec.field(default_factory=dict)


class BasicConsumeOk(Method):
    ID = 60 << 16 | 21
    WIRE = "s"
    SENDER = SERVER
    consumer_tag: str = ""


class BasicCancel(Method):
    ID = 60 << 16 | 30
    WIRE = "sb"
    consumer_tag: str = ""
    no_wait: bool = False


class BasicCancelOk(Method):
    ID = 60 << 16 | 31
    WIRE = "s"
    consumer_tag: str = ""


class BasicPublish(Method):
    ID = 60 << 16 | 40
    WIRE = "Hssbb"
    SENDER = CLIENT
    CONTENT = True
    ticket: int = 0
    exchange: str = ""
    routing_key: str = ""
    mandatory: bool = False
    immediate: bool = False


class BasicReturn(Method):
    ID = 60 << 16 | 50
    WIRE = "Hsss"
    SENDER = SERVER
    CONTENT = True
    reply_code: int = 0
    reply_text: str = ""
    exchange: str = ""
    routing_key: str = ""


class BasicDeliver(Method):
    ID = 60 << 16 | 60
    WIRE = "sQbss"
    SENDER = SERVER
    CONTENT = True
    consumer_tag: str = ""
    delivery_tag: int = 0
    redelivered: bool = False
    exchange: str = ""
    routing_key: str = ""


class BasicGet(Method):
    ID = 60 << 16 | 70
    WIRE = "Hsb"
    SENDER = CLIENT
    ticket: int = 0
    queue: str = ""
    no_ack: bool = False


class BasicGetOk(Method):
    ID = 60 << 16 | 71
    WIRE = "QbssI"
    SENDER = SERVER
    CONTENT = True
    delivery_tag: int = 0
    redelivered: bool = False
    exchange: str = ""
    routing_key: str = ""
    message_count: int = 0


class BasicGetEmpty(Method):
    ID = 60 << 16 | 72
    WIRE = "s"
    SENDER = SERVER
    cluster_id: str = ""


class BasicAck(Method):
    ID = 60 << 16 | 80
    WIRE = "Qb"
    delivery_tag: int = 0
    multiple: bool = False


class BasicReject(Method):
    ID = 60 << 16 | 90
    WIRE = "Qb"
    SENDER = CLIENT
    delivery_tag: int = 0
    requeue: bool = False


class BasicRecoverAsync(Method):
    ID = 60 << 16 | 100
    WIRE = "b"
    SENDER = CLIENT
    requeue: bool = False


class BasicRecover(Method):
    ID = 60 << 16 | 110
    WIRE = "b"
    SENDER = CLIENT
    requeue: bool = False


class BasicRecoverOk(Method):
    ID = 60 << 16 | 111
    SENDER = SERVER


class BasicNack(Method):
    ID = 60 << 16 | 120
    WIRE = "Qbb"
    delivery_tag: int = 0
    multiple: bool = False
    requeue: bool = False


class ConfirmSelect(Method):
    ID = 85 << 16 | 10
    WIRE = "b"
    SENDER = CLIENT
    no_wait: bool = False


class ConfirmSelectOk(Method):
    ID = 85 << 16 | 11
    SENDER = SERVER


class TxSelect(Method):
    ID = 90 << 16 | 10
    SENDER = CLIENT


class TxSelectOk(Method):
    ID = 90 << 16 | 11
    SENDER = SERVER


class TxCommit(Method):
    ID = 90 << 16 | 20
    SENDER = CLIENT


class TxCommitOk(Method):
    ID = 90 << 16 | 21
    SENDER = SERVER


class TxRollback(Method):
    ID = 90 << 16 | 30
    SENDER = CLIENT


class TxRollbackOk(Method):
    ID = 90 << 16 | 31
    SENDER = SERVER
