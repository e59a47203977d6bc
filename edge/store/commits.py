"""What gathers between two commits, and how it is brought to the disk; also to a full one.

While the disk takes everything, all that has gathered goes into one transaction. When there is no room for it, what
makes room goes first: acknowledgements, deletions, declarations. New messages wait, unconfirmed, in their queues, and
follow in parts as the room allows.
"""

import asyncio
import errno
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

from edge.core.queue import Queue
from edge.core.queue_state import fresh_bytes, take_part
from edge.retry import store_retry
from edge.store.connections import CLEAN_STOP, RUNNING, Connections
from edge.store.group import Bounds, Group, RecordKey
from edge.store.opening import wal_of
from edge.store.space import Space
from edge.store.wear import Wear

logger = logging.getLogger("edge.store")

PENDING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bodies that wait for their commit before publishers are no longer read: a quarter second's worth at 64 MB/s, and
what the node may hold in RAM beside its windows."""
LAZY_BYTES_MAX: Final = PENDING_BYTES_MAX // 4
"""What may wait for a later commit in RAM, before that is made at once."""
SETTLE_DELAY_S: Final = 0.02
"""How long acknowledgements wait for a commit when nothing else is committed: no protocol confirms them, so all that a
crash can undo is delivered again; and a drain costs 50 syncs a second instead of thousands, on a card that may have to
carry the destination's as well."""
VOLATILE_DELAY_S: Final = 5.0
"""How long what was confirmed without a commit waits for one when nothing else is committed: what SIGKILL may cost."""
PART_BYTES_MIN: Final = 64 * 1024
"""The least that is tried of what waits for room: a page of a flash card's translation layer."""
NO_SPACE_BYTES: Final = 64 * 1024
"""With less than this free a write error is put down to a full disk: quotas and delayed allocation say it so."""


class NoRoom(Exception):
    """A commit was not possible for want of room on the disk."""


class Commits:
    """Everything is accepted at once; ``after_commit`` says when it is on the disk."""

    def __init__(
        self,
        connections: Connections,
        space: Space,
        mend: Callable[[BaseException], Awaitable[None]],
        lazy_delay_ms: int,
    ) -> None:
        self.wear = Wear()
        #: Set when there is something to commit.
        self.work = asyncio.Event()
        self.pending_bytes = 0
        #: Whether the last try to commit failed: a full or broken disk. Shown as an alarm.
        self.is_failing = False
        self._connections = connections
        self._space = space
        #: Told of an error before the commit is tried again.
        self._mend = mend
        self._gathered = Group()
        self._dirty: dict[Queue, None] = {}
        #: Keys of records that belong to messages: they are written with them or after them.
        self._bound: set[RecordKey] = set()
        #: Who waits for everything, and who for all but messages.
        self._callbacks: list[Callable[[], None]] = []
        self._early_callbacks: list[Callable[[], None]] = []
        self._relieved: list[Callable[[], None]] = []
        self._part_bytes_max = PENDING_BYTES_MAX
        #: Of the last try on a full disk: how much it could bring, and how much waited.
        self._part_bytes = 0
        self._waiting_bytes = 0
        self._lazy_delay_s = lazy_delay_ms / 1000
        #: Whether messages have gathered that may wait.
        self._has_waiting = False
        #: Wakes the writer for what may wait a while.
        self._timer: asyncio.TimerHandle | None = None

    # -- gathering -------------------------------------------------------------------------------------------------

    def queue_changed(self, queue: Queue, size: int) -> None:
        self._dirty[queue] = None
        self.pending_bytes += size
        if (size and not queue.may_wait) or self.pending_bytes > LAZY_BYTES_MAX:
            self.work.set()
        elif not self.work.is_set():
            self._has_waiting = self._has_waiting or size > 0
            self._wake_within(self._delay_s(queue))

    def _delay_s(self, queue: Queue) -> float:
        if not queue.may_wait:
            return SETTLE_DELAY_S
        return self._lazy_delay_s if queue.is_promised else VOLATILE_DELAY_S

    def _wake_within(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay_s:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self.work.set)

    def stop_waiting(self) -> None:
        """What may wait has been taken, or will not be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget_queue(self, queue: Queue) -> None:
        """The queue is deleted: nothing of it may come back to the disk."""
        self._dirty.pop(queue, None)

    def drop_queue(self, queue_id: int) -> None:
        self._gathered.deleted_queues.append(queue_id)
        self.work.set()

    def drop_batches(self, bounds: Bounds) -> None:
        """Delete the batches within bounds of ids."""
        self._gathered.dropped.append(bounds)
        self.work.set()

    def put(self, kind: str, key: str, value: bytes | None, with_messages: bool) -> None:
        self._gathered.records[kind, key] = value
        if with_messages:
            self._bound.add((kind, key))
        self.work.set()

    def after_commit(self, callback: Callable[[], None], with_messages: bool) -> None:
        (self._callbacks if with_messages else self._early_callbacks).append(callback)
        if self.work.is_set():
            return
        if self._has_waiting and not self._space.is_exhausted:
            # Messages may wait, but not longer than those who have asked for a confirm.
            self._wake_within(self._lazy_delay_s)
        else:
            self.work.set()

    @property
    def congested(self) -> bool:
        return self.pending_bytes > self._space.pending_bytes_max(PENDING_BYTES_MAX)

    @property
    def own_room_bytes(self) -> int:
        """How much of what the node itself publishes may join what waits for its commit; none when not positive.

        On a full disk that is what one commit in the room of the reserve may bring: a dead letter can only be
        committed together with its leaving the old queue, which is what frees its place there.
        """
        if self._space.is_exhausted:
            return self._part_bytes - self._waiting_bytes - self.pending_bytes
        return self._space.pending_bytes_max(PENDING_BYTES_MAX) - self.pending_bytes

    def when_relieved(self, callback: Callable[[], None]) -> None:
        self._relieved.append(callback)

    # -- committing ------------------------------------------------------------------------------------------------

    async def commit(self, is_stopping: bool) -> None:
        """Commit what has gathered, or on a full disk what can be."""
        if self._space.is_exhausted:
            await self._commit_on_full_disk(is_stopping)
            return
        group = self._take()
        try:
            await self._write(group)
        except NoRoom as error:
            self._put_back(group)
            self.is_failing = True
            logger.error("commit failed, messages wait unconfirmed until there is room: %s", error)
            self._space.exhaust()
            await self._commit_on_full_disk(is_stopping)
        else:
            self._finish(group, is_stopping)

    async def _commit_on_full_disk(self, is_stopping: bool) -> None:
        """Give up the reserve, commit what fits, all of it if possible, and make the reserve again of what is left."""
        self._space.release()
        # The log gives its room back, and what the next commit may use is known.
        await self._checkpoint("TRUNCATE")
        self._space.measure()
        size = min(self._space.part_bytes(), self._part_bytes_max)
        waiting = sum([fresh_bytes(queue) for queue in self._dirty])
        is_all = waiting <= size
        self._part_bytes, self._waiting_bytes = size, waiting
        group = self._take() if is_all else self._take_part(size)
        try:
            await self._write(group)
        except NoRoom as error:
            self._put_back(group)
            self._part_bytes_max = max(PART_BYTES_MIN, size // 2)
            logger.debug("no room for %d bytes: %s", min(size, waiting), error)
            await self._commit_without_messages(is_stopping)
            return
        self._part_bytes_max = min(PENDING_BYTES_MAX, 2 * self._part_bytes_max)
        self._finish(group, is_stopping)
        if is_all:
            self._space.recover()
            logger.info("all that waited for room on the disk is committed, confirms go on")
        elif any(state.entries for state in group.states):
            self.work.set()
        self._space.refill()

    async def _commit_without_messages(self, is_stopping: bool) -> None:
        group = self._take_part(0)
        try:
            await self._write(group)
        except NoRoom as error:
            self._put_back(group)
            logger.error("not even acknowledgements can be written, trying again: %s", error)
        else:
            self._finish(group, is_stopping)
        self._space.refill()

    async def _write(self, group: Group) -> None:
        """Raises NoRoom; any other error of the disk is waited for, with the same group."""
        if group.is_empty:
            return
        try:
            await self._write_once(group)
        except (sqlite3.Error, OSError) as error:
            self.is_failing = True
            logger.error("commit failed, nothing is confirmed until it succeeds: %s", error)
            async for attempt in store_retry(logger):
                with attempt:
                    await self._write_once(group)
        if self.is_failing:
            self.is_failing = False
            logger.info("commit succeeded, confirms go on")
        self.wear.commits += 1
        self.wear.messages_written += sum([len(state.entries) for state in group.states])
        connection = self._connections.group_connection
        self._space.note_pages(connection.file_pages, connection.free_pages)
        if group.records.get(CLEAN_STOP) == RUNNING:
            # The file itself shall say that a node runs on it: a start without its log then tells that one is missing.
            await self._checkpoint("PASSIVE")

    async def _checkpoint(self, mode: str) -> None:
        try:
            await self._connections.checkpoint(mode)
        except sqlite3.Error as error:
            logger.warning("the write-ahead log cannot be checkpointed: %s", error)

    async def _write_once(self, group: Group) -> None:
        try:
            await self._connections.commit(group)
        except (sqlite3.Error, OSError) as error:
            if self._is_for_want_of_room(error):
                raise NoRoom(str(error)) from error
            await self._mend(error)
            raise

    def _is_for_want_of_room(self, error: BaseException) -> bool:
        if isinstance(error, OSError):
            return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_IOERR:
            self._space.measure()
            return self._space.disk_free_bytes < NO_SPACE_BYTES or self._is_log_at_limit()
        return code == sqlite3.SQLITE_FULL

    def _is_log_at_limit(self) -> bool:
        """Whether the log is as large as a file may be: a checkpoint, which comes first on a full disk, mends that."""
        most, log = self._space.file_bytes_max, wal_of(self._connections.path)
        return most > 0 and log.exists() and log.stat().st_size > most - NO_SPACE_BYTES

    def _finish(self, group: Group, is_stopping: bool) -> None:
        """The group is on the disk: tell everybody."""
        if group.dropped and not is_stopping:
            # At a stop the rest is left to the next start, which knows that it is settled.
            self._gathered.dropped += group.dropped
            self.work.set()
        for state in group.states:
            state.queue.committed(state)
        call_soon = asyncio.get_running_loop().call_soon
        for callback in group.callbacks:
            call_soon(callback)
        self.pending_bytes -= group.pending_bytes
        self._relieve()

    def _relieve(self) -> None:
        if self._relieved and self.pending_bytes <= self._space.pending_bytes_max(PENDING_BYTES_MAX) // 2:
            relieved, self._relieved = self._relieved, []
            for callback in relieved:
                asyncio.get_running_loop().call_soon(callback)

    # -- groups ----------------------------------------------------------------------------------------------------

    def _take(self) -> Group:
        """All that has gathered."""
        self.stop_waiting()
        self._has_waiting = False
        group, self._gathered = self._gathered, Group()
        # Of a deleted queue consumers still settle what they hold; nothing of it may come back to the disk.
        group.states = [queue.take() for queue in self._dirty if not queue.deleted]
        group.callbacks = self._early_callbacks + self._callbacks
        group.early_callbacks = len(self._early_callbacks)
        group.bound, self._bound = self._bound, set()
        group.pending_bytes = self.pending_bytes
        self._dirty, self._callbacks, self._early_callbacks = {}, [], []
        return group

    def _take_part(self, size: int) -> Group:
        """All but messages, and of those up to ``size`` bytes; with whom settling depends on messages stays, too."""
        group, self._gathered = self._gathered, Group()
        dirty, self._dirty = self._dirty, {}
        for queue in dirty:
            if queue.deleted:
                continue
            if queue.settles_with_others:
                self._dirty[queue] = None
                continue
            state = take_part(queue, size)
            size -= sum([len(message.body) + len(message.properties) for _, message, _ in state.entries])
            group.states.append(state)
            if queue.fresh:
                self._dirty[queue] = None
        records = group.records
        group.records = {key: value for key, value in records.items() if key not in self._bound}
        self._gathered.records = {key: value for key, value in records.items() if key in self._bound}
        if not any(queue.settles_with_others for queue in self._dirty):
            group.callbacks, self._early_callbacks = self._early_callbacks, []
            group.early_callbacks = len(group.callbacks)
        return group

    def _put_back(self, group: Group) -> None:
        """The group was not written: it gathers anew, with what has come meanwhile."""
        dirty: dict[Queue, None] = {}
        for state in group.states:
            if not state.queue.deleted:
                state.put_back()
                dirty[state.queue] = None
        self._dirty = {**dirty, **self._dirty}
        gathered = self._gathered
        gathered.records = {**group.records, **gathered.records}
        gathered.deleted_queues = group.deleted_queues + gathered.deleted_queues
        gathered.dropped = group.dropped + gathered.dropped
        self._bound |= group.bound
        self._early_callbacks = group.callbacks[: group.early_callbacks] + self._early_callbacks
        self._callbacks = group.callbacks[group.early_callbacks :] + self._callbacks
        # Publishers are kept back by the alarm from now on; those that wait for relief have to hear of it.
        self.pending_bytes -= group.pending_bytes
        self._relieve()
