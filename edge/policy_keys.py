"""DEFINITION_KEYS: all that a policy may say, in one table (RabbitMQ, ``rabbit_policies`` and its plugins).

A new key is one row here. It feeds the checks of ``[[policy]]``, of definitions files and of the HTTP API.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.core.durability import CLASSES
from edge.core.errors import ConfigError
from edge.core.limits import OVERFLOWS
from edge.tables import INTEGER, TEXT, TEXTS, Key, Table, check_table


@dataclass(frozen=True, slots=True)
class PolicyKey(Key):
    """A key of a policy's definition; ``operator``: an operator policy may say it too.

    Those that are not ``heeded`` are about RabbitMQ's clusters and streams: taken, so that one file serves a fleet, and
    without effect.
    """

    operator: bool = False
    heeded: bool = True


DEFINITION_KEYS: Final = (
    PolicyKey("alternate-exchange", (TEXT,)),
    PolicyKey("consumer-timeout", (INTEGER,), minimum=0),
    PolicyKey("dead-letter-exchange", (TEXT,)),
    PolicyKey("dead-letter-routing-key", (TEXT,)),
    PolicyKey("delivery-limit", (INTEGER,), operator=True),
    # Leveret's own.
    PolicyKey("durability", (TEXT,), choices=CLASSES, operator=True),
    PolicyKey("expires", (INTEGER,), minimum=1, operator=True),
    PolicyKey("federation-upstream", (TEXT,)),
    PolicyKey("federation-upstream-pattern", (TEXT,)),
    PolicyKey("federation-upstream-set", (TEXT,)),
    PolicyKey("max-length", (INTEGER,), minimum=0, operator=True),
    PolicyKey("max-length-bytes", (INTEGER,), minimum=0, operator=True),
    PolicyKey("message-ttl", (INTEGER,), minimum=0, operator=True),
    PolicyKey("overflow", (TEXT,), choices=OVERFLOWS, operator=True),
    PolicyKey("dead-letter-strategy", (TEXT,), choices=("at-most-once", "at-least-once"), heeded=False),
    PolicyKey("ha-mode", (TEXT,), heeded=False),
    PolicyKey("ha-params", (INTEGER, TEXTS), heeded=False),
    PolicyKey("ha-promote-on-failure", (TEXT,), heeded=False),
    PolicyKey("ha-promote-on-shutdown", (TEXT,), heeded=False),
    PolicyKey("ha-sync-batch-size", (INTEGER,), heeded=False),
    PolicyKey("ha-sync-mode", (TEXT,), heeded=False),
    PolicyKey("initial-cluster-size", (INTEGER,), minimum=0, heeded=False),
    PolicyKey("max-age", (TEXT,), heeded=False),
    PolicyKey("max-in-memory-bytes", (INTEGER,), minimum=0, operator=True, heeded=False),
    PolicyKey("max-in-memory-length", (INTEGER,), minimum=0, operator=True, heeded=False),
    PolicyKey("queue-leader-locator", (TEXT,), heeded=False),
    PolicyKey("queue-master-locator", (TEXT,), heeded=False),
    PolicyKey("queue-mode", (TEXT,), choices=("default", "lazy"), heeded=False),
    PolicyKey("queue-version", (INTEGER,), minimum=1, maximum=2, operator=True, heeded=False),
    PolicyKey("stream-filter-size-bytes", (INTEGER,), minimum=16, maximum=255, heeded=False),
    PolicyKey("stream-max-segment-size-bytes", (INTEGER,), minimum=0, heeded=False),
    PolicyKey("target-group-size", (INTEGER,), minimum=0, operator=True, heeded=False),
)

APPLY_TO: Final = ("all", "exchanges", "queues", "classic_queues", "quorum_queues", "streams")
FEDERATION: Final = ("federation-upstream", "federation-upstream-set", "federation-upstream-pattern")

_ROWS: Final = {key.name: key for key in DEFINITION_KEYS}


def check_definition(where: str, definition: Mapping[str, object], *, operator: bool = False) -> None:
    """Raises ConfigError for a key that no policy, or no operator policy, may say, and for a wrong value."""
    keys = [key for key in DEFINITION_KEYS if key.operator or not operator]
    check_table(Table(where, definition), keys)
    if len(both := [name for name in FEDERATION if name in definition]) > 1:
        raise ConfigError(f"{where}: {both[1]}: cannot stand beside {both[0]}")
    try:
        re.compile(str(definition.get("federation-upstream-pattern", "")))
    except re.error as error:
        raise ConfigError(f"{where}: federation-upstream-pattern: no regular expression: {error}") from error


def unknown_keys(definition: Mapping[str, object]) -> list[str]:
    return sorted(set(definition) - set(_ROWS))


def unheeded_keys(definition: Mapping[str, object]) -> list[str]:
    """What has no effect here, though RabbitMQ knows it."""
    return sorted([name for name in definition if name in _ROWS and not _ROWS[name].heeded])
