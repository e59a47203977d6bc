"""Group commit, back-pressure, failures of the disk, and what a start finds."""

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge import retry
from edge.broker import Broker
from edge.core.errors import StartupError, StoreError
from edge.store import commits
from edge.store import group as group_module
from edge.store.group import GroupConnection
from edge.store.store import FILE_NAME, Store
from edge.store.verify import verify
from tests.helpers.brokers import Taker, crash, message, numbered, start, stop, turn, until


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = await start(tmp_path)
    yield made
    await stop(made)


def rows(directory: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(directory / FILE_NAME)
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


class Slow:
    """Holds commits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import threading

        self.gate = threading.Event()
        write = GroupConnection.commit

        def commit(connection: GroupConnection) -> None:
            assert self.gate.wait(10)
            write(connection)

        monkeypatch.setattr(GroupConnection, "commit", commit)


class TestCommits:
    async def test_no_callback_comes_before_the_commit_that_holds_what_it_stands_for(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        queue = broker.declare_queue(broker.vhosts["/"], "q")
        await broker.store.committed()
        slow = Slow(monkeypatch)
        told: list[int] = []
        for i in range(3):
            broker.publish(broker.vhosts["/"], "", numbered(1, i))
            broker.after_commit(lambda i=i: told.append(i))  # type: ignore[misc]
            await turn(10)
        assert not told
        assert rows(tmp_path, "SELECT count(*) FROM batch") == [(0,)]
        slow.gate.set()
        await until(lambda: told == [0, 1, 2])
        assert rows(tmp_path, "SELECT sum(span) FROM batch") == [(3,)]
        assert queue.committed_sequence == 3

    async def test_what_gathers_while_a_commit_runs_is_one_commit(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broker.declare_queue(broker.vhosts["/"], "q")
        await broker.store.committed()
        slow = Slow(monkeypatch)
        before = broker.store.commits
        for i in range(50):
            broker.publish(broker.vhosts["/"], "", numbered(1, i))
            await turn()
        slow.gate.set()
        await broker.store.committed()
        assert broker.store.commits == before + 2
        assert rows(tmp_path, "SELECT span FROM batch ORDER BY id") == [(1,), (49,)]

    async def test_with_nothing_to_write_a_callback_comes_without_a_commit(self, broker: Broker) -> None:
        before = broker.store.commits
        await broker.store.committed()
        assert broker.store.commits == before

    async def test_a_fault_in_one_callback_keeps_no_other_from_its_own(self, broker: Broker) -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(context["exception"])
        )
        told: list[int] = []
        broker.after_commit(lambda: told.append(1 // 0))
        broker.after_commit(lambda: told.append(2))
        await until(lambda: told)
        assert told == [2]
        assert isinstance(faults[0], ZeroDivisionError)

    async def test_a_record_is_what_it_was_last_set_to(self, broker: Broker) -> None:
        store = broker.store
        store.put("k", "a", b"1")
        store.put("k", "a", b"2")
        store.put("k", "b", b"1")
        store.put("k", "b", None)
        await store.committed()
        assert await store.records("k") == {"a": b"2"}

    async def test_cancelled_waiters_do_no_harm(self, broker: Broker) -> None:
        waiting = asyncio.create_task(broker.store.committed())
        await turn(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await broker.store.committed()


class TestBackPressure:
    async def test_publishers_are_held_back_while_too_much_waits_and_told_when_it_has_gone(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.declare_queue(broker.vhosts["/"], "q")
        await broker.store.committed()
        slow = Slow(monkeypatch)
        told: list[int] = []
        body = bytes(commits.PENDING_BYTES_MAX // 4)
        for i in range(4):
            assert not broker.congested
            broker.publish(broker.vhosts["/"], "", [message(body=body)])
            await turn(1 + i)
        assert broker.congested
        broker.when_relieved(lambda: told.append(1))
        await turn(10)
        assert not told
        slow.gate.set()
        await until(lambda: told)
        assert not broker.congested
        await broker.store.committed()
        assert broker.store.pending_bytes == 0


class TestFailures:
    @pytest.fixture(autouse=True)
    def quick_retries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry, "STORE_DELAY_MAX_S", 0.01)

    async def test_a_commit_that_fails_confirms_nothing_and_loses_nothing(
        self,
        broker: Broker,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(vhost, "q")
        await broker.store.committed()
        failures = iter([sqlite3.OperationalError("disk I/O error"), OSError("no disk")] * 3)
        write = GroupConnection._write

        def fail(connection: GroupConnection, group: group_module.Group) -> object:
            written = write(connection, group)
            for error in failures:
                raise error
            return written

        monkeypatch.setattr(GroupConnection, "_write", fail)
        told: list[int] = []
        with caplog.at_level(logging.INFO, "edge.store"):
            broker.publish(vhost, "", numbered(5))
            broker.after_commit(lambda: told.append(len(caplog.records)))
            await until(lambda: told)
        messages = [record.getMessage() for record in caplog.records]
        assert "nothing is confirmed until it succeeds: disk I/O error" in messages[0]
        assert told[0] >= 6, "confirmed before it succeeded"
        assert rows(tmp_path, "SELECT sum(span) FROM batch") == [(5,)]
        assert queue.committed_sequence == 5

    async def test_a_full_disk_holds_confirms_back_until_there_is_room(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        vhost = broker.vhosts["/"]
        broker.declare_queue(vhost, "q")
        await broker.store.committed()
        connection = broker.store._connections.group_connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
        told: list[int] = []
        broker.publish(vhost, "", numbered(20, size=10_000))
        broker.after_commit(lambda: told.append(1))
        broker.publish(vhost, "", numbered(20, 20, size=10_000))
        await asyncio.sleep(0.1)
        assert not told
        assert rows(tmp_path, "SELECT count(*) FROM batch") == [(0,)]
        connection.execute("PRAGMA max_page_count = 1000000")
        await until(lambda: told)
        await broker.store.committed()
        await crash(broker)
        again = await start(tmp_path)
        assert again.vhosts["/"].queues["q"].messages == 40
        await crash(again)
        await broker.store.open()

    async def test_a_stop_that_times_out_on_a_failing_disk_still_lets_go_of_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = await start(tmp_path)

        def fail(_connection: GroupConnection, _group: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as failing:
            failing.setattr(GroupConnection, "_write", fail)
            await broker.close()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await broker.store.close()
        await stop(await start(tmp_path))

    async def test_an_error_that_is_not_the_disks_stops_the_writer_and_is_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = await start(tmp_path)
        failed = asyncio.create_task(broker.store.writer_failed())
        with monkeypatch.context() as failing:
            failing.setattr(GroupConnection, "_write", lambda *_: 1 // 0)
            broker.store.put("k", "a", b"1")
            assert isinstance(await failed, ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            await broker.store.close()
        again = await start(tmp_path)
        assert await again.store.records("k") == {}
        await stop(again)

    async def test_a_node_whose_writer_died_is_not_said_to_have_lost_its_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite removes the log when the store is closed."""
        broker = await start(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(broker.store._commits, "_take", lambda: 1 / 0)
            broker.store.put("k", "a", b"")
            await broker.store.writer_failed()
            with pytest.raises(ZeroDivisionError):
                await broker.store.close()
        assert not (tmp_path / "leveret.db-wal").exists()
        assert verify(tmp_path / "leveret.db")["ok"]
        again = await start(tmp_path)
        assert not again.store.was_rolled_back
        assert not again.store._stopped_cleanly
        await stop(again)

    async def test_a_writer_that_stops_as_it_should_has_not_failed(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        failed = asyncio.create_task(broker.store.writer_failed())
        await stop(broker)
        await turn(10)
        assert not failed.done()
        failed.cancel()


class TestOpening:
    async def test_a_directory_in_use_is_refused_and_stays_in_use(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        for _ in range(2):
            with pytest.raises(StartupError, match="in use by a running node"):
                await Store(tmp_path).open()

    @pytest.mark.parametrize("content", [b"this is no database, " * 100, bytes(8192)])
    async def test_a_file_that_is_no_store_is_set_aside(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / FILE_NAME).write_bytes(content)
        await stop(await start(tmp_path))
        assert (tmp_path / f"{FILE_NAME}.quarantined-1").read_bytes() == content

    async def test_a_file_that_cannot_be_opened_is_refused_and_nothing_stays_locked(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / FILE_NAME).mkdir()
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be opened"):
                await Store(tmp_path).open()
        (tmp_path / FILE_NAME).rmdir()
        await stop(await start(tmp_path))

    async def test_another_programs_file_is_refused_and_nothing_stays_locked(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / FILE_NAME)
        connection.execute("CREATE TABLE photos (id)")
        connection.close()
        for _ in range(2):
            with pytest.raises(StoreError, match="another program"):
                await Store(tmp_path).open()

    async def test_a_store_that_is_not_open_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="not open"):
            await Store(tmp_path).records("k")


class TestDeletions:
    async def test_nothing_comes_back_to_the_disk_of_a_deleted_queue(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(vhost, "q")
        taker = Taker(queue, 5)
        broker.consume(taker)
        broker.publish(vhost, "", numbered(10))
        await broker.store.committed()
        broker.publish(vhost, "", numbered(10))
        broker.delete_queue(vhost, queue)
        await broker.store.committed()
        queue.settle(taker.held)
        await broker.store.committed()
        assert rows(tmp_path, "SELECT count(*) FROM batch") == [(0,)]
        assert rows(tmp_path, "SELECT count(*) FROM cursor") == [(0,)]

    async def test_long_deletions_end_though_nothing_else_happens(
        self, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 1)
        monkeypatch.setattr(group_module, "DELETE_BATCHES_MAX", 5)
        queue = broker.declare_queue(broker.vhosts["/"], "q")
        broker.publish(broker.vhosts["/"], "", numbered(52))
        await broker.store.committed()
        queue.purge()
        await until(lambda: rows(tmp_path, "SELECT count(*) FROM batch") == [(0,)])

    async def test_a_deletion_cut_short_is_finished_by_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 1)
        monkeypatch.setattr(group_module, "DELETE_BATCHES_MAX", 5)
        broker = await start(tmp_path)
        queue = broker.declare_queue(broker.vhosts["/"], "q")
        broker.publish(broker.vhosts["/"], "", numbered(30))
        await broker.store.committed()
        queue.purge()
        await stop(broker)
        assert rows(tmp_path, "SELECT count(*) FROM batch") != [(0,)], "a stop does not wait for it"
        broker = await start(tmp_path)
        await until(lambda: rows(tmp_path, "SELECT count(*) FROM batch") == [(0,)])
        assert broker.vhosts["/"].queues["q"].messages == 0
        await stop(broker)


ROOT = Path(__file__).parents[3]
PUBLISH = """
import asyncio, sys
from pathlib import Path
from tests.helpers.brokers import numbered, start
async def main():
    broker = await start(Path(sys.argv[1]))
    vhost = broker.vhosts["/"]
    broker.declare_queue(vhost, "q")
    sent = 0
    while True:
        broker.publish(vhost, "", numbered(50, sent))
        sent += 50
        broker.after_commit(lambda sent=sent: print(sent, flush=True))
        await asyncio.sleep(0)
        while broker.store.pending_bytes > 100_000:
            await asyncio.sleep(0.001)
asyncio.run(main())
"""


def run_until_killed(directory: Path, least: int) -> int:
    """Publish in a process of its own, kill it when it has confirmed ``least``; return how many it has in all."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    confirmed = 0
    while confirmed < least:
        confirmed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    lines = process.stdout.read().split("\n")
    process.stdout.close()
    process.wait()
    return max([confirmed, *[int(line) for line in lines[:-1]]])


async def test_a_node_killed_while_it_writes_has_all_that_it_confirmed_in_order(tmp_path: Path) -> None:
    had = 0
    for least in (5_000, 2_000):
        confirmed = run_until_killed(tmp_path, least)
        broker = await start(tmp_path)
        queue = broker.vhosts["/"].queues["q"]
        assert queue.messages >= had + confirmed
        taker = Taker(queue, 10**9)
        broker.consume(taker)
        await until(lambda: not queue.messages_ready)  # noqa: B023  # awaited within the round
        numbers = [int(body) for body in taker.bodies]
        assert numbers[had:] == list(range(len(numbers) - had))
        assert all(entry[2] == 1 for entry in taker.received)
        had = len(numbers)
        await crash(broker)
