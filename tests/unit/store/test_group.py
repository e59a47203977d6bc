"""What a commit writes, without a node."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from edge.core.consumer import Entry
from edge.core.message import Message
from edge.core.queue import Queue
from edge.core.queue_state import QueueState
from edge.store import group as group_module
from edge.store.group import (
    BATCH_BYTES_MAX,
    BATCH_MESSAGES_MAX,
    Group,
    GroupConnection,
    encode_batches,
    whole_queue,
)
from edge.store.schema import SEQUENCE_BITS, batch_id, prepare
from tests.helpers.brokers import FakeHost, message, numbered

QUEUE_ID = 7


def state_of(messages: list[Message], sequences: list[int] | None = None) -> QueueState:
    queue = Queue(FakeHost(), "/", "q", QUEUE_ID)
    queue.enqueue(messages)
    entries: list[Entry] = list(
        zip(sequences or range(len(messages)), messages, [0] * len(messages), strict=True)
    )
    return QueueState(queue, entries, None)


def spans(state: QueueState) -> list[tuple[int, int]]:
    """First sequence and span of each batch."""
    return [(row[0] - batch_id(QUEUE_ID, 0), row[1]) for row in encode_batches(state)]


def connection(path: Path) -> GroupConnection:
    made = sqlite3.connect(path / "store", factory=GroupConnection, isolation_level=None)
    prepare(made, "store")
    return made


def write(to: GroupConnection, *states: QueueState, **parts: object) -> Group:
    group = Group()
    group.states = list(states)
    for name, value in parts.items():
        setattr(group, name, value)
    to.group = group
    to.commit()
    return group


def ids(of: GroupConnection) -> list[int]:
    return [row[0] for row in of.execute("SELECT id FROM batch ORDER BY id")]


class TestBatches:
    def test_what_one_commit_brings_to_a_queue_is_one_row(self) -> None:
        (row,) = encode_batches(state_of(numbered(100)))
        assert row[:4] == (batch_id(QUEUE_ID, 0), 100, 100, 800)
        assert msgspec.msgpack.decode(row[4], type=list[Message | None]) == numbered(100)

    def test_a_long_run_is_cut_by_number(self) -> None:
        assert spans(state_of(numbered(BATCH_MESSAGES_MAX * 2 + 1))) == [
            (0, BATCH_MESSAGES_MAX),
            (BATCH_MESSAGES_MAX, BATCH_MESSAGES_MAX),
            (BATCH_MESSAGES_MAX * 2, 1),
        ]

    def test_a_run_of_large_messages_is_cut_by_bytes(self) -> None:
        third = BATCH_BYTES_MAX // 3
        assert spans(state_of(numbered(7, size=third - 2))) == [(0, 3), (3, 3), (6, 1)]

    def test_properties_count_as_bytes(self) -> None:
        half = bytes(BATCH_BYTES_MAX // 2)
        assert spans(state_of([message(properties=half) for _ in range(4)])) == [(0, 2), (2, 2)]

    def test_a_message_larger_than_a_batch_has_one_to_itself(self) -> None:
        small, large = message(body=b"small"), message(body=bytes(BATCH_BYTES_MAX * 2))
        assert spans(state_of([small, large, small, large])) == [(0, 1), (1, 1), (2, 1), (3, 1)]

    def test_places_of_messages_that_were_settled_before_stay_empty(self) -> None:
        state = state_of(numbered(3), [5, 8, 9])
        (row,) = encode_batches(state)
        assert (row[0], row[1]) == (batch_id(QUEUE_ID, 5), 5)
        stored = msgspec.msgpack.decode(row[4], type=list[Message | None])
        assert stored == [numbered(1)[0], None, None, *numbered(2, 1)]

    def test_a_batch_spans_no_more_places_than_it_may_hold_messages(self) -> None:
        assert spans(state_of(numbered(3), [0, BATCH_MESSAGES_MAX - 1, BATCH_MESSAGES_MAX])) == [
            (0, BATCH_MESSAGES_MAX),
            (BATCH_MESSAGES_MAX, 1),
        ]

    def test_the_batches_of_a_queue_lie_within_its_bounds(self) -> None:
        start, end = whole_queue(QUEUE_ID)
        assert start == batch_id(QUEUE_ID, 0)
        assert batch_id(QUEUE_ID, (1 << SEQUENCE_BITS) - 1) == end - 1
        assert batch_id((1 << 23) - 1, (1 << SEQUENCE_BITS) - 1) == 2**63 - 1, (
            "the last one that SQLite can hold"
        )


class TestCommit:
    def test_without_a_group_a_commit_writes_nothing(self, tmp_path: Path) -> None:
        db = connection(tmp_path)
        db.commit()
        assert not db.in_transaction
        db.close()

    def test_a_group_is_written_whole_or_not_at_all(self, tmp_path: Path) -> None:
        db = connection(tmp_path)
        group = Group()
        group.states = [state_of(numbered(3))]
        group.records = {("kind", "key"): "no bytes"}  # type: ignore[dict-item]
        db.group = group
        with pytest.raises(TypeError):
            db.commit()
        assert not db.in_transaction
        assert (ids(db), db.group) == ([], group)
        group.records = {("kind", "key"): b"bytes"}
        db.commit()
        assert (len(ids(db)), db.group) == (1, None)
        db.close()

    def test_records_are_set_replaced_and_deleted(self, tmp_path: Path) -> None:
        db = connection(tmp_path)
        write(db, records={("k", "a"): b"1", ("k", "b"): b"2", ("k", "none"): None})
        write(db, records={("k", "a"): b"3", ("k", "b"): None})
        assert db.execute("SELECT kind, key, value FROM record").fetchall() == [("k", "a", b"3")]
        db.close()

    def test_only_batches_that_are_wholly_settled_are_deleted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 10)
        db = connection(tmp_path)
        state = state_of(numbered(50))
        write(db, state)
        settled = state_of([])
        settled.settled_low, settled.settled_ranges = 15, [(18, 41)]
        write(db, settled)
        assert [i - batch_id(QUEUE_ID, 0) for i in ids(db)] == [10, 40]
        db.close()

    def test_among_many_ranges_only_long_ones_are_searched_for_batches(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 1)
        db = connection(tmp_path)
        write(db, state_of(numbered(400)))
        settled = state_of([])
        settled.settled_ranges = [*[(i, i + 1) for i in range(1, 20, 2)], (100, 360)]
        write(db, settled)
        assert len(ids(db)) == 400 - 260
        db.close()

    def test_a_long_deletion_is_carried_over_in_pieces(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_module, "BATCH_MESSAGES_MAX", 1)
        monkeypatch.setattr(group_module, "DELETE_BATCHES_MAX", 10)
        db = connection(tmp_path)
        write(db, state_of(numbered(25)))
        group = write(db, deleted_queues=[QUEUE_ID])
        assert (len(ids(db)), group.dropped) == (15, [whole_queue(QUEUE_ID)])
        group = write(db, dropped=group.dropped)
        assert len(ids(db)) == 5
        group = write(db, dropped=group.dropped)
        assert (ids(db), group.dropped) == ([], [])
        db.close()

    def test_a_deleted_queue_leaves_neither_batches_nor_a_cursor(self, tmp_path: Path) -> None:
        db = connection(tmp_path)
        state, other = state_of(numbered(3)), state_of(numbered(3))
        other.queue.id = QUEUE_ID + 1
        state.settled_ranges = other.settled_ranges = []
        write(db, state, other)
        write(db, deleted_queues=[QUEUE_ID])
        assert db.execute("SELECT queue_id FROM cursor").fetchall() == [(QUEUE_ID + 1,)]
        assert ids(db) == [batch_id(QUEUE_ID + 1, 0)]
        db.close()

    def test_a_transient_queue_has_no_cursor(self, tmp_path: Path) -> None:
        db = connection(tmp_path)
        state = state_of(numbered(3))
        state.queue.durable = False
        state.settled_ranges = []
        write(db, state)
        assert db.execute("SELECT count(*) FROM cursor").fetchone() == (0,)
        db.close()
