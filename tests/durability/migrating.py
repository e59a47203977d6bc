"""A process that makes a store and migrates it through two made-up versions, for the recorder: ROOT LOG."""

import sqlite3
import sys
from pathlib import Path

from edge.store.migrations import Migrations, migrate, sync
from edge.store.schema import prepare
from tests.durability.recording import Marks

ROWS = 400
"""Of 500 bytes each: pages enough for each step to be torn."""
FIRST, LAST = 1, 3


def _add_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE record ADD COLUMN extra INTEGER NOT NULL DEFAULT 7")


def _rewrite_all(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE record SET kind = 'new', extra = extra + 1")


STEPS: Migrations = {1: _add_column, 2: _rewrite_all}


def main(root: Path, log: Path) -> None:
    marks = Marks(log)
    (root / "a").mkdir()
    path = root / "a" / "leveret.db"
    connection = sqlite3.connect(path, isolation_level=None)
    prepare(connection, str(path))
    connection.execute("BEGIN")
    rows = [("old", f"{number:04}", b"x" * 500, 0) for number in range(ROWS)]
    connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    # As a node does with the names of its directory.
    sync(path.parent)
    sync(root)
    marks.note("filled")
    migrate(connection, path, FIRST, LAST, STEPS)
    marks.note("migrated")
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
