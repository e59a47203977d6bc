"""Logging of the whole program: standard error, one line a record, ``time LEVEL logger message``; no secrets.

Modules take ``logging.getLogger(__name__)`` and never set levels. INFO is lifecycle, WARNING a peer's fault or a limit
that was hit, ERROR our own fault, with its traceback.
"""

import logging
import re
import sys
import time
from typing import Final

_CREDENTIALS: Final = re.compile(r"(\w+://[^\s:/@]*):[^\s@]*@")


def redact(text: str) -> str:
    """The text with the passwords of all URIs in it replaced by ``***``."""
    return _CREDENTIALS.sub(r"\1:***@", text)


class LineFormatter(logging.Formatter):
    """One line a record: what a peer sent can neither begin a line of its own nor show a URI's password.

    The traceback of an error follows on lines of its own. Times are UTC with milliseconds, for the clocks of edge
    devices stand in many time zones.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return redact(super().formatMessage(record)).translate(_ESCAPES)

    def formatException(self, ei: object) -> str:
        return redact(super().formatException(ei))  # type: ignore[arg-type]  # typeshed's private tuple type


_ESCAPES: Final = {number: f"\\x{number:02x}" for number in (*range(32), 127) if number != 9} | {
    10: "\\n",
    13: "\\r",
}


def setup(level: str) -> None:
    """Send all records of ``level`` ("debug", "info", "warning", "error") and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Change the level of a running program."""
    logging.getLogger().setLevel(level.upper())
    # Libraries' own lifecycle lines ("Started server process") say nothing that ours do not.
    for library in ("uvicorn", "asyncio", "aiosqlite"):
        logging.getLogger(library).setLevel("DEBUG" if level == "debug" else "WARNING")
