"""A vhost: the registry of exchanges, queues and bindings, and the routing of what is published.

Knows nothing of disks or connections: the broker keeps what is declared here.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from edge.core.binding import Binding, BindingKey, Destination, arguments_key
from edge.core.carbon import addressed, may_have_keys
from edge.core.errors import AccessRefused, NotFound, PreconditionFailed
from edge.core.exchange import Exchange, Route
from edge.core.exchanges import TYPES
from edge.core.message import Message
from edge.core.names import DEFAULT_EXCHANGE, PREDECLARED, is_reserved
from edge.core.queue import Queue

NO_MESSAGES: list[Message] = []
DISK_FULL: Final = "disk-full"
"""Why a message never got into a queue: MQTT 5 publishers are told, and QoS 0 is at most once."""

Routed = tuple[Message, Route]
"""A message and the queues that it goes to."""


class PublishResult:
    """What became of a run of published messages."""

    __slots__ = ("durable", "rejected", "unrouted")

    def __init__(self) -> None:
        #: Messages that no queue took, in order.
        self.unrouted: list[Message] = NO_MESSAGES
        #: Messages that a full queue did not take, in order: their publisher is told no, other queues may have them.
        self.rejected: list[Message] = NO_MESSAGES
        #: Whether a confirm has to wait for the commit that holds the messages.
        self.durable = False

    def reject(self, messages: list[Message]) -> None:
        """Note what a queue did not take; another one may have refused it already."""
        known = {id(message) for message in self.rejected}
        self.rejected = [*self.rejected, *[message for message in messages if id(message) not in known]]


class VHost:
    """Exchanges, queues and the bindings between them."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: "max-queues", "max-connections"; negative or missing: no limit
        self.limits: dict[str, int] = {}
        #: "description", "tags", "default_queue_type"
        self.metadata: dict[str, object] = {}
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        #: Bindings by their destination, to find them when it goes.
        self._bindings_to: dict[Destination, dict[tuple[str, BindingKey], Binding]] = {}
        #: Exchanges that may remember routes.
        self._routed: dict[Exchange, None] = {}
        for exchange_name, kind in PREDECLARED.items():
            self.exchanges[exchange_name] = TYPES[kind](name, exchange_name)

    # -- look up ---------------------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """Raises NotFound."""
        try:
            return self.exchanges[name]
        except KeyError:
            raise NotFound(f"no exchange '{name}' in vhost '{self.name}'") from None

    def queue(self, name: str) -> Queue:
        """Raises NotFound."""
        try:
            return self.queues[name]
        except KeyError:
            raise NotFound(f"no queue '{name}' in vhost '{self.name}'") from None

    def bindings(self) -> Iterator[Binding]:
        """All bindings but those of the default exchange, which follow from the queues' names."""
        for exchange in self.exchanges.values():
            yield from exchange.bindings.values()

    def bindings_to(self, destination: Destination) -> list[Binding]:
        return list(self._bindings_to.get(destination, {}).values())

    # -- routing ---------------------------------------------------------------------------------------------------

    def publish(self, exchange_name: str, messages: list[Message], publisher: object = None) -> PublishResult:
        """Route messages in order and enqueue them, runs of equal routes at once.

        Raises NotFound, and AccessRefused for an internal exchange, before anything is enqueued.
        """
        exchange = self.target(exchange_name)
        result = PublishResult()
        routes = exchange.routes
        run: list[Message] = []
        run_route: Route | None = None
        key: str | None = None
        for message in messages:
            if message.routing_key == key:
                run.append(message)
                continue
            key = message.routing_key
            route = routes.get(key)
            if route is None:
                route = self.route(exchange, message)
                # Routes that depend on more than the key are not remembered.
                key = key if key in routes else None
            if route is not run_route and run_route is not None and route != run_route:
                _enqueue(run, run_route, publisher, result)
                run = []
            run_route = route
            run.append(message)
        if run_route is not None:
            _enqueue(run, run_route, publisher, result)
        return result

    def target(self, exchange_name: str) -> Exchange:
        """The exchange, if it may be published to. Raises NotFound, and AccessRefused for an internal one."""
        exchange = self.exchange(exchange_name)
        if exchange.internal:
            raise AccessRefused(
                f"cannot publish to internal exchange '{exchange_name}' in vhost '{self.name}'"
            )
        return exchange

    def routed(
        self, exchange_name: str, messages: list[Message], copies: tuple[str, ...] = ()
    ) -> list[Routed]:
        """Route messages for a later ``deliver``, also by further routing keys (CC and BCC).

        Raises as ``publish`` does.
        """
        exchange = self.target(exchange_name)
        return [
            (message, self.route_keys(exchange, message, [message.routing_key, *copies]))
            for message in messages
        ]

    def deliver_routed(self, routed: list[Routed], publisher: object = None) -> PublishResult:
        """Enqueue messages where they were routed to; a queue that is gone since then takes none."""
        result = PublishResult()
        for message, route in routed:
            _enqueue([message], tuple([queue for queue in route if not queue.deleted]), publisher, result)
        return result

    def forward(self, exchange_name: str, messages: list[Message]) -> PublishResult:
        """Publish what a link brings, by CC and BCC too, as RabbitMQ routes whatever is published. As ``publish``."""
        if not any([may_have_keys(message) for message in messages]):
            return self.publish(exchange_name, messages)
        exchange = self.target(exchange_name)
        routed: list[Routed] = []
        given: dict[int, Message] = {}
        for message in messages:
            sent, keys = addressed(message)
            given[id(sent)] = message
            routed.append((sent, self.route_keys(exchange, sent, [sent.routing_key, *keys])))
        result = self.deliver_routed(routed)
        # Who forwards tells messages apart by identity.
        result.unrouted = [given[id(message)] for message in result.unrouted]
        result.rejected = [given[id(message)] for message in result.rejected]
        return result

    def pass_on(self, exchange_name: str, messages: list[Message], publisher: object = None) -> None:
        """Publish on a full disk what is at most once: to those who take it without the disk; others count it.

        Raises as ``publish`` does.
        """
        exchange = self.target(exchange_name)
        for message in messages:
            for queue in self.route(exchange, message):
                if queue.needs_disk_for(message):
                    queue.count_dropped(DISK_FULL, 1)
                else:
                    queue.enqueue([message], publisher)

    def count_refused(self, exchange_name: str, messages: list[Message]) -> None:
        """Count what a full disk has refused with the queues that it would have gone to. Raises as ``publish`` does."""
        exchange = self.target(exchange_name)
        for message in messages:
            for queue in self.route(exchange, message):
                queue.count_dropped(DISK_FULL, 1)

    def route(self, exchange: Exchange, message: Message) -> Route:
        """The queues that a message published to the exchange goes to."""
        self._routed[exchange] = None
        if exchange.name != DEFAULT_EXCHANGE:
            return exchange.resolve(message, self.exchanges)
        queue = self.queues.get(message.routing_key)
        if queue is None:
            return ()
        route = exchange.routes[message.routing_key] = (queue,)
        return route

    def route_keys(self, exchange: Exchange, message: Message, keys: list[str]) -> Route:
        """Where a message goes that has several routing keys; each queue once."""
        if len(keys) == 1:
            return self.route(exchange, message)
        copies = [msgspec.structs.replace(message, routing_key=key) for key in keys]
        if exchange.name != DEFAULT_EXCHANGE:
            return exchange.resolve(copies[0], self.exchanges, copies[1:])
        return tuple(dict.fromkeys([queue for copy in copies for queue in self.route(exchange, copy)]))

    def deliver(self, destination: Destination, messages: list[Message]) -> None:
        """Enqueue messages that an exchange remembers for a destination which has just been bound to it."""
        if isinstance(destination, Queue):
            destination.enqueue(messages)
            return
        for message in messages:
            for queue in self.route(destination, message):
                queue.enqueue([message])

    def forget_routes(self) -> None:
        """Bindings or queues have changed."""
        for exchange in self._routed:
            exchange.routes.clear()
        self._routed.clear()

    # -- exchanges -------------------------------------------------------------------------------------------------

    def add_exchange(self, exchange: Exchange) -> None:
        self.exchanges[exchange.name] = exchange
        # It may be the alternate exchange of another one.
        self.forget_routes()

    def remove_exchange(self, exchange: Exchange, if_unused: bool = False) -> list[Binding]:
        """Remove an exchange and return the bindings that went with it.

        Raises AccessRefused for a predeclared exchange, PreconditionFailed when in use.
        """
        if exchange.name in PREDECLARED or is_reserved(exchange.name):
            raise AccessRefused(
                f"deletion of system exchange '{exchange.name}' in vhost '{self.name}' not allowed"
            )
        if if_unused and exchange.bindings:
            raise PreconditionFailed(f"exchange '{exchange.name}' in vhost '{self.name}' in use")
        del self.exchanges[exchange.name]
        # An exchange may be bound to itself.
        gone = list(dict.fromkeys([*exchange.bindings.values(), *self.bindings_to(exchange)]))
        for binding in gone:
            self.unbind(binding)
        self.forget_routes()
        return gone

    # -- queues ----------------------------------------------------------------------------------------------------

    def add_queue(self, queue: Queue) -> None:
        # No route changes: what routed nowhere by the default exchange was not remembered.
        self.queues[queue.name] = queue

    def remove_queue(self, queue: Queue) -> list[Binding]:
        """Remove a queue and return the bindings that went with it."""
        del self.queues[queue.name]
        queue.deleted = True
        gone = self.bindings_to(queue)
        for binding in gone:
            self.unbind(binding)
        self.forget_routes()
        return gone

    # -- bindings --------------------------------------------------------------------------------------------------

    def find_binding(
        self, source: Exchange, destination: Destination, routing_key: str, arguments: dict[str, object]
    ) -> Binding | None:
        kind = "queue" if isinstance(destination, Queue) else "exchange"
        return source.bindings.get((kind, destination.name, routing_key, arguments_key(arguments)))

    def bind(
        self, source: Exchange, destination: Destination, routing_key: str, arguments: dict[str, object]
    ) -> Binding | None:
        """Bind; returns None when the same binding is there already.

        Raises AccessRefused for the default exchange, PreconditionFailed for arguments that do not suit the source.
        """
        if DEFAULT_EXCHANGE in (source.name, None if isinstance(destination, Queue) else destination.name):
            raise AccessRefused("operation not permitted on the default exchange")
        if self.find_binding(source, destination, routing_key, arguments) is not None:
            return None
        source.check_binding(routing_key, arguments)
        kind = "queue" if isinstance(destination, Queue) else "exchange"
        binding = Binding(source, destination, kind, routing_key, arguments)
        source.add(binding)
        self._bindings_to.setdefault(destination, {})[(source.name, binding.key)] = binding
        self.forget_routes()
        return binding

    def unbind(self, binding: Binding) -> None:
        """Remove a binding that is there."""
        binding.source.remove(binding)
        to_destination = self._bindings_to[binding.destination]
        del to_destination[(binding.source.name, binding.key)]
        if not to_destination:
            del self._bindings_to[binding.destination]
        self.forget_routes()


def _enqueue(run: list[Message], route: Route, publisher: object, result: PublishResult) -> None:
    for queue in route:
        if queue.enqueue(run, publisher):
            result.durable = True
        if queue.limits is not None and queue.limits.refused:
            result.reject(queue.limits.refused)
    if not route:
        if result.unrouted is NO_MESSAGES:
            result.unrouted = []
        result.unrouted += run
