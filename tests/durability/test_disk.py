"""The simulated disk loses what was not synced, by sectors, and nothing else."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.durability import recording as r
from tests.durability.disk import DROP, KEEP, MIX, SECTOR, Disk
from tests.durability.recording import Record

OLD, NEW = b"o" * SECTOR * 4, b"n" * SECTOR * 4


def disk_after(*records: Record) -> Disk:
    disk = Disk()
    for record in records:
        disk.apply(record)
    return disk


def create(name: str, inode: int = 1) -> Record:
    return Record(r.CREATE, name, inode, 0, b"")


def write(data: bytes, offset: int = 0, inode: int = 1) -> Record:
    return Record(r.WRITE, "", inode, offset, data)


def sync(inode: int = 1) -> Record:
    return Record(r.SYNC, "", inode, 0, b"")


def sync_names(directory: str = "") -> Record:
    return Record(r.SYNC_DIRECTORY, directory, 0, 0, b"")


def made(*records: Record) -> Iterable[Record]:
    """A file "a" that is there for good, and then what befalls it."""
    return (create("a"), write(OLD), sync(), sync_names(), *records)


def content(disk: Disk, tmp_path: Path, mode: str, name: str = "a", seed: int = 1) -> bytes | None:
    directory = tmp_path / f"{mode}{seed}"
    disk.rebuild(directory, {name: mode}, random.Random(seed))
    path = directory / name
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("mode", [DROP, KEEP, MIX])
def test_what_was_synced_stays(mode: str, tmp_path: Path) -> None:
    assert content(disk_after(*made(write(NEW), sync())), tmp_path, mode) == NEW


def test_what_was_not_synced_is_dropped_or_kept(tmp_path: Path) -> None:
    disk = disk_after(*made(write(NEW)))
    assert content(disk, tmp_path, DROP) == OLD
    assert content(disk, tmp_path, KEEP) == NEW


def test_sectors_are_kept_whole_and_apart(tmp_path: Path) -> None:
    disk = disk_after(*made(write(NEW)))
    seen = set()
    for seed in range(200):
        mixed = content(disk, tmp_path, MIX, seed=seed)
        assert mixed is not None
        sectors = [mixed[at : at + SECTOR] for at in range(0, len(mixed), SECTOR)]
        assert all(sector in (OLD[:SECTOR], NEW[:SECTOR]) for sector in sectors)
        seen.add(tuple(sector == NEW[:SECTOR] for sector in sectors))
    assert len(seen) == 16


def test_a_sector_that_is_kept_holds_all_that_was_written_to_it_before(tmp_path: Path) -> None:
    disk = disk_after(*made(write(b"1"), write(b"2", 1)))
    for seed in range(50):
        mixed = content(disk, tmp_path, MIX, seed=seed)
        assert mixed is not None
        assert mixed[:2] in (b"oo", b"1o", b"12")


def test_a_truncation_is_undone_until_it_is_synced(tmp_path: Path) -> None:
    cut = Record(r.TRUNCATE, "", 1, 3, b"")
    assert content(disk_after(*made(cut)), tmp_path, DROP) == OLD
    assert content(disk_after(*made(cut, sync())), tmp_path, DROP) == OLD[:3]


def test_a_name_is_durable_when_its_directory_is_synced(tmp_path: Path) -> None:
    new = (create("a"), write(NEW), sync())
    assert content(disk_after(*new), tmp_path, DROP) is None
    assert content(disk_after(*new, sync_names()), tmp_path, DROP) == NEW


def test_a_file_is_gone_with_the_directory_that_was_not_synced_into_its_parent(tmp_path: Path) -> None:
    inside = (
        Record(r.MAKE_DIRECTORY, "d", 5, 0, b""),
        create("d/a"),
        write(NEW),
        sync(),
        sync_names("d"),
    )
    assert content(disk_after(*inside), tmp_path, DROP, "d/a") is None
    assert content(disk_after(*inside, sync_names()), tmp_path, DROP, "d/a") == NEW


def test_names_that_were_removed_or_moved_come_back_until_their_directory_is_synced(tmp_path: Path) -> None:
    unlink = Record(r.UNLINK, "a", 0, 0, b"")
    assert content(disk_after(*made(unlink)), tmp_path, DROP) == OLD
    assert content(disk_after(*made(unlink)), tmp_path, KEEP) is None
    rename = Record(r.RENAME, "b", 0, 0, b"a")
    moved = disk_after(*made(rename, sync_names()))
    assert content(moved, tmp_path, DROP, "a", seed=2) is None
    assert content(moved, tmp_path, DROP, "b", seed=2) == OLD


def test_shared_memory_is_gone_with_the_machine(tmp_path: Path) -> None:
    disk = disk_after(create("a-shm"), write(NEW), sync(), sync_names())
    assert content(disk, tmp_path, KEEP, "a-shm") is None
