"""Policies: settings laid over exchanges and queues by name (RabbitMQ, "Parameters and Policies")."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, final

from edge.core.errors import PreconditionFailed

if TYPE_CHECKING:
    from edge.core.queue_base import QueueBase

EXCHANGES: Final = "exchanges"
CLASSIC_QUEUES: Final = "classic_queues"
QUORUM_QUEUES: Final = "quorum_queues"
"""What a policy may apply to."""

_APPLIES: Final = {
    EXCHANGES: ("all", "exchanges"),
    CLASSIC_QUEUES: ("all", "queues", "classic_queues"),
    QUORUM_QUEUES: ("all", "queues", "quorum_queues"),
}


@final
class Policy:
    """One policy, or operator policy. Raises PreconditionFailed when the pattern is no regular expression."""

    __slots__ = ("_expression", "apply_to", "definition", "name", "operator", "pattern", "priority", "vhost")

    def __init__(
        self,
        vhost: str,
        name: str,
        pattern: str,
        definition: dict[str, object],
        *,
        apply_to: str = "all",
        priority: int = 0,
        operator: bool = False,
    ) -> None:
        self.vhost = vhost
        self.name = name
        self.pattern = pattern
        self.definition = definition
        self.apply_to = apply_to
        self.priority = priority
        self.operator = operator
        try:
            self._expression = re.compile(pattern)
        except re.error as error:
            raise PreconditionFailed(
                f"policy '{name}': pattern '{pattern}' is no regular expression: {error}"
            ) from error

    def applies(self, vhost: str, kind: str, name: str) -> bool:
        """Whether it is for the object; ``kind`` is one of the constants above. The pattern may match anywhere."""
        return (
            self.vhost == vhost
            and self.apply_to in _APPLIES[kind]
            and self._expression.search(name) is not None
        )


def policy_for(policies: Iterable[Policy], vhost: str, kind: str, name: str) -> Policy | None:
    """The one policy in force for an object: of those that match, the one with the highest priority."""
    best: Policy | None = None
    for policy in policies:
        if (best is None or policy.priority > best.priority) and policy.applies(vhost, kind, name):
            best = policy
    return best


def merged(definition: Mapping[str, object], operators: Mapping[str, object]) -> dict[str, object]:
    """A policy's definition as an operator policy caps it (RabbitMQ, ``rabbit_policies:merge_policy_value``).

    Of two numbers the smaller counts, of anything else the operator's.
    """
    both = {**definition, **operators}
    for key in definition.keys() & operators.keys():
        mine, cap = definition[key], operators[key]
        if isinstance(mine, int) and isinstance(cap, int):
            # A negative delivery-limit is none at all.
            both[key] = min(mine, cap) if min(mine, cap) >= 0 else max(mine, cap)
    return both


def setting(queue: "QueueBase", key: str) -> object:
    """What is in force of a key that an argument may say as ``x-<key>``: the argument goes before the policy."""
    value = queue.arguments.get(f"x-{key}")
    return queue.policy.get(key) if value is None else value


def delivery_limit(queue: "QueueBase") -> int | None:
    """How often a quorum queue delivers a message again; None: for ever. Of argument and policy the smaller counts."""
    limits = [queue.arguments.get("x-delivery-limit"), queue.policy.get("delivery-limit")]
    return min([limit for limit in limits if isinstance(limit, int) and limit >= 0], default=None)


def least(queue: "QueueBase", key: str) -> int | None:
    """The same for what counts by the smaller of argument and policy: lengths and times (RabbitMQ, "Policies")."""
    values = [
        value
        for value in (queue.arguments.get(f"x-{key}"), queue.policy.get(key))
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    return min(values, default=None)
