"""One node a data directory."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from edge.core.errors import StartupError

LOCK_NAME: Final = "leveret.lock"


def make_directory(directory: Path) -> None:
    """Make a directory and its parents, so that a power cut does not take it with what is synced in it.

    SQLite syncs the directory of its files, but not the entry of that directory in its parent.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Some file systems sync no directories; SQLite passes over that as well.
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


class DataDirectoryLock:
    """An advisory lock that the kernel lets go of with the process, however it ends; the file names its process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises StartupError naming the process that holds the directory, or why it cannot be written."""
        path = self._directory / LOCK_NAME
        try:
            make_directory(self._directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StartupError(
                f"data directory {self._directory} cannot be used: {error.strerror};"
                " set node.data_dir to one that can be written"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StartupError(
                f"data directory {self._directory} is in use by a running node, process id {holder};"
                " stop it or set node.data_dir to another directory"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StartupError(
                f"data directory {self._directory} cannot be locked: {error.strerror};"
                " set node.data_dir to a local file system"
            ) from error
        # The number is for people: a full disk that has no room for it is no reason not to start.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
