"""Declarations: exchanges, queues and bindings, kept in the store when they are durable, and rebuilt at start."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from edge.core.binding import Binding, Destination
from edge.core.equivalence import check_arguments, check_property
from edge.core.errors import (
    AccessRefused,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)
from edge.core.exchange import Exchange
from edge.core.exchanges import TYPES
from edge.core.host import QueueHost
from edge.core.names import DEFAULT_EXCHANGE, GENERATED_PREFIX, generated_queue_name, is_reserved
from edge.core.priority_queue import PriorityQueue
from edge.core.queue import Queue
from edge.core.queue_arguments import check_queue_arguments, compared_arguments, kind_of
from edge.core.quorum_queue import QuorumQueue
from edge.core.table import is_text
from edge.core.vhost import VHost
from edge.store import records
from edge.store.store import Store, encode

logger = logging.getLogger("edge.topology")

NEXT_QUEUE_ID: Final = ("node", "next-queue-id")
QUEUE_IDS: Final = 256
"""Ids that one commit reserves, since queues that are never written (reply queues, clean sessions) cost none."""

Listener = Callable[[str, object], None]
"""Told of "exchange.created", "exchange.deleted", "binding.created" and "binding.deleted" (names of RabbitMQ's event
exchange) with the Exchange or Binding, and of "policies.changed"."""


class Topology(QueueHost):
    """All vhosts of the node, and every change to what they hold: the broker's base."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.vhosts: dict[str, VHost] = {}
        #: Queue.kind -> class, for the queues that a protocol builds its own way.
        self.queue_kinds: dict[str, type[Queue]] = {
            each.kind: each for each in (Queue, PriorityQueue, QuorumQueue)
        }
        self.listeners: list[Listener] = []
        self._next_queue_id = self._queue_ids_end = 1
        self._exclusive: dict[object, dict[Queue, None]] = {}

    # -- start -----------------------------------------------------------------------------------------------------

    async def recover_topology(self) -> None:
        """Rebuild everything durable from the store; of a queue only its counts are read, whatever its length."""
        for name, value in (await self.store.records(records.VHOST)).items():
            vhost = self.vhosts[name] = VHost(name)
            if value:
                record = msgspec.msgpack.decode(value, type=records.VHostRecord)
                vhost.limits, vhost.metadata = record.limits, record.metadata
        saved = (await self.store.records(NEXT_QUEUE_ID[0])).get(NEXT_QUEUE_ID[1])
        self._next_queue_id = self._queue_ids_end = msgspec.msgpack.decode(saved, type=int) if saved else 1
        for value in (await self.store.records(records.EXCHANGE)).values():
            exchange = msgspec.msgpack.decode(value, type=records.ExchangeRecord)
            self.vhosts[exchange.vhost].add_exchange(
                TYPES[exchange.type](
                    exchange.vhost,
                    exchange.name,
                    auto_delete=exchange.auto_delete,
                    internal=exchange.internal,
                    arguments=records.arguments_of(exchange.arguments),
                )
            )
        known: set[int] = set()
        for value in (await self.store.records(records.QUEUE)).values():
            known |= await self._recover_queue(value)
        for queue_id in await self.store.reader.queue_ids() - known:
            # Of a queue that was not durable, or whose deletion was not finished.
            self.store.drop_queue(queue_id)
        for value in (await self.store.records(records.BINDING)).values():
            self._recover_binding(msgspec.msgpack.decode(value, type=records.BindingRecord))

    async def _recover_queue(self, value: bytes) -> set[int]:
        record = msgspec.msgpack.decode(value, type=records.QueueRecord)
        queue = self.queue_kinds[record.kind](
            self,
            record.vhost,
            record.name,
            record.id,
            auto_delete=record.auto_delete,
            arguments=records.arguments_of(record.arguments),
        )
        queue.recover(await self.store.recover_queue(record.id))
        if isinstance(queue, PriorityQueue):
            queue.lane_ids = record.lanes
            for priority, lane_id in record.lanes.items():
                queue.recover_lane(priority, await self.store.recover_queue(lane_id))
        self.vhosts[record.vhost].add_queue(queue)
        return set(record.ids())

    def _recover_binding(self, record: records.BindingRecord) -> None:
        vhost = self.vhosts[record.vhost]
        source = vhost.exchanges.get(record.source)
        destination: Destination | None = (
            vhost.queues.get(record.destination)
            if record.destination_type == "queue"
            else vhost.exchanges.get(record.destination)
        )
        if source is None or destination is None:
            logger.error(
                "binding from '%s' to %s '%s' in vhost '%s' has lost an end and is left out",
                record.source,
                record.destination_type,
                record.destination,
                record.vhost,
            )
            return
        vhost.bind(source, destination, record.routing_key, records.arguments_of(record.arguments))

    # -- vhosts ----------------------------------------------------------------------------------------------------

    def vhost(self, name: str) -> VHost:
        """Raises NotFound."""
        try:
            return self.vhosts[name]
        except KeyError:
            raise NotFound(f"vhost '{name}' not found") from None

    def add_vhost(self, name: str) -> VHost:
        if name not in self.vhosts:
            self.vhosts[name] = VHost(name)
            self.store.put(records.VHOST, name, b"")
        return self.vhosts[name]

    def set_vhost(
        self, vhost: VHost, *, limits: dict[str, int] | None = None, metadata: dict[str, object] | None = None
    ) -> None:
        """Change a vhost's limits or metadata; None leaves them."""
        vhost.limits = vhost.limits if limits is None else limits
        vhost.metadata = vhost.metadata if metadata is None else metadata
        self.store.put(records.VHOST, vhost.name, encode(records.VHostRecord(vhost.limits, vhost.metadata)))

    # -- exchanges -------------------------------------------------------------------------------------------------

    def declare_exchange(
        self,
        vhost: VHost,
        name: str,
        kind: str,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, object] | None = None,
    ) -> Exchange:
        """Declare an exchange, or find the equivalent one (exchange.declare).

        Raises PreconditionFailed for an unknown type or an inequivalent exchange, AccessRefused for a reserved name.
        """
        arguments = arguments or {}
        if name == DEFAULT_EXCHANGE:
            raise AccessRefused("operation not permitted on the default exchange")
        found = vhost.exchanges.get(name)
        if found is not None:
            check_property(found, "exchange", "type", kind, found.type)
            check_property(found, "exchange", "durable", durable, found.durable)
            check_property(found, "exchange", "auto_delete", auto_delete, found.auto_delete)
            check_property(found, "exchange", "internal", internal, found.internal)
            check_arguments(found, "exchange", arguments, found.compared_arguments)
            return found
        if is_reserved(name):
            raise AccessRefused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
        _check_text("exchange", name, arguments)
        exchange_class = TYPES.get(kind)
        if exchange_class is None:
            raise PreconditionFailed(f"invalid exchange type '{kind}'")
        exchange = exchange_class(
            vhost.name, name, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
        )
        self.add_exchange(vhost, exchange)
        return exchange

    def add_exchange(self, vhost: VHost, exchange: Exchange) -> None:
        """Take a new exchange into its vhost and into the store."""
        vhost.add_exchange(exchange)
        if exchange.durable:
            self.store.put(records.EXCHANGE, *records.exchange_record(exchange))
        self.tell("exchange.created", exchange)

    def delete_exchange(self, vhost: VHost, name: str, if_unused: bool = False) -> None:
        """Delete an exchange and its bindings; one that is not there is no error (RabbitMQ, exchange.delete)."""
        exchange = vhost.exchanges.get(name)
        if exchange is None:
            return
        gone = vhost.remove_exchange(exchange, if_unused)
        if exchange.durable:
            self.store.put(records.EXCHANGE, records.entity_key(vhost.name, name), None)
        self._forget_bindings(vhost, gone)
        self.tell("exchange.deleted", exchange)

    # -- queues ----------------------------------------------------------------------------------------------------

    def declare_queue(
        self,
        vhost: VHost,
        name: str,
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, object] | None = None,
        owner: object | None = None,
        kind: str = "",
        prefix: str = GENERATED_PREFIX,
    ) -> Queue:
        """Declare a queue, or find the equivalent one (queue.declare); an empty name makes one up from ``prefix``.

        Raises PreconditionFailed, ResourceLocked, AccessRefused.
        """
        arguments = arguments or {}
        found = vhost.queues.get(name)
        if found is not None:
            self.check_owner(found, owner)
            if exclusive != found.exclusive:
                raise _locked(found)
            # An exclusive queue is never durable, whatever was asked for.
            check_property(found, "queue", "durable", durable and not exclusive, found.durable)
            check_property(found, "queue", "auto_delete", auto_delete, found.auto_delete)
            check_arguments(found, "queue", arguments, compared_arguments(found.type))
            found.touch()
            return found
        if is_reserved(name):
            raise AccessRefused(f"queue name '{name}' contains reserved prefix 'amq.*'")
        limit = vhost.limits.get("max-queues", -1)
        if 0 <= limit <= len(vhost.queues):
            raise PreconditionFailed(
                f"cannot declare queue '{name}': queue limit in vhost '{vhost.name}' ({limit}) is reached"
            )
        name = name or generated_queue_name(prefix)
        _check_text("queue", name, arguments)
        check_queue_arguments(
            vhost.name, name, arguments, durable=durable, exclusive=exclusive, auto_delete=auto_delete
        )
        queue = self.queue_kinds[kind or kind_of(arguments)](
            self,
            vhost.name,
            name,
            self._take_queue_id(),
            # An exclusive queue goes with its connection, so it has nothing to survive.
            durable=durable and not exclusive,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments,
            owner=owner if exclusive else None,
        )
        self.add_queue(vhost, queue)
        return queue

    def add_queue(self, vhost: VHost, queue: Queue) -> None:
        """Take a new queue into its vhost and into the store."""
        vhost.add_queue(queue)
        if queue.exclusive:
            self._exclusive.setdefault(queue.owner, {})[queue] = None
        if queue.durable:
            self.store.put(records.QUEUE, *records.queue_record(queue))

    def find_queue(self, vhost: VHost, name: str, owner: object | None = None) -> Queue:
        """Passive declaration. Raises NotFound, ResourceLocked."""
        queue = vhost.queue(name)
        self.check_owner(queue, owner)
        return queue

    def check_owner(self, queue: Queue, owner: object | None) -> None:
        """Raises ResourceLocked when the queue is exclusive to another connection."""
        if queue.exclusive and queue.owner is not owner:
            raise _locked(queue)

    def delete_queue(
        self, vhost: VHost, queue: Queue, if_unused: bool = False, if_empty: bool = False
    ) -> int:
        """Delete a queue; return how many messages went with it. Raises PreconditionFailed."""
        if if_unused and queue.consumer_count:
            raise PreconditionFailed(f"queue '{queue.name}' in vhost '{vhost.name}' in use")
        if if_empty and queue.messages_ready:
            raise PreconditionFailed(f"queue '{queue.name}' in vhost '{vhost.name}' not empty")
        count = queue.messages_ready
        self.remove_queue(queue)
        return count

    def remove_queue(self, queue: Queue) -> None:
        """Delete a queue, its messages and its bindings."""
        vhost = self.vhosts[queue.vhost]
        gone = vhost.remove_queue(queue)
        for part in queue.parts():
            part.deleted = True
            self.store.queue_deleted(part)
        self._exclusive.get(queue.owner, {}).pop(queue, None)
        if queue.durable:
            self.store.put(records.QUEUE, records.entity_key(vhost.name, queue.name), None)
        self._forget_bindings(vhost, gone)

    def connection_closed(self, owner: object) -> None:
        """Delete the connection's exclusive queues."""
        for queue in self._exclusive.pop(owner, {}):
            if not queue.deleted:
                self.remove_queue(queue)

    def new_lane(self, queue: PriorityQueue, priority: int) -> int:
        lane_id = queue.lane_ids[priority] = self._take_queue_id()
        if queue.durable:
            self.store.put(records.QUEUE, *records.queue_record(queue))
        return lane_id

    def _take_queue_id(self) -> int:
        # Never used twice, not even when the table of queues was empty at a restart: sequences of a new queue must
        # not meet the rows of an old one.
        queue_id = self._next_queue_id
        self._next_queue_id += 1
        if queue_id == self._queue_ids_end:
            self._queue_ids_end += QUEUE_IDS
            self.store.put(*NEXT_QUEUE_ID, encode(self._queue_ids_end))
        return queue_id

    # -- bindings --------------------------------------------------------------------------------------------------

    def bind(
        self,
        vhost: VHost,
        source: str,
        destination: str,
        routing_key: str,
        arguments: dict[str, object] | None = None,
        *,
        to_exchange: bool = False,
    ) -> None:
        """Bind a queue or an exchange to an exchange; the same binding again changes nothing. Raises NotFound."""
        ends = (
            vhost.exchange(source),
            vhost.exchange(destination) if to_exchange else vhost.queue(destination),
        )
        binding = vhost.bind(*ends, routing_key, arguments or {})
        if binding is None:
            return
        if _is_durable(binding):
            self.store.put(records.BINDING, *records.binding_record(binding))
        if remembered := binding.source.remembered():
            vhost.deliver(binding.destination, remembered)
        self.tell("binding.created", binding)

    def unbind(
        self,
        vhost: VHost,
        source: str,
        destination: str,
        routing_key: str,
        arguments: dict[str, object] | None = None,
        *,
        to_exchange: bool = False,
    ) -> None:
        """Undo ``bind``; what is not there is no error (RabbitMQ, queue.unbind). Raises AccessRefused."""
        if source == DEFAULT_EXCHANGE:
            raise AccessRefused("operation not permitted on the default exchange")
        binding = self._find_binding(vhost, source, destination, routing_key, arguments, to_exchange)
        if binding is not None:
            vhost.unbind(binding)
            self._forget_bindings(vhost, [binding])

    def is_bound(
        self,
        vhost: VHost,
        source: str,
        queue: str,
        routing_key: str,
        arguments: dict[str, object] | None = None,
    ) -> bool:
        """Whether a queue is bound so; not if it or the exchange is not there."""
        return self._find_binding(vhost, source, queue, routing_key, arguments, False) is not None

    def _find_binding(
        self,
        vhost: VHost,
        source: str,
        destination: str,
        routing_key: str,
        arguments: dict[str, object] | None,
        to_exchange: bool,
    ) -> Binding | None:
        exchange = vhost.exchanges.get(source)
        found: Destination | None = (
            vhost.exchanges.get(destination) if to_exchange else vhost.queues.get(destination)
        )
        if exchange is None or found is None:
            return None
        return vhost.find_binding(exchange, found, routing_key, arguments or {})

    def _forget_bindings(self, vhost: VHost, gone: list[Binding]) -> None:
        for binding in gone:
            if _is_durable(binding):
                self.store.put(records.BINDING, records.binding_record(binding)[0], None)
            self.tell("binding.deleted", binding)
            source = binding.source
            if source.auto_delete and not source.bindings and vhost.exchanges.get(source.name) is source:
                self.delete_exchange(vhost, source.name)

    def tell(self, event: str, subject: object) -> None:
        """Let listeners know."""
        for listener in self.listeners:
            listener(event, subject)


def _is_durable(binding: Binding) -> bool:
    return binding.source.durable and binding.destination.durable


def _check_text(noun: str, name: str, arguments: dict[str, object]) -> None:
    # Arguments name exchanges and routing keys, and no message with a key that is no text can be stored.
    if not is_text(arguments):
        raise PreconditionFailed(f"arguments of {noun} '{name}' are not UTF-8 text")


def _locked(queue: Queue) -> ResourceLocked:
    return ResourceLocked(
        f"cannot obtain exclusive access to locked queue '{queue.name}' in vhost '{queue.vhost}'. It could be"
        " originally declared on another connection or the exclusive property value does not match that of the"
        " original declaration."
    )
