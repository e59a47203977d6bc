"""Imports run one way: a module imports only what stands below it (docs/architecture.md)."""

import ast
import fnmatch
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge", "mqtt", "shovel", "federation")

ROWS: list[tuple[tuple[str, ...], ...]] = [
    # From the bottom up. A module may import rows below its own and, in its own row, its own group. It belongs to the
    # first group that names it.
    (("edge",), ("mqtt",), ("shovel",), ("federation",)),
    (("edge.wire",), ("edge.core.errors", "edge.core.names")),
    (("edge.core", "edge.core.*"),),
    # Codecs and machines, either role: they know no broker, no store and no socket.
    (
        (
            "edge.amqp091",
            "edge.amqp091.spec",
            "edge.amqp091.spec.*",
            "edge.amqp091.channel",
            "edge.amqp091.client_machine",
            "edge.amqp091.connection",
            "edge.amqp091.constants",
            "edge.amqp091.credentials",
            "edge.amqp091.errors",
            "edge.amqp091.events",
            "edge.amqp091.inbound",
            "edge.amqp091.marks",
            "edge.amqp091.outbound",
            "edge.amqp091.server_machine",
        ),
        (
            "mqtt.codec",
            "mqtt.connection",
            "mqtt.constants",
            "mqtt.convert",
            "mqtt.decode",
            "mqtt.encode",
            "mqtt.fields",
            "mqtt.filters",
            "mqtt.inflight",
            "mqtt.packets",
            "mqtt.properties",
            "mqtt.reasons",
            "mqtt.retained",
        ),
    ),
    # What the broker stands on.
    (("edge.clock",), ("edge.log",), ("edge.retry",), ("edge.settings",), ("edge.stats",), ("edge.tables",)),
    (("edge.policy_keys",),),
    (("edge.config",), ("edge.uris",), ("edge.store", "edge.store.*"), ("edge.auth", "edge.auth.*")),
    (
        ("edge.backpressure",),
        ("edge.dead_room",),
        ("edge.deadletters",),
        ("edge.deadlines",),
        ("edge.topology",),
        ("edge.policies",),
        ("edge.parameters",),
        ("edge.net", "edge.net.*"),
    ),
    (("edge.broker",),),
    (("edge.limits",),),
    # Servers and clients.
    (("edge.amqp091.*",), ("mqtt.*",)),
    (("edge.definitions", "edge.definitions.*"),),
    # Shovels and links report to the HTTP API through the broker; it imports neither.
    (
        ("edge.workers",),
        ("edge.importing",),
        ("edge.management", "edge.management.*"),
    ),
    (("shovel.*",), ("federation.*",)),
    (("edge.node",),),
    (("edge.demo", "edge.demo.*"),),
    (("edge.torture", "edge.torture.*"),),
    (("edge.cli", "edge.cli.*"),),
    (("edge.__main__",),),
]

MAY_IMPORT_NEIGHBOURS = ("edge.node", "edge.cli.*", "edge.torture.*")
"""The only modules in ``edge`` that may import ``mqtt``, ``shovel`` or ``federation``."""

PURE = (*ROWS[1], *ROWS[2], *ROWS[3])
IMPURE = (
    "asyncio",
    "concurrent",
    "logging",
    "multiprocessing",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
)
NOT_PURE = {*IMPURE, "time"}
"""What core, codecs and machines may not import: they neither wait nor read a clock nor do I/O."""

LIBRARIES = {
    "aiomqtt": ("edge.demo.*", "edge.cli.*"),
    "aiosqlite": ("edge.store.*",),
    "click": ("edge.cli.*",),
    # In the core for Message alone, which is built ten times as fast so and is its own form on disk.
    "msgspec": ("edge.*", "mqtt.*", "shovel.*", "federation.*"),
    # What aiomqtt stands on: it takes paho's MQTT 5 properties and has none of its own.
    "paho": ("edge.cli.mqtt_*",),
    "rich": ("edge.cli.*", "edge.demo.*"),
    "starlette": ("edge.management.*",),
    # Policies are in edge.retry; a worker hears of each try.
    "tenacity": ("edge.retry", "edge.workers"),
    "uvicorn": ("edge.management.*",),
    "uvloop": ("edge.cli.*", "edge.demo.*"),
}
"""Library -> the modules that may import it."""


def modules() -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """What a module imports, inside functions and for type checkers too; ``from a import b`` is a.b if that is one."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide the direction"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def place(name: str) -> tuple[int, tuple[str, ...]]:
    """Row and group of a module."""
    exact = [(row, group) for row, groups in enumerate(ROWS) for group in groups if name in group]
    found = exact or [
        (row, group) for row, groups in enumerate(ROWS) for group in groups if fits(name, group)
    ]
    assert found, f"{name} has no place in ROWS; give it one"
    return found[0]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_below_it(name: str) -> None:
    row, group = place(name)
    for imported in imports(name):
        if imported not in MODULES:
            assert imported.partition(".")[0] not in PACKAGES, (
                f"{name} imports {imported}, which is not there"
            )
            continue
        other_row, other_group = place(imported)
        assert other_group == group or other_row < row, (
            f"{name} must not import {imported}: it stands beside or above"
        )


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("edge")])
def test_in_edge_only_the_node_and_the_commands_import_the_other_packages(name: str) -> None:
    if not fits(name, MAY_IMPORT_NEIGHBOURS):
        others = [imported for imported in imports(name) if imported.partition(".")[0] in PACKAGES[1:]]
        assert not others, f"{name} imports {others}"


@pytest.mark.parametrize("name", [name for name in MODULES if place(name)[1] in PURE])
def test_core_codecs_and_machines_are_pure(name: str) -> None:
    impure = NOT_PURE.intersection(imported.partition(".")[0] for imported in imports(name))
    assert not impure, f"{name} imports {impure}: it may not wait, read a clock or do I/O"


@pytest.mark.parametrize("name", MODULES)
def test_a_library_is_imported_only_where_it_belongs(name: str) -> None:
    for imported in imports(name):
        top = imported.partition(".")[0]
        if top in PACKAGES or top in sys.stdlib_module_names:
            continue
        assert top in LIBRARIES, f"{name} imports {top}, which is no dependency; see pyproject.toml"
        assert fits(name, LIBRARIES[top]), f"{name} imports {top}; only {LIBRARIES[top]} may"


def test_nothing_heavy_is_loaded_with_the_commands() -> None:
    """``leveret status`` on a Pi should not load the broker: the group imports a command when it is called."""
    loaded = {imported.partition(".")[0] for imported in imports("edge.cli.main")}
    assert loaded <= {"click", "difflib", "edge", "errno", "importlib", "os", "sys"}
