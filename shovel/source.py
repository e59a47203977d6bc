"""Where a shovel takes messages from: the base of all sources, and the queues of this node.

An exchange, or an MQTT topic filter, of this node is bound to a durable queue named ``shovel: <name>``, so that
nothing is lost while the link is down (RabbitMQ's shovels declare an exclusive queue, and lose it all).
"""

import logging
from typing import Final

import msgspec

from edge.broker import Broker
from edge.core.consumer import Consumer, Entry
from edge.core.deadletter import dead_letter_target, dead_lettered
from edge.core.errors import BrokerError
from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.names import DEFAULT_EXCHANGE
from edge.core.properties import headers, replace_headers
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.workers import LinkError
from shovel.config import NO_ACK, ShovelConfig

logger = logging.getLogger("shovel.source")

BUFFER_PREFIX: Final = "shovel: "
PARKED_SUFFIX: Final = ".parked"

HEADER_REASON: Final = "x-parked-reason"
HEADER_BY: Final = "x-parked-by"
HEADER_EXCHANGE: Final = "x-parked-exchange"
HEADER_ROUTING_KEY: Final = "x-parked-routing-key"


class Taker:
    """Who a source gives its messages to: the worker."""

    def room(self) -> int:
        """How many messages it takes now."""
        raise NotImplementedError

    def take(self, entries: list[Entry]) -> None:
        """Take messages, at most ``room()``; each comes back to the source by settle, requeue or park."""
        raise NotImplementedError

    def source_failed(self, error: Exception) -> None:
        """The source gives nothing more."""
        raise NotImplementedError


class Source:
    """Base of all sources. The first item of an entry tells its message apart for as long as the source is open."""

    #: Whether that also holds when the source was closed and opened again.
    stable_sequences = False

    async def open(self, taker: Taker) -> None:
        """Begin to deliver. Raises LinkError and what the connection raises; ConfigError is final."""
        raise NotImplementedError

    def wake(self) -> None:
        """The taker has room again."""
        raise NotImplementedError

    def settle(self, entries: list[Entry]) -> None:
        """The destination has them."""
        raise NotImplementedError

    def requeue(self, entries: list[Entry]) -> None:
        """They go back to where they were, in order."""
        raise NotImplementedError

    def park(self, entries: list[Entry], reason: str) -> None:
        """The destination will never take them: to the dead-letter exchange or ``<queue>.parked``."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Messages that wait at the source and are not in flight, as far as it is known."""
        return 0

    async def close(self) -> None:
        """Stop delivering; what is in flight has been requeued before. Never raises."""
        raise NotImplementedError


class QueueTap(Consumer):
    """The consumer of a shovel on a queue of this node."""

    __slots__ = ("_taker",)

    def __init__(self, taker: Taker, tag: str, queue: Queue, no_ack: bool, priority: int) -> None:
        super().__init__(tag, queue, no_ack=no_ack, priority=priority)
        self._taker = taker

    def capacity(self) -> int:
        return self._taker.room()

    def deliver(self, entries: list[Entry]) -> None:
        self._taker.take(entries)

    def cancelled(self) -> None:
        self._taker.source_failed(LinkError(f"queue '{self.queue.name}' was deleted"))


class LocalSource(Source):
    """A queue of this node, or the buffer queue of an exchange or topic filter."""

    stable_sequences = True

    def __init__(self, broker: Broker, config: ShovelConfig) -> None:
        self._broker = broker
        self._config = config
        self._vhost_name = _vhost_of(config)
        self._tap: QueueTap | None = None
        self._queue: Queue | None = None

    @property
    def queue_name(self) -> str:
        return self._config.source.queue or BUFFER_PREFIX + self._config.name

    def wants_exchange(self, vhost: str, exchange: str) -> bool:
        """Whether the buffer queue has to be bound to this exchange."""
        return vhost == self._vhost_name and exchange == self._config.source.exchange

    def feeds(self, config: ShovelConfig) -> bool:
        """Whether a shovel of the same name reads from the same buffer queue."""
        source = config.source
        return source.is_local and source.exchange is not None and _vhost_of(config) == self._vhost_name

    def unbind(self) -> None:
        """Nothing new goes into the buffer queue: its shovel is gone."""
        vhost = self._broker.vhost(self._vhost_name)
        queue = vhost.queues.get(self.queue_name)
        for binding in vhost.bindings_to(queue) if queue is not None else ():
            self._broker.unbind(
                vhost, binding.source.name, binding.destination.name, binding.routing_key, binding.arguments
            )

    def delete_if_empty(self) -> None:
        """Take the buffer queue away, unless it holds what was confirmed and has not got across."""
        queue = self._broker.vhost(self._vhost_name).queues.get(self.queue_name)
        if queue is None or queue.consumer_count:
            return
        if queue.messages:
            logger.warning(
                "queue '%s' keeps %d messages of a shovel that is gone", queue.name, queue.messages
            )
        else:
            self._broker.remove_queue(queue)

    def prepare(self) -> Queue:
        """Find or declare the queue, and bind the buffer of an exchange. Raises BrokerError."""
        broker, source = self._broker, self._config.source
        vhost = broker.vhost(self._vhost_name)
        queue = vhost.queues.get(self.queue_name)
        if queue is None:
            if source.predeclared and source.queue is not None:
                broker.find_queue(vhost, self.queue_name)
            queue = broker.declare_queue(vhost, self.queue_name, arguments=source.queue_arguments)
        if source.exchange is not None:
            self._bind(vhost, queue, source.exchange, source.exchange_key)
        self._queue = queue
        return queue

    def _bind(self, vhost: VHost, queue: Queue, exchange: str, key: str) -> None:
        for binding in vhost.bindings_to(queue):
            # From before the configuration was changed.
            if (binding.source.name, binding.routing_key) != (exchange, key):
                self._broker.unbind(
                    vhost, binding.source.name, queue.name, binding.routing_key, binding.arguments
                )
        self._broker.bind(vhost, exchange, queue.name, key)

    async def open(self, taker: Taker) -> None:
        source = self._config.source
        try:
            queue = self.prepare()
            priority = source.consumer_arguments.get("x-priority", 0)
            self._tap = QueueTap(
                taker,
                source.consumer_name or f"shovel {self._config.name}",
                queue,
                self._config.ack_mode == NO_ACK,
                priority if isinstance(priority, int) else 0,
            )
            self._broker.consume(self._tap)
        except BrokerError as error:
            raise LinkError(f"source: {error.text}") from error

    def wake(self) -> None:
        if self._tap is not None:
            self._tap.queue.wake()

    def settle(self, entries: list[Entry]) -> None:
        if self._tap is not None and not self._tap.no_ack and not self._tap.queue.deleted:
            self._tap.queue.settle(entries)

    def requeue(self, entries: list[Entry]) -> None:
        if self._tap is not None and not self._tap.no_ack and not self._tap.queue.deleted:
            self._tap.queue.requeue(entries)

    def park(self, entries: list[Entry], reason: str) -> None:
        if self._tap is None or self._tap.queue.deleted:
            return
        queue = self._tap.queue
        park(
            self._broker,
            self._broker.vhost(queue.vhost),
            queue.name,
            queue,
            entries,
            reason,
            self._config.name,
        )
        # In the same loop turn, and so in the same transaction: never lost, never there twice.
        self.settle(entries)

    def waiting(self) -> int:
        return self._queue.messages_ready if self._queue is not None and not self._queue.deleted else 0

    async def close(self) -> None:
        if self._tap is not None and not self._tap.queue.deleted:
            self._broker.cancel(self._tap)
        self._tap = None


def _vhost_of(config: ShovelConfig) -> str:
    uri = config.source.uris[0]
    return uri.vhost if uri.names_vhost else config.vhost


def park(
    broker: Broker,
    vhost: VHost,
    queue_name: str,
    queue: Queue | None,
    entries: list[Entry],
    reason: str,
    shovel: str,
) -> None:
    """Publish messages to the dead-letter exchange of ``queue``, or where that leads nowhere to ``<queue>.parked``."""
    messages = [_with_reason(message, reason, shovel) for _, message, _ in entries]
    target = dead_letter_target(queue) if queue is not None else None
    if queue is not None and target is not None and target in vhost.exchanges:
        now_ms = broker.clock.unix_ms()
        dead = [dead_lettered(queue, target, message, "rejected", now_ms) for message in messages]
        try:
            result = broker.publish(vhost, target, dead)
            messages = [*result.unrouted, *result.rejected]
        except BrokerError:  # an internal exchange: the parking queue takes what it does not
            messages = dead
    if messages:
        name = queue_name + PARKED_SUFFIX
        if name not in vhost.queues:
            broker.declare_queue(vhost, name)
        parked = [
            msgspec.structs.replace(message, exchange=DEFAULT_EXCHANGE, routing_key=name)
            for message in messages
        ]
        broker.publish(vhost, DEFAULT_EXCHANGE, parked)


def _with_reason(message: Message, reason: str, shovel: str) -> Message:
    properties = amqp_properties(message)
    table = headers(properties)
    table[HEADER_REASON] = reason
    table[HEADER_BY] = shovel
    table[HEADER_EXCHANGE] = message.exchange
    table[HEADER_ROUTING_KEY] = message.routing_key
    return msgspec.structs.replace(
        message, properties=replace_headers(properties, table), form=FORM_AMQP091, expires_at_ms=0
    )
