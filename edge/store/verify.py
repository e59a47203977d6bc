"""All that can be checked of a store, offline: every page, every row, every sequence."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from edge.store import losses
from edge.store.connections import CLEAN_STOP, RUNNING
from edge.store.inspect import stored_queues
from edge.store.losses import Losses
from edge.store.offline import open_offline
from edge.store.opening import wal_of
from edge.store.pages import torn_commits
from edge.store.salvage import Salvage

PROBLEMS_MAX = 20
"""Of SQLite's own findings; a bad page brings hundreds of them."""


def verify(path: Path) -> dict[str, Any]:
    """A report of texts: ``problems``, ``lost`` (missing now), ``past_losses`` (reported by the node), and ``ok``.

    Raises StoreError, StartupError as ``open_offline``.
    """
    problems: list[str] = []
    with open_offline(path) as store:
        if store.damage is not None:
            problems.append(store.damage)
        else:
            problems += _findings(store.connection)
        problems += _log_problems(path, store.connection)
        past = Losses()
        past.restore(dict(_records(store.connection, losses.KIND)))
        messages = sum(queue.state.messages for queue in stored_queues(store.connection))
        with tempfile.TemporaryDirectory(prefix="leveret-") as directory:
            missing = Salvage(path, wal_of(path), Path(directory) / "scratch").run(with_data=False)
    return {
        "path": str(path),
        "ok": not problems and not missing,
        "messages": messages,
        "problems": problems[:PROBLEMS_MAX],
        "lost": [loss.text() for loss in missing],
        "past_losses": [loss.text() for loss in past.entries],
    }


def _findings(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})").fetchall()
    return [] if rows == [("ok",)] else [str(row[0]) for row in rows]


def _log_problems(path: Path, connection: sqlite3.Connection) -> list[str]:
    try:
        with wal_of(path).open("rb") as wal:
            torn = torn_commits(wal)
        return [f"{torn} transactions lie behind a damaged place of the write-ahead log"] if torn > 1 else []
    except FileNotFoundError:
        kind, key = CLEAN_STOP
        if dict(_records(connection, kind)).get(key) == RUNNING:
            return [
                "the write-ahead log is missing: what was committed since the last checkpoint may be lost"
            ]
        return []


def _records(connection: sqlite3.Connection, kind: str) -> list[tuple[str, bytes]]:
    return connection.execute("SELECT key, value FROM record WHERE kind = ?", (kind,)).fetchall()
