"""Checks a table of a configuration file against its known keys.

The sections of the node's own settings, ``[[policy]]``, and the tables of shovels and federation upstreams are all
checked here, so that a mistake reads the same everywhere: file, table, key, what is wrong, and the closest known key.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge.core.errors import ConfigError

TEXT: Final = "text"
INTEGER: Final = "an integer"
NUMBER: Final = "a number"
BOOLEAN: Final = "true or false"
TEXTS: Final = "a list of text"
TABLE: Final = "a table"


@dataclass(frozen=True, slots=True)
class Table:
    """One table as read, with where it stands ("leveret.toml: [[shovel]] reports") for the texts of errors."""

    where: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a table may have.

    ``kinds`` are the accepted kinds of value (TEXT, INTEGER, ...). ``choices`` limits what a text may be, ``minimum``
    and ``maximum``, inclusive, a number. ``aliases`` are older names that mean the same.
    """

    name: str
    kinds: tuple[str, ...]
    default: object = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    aliases: tuple[str, ...] = field(default=())
    help: str = ""


def check_table(table: Table, keys: Sequence[Key]) -> dict[str, object]:
    """Return the table's values with defaults filled in and aliases resolved; every key of ``keys`` is present.

    ConfigError for an unknown key, a missing one, a value of the wrong kind or range, or a key beside its alias.
    """
    names = {name: key for key in keys for name in (key.name, *key.aliases)}
    given: dict[str, object] = {}
    for name, value in table.values.items():
        key = names.get(name)
        if key is None:
            raise unknown_key(table.where, name, names)
        if key.name in given:
            raise ConfigError(f"{table.where}: {name}: means the same as {key.name}; keep one of them")
        check_value(f"{table.where}: {name}", value, key)
        given[key.name] = value
    for key in keys:
        if key.required and key.name not in given:
            raise ConfigError(f"{table.where}: {key.name}: missing; it must be {' or '.join(key.kinds)}")
    return {key.name: given.get(key.name, key.default) for key in keys}


def unknown_key(where: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that nobody reads, naming the closest one that somebody does."""
    return ConfigError(f"{where}: {name}: unknown key; the closest known key is {closest(name, known)}")


def closest(name: str, known: Iterable[str]) -> str:
    """The known name most like the given one; some name even when none is much like it."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def check_value(where: str, value: object, key: Key) -> None:
    """ConfigError when the value is of no kind, or not in the range, that the key accepts."""
    if not any(_is_kind(value, kind) for kind in key.kinds):
        raise ConfigError(f"{where}: must be {' or '.join(key.kinds)}, not {describe(value)}")
    if isinstance(value, str) and key.choices and value not in key.choices:
        raise ConfigError(f"{where}: must be one of {', '.join(key.choices)}, not {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key.minimum is not None and value < key.minimum:
            raise ConfigError(f"{where}: must be at least {key.minimum:g}, not {value}")
        if key.maximum is not None and value > key.maximum:
            raise ConfigError(f"{where}: must be at most {key.maximum:g}, not {value}")


def _is_kind(value: object, kind: str) -> bool:
    if kind == BOOLEAN:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False  # Python counts it as an integer; TOML does not
    if kind == TEXT:
        return isinstance(value, str)
    if kind == INTEGER:
        return isinstance(value, int)
    if kind == NUMBER:
        return isinstance(value, int | float)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, dict)


def describe(value: object) -> str:
    """The value as an error shows it, cut short: it may be a whole table."""
    shown = repr(value)
    kinds = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list", dict: "table"}
    return f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({kinds.get(type(value), type(value).__name__)})"
