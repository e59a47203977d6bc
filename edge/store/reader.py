"""Reading the store: records and queues at start, pages of a queue later.

Reads have a connection of their own that never writes nor checkpoints (SQLite before 3.51.3 corrupts a store when two
connections do).
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiosqlite
import msgspec

from edge.core.consumer import Entry
from edge.core.message import Message
from edge.core.queue_state import RecoveredState
from edge.store.checksum import batch_crc
from edge.store.group import BATCH_MESSAGES_MAX, whole_queue
from edge.store.schema import SEQUENCE_BITS, batch_id

PAGE_MESSAGES: Final = 2048
"""Messages after which a page is full: half a queue's window."""
PAGE_BYTES: Final = 1024 * 1024
PAGE_BATCHES_MAX: Final = 512
"""Rows read at once; a queue filled at a low rate has a message a batch."""

NEXT_SIZES: Final = """
SELECT id, coalesce(CAST(span AS INTEGER), 0), coalesce(length(data), 0) FROM batch
WHERE id >= coalesce((SELECT max(id) FROM batch WHERE id >= ? AND id <= ?), ?) AND id < ? AND id + span > ?
ORDER BY id LIMIT ?
"""
"""The batch that holds the first sequence may begin before it; one that ends before it makes no page."""

READ_BATCHES: Final = """
SELECT id, coalesce(CAST(span AS INTEGER), 0), coalesce(CAST(messages AS INTEGER), 0),
    coalesce(CAST(message_bytes AS INTEGER), 0), coalesce(CAST(data AS BLOB), x''), coalesce(CAST(crc AS INTEGER), 0)
FROM batch WHERE id >= ? AND id <= ? ORDER BY id
"""
"""One flipped bit makes text or nothing of a number; the casts cost nothing where the type is right."""
NEXT_BATCH: Final = "SELECT min(id) FROM batch WHERE id > ? AND id < ?"

_decode_batch = msgspec.msgpack.Decoder(list[Message | None]).decode
_decode_ranges = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


class Reader:
    """The connection that reads."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        #: Told of each batch that is not as it was written: its id and its bytes.
        self.on_bad_batch: Callable[[int, bytes], None] | None = None

    @classmethod
    async def open(cls, path: str) -> "Reader":
        connection = await aiosqlite.connect(path, isolation_level=None)
        for pragma in ("query_only = 1", "wal_autocheckpoint = 0", "mmap_size = 0", "cache_size = -1024"):
            await connection.execute(f"PRAGMA {pragma}")
        return cls(connection)

    async def close(self) -> None:
        await self._connection.close()

    async def records(self, kind: str) -> dict[str, bytes]:
        """All records of a kind, by key."""
        rows = await self._connection.execute_fetchall(
            "SELECT key, value FROM record WHERE kind = ?", (kind,)
        )
        return {row[0]: row[1] for row in rows}

    async def queue_ids(self) -> set[int]:
        """Every queue that has batches."""
        found: set[int] = set()
        lower = 0
        while True:
            row = await self._one("SELECT min(id) FROM batch WHERE id >= ?", (lower,))
            if row is None or row[0] is None:
                return found
            queue_id = int(row[0]) >> SEQUENCE_BITS
            found.add(queue_id)
            lower = whole_queue(queue_id)[1]

    async def queue_state(self, queue_id: int, stopped_cleanly: bool) -> tuple[RecoveredState, bool]:
        """Where a queue stood at its last commit, and whether it has batches: two look-ups, whatever its length."""
        start, end = whole_queue(queue_id)
        batch = await self._one(
            "SELECT id, span, messages, message_bytes FROM batch WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            (start, end),
        )
        cursor = await self._one(
            "SELECT next_sequence, low, ranges, messages, message_bytes, delivered_sequence"
            " FROM cursor WHERE queue_id = ?",
            (queue_id,),
        )
        state = state_of(queue_id, batch, cursor)
        if not stopped_cleanly:
            state.delivered_sequence = state.next_sequence
        return state, batch is not None

    async def page(self, queue_id: int, first_sequence: int, end_sequence: int) -> tuple[list[Entry], int]:
        """Read the next page from ``first_sequence`` on; return its entries and the sequence behind it.

        Entries may include what has been settled since; when nothing is left below ``end_sequence``, the sequence
        returned is ``end_sequence``.
        """
        base = batch_id(queue_id, 0)
        first, end = base + first_sequence, base + end_sequence
        sizes = list(
            await self._connection.execute_fetchall(
                NEXT_SIZES, (base, first, first, end, first, PAGE_BATCHES_MAX)
            )
        )
        if not sizes:
            return [], end_sequence
        count = _page_length(sizes)
        last, last_span, _ = sizes[count - 1]
        rows = await self._connection.execute_fetchall(READ_BATCHES, (sizes[0][0], last))
        entries: list[Entry] = []
        is_last_bad = False
        previous = -1
        for row in rows:
            if row[0] <= previous:
                raise damaged("batches are out of order")
            previous = row[0]
            messages = read_batch(row)
            is_last_bad = messages is None
            if messages is None:
                if self.on_bad_batch is not None:
                    self.on_bad_batch(row[0], row[4])
                continue
            entries += _entries(messages, row[0] - base, first_sequence)
        is_end = count == len(sizes) and count < PAGE_BATCHES_MAX
        behind = end_sequence if is_end else last - base + last_span
        if is_last_bad and not is_end:
            # What it says of its span is as good as the rest of it.
            following = await self._one(NEXT_BATCH, (last, end))
            behind = end_sequence if following is None or following[0] is None else following[0] - base
        return entries, min(behind, end_sequence)

    async def _one(self, sql: str, parameters: tuple[int, ...]) -> sqlite3.Row | None:
        rows = list(await self._connection.execute_fetchall(sql, parameters))
        return rows[0] if rows else None


def _entries(messages: list[Message | None], start: int, first_sequence: int) -> list[Entry]:
    """The entries of a batch that begins at ``start``, from ``first_sequence`` on."""
    if start < first_sequence:
        messages = messages[first_sequence - start :]
        start = first_sequence
    return [(sequence, message, 0) for sequence, message in enumerate(messages, start) if message is not None]


def state_of(queue_id: int, batch: Sequence[Any] | None, cursor: Sequence[Any] | None) -> RecoveredState:
    """A queue's state by its last batch (id, span, messages, message_bytes) and its cursor without id and CRC."""
    start = batch_id(queue_id, 0)
    state = RecoveredState(0, 0, [], 0, 0, 0)
    if cursor is not None:
        state = RecoveredState(
            cursor[0], cursor[1], _decode_ranges(cursor[2]), cursor[3], cursor[4], cursor[5]
        )
    if batch is not None:
        # Not read, so not checked: what it cannot be it is not, and the rest is counted again when it is read.
        batch_end = batch[0] - start + max(1, min(batch[1], BATCH_MESSAGES_MAX))
        if batch_end > state.next_sequence:
            state.next_sequence = batch_end
            state.messages = max(0, min(batch[2], batch_end - state.settled_low))
            state.message_bytes = max(0, batch[3])
    return state


def damaged(text: str) -> sqlite3.DatabaseError:
    """An error for what SQLite does not notice: a page that leads to another one than it should."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def read_batch(row: Sequence[Any]) -> list[Message | None] | None:
    """The messages of a row of ``batch``; None when it is not as it was written."""
    batch, span, messages, message_bytes, data, crc = row
    if crc != batch_crc(batch, span, messages, message_bytes, data):
        return None
    try:
        decoded = _decode_batch(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return decoded if len(decoded) == span else None


def _page_length(sizes: list[sqlite3.Row]) -> int:
    """How many of the next batches make a page; at least one."""
    messages = size = count = 0
    for _, span, length in sizes:
        messages += span
        size += length
        count += 1
        if messages >= PAGE_MESSAGES or size >= PAGE_BYTES:
            break
    return count
