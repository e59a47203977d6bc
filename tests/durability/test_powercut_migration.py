"""The power is cut at any instant of a migration: the store is of one version or the next, and its backup is whole."""

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from edge.store.migrations import migrate
from tests.durability import recording
from tests.durability.disk import MODES, Disk
from tests.durability.migrating import FIRST, LAST, ROWS, STEPS
from tests.durability.recording import MARK, Record

KEYS = [f"{number:04}" for number in range(ROWS)]


def record(directory: Path) -> list[Record]:
    library = recording.build(directory)
    root, log = directory / "disk", directory / "log"
    root.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tests.durability.migrating", root, log],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **recording.environment(library, root, log)},
        timeout=60,
        check=True,
    )
    return recording.read(log)


def check(path: Path, is_migrated: bool) -> int:
    """Return the version that was found; whatever it is, all rows are there and the rest of the way can be gone."""
    backup = path.with_name(f"{path.name}.backup-v{FIRST}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        (found,) = store.execute("PRAGMA user_version").fetchone()
        assert found == LAST or (found >= FIRST and not is_migrated)
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if found > FIRST or backup.exists():
            with contextlib.closing(sqlite3.connect(backup)) as old:
                assert old.execute("PRAGMA user_version").fetchone() == (FIRST,)
                assert old.execute("SELECT kind, key FROM record").fetchall() == [
                    ("old", key) for key in KEYS
                ]
        kind = "new" if found == LAST else "old"
        assert store.execute("SELECT kind, key FROM record").fetchall() == [(kind, key) for key in KEYS]
        if found < LAST:
            migrate(store, path, found, LAST, STEPS)
        assert store.execute("SELECT kind, key, extra FROM record").fetchall() == [
            ("new", key, 8) for key in KEYS
        ]
    return int(found)


def test_a_power_cut_in_a_migration_leaves_one_version_or_the_next_and_a_whole_backup(
    tmp_path: Path, rng: random.Random
) -> None:
    disk, marks, found, states = Disk(), set(), set(), 0
    for number, one in enumerate(record(tmp_path)):
        if one.kind == MARK:
            marks.add(one.mark["event"])
            continue
        disk.apply(one)
        if "filled" not in marks or (one.kind == recording.WRITE and rng.random() < 0.7):
            continue
        target = tmp_path / f"state-{number}"
        disk.rebuild(target, {"a": rng.choice(MODES)}, rng)
        found.add(check(target / "a" / "leveret.db", "migrated" in marks))
        states += 1
    print(f"{states} states, versions {found}")
    assert states > 50
    assert found == set(range(FIRST, LAST + 1))
