"""Elapsed time: powered time only, whatever the wall clock does."""

import time
from pathlib import Path

import pytest

from edge import clock as clock_module
from edge.clock import Clock, SavedClock


class Machine:
    """Boots and sleeps as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot = "first"
        self.ms = 50_000
        monkeypatch.setattr(clock_module, "boot_ms", lambda: self.ms)
        monkeypatch.setattr(clock_module, "boot_id", lambda: self.boot)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def restarted(saved: SavedClock | None) -> Clock:
    clock = Clock()
    clock.restore(saved)
    return clock


def test_a_new_store_begins_at_one_because_zero_means_never(machine: Machine) -> None:
    clock = restarted(None)
    assert clock.elapsed_ms() == 1
    machine.ms += 700
    assert clock.elapsed_ms() == 701


def test_within_a_boot_the_time_that_the_node_was_down_counts(machine: Machine) -> None:
    saved = restarted(None).save()
    machine.ms += 10_000
    assert restarted(saved).elapsed_ms() == 10_001


@pytest.mark.parametrize("ms", [500, 50_000, 10**9])
def test_across_a_reboot_it_goes_on_where_it_was_saved(machine: Machine, ms: int) -> None:
    saved = restarted(None).save()
    machine.boot, machine.ms = "second", ms
    clock = restarted(saved)
    assert clock.elapsed_ms() == saved.elapsed_ms
    machine.ms += 5
    assert clock.elapsed_ms() == saved.elapsed_ms + 5


def test_where_boots_have_no_name_no_down_time_counts(machine: Machine) -> None:
    machine.boot = ""
    saved = restarted(None).save()
    machine.ms += 10_000
    assert restarted(saved).elapsed_ms() == saved.elapsed_ms


def test_a_boot_clock_that_went_back_takes_nothing_away(machine: Machine) -> None:
    saved = restarted(None).save()
    machine.ms -= 10_000
    assert restarted(saved).elapsed_ms() == saved.elapsed_ms


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = restarted(None)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert clock.unix_ms() == 0
    assert 0 < clock.elapsed_ms() < 10_000


def test_the_kernels_boot_has_a_name_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "boot_id").write_text("abc\n")
    monkeypatch.setattr(clock_module, "BOOT_ID", tmp_path / "boot_id")
    assert clock_module.boot_id() == "abc"
    monkeypatch.setattr(clock_module, "BOOT_ID", tmp_path / "none")
    assert clock_module.boot_id() == ""
    assert clock_module.boot_ms() > 0
