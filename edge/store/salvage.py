"""Builds a fresh store of what is readable in a damaged one, and says what is not.

Rows are copied as they are found, page by page, in constant memory. What follows from other rows is made whole again:
vhosts of entities, cursors over messages that are gone, the next queue's id.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from edge.core.message import Message
from edge.core.settled import Settled
from edge.store import losses, records
from edge.store.checksum import batch_crc, cursor_crc, record_crc
from edge.store.group import BATCH_MESSAGES_MAX, INSERT_BATCH, UPSERT_CURSOR, UPSERT_RECORD, whole_queue
from edge.store.losses import Loss
from edge.store.pages import Pages, Value
from edge.store.schema import SEQUENCE_BITS, batch_id, make_tables

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of batches between two inserts."""
LOSSES_PER_QUEUE: Final = 10
"""Ranges that are reported one by one; more are drawn together into one."""
RECOVERED: Final = "recovered-"
"""Begins the name of a queue whose own record is lost; its id follows."""
NEXT_QUEUE_ID: Final = ("node", "next-queue-id")
CLOCK: Final = ("node", "clock")
NODE_ID: Final = ("node", "id")
KEYS: Final = "SELECT key FROM record WHERE kind = ?"
OWNED: Final = (records.QUEUE, records.EXCHANGE, records.BINDING)

_ranges = msgspec.msgpack.Decoder(list[tuple[int, int]])
_messages = msgspec.msgpack.Decoder(list[Message | None])
_encode = msgspec.msgpack.encode
_NO_MESSAGES: Final = _encode([])


class Row(NamedTuple):
    """A row as it was found on a page."""

    table: str
    values: tuple[Value, ...]
    is_sound: bool


def sort_row(values: Sequence[Value]) -> Row | None:
    """Which table a row is of, by its columns, and whether its CRC is right; None for one that is of none."""
    row = tuple(values)
    types = tuple(type(value) for value in row)
    if types == (int, int, int, int, bytes, int):
        return Row("batch", row, row[5] == batch_crc(*row[:5]))  # type: ignore[arg-type]
    if types == (int, int, int, bytes, int, int, int, int):
        return Row("cursor", row, row[7] == cursor_crc(row[:7]))  # type: ignore[arg-type]
    if types == (str, str, bytes, int):
        return Row("record", row, row[3] == record_crc(*row[:3]))  # type: ignore[arg-type]
    return None


class Salvage:
    """One run from ``source`` and its log into the new file ``target``; ``losses`` tells what is missing there."""

    def __init__(self, source: Path, wal: Path, target: Path) -> None:
        self.losses: list[Loss] = []
        self.kept_batches = 0
        self._pages = Pages(source, wal)
        self._store = sqlite3.connect(target, isolation_level=None)
        #: Damaged batches, queue id -> first sequence and span, as far as they can be believed.
        self._bad_batches: dict[int, list[tuple[int, int]]] = {}
        self._bad_cursors: set[int] = set()
        self._has_lost_records = False
        #: There may be rows of which not even this much is known.
        self._is_uncertain = self._pages.count < self._pages.declared_count

    def run(self, with_messages: bool = True, with_data: bool = True) -> list[Loss]:
        """Without data it only finds out what is lost.

        Raises sqlite3.Error when the target cannot be written, OSError when the source cannot be opened.
        """
        store = self._store
        try:
            # Nobody reads it before it is whole and synced.
            store.execute("PRAGMA page_size = 4096")
            store.execute("PRAGMA journal_mode = OFF")
            store.execute("PRAGMA synchronous = OFF")
            make_tables(store)
            store.execute("BEGIN")
            self._copy(with_messages, with_data)
            self._is_uncertain = self._is_uncertain or self._pages.bad_pages > 0
            self._mend_records()
            for queue_id, (vhost, name) in self._queues().items():
                self._mend_cursor(queue_id, vhost, name)
            store.execute("COMMIT")
            return self.losses
        finally:
            store.close()
            self._pages.close()

    # -- copying ---------------------------------------------------------------------------------------------------

    def _copy(self, with_messages: bool, with_data: bool) -> None:
        for chunk in self._chunks():
            if with_messages:
                batches = [row.values for row in chunk if row.table == "batch"]
                if not with_data:
                    batches = [(*batch[:4], _NO_MESSAGES, batch[5]) for batch in batches]
                self._store.executemany(INSERT_BATCH.replace("REPLACE", "IGNORE"), batches)
                self.kept_batches += len(batches)
            self._store.executemany(
                UPSERT_CURSOR.replace("REPLACE", "IGNORE"),
                [row.values for row in chunk if row.table == "cursor"],
            )
            self._store.executemany(
                UPSERT_RECORD.replace("REPLACE", "IGNORE"),
                [row.values for row in chunk if row.table == "record"],
            )

    def _chunks(self) -> Iterator[list[Row]]:
        """Sound rows, in runs that fit into RAM; of others is noted what they were."""
        chunk: list[Row] = []
        size = 0
        for values in self._pages.rows():
            row = sort_row(values)
            if row is None:
                self._is_uncertain = True
                continue
            if not row.is_sound:
                self._note_bad(row)
                continue
            chunk.append(row)
            size += sum([len(value) for value in values if isinstance(value, bytes)]) + 100
            if size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        yield chunk

    def _note_bad(self, row: Row) -> None:
        if row.table == "batch":
            batch, span = row.values[:2]
            assert isinstance(batch, int)
            assert isinstance(span, int)
            first = batch & (1 << SEQUENCE_BITS) - 1
            span = span if 0 < span <= BATCH_MESSAGES_MAX else 1
            self._bad_batches.setdefault(batch >> SEQUENCE_BITS, []).append((first, span))
        elif row.table == "cursor":
            assert isinstance(row.values[0], int)
            self._bad_cursors.add(row.values[0])
        else:
            self._has_lost_records = True
            kind, key = str(row.values[0]), str(row.values[1]).replace("\0", " / ")
            if kind != losses.KIND:
                self.losses.append(Loss(f"the record of {kind} '{key}' cannot be read"))

    # -- records ---------------------------------------------------------------------------------------------------

    def _put(self, key: tuple[str, str], value: bytes | None) -> None:
        if value is None:
            self._store.execute("DELETE FROM record WHERE kind = ? AND key = ?", key)
        else:
            self._store.execute(UPSERT_RECORD, (*key, value, record_crc(*key, value)))

    def _get(self, key: tuple[str, str]) -> bytes | None:
        row = self._store.execute("SELECT value FROM record WHERE kind = ? AND key = ?", key).fetchone()
        return None if row is None else row[0]

    def _mend_records(self) -> None:
        """Whatever a record relies on is there; what says who we are is renewed when the past is uncertain."""
        keys = [row[0] for kind in OWNED for row in self._store.execute(KEYS, (kind,)).fetchall()]
        for vhost in sorted({key.partition("\0")[0] for key in keys}):
            if self._get((records.VHOST, vhost)) is None:
                self._put((records.VHOST, vhost), b"")
        if self._has_lost_records or self._is_uncertain:
            self._adopt_orphans()
        if self._bad_cursors or self._is_uncertain:
            # Sequences may be given a second time: peers that know them by this id must not take them for the old.
            self._put(NODE_ID, None)
        highest = max([0, *self._queue_ids(), *self._queues()])
        saved = self._get(NEXT_QUEUE_ID)
        if saved is None or msgspec.msgpack.decode(saved, type=int) <= highest:
            self._put(NEXT_QUEUE_ID, _encode(highest + 1000))
        if self._get(CLOCK) is None:
            self._put(CLOCK, _encode((self._newest_ms() + 1, "", 0)))

    def _queue_ids(self) -> Iterable[int]:
        lower = 0
        while True:
            (found,) = self._store.execute("SELECT min(id) FROM batch WHERE id >= ?", (lower,)).fetchone()
            if found is None:
                return
            yield found >> SEQUENCE_BITS
            lower = whole_queue(found >> SEQUENCE_BITS)[1]

    def _queues(self) -> dict[int, tuple[str, str]]:
        rows = self._store.execute("SELECT value FROM record WHERE kind = ?", (records.QUEUE,)).fetchall()
        decoded = [msgspec.msgpack.decode(value, type=records.QueueRecord) for (value,) in rows]
        return {queue_id: (queue.vhost, queue.name) for queue in decoded for queue_id in queue.ids()}

    def _adopt_orphans(self) -> None:
        """Messages whose queue is not known any more get one, to be looked at by an operator."""
        for queue_id in set(self._queue_ids()) - set(self._queues()):
            vhosts = self._store.execute(KEYS, (records.VHOST,)).fetchall()
            vhost = "/" if ("/",) in vhosts or not vhosts else vhosts[0][0]
            name = f"{RECOVERED}{queue_id}"
            self._put((records.VHOST, vhost), b"")
            self._put(
                (records.QUEUE, records.entity_key(vhost, name)),
                _encode(records.QueueRecord(vhost, name, queue_id, False, b"")),
            )
            self.losses.append(
                Loss(f"the name of a queue cannot be read; its messages are in '{name}' in vhost '{vhost}'")
            )

    def _newest_ms(self) -> int:
        """Elapsed time of the newest message: what the clock said at least."""
        newest = 0
        for queue_id in self._queue_ids():
            (data,) = self._store.execute(
                "SELECT data FROM batch WHERE id < ? ORDER BY id DESC LIMIT 1", (whole_queue(queue_id)[1],)
            ).fetchone()
            newest = max(
                [newest, *[message.published_at_ms for message in _messages.decode(data) if message]]
            )
        return newest

    # -- queues ----------------------------------------------------------------------------------------------------

    def _mend_cursor(self, queue_id: int, vhost: str, name: str) -> None:
        """Count what is left of a queue, and settle what is not, so that nobody waits for it."""
        base, end = whole_queue(queue_id)
        cursor = self._store.execute("SELECT * FROM cursor WHERE queue_id = ?", (queue_id,)).fetchone()
        last = self._store.execute(
            "SELECT id, span, messages, message_bytes FROM batch WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
            (base, end),
        ).fetchone()
        bad = self._bad_batches.get(queue_id, [])
        next_sequence = max(
            0 if cursor is None else cursor[1],
            0 if last is None else last[0] - base + last[1],
            *[first + span for first, span in bad],
            0,
        )
        if not next_sequence:
            return
        before, message_bytes = (0, 0) if cursor is None else cursor[4:6]
        if last is not None and (cursor is None or last[0] - base + last[1] > cursor[1]):
            before, message_bytes = last[2:4]
        settled = self._settled(queue_id, cursor, vhost, name)
        lost = list(self._gaps(queue_id, settled, next_sequence))
        self._report(vhost, name, lost)
        for start, stop in lost:
            settled.add(start, stop)
        left = sum([stop - start for start, stop in settled.unsettled(0, next_sequence)])
        row = (
            queue_id,
            next_sequence,
            settled.low,
            _encode(settled.ranges()),
            left,
            message_bytes * left // before if before else 0,
            next_sequence,
        )
        self._store.execute(UPSERT_CURSOR, (*row, cursor_crc(row)))

    def _settled(
        self, queue_id: int, cursor: tuple[int | bytes, ...] | None, vhost: str, name: str
    ) -> Settled:
        if cursor is not None:
            low, ranges = cursor[2:4]
            assert isinstance(low, int)
            assert isinstance(ranges, bytes)
            return Settled(low, _ranges.decode(ranges))
        if queue_id not in self._bad_cursors and not self._is_uncertain:
            # Nothing was ever settled.
            return Settled()
        (first,) = self._store.execute(
            "SELECT min(id) FROM batch WHERE id >= ? AND id < ?", whole_queue(queue_id)
        ).fetchone()
        low = 0 if first is None else first - batch_id(queue_id, 0)
        if low:
            self.losses.append(
                Loss(
                    f"how far queue '{name}' in vhost '{vhost}' was settled cannot be read:"
                    f" messages may come again, and some before sequence {low} may be missing",
                    vhost,
                    name,
                )
            )
        return Settled(low)

    def _gaps(self, queue_id: int, settled: Settled, next_sequence: int) -> Iterator[tuple[int, int]]:
        """Sequences that should be on the disk and are in no batch."""
        base, end = whole_queue(queue_id)
        at = settled.low
        rows = self._store.execute(
            "SELECT id, span FROM batch WHERE id >= ? AND id < ? ORDER BY id", (base, end)
        )
        for batch, span in rows:
            if batch - base > at:
                yield from settled.unsettled(at, batch - base)
            at = max(at, batch - base + span)
        if at < next_sequence:
            yield from settled.unsettled(at, next_sequence)

    def _report(self, vhost: str, name: str, lost: list[tuple[int, int]]) -> None:
        if len(lost) > LOSSES_PER_QUEUE:
            loss = losses.of_queue(vhost, name, lost[0][0], lost[-1][1])
            loss.count = sum([stop - start for start, stop in lost])
            self.losses.append(loss)
        else:
            self.losses += [losses.of_queue(vhost, name, start, stop) for start, stop in lost]
