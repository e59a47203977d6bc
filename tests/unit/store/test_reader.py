"""Reading back what was committed: states of queues at start, and pages."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.core.message import Message
from edge.core.queue import Queue
from edge.core.queue_state import QueueState
from edge.store import reader as reader_module
from edge.store.group import Group, GroupConnection
from edge.store.reader import Reader
from edge.store.schema import prepare
from tests.helpers.brokers import FakeHost, message, numbered

MIB = 1024 * 1024


class Disk:
    """A store that is written by hand."""

    def __init__(self, path: str, reader: Reader) -> None:
        self.connection = sqlite3.connect(path, factory=GroupConnection, isolation_level=None)
        self.reader = reader
        self.queue = Queue(FakeHost(), "/", "q", 3)

    def commit(self, messages: list[Message] | None = None) -> None:
        """Enqueue messages and commit; each commit is a batch of its own."""
        if messages:
            self.queue.enqueue(messages)
        self.write(self.queue.take())

    def write(self, state: QueueState) -> None:
        group = Group()
        group.states = [state]
        self.connection.group = group
        self.connection.commit()
        self.queue.committed(state)

    def settle(self, *sequences: int) -> None:
        """Settle whichever of the messages in RAM."""
        for entry in list(self.queue.ready):
            if entry[0] in sequences:
                self.queue.ready.remove(entry)
                self.queue.messages_ready -= 1
                self.queue.messages_unacknowledged += 1
                self.queue.settle([entry])

    async def page(self, first: int, end: int | None = None) -> tuple[list[int], int]:
        entries, behind = await self.reader.page(3, first, self.queue.next_sequence if end is None else end)
        return [entry[0] for entry in entries], behind


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    path = str(tmp_path / "store.db")
    first = sqlite3.connect(path, isolation_level=None)
    prepare(first, path)
    reader = await Reader.open(path)
    made = Disk(path, reader)
    yield made
    await reader.close()
    made.connection.close()
    first.close()


class TestPages:
    async def test_a_page_is_whole_batches_from_the_sequence_on(self, disk: Disk) -> None:
        for start in range(0, 5_000, 500):
            disk.commit(numbered(500, start))
        assert await disk.page(0) == (list(range(2_500)), 2_500)
        assert await disk.page(2_500) == (list(range(2_500, 5_000)), 5_000)

    async def test_a_page_may_begin_within_a_batch(self, disk: Disk) -> None:
        disk.commit(numbered(100))
        assert await disk.page(40) == (list(range(40, 100)), 100)

    async def test_a_page_ends_when_it_has_enough_bytes_and_has_at_least_one_batch(self, disk: Disk) -> None:
        for i in range(4):
            disk.commit([message(body=bytes(MIB + i))])
        for i in range(4):
            assert await disk.page(i) == ([i], i + 1)

    async def test_a_batch_that_ends_before_the_sequence_makes_no_page(self, disk: Disk) -> None:
        disk.commit([message(body=bytes(2 * MIB))])
        disk.queue.enqueue(numbered(1))
        disk.settle(1)
        disk.commit()
        disk.commit(numbered(1))
        assert await disk.page(1) == ([2], 3)

    async def test_many_small_batches_come_in_several_pages(
        self, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader_module, "PAGE_BATCHES_MAX", 7)
        for i in range(20):
            disk.commit(numbered(1, i))
        assert await disk.page(0) == (list(range(7)), 7)
        assert await disk.page(14) == (list(range(14, 20)), 20)

    async def test_nothing_behind_the_end_is_read(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.commit(numbered(10))
        assert await disk.page(0, 10) == (list(range(10)), 10)

    async def test_where_all_is_settled_the_page_is_empty_and_reaches_the_end(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.settle(*range(10))
        disk.commit()
        assert await disk.page(0) == ([], 10)

    async def test_other_queues_do_not_come_in(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.queue.id = 4
        disk.commit(numbered(10))
        assert await disk.page(0) == (list(range(10)), 20)
        assert await disk.reader.queue_ids() == {3, 4}


class TestStates:
    async def state(self, disk: Disk, clean: bool = True) -> tuple[int, ...]:
        state, has_batches = await disk.reader.queue_state(3, clean)
        return (
            state.next_sequence,
            state.settled_low,
            state.messages,
            state.message_bytes,
            state.delivered_sequence,
            int(has_batches),
        )

    async def test_of_a_queue_with_nothing_on_disk(self, disk: Disk) -> None:
        assert await self.state(disk) == (0, 0, 0, 0, 0, 0)

    async def test_of_a_queue_that_never_settled_anything(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.commit(numbered(5))
        assert await self.state(disk) == (15, 0, 15, 120, 0, 1)

    async def test_of_a_queue_that_has_only_a_cursor(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.settle(*range(10))
        disk.commit()
        assert await self.state(disk) == (10, 10, 0, 0, 0, 0)

    async def test_of_a_queue_that_grew_after_its_last_settling(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        disk.settle(0, 1)
        disk.commit()
        disk.commit(numbered(3))
        assert await self.state(disk) == (13, 2, 11, 88, 0, 1)

    async def test_of_a_queue_whose_last_messages_were_settled_before_their_commit(self, disk: Disk) -> None:
        disk.queue.enqueue(numbered(10))
        disk.settle(8, 9)
        disk.commit()
        assert await self.state(disk) == (10, 0, 8, 64, 0, 1)
        state, _ = await disk.reader.queue_state(3, True)
        assert state.settled_ranges == [(8, 10)]

    async def test_after_a_crash_all_may_have_been_delivered(self, disk: Disk) -> None:
        disk.commit(numbered(10))
        assert (await self.state(disk, clean=False))[4] == 10


async def test_records_are_read_by_kind(disk: Disk) -> None:
    group = Group()
    group.records = {("a", "1"): b"x", ("a", "2"): b"y", ("b", "1"): b"z"}
    disk.connection.group = group
    disk.connection.commit()
    assert await disk.reader.records("a") == {"1": b"x", "2": b"y"}
    assert await disk.reader.records("c") == {}


async def test_the_reader_cannot_write(disk: Disk) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await disk.reader._connection.execute("DELETE FROM batch")
