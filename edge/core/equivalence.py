"""Whether a second declaration means what is there already (RabbitMQ, ``rabbit_misc:assert_args_equivalence``)."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Union

from edge.core.errors import PreconditionFailed
from edge.core.names import CLASSIC
from edge.core.table import to_plain, type_name

if TYPE_CHECKING:
    from edge.core.exchange import Exchange
    from edge.core.queue import Queue

Entity = Union["Queue", "Exchange"]


def check_property(entity: Entity, noun: str, name: str, received: object, current: object) -> None:
    """Raises PreconditionFailed when a property such as ``durable`` differs."""
    if received != current:
        raise _inequivalent(entity, noun, name, _quoted(received), _quoted(current))


def check_arguments(entity: Entity, noun: str, arguments: dict[str, object], names: Iterable[str]) -> None:
    """Raises PreconditionFailed for the first of the named arguments that differs; integers of all widths are equal."""
    for name in names:
        received, current = arguments.get(name), entity.arguments.get(name)
        if name in arguments and name in entity.arguments:
            if received != current or isinstance(received, bool) != isinstance(current, bool):
                raise _inequivalent(entity, noun, name, _quoted(received), _quoted(current))
        elif (name in arguments or name in entity.arguments) and not _is_default(name, received or current):
            raise _inequivalent(entity, noun, name, _typed(arguments, name), _typed(entity.arguments, name))


def _is_default(name: str, value: object) -> bool:
    return name == "x-queue-type" and value == CLASSIC


def _inequivalent(entity: Entity, noun: str, name: str, received: str, current: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"inequivalent arg '{name}' for {noun} '{entity.name}' in vhost '{entity.vhost}':"
        f" received {received} but current is {current}"
    )


def _typed(arguments: dict[str, object], name: str) -> str:
    if name not in arguments:
        return "none"
    value = arguments[name]
    text = "undefined" if value is None else _text(value)
    return f"the value '{text}' of type '{type_name(value)}'"


def _quoted(value: object) -> str:
    return "none" if value is None else f"'{_text(value)}'"


def _text(value: object) -> str:
    plain = to_plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
