"""Sequences of operations, drawn by hypothesis: some exchanges and queues, then what clients do with them.

Most operations mean something that is there, or nothing but refusals would be compared. Names are few, so that they
meet. What the brokers are known to do differently is not drawn; each place says which row of docs/differences.md
that is.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from edge.amqp091 import spec
from edge.core.properties import BasicProperties
from edge.core.table import Decimal, Float32, Int8, Int16, Int32, Table, Timestamp, UInt8, UInt16, UInt32
from tests.differential.operations import (
    TTL_MS,
    Call,
    CloseChannel,
    CloseConnection,
    Operation,
    Publish,
    Settle,
    SettleTag,
)

T = TypeVar("T")

OPERATIONS_MAX = 25
KEYS = ("a", "b", "a.b", "a.b.c")
PATTERNS = (*KEYS, "#", "*", "a.#", "*.b", "a.*", "#.c")
TYPES = ("direct", "fanout", "topic", "headers")
TAGS = ("t0", "t1", "t2")
NOWHERE = "~nowhere"
"""An exchange or queue that is never declared."""
FRAMES_BYTES = 140_000
"""More than one frame takes, at the frame_max of both brokers."""
HOUR_MS = 3_600_000
ARGUMENTS = (
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-queue-mode",
    "x-unheard-of",
)
ODD_HEADERS = (
    Int8(-1),
    UInt8(200),
    Int16(-300),
    UInt16(40_000),
    Int32(5),
    UInt32(1 << 31),
    1.5,
    Float32(1.5),
    Decimal(2, 314),
    Timestamp(1_700_000_000),
    b"\x00\xff",
    True,
    None,
    ["a", [1, {"b": None}]],
    {"a": {"b": Int16(1)}},
)
ODD_VALUES = (-1, 0, 256, 1 << 40, "soon", "", True, None, 1.5, ["a"], {"a": 1}, "classic")


@functools.cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


class Chooser:
    """Draws choices. All are numbers of strategies that are built once: to build one takes longer than to play an
    operation. Shrinks to the first of what there is to choose from, and to what is usual."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def below(self, count: int) -> int:
        return self._draw(_below(count))

    def one(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def once_in(self, times: int) -> bool:
        return self.below(times) == times - 1

    def either(self) -> bool:
        return self.below(2) == 1

    def some(self, items: Sequence[T], most: int) -> list[T]:
        """Up to ``most`` different ones."""
        return list(dict.fromkeys([self.one(items) for _ in range(self.below(most + 1))]))

    def table(self, entries: dict[str, Callable[[], object]], most: int) -> Table:
        """Up to ``most`` of the entries, which draw their values."""
        return {name: entries[name]() for name in self.some(list(entries), most)}


class Author:
    """Writes one sequence; knows what there is to be used.

    A queue of RabbitMQ dead-letters on its own, beside the channels and other queues: what reaches a queue from
    several of these at once comes in no certain order. So a sequence either has one queue that dead-letters, to where
    others may publish, or is a chain: many do, but no message is in two of them at a time. Several messages are
    published in one write only where none does.
    """

    def __init__(self, choose: Chooser) -> None:
        self._choose = choose
        self._queues = [f"~q{number}" for number in range(1 + choose.below(3))]
        self._is_chain = choose.once_in(4)
        self._has_quorum = choose.once_in(8)
        #: Queues that may be given a dead-letter exchange.
        self._dying = self._queues if self._is_chain else self._queues[: choose.below(2)]
        exchanges = 0 if self._is_chain else choose.below(4)
        self._exchanges = {f"~x{number}": choose.one(TYPES) for number in range(exchanges)}
        self._operations: list[tuple[int, Callable[[], Operation]]] = [
            (8, self._publish),
            (5, self._settle),
            (3, self._consume),
            (2, self._get),
            (1, lambda: Call(self._lane(), spec.ConfirmSelect())),
            (1, lambda: self._declare_queue(choose.one(self._queues))),
            (1, lambda: self._declare_exchange(choose.one(list(self._exchanges) or [NOWHERE]))),
            (1, self._bind),
            (1, self._unbind),
            (4, self._rare),
        ]
        self._kinds = [kind for weight, kind in self._operations for _ in range(weight)]

    def write(self) -> list[Operation]:
        choose = self._choose
        operations: list[Operation] = [self._declare_exchange(name) for name in self._exchanges]
        operations += [self._declare_queue(name) for name in self._queues]
        operations += [self._bind() for _ in range(choose.below(5))]
        # Not a list of any length, which hypothesis likes short.
        operations += [choose.one(self._kinds)() for _ in range(1 + choose.below(OPERATIONS_MAX))]
        return operations

    # -- names -----------------------------------------------------------------------------------------------------

    def _lane(self) -> int:
        return self._choose.one((0, 0, 0, 1, 1, 2))

    def _queue(self) -> str:
        if self._choose.once_in(20):
            return self._choose.one((NOWHERE, ""))
        return self._choose.one(self._queues)

    def _exchange(self) -> str:
        if self._choose.once_in(20):
            return self._choose.one((NOWHERE, NOWHERE if self._is_chain else "amq.fanout"))
        return self._choose.one(("", *self._exchanges))

    def _dead_letter_key(self) -> str:
        return self._choose.one((*self._queues, *KEYS))

    # -- declarations ----------------------------------------------------------------------------------------------

    def _declare_exchange(self, name: str) -> Call:
        choose = self._choose
        arguments: Table = {}
        if choose.once_in(4):
            arguments["alternate-exchange"] = choose.one((*self._exchanges, NOWHERE, 5))
        kind = self._exchanges.get(name, "direct")
        method = spec.ExchangeDeclare(
            exchange=choose.one((name, "amq.mine", "amq.topic")) if choose.once_in(40) else name,
            type=choose.one(TYPES) if choose.once_in(20) else kind,
            durable=choose.either(),
            auto_delete=choose.once_in(8),
            internal=choose.once_in(10),
            no_wait=choose.once_in(20),
            arguments=arguments,
        )
        return Call(0, method)

    def _declare_queue(self, name: str) -> Call:
        choose = self._choose
        is_quorum = self._has_quorum and choose.once_in(2)
        exclusive = choose.once_in(40 if is_quorum else 6)
        method = spec.QueueDeclare(
            queue=choose.one(("", "amq.mine")) if choose.once_in(40) else name,
            durable=is_quorum != choose.once_in(40 if is_quorum else 2),
            exclusive=exclusive,
            auto_delete=choose.once_in(40 if is_quorum else 8),
            no_wait=choose.once_in(20),
            arguments=self._queue_arguments(name),
        )
        if is_quorum:
            method.arguments["x-queue-type"] = "quorum"
            # RabbitMQ lets in more than the limit, and counts the active consumer alone: the rows "a quorum queue
            # that rejects" and "how many consumers".
            method.arguments.pop("x-overflow", None)
            method.arguments.pop("x-single-active-consumer", None)
        if choose.once_in(20):
            # Wrong ones are refused, others are not heeded.
            method.arguments[choose.one(ARGUMENTS)] = choose.one(ODD_VALUES)
        return Call(self._lane() if exclusive else 0, method)

    def _queue_arguments(self, name: str) -> Table:
        one = self._choose.one
        entries: dict[str, Callable[[], object]] = {
            "x-message-ttl": lambda: one((0, 0, HOUR_MS)),
            "x-max-length": lambda: one((0, 1, 2, 3)),
            "x-max-length-bytes": lambda: one((0, 1, 10, 25)),
            "x-overflow": lambda: one(("drop-head", "reject-publish", "reject-publish-dlx")),
            "x-max-priority": lambda: one((1, 5, 255)),
            "x-single-active-consumer": self._choose.either,
            "x-expires": lambda: HOUR_MS,
        }
        if name in self._dying:
            entries |= {
                "x-delivery-limit": lambda: one((0, 1, 2)),
                "x-dead-letter-exchange": lambda: one(("", *self._exchanges, NOWHERE)),
                "x-dead-letter-routing-key": self._dead_letter_key,
            }
        arguments = self._choose.table(entries, 4)
        if "x-dead-letter-routing-key" in arguments:
            # Alone it would be refused.
            arguments.setdefault("x-dead-letter-exchange", "")
        return arguments

    def _bind(self) -> Call:
        return self._binding(spec.QueueBind, spec.ExchangeBind)

    def _unbind(self) -> Call:
        return self._binding(spec.QueueUnbind, spec.ExchangeUnbind)

    def _binding(
        self,
        of_queue: type[spec.QueueBind | spec.QueueUnbind],
        of_exchange: type[spec.ExchangeBind | spec.ExchangeUnbind],
    ) -> Call:
        choose = self._choose
        source = choose.one(list(self._exchanges) or ["amq.topic"])
        if choose.once_in(10):
            source = self._exchange()
        key = choose.one(PATTERNS)
        arguments = self._binding_arguments() if self._exchanges.get(source) == "headers" else {}
        if choose.once_in(4):
            return Call(0, of_exchange(0, self._exchange(), source, key, choose.once_in(20), arguments))
        method = of_queue(0, self._queue(), source, key, arguments=arguments)
        if isinstance(method, spec.QueueBind):
            method.no_wait = choose.once_in(20)
        return Call(self._lane(), method)

    def _binding_arguments(self) -> Table:
        one = self._choose.one
        return self._choose.table(
            {
                "x-match": lambda: one(("all", "any", "all-with-x", "any-with-x")),
                "h": lambda: one((1, "v")),
                "g": lambda: "v",
                "x-h": lambda: 1,
            },
            3,
        )

    # -- messages --------------------------------------------------------------------------------------------------

    def _publish(self) -> Publish:
        choose = self._choose
        exchange = self._exchange()
        key = choose.one(KEYS if exchange else self._queues)
        is_large = choose.once_in(50)
        return Publish(
            self._lane(),
            exchange,
            key,
            self._properties(),
            mandatory=choose.once_in(4),
            # Several large ones fill a consumer's output: the row "a TTL of 0".
            size=FRAMES_BYTES if is_large else choose.one((1, 1, 10, 0)),
            count=1 if self._dying or is_large else choose.one((1, 1, 2, 3)),
        )

    def _publish_and_wait(self) -> Publish:
        """Something expires while nothing else is done: when exactly would be open."""
        exchange = self._exchange()
        key = self._choose.one(KEYS if exchange else self._queues)
        properties = self._properties()
        properties.expiration, properties.priority = str(TTL_MS), None
        return Publish(self._lane(), exchange, key, properties, then_wait=True)

    def _properties(self) -> BasicProperties:
        one = self._choose.one
        given = self._choose.table(
            {
                "headers": self._headers,
                # Others are refused by RabbitMQ 3.10 and taken by later versions.
                "delivery_mode": lambda: one((1, 2)),
                "priority": lambda: one((0, 1, 2, 9, 255)),
                "expiration": lambda: one(("0", "0", "0", str(HOUR_MS), "soon")),
                "user_id": lambda: one(("guest", "guest", "guest", "bob")),
                "correlation_id": lambda: "c",
                "timestamp": lambda: 1_700_000_000,
                "type": lambda: "t",
            },
            3,
        )
        if given.get("expiration") == "0":
            # The row "a message with a TTL and a priority".
            given.pop("priority", None)
        return BasicProperties(**given)  # type: ignore[arg-type]

    def _headers(self) -> Table:
        one = self._choose.one
        return self._choose.table(
            {
                "h": lambda: one((1, "v")),
                "g": lambda: one(("v", None)),
                "x-h": lambda: 1,
                "odd": lambda: one(ODD_HEADERS),
                # A list of anything but tables ends a queue of RabbitMQ 3.10 when it dead-letters the message.
                "x-death": lambda: one(("none", [], [{"queue": "~q0", "count": 7}])),
                **({} if self._is_chain else {"CC": self._copies, "BCC": self._copies}),
            },
            3,
        )

    def _copies(self) -> object:
        """Routing keys of a CC or BCC header; once in a while none of a list."""
        if self._choose.once_in(10):
            return "a"
        return self._choose.some((*self._queues, *KEYS), 2)

    def _get(self) -> Call:
        if self._has_quorum:
            # Unacknowledged, it would be counted as a consumer: the row "how many consumers".
            return Call(self._choose.one((0, 2)), spec.BasicGet(0, self._queue(), True))
        return Call(self._lane(), spec.BasicGet(0, self._queue(), self._choose.once_in(3)))

    def _consume(self) -> Call:
        choose = self._choose
        # When a connection ends, what one of its channels had may still go to another, and is lost where that does
        # not acknowledge, or counts once more: the row "a connection that ends".
        lane = choose.one((0, 0, 2) if self._has_quorum else (0, 0, 1, 2))
        method = spec.BasicConsume(
            queue=self._queue(),
            consumer_tag=choose.one(TAGS),
            no_ack=lane == 2 and choose.either(),
            exclusive=choose.once_in(12),
            no_wait=choose.once_in(20),
            arguments={"x-priority": choose.one((-1, 1, 5, 5, "high"))} if choose.once_in(6) else {},
        )
        return Call(lane, method)

    def _settle(self) -> Settle:
        choose = self._choose
        kind = choose.one(("ack", "nack", "reject"))
        return Settle(
            self._lane(),
            kind,
            choose.below(6),
            multiple=kind in (("ack",) if self._is_chain else ("ack", "nack")) and choose.either(),
            requeue=kind != "ack" and choose.either(),
        )

    def _rare(self) -> Operation:
        """What a client does now and then, right or wrong."""
        choose = self._choose
        tag, multiple, requeue = choose.one((0, 1_000)), choose.either(), choose.either()
        rare: tuple[Callable[[], spec.Method | Operation], ...] = (
            lambda: spec.BasicCancel(choose.one(TAGS)),
            lambda: spec.BasicQos(0, choose.one((0, 1, 2)), choose.either()),
            lambda: spec.QueuePurge(0, self._queue()),
            lambda: spec.QueueDelete(0, self._queue(), choose.either(), choose.either()),
            lambda: spec.ExchangeDelete(0, self._exchange(), choose.either()),
            lambda: spec.QueueDeclare(queue=self._queue(), passive=True),
            lambda: spec.ExchangeDeclare(exchange=self._exchange(), passive=True),
            lambda: spec.BasicRecover(True),
            lambda: spec.BasicRecoverAsync(True),
            spec.TxSelect,
            spec.TxCommit,
            spec.TxRollback,
            lambda: spec.QueueDeclare(),
            lambda: spec.ChannelFlow(choose.either()),
            lambda: spec.BasicQos(1, 0, False),
            lambda: spec.BasicRecover(False),
            lambda: SettleTag(self._lane(), spec.BasicAck(tag, multiple)),
            lambda: SettleTag(self._lane(), spec.BasicNack(tag, multiple, requeue)),
            lambda: SettleTag(self._lane(), spec.BasicReject(tag, requeue)),
            lambda: CloseChannel(self._lane()),
            lambda: CloseConnection(self._lane()),
            self._publish_and_wait,
        )
        operation = choose.one(rare)()
        return operation if isinstance(operation, Operation) else Call(self._lane(), operation)


@st.composite
def sequences(draw: st.DrawFn) -> list[Operation]:
    """A sequence: declarations and bindings, then what clients do."""
    return Author(Chooser(draw)).write()
