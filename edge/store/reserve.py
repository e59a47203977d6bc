"""A file that holds room on the disk, to be given up when a full disk would keep even deletions from being written."""

import logging
import os
from pathlib import Path
from typing import Final

logger = logging.getLogger("edge.store")

FILE_NAME: Final = "leveret.reserve"
BYTES_MAX: Final = 8 * 1024 * 1024
"""Twice what the write-ahead log holds before a checkpoint (1,000 pages): as much as a checkpoint may add to the file
of the store, and as much again for the log of what is settled meanwhile."""
DISK_PART: Final = 8
"""At most an eighth of a small file system."""
LEFT_PART: Final = 4
"""A quarter of what is free stays out of a reserve that is made on a nearly full disk, for the next commits."""
STEP_BYTES: Final = 64 * 1024
"""Less is not worth a change."""


class Reserve:
    """Room that is really allocated (posix_fallocate), so that nobody else can have it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        #: What it has at the moment.
        self.bytes = 0

    def find(self) -> None:
        """Take over what an earlier run has left. Raises OSError."""
        self.bytes = self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def release(self) -> None:
        """Give the room up. Raises OSError."""
        if self.bytes:
            os.truncate(self.path, 0)
            self.bytes = 0

    def make(self, wanted_bytes: int, free_bytes: int) -> None:
        """Grow up to ``wanted_bytes`` while ``free_bytes`` are free; what cannot be had is left for later."""
        size = min(wanted_bytes, self.bytes + free_bytes - free_bytes // LEFT_PART)
        if size < self.bytes + min(STEP_BYTES, wanted_bytes - self.bytes) or size <= self.bytes:
            return
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            # Somebody else was faster; what has been allocated is kept.
            logger.warning("%s: a reserve of %d bytes cannot be made: %s", self.path, size, error.strerror)
        self.find()
