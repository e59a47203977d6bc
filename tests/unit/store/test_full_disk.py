"""On a full disk what makes room goes first, and nothing is torn apart that belongs together.

The disk is full for SQLite: the file may not grow (``max_page_count``). The real thing is in ``tests/durability``.
"""

import errno
import logging
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.queue import Queue
from edge.store import commits as commits_module
from edge.store import group as group_module
from edge.store import space as space_module
from edge.store.group import GroupConnection
from edge.store.opening import wal_of
from tests.helpers.brokers import Taker, crash, message, numbered, start, stop, turn, until

SIZE = 40_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often; a message is a batch."""
    monkeypatch.setattr(space_module, "LOOK_LOW_S", 0.01)
    monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 1)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = await start(tmp_path)
    yield made
    await stop(made)


class Full:
    """A broker whose disk is full; queue "full" holds ten messages of 40 KB."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.vhost = broker.vhosts["/"]
        self.told: list[str] = []

    async def fill(self) -> None:
        self.queue = self.broker.declare_queue(self.vhost, "full")
        self.other = self.broker.declare_queue(self.vhost, "other")
        self.broker.publish(self.vhost, "", numbered(10, size=SIZE, routing_key="full"))
        await self.broker.store.committed()
        self.taker = Taker(self.queue, 10)
        self.broker.consume(self.taker)
        await turn()
        self.limit(4)

    def limit(self, more: int) -> None:
        connection = self.broker.store._connections.group_connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more}")

    def publish(self, count: int = 5, to: str = "other") -> None:
        """Publish what there is no room for."""
        self.broker.publish(self.vhost, "", numbered(count, size=SIZE, routing_key=to))
        self.broker.after_commit(lambda: self.told.append("published"))

    async def settle(self, count: int) -> None:
        """Acknowledge, and wait until that is on the disk."""
        self.taker.settle(count)
        done: list[int] = []
        self.broker.after_commit(lambda: done.append(1), with_messages=False)
        await until(lambda: done)


@pytest.fixture
async def full(broker: Broker) -> Full:
    made = Full(broker)
    await made.fill()
    return made


async def restarted(broker: Broker, directory: Path) -> Broker:
    """As after SIGKILL."""
    await crash(broker)
    return await start(directory)


async def test_messages_wait_and_everything_else_goes_on(
    full: Full, caplog: pytest.LogCaptureFixture
) -> None:
    broker = full.broker
    full.publish()
    await until(lambda: broker.is_full)
    assert "commit failed, messages wait unconfirmed until there is room" in caplog.text
    broker.declare_queue(full.vhost, "new")
    broker.after_commit(lambda: full.told.append("declared"), with_messages=False)
    await until(lambda: full.told)
    await full.settle(2)
    assert full.told == ["declared"]
    assert broker.store.is_failing or broker.is_full
    await full.settle(8)
    await until(lambda: "published" in full.told)
    await until(lambda: not broker.is_full)
    assert not broker.store.is_failing
    assert full.other.committed_sequence == 5


async def test_after_a_power_cut_what_was_settled_stays_so_and_what_waited_was_never_there(
    full: Full, tmp_path: Path
) -> None:
    full.publish(to="full")
    await until(lambda: full.broker.is_full)
    await full.settle(2)
    assert not full.told
    again = await restarted(full.broker, tmp_path)
    queue = again.vhosts["/"].queues["full"]
    taker = Taker(queue)
    again.consume(taker)
    await until(lambda: len(taker.bodies) == 8)
    assert [int(body[-4:]) for body in taker.bodies] == list(range(2, 10))
    assert queue.messages == 8
    assert not again.store.losses.entries
    await crash(again)
    await full.broker.store.open()


async def test_what_waits_is_not_written_when_it_is_settled_meanwhile(full: Full) -> None:
    taker = Taker(full.other, 3)
    full.broker.consume(taker)
    written = full.broker.store.wear.messages_written
    full.publish()
    await until(lambda: full.broker.is_full)
    taker.settle(3)
    full.broker.cancel(taker)
    await full.settle(10)
    await until(lambda: full.told)
    assert full.broker.store.wear.messages_written == written + 2


async def test_a_dead_letter_stays_in_its_old_queue_until_it_is_in_the_new_one(
    full: Full, tmp_path: Path
) -> None:
    full.queue.policy = {"dead-letter-exchange": "", "dead-letter-routing-key": "other"}
    full.publish()
    await until(lambda: full.broker.is_full)
    entries, full.taker.held = full.taker.held[:1], full.taker.held[1:]
    full.queue.reject(entries)
    await turn(50)
    again = await restarted(full.broker, tmp_path)
    queues = again.vhosts["/"].queues
    assert (queues["full"].messages, queues["other"].messages) == (10, 0)
    await crash(again)
    await full.broker.store.open()


async def test_a_record_that_stands_for_messages_comes_with_them_and_others_before(full: Full) -> None:
    store = full.broker.store
    store.put("k", "of messages", b"1", with_messages=True)
    full.publish()
    await until(lambda: full.broker.is_full)
    store.put("k", "of messages", b"2")
    store.put("k", "other", b"1")
    await full.settle(1)
    assert await store.records("k") == {"other": b"1"}
    await full.settle(9)
    await until(lambda: full.told)
    assert await store.records("k") == {"of messages": b"2", "other": b"1"}


async def test_what_does_not_fit_at_once_is_written_in_parts(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for it hears when all of it is there, and not before."""
    monkeypatch.setattr(space_module.Space, "part_bytes", lambda _: 3 * SIZE)
    full.publish(8)
    await until(lambda: full.broker.is_full)
    await full.settle(5)
    await until(lambda: full.other.committed_sequence >= 3)
    assert not full.told
    await full.settle(5)
    await until(lambda: full.told)
    assert full.other.committed_sequence == 8
    taker = Taker(full.other)
    full.broker.consume(taker)
    await until(lambda: len(taker.bodies) == 8)
    assert [int(body[-4:]) for body in taker.bodies] == list(range(8))


async def test_a_stop_does_not_wait_for_room(full: Full, tmp_path: Path) -> None:
    full.publish()
    await until(lambda: full.broker.is_full)
    full.taker.settle(1)
    await stop(full.broker)
    again = await start(tmp_path)
    queues: dict[str, Queue] = again.vhosts["/"].queues
    assert (queues["full"].messages, queues["other"].messages) == (9, 0)
    await crash(again)
    await full.broker.store.open()


@pytest.mark.parametrize(
    ("error", "free", "is_room"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 10**9, True),
        (OSError(errno.EFBIG, "File too large"), 10**9, True),
        (OSError(errno.EIO, "Input/output error"), 10**9, False),
        (sqlite3.OperationalError("disk I/O error"), 0, True),
        (sqlite3.OperationalError("disk I/O error"), 10**9, False),
    ],
)
async def test_a_full_disk_is_told_from_a_broken_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, is_room: bool
) -> None:
    if isinstance(error, sqlite3.Error):
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    commits = broker.store._commits
    monkeypatch.setattr(commits._space, "measure", lambda: setattr(commits._space, "disk_free_bytes", free))
    assert commits._is_for_want_of_room(error) == is_room


async def test_a_disk_that_takes_nothing_at_all_is_tried_again_and_again(
    full: Full, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_connection: GroupConnection, _group: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as failing, caplog.at_level(logging.INFO, "edge.store"):
        failing.setattr(GroupConnection, "_write", fail)
        full.publish(1)
        await until(lambda: caplog.text.count("not even acknowledgements can be written") > 2)
        assert not full.told
    full.limit(1000)
    await until(lambda: full.told)
    assert full.broker.store._commits._part_bytes_max >= commits_module.PART_BYTES_MIN


async def test_publishers_that_wait_for_relief_hear_of_the_alarm(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read on, and are told at their next publish that they are blocked."""
    monkeypatch.setattr(space_module.Space, "pending_bytes_max", lambda *_: SIZE)
    relieved: list[int] = []
    full.publish()
    assert full.broker.congested
    full.broker.when_relieved(lambda: relieved.append(1))
    await until(lambda: relieved)
    assert full.broker.is_full


class TestPassingOn:
    async def test_on_a_full_disk_only_queues_that_do_not_need_it_are_given_anything(
        self, broker: Broker
    ) -> None:
        vhost = broker.vhosts["/"]
        durable = broker.declare_queue(vhost, "durable")
        transient = broker.declare_queue(vhost, "transient", durable=False)
        for queue in (durable, transient):
            broker.bind(vhost, "amq.fanout", queue.name, "")
        vhost.pass_on("amq.fanout", [message(), message()])
        assert (durable.messages, transient.messages) == (0, 2)
        assert (durable.dropped, transient.dropped) == ({"disk-full": 2}, {})

    async def test_what_is_refused_is_counted_with_each_queue_that_does_not_get_it(
        self, broker: Broker
    ) -> None:
        vhost = broker.vhosts["/"]
        queues = [broker.declare_queue(vhost, name) for name in ("a", "b")]
        for queue in queues:
            broker.bind(vhost, "amq.fanout", queue.name, "")
        vhost.count_refused("amq.fanout", [message()])
        assert [(queue.messages, queue.dropped) for queue in queues] == [(0, {"disk-full": 1})] * 2


class TestFileSizeLimit:
    """``ulimit -f``: Python ignores SIGXFSZ, so a write that exceeds it fails with EFBIG."""

    LIMIT_BYTES = 6_000_000

    @pytest.fixture
    def limited(self) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.LIMIT_BYTES, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    async def test_a_file_that_may_not_grow_is_a_full_disk_and_no_broken_one(
        self, limited: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(vhost, "q")
        published = 0
        while not broker.is_full:
            broker.publish(vhost, "", numbered(5, published, size=SIZE))
            published += 5
            await broker.store.committed()
        assert 4_000_000 < published * SIZE < self.LIMIT_BYTES, "the alarm comes first"
        # Who does not heed it: shovels had such messages on their way.
        told: list[int] = []
        broker.publish(vhost, "", numbered(40, published, size=SIZE))
        broker.after_commit(lambda: told.append(1))
        published += 40
        await until(lambda: broker.store.space.is_exhausted)
        assert not told
        taker = Taker(queue, 10)
        broker.consume(taker)
        while len(taker.received) < published or taker.held:
            await until(lambda: taker.held)
            taker.settle(len(taker.held))
        await until(lambda: told and not broker.is_full)
        assert [int(body[-6:]) for body in taker.bodies] == list(range(published))
        assert "I/O" not in caplog.text
        await stop(broker)

    async def test_a_log_that_may_not_grow_is_checkpointed(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        commits = broker.store._commits
        assert not commits._is_for_want_of_room(error)
        size = wal_of(broker.store.path).stat().st_size
        monkeypatch.setattr(space_module.Space, "file_bytes_max", size + 1000)
        monkeypatch.setattr(commits._space, "measure", lambda: None)
        assert commits._is_for_want_of_room(error)
