"""The two connections to a store's file: one that writes and checkpoints, one that reads."""

from pathlib import Path
from typing import Final

import aiosqlite

from edge.core.errors import StoreError
from edge.store.checksum import record_crc
from edge.store.group import Group, GroupConnection
from edge.store.pages import PAGE_BYTES
from edge.store.reader import Reader
from edge.store.schema import CHECKPOINT_PAGES, prepare

CLEAN_STOP: Final = ("node", "clean-stop")
"""The record of how the last run has ended."""
RUNNING: Final = b"0"
"""It has not: it was killed."""
STOPPED: Final = b"1"
"""In order: what the queues have noted of their deliveries holds."""
CLOSED: Final = b"2"
"""By a fault of the node, but the store was closed, and SQLite has removed the log."""
NOTE_CLOSED: Final = "UPDATE record SET value = ?, crc = ? WHERE kind = ? AND key = ? AND value = ?"


class Connections:
    """Both, while the store is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing: aiosqlite.Connection | None = None
        self._group_connection: GroupConnection | None = None
        self._reader: Reader | None = None

    async def open(self, checkpoint_pages: int = CHECKPOINT_PAGES, file_bytes_max: int = 0) -> None:
        """Raises StoreError, sqlite3.Error; what was opened is left to ``close``."""
        path = str(self.path)
        self._writing = await aiosqlite.connect(path, factory=self._make, isolation_level=None)
        prepare(self.group_connection, path)
        self.group_connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        if file_bytes_max:
            # SQLite would take a write that exceeds it for an I/O error, and only when the log is checkpointed: then
            # nothing could be committed any more. So it says that the disk is full, and says it to the commit.
            self.group_connection.execute(f"PRAGMA max_page_count = {max(1, file_bytes_max // PAGE_BYTES)}")
        self._reader = await Reader.open(path)

    async def close(self) -> None:
        # The reader first: the last connection to close checkpoints, and that must be the one that writes.
        if self._reader is not None:
            await self._reader.close()
            self._reader = None
        if self._writing is not None:
            await self._writing.close()
            self._writing = None

    def _make(self, *args: object, **kwargs: object) -> GroupConnection:
        # The object is used on aiosqlite's thread; only the group to write is handed over from here, between commits.
        kwargs["check_same_thread"] = False
        self._group_connection = GroupConnection(*args, **kwargs)  # type: ignore[arg-type]
        return self._group_connection

    @property
    def reader(self) -> Reader:
        """Raises StoreError."""
        if self._reader is None:
            raise StoreError("the store is not open")
        return self._reader

    @property
    def writing(self) -> aiosqlite.Connection:
        """Raises StoreError."""
        if self._writing is None:
            raise StoreError("the store is not open")
        return self._writing

    @property
    def group_connection(self) -> GroupConnection:
        """The same connection without its thread. Raises StoreError."""
        if self._group_connection is None:
            raise StoreError("the store is not open")
        return self._group_connection

    async def commit(self, group: Group) -> None:
        """Write a group in one transaction. Raises sqlite3.Error, OSError; nothing of it is written then."""
        self.group_connection.group = group
        await self.writing.commit()

    async def note_closed(self) -> None:
        """Say that the log is gone because the store was closed in order, though its node did not stop cleanly.

        Raises StoreError, sqlite3.Error.
        """
        kind, key = CLEAN_STOP
        row = (CLOSED, record_crc(kind, key, CLOSED), kind, key, RUNNING)
        await self.writing.execute_fetchall(NOTE_CLOSED, row)

    async def checkpoint(self, mode: str) -> None:
        """Bring the log into the file; ``mode`` is SQLite's: PASSIVE, or TRUNCATE. Raises sqlite3.Error."""
        await self.writing.execute_fetchall(f"PRAGMA wal_checkpoint({mode})")
