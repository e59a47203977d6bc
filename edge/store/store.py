"""The store: one writer, group commit, and pages read back.

Whatever changes between two commits gathers in one group; while a group is being written the next one gathers. There
is no timer: at a low rate a message is on disk one sync after it came, at a high rate one sync serves thousands.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from edge.core.errors import StoreError
from edge.core.queue import Queue
from edge.core.queue_state import RecoveredState
from edge.core.settled import Settled
from edge.store import losses
from edge.store.bad_batches import BadBatches
from edge.store.commits import Commits
from edge.store.connections import CLEAN_STOP, RUNNING, STOPPED, Connections
from edge.store.lock import DataDirectoryLock
from edge.store.losses import Loss, Losses, of_queue
from edge.store.migrations import sync
from edge.store.opening import (
    TORN_COMMITS_MAX,
    check_rows,
    empty_unmade,
    examine,
    finish_replacing,
    is_corruption,
    keep_wal,
    replace,
    set_bad_wal_aside,
    torn_transactions,
    wal_of,
)
from edge.store.reader import Reader, damaged
from edge.store.schema import batch_id
from edge.store.space import Space

logger = logging.getLogger("edge.store")

T = TypeVar("T")

FILE_NAME: Final = "leveret.db"
REBUILDS_MAX: Final = 3
"""How often a running node salvages its store; a card that is bad again at once is left to the operator."""
NOTE_CLOSED_S: Final = 0.5
"""How long a closing store may wait for a disk that hangs; a stop is to take 5 s in all."""
SEQUENCES_SKIPPED: Final = 1 << 24
"""Of each queue when commits may have been lost: more than one log holds, so that no sequence means two messages to
those who remember them, and a 65,536th of what a queue has."""


class Store:
    """The node's data on disk. Everything is accepted at once and is durable when ``after_commit`` says so."""

    def __init__(
        self, directory: Path, bytes_max: int = 0, disk_free_min_bytes: int = -1, lazy_delay_ms: int = 200
    ) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        #: What voids the promise of a confirm here: mount options and the like.
        self.warnings: list[str] = []
        #: What was lost to bad cards, as far as it is known.
        self.losses = Losses()
        #: The store is not what it was when the node last confirmed something: salvaged, or without its log.
        self.was_rolled_back = False
        #: What room there is, and the alarm when there is too little.
        self.space = Space(directory, bytes_max, disk_free_min_bytes)
        self._lock = DataDirectoryLock(directory)
        self._connections = Connections(self.path)
        self._commits = Commits(self._connections, self.space, self._mend, lazy_delay_ms)
        #: Commits, messages and bytes written since start.
        self.wear = self._commits.wear
        self._writer: asyncio.Task[None] | None = None
        self._stopped_cleanly = False
        self._is_stopping = False
        # Bad cards
        #: Not while the store is being salvaged.
        self._is_open = asyncio.Event()
        self._is_open.set()
        #: Reads that are under way, and whether there are none.
        self._reads = 0
        self._is_unread = asyncio.Event()
        self._is_unread.set()
        self._had_wal = False
        #: What a page read has found wrong with the file itself.
        self._damage: str | None = None
        self._rebuilds = 0
        self._bad_batches = BadBatches(self.path)

    # -- life ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or make the store.

        Raises StartupError when another node uses the directory or it cannot be written, StoreError when the file is
        not a store that this version reads.
        """
        self._lock.acquire()
        try:
            # A disk that is full may have no room for the index of the log.
            self.space.open()
            found = await self._open_file()
            reader = self._connections.reader
            stop = (await reader.records(CLEAN_STOP[0])).get(CLEAN_STOP[1])
            self.losses.restore(await reader.records(losses.KIND))
        except (sqlite3.Error, OSError) as error:
            await self._let_go()
            raise StoreError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            await self._let_go()
            raise
        self._stopped_cleanly = stop == STOPPED
        if stop == RUNNING and not self._had_wal and not found:
            found = [
                Loss(
                    "the write-ahead log is missing: what was committed since the last checkpoint may be lost"
                )
            ]
        self.was_rolled_back = bool(found)
        self.add_losses(found, time.time_ns() // 1_000_000)
        self._writer = asyncio.create_task(self._write_loop(), name="store writer")
        self.space.start(self._commits.work.set)

    async def _open_file(self) -> list[Loss]:
        """Open the file, or what can be salvaged of it; returns what cannot."""
        path = self.path
        found: list[Loss] = []
        finish_replacing(path)
        if (loss := set_bad_wal_aside(path)) is not None:
            found.append(loss)
        empty_unmade(path)
        if (damage := examine(path)) is not None:
            found += await asyncio.to_thread(replace, path, damage)
        self._had_wal = wal_of(path).exists()
        if self._had_wal:
            # A node killed between a write and its sync leaves a transaction that only the kernel has: a power cut
            # soon after would tear it together with the next one.
            sync(wal_of(path))
        wal: Path | None = None
        try:
            await self._connect()
            damage = check_rows(self._connections.group_connection)
            if (torn := torn_transactions(path)) > TORN_COMMITS_MAX:
                damage = f"{torn} transactions lie behind a damaged place of the write-ahead log"
            wal = keep_wal(path) if damage is not None and wal_of(path).exists() else None
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not is_corruption(error):
                raise
            damage = str(error)
        else:
            if damage is None:
                return found
        await self._connections.close()
        found += await asyncio.to_thread(replace, path, damage, wal)
        await self._connect()
        return found

    @property
    def commits(self) -> int:
        """Since the store was opened."""
        return self.wear.commits

    @property
    def is_failing(self) -> bool:
        """Whether the last try to commit failed: a full or broken disk."""
        return self._commits.is_failing

    @property
    def pending_bytes(self) -> int:
        """Bodies that wait for their commit."""
        return self._commits.pending_bytes

    def note_running(self) -> None:
        """From the next commit on a start must reckon with a crash: what was ready may have been delivered."""
        self.put(*CLEAN_STOP, RUNNING)

    def note_clean_stop(self) -> None:
        """The next start may trust what the queues have noted of their deliveries. Nothing is delivered any more."""
        self.put(*CLEAN_STOP, STOPPED)

    async def close(self) -> None:
        """Write what has gathered and let go of the directory, also when the writer has died or does not end."""
        self._is_stopping = True
        self._commits.work.set()
        try:
            if self._writer is not None:
                await self._writer
        finally:
            await self._note_closed()
            await self._let_go()

    async def _note_closed(self) -> None:
        try:
            async with asyncio.timeout(NOTE_CLOSED_S):
                await self._connections.note_closed()
        except (TimeoutError, StoreError, sqlite3.Error) as error:
            # The next start then reports a log that is missing: too much rather than too little.
            logger.warning("%s: that it is closed cannot be noted: %s", self.path, error or "the disk hangs")

    async def _let_go(self) -> None:
        self.space.stop()
        self._commits.stop_waiting()
        await self._connections.close()
        self._lock.release()

    async def _connect(self) -> None:
        await self._connections.open(self.space.checkpoint_pages, self.space.file_bytes_max)
        self._connections.reader.on_bad_batch = self._bad_batches.note

    # -- gathering -------------------------------------------------------------------------------------------------

    def queue_changed(self, queue: Queue, size: int = 0) -> None:
        """Take the queue's state into the next commit; ``size`` bytes of bodies more wait for it."""
        self._commits.queue_changed(queue, size)

    def queue_deleted(self, queue: Queue) -> None:
        """Delete the queue's batches and cursor."""
        self._commits.forget_queue(queue)
        if queue.durable or queue.is_spilled:
            self.drop_queue(queue.id)

    def drop_queue(self, queue_id: int) -> None:
        """Delete what the store holds of a queue that is gone; its id is never used again."""
        self._commits.drop_queue(queue_id)

    def put(self, kind: str, key: str, value: bytes | None, *, with_messages: bool = False) -> None:
        """Set a record, or delete it with None, in the next commit; the last change before it counts.

        ``with_messages`` for one that must not be on the disk without messages that this turn of the loop has
        published, when a full disk makes those wait.
        """
        self._commits.put(kind, key, value, with_messages)

    def after_commit(self, callback: Callable[[], None], *, with_messages: bool = True) -> None:
        """Call back when everything accepted so far is on disk.

        Without ``with_messages`` it does not wait for messages, should a full disk keep those back.
        """
        self._commits.after_commit(callback, with_messages)

    async def writer_failed(self) -> BaseException:
        """Wait until the writer has died of an error that is not the disk's, and return it."""
        assert self._writer is not None
        await asyncio.wait([self._writer])
        if self._writer.cancelled() or (error := self._writer.exception()) is None:
            # Stopped as it should: nothing to report, ever.
            never: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
            return await never
        return error

    async def committed(self) -> None:
        """Wait until everything accepted so far is on disk."""
        done = asyncio.get_running_loop().create_future()
        self.after_commit(lambda: None if done.done() else done.set_result(None))
        await done

    @property
    def own_room_bytes(self) -> int:
        """How much the node itself may publish now, dead letters and wills; nothing is lost when that waits."""
        return self._commits.own_room_bytes

    @property
    def congested(self) -> bool:
        """Whether publishers should not be read for now."""
        return self._commits.congested

    def when_relieved(self, callback: Callable[[], None]) -> None:
        """Call back once when the store is no longer congested."""
        self._commits.when_relieved(callback)

    @property
    def is_full(self) -> bool:
        """Whether nothing may be published: the disk or the quota is full, and consumers have to make room."""
        return self.space.is_low

    async def _write_loop(self) -> None:
        work = self._commits.work
        while True:
            await work.wait()
            work.clear()
            if self._damage is not None:
                await self._rebuild_by_request()
            await self._commits.commit(self._is_stopping)
            if self._is_stopping and not work.is_set():
                return

    # -- bad cards -------------------------------------------------------------------------------------------------

    async def _mend(self, error: BaseException) -> None:
        """A commit has failed: salvage the store when it is damaged."""
        if is_corruption(error) and self._rebuilds < REBUILDS_MAX:
            await self._rebuild(str(error))

    async def _rebuild(self, damage: str) -> None:
        """Go on with a fresh store of what is readable. What queues miss they find out when they page it in."""
        self._rebuilds += 1
        self._damage = None
        # Queues that are still to be recovered come from the salvaged store.
        self.was_rolled_back = True
        wal = keep_wal(self.path)
        self._is_open.clear()
        await self._is_unread.wait()
        await self._connections.close()
        try:
            found = await asyncio.to_thread(replace, self.path, damage, wal)
        finally:
            await self._connect()
            self._is_open.set()
        self.add_losses(
            found[:1] + [loss for loss in found[1:] if not loss.count], time.time_ns() // 1_000_000
        )

    async def _rebuild_by_request(self) -> None:
        damage, self._damage = self._damage, None
        if damage is None or self._rebuilds >= REBUILDS_MAX:
            return
        try:
            await self._rebuild(damage)
        except (sqlite3.Error, OSError) as error:
            logger.error("%s: what is readable cannot be salvaged: %s", self.path, error)

    def add_losses(self, found: list[Loss], unix_ms: int) -> None:
        """Report losses in the log and remember them with the next commit."""
        for loss in found:
            loss.unix_ms = unix_ms
            logger.error("lost: %s", loss.text())
        if found:
            for (kind, key), value in self.losses.add(found).items():
                self.put(kind, key, value)

    def messages_lost(self, queue: Queue, ranges: list[tuple[int, int]], unix_ms: int) -> None:
        """Report messages of a queue that could not be paged in."""
        found = [
            of_queue(queue.vhost, queue.name, first, end, self._bad_batches.file_of(queue.id, first))
            for first, end in ranges
        ]
        self.add_losses(found, unix_ms)

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        """Raises StoreError when the store is not open."""
        return self._connections.reader

    async def _read(self, ask: Callable[[Reader], Awaitable[T]]) -> T:
        """Ask the reader; it is not closed for a salvage before it has answered."""
        while not self._is_open.is_set():
            await self._is_open.wait()
        self._reads += 1
        self._is_unread.clear()
        try:
            return await ask(self._connections.reader)
        finally:
            self._reads -= 1
            if not self._reads:
                self._is_unread.set()

    async def records(self, kind: str) -> dict[str, bytes]:
        """All records of a kind as of the last commit, by key."""
        return await self._read(lambda reader: reader.records(kind))

    async def recover_queue(self, queue_id: int) -> RecoveredState:
        """Where the queue stood at the last commit; deletes what of its batches was settled and not yet deleted."""
        state, has_batches = await self._read(
            lambda reader: reader.queue_state(queue_id, self._stopped_cleanly)
        )
        if self.was_rolled_back and state.next_sequence:
            first, state.next_sequence = state.next_sequence, state.next_sequence + SEQUENCES_SKIPPED
            settled = Settled(state.settled_low, state.settled_ranges)
            settled.add(first, state.next_sequence)
            state.settled_low, state.settled_ranges = settled.low, settled.ranges()
            state.delivered_sequence = state.next_sequence
            state.is_changed = True
        if has_batches and not state.messages:
            self._commits.drop_batches((batch_id(queue_id, 0), batch_id(queue_id, state.next_sequence)))
        return state

    async def page_in(self, queue: Queue) -> None:
        """Read the queue's next page and hand it over. Raises sqlite3.Error; what is damaged is mended soon."""
        await self._is_open.wait()
        if not queue.needs_disk():
            # It was purged since the page was asked for, and perhaps pages anew: from where nothing is committed yet.
            return
        first = queue.page_sequence
        try:
            entries, end = await self._read(
                lambda reader: reader.page(queue.id, first, queue.committed_sequence)
            )
            wanted = sum([stop - start for start, stop in queue.settled.unsettled(first, end)])
            if len(entries) < wanted and not self._bad_batches and not self._rebuilds:
                # Rows may still be in the file, where a bad page no longer leads to them.
                raise damaged(f"messages of queue {queue.id} are missing")
        except sqlite3.DatabaseError as error:
            if is_corruption(error):
                self._damage = str(error)
                self._commits.work.set()
            raise
        if self._bad_batches:
            await asyncio.to_thread(self._bad_batches.keep)
        queue.paged_in(entries, first, end)


def encode(value: object) -> bytes:
    """A record's value as MessagePack."""
    return msgspec.msgpack.encode(value)
