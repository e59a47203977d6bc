"""Power cuts: record a workload, rebuild the disk at many instants, start the node on each, and compare."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.store import reserve
from tests.durability import recording
from tests.durability.disk import DROP, KEEP, MIX, Disk
from tests.durability.found import Found, StartFailed, look
from tests.durability.ledger import Ledger
from tests.durability.recording import MARK, Record

NODES = {"amqp": ("a",), "mqtt": ("a",), "links": ("up", "down"), "ranked": ("a",)}
"""Scenario -> its nodes, a directory each."""
LIFE_TIMEOUT_S = 60
BAD_MAX = 20
WEIGHTS = {DROP: 4, MIX: 5, KEEP: 1}


@dataclass
class Life:
    """One run of a workload's process, and how it ends: "kill" or "stop"."""

    seconds: float
    end: str


@dataclass
class Verdict:
    """What became of the states of one recording."""

    states: int = 0
    confirmed: int = 0
    """Confirmed messages at the last instant."""
    records: Counter[int] = field(default_factory=Counter)
    bad: list[tuple[int, dict[str, str], list[str]]] = field(default_factory=list)
    """(instant, modes, problems)."""

    def text(self) -> str:
        lines = [f"{self.states} states, {len(self.bad)} bad, {self.confirmed} messages confirmed"]
        for instant, modes, problems in self.bad[:5]:
            lines.append(f"at record {instant}, {modes}:")
            lines += [f"    {problem}" for problem in problems[:6]]
        return "\n".join(lines)


def record(
    directory: Path, scenario: str, lives: list[Life], seed: int, synchronous: str = "FULL"
) -> list[Record]:
    """Run a workload, life after life on the same files."""
    library = recording.build(directory)
    root, log = directory / "disk", directory / "log"
    root.mkdir()
    for number, life in enumerate(lives):
        words = [scenario, root, log, number, life.seconds, seed, synchronous, life.end]
        done = subprocess.run(
            [sys.executable, "-m", "tests.durability.workload", *map(str, words)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONASYNCIODEBUG": "", **recording.environment(library, root, log)},
            stderr=subprocess.PIPE,
            timeout=LIFE_TIMEOUT_S + life.seconds,
            check=False,
        )
        expected = -9 if life.end == "kill" else 0
        assert done.returncode == expected, f"life {number} of {scenario}:\n{done.stderr.decode()[-4000:]}"
    return recording.read(log)


def instants(records: list[Record], count: int, rng: random.Random) -> list[int]:
    """Instants to cut at: before and after records, most of them at syncs, marks and changes of names."""
    notable = [at + side for at, one in enumerate(records) if one.kind != recording.WRITE for side in (0, 1)]
    anywhere = rng.choices(range(len(records) + 1), k=count // 5)
    return sorted(anywhere + rng.choices(notable, k=count - len(anywhere)))


def play(
    records: list[Record], scenario: str, count: int, rng: random.Random
) -> Iterator[tuple[int, Disk, Ledger, dict[str, str]]]:
    """The disk and the ledger at each instant, and what becomes of each node's unsynced writes."""
    disk, ledger, done = Disk(), Ledger(), 0
    for instant in instants(records, count, rng):
        for one in records[done:instant]:
            if one.kind == MARK:
                ledger.apply(one.mark)
            else:
                disk.apply(one)
        done = instant
        chosen = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=len(NODES[scenario]))
        yield instant, disk, ledger, dict(zip(NODES[scenario], chosen, strict=True))


async def judge(
    records: list[Record],
    scenario: str,
    count: int,
    rng: random.Random,
    scratch: Path,
    bad_max: int = BAD_MAX,
) -> Verdict:
    """Cut the power ``count`` times, or until ``bad_max`` states were bad."""
    verdict = Verdict(records=Counter(one.kind for one in records))
    for instant, disk, ledger, modes in play(records, scenario, count, rng):
        target = scratch / "state"
        target.mkdir(parents=True)
        disk.rebuild(target, modes, rng)
        problems = await compare(target, ledger, NODES[scenario])
        if problems:
            verdict.bad.append((instant, modes, problems))
            keep_state(target, scratch / f"bad-{instant}", len(verdict.bad))
        shutil.rmtree(target, ignore_errors=True)
        verdict.states += 1
        verdict.confirmed = ledger.confirmed
        if len(verdict.bad) >= bad_max:
            break
    return verdict


def keep_state(state: Path, to: Path, number: int) -> None:
    """The first bad ones, for whoever looks into it."""
    if number <= 3:
        shutil.copytree(state, to, dirs_exist_ok=True)


async def compare(target: Path, ledger: Ledger, nodes: tuple[str, ...]) -> list[str]:
    """Start every node and compare what it has with what it owes."""
    found: dict[str, Found] = {}
    for name in nodes:
        try:
            found[name] = await look(target / name)
        except StartFailed as error:
            return [f"{name}: {error}"]
    return ledger.check(found)


def check_recording(records: list[Record], root: Path, scratch: Path) -> None:
    """A disk that keeps everything must be the one that the workload has left; else something was not recorded."""
    disk = Disk()
    for one in records:
        if one.kind != MARK:
            disk.apply(one)
    tops = {path.name: KEEP for path in root.iterdir()}
    disk.rebuild(scratch, tops, random.Random(0))
    assert contents(scratch) == contents(root)
    shutil.rmtree(scratch)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        # The reserve has room and nothing in it.
        if path.is_file() and not path.name.endswith("-shm") and path.name != reserve.FILE_NAME
    }


def cut_power(
    directory: Path,
    scenario: str,
    lives: list[Life],
    states: int,
    seed: int,
    synchronous: str = "FULL",
    bad_max: int = BAD_MAX,
) -> Verdict:
    """Record and judge. What is random follows from ``seed``, but for the timing of the workload."""
    directory.mkdir(parents=True, exist_ok=True)
    records = record(directory, scenario, lives, seed, synchronous)
    check_recording(records, directory / "disk", directory / "check")
    rng = random.Random(f"{seed} {scenario} states")
    return asyncio.run(judge(records, scenario, states, rng, directory / "scratch", bad_max))
