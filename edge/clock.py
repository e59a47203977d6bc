"""The node's time: elapsed time that survives restarts, and wall time for people.

A Pi has no clock battery, so wall time jumps by years; everything that expires does so by elapsed time. It counts
powered time: within one boot also what passed while the node was down, by the kernel's boot id and CLOCK_BOOTTIME.
"""

import time
from pathlib import Path
from typing import Final

import msgspec

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class SavedClock(msgspec.Struct, array_like=True):
    """Where elapsed time had come to, as the store keeps it."""

    elapsed_ms: int
    boot_id: str
    boot_ms: int


class Clock:
    """Elapsed time in milliseconds, starting from what was saved. Tests give a clock of their own."""

    def __init__(self) -> None:
        self._offset_ms = 0

    def elapsed_ms(self) -> int:
        """Milliseconds since the node's store was made, powered time only; never goes back."""
        return self._offset_ms + self.boot_ms()

    def unix_ms(self) -> int:
        """Wall time, for people and for peers; may jump."""
        return time.time_ns() // 1_000_000

    def restore(self, saved: SavedClock | None) -> None:
        """Go on from where the last run of the node had come to."""
        now = self.boot_ms()
        if saved is None:
            self._offset_ms = 1 - now
        elif saved.boot_id and saved.boot_id == self.boot_id() and saved.boot_ms <= now:
            self._offset_ms = saved.elapsed_ms - saved.boot_ms
        else:
            self._offset_ms = saved.elapsed_ms - now

    def save(self) -> SavedClock:
        now = self.boot_ms()
        return SavedClock(self._offset_ms + now, self.boot_id(), now)

    def boot_ms(self) -> int:
        return boot_ms()

    def boot_id(self) -> str:
        return boot_id()


def boot_ms() -> int:
    """Milliseconds since boot, including sleep."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_id() -> str:
    """The kernel's name for this boot; empty where there is none, and then no down time counts."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
