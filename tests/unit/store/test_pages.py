"""The file as pages: what SQLite wrote is read without it, and what is bad does no harm."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.store.pages import PAGE_BYTES, Pages, Value, decode_row, sound_frames, torn_commits, varint


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    made.execute("PRAGMA page_size = 4096")
    made.execute("PRAGMA journal_mode = WAL").fetchall()
    made.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b BLOB, c TEXT)")
    made.execute("CREATE TABLE w (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID")
    yield made
    made.close()


def read(path: Path) -> Counter[tuple[Value, ...]]:
    pages = Pages(path / "x.db", path / "x.db-wal")
    found = Counter(tuple(row) for row in pages.rows())
    pages.close()
    return found


def assert_found(path: Path, connection: sqlite3.Connection) -> None:
    """Every row, once, and beside them only what an interior page that is taken for a leaf may give.

    That is two cells a page, where the number of its rightmost child is; a CRC tells them from rows.
    """
    found = read(path)
    expected = Counter(
        connection.execute("SELECT * FROM t").fetchall() + connection.execute("SELECT * FROM w").fetchall()
    )
    assert not expected - found
    nonsense = found - expected
    assert not nonsense.keys() & expected.keys()
    pages = Pages(path / "x.db", path / "x.db-wal")
    interior = [number for number in range(2, pages.count + 1) if pages.page(number)[0] in (0x02, 0x05)]
    pages.close()
    assert nonsense.total() <= 2 * len(interior)


def test_every_row_is_found_in_file_and_log(
    connection: sqlite3.Connection, tmp_path: Path, rng: random.Random
) -> None:
    seen: set[int] = set()
    for i in range(300):
        size = rng.choice((0, 10, 500, 1000, 4050, 4061, 4062, 5000, 20_000))
        number = rng.choice((0, 1, -1, 127, -32_768, 2**23, 2**31, 2**47 - 1, -(2**62)))
        identity = rng.choice((i, -i, i << 40))
        if identity not in seen:
            seen.add(identity)
            row = (identity, number, rng.randbytes(size), "é")
            connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", row)
        connection.execute("INSERT OR REPLACE INTO w VALUES (?, ?)", (f"key {i % 97}", rng.randbytes(size)))
        if i == 150:
            connection.execute("PRAGMA wal_checkpoint").fetchall()
    assert_found(tmp_path, connection)


def test_rows_on_free_pages_are_not_found_again(connection: sqlite3.Connection, tmp_path: Path) -> None:
    connection.executemany("INSERT INTO t VALUES (?, 1, ?, '')", [(i, bytes(3000)) for i in range(200)])
    connection.execute("DELETE FROM t WHERE id >= 20")
    connection.execute("PRAGMA wal_checkpoint").fetchall()
    assert_found(tmp_path, connection)


def test_random_damage_ends_neither_in_an_error_nor_in_a_loop(
    connection: sqlite3.Connection, tmp_path: Path, rng: random.Random
) -> None:
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?, 'text')", [(i, i, rng.randbytes(i * 37 % 9000)) for i in range(100)]
    )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    good = (tmp_path / "x.db").read_bytes()
    (tmp_path / "bad").mkdir()
    for _ in range(100):
        bad = bytearray(good)
        for _ in range(50):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        (tmp_path / "bad" / "x.db").write_bytes(bad[: rng.randrange(PAGE_BYTES, len(bad))])
        read(tmp_path / "bad")


def test_a_bad_frame_of_the_log_costs_itself(connection: sqlite3.Connection, tmp_path: Path) -> None:
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    for i in range(10):
        connection.execute("INSERT INTO t VALUES (?, 1, ?, '')", (i, bytes(4000)))
    path = tmp_path / "x.db-wal"
    raw = bytearray(path.read_bytes())
    with path.open("rb") as wal:
        whole = sound_frames(wal)
        assert torn_commits(wal) == 0
    offset = sorted(whole.values())[5]
    raw[offset + 2000] ^= 4
    (tmp_path / "torn").write_bytes(raw)
    with (tmp_path / "torn").open("rb") as wal:
        found = sound_frames(wal)
        assert torn_commits(wal) > 1
    assert offset not in found.values()
    assert len(set(whole.values()) - set(found.values())) == 1


def test_a_log_that_is_none_has_no_frames(tmp_path: Path) -> None:
    for content in (b"", bytes(100), b"\x37\x7f\x06\x82" + bytes(5000)):
        (tmp_path / "wal").write_bytes(content)
        with (tmp_path / "wal").open("rb") as wal:
            assert sound_frames(wal) == {}
            assert torn_commits(wal) == 0


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"\x00", 0), (b"\x7f", 127), (b"\x81\x00", 128), (b"\xff" * 9, 2**64 - 1), (b"\x80" * 8 + b"\x01", 1)],
)
def test_varints(raw: bytes, value: int) -> None:
    assert varint(raw, 0) == (value, len(raw))
    for length in range(len(raw)):
        assert varint(raw[:length], 0)[1] == length, "ends with the bytes"


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x01", b"\xff" * 20, b"\x05\x01\x01"])
def test_what_is_no_row_is_none(payload: bytes) -> None:
    assert decode_row(payload) is None
