"""What all workloads share: the node in this process, bounds so small that everything happens often, marks."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge.config import load
from edge.core import priority_queue as priority_module
from edge.core import queue as queue_module
from edge.node import Node
from edge.store import group as group_module
from edge.store import reader as reader_module
from edge.store import schema
from edge.store.store import Store
from tests.durability.bodies import Key
from tests.durability.recording import Marks
from tests.helpers.leveret import Ports

CHECKPOINT_PAGES = 30
"""Instead of 1,000: a checkpoint every few commits."""


@dataclass
class Context:
    """One life of a workload."""

    root: Path
    marks: Marks
    rng: random.Random
    life: int
    seconds: float
    flows: dict[tuple[str, int], tuple[str, Key]] = field(default_factory=dict)
    """Deliveries at QoS 2 of earlier lives: client and packet id -> step and message."""

    def publisher(self, name: str) -> str:
        """A publisher's name; a new one in each life, because its numbers begin anew."""
        return f"{name}.{self.life}"

    async def wait(self, longest_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, longest_s))

    @asynccontextmanager
    async def node(self, name: str, ports: Ports, extra: str = "") -> AsyncIterator[Node]:
        """A running node whose disk is ``root/name``."""
        directory = self.root / name
        config = self.root.parent / f"{name}.toml"
        config.write_text(
            f'[node]\nname = "{name}"\ndata_dir = "{directory}"\n[listeners]\namqp = "127.0.0.1:{ports.amqp}"\n'
            f'mqtt = "127.0.0.1:{ports.mqtt}"\nhttp = ""\n{extra}'
        )
        node = Node(load(config, {}))
        await node.start()
        try:
            yield node
        finally:
            await node.stop()

    async def declared(self, node: str, kind: str, name: str, call: Awaitable[object]) -> None:
        """Mark a declaration around the call that makes it."""
        thing = [node, kind, name]
        self.marks.note("declare", thing=thing)
        await call
        self.marks.note("declared", thing=thing)

    async def deleted(self, node: str, kind: str, name: str, call: Awaitable[object]) -> None:
        """Mark a deletion around the call that does it."""
        thing = [node, kind, name]
        self.marks.note("delete", thing=thing)
        await call
        self.marks.note("deleted", thing=thing)


def shrink_bounds() -> None:
    """A few dozen messages page, cut batches and leave deletions over, as millions would."""
    bounds = {
        queue_module: {
            "WINDOW_MESSAGES": 64,
            "WINDOW_BYTES": 16_000,
            "PAGE_IN_BELOW": 32,
            "PAGE_IN_BELOW_BYTES": 8_000,
        },
        group_module: {
            "BATCH_MESSAGES_MAX": 16,
            "BATCH_BYTES_MAX": 4_000,
            "RANGE_DELETE_MIN": 8,
            "RANGES_FEW": 2,
            "DELETE_BATCHES_MAX": 3,
        },
        priority_module: {"LANE_WINDOW_MESSAGES": 16, "LANE_WINDOW_BYTES": 4_000},
        reader_module: {"PAGE_MESSAGES": 32, "PAGE_BYTES": 8_000, "PAGE_BATCHES_MAX": 8},
    }
    for module, values in bounds.items():
        for name, value in values.items():
            assert hasattr(module, name), f"{module.__name__} has no {name}"
            setattr(module, name, value)


def confirm_early() -> None:
    """Let nothing wait for its commit: to show that the simulator finds that."""

    def after_commit(store: Store, callback: Callable[[], None], *, with_messages: bool = True) -> None:
        asyncio.get_running_loop().call_soon(callback)

    Store.after_commit = after_commit  # type: ignore[method-assign, assignment]


def set_pragmas(synchronous: str) -> None:
    """Let the store sync as told, which no setting of the product can: to show that the simulator finds losses."""
    wanted = {"synchronous": synchronous, "wal_autocheckpoint": str(CHECKPOINT_PAGES)}
    pragmas = []
    for pragma in schema.PRAGMAS:
        name = pragma.removeprefix("PRAGMA ").partition(" =")[0]
        pragmas.append(f"PRAGMA {name} = {wanted.pop(name)}" if name in wanted else pragma)
    assert not wanted, f"the store sets no {list(wanted)}"
    schema.PRAGMAS = tuple(pragmas)  # type: ignore[misc, assignment]
