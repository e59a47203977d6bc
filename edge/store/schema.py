"""The store's tables.

A batch holds what one commit brought to one queue: messages as a MessagePack array (``edge.core.message.Message`` as
an array each; nil for one that was settled before it was written). Its id is the queue's id and the sequence of its
first message, so that a queue's batches lie together in order and need no index. ``messages`` and ``message_bytes``
are the whole queue's counts as of that commit, so that recovery counts without reading.

A cursor says how far a queue is settled: all below ``low``, and ``ranges`` above it (MessagePack pairs). Batches that
are wholly settled are deleted; where one remains, the cursor still rules.

Records are everything else: definitions, users, MQTT sessions, retained messages, progress of links.

Every row ends with a CRC of what is before it (``edge.store.checksum``).
"""

import sqlite3
from pathlib import Path
from typing import Final

from edge.core.errors import StoreError
from edge.store.migrations import Migrations, migrate

VERSION: Final = 1
"""``PRAGMA user_version`` of the stores that this code writes."""

MIGRATIONS: Final[Migrations] = {}
"""Version -> what makes a store of the next version of it. None has been published but version 1."""

APPLICATION_ID: Final = 0x4C657672
"""``PRAGMA application_id``, "Levr": tells a Leveret store from other SQLite files."""

CHECKPOINT_PAGES: Final = 1000
"""Pages of the write-ahead log after which it is checkpointed: it stays at about 4 MB and is recycled."""

SEQUENCE_BITS: Final = 40
"""Of a batch's id: a queue may see 10^12 messages in its life (300 years at 100 a second), a node 8 million queues."""

TABLES: Final = """
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    span INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    message_bytes INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE cursor (
    queue_id INTEGER PRIMARY KEY,
    next_sequence INTEGER NOT NULL,
    low INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    messages INTEGER NOT NULL,
    message_bytes INTEGER NOT NULL,
    delivered_sequence INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE record (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
"""

PRAGMAS: Final = (
    # Before WAL, or it has no effect. Matches the page of flash translation layers and of the kernel.
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = WAL",
    # A commit returns when the WAL is on the disk: what is confirmed survives a power cut.
    "PRAGMA synchronous = FULL",
    # Debian's SQLite overwrites deleted pages with zeros, which doubles the wear of draining.
    "PRAGMA secure_delete = OFF",
    # SQLite before 3.51.3 can corrupt a store that is read by mmap while its WAL restarts.
    "PRAGMA mmap_size = 0",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    "PRAGMA cache_size = -2048",
    "PRAGMA temp_store = MEMORY",
)


def batch_id(queue_id: int, sequence: int) -> int:
    return queue_id << SEQUENCE_BITS | sequence


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Set the pragmas and make the tables where the store is new.

    Raises StoreError when the file is another program's or a newer Leveret's (it is then left as it was), or lies
    where SQLite cannot keep a write-ahead log.
    """
    version, application = _identity(connection)
    if application not in (0, APPLICATION_ID) or (application == 0 and (version or _has_tables(connection))):
        raise StoreError(foreign_file(path))
    if version > VERSION:
        raise StoreError(newer_file(path, version))
    if application and version < VERSION:
        migrate(connection, path, version, VERSION, MIGRATIONS)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise StoreError(
            f"{path}: the file system does not let SQLite keep a write-ahead log (shared memory is needed);"
            " set node.data_dir to a local one"
        )
    if application == 0:
        make_tables(connection)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make a new store of an empty file."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {VERSION}; COMMIT;"
    )


def foreign_file(path: str | Path) -> str:
    return f"{path} is an SQLite file of another program; set node.data_dir to a directory of its own"


def newer_file(path: str | Path, version: int) -> str:
    return (
        f"{path} has store version {version}, this Leveret reads up to {VERSION}: install the newer one again,"
        " or set node.data_dir to another directory; nothing was changed"
    )


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return version, application
