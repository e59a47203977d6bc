"""What a bad card has cost: reported in the log, in status and in the HTTP API until an operator has seen it.

Kept as records, so that a loss found during a start at night is still there in the morning.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

KIND: Final = "loss"
LOSSES_MAX: Final = 100
"""Losses that are remembered, newest first to stay; a card that goes on losing is told by the first of them."""


class Loss(msgspec.Struct, array_like=True):
    """Something that the store should hold and does not."""

    what: str
    """For people: "messages of queue 'reports' in vhost '/'"."""
    vhost: str = ""
    queue: str = ""
    first: int = 0
    """Sequence in the queue of the first message, ..."""
    last: int = -1
    """... and of the last one, inclusive; -1 when it is no message that was lost."""
    count: int = 0
    """Messages."""
    file: str = ""
    """Where the bad bytes are kept, in the data directory."""
    unix_ms: int = 0
    """Wall time when it was found."""

    def text(self) -> str:
        """A line for the log and for ``status``."""
        places = f", {self.count} messages, sequences {self.first} to {self.last}" if self.count else ""
        return f"{self.what}{places}" + (f" (kept in {self.file})" if self.file else "")


class Losses:
    """All losses that the store knows of."""

    def __init__(self) -> None:
        self.entries: list[Loss] = []
        self.messages = 0
        self._number = 0

    def restore(self, records: dict[str, bytes]) -> None:
        """Take over what the store holds."""
        for key in sorted(records):
            loss = msgspec.msgpack.decode(records[key], type=Loss)
            self.entries.append(loss)
            self.messages += loss.count
            self._number = int(key) + 1

    def add(self, losses: Iterable[Loss]) -> dict[tuple[str, str], bytes | None]:
        """Remember; returns the records to put or to delete for it."""
        changed: dict[tuple[str, str], bytes | None] = {}
        for loss in losses:
            self.entries.append(loss)
            self.messages += loss.count
            changed[KIND, f"{self._number:08}"] = msgspec.msgpack.encode(loss)
            self._number += 1
        surplus = len(self.entries) - LOSSES_MAX
        if surplus > 0:
            oldest = self._number - len(self.entries)
            for number in range(oldest, oldest + surplus):
                changed[KIND, f"{number:08}"] = None
            del self.entries[:surplus]
        return changed


def of_queue(vhost: str, queue: str, first: int, end: int, file: str = "", unix_ms: int = 0) -> Loss:
    """Messages ``first`` up to but not including ``end`` of a queue."""
    what = f"messages of queue '{queue}' in vhost '{vhost}' cannot be read"
    return Loss(what, vhost, queue, first, end - 1, end - first, file, unix_ms)
