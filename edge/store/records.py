"""Records of the topology: what the store keeps of vhosts, exchanges, queues and bindings.

Arguments are kept as AMQP field tables, because those keep the widths of integers that redeclarations and federation
compare.
"""

from typing import Final

import msgspec

from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.core.priority_queue import PriorityQueue
from edge.core.queue import Queue
from edge.core.table import decode_table, encode_table

VHOST: Final = "vhost"
EXCHANGE: Final = "exchange"
QUEUE: Final = "queue"
BINDING: Final = "binding"


class VHostRecord(msgspec.Struct, array_like=True):
    """A vhost with anything set; others have an empty value."""

    limits: dict[str, int]
    metadata: dict[str, object]


class ExchangeRecord(msgspec.Struct, array_like=True):
    """A durable exchange."""

    vhost: str
    name: str
    type: str
    auto_delete: bool
    internal: bool
    arguments: bytes


class QueueRecord(msgspec.Struct, array_like=True):
    """A durable queue; ``kind`` tells who builds it again: "" the broker, "mqtt" the MQTT server."""

    vhost: str
    name: str
    id: int
    auto_delete: bool
    arguments: bytes
    kind: str = ""
    lanes: dict[int, int] = {}
    """Of a queue with priorities: priority -> id of the queue that has its messages; the lowest has ``id``."""

    def ids(self) -> list[int]:
        """All ids under which the store holds its messages."""
        return [self.id, *self.lanes.values()]


class BindingRecord(msgspec.Struct, array_like=True):
    """A binding between durable ends."""

    vhost: str
    source: str
    destination_type: str
    destination: str
    routing_key: str
    arguments: bytes


def exchange_record(exchange: Exchange) -> tuple[str, bytes]:
    """Key and value."""
    record = ExchangeRecord(
        exchange.vhost,
        exchange.name,
        exchange.type,
        exchange.auto_delete,
        exchange.internal,
        encode_table(exchange.arguments),
    )
    return entity_key(exchange.vhost, exchange.name), msgspec.msgpack.encode(record)


def queue_record(queue: Queue) -> tuple[str, bytes]:
    """Key and value."""
    record = QueueRecord(
        queue.vhost,
        queue.name,
        queue.id,
        queue.auto_delete,
        encode_table(queue.arguments),
        queue.kind,
        queue.lane_ids if isinstance(queue, PriorityQueue) else {},
    )
    return entity_key(queue.vhost, queue.name), msgspec.msgpack.encode(record)


def binding_record(binding: Binding) -> tuple[str, bytes]:
    """Key and value."""
    vhost = binding.source.vhost
    record = BindingRecord(
        vhost,
        binding.source.name,
        binding.destination_type,
        binding.destination.name,
        binding.routing_key,
        encode_table(binding.arguments),
    )
    return "\0".join((vhost, binding.source.name, *binding.key)), msgspec.msgpack.encode(record)


def entity_key(vhost: str, name: str) -> str:
    return f"{vhost}\0{name}"


def arguments_of(encoded: bytes) -> dict[str, object]:
    return decode_table(encoded, 0)[0] if encoded else {}
