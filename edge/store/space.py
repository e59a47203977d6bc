"""How much room there is: the node's quota, what the disk and a file may still take, and a reserve for a full disk.

The alarm goes on before the disk is full, as RabbitMQ's ``disk_free_limit`` has it: publishers are blocked, consumers
drain. It goes off by itself. Room that deletions free lies within the store's file, which does not shrink, and is used
again: it counts as free.
"""

import asyncio
import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.store import reserve
from edge.store.pages import PAGE_BYTES
from edge.store.reserve import Reserve
from edge.store.schema import CHECKPOINT_PAGES

logger = logging.getLogger("edge.store")

FREE_MIN_BYTES: Final = 50 * 1000 * 1000
"""What is kept free unless the settings say otherwise: RabbitMQ's ``disk_free_limit``, ..."""
FREE_MIN_PART: Final = 10
"""... or a tenth of a file system that is smaller than ten times that."""
PENDING_PART: Final = 4
"""What waits for its commit is at most a quarter of what is free: it goes to the log first and then to the file."""
PENDING_BYTES_MIN: Final = 256 * 1024
LOOK_S: Final = 5.0
"""How often the disk is looked at without a commit: somebody else may fill it."""
LOOK_LOW_S: Final = 1.0
"""The same while it is low: somebody else may have made room."""


class Space:
    """The disk under one store."""

    def __init__(self, directory: Path, bytes_max: int = 0, free_min_bytes: int = -1) -> None:
        self._directory = directory
        #: What the store may hold; 0: as much as the disk has.
        self.bytes_max = bytes_max
        self._free_min_bytes = free_min_bytes
        self.reserve = Reserve(directory)
        self.disk_free_bytes = 0
        self._disk_bytes = 0
        # Of the store's file, as of the last commit
        self._file_pages = 0
        self._free_pages = 0
        #: The alarm: nothing more is to be published.
        self.is_low = False
        #: The last try to write everything has failed for want of room.
        self.is_exhausted = False
        self._waiting: dict[object, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._retry: Callable[[], None] | None = None

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """What the store holds, without pages of its file that are free again."""
        return (self._file_pages - self._free_pages) * PAGE_BYTES

    @property
    def reusable_bytes(self) -> int:
        """Free pages in the store's file."""
        return self._free_pages * PAGE_BYTES

    @property
    def free_min_bytes(self) -> int:
        """What has to stay free; below it the alarm goes on."""
        if self._free_min_bytes >= 0:
            return self._free_min_bytes
        return min(FREE_MIN_BYTES, self._disk_bytes // FREE_MIN_PART)

    @property
    def reserve_bytes(self) -> int:
        """What the reserve should have on this disk."""
        return min(reserve.BYTES_MAX, self._disk_bytes // reserve.DISK_PART)

    @property
    def checkpoint_pages(self) -> int:
        """After how many pages of the log to checkpoint, so that half the reserve suffices for it."""
        return max(1, min(CHECKPOINT_PAGES, self.reserve_bytes // 2 // PAGE_BYTES))

    def pending_bytes_max(self, most: int) -> int:
        """How much may wait for its commit on this disk, ``most`` where there is plenty of room."""
        room = (self.disk_free_bytes + self.reusable_bytes) // PENDING_PART
        return max(PENDING_BYTES_MIN, min(most, room))

    def part_bytes(self) -> int:
        """How much a commit may bring now: once to the log, and to the file what its free pages do not take."""
        free = self.disk_free_bytes * 3 // 4
        return min(free, (free + self.reusable_bytes) // 2)

    @property
    def file_bytes_max(self) -> int:
        """How large this process may make a file (``ulimit -f``, systemd's ``LimitFSIZE``); 0: as large as the disk."""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return 0 if limit == resource.RLIM_INFINITY else limit

    # -- looking ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Look before the store is opened; on a full disk the reserve is given up for it. Raises OSError."""
        self.reserve.find()
        self.measure()
        if self.disk_free_bytes < self.reserve_bytes:
            self.release()

    def start(self, retry: Callable[[], None]) -> None:
        """Look from now on; ``retry`` is called every second while something waits for room."""
        self._retry = retry
        self._on_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self.look()
        if self.is_exhausted and self._retry is not None:
            self._retry()
        delay_s = LOOK_LOW_S if self.is_low else LOOK_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def note_pages(self, file_pages: int, free_pages: int) -> None:
        """Take over what a commit has left in the store's file, and look."""
        self._file_pages, self._free_pages = file_pages, free_pages
        self.look()

    def measure(self) -> None:
        """See what is free."""
        try:
            disk = os.statvfs(self._directory)
        except OSError as error:
            logger.error("%s: free space is not known: %s", self._directory, error.strerror)
            return
        self.disk_free_bytes = disk.f_bavail * disk.f_frsize
        self._disk_bytes = disk.f_blocks * disk.f_frsize
        if self.file_bytes_max:
            # As good as a disk of that size; the write-ahead log is kept far smaller, as on any small disk.
            left = max(0, self.file_bytes_max - self._file_pages * PAGE_BYTES)
            self.disk_free_bytes = min(self.disk_free_bytes, left)
            self._disk_bytes = min(self._disk_bytes, self.file_bytes_max)

    def look(self) -> None:
        """See what is free, set the alarm by it, and fill the reserve up."""
        if self.is_exhausted:
            self.measure()
        else:
            self.refill()
        why = self._shortage()
        if bool(why) == self.is_low:
            return
        self.is_low = bool(why)
        if why:
            logger.warning(
                "%s: publishers are blocked until consumers have made room: %s", self._directory, why
            )
            return
        logger.info("%s: there is room again, publishers may go on", self._directory)
        waiting, self._waiting = self._waiting, {}
        for callback in waiting.values():
            asyncio.get_running_loop().call_soon(callback)

    def _shortage(self) -> str:
        """Why nothing may be published, "" when it may; what has set the alarm must have gone by a margin."""
        if self.is_exhausted:
            return "the disk is full"
        limit = self.bytes_max - self.bytes_max // 16 if self.is_low else self.bytes_max
        if self.bytes_max and self.used_bytes >= limit:
            return f"the store holds {self.used_bytes} bytes, store.bytes_max is {self.bytes_max}"
        free = self.disk_free_bytes + self.reusable_bytes
        least = self.free_min_bytes + self.free_min_bytes // 4 if self.is_low else self.free_min_bytes
        if free < least:
            return f"{free} bytes are free, {self.free_min_bytes} have to be (store.disk_free_min_bytes)"
        if self.is_low and self.reserve.bytes < self.reserve_bytes // 2:
            return "there is no room for the reserve"
        return ""

    def when_roomy(self, who: object, callback: Callable[[], None]) -> None:
        """Call back once when the alarm is off."""
        self._waiting[who] = callback

    def forget(self, who: object) -> None:
        """Do not call back, should it wait."""
        self._waiting.pop(who, None)

    # -- a full disk -----------------------------------------------------------------------------------------------

    def exhaust(self) -> None:
        """A commit has failed for want of room."""
        self.is_exhausted = True
        self.look()

    def recover(self) -> None:
        """All that waited for room is on the disk."""
        self.is_exhausted = False
        self.look()

    def refill(self) -> None:
        """Make the reserve again, of what there is."""
        self.measure()
        if self.reserve.bytes < self.reserve_bytes:
            self.reserve.make(self.reserve_bytes, self.disk_free_bytes)
            self.measure()

    def release(self) -> None:
        """Give up the reserve, for a commit."""
        try:
            self.reserve.release()
        except OSError as error:
            logger.error("%s: the reserve cannot be released: %s", self.reserve.path, error.strerror)
        self.measure()
