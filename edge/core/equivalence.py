"""Whether a second declaration means what is there already (RabbitMQ, ``rabbit_misc:assert_args_equivalence``)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Union

from edge.core.errors import PreconditionFailed
from edge.core.names import CLASSIC
from edge.core.table import type_name

if TYPE_CHECKING:
    from edge.core.exchange import Exchange
    from edge.core.queue import Queue

Entity = Union["Queue", "Exchange"]


def check_property(entity: Entity, noun: str, name: str, received: object, current: object) -> None:
    """Raises PreconditionFailed when a property such as ``durable`` differs."""
    if received != current:
        raise _inequivalent(entity, noun, name, f"'{_text(received)}'", f"'{_text(current)}'")


def check_arguments(entity: Entity, noun: str, arguments: dict[str, object], names: Iterable[str]) -> None:
    """Raises PreconditionFailed for the first of the named arguments that differs; integers of all widths are equal."""
    for name in names:
        received, current = arguments.get(name), entity.arguments.get(name)
        if name in arguments and name in entity.arguments:
            if received != current or isinstance(received, bool) != isinstance(current, bool):
                raise _inequivalent(entity, noun, name, f"'{_text(received)}'", f"'{_text(current)}'")
        elif (name in arguments or name in entity.arguments) and not _is_default(name, received or current):
            raise _inequivalent(entity, noun, name, _typed(received), _typed(current))


def _is_default(name: str, value: object) -> bool:
    return name == "x-queue-type" and value == CLASSIC


def _inequivalent(entity: Entity, noun: str, name: str, received: str, current: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"inequivalent arg '{name}' for {noun} '{entity.name}' in vhost '{entity.vhost}':"
        f" received {received} but current is {current}"
    )


def _typed(value: object) -> str:
    return "none" if value is None else f"the value '{_text(value)}' of type '{type_name(value)}'"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
