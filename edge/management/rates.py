"""Rates of the counters that the HTTP API shows, sampled as RabbitMQ samples them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

INTERVAL_S: Final = 5.0
"""RabbitMQ's ``collect_statistics_interval``: a rate is what happened in the last such interval."""


class Rates:
    """Change per second of each counter over the last interval; a timer of the event loop takes the samples."""

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read
        self._timer: asyncio.TimerHandle | None = None
        self._taken_at_s = 0.0
        self._sample: Mapping[str, int] = {}
        self._rates: dict[str, float] = {}

    def start(self) -> None:
        """Take the first sample now and one every interval."""
        loop = asyncio.get_running_loop()
        self._taken_at_s, self._sample = loop.time(), self._read()
        self._timer = loop.call_later(INTERVAL_S, self._tick, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.take(loop.time())
        self._timer = loop.call_later(INTERVAL_S, self._tick, loop)

    def take(self, now_s: float) -> None:
        """Read the counters; rates from now on are those since the last reading."""
        elapsed_s = max(now_s - self._taken_at_s, 0.001)
        sample = self._read()
        self._rates = {
            name: round((value - self._sample.get(name, 0)) / elapsed_s, 1) for name, value in sample.items()
        }
        self._taken_at_s, self._sample = now_s, sample

    def with_details(self, counters: Mapping[str, int]) -> dict[str, object]:
        """The counters, each followed by its ``<name>_details`` with the rate, as RabbitMQ shows them."""
        shown: dict[str, object] = {}
        for name, value in counters.items():
            shown[name] = value
            shown[f"{name}_details"] = {"rate": self._rates.get(name, 0.0)}
        return shown
