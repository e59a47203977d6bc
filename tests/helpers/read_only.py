"""A directory on a read-only file system, as far as the machine lets one be made."""

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nothing can be written below ``directory`` meanwhile: for root by a mount, for others by its mode."""
    if os.geteuid():
        directory.chmod(0o555)
        try:
            yield
        finally:
            directory.chmod(0o755)
        return
    subprocess.run(["mount", "--bind", directory, directory], check=True, capture_output=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@functools.cache
def read_only_works() -> bool:
    """Whether it can be had: not for root without the right to mount, as in most containers."""
    try:
        with tempfile.TemporaryDirectory() as directory, read_only(Path(directory)):
            return not os.access(directory, os.W_OK)
    except (OSError, subprocess.CalledProcessError):
        return False
