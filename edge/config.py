"""Reads the configuration: the TOML file, then ``LEVERET_<SECTION>_<KEY>`` from the environment over it.

Raises ``edge.core.errors.ConfigError``, whose text names the file (or the variable), the key and what is wrong; the CLI
exits 2 on it. Knows no shovel and no federation: their tables go to them as read (``Config.shovels``,
``Config.federation_upstreams``), to be checked by their own packages with ``edge.tables``.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from edge.core.errors import ConfigError
from edge.policy_keys import APPLY_TO, check_definition
from edge.settings import (
    SECTIONS,
    SETTINGS,
    Address,
    AmqpSettings,
    DefinitionsSettings,
    Listeners,
    ListenerSettings,
    LogSettings,
    MqttSettings,
    NodeSettings,
    Setting,
    StoreSettings,
)
from edge.tables import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TABLE,
    TEXT,
    TEXTS,
    Key,
    Table,
    check_table,
    check_value,
    closest,
    unknown_key,
)

NEAR: Final = 0.9
"""How alike, of 1, a variable must be to a setting's to be taken for a mistyped one: one letter in ten."""

LISTS = ("shovel", "federation-upstream", "policy")
"""The arrays of tables that the file may have beside its sections."""

POLICY_KEYS = (
    Key("name", (TEXT,), required=True),
    Key("vhost", (TEXT,), default="/"),
    Key("pattern", (TEXT,), required=True),
    Key(
        "apply-to",
        (TEXT,),
        default="all",
        choices=APPLY_TO,
    ),
    Key("priority", (INTEGER,), default=0),
    Key("definition", (TABLE,), required=True),
)
"""A policy has the keys and meanings of RabbitMQ's definitions file."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; a section is an attribute, a key an attribute of it: ``config.node.data_dir``."""

    node: NodeSettings = field(default_factory=NodeSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    listeners: ListenerSettings = field(default_factory=ListenerSettings)
    amqp: AmqpSettings = field(default_factory=AmqpSettings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    definitions: DefinitionsSettings = field(default_factory=DefinitionsSettings)
    log: LogSettings = field(default_factory=LogSettings)

    path: Path | None = None
    shovels: tuple[Table, ...] = ()
    federation_upstreams: tuple[Table, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()
    """Checked, with defaults filled in; the keys are those of RabbitMQ's definitions file."""


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the file, if any, and the environment. Raises ConfigError, also for a file that cannot be read."""
    environ = os.environ if environ is None else environ
    document = {} if path is None else _read(path)
    for name in document:
        if name not in SECTIONS and name not in LISTS:
            nearest = closest(name, (*SECTIONS, *LISTS))
            raise ConfigError(f"{path}: {name}: unknown section; the closest known section is {nearest}")
    _check_variables(environ)
    sections: dict[str, Any] = {
        name: cls(**_section(name, path, document.get(name, {}), environ)) for name, cls in SECTIONS.items()
    }
    return Config(
        **sections,
        path=path,
        shovels=_tables(path, document, "shovel"),
        federation_upstreams=_tables(path, document, "federation-upstream"),
        policies=tuple(_policy(table) for table in _tables(path, document, "policy")),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _section(name: str, path: Path | None, table: object, environ: Mapping[str, str]) -> dict[str, object]:
    """Values of one section, from the file and the environment; what neither names keeps its default."""
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name}: must be a table; write [{name}]")
    known = {row.key: row for row in SETTINGS if row.section == name}
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in known:
            raise unknown_key(f"{path}: [{name}]", key, known)
        base = path.parent if path is not None else Path()
        values[key] = _value(f"{path}: [{name}] {key}", known[key], value, base)
    for key, row in known.items():
        if row.variable in environ:
            values[key] = _value(row.variable, row, _from_text(row, environ[row.variable]), Path())
    return values


def _value(where: str, row: Setting, value: object, base: Path) -> object:
    """The value in the type of its setting; ``base`` is what a relative path in it is relative to."""
    if row.type == Listeners:
        return _listeners(where, value)
    key = Key(row.key, (_KINDS[row.type],), choices=row.choices, minimum=row.minimum, maximum=row.maximum)
    check_value(where, value, key)
    if row.type is Path:
        return base / str(value)
    if row.type == Path | None:
        return base / str(value) if value else None
    if isinstance(value, list):
        return tuple(value)
    return float(value) if row.type is float and isinstance(value, int) else value


_KINDS: dict[object, str] = {
    str: TEXT,
    Path: TEXT,
    Path | None: TEXT,
    int: INTEGER,
    float: NUMBER,
    bool: BOOLEAN,
    tuple[str, ...]: TEXTS,
}


def _from_text(row: Setting, text: str) -> object:
    """What the text of an environment variable would be in TOML; left as text when it is nothing of the kind."""
    if row.type in (tuple[str, ...], Listeners):
        return [item.strip() for item in text.split(",") if item.strip()]
    if row.type is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)
    try:
        return int(text) if row.type is int else float(text) if row.type is float else text
    except ValueError:
        return text


def _check_variables(environ: Mapping[str, str]) -> None:
    """A variable that names a section but no key of it is a mistake, and so is one that almost names a setting.

    LEVERET_URL and the like are not ours to read.
    """
    known = {row.variable for row in SETTINGS}
    prefixes = tuple(f"LEVERET_{name}_".upper() for name in SECTIONS)
    for name in environ:
        if not name.startswith("LEVERET_") or name in known:
            continue
        if name.startswith(prefixes) or get_close_matches(name, known, n=1, cutoff=NEAR):
            raise ConfigError(
                f"environment: {name}: unknown key; the closest known key is {closest(name, known)}"
            )


def _listeners(where: str, value: object) -> Listeners:
    """Addresses from "host:port", a list of them, or "" for none."""
    check_value(where, value, Key("", (TEXT, TEXTS)))
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
    return tuple(_address(where, text) for text in texts if text)


def _address(where: str, text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f'{where}: must be "host:port", not {text!r}; "" switches the listener off')
    return Address(host.strip("[]"), int(port))


def _tables(path: Path | None, document: Mapping[str, object], name: str) -> tuple[Table, ...]:
    """The tables of ``[[name]]``, each with a text ``name`` that is its own in its vhost."""
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: {name}: must be an array of tables; write [[{name}]]")
    tables: list[Table] = []
    seen: set[tuple[object, object]] = set()
    for number, entry in enumerate(entries, 1):
        own_name = entry.get("name")
        if not isinstance(own_name, str) or not own_name:
            raise ConfigError(f"{path}: [[{name}]] number {number}: name: missing; it must be text")
        if (entry.get("vhost", "/"), own_name) in seen:
            raise ConfigError(f"{path}: [[{name}]] {own_name}: name: another [[{name}]] has the same name")
        seen.add((entry.get("vhost", "/"), own_name))
        tables.append(Table(f"{path}: [[{name}]] {own_name}", entry))
    return tuple(tables)


def _policy(table: Table) -> dict[str, Any]:
    policy = check_table(table, POLICY_KEYS)
    try:
        re.compile(str(policy["pattern"]))
    except re.error as error:
        raise ConfigError(f"{table.where}: pattern: not a regular expression: {error}") from error
    definition = policy["definition"]
    assert isinstance(definition, dict), "checked as a table above"
    check_definition(f"{table.where}: definition", definition)
    return policy
