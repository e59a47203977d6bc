"""The log that `recorder.c` writes: building the recorder, marking, and reading back."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CREATE, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, UNLINK, RENAME, MAKE_DIRECTORY, MARK = range(1, 10)
HEADER = struct.Struct("=IIQQQ")
SOURCE = Path(__file__).with_name("recorder.c")
SYNC_US = 1500
"""What a sync lasts at least: an SD card takes longer. A confirm that does not wait for it is thus seen before it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One operation, or one mark of the workload."""

    kind: int
    name: str
    inode: int
    offset: int
    data: bytes

    @property
    def mark(self) -> dict[str, Any]:
        """What the workload noted."""
        mark: dict[str, Any] = json.loads(self.data)
        return mark


def build(directory: Path) -> Path:
    """Compile the recorder."""
    library = directory / "recorder.so"
    subprocess.run(
        ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", library, SOURCE], check=True
    )
    return library


def environment(library: Path, root: Path, log: Path) -> dict[str, str]:
    """What makes a process record."""
    return {
        "LD_PRELOAD": str(library),
        "RECORDER_ROOT": str(root),
        "RECORDER_LOG": str(log),
        "RECORDER_SYNC_US": str(SYNC_US),
    }


class Marks:
    """Notes of the workload between the operations on the disk, in the order in which they happen."""

    def __init__(self, log: Path) -> None:
        self._descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: str, **fields: Any) -> None:
        data = json.dumps({"event": event, **fields}).encode()
        whole = HEADER.pack(MARK, 0, 0, 0, len(data)) + data
        assert os.write(self._descriptor, whole) == len(whole)


def read(log: Path) -> list[Record]:
    """The whole log. A process that was killed may leave its last record torn."""
    return list(_records(log.read_bytes()))


def _records(log: bytes) -> Iterator[Record]:
    at = 0
    while at + HEADER.size <= len(log):
        kind, name_bytes, inode, offset, data_bytes = HEADER.unpack_from(log, at)
        at += HEADER.size
        if at + name_bytes + data_bytes > len(log):
            return
        name = log[at : at + name_bytes].decode()
        at += name_bytes
        yield Record(kind, name, inode, offset, log[at : at + data_bytes])
        at += data_bytes
