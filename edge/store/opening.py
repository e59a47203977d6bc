"""What is done to a store's file before and while it is opened: nothing is ever deleted, and a node starts if it can.

A file of another program or of a newer Leveret is refused and left as it is, bit for bit. A damaged one is moved aside
with its log, under a name that ends with ``.quarantined-<n>``, and a fresh store of what is readable takes its place.
"""

import contextlib
import errno
import functools
import logging
import os
import shutil
import sqlite3
import struct
import sys
from pathlib import Path
from typing import Final

from edge.core.errors import StoreError
from edge.store.group import whole_queue
from edge.store.losses import Loss
from edge.store.migrations import sync
from edge.store.pages import MAGIC, PAGE_BYTES, WAL_HEADER, frames, newest_page, read_wal_header
from edge.store.salvage import Salvage, sort_row
from edge.store.schema import APPLICATION_ID, SEQUENCE_BITS, VERSION, foreign_file, make_tables, newer_file

logger = logging.getLogger("edge.store")

VERSION_MAX: Final = 255
"""A higher version is a flipped bit, not a newer Leveret."""
FIRST_BATCH: Final = "SELECT min(id) FROM batch WHERE id >= ?"
LAST_BATCH: Final = (
    "SELECT id, span, messages, message_bytes FROM batch WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1"
)
HEADER_CONSTANTS: Final = MAGIC + struct.pack(">HBBBBBB", PAGE_BYTES, 2, 2, 0, 64, 32, 32)
"""The first 24 bytes of every store (section 1.3 of SQLite's file format)."""
MX_FRAME: Final = slice(16, 20)
"""Of the shared memory file: how many frames of the log SQLite has found sound (section 2.1 of its WAL format)."""
TORN_COMMITS_MAX: Final = 1
"""A power cut tears at most the transaction that was being written."""

QUARANTINED: Final = ".quarantined-"
SALVAGED: Final = ".salvaged-"
"""Ends the name of a fresh store that is whole and waits to be put in the place of the one it was made of."""
CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_corruption(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is bad, perhaps in words that are no text."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.DatabaseError) and code is not None and code & 0xFF in CORRUPT


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def quarantine_path(path: Path) -> Path:
    """A name beside the store that nothing has yet."""
    number = 1
    while (found := path.with_name(f"{path.name}{QUARANTINED}{number}")).exists() or wal_of(found).exists():
        number += 1
    return found


def examine(path: Path) -> str | None:
    """Look at the header without SQLite, which would write to the file; returns what is wrong with it.

    Raises StoreError for another program's file and for a newer Leveret's.
    """
    try:
        with path.open("rb") as file:
            page = file.read(PAGE_BYTES)
            file_pages = os.fstat(file.fileno()).st_size // PAGE_BYTES
    except FileNotFoundError:
        return None
    if not page:
        return None
    page, has_frames = _with_wal(page, wal_of(path))
    is_ours = b"CREATE TABLE batch" in page and b"CREATE TABLE record" in page
    version, application = int.from_bytes(page[60:64], "big"), int.from_bytes(page[68:72], "big")
    if page[:16] == MAGIC and application != APPLICATION_ID and not is_ours:
        has_tables = int.from_bytes(page[40:44], "big") or b"CREATE " in page
        if application or version or has_tables:
            raise StoreError(foreign_file(path))
        return None
    if page[:16] == MAGIC and application == APPLICATION_ID and VERSION < version <= VERSION_MAX:
        raise StoreError(newer_file(path, version))
    if page[:24] != HEADER_CONSTANTS or application != APPLICATION_ID or not 0 < version <= VERSION:
        return "its header is damaged"
    declared = int.from_bytes(page[28:32], "big")
    # With a log the file may be as short as it was at the last checkpoint, and SQLite finds what is missing.
    if not has_frames and declared > file_pages:
        return f"it is cut off: {file_pages} of {declared} pages are there"
    return None


def empty_unmade(path: Path) -> None:
    """Empty a file that a power cut has left of the very first write: part of a page, and not a byte of it on the disk.

    SQLite takes an empty file for a new store, and one of zeros for none. A store that was ever made has more pages.
    """
    try:
        is_unmade = 0 < path.stat().st_size <= PAGE_BYTES and not any(path.read_bytes())
    except FileNotFoundError:
        return
    if is_unmade and not _with_wal(b"", wal_of(path))[1]:
        os.truncate(path, 0)


def _with_wal(first: bytes, wal_path: Path) -> tuple[bytes, bool]:
    """Page 1 as the log has it, and whether the log has anything."""
    try:
        with wal_path.open("rb") as wal:
            newest, count = newest_page(wal, 1)
    except FileNotFoundError:
        return first, False
    return newest if newest[:16] == MAGIC else first, count > 0


def set_bad_wal_aside(path: Path) -> Loss | None:
    """Move a log that SQLite would take for an empty one, and overwrite."""
    wal = wal_of(path)
    try:
        with wal.open("rb") as file:
            raw = file.read(WAL_HEADER.size)
            is_bad = read_wal_header(file) is None and any(raw)
    except FileNotFoundError:
        return None
    if not is_bad and path.exists():
        return None
    if not any(raw):
        return None
    aside = wal_of(quarantine_path(path))
    wal.rename(aside)
    what = (
        "the write-ahead log cannot be read"
        if is_bad
        else "the store is gone and only its write-ahead log is left"
    )
    return Loss(f"{what}: what was committed since the last checkpoint is missing", file=aside.name)


def torn_transactions(path: Path) -> int:
    """Committed transactions in the log behind the first bad frame; SQLite, which has the file open, ignores them."""
    try:
        with path.with_name(path.name + "-shm").open("rb") as shm, wal_of(path).open("rb") as wal:
            sound = int.from_bytes(shm.read(20)[MX_FRAME], sys.byteorder)
            header = read_wal_header(wal)
            if header is None:
                return 0
            return sum(frame.pages_after_commit > 0 for frame in frames(wal, header, sound))
    except FileNotFoundError:
        return 0


def keep_wal(path: Path) -> Path:
    """Give the log a second name, under which it stays when SQLite deletes the first."""
    aside = wal_of(quarantine_path(path))
    try:
        os.link(wal_of(path), aside)
    except OSError:
        # FAT has no links.
        shutil.copyfile(wal_of(path), aside)
    return aside


def check_rows(connection: sqlite3.Connection) -> str | None:
    """Read all but the messages; returns what is wrong. Raises sqlite3.DatabaseError likewise."""
    try:
        return _check_rows(connection)
    except sqlite3.OperationalError as error:
        # Without a code when a text is not UTF-8.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
            raise
        return f"its tables are not as they were made: {error}"


def _check_rows(connection: sqlite3.Connection) -> str | None:
    if _columns(connection) != _columns_as_made():
        return "its tables are not as they were made"
    # Rows tell by their CRC that they are sound, pages by SQLite's own check that none is missing.
    for table in ("record", "cursor"):
        (verdict,) = connection.execute(f"PRAGMA quick_check({table})").fetchone()
        if verdict != "ok":
            return f"its pages are damaged: {verdict.splitlines()[-1]}"
    # Sound rows in a wrong order are not found by their key.
    before: tuple[object, ...] = ("", "")
    for record in connection.execute("SELECT kind, key, value, crc FROM record"):
        row = sort_row(record)
        if row is None or not row.is_sound or record[:2] <= before:
            return f"the record of {record[0]} '{record[1]}' is damaged".replace("\0", " / ")
        before = record[:2]
    before = (-1,)
    for cursor in connection.execute("SELECT * FROM cursor"):
        row = sort_row(cursor)
        if row is None or not row.is_sound or cursor[:1] <= before:
            return f"the cursor of queue {cursor[0]} is damaged"
        before = cursor[:1]
    # The ways to each queue's first and last batch, which a start goes.
    lower = 0
    while (found := connection.execute(FIRST_BATCH, (lower,)).fetchone()[0]) is not None:
        lower = whole_queue(found >> SEQUENCE_BITS)[1]
        last = connection.execute(LAST_BATCH, (found, lower)).fetchone()
        # A tree that a flipped bit leads astray may show a batch from the one side and not from the other.
        if last is None or not all(isinstance(value, int) for value in last):
            return f"batch {found} is damaged"
    return None


def _columns(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Names, types and keys of all columns."""
    return [
        row
        for table in ("batch", "cursor", "record")
        for row in connection.execute("SELECT * FROM pragma_table_info(?)", (table,)).fetchall()
    ]


@functools.cache
def _columns_as_made() -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        make_tables(made)
        return _columns(made)


def replace(path: Path, reason: str, wal: Path | None = None) -> list[Loss]:
    """Put a fresh store of what is readable in the place of a damaged one; ``wal`` is its log, when set aside already.

    Can be interrupted at any instant: ``finish_replacing`` goes on where it was. Raises OSError, sqlite3.Error.
    """
    aside = quarantine_path(path) if wal is None else path.with_name(wal.name.removesuffix("-wal"))
    logger.error("%s: %s; it is kept as %s and what is readable is salvaged", path, reason, aside.name)
    partial = path.with_name(path.name + ".salvaging")
    salvage, found = _salvage(path, wal or wal_of(path), partial, aside)
    sync(partial)
    number = aside.name.rpartition("-")[2]
    whole = path.with_name(f"{path.name}{SALVAGED}{number}")
    partial.rename(whole)
    sync(path.parent)
    _put_in_place(path, whole, aside)
    for loss in found:
        loss.file = aside.name
    text = f"the store was damaged: {reason}; {salvage.kept_batches} batches were salvaged"
    return [Loss(text, file=aside.name), *found]


def _salvage(path: Path, wal: Path, partial: Path, aside: Path) -> tuple[Salvage, list[Loss]]:
    partial.unlink(missing_ok=True)
    salvage = Salvage(path, wal, partial)
    try:
        return salvage, salvage.run()
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        if not _is_full(error):
            raise
    # The node is worth more with its definitions and no messages than not at all.
    salvage = Salvage(path, wal, partial)
    found = salvage.run(with_messages=False)
    advice = (
        f"there is no room to salvage the messages: make room, then leveret store export --file {aside.name} FILE"
        " and leveret store import FILE"
    )
    return salvage, [Loss(advice), *[loss for loss in found if not loss.count]]


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def finish_replacing(path: Path) -> None:
    """Go on with what a power cut has interrupted."""
    for whole in path.parent.glob(f"{path.name}{SALVAGED}*"):
        number = whole.name.rpartition("-")[2]
        _put_in_place(path, whole, path.with_name(f"{path.name}{QUARANTINED}{number}"))


def _put_in_place(path: Path, whole: Path, aside: Path) -> None:
    wal, wal_aside = wal_of(path), wal_of(aside)
    if wal.exists():
        if not wal_aside.exists():
            wal.rename(wal_aside)
        elif wal.samefile(wal_aside):
            wal.unlink()
        else:
            wal.rename(wal_of(quarantine_path(path)))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    if path.exists() and not aside.exists():
        path.rename(aside)
    whole.rename(path)
    sync(path.parent)
