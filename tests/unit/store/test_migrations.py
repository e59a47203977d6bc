"""From an older store to a newer one, with made-up versions: none but version 1 has been published."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.core.errors import StoreError
from edge.store import migrations, schema
from edge.store.migrations import migrate
from edge.store.schema import VERSION, prepare


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leveret.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(path, isolation_level=None)
    prepare(made, str(path))
    made.execute("INSERT INTO record VALUES ('k', 'a', x'01', 0)")
    yield made
    made.close()


def version(of: sqlite3.Connection) -> int:
    return int(of.execute("PRAGMA user_version").fetchone()[0])


def add_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE batch ADD COLUMN extra INTEGER NOT NULL DEFAULT 7")


def rename_kind(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE record SET kind = 'l'")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM record")
    raise sqlite3.OperationalError("database or disk is full")


def test_each_step_brings_it_one_version_on_and_the_old_one_is_kept(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate(connection, path, 1, 3, {1: add_column, 2: rename_kind})
    assert version(connection) == 3
    assert connection.execute("SELECT kind, key FROM record").fetchall() == [("l", "a")]
    assert connection.execute("SELECT extra FROM batch").fetchall() == []
    assert int.from_bytes(path.read_bytes()[60:64], "big") == 3, "the file tells it without its log"
    kept = sqlite3.connect(path.with_name("leveret.db.backup-v1"))
    assert version(kept) == 1
    assert kept.execute("SELECT kind FROM record").fetchall() == [("k",)]
    kept.close()


def test_a_step_that_fails_leaves_what_the_last_one_made(connection: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, 1, 3, {1: rename_kind, 2: fail})
    assert version(connection) == 2
    assert connection.execute("SELECT kind FROM record").fetchall() == [("l",)]
    migrate(connection, path, 2, 3, {2: rename_kind})
    assert version(connection) == 3


def test_a_version_that_is_too_old_is_told_what_to_open_it_with(
    connection: sqlite3.Connection, path: Path
) -> None:
    with pytest.raises(StoreError, match="open it first with a release that reads version 1"):
        migrate(connection, path, 1, 3, {2: rename_kind})
    assert version(connection) == 1
    assert not path.with_name("leveret.db.backup-v1").exists()


def test_without_room_for_the_backup_nothing_is_migrated(
    connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(sqlite3.Connection):
        def backup(self, *_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    full = sqlite3.connect(path, factory=Full, isolation_level=None)
    with pytest.raises(
        StoreError, match="cannot be backed up before it is migrated: database or disk is full"
    ):
        migrate(full, path, 1, 2, {1: rename_kind})
    full.close()
    assert version(connection) == 1
    assert sorted(each.name for each in path.parent.glob("*backup*")) == []


def test_a_store_is_migrated_when_it_is_opened(
    connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {VERSION: rename_kind})
    prepare(connection, str(path))
    assert version(connection) == VERSION + 1
    prepare(connection, str(path))
    assert connection.execute("SELECT kind FROM record").fetchall() == [("l",)]
    assert migrations.logger.name == "edge.store"
