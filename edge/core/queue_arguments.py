"""What the arguments of a queue may be; refused in RabbitMQ's words (``rabbit_amqqueue``, check_*_arg)."""

from collections.abc import Callable
from typing import Final

from edge.core.durability import CLASSES
from edge.core.errors import PreconditionFailed
from edge.core.limits import OVERFLOWS
from edge.core.names import CLASSIC, QUORUM
from edge.core.properties import EXPIRATION_MS_MAX
from edge.core.table import type_name

PRIORITY_MAX: Final = 255
"""An AMQP priority is an octet."""

Check = Callable[[object], str]
"""Says what is wrong with a value, "" when nothing is."""


def check_queue_arguments(
    vhost: str,
    name: str,
    arguments: dict[str, object],
    *,
    durable: bool = True,
    exclusive: bool = False,
    auto_delete: bool = False,
) -> None:
    """Raises PreconditionFailed for the first thing that is wrong, in the order in which RabbitMQ looks."""
    where = f"for queue '{name}' in vhost '{vhost}'"
    target = arguments.get("x-dead-letter-exchange", "")
    if not isinstance(target, str):
        raise PreconditionFailed(
            f"invalid type '{type_name(target)}' for arg 'x-dead-letter-exchange' in queue '{name}' in vhost '{vhost}'"
        )
    kind = arguments.get("x-queue-type", CLASSIC)
    if reason := _wrong_type(kind):
        raise PreconditionFailed(f"invalid arg 'x-queue-type' {where}: {reason}")
    foreign = NOT_OF_TYPE[str(kind)]
    for key, check in ARGUMENTS.items():
        if key not in arguments or key in foreign:
            continue
        reason = check(arguments[key])
        if not reason and key == "x-dead-letter-routing-key" and "x-dead-letter-exchange" not in arguments:
            reason = "routing_key_but_no_dlx_defined"
        if reason:
            raise PreconditionFailed(f"invalid arg '{key}' {where}: {reason}")
    for key in foreign:
        if key in arguments:
            raise PreconditionFailed(f"invalid arg '{key}' {where} of queue type rabbit_{kind}_queue")
    if kind == QUORUM:
        for is_wrong, what in (
            (auto_delete, "auto-delete"),
            (exclusive, "exclusive-owner"),
            (not durable, "non-durable"),
        ):
            if is_wrong:
                raise PreconditionFailed(f"invalid property '{what}' {where}")


def compared_arguments(kind: str) -> list[str]:
    """What is compared when a queue of a type is declared again, in order: what the type does not know is not."""
    return _COMPARED[kind]


def kind_of(arguments: dict[str, object]) -> str:
    """``Queue.kind`` of what is declared by these arguments."""
    if arguments.get("x-queue-type") == QUORUM:
        return QUORUM
    return "priority" if arguments.get("x-max-priority") else ""


def check_consumer_arguments(vhost: str, queue: str, arguments: dict[str, object]) -> None:
    """Raises PreconditionFailed for the first one that is wrong (``rabbit_amqqueue:check_consume_arguments``)."""
    for key, check in CONSUMER_ARGUMENTS.items():
        if key in arguments and (reason := check(arguments[key])):
            raise PreconditionFailed(f"invalid arg '{key}' for queue '{queue}' in vhost '{vhost}': {reason}")


def whole_number(least: int | None = None, most: int | None = None, over: str = "value_too_large") -> Check:
    """A check for an integer of any width, within bounds."""

    def check(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return f'"expected integer, got {type_name(value)}"'
        if least is not None and value < least:
            return f"{{value_negative,{value}}}" if value < 0 else f"{{value_zero,{value}}}"
        return f"{{{over},{value}}}" if most is not None and value > most else ""

    return check


def _text(value: object) -> str:
    return "" if isinstance(value, str) else _unacceptable(value)


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else _unacceptable(value)


def _one_of(choices: tuple[str, ...], refusal: str) -> Check:
    """A check for a text; ``refusal`` is what is said of another one, which takes the place of ``{}``."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            return _unacceptable(value)
        return "" if value in choices else refusal.format(value)

    return check


def _version(value: object) -> str:
    return whole_number()(value) or ("" if value in (1, 2) else f"\"unsupported queue version '{value}'\"")


def _unacceptable(value: object) -> str:
    return f"{{unacceptable_type,{type_name(value)}}}"


_wrong_type: Final = _one_of((CLASSIC, QUORUM), "\"unsupported queue type '{}'\"")

ARGUMENTS: Final[dict[str, Check]] = {
    "x-expires": whole_number(1, EXPIRATION_MS_MAX),
    "x-message-ttl": whole_number(0, EXPIRATION_MS_MAX),
    "x-dead-letter-exchange": _text,
    "x-dead-letter-routing-key": _text,
    "x-dead-letter-strategy": _one_of(("at-most-once", "at-least-once"), "invalid_dlx_strategy"),
    "x-max-length": whole_number(0),
    "x-max-length-bytes": whole_number(0),
    "x-max-in-memory-length": whole_number(0),
    "x-max-in-memory-bytes": whole_number(0),
    "x-max-priority": whole_number(0, PRIORITY_MAX, "max_value_exceeded"),
    "x-durability": _one_of(CLASSES, "invalid_durability"),
    "x-overflow": _one_of(OVERFLOWS, "invalid_overflow"),
    "x-queue-mode": _one_of(("default", "lazy"), "\"unsupported queue mode '{}'\""),
    "x-queue-version": _version,
    "x-single-active-consumer": _flag,
    "x-queue-type": _wrong_type,
    "x-quorum-initial-group-size": whole_number(1),
    "x-delivery-limit": whole_number(),
    "x-consumer-timeout": whole_number(0),
    "x-queue-leader-locator": _one_of(
        ("client-local", "balanced", "random", "least-leaders"), "invalid_queue_locator_arg"
    ),
}
"""What queues go by, in RabbitMQ's order; any other is kept and shown, and means nothing."""

CONSUMER_ARGUMENTS: Final[dict[str, Check]] = {
    "x-priority": whole_number(),
    "x-cancel-on-ha-failover": _flag,
    "x-consumer-timeout": whole_number(0),
}

_STREAMS: Final = ("x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size")
NOT_OF_TYPE: Final = {
    CLASSIC: (
        "x-delivery-limit",
        "x-dead-letter-strategy",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-quorum-initial-group-size",
        "x-queue-leader-locator",
        *_STREAMS,
    ),
    QUORUM: ("x-max-priority", "x-queue-mode", "x-queue-version", *_STREAMS),
}
"""Arguments that RabbitMQ refuses for a type of queue."""

_COMPARED: Final = {
    CLASSIC: [key for key in ARGUMENTS if key not in NOT_OF_TYPE[CLASSIC]],
    # In the order of ``rabbit_quorum_queue:capabilities``.
    QUORUM: [
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-dead-letter-strategy",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-overflow",
        "x-single-active-consumer",
        "x-queue-type",
        "x-quorum-initial-group-size",
        "x-delivery-limit",
        "x-message-ttl",
        "x-queue-leader-locator",
        "x-consumer-timeout",
        "x-durability",
    ],
}
