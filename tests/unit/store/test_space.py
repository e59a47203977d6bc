"""The alarm goes on before the disk is full and off by itself; the reserve is really there."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from edge.store import reserve as reserve_module
from edge.store import space as space_module
from edge.store.pages import PAGE_BYTES
from edge.store.reserve import Reserve
from edge.store.space import Space

MB = 1000 * 1000
DISK = 1000 * MB


class Disk:
    """What os.statvfs says of a disk of 1,000 MB."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 500 * MB
        self.size = DISK
        monkeypatch.setattr(os, "statvfs", lambda _: self)

    f_frsize = 1

    @property
    def f_bavail(self) -> int:
        return self.free

    @property
    def f_blocks(self) -> int:
        return self.size


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class TestAlarm:
    async def test_it_goes_on_when_less_is_free_than_has_to_be_and_off_with_a_quarter_more(
        self, tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        space = Space(tmp_path, free_min_bytes=100 * MB)
        told: list[str] = []
        space.look()
        assert not space.is_low
        disk.free = 100 * MB - 1
        space.look()
        assert space.is_low
        assert "publishers are blocked until consumers have made room: 99999999 bytes are free" in caplog.text
        space.when_roomy("a", lambda: told.append("a"))
        space.when_roomy("b", lambda: told.append("b"))
        space.forget("b")
        disk.free = 125 * MB - 1
        space.look()
        assert space.is_low, "it would flap"
        disk.free = 125 * MB
        space.look()
        await asyncio.sleep(0)
        assert (space.is_low, told) == (False, ["a"])

    async def test_what_deletions_have_freed_within_the_file_counts_as_free(
        self, tmp_path: Path, disk: Disk
    ) -> None:
        space = Space(tmp_path, free_min_bytes=100 * MB)
        disk.free = 50 * MB
        space.note_pages(50_000, 0)
        assert space.is_low
        space.note_pages(50_000, 75 * MB // PAGE_BYTES + 1)
        assert not space.is_low
        assert space.used_bytes + space.reusable_bytes == 50_000 * PAGE_BYTES

    async def test_a_quota_counts_what_the_store_holds_and_not_how_large_its_file_is(
        self, tmp_path: Path, disk: Disk
    ) -> None:
        space = Space(tmp_path, bytes_max=1600 * PAGE_BYTES)
        space.note_pages(2000, 401)
        assert not space.is_low
        space.note_pages(2000, 400)
        assert space.is_low
        space.note_pages(2000, 500)
        assert space.is_low, "a sixteenth has to go"
        space.note_pages(2000, 501)
        assert not space.is_low

    @pytest.mark.parametrize(
        ("size", "least"), [(DISK, 50 * MB), (32_000 * MB, 50 * MB), (24 * MB, 2_400_000)]
    )
    async def test_what_has_to_be_free_by_itself_suits_the_disk(
        self, tmp_path: Path, disk: Disk, size: int, least: int
    ) -> None:
        """RabbitMQ's disk_free_limit is 50 MB."""
        disk.size = size
        space = Space(tmp_path)
        space.look()
        assert space.free_min_bytes == least
        assert Space(tmp_path, free_min_bytes=0).free_min_bytes == 0

    async def test_somebody_else_is_noticed_without_a_commit(
        self, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(space_module, "LOOK_S", 0.01)
        monkeypatch.setattr(space_module, "LOOK_LOW_S", 0.01)
        space = Space(tmp_path)
        retries: list[int] = []
        space.start(lambda: retries.append(1))
        try:
            disk.free = 1
            while not space.is_low:  # noqa: ASYNC110  # the timer is what is looked at
                await asyncio.sleep(0.005)
            assert not retries
            space.exhaust()
            while not retries:  # noqa: ASYNC110  # likewise
                await asyncio.sleep(0.005)
            disk.free = 500 * MB
            space.look()
            assert space.is_low, "as long as something waits for room"
            space.recover()
            assert not space.is_low
        finally:
            space.stop()

    async def test_a_disk_that_does_not_answer_changes_nothing(
        self, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        space = Space(tmp_path)
        space.look()

        def fail(_path: object) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "statvfs", fail)
        space.look()
        assert (space.is_low, space.disk_free_bytes > 0) == (False, True)
        assert "free space is not known: Input/output error" in caplog.text


class TestBounds:
    async def test_what_waits_for_its_commit_is_a_quarter_of_what_is_free(
        self, tmp_path: Path, disk: Disk
    ) -> None:
        space = Space(tmp_path)
        for free, expected in ((500 * MB, 16 * MB), (8 * MB, 2 * MB), (0, space_module.PENDING_BYTES_MIN)):
            disk.free = free
            space.measure()
            assert space.pending_bytes_max(16 * MB) == expected

    async def test_a_part_fits_into_the_log_and_into_the_file(self, tmp_path: Path, disk: Disk) -> None:
        space = Space(tmp_path, free_min_bytes=0)
        for free, reusable, expected in ((4 * MB, 0, 1.5 * MB), (4 * MB, 90 * MB, 3 * MB), (0, 90 * MB, 0)):
            disk.free = free
            space.note_pages(100_000, reusable // PAGE_BYTES)
            disk.free = free
            space.measure()
            assert space.part_bytes() == pytest.approx(expected, rel=0.01)

    async def test_half_the_reserve_suffices_for_a_checkpoint(self, tmp_path: Path, disk: Disk) -> None:
        space = Space(tmp_path)
        for size, pages in ((DISK, 1000), (24 * MB, 366), (1000, 1)):
            disk.size = size
            space.measure()
            assert space.checkpoint_pages == pages
            assert pages * PAGE_BYTES <= max(space.reserve_bytes // 2, PAGE_BYTES)


class TestReserve:
    def test_it_is_allocated_and_not_only_promised(self, tmp_path: Path) -> None:
        reserve = Reserve(tmp_path)
        reserve.make(1 << 20, 100 << 20)
        assert reserve.path.stat().st_blocks * 512 >= 1 << 20
        again = Reserve(tmp_path)
        again.find()
        assert again.bytes == reserve.bytes >= 1 << 20
        again.release()
        assert again.path.stat().st_blocks == again.bytes == 0
        again.release()

    def test_of_little_room_it_takes_three_quarters_and_grows_when_there_is_more(
        self, tmp_path: Path
    ) -> None:
        reserve = Reserve(tmp_path)
        reserve.make(8 << 20, 1 << 20)
        assert reserve.bytes == 3 << 18
        reserve.make(8 << 20, 1000)
        assert reserve.bytes == 3 << 18, "less than a step is not worth it"
        reserve.make(8 << 20, 100 << 20)
        assert reserve.bytes == 8 << 20

    def test_room_that_somebody_else_has_taken_meanwhile_is_left_for_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        reserve = Reserve(tmp_path)
        reserve.make(1 << 20, 100 << 20)
        assert reserve.bytes == 0
        assert "cannot be made: No space left on device" in caplog.text

    async def test_it_is_given_up_for_a_start_on_a_full_disk(self, tmp_path: Path, disk: Disk) -> None:
        first = Space(tmp_path)
        first.look()
        assert first.reserve.bytes == reserve_module.BYTES_MAX
        disk.free = 0
        second = Space(tmp_path)
        second.open()
        assert second.reserve.bytes == 0
        disk.free = 100 * MB
        second.look()
        assert second.reserve.bytes == reserve_module.BYTES_MAX

    async def test_one_that_cannot_be_released_is_reported(
        self, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        space = Space(tmp_path)
        space.look()
        with monkeypatch.context() as failing, caplog.at_level(logging.ERROR):
            failing.setattr(os, "truncate", lambda *_: os.stat("/nonexistent"))
            space.release()
        assert "the reserve cannot be released" in caplog.text
