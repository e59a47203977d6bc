"""A store looked at without its node: nothing is written beside it, so that a card can be read that is read-only."""

import contextlib
import fcntl
import os
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.core.errors import StartupError, StoreError
from edge.store.lock import LOCK_NAME
from edge.store.losses import Loss
from edge.store.opening import check_rows, examine, is_corruption, wal_of
from edge.store.salvage import Salvage


class Offline:
    """An open store: ``connection`` reads it, or what could be salvaged of it, and then ``losses`` says what is not."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, damage: str | None, losses: list[Loss]
    ) -> None:
        self.path = path
        self.connection = connection
        self.damage = damage
        self.losses = losses


@contextlib.contextmanager
def open_offline(path: Path) -> Iterator[Offline]:
    """Open a store's file; a damaged one is salvaged into a temporary file first.

    Raises StoreError when there is none or it is not a Leveret's, StartupError while a node runs on it.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no store; name its directory by --data-dir or --config")
    with _not_running(path.parent), contextlib.ExitStack() as stack:
        damage = examine(path)
        connection: sqlite3.Connection | None = None
        if damage is None:
            connection = stack.enter_context(contextlib.closing(connect(path)))
            try:
                damage = check_rows(connection)
            except sqlite3.DatabaseError as error:
                if not is_corruption(error):
                    raise StoreError(f"{path} cannot be read: {error}") from error
                damage = str(error)
        if connection is not None and damage is None:
            yield Offline(path, connection, None, [])
            return
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="leveret-"))
        target = Path(directory) / path.name
        losses = Salvage(path, wal_of(path), target).run()
        connection = stack.enter_context(contextlib.closing(connect(target)))
        yield Offline(path, connection, damage, losses)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that reads the file and its log and leaves no trace.

    Without locks, which the lock on the directory makes needless, and with the log's index in RAM instead of a file.
    Without a log the file is declared immutable, or SQLite would make an empty one.
    """
    how = "vfs=unix-none" if wal_of(path).exists() else "immutable=1"
    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro&{how}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


@contextlib.contextmanager
def _not_running(directory: Path) -> Iterator[None]:
    try:
        lock: BinaryIO = (directory / LOCK_NAME).open("rb")
    except FileNotFoundError:
        # A copy, or a card of which only the store was taken.
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock.fileno(), 32, 0).decode(errors="replace").strip() or "unknown"
            raise StartupError(
                f"data directory {directory} is in use by a running node, process id {holder}; stop it first"
            ) from None
        yield
