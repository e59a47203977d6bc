"""The disk as a power cut leaves it, rebuilt from a recording.

A file's content is durable as of its last sync, its name as of the last sync of its directory. Of what was written
since, a power cut may keep everything, nothing, or any sectors of it, each as it was after one of the writes to it;
of names that were made, moved and removed since, it keeps the first ones. SQLite assumes no more of a disk than this
(that a sector is written whole or not at all, and that syncs are not lied about).
"""

import os
import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from tests.durability import recording as r
from tests.durability.recording import Record

SECTOR = 512
DROP, KEEP, MIX = "drop", "keep", "mix"
MODES = (DROP, KEEP, MIX)
"""What becomes of what was not synced."""

Names = dict[str, "File | None"]
"""Path below the root -> its file, None for a directory."""


class File:
    """One file, whatever its names."""

    def __init__(self) -> None:
        #: What programs see.
        self.content = bytearray()
        #: What a power cut cannot take.
        self.durable = bytearray()
        #: Since the last sync: (offset, the sectors after the write), or (new size, None).
        self._unsynced: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        _put(self.content, offset, data)
        start = offset - offset % SECTOR
        end = -(-(offset + len(data)) // SECTOR) * SECTOR
        self._unsynced.append((start, bytes(self.content[start:end])))

    def truncate(self, size: int) -> None:
        _resize(self.content, size)
        self._unsynced.append((size, None))

    def sync(self) -> None:
        _replay(self.durable, self._unsynced)
        self._unsynced.clear()
        assert self.durable == self.content

    def after_cut(self, mode: str, rng: random.Random) -> bytes:
        """The content after a power cut."""
        if mode == KEEP or not self._unsynced:
            return bytes(self.content)
        image = bytearray(self.durable)
        if mode == MIX:
            # As likely hardly anything as nearly all of it.
            share = rng.choice((0.1, 0.5, 0.9))
            for offset, data in self._unsynced:
                if data is None:
                    if rng.random() < share:
                        _resize(image, offset)
                    continue
                for at in range(0, len(data), SECTOR):
                    if rng.random() < share:
                        _put(image, offset + at, data[at : at + SECTOR])
        return bytes(image)


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _resize(image: bytearray, size: int) -> None:
    if size < len(image):
        del image[size:]
    else:
        image.extend(bytes(size - len(image)))


def _replay(image: bytearray, changes: list[tuple[int, bytes | None]]) -> None:
    for offset, data in changes:
        if data is None:
            _resize(image, offset)
        else:
            _put(image, offset, data)


class Disk:
    """Follows a recording; `rebuild` gives the disk at the record that was applied last."""

    def __init__(self) -> None:
        self._names: Names = {}
        self._durable_names: Names = {}
        #: Changes of names since the sync of their directory, in order: (directories concerned, what they do).
        self._unsynced_names: list[tuple[set[str], Callable[[Names], None]]] = []
        self._files: dict[int, File] = {}

    def apply(self, record: Record) -> None:
        """Take the next record; marks change nothing."""
        kind, name = record.kind, record.name
        if kind == r.WRITE:
            self._files[record.inode].write(record.offset, record.data)
        elif kind == r.TRUNCATE:
            self._files[record.inode].truncate(record.offset)
        elif kind == r.SYNC:
            self._files[record.inode].sync()
        elif kind == r.SYNC_DIRECTORY:
            self._sync_names(name)
        elif kind == r.CREATE:
            made = self._files[record.inode] = File()
            self._change({name}, lambda names: names.update({name: made}))
        elif kind == r.MAKE_DIRECTORY:
            self._change({name}, lambda names: names.update({name: None}))
        elif kind == r.UNLINK:
            self._change({name}, lambda names: _forget(names, name))
        elif kind == r.RENAME:
            old = record.data.decode()
            self._change({old, name}, lambda names: _rename(names, old, name))

    def _change(self, paths: set[str], change: Callable[[Names], None]) -> None:
        change(self._names)
        self._unsynced_names.append(({_parent(path) for path in paths if path}, change))

    def _sync_names(self, directory: str) -> None:
        """A sync of a directory, or of a directory in it that was just made, writes the changes of its names."""
        left = []
        for directories, change in self._unsynced_names:
            if directory in directories:
                change(self._durable_names)
            else:
                left.append((directories, change))
        self._unsynced_names = left

    def rebuild(self, target: Path, modes: dict[str, str], rng: random.Random) -> None:
        """Write what is left after a power cut below ``target``; ``modes`` by first directory of the path.

        Shared memory is left out: it is gone with the machine.
        """
        for top, mode in modes.items():
            names = self._after_cut(mode, rng)
            for name, file in sorted(names.items()):
                if name != top and not name.startswith(f"{top}/"):
                    continue
                path = target / name
                if file is None:
                    path.mkdir(parents=True, exist_ok=True)
                elif not name.endswith("-shm"):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.after_cut(mode, rng))

    def _after_cut(self, mode: str, rng: random.Random) -> Names:
        if mode == KEEP:
            return dict(self._names)
        names = dict(self._durable_names)
        if mode == MIX:
            for _, change in self._unsynced_names[: rng.randint(0, len(self._unsynced_names))]:
                change(names)
        # A file whose directory is gone cannot be reached.
        return {name: file for name, file in names.items() if _is_reachable(name, names)}


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _is_reachable(name: str, names: Names) -> bool:
    parent = _parent(name)
    return not parent or (parent in names and _is_reachable(parent, names))


def _forget(names: Names, name: str) -> None:
    names.pop(name, None)


def _rename(names: Names, old: str, new: str) -> None:
    if old in names:
        file = names.pop(old)
        if new and not new.startswith(os.pardir):
            names[new] = file
