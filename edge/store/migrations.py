"""From an older store to this version's: each step in a transaction of its own, after a backup of the whole."""

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.core.errors import StoreError

logger = logging.getLogger("edge.store")

Migrations = Mapping[int, Callable[[sqlite3.Connection], None]]


def migrate(
    connection: sqlite3.Connection, path: str | Path, version: int, target: int, steps: Migrations
) -> None:
    """Bring a store from ``version`` to ``target``. A step that fails leaves what the last one made.

    Raises StoreError when there is no step from a version, or no room for the backup; sqlite3.Error of a step.
    """
    missing = [each for each in range(version, target) if each not in steps]
    if missing:
        raise StoreError(
            f"{path} has store version {version}, and this Leveret cannot make version {target} of it: open it first"
            f" with a release that reads version {missing[0]}"
        )
    kept = back_up(connection, Path(path), version)
    for each in range(version, target):
        connection.execute("BEGIN IMMEDIATE")
        try:
            steps[each](connection)
            connection.execute(f"PRAGMA user_version = {each + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    # So that the file itself tells its version, without its log.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    logger.info(
        "%s: migrated from store version %d to %d; the old one is kept as %s", path, version, target, kept
    )


def back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the store beside itself, whole or not at all; returns where to."""
    kept = path.with_name(f"{path.name}.backup-v{version}")
    partial = kept.with_name(kept.name + ".partial")
    partial.unlink(missing_ok=True)
    copy = sqlite3.connect(partial)
    try:
        connection.backup(copy)
    except sqlite3.Error as error:
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be backed up before it is migrated: {error}; make room and start again"
        ) from error
    finally:
        copy.close()
    sync(partial)
    partial.rename(kept)
    # Or a power cut after the migration could take the name of the only copy of the old store.
    sync(path.parent)
    return kept


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
