"""Type headers (AMQP 0-9-1, section 3.1.3.4; RabbitMQ, ``rabbit_exchange_type_headers``)."""

from typing import Final

from edge.core.binding import Binding
from edge.core.errors import PreconditionFailed
from edge.core.exchange import Exchange
from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.properties import headers as decode_headers
from edge.core.table import type_name

MATCH_MODES: Final = ("all", "any", "all-with-x", "any-with-x")

MATCHED_MAX: Final = 256
"""Property lists whose bindings an exchange remembers, ..."""
MATCHED_BYTES_MAX: Final = 256
"""... each of at most so many bytes, 64 KiB together: most publishers repeat a few."""


class HeadersExchange(Exchange):
    """Bindings whose arguments fit the message's headers (all or any; ``-with-x`` also looks at x- headers)."""

    type = "headers"
    by_key = False

    def new_index(self) -> None:
        #: AMQP property list -> what it matches
        self._matched: dict[bytes, list[Binding]] = {}

    def check_binding(self, routing_key: str, arguments: dict[str, object]) -> None:
        mode = arguments.get("x-match", "all")
        if not isinstance(mode, str):
            raise PreconditionFailed(
                f"Invalid x-match field type {type_name(mode)} (value {mode}); expected longstr"
            )
        if mode not in MATCH_MODES:
            raise PreconditionFailed(
                f'Invalid x-match field value <<"{mode}">>; expected all, any, all-with-x, or any-with-x'
            )

    def add(self, binding: Binding) -> None:
        super().add(binding)
        self._matched.clear()

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        self._matched.clear()

    def matching(self, message: Message) -> list[Binding]:
        properties = message.properties
        if message.form != FORM_AMQP091 or len(properties) > MATCHED_BYTES_MAX:
            return self._match(amqp_properties(message))
        found = self._matched.get(properties)
        if found is None:
            if len(self._matched) >= MATCHED_MAX:
                self._matched.clear()
            found = self._matched[properties] = self._match(properties)
        return found

    def _match(self, properties: bytes) -> list[Binding]:
        headers = decode_headers(properties)
        return [binding for binding in self.bindings.values() if _headers_match(binding.arguments, headers)]


def _headers_match(arguments: dict[str, object], headers: dict[str, object]) -> bool:
    mode = arguments.get("x-match", "all")
    with_x = mode in ("all-with-x", "any-with-x")
    wanted = {
        name: value
        for name, value in arguments.items()
        if name != "x-match" and (with_x or not name.startswith("x-"))
    }
    # A binding argument without a value asks only that the header is there (RabbitMQ, "Headers Exchange").
    fits = [
        name in headers and (value is None or _is_equal(headers[name], value))
        for name, value in wanted.items()
    ]
    return any(fits) if mode in ("any", "any-with-x") else all(fits)


def _is_equal(one: object, other: object) -> bool:
    """By value, whatever the types' widths, as Erlang compares: but True is not 1, and text is bytes."""
    return _comparable(one) == _comparable(other) and isinstance(one, bool) == isinstance(other, bool)


def _comparable(value: object) -> object:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
