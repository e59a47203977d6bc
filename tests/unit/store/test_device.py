"""What is said of mounts, space and SQLite at the start."""

import logging
from pathlib import Path

import pytest

from edge.store import device
from edge.store.device import (
    Mount,
    check_device,
    ext4_options,
    mount_of,
    mount_warnings,
    parse_mounts,
    space_warnings,
    sqlite_note,
)
from tests.helpers.leveret import LeveretInProcess

DATA = Path("/var/lib/leveret")
ARMBIAN = """\
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
/dev/mmcblk1p1 / ext4 rw,noatime,errors=remount-ro,commit=600,data=writeback 0 0
tmpfs /tmp tmpfs rw,nosuid,nodev 0 0
/dev/sda1 /var/lib/my\\040data ext4 rw,relatime 0 0
//nas/share /mnt/nas cifs rw,relatime,vers=3.0 0 0
overlay /srv overlay rw,lowerdir=/l,upperdir=/u,workdir=/w 0 0
"""
EXT4_OPTIONS = "rw\nbsddf\nnogrpid\nblock_validity\nbarrier\ncommit=5\ndata=writeback\nmax_dir_size_kb=0\n"


def warnings_at(path: str, in_force: str = "") -> list[str]:
    mount = mount_of(Path(path), parse_mounts(ARMBIAN))
    assert mount is not None
    return mount_warnings(Path(path), mount, ext4_options(in_force))


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/var/lib/leveret", "/"),
        ("/tmp/data", "/tmp"),
        ("/tmpfoo", "/"),
        ("/var/lib/my data/x", "/var/lib/my data"),
        ("/srv", "/srv"),
    ],
)
def test_a_directory_belongs_to_the_longest_mount_above_it(path: str, target: str) -> None:
    mount = mount_of(Path(path), parse_mounts(ARMBIAN))
    assert mount is not None
    assert mount.target == target


def test_of_two_mounts_on_one_place_the_later_counts() -> None:
    mounts = parse_mounts("/dev/a / ext4 rw 0 0\n/dev/b / xfs rw 0 0\n")
    assert mount_of(DATA, mounts) == Mount("/dev/b", "/", "xfs", ("rw",))
    assert mount_of(DATA, []) is None


def test_a_vendors_image_with_writeback_and_a_long_commit_is_told_both() -> None:
    assert warnings_at("/var/lib/leveret") == [
        "/var/lib/leveret is on ext4 (/) with data=writeback: after a power cut files may hold what was there before;"
        " mount it with data=ordered (/etc/fstab, and tune2fs -o ^journal_data_writeback for the default)",
        "/var/lib/leveret is on ext4 (/) with commit=600: what is not synced by itself waits 600 s for the disk;"
        " mount it with commit=5",
    ]


def test_the_file_systems_own_defaults_count_though_mounts_do_not_show_them() -> None:
    assert warnings_at("/var/lib/my data/x") == []
    (text,) = warnings_at("/var/lib/my data/x", EXT4_OPTIONS)
    assert "data=writeback" in text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/tmp/data", "which is in RAM: nothing survives a power cut; set node.data_dir to a disk"),
        ("/mnt/nas/x", "a network file system: locks and syncs are not reliable there"),
        ("/srv/data", "goes with the container: mount a volume at node.data_dir"),
    ],
)
def test_a_file_system_that_keeps_nothing_is_named(path: str, text: str) -> None:
    (warning,) = warnings_at(path)
    assert text in warning


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (Mount("/dev/sda1", "/", "ext4", ("rw", "nobarrier")), "without barriers"),
        (Mount("/dev/sda1", "/", "vfat", ("rw",)), "no journal"),
    ],
)
def test_what_does_not_survive_a_power_cut_is_named(mount: Mount, text: str) -> None:
    (warning,) = mount_warnings(DATA, mount)
    assert text in warning


def test_a_good_mount_is_not_spoken_of() -> None:
    mount = Mount("/dev/mmcblk0p2", "/", "ext4", ("rw", "noatime", "commit=15"))
    assert mount_warnings(DATA, mount, ext4_options("rw\nbarrier\ncommit=15\ndata=ordered\n")) == []


def test_little_room_is_told() -> None:
    assert space_warnings(DATA, 100 * 1024 * 1024) == []
    assert space_warnings(DATA, 5 * 1024 * 1024)[0].startswith("/var/lib/leveret has 5 MiB free: ")


def test_of_an_sqlite_with_the_wal_reset_bug_is_said_what_not_to_do() -> None:
    note = sqlite_note((3, 40, 1))
    assert note is not None
    assert "SQLite 3.40.1 has the WAL-reset bug" in note
    assert "open the store with no other program while the node runs" in note
    assert sqlite_note((3, 51, 3)) is None


def test_this_machine_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(text, str) for text in check_device(tmp_path))
    monkeypatch.setattr(device, "_read", lambda _: "")
    monkeypatch.setattr(device, "FREE_MIN_BYTES", 0)
    assert check_device(tmp_path) == []


async def test_a_node_says_it_in_its_log_and_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.node.check_device", lambda _: ["a warning"])
    async with LeveretInProcess(tmp_path) as edge:
        assert edge.node.store.warnings == ["a warning"]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "a warning" in told
