"""Base of the exchange types (``edge.core.exchanges``): which queues a message goes to.

Each exchange keeps a cache from routing key to queues, so that routing a message is one look-up; any change of
bindings in the vhost empties the caches. Types that look at headers, and whatever leads to them, are not cached.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from edge.core.binding import Binding, BindingKey
from edge.core.errors import PreconditionFailed
from edge.core.message import Message
from edge.core.names import NAME_BYTES_MAX
from edge.core.queue import Queue
from edge.core.table import type_name

ROUTES_MAX: Final = 8192
"""Routing keys whose queues an exchange remembers: about 1 MB; when full, the cache starts anew."""

ROUTED_KEY_MAX: Final = NAME_BYTES_MAX
"""Characters of a routing key whose queues are remembered: MQTT's topics may have 64 KB."""

Route = tuple[Queue, ...]


class Exchange:
    """Base of all exchange types."""

    type: ClassVar[str]
    #: Whether the routing key alone decides, so that routes may be cached.
    by_key: bool = True
    #: Arguments that a second declaration must repeat; RabbitMQ does not look at others.
    compared_arguments: ClassVar[tuple[str, ...]] = ("alternate-exchange",)

    def __init__(
        self,
        vhost: str,
        name: str,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, object] | None = None,
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments: dict[str, object] = arguments or {}
        #: What policies say to it.
        self.policy: dict[str, object] = {}
        #: Bindings of which this exchange is the source, in the order in which they were made.
        self.bindings: dict[BindingKey, Binding] = {}
        #: routing key -> queues
        self.routes: dict[str, Route] = {}
        self.new_index()
        self.check_arguments()

    def new_index(self) -> None:
        """Make what the type finds its bindings by."""

    def check_arguments(self) -> None:
        """Raise PreconditionFailed when the exchange's arguments do not suit its type."""
        alternate = self.arguments.get("alternate-exchange", "")
        if not isinstance(alternate, str):
            raise PreconditionFailed(
                f"invalid type '{type_name(alternate)}' for arg 'alternate-exchange' in exchange '{self.name}'"
                f" in vhost '{self.vhost}'"
            )

    def add(self, binding: Binding) -> None:
        """Note a new binding; the vhost sees to it that it is new."""
        self.bindings[binding.key] = binding

    def remove(self, binding: Binding) -> None:
        """Forget a binding that is there."""
        del self.bindings[binding.key]

    def matching(self, message: Message) -> list[Binding]:
        """The bindings that take the message."""
        raise NotImplementedError

    def check_binding(self, routing_key: str, arguments: dict[str, object]) -> None:
        """Raise PreconditionFailed when a binding's key or arguments do not suit the type."""

    def remembered(self) -> list[Message]:
        """What a new binding's destination gets at once, in order."""
        return []

    def resolve(
        self, message: Message, exchanges: Mapping[str, "Exchange"], copies: Sequence[Message] = ()
    ) -> Route:
        """The queues that the message goes to, each once; cached when the routing key alone decides.

        ``exchanges`` are those of the vhost, for alternate exchanges. As in RabbitMQ (``rabbit_exchange:route``) the
        alternate of each exchange on the way is followed when none of that exchange's bindings matches; an exchange
        is passed once, so circles end. ``copies`` are the message by the further routing keys of CC and BCC.
        """
        found: dict[Queue, None] = {}
        cacheable = not copies
        visited = {self}
        waiting = [self]
        while waiting:
            exchange = waiting.pop()
            cacheable = cacheable and exchange.by_key
            matching = exchange.matching(message)
            if exchange.by_key:
                for copy in copies:
                    matching = matching + exchange.matching(copy)
            for binding in matching:
                destination = binding.destination
                if isinstance(destination, Queue):
                    found[destination] = None
                elif destination not in visited:
                    visited.add(destination)
                    waiting.append(destination)
            alternate = None if matching else exchange.alternate(exchanges)
            if alternate is not None and alternate not in visited:
                visited.add(alternate)
                waiting.append(alternate)
        route = tuple(found)
        if cacheable and len(message.routing_key) <= ROUTED_KEY_MAX:
            if len(self.routes) >= ROUTES_MAX:
                self.routes.clear()
            self.routes[message.routing_key] = route
        return route

    def alternate(self, exchanges: Mapping[str, "Exchange"]) -> "Exchange | None":
        """The exchange for what no binding takes, if it is named and there; the argument goes before the policy."""
        name = self.arguments.get("alternate-exchange", self.policy.get("alternate-exchange"))
        return exchanges.get(name) if isinstance(name, str) else None
