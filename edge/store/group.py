"""What one commit writes, and the SQLite connection that writes it in one go on its thread."""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import Final, final

import msgspec

from edge.core.consumer import Entry
from edge.core.message import Message
from edge.core.queue_state import QueueState
from edge.store.checksum import batch_crc, cursor_crc, record_crc
from edge.store.schema import SEQUENCE_BITS, batch_id

BATCH_MESSAGES_MAX: Final = 1024
"""Messages a batch: a page that is read back, and what one unsettled message can keep from being deleted."""
BATCH_BYTES_MAX: Final = 256 * 1024
"""Bytes of bodies and properties a batch, likewise; a larger message has a batch to itself."""
RANGE_DELETE_MIN: Final = 256
"""A settled range above the watermark is searched for whole batches when it is at least so long, ..."""
RANGES_FEW: Final = 8
"""... or when there are few, so that one unsettled message does not keep hundreds of large ones on disk."""
DELETE_BATCHES_MAX: Final = 512
"""Batches that one statement deletes: a deletion of a million rows would need a WAL as large as the store."""

UPSERT_CURSOR: Final = "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_BATCH: Final = "INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?)"
UPSERT_RECORD: Final = "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)"
DELETE_CURSOR: Final = "DELETE FROM cursor WHERE queue_id = ?"
DELETE_BATCHES: Final = (
    "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE id >= ? AND id < ? AND id + span <= ? LIMIT ?)"
)

_encode_batch = msgspec.msgpack.Encoder().encode

RecordKey = tuple[str, str]
Bounds = tuple[int, int]
"""Half-open."""
BatchRow = tuple[int, int, int, int, bytes, int]


@final
class Group:
    """All that goes to the disk in one transaction."""

    __slots__ = (
        "bound",
        "callbacks",
        "deleted_queues",
        "dropped",
        "early_callbacks",
        "pending_bytes",
        "records",
        "states",
    )

    def __init__(self) -> None:
        self.states: list[QueueState] = []
        #: (kind, key) -> value, or None to delete it; the last one counts.
        self.records: dict[RecordKey, bytes | None] = {}
        #: Ids of queues that are gone.
        self.deleted_queues: list[int] = []
        #: Bounds of batch ids within which all batches are to be deleted; what is left of them after the commit.
        self.dropped: list[Bounds] = []
        #: Keys of records that are written with messages or after them.
        self.bound: set[RecordKey] = set()
        #: Whom to tell when it is written, and how many of the first of them do not wait for messages.
        self.callbacks: list[Callable[[], None]] = []
        self.early_callbacks = 0
        #: What it takes off the bytes that wait for a commit.
        self.pending_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.states or self.records or self.deleted_queues or self.dropped)


class GroupConnection(sqlite3.Connection):
    """A connection whose ``commit`` writes the prepared group.

    aiosqlite hops to its thread once a call; so a whole group costs one hop instead of one a statement.
    """

    group: Group | None = None
    #: Size of the file as of the last commit, and how much of it is free, in pages.
    file_pages = 0
    free_pages = 0

    def commit(self) -> None:
        """Write the group in one transaction; on an error nothing of it is written and it stays prepared."""
        group = self.group
        if group is None:
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            left = self._write(group)
            self.count_pages()
            self.execute("COMMIT")
        except BaseException:
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise
        group.dropped = left
        self.group = None

    def count_pages(self) -> None:
        """Note the size of the file; two look-ups in its first page."""
        self.file_pages = self.execute("PRAGMA page_count").fetchone()[0]
        self.free_pages = self.execute("PRAGMA freelist_count").fetchone()[0]

    def _write(self, group: Group) -> list[Bounds]:
        """Run the statements; return the bounds in which batches are left to delete.

        Deletions come first: what they free is used again in the same transaction.
        """
        batches: list[BatchRow] = []
        for state in group.states:
            if state.entries:
                batches += encode_batches(state)
        dropped = group.dropped + [whole_queue(queue_id) for queue_id in group.deleted_queues]
        for state in group.states:
            if state.settled_ranges is not None:
                dropped += self._settle(state)
        if group.deleted_queues:
            self.executemany(DELETE_CURSOR, [(queue_id,) for queue_id in group.deleted_queues])
        if group.records:
            self._write_records(group.records)
        left = [bounds for bounds in dropped if not self._delete(*bounds)]
        if batches:
            self.executemany(INSERT_BATCH, batches)
        return left

    def _settle(self, state: QueueState) -> list[Bounds]:
        queue = state.queue
        ranges = state.settled_ranges or []
        if queue.durable:
            row = (
                queue.id,
                state.next_sequence,
                state.settled_low,
                _encode_batch(ranges),
                state.messages,
                state.message_bytes,
                state.delivered_sequence,
            )
            self.execute(UPSERT_CURSOR, (*row, cursor_crc(row)))
        if len(ranges) > RANGES_FEW:
            ranges = [bounds for bounds in ranges if bounds[1] - bounds[0] >= RANGE_DELETE_MIN]
        return [
            (batch_id(queue.id, start), batch_id(queue.id, end))
            for start, end in [(0, state.settled_low), *ranges]
        ]

    def _delete(self, start: int, end: int) -> bool:
        """Delete batches that lie wholly within the bounds; return whether none is left."""
        cursor = self.execute(DELETE_BATCHES, (start, end, end, DELETE_BATCHES_MAX))
        return cursor.rowcount < DELETE_BATCHES_MAX

    def _write_records(self, records: dict[RecordKey, bytes | None]) -> None:
        kept = [
            (kind, key, value, record_crc(kind, key, value))
            for (kind, key), value in records.items()
            if value is not None
        ]
        gone = [pair for pair, value in records.items() if value is None]
        if kept:
            self.executemany(UPSERT_RECORD, kept)
        if gone:
            self.executemany("DELETE FROM record WHERE kind = ? AND key = ?", gone)


def encode_batches(state: QueueState) -> list[BatchRow]:
    """Rows for a queue's new entries, cut by number and bytes."""
    rows: list[BatchRow] = []
    entries = state.entries
    start = 0
    while start < len(entries):
        end = _batch_end(entries, start)
        first = entries[start][0]
        span = entries[end - 1][0] + 1 - first
        messages: list[Message | None]
        if span == end - start:
            messages = [entry[1] for entry in entries[start:end]]
        else:
            # Settled before they were written: the places stay, so that the others keep their sequence.
            messages = [None] * span
            for sequence, message, _ in entries[start:end]:
                messages[sequence - first] = message
        batch, data = batch_id(state.queue.id, first), _encode_batch(messages)
        crc = batch_crc(batch, span, state.messages, state.message_bytes, data)
        rows.append((batch, span, state.messages, state.message_bytes, data, crc))
        start = end
    return rows


def _batch_end(entries: list[Entry], start: int) -> int:
    last = min(len(entries), start + BATCH_MESSAGES_MAX)
    sizes = accumulate([len(entry[1].body) + len(entry[1].properties) for entry in entries[start:last]])
    by_bytes = start + max(1, bisect_right(list(sizes), BATCH_BYTES_MAX))
    by_span = bisect_left(entries, entries[start][0] + BATCH_MESSAGES_MAX, start, last, key=itemgetter(0))
    return min(by_bytes, by_span)


def whole_queue(queue_id: int) -> Bounds:
    """The bounds of all batches of a queue."""
    return queue_id << SEQUENCE_BITS, (queue_id + 1) << SEQUENCE_BITS
