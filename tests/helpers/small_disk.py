"""A small file system of its own for a node, and a file of somebody else's that fills it to the last byte."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

SMALL_BYTES = 24 * 1024 * 1024


@contextlib.contextmanager
def small_disk(directory: Path, kind: str) -> Iterator[None]:
    """``directory`` is on a file system of 24 MB meanwhile: "tmpfs", or "ext4" in a file beside it. For root."""
    directory.mkdir(parents=True)
    if kind == "tmpfs":
        arguments = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(directory)]
    else:
        image = directory.with_name(f"{directory.name}.ext4")
        with image.open("wb") as file:
            file.truncate(SMALL_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
        arguments = ["mount", "-o", "loop", str(image), str(directory)]
    subprocess.run(arguments, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(directory: Path, name: str = "foreign") -> Path:
    """Take all that is free, to the last byte; returns the file, whose removal makes room again."""
    path = directory / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        size = 256 * 1024
        while size:
            try:
                os.write(descriptor, bytes(size))
                os.fsync(descriptor)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 4
    finally:
        os.close(descriptor)
    return path
