"""Damaged, foreign and newer files: the node starts whenever it can, deletes nothing, and says what is lost."""

# ruff: noqa: ASYNC240  # a test's own loop may wait for a small file

import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.errors import StoreError
from edge.store import store as store_module
from edge.store.pages import PAGE_BYTES, Pages
from edge.store.schema import VERSION, batch_id
from edge.store.store import FILE_NAME, SEQUENCES_SKIPPED, Store
from tests.helpers.brokers import Taker, crash, numbered, start, stop, turn, until
from tests.helpers.read_only import read_only, read_only_works

MESSAGES = 3000
BATCH = 10


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """A stopped node's store: 300 batches in queue 'q', the first 100 messages settled."""
    return await make_store(tmp_path / "data")


async def make_store(directory: Path, end: Callable[[Broker], object] = stop) -> Path:
    broker = await start(directory)
    vhost = broker.vhosts["/"]
    queue = broker.declare_queue(vhost, "q")
    broker.declare_exchange(vhost, "fleet", "topic")
    for i in range(0, MESSAGES, BATCH):
        broker.publish(vhost, "", numbered(BATCH, i, size=100))
        await broker.store.committed()
    taker = Taker(queue, prefetch=100)
    broker.consume(taker)
    await until(lambda: len(taker.held) == 100)
    broker.cancel(taker)
    taker.settle(100)
    await broker.store.committed()
    await end(broker)  # type: ignore[misc]
    return directory / FILE_NAME


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes((byte ^ 1 << bit,)))


def sqlite_varint(value: int) -> bytes:
    """Of fewer than nine bytes."""
    groups = [value >> shift & 0x7F for shift in range(49, -1, -7)]
    first = next(i for i, group in enumerate(groups) if group)
    return bytes([group | 0x80 for group in groups[first:-1]] + [groups[-1]])


def pages_of_type(path: Path, kind: int) -> list[int]:
    """Page numbers, but for page 1 and those of small tables."""
    raw = path.read_bytes()
    return [n + 1 for n in range(4, len(raw) // PAGE_BYTES) if raw[n * PAGE_BYTES] == kind]


async def drain(broker: Broker, name: str = "q") -> list[int]:
    """The numbers of all messages that are still to be had."""
    queue = broker.vhosts["/"].queues[name]
    taker = Taker(queue, no_ack=True)
    broker.consume(taker)
    await until(lambda: not queue.messages)
    await turn()
    return [int(body) for body in taker.bodies]


def lost_messages(broker: Broker) -> int:
    return sum(loss.count for loss in broker.store.losses.entries)


async def check_complete(directory: Path) -> Broker:
    """Start, drain, and compare with what is said to be lost; then start again, to find nothing wrong any more."""
    broker = await start(directory)
    got = await drain(broker)
    assert got == sorted(set(got)), "in order, nothing twice"
    assert len(got) + lost_messages(broker) == MESSAGES - 100
    await stop(broker)
    again = await start(directory)
    assert not again.store.was_rolled_back
    assert again.vhosts["/"].queues["q"].messages == 0
    await stop(again)
    return broker


class TestBitFlips:
    async def test_a_flipped_bit_in_a_message_costs_its_batch_alone(
        self, store: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        raw = store.read_bytes()
        flip(store, raw.index(b"%0100d" % 1234) + 50)
        broker = await start(store.parent)
        assert await drain(broker) == [*range(100, 1230), *range(1240, MESSAGES)]
        told = "messages of queue 'q' in vhost '/' cannot be read, 10 messages, sequences 1230 to 1239"
        kept = f"{FILE_NAME}.quarantined-batch-1-1230"
        assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
            f"lost: {told} (kept in {kept})"
        ]
        assert (store.parent / kept).stat().st_size > 1000, "the bad bytes are not thrown away"
        await stop(broker)
        again = await start(store.parent)
        assert [loss.text() for loss in again.store.losses.entries] == [f"{told} (kept in {kept})"]
        await stop(again)

    async def test_a_flipped_bit_in_a_leaf_page_costs_what_is_on_it(self, store: Path) -> None:
        page = pages_of_type(store, 0x0D)[40]
        flip(store, (page - 1) * PAGE_BYTES + 4)
        await check_complete(store.parent)

    async def test_a_leaf_page_of_zeros_costs_what_was_on_it(
        self, store: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        page = pages_of_type(store, 0x0D)[40]
        with store.open("r+b") as file:
            file.seek((page - 1) * PAGE_BYTES)
            file.write(bytes(PAGE_BYTES))
        broker = await check_complete(store.parent)
        assert 0 < lost_messages(broker) <= 4 * BATCH
        assert "database disk image is malformed; it is kept as leveret.db.quarantined-1" in caplog.text

    async def test_a_bad_interior_page_costs_no_message(self, store: Path) -> None:
        (page,) = pages_of_type(store, 0x05)[:1] or [2]
        with store.open("r+b") as file:
            file.seek((page - 1) * PAGE_BYTES)
            file.write(b"\xff" * 16)
        broker = await start(store.parent)
        assert await drain(broker) == list(range(100, MESSAGES))
        await stop(broker)

    @pytest.mark.parametrize("offset", [0, 5, 17, 18, 20, 69, 100, 105, 3000])
    async def test_a_flipped_bit_in_the_header_costs_no_message(self, store: Path, offset: int) -> None:
        flip(store, offset, 1)
        broker = await start(store.parent)
        assert await drain(broker) == list(range(100, MESSAGES))
        assert "fleet" in broker.vhosts["/"].exchanges
        assert broker.auth.users["guest"].tags == ["administrator"]
        await stop(broker)

    async def test_a_batch_under_the_number_of_another_queue_is_salvaged_around(self, store: Path) -> None:
        """From the front SQLite finds it, from the back it does not."""
        raw = store.read_bytes()
        number = sqlite_varint(batch_id(1, 100))
        # SQLite moves rows about: older copies of it lie in what is now free.
        for page in pages_of_type(store, 0x0D):
            begin = (page - 1) * PAGE_BYTES
            at = raw.find(number, begin, begin + PAGE_BYTES)
            if at >= 0:
                flip(store, at, 6)
        broker = await start(store.parent)
        assert set(await drain(broker)) == set(range(110, MESSAGES))
        assert lost_messages(broker) == BATCH
        await stop(broker)

    async def test_a_lost_cursor_brings_messages_again_rather_than_none(self, store: Path) -> None:
        raw = store.read_bytes()
        (_, low) = sqlite3.connect(store).execute("SELECT queue_id, low FROM cursor").fetchone()
        assert low == 100
        page = next(n for n in range(1, 8) if raw[n * PAGE_BYTES] == 0x0D and n != 1)
        with store.open("r+b") as file:
            file.seek(page * PAGE_BYTES)
            file.write(os.urandom(PAGE_BYTES))
        old = await start(store.parent)
        assert set(range(110, MESSAGES)) <= set(await drain(old))
        assert (
            "how far queue 'q' in vhost '/' was settled cannot be read" in old.store.losses.entries[1].text()
        )
        await stop(old)

    async def test_any_random_damage_leaves_a_node_that_starts(self, store: Path, rng: random.Random) -> None:
        good = store.read_bytes()
        for _ in range(40):
            shutil.rmtree(store.parent)
            store.parent.mkdir()
            bad = bytearray(good)
            for _ in range(rng.choice((1, 1, 3, 10, 100))):
                bad[rng.randrange(100, len(bad))] ^= 1 << rng.randrange(8)
            store.write_bytes(bad)
            broker = await start(store.parent)
            queues = broker.vhosts["/"].queues
            got = [number for name in queues for number in await drain(broker, name)]
            assert len(set(got)) == len(got)
            assert set(got) <= set(range(MESSAGES))
            missing = set(range(100, MESSAGES)) - set(got)
            assert not missing or broker.store.losses.entries, "nothing is lost in silence"
            await stop(broker)


class TestFiles:
    @pytest.mark.parametrize("part", [0.3, 0.5, 0.99])
    async def test_of_a_truncated_file_the_rest_is_salvaged(
        self, store: Path, part: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        os.truncate(store, int(store.stat().st_size * part))
        broker = await start(store.parent)
        got = await drain(broker)
        assert len(got) + lost_messages(broker) >= MESSAGES - 100
        assert "pages are there; it is kept as leveret.db.quarantined-1" in caplog.text
        await stop(broker)

    async def test_a_deleted_log_is_told_from_an_orderly_stop(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        live = await make_store(tmp_path / "live", _keep_copy)
        copy = live.parent.with_name("copy")
        broker = await start(copy)
        assert (
            "lost: the write-ahead log is missing: what was committed since the last checkpoint"
            in caplog.text
        )
        queue = broker.vhosts["/"].queues.get("q")
        if queue is not None:
            assert queue.next_sequence >= SEQUENCES_SKIPPED, "no sequence is given to a second message"
        await stop(broker)
        again = await start(copy)
        assert not again.store.was_rolled_back
        await stop(again)

    async def test_a_log_of_garbage_is_set_aside_and_not_overwritten(
        self, store: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        garbage = os.urandom(10_000)
        store.with_name(f"{FILE_NAME}-wal").write_bytes(garbage)
        broker = await start(store.parent)
        assert "lost: the write-ahead log cannot be read" in caplog.text
        assert store.with_name(f"{FILE_NAME}.quarantined-1-wal").read_bytes() == garbage
        assert await drain(broker) == list(range(100, MESSAGES))
        await stop(broker)

    async def test_behind_a_flipped_bit_in_the_log_what_is_sound_is_used(self, tmp_path: Path) -> None:
        live = await make_store(tmp_path / "live", _keep_copy_with_log)
        copy = live.parent.with_name("copy")
        wal = copy / f"{FILE_NAME}-wal"
        flip(wal, 32 + 24 + 100 * (PAGE_BYTES + 24) + 2000)
        broker = await start(copy)
        got = await drain(broker)
        assert len(got) + lost_messages(broker) == MESSAGES - 100
        assert len(got) > MESSAGES - 200
        assert "transactions lie behind a damaged place" in broker.store.losses.entries[0].text()
        await stop(broker)

    async def test_a_newer_leverets_store_is_not_touched(self, store: Path) -> None:
        connection = sqlite3.connect(store)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.commit()
        connection.close()
        before = store.read_bytes()
        with pytest.raises(StoreError) as raised:
            await Store(store.parent).open()
        assert raised.value.text == (
            f"{store} has store version {VERSION + 1}, this Leveret reads up to {VERSION}: install the newer one"
            " again, or set node.data_dir to another directory; nothing was changed"
        )
        assert store.read_bytes() == before
        assert sorted(path.name for path in store.parent.iterdir()) == [
            FILE_NAME,
            "leveret.lock",
            "leveret.reserve",
        ]

    async def test_another_programs_file_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / FILE_NAME
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE photos (id)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(
            StoreError, match=r"is an SQLite file of another program; set node\.data_dir to a directory"
        ):
            await Store(tmp_path).open()
        assert path.read_bytes() == before
        assert sorted(each.name for each in tmp_path.iterdir()) == [FILE_NAME, "leveret.lock"]

    async def test_without_room_to_salvage_messages_the_node_starts_with_its_definitions(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flip(store, 3)
        from edge.store import salvage

        def full(*_: object) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        copy = salvage.Salvage._copy
        monkeypatch.setattr(
            salvage.Salvage,
            "_copy",
            lambda self, messages, data: full() if messages else copy(self, messages, data),
        )
        broker = await start(store.parent)
        assert "fleet" in broker.vhosts["/"].exchanges
        assert "no room to salvage the messages: make room, then leveret store export --file" in (
            broker.store.losses.entries[1].text()
        )
        await stop(broker)


if read_only_works():

    def test_a_read_only_directory_is_named(tmp_path: Path) -> None:
        with read_only(tmp_path):
            done = subprocess.run(
                [sys.executable, "-m", "edge", "run"],
                env={**os.environ, "LEVERET_NODE_DATA_DIR": str(tmp_path / "data")},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        reason = "Permission denied" if os.geteuid() else "Read-only file system"
        assert (done.returncode, done.stderr) == (
            1,
            f"leveret: data directory {tmp_path}/data cannot be used: {reason};"
            " set node.data_dir to one that can be written\n",
        )


async def _keep_copy(broker: Broker) -> None:
    """The store of a running node without its log."""
    shutil.copytree(broker.store.directory, broker.store.directory.with_name("copy"))
    broker.store.directory.with_name("copy").joinpath(f"{FILE_NAME}-wal").unlink()
    await crash(broker)


async def _keep_copy_with_log(broker: Broker) -> None:
    shutil.copytree(broker.store.directory, broker.store.directory.with_name("copy"))
    await crash(broker)


class TestAtRunTime:
    async def test_a_store_that_goes_bad_is_salvaged_while_the_node_runs(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edge.broker.PAGE_RETRY_S", 0.01)
        broker = await start(store.parent)
        await broker.store.committed()
        for page in pages_of_type(store, 0x0D)[40:42]:
            with store.open("r+b") as file:
                file.seek((page - 1) * PAGE_BYTES)
                file.write(b"\xff" * 64)
        got = await drain(broker)
        assert len(got) + lost_messages(broker) == MESSAGES - 100
        assert 0 < lost_messages(broker) < 10 * BATCH
        broker.publish(broker.vhosts["/"], "", numbered(3))
        await broker.store.committed()
        assert store.with_name(f"{FILE_NAME}.quarantined-1").exists()
        await stop(broker)
        again = await start(store.parent)
        assert await drain(again) in ([0, 1, 2], [])
        await stop(again)

    async def test_a_commit_that_meets_a_bad_page_is_made_in_the_salvaged_store(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = await start(store.parent)
        connection = broker.store._connections.group_connection
        write = type(connection)._write
        calls: list[int] = []

        def corrupt_once(self: object, group: object) -> object:
            calls.append(1)
            if len(calls) == 1:
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            return write(self, group)  # type: ignore[arg-type]

        monkeypatch.setattr(type(connection), "_write", corrupt_once)
        broker.publish(broker.vhosts["/"], "", numbered(1, 7777, size=100))
        await broker.store.committed()
        assert await drain(broker) == [*range(100, MESSAGES), 7777]
        assert not lost_messages(broker)
        await stop(broker)

    async def test_a_card_that_goes_bad_again_and_again_is_left_to_the_operator(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "REBUILDS_MAX", 0)
        broker = await start(store.parent)
        broker.store._damage = "malformed"
        broker.store.put("k", "a", b"")
        await broker.store.committed()
        assert not store.with_name(f"{FILE_NAME}.quarantined-1").exists()
        await stop(broker)


class TestInterruption:
    async def test_a_power_cut_while_a_store_is_replaced_loses_neither_the_old_nor_the_new(
        self, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After each of its renames."""
        flip(store, 3)
        damaged = store.read_bytes()
        rename = Path.rename
        for survived in range(4):
            directory = store.parent.with_name(f"cut-{survived}")
            shutil.copytree(store.parent, directory)
            (directory / f"{FILE_NAME}-wal").write_bytes(b"")
            left = [survived]

            def cut(path: Path, target: Path, left: list[int] = left) -> Path:
                if not left[0]:
                    raise OSError("power cut")
                left[0] -= 1
                return rename(path, target)

            with monkeypatch.context() as patched:
                patched.setattr(Path, "rename", cut)
                with pytest.raises(StoreError, match="power cut"):
                    await Store(directory).open()
            broker = await start(directory)
            assert await drain(broker) == list(range(100, MESSAGES))
            await stop(broker)
            assert damaged in [path.read_bytes() for path in directory.glob("*.quarantined-*")]


def test_pages_of_a_store_are_read_as_sqlite_reads_them(tmp_path: Path) -> None:
    import asyncio

    path = asyncio.run(make_store(tmp_path / "data"))
    pages = Pages(path, path.with_name("none"))
    batches = {row[0] for row in pages.rows() if len(row) == 6 and isinstance(row[0], int)}
    pages.close()
    connection = sqlite3.connect(path)
    assert batches == {row[0] for row in connection.execute("SELECT id FROM batch")}
    connection.close()
    assert min(batches) == batch_id(1, 100)
