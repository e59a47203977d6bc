"""Batches that are not as they were written: their bytes are kept beside the store, for whoever can use them."""

from pathlib import Path
from typing import Final

from edge.store.schema import SEQUENCE_BITS

KEPT_MAX: Final = 100
"""Files; a card that goes on losing batches is told by the first of them."""


class BadBatches:
    """What a page read has found bad, until the queue has been told."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._found: list[tuple[int, bytes]] = []
        #: Queue id and first sequence of a bad batch -> the file that keeps it.
        self._files: dict[tuple[int, int], str] = {}

    def __len__(self) -> int:
        return len(self._found)

    def note(self, batch: int, data: bytes) -> None:
        """A batch by its id, with what can be read of it."""
        self._found.append((batch, data))

    def keep(self) -> None:
        """Write them to files. Raises OSError."""
        found, self._found = self._found, []
        for batch, data in found:
            queue_id, first = batch >> SEQUENCE_BITS, batch & (1 << SEQUENCE_BITS) - 1
            kept = self._store.with_name(f"{self._store.name}.quarantined-batch-{queue_id}-{first}")
            if len(list(self._store.parent.glob(f"{self._store.name}.quarantined-batch-*"))) < KEPT_MAX:
                kept.write_bytes(data)
                self._files[queue_id, first] = kept.name

    def file_of(self, queue_id: int, first: int) -> str:
        """Name of the file that keeps the batch which begins there; "" for none. Asked once."""
        return self._files.pop((queue_id, first), "")
