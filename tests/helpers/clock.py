"""A machine whose clocks the test sets: wall time, time since boot, and which boot it is."""

from datetime import UTC, datetime

from edge.clock import Clock


class FakeClock(Clock):
    """A machine of its own; a restarted node gets a new one by ``restarted``."""

    def __init__(self, year: int = 1970, boot: str = "boot-1", since_boot_ms: int = 5_000) -> None:
        super().__init__()
        self.boot = boot
        self.since_boot_ms = since_boot_ms
        self.wall_ms = 0
        self.set_year(year)

    def set_year(self, year: int) -> None:
        """Let wall time jump; nothing else changes."""
        self.wall_ms = int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass, by all clocks."""
        self.since_boot_ms += int(seconds * 1000)
        self.wall_ms += int(seconds * 1000)

    def restarted(self) -> "FakeClock":
        """What the next process on this machine sees."""
        clock = FakeClock(boot=self.boot, since_boot_ms=self.since_boot_ms)
        clock.wall_ms = self.wall_ms
        return clock

    def rebooted(self) -> "FakeClock":
        """As ``restarted``, after the machine was without power: in 1970 again."""
        return FakeClock(boot=self.boot + "+", since_boot_ms=3_000)

    def unix_ms(self) -> int:
        return self.wall_ms

    def boot_ms(self) -> int:
        return self.since_boot_ms

    def boot_id(self) -> str:
        return self.boot
