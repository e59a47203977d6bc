"""What sequences are made of. Names in operations begin with ``MARK``; a lane is one of the stage's channels."""

from dataclasses import dataclass, fields

import msgspec

from edge.amqp091 import spec
from edge.core.properties import BasicProperties


class Operation:
    """Base of all operations; shown by what differs from the defaults."""

    lane: int

    def __repr__(self) -> str:
        shown = [f"{item.name}={_brief(getattr(self, item.name))}" for item in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


def _brief(value: object) -> str:
    """The representation of a method or of properties without what is as by default."""
    if not isinstance(value, msgspec.Struct):
        return repr(value)
    default = type(value)()
    given = [
        f"{name}={getattr(value, name)!r}"
        for name in value.__struct_fields__
        if getattr(value, name) != getattr(default, name)
    ]
    return f"{type(value).__name__}({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Call(Operation):
    """A method that is answered, or not when ``no_wait`` is set."""

    lane: int
    method: spec.Method

    @property
    def moves_messages(self) -> bool:
        """Whether deliveries may follow from it."""
        return not isinstance(self.method, _MOVES_NOTHING)


_MOVES_NOTHING = (
    spec.ExchangeDeclare,
    spec.ExchangeBind,
    spec.ExchangeUnbind,
    spec.QueueDeclare,
    spec.QueueBind,
    spec.QueueUnbind,
    spec.ConfirmSelect,
    spec.TxSelect,
)


@dataclass(frozen=True, repr=False)
class Publish(Operation):
    """``count`` messages alike but for their bodies, in one write. A body is a number, filled up to ``size`` bytes."""

    lane: int
    exchange: str
    routing_key: str
    properties: BasicProperties
    mandatory: bool = False
    size: int = 1
    count: int = 1
    then_wait: bool = False
    """Let ``TTL_MS`` pass, several times over, before anything else is done."""


@dataclass(frozen=True, repr=False)
class Settle(Operation):
    """Acknowledge or refuse the lane's unsettled delivery ``which``, modulo their number; nothing if there is none."""

    lane: int
    kind: str
    """ack, nack or reject."""
    which: int
    multiple: bool = False
    requeue: bool = False

    def method(self, tag: int) -> spec.Method:
        if self.kind == "ack":
            return spec.BasicAck(tag, self.multiple)
        if self.kind == "nack":
            return spec.BasicNack(tag, self.multiple, self.requeue)
        return spec.BasicReject(tag, self.requeue)


@dataclass(frozen=True, repr=False)
class SettleTag(Operation):
    """Acknowledge or refuse a tag that is none: one that was never given, or 0, which with ``multiple`` means all."""

    lane: int
    method: spec.BasicAck | spec.BasicNack | spec.BasicReject


@dataclass(frozen=True, repr=False)
class CloseChannel(Operation):
    """Close the lane's channel in order; it is opened again at its next use."""

    lane: int


@dataclass(frozen=True, repr=False)
class CloseConnection(Operation):
    """Close the lane's connection in order; likewise."""

    lane: int


TTL_MS = 20
WAIT_S = 0.2
