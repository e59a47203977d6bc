"""Bindings between an exchange and a queue or another exchange."""

import hashlib
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from edge.core.exchange import Exchange
    from edge.core.queue import Queue

Destination = Union["Queue", "Exchange"]


class Binding:
    """One binding; two are the same when source, destination, routing key and arguments are equal."""

    __slots__ = ("arguments", "destination", "destination_type", "routing_key", "source")

    def __init__(
        self,
        source: "Exchange",
        destination: Destination,
        destination_type: str,
        routing_key: str,
        arguments: dict[str, object],
    ) -> None:
        self.source = source
        self.destination = destination
        #: "queue" or "exchange", as the HTTP API says it.
        self.destination_type = destination_type
        self.routing_key = routing_key
        self.arguments = arguments

    @property
    def key(self) -> "BindingKey":
        """What tells bindings of one source apart."""
        return (self.destination_type, self.destination.name, self.routing_key, arguments_key(self.arguments))

    @property
    def properties_key(self) -> str:
        """The binding's name below its source and destination, as in the URLs of the HTTP API."""
        if not self.arguments:
            return self.routing_key or "~"
        digest = hashlib.blake2s(arguments_key(self.arguments).encode(), digest_size=9).hexdigest()
        return f"{self.routing_key}~{digest}"


BindingKey = tuple[str, str, str, str]


def arguments_key(arguments: dict[str, object]) -> str:
    """A text that is equal exactly when two argument tables are, whatever the order of their keys."""
    return repr(_sorted(arguments)) if arguments else ""


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value)]
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
