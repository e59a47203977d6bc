"""What lies under the store: mounts that void the promise "confirmed means on the disk" are named at the start.

One line each, and each says what to do. Nothing here stops a node: on a bad device it is still of use.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

COMMIT_MAX_S: Final = 30
"""Of ext4's ``commit=``: some vendors' images have 600. Its own default is 5."""
FREE_MIN_BYTES: Final = 64 * 1024 * 1024
"""Less than this is warned of: a few minutes of telemetry, a log, and room for a checkpoint."""
SQLITE_MENDED: Final = (3, 51, 3)
"""The first version without the WAL-reset bug, which corrupts a store that two connections checkpoint."""

IN_RAM: Final = ("tmpfs", "ramfs")
NETWORKED: Final = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
    "fuse.glusterfs",
)
WITHOUT_JOURNAL: Final = ("vfat", "msdos", "exfat", "ext2")


class Mount(NamedTuple):
    """A line of /proc/mounts."""

    source: str
    target: str
    type: str
    options: tuple[str, ...]


def check_device(directory: Path) -> list[str]:
    """Warnings about the file system that holds the directory and about SQLite."""
    found: list[str] = []
    mount = mount_of(directory.resolve(), parse_mounts(_read(Path("/proc/mounts"))))
    if mount is not None:
        options = ext4_options(
            _read(Path("/proc/fs/ext4") / os.path.basename(os.path.realpath(mount.source)) / "options")
        )
        found += mount_warnings(directory, mount, options)
    disk = os.statvfs(directory)
    found += space_warnings(directory, disk.f_bavail * disk.f_frsize)
    return found


def sqlite_note(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str | None:
    """What an operator must not do with this version of SQLite."""
    if version >= SQLITE_MENDED:
        return None
    return (
        f"SQLite {'.'.join(map(str, version))} has the WAL-reset bug, which one connection that alone writes and"
        " checkpoints keeps away: open the store with no other program while the node runs, or install SQLite"
        f" {'.'.join(map(str, SQLITE_MENDED))}"
    )


def parse_mounts(text: str) -> list[Mount]:
    """/proc/mounts; blanks in names are written as octal escapes (proc_mounts(5), getmntent(3))."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 4:
            source, target = (_unescape(field) for field in fields[:2])
            mounts.append(Mount(source, target, fields[2], tuple(fields[3].split(","))))
    return mounts


def _unescape(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def mount_of(path: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that holds a path: the longest target above it, the last of several on one target."""
    best: Mount | None = None
    for mount in mounts:
        is_above = path == Path(mount.target) or Path(mount.target) in path.parents
        if is_above and (best is None or len(mount.target) >= len(best.target)):
            best = mount
    return best


def ext4_options(text: str) -> tuple[str, ...]:
    """/proc/fs/ext4/<device>/options: all that is in force, the defaults in the superblock included."""
    return tuple(text.split())


def mount_warnings(directory: Path, mount: Mount, in_force: tuple[str, ...] = ()) -> list[str]:
    """What to say of a mount; ``in_force``: its options with the file system's own defaults, where they are known."""
    where = f"{directory} is on {mount.type} ({mount.target})"
    if mount.type in IN_RAM:
        return [f"{where}, which is in RAM: nothing survives a power cut; set node.data_dir to a disk"]
    if mount.type in NETWORKED:
        return [
            f"{where}, a network file system: locks and syncs are not reliable there;"
            " set node.data_dir to a local one"
        ]
    found: list[str] = []
    if mount.type == "overlay":
        found.append(
            f"{where}, a container's own layer, and goes with the container: mount a volume at node.data_dir"
        )
    if mount.type in WITHOUT_JOURNAL:
        found.append(f"{where}, which has no journal: a power cut may damage all of it; use ext4 or f2fs")
    options = {*mount.options, *in_force}
    if "data=writeback" in options:
        found.append(
            f"{where} with data=writeback: after a power cut files may hold what was there before; mount it with"
            " data=ordered (/etc/fstab, and tune2fs -o ^journal_data_writeback for the default)"
        )
    if options & {"nobarrier", "barrier=0"}:
        found.append(f"{where} without barriers: a sync does not reach the card; mount it with barrier=1")
    commit_s = max([_seconds(option) for option in options])
    if commit_s > COMMIT_MAX_S:
        found.append(
            f"{where} with commit={commit_s}: what is not synced by itself waits {commit_s} s for the disk;"
            " mount it with commit=5"
        )
    return found


def _seconds(option: str) -> int:
    name, _, value = option.partition("=")
    return int(value) if name == "commit" and value.isdecimal() else 0


def space_warnings(directory: Path, free_bytes: int) -> list[str]:
    if free_bytes >= FREE_MIN_BYTES:
        return []
    return [
        f"{directory} has {free_bytes // 1024 // 1024} MiB free: publishers are held back when it is full; make room,"
        " or bound the queues by max-length-bytes"
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        # No Linux, or no ext4: nothing is known, so nothing is said.
        return ""
