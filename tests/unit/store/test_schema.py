"""The store's file: whose it is, and how SQLite is set."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.core.errors import StoreError
from edge.store import schema
from edge.store.schema import APPLICATION_ID, VERSION, batch_id, prepare


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    yield made
    made.close()


def pragma(of: sqlite3.Connection, name: str) -> object:
    return of.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_store_is_marked_and_survives_a_power_cut(connection: sqlite3.Connection) -> None:
    prepare(connection, "store.db")
    assert pragma(connection, "application_id") == APPLICATION_ID
    assert pragma(connection, "user_version") == VERSION
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 2, "FULL: a confirm means on the disk"
    assert pragma(connection, "secure_delete") == 0, "Debian has it on, which doubles the wear"
    assert pragma(connection, "page_size") == 4096
    assert pragma(connection, "mmap_size") in (0, None)
    tables = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    assert tables == [("batch",), ("cursor",), ("record",)]


def test_no_index_is_kept_beside_the_tables(connection: sqlite3.Connection) -> None:
    prepare(connection, "store.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone() == (0,)


def test_a_store_is_opened_again_as_it_is(connection: sqlite3.Connection) -> None:
    prepare(connection, "store.db")
    connection.execute("INSERT INTO record VALUES ('k', 'a', x'01', 0)")
    prepare(connection, "store.db")
    assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)


@pytest.mark.parametrize(
    "made_by", ["PRAGMA application_id = 5", "PRAGMA user_version = 3", "CREATE TABLE photos (id)"]
)
def test_another_programs_file_is_left_alone(connection: sqlite3.Connection, made_by: str) -> None:
    connection.execute(made_by)
    before = list(connection.iterdump())
    with pytest.raises(StoreError, match="SQLite file of another program"):
        prepare(connection, "store.db")
    assert list(connection.iterdump()) == before
    assert pragma(connection, "journal_mode") == "delete"


def test_a_newer_leverets_store_is_left_alone(connection: sqlite3.Connection) -> None:
    prepare(connection, "store.db")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match=f"version {VERSION + 1}.*install the newer one"):
        prepare(connection, "store.db")


def test_a_place_where_no_write_ahead_log_can_be_kept_is_refused() -> None:
    in_memory = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(StoreError, match="write-ahead log"):
        prepare(in_memory, "store.db")
    in_memory.close()


def test_a_store_of_which_only_half_was_made_is_made_anew(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = schema.TABLES
    monkeypatch.setattr(schema, "TABLES", good + "CREATE TABLE batch (id);")
    with pytest.raises(sqlite3.OperationalError):
        prepare(connection, "store.db")
    connection.execute("ROLLBACK")
    monkeypatch.setattr(schema, "TABLES", good)
    prepare(connection, "store.db")
    assert pragma(connection, "application_id") == APPLICATION_ID


def test_batches_sort_by_queue_and_sequence() -> None:
    assert batch_id(1, 5) < batch_id(1, 6) < batch_id(2, 0)
