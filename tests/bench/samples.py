"""What was measured: samples, and their medians."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from tests.bench.usage import usage
from tests.helpers.process import ServerProcess

METRICS: Final = ("rate", "cpu_us", "rss_mb", "disk_b", "seconds")


@dataclass(frozen=True, slots=True)
class Sample:
    """One load on one broker, once. What a work does not have is None."""

    work: str
    broker: str
    round: int
    messages: int = 0
    rate: float | None = None
    """Messages a second."""
    cpu_us: float | None = None
    """User and system time of the broker a message."""
    rss_mb: float | None = None
    """Resident memory after it."""
    disk_b: float | None = None
    """Bytes written to the device a message."""
    seconds: float | None = None
    error: str = ""
    """Why the run failed: something was lost, doubled, reordered or refused."""


def measure(
    work: str, broker: str, number: int, server: ServerProcess, count: int, load: Callable[[], object]
) -> Sample:
    """Run a load of ``count`` messages and take what the broker used for it."""
    before, begin = usage(server.pid), time.perf_counter()
    load()
    seconds, after = time.perf_counter() - begin, usage(server.pid)
    return Sample(
        work,
        broker,
        number,
        count,
        rate=count / seconds,
        cpu_us=(after.cpu_s - before.cpu_s) / count * 1e6,
        rss_mb=after.resident_bytes / 1e6,
        disk_b=(after.written_bytes - before.written_bytes) / count,
        seconds=seconds,
    )


class Results:
    """All samples of a run."""

    def __init__(self, samples: list[Sample] | None = None) -> None:
        self.samples = samples or []

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)

    @property
    def failures(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.error]

    def median(self, work: str, broker: str, metric: str) -> float | None:
        """Of all rounds; None when it was not measured, or a round of it failed."""
        found = [sample for sample in self.samples if (sample.work, sample.broker) == (work, broker)]
        values = [getattr(sample, metric) for sample in found]
        if not values or any([value is None for value in values]) or any([sample.error for sample in found]):
            return None
        return float(statistics.median(values))

    def brokers(self, work: str) -> list[str]:
        """Those that did the work, in the order of their first sample."""
        return list(dict.fromkeys([sample.broker for sample in self.samples if sample.work == work]))

    def works(self) -> list[str]:
        return list(dict.fromkeys([sample.work for sample in self.samples]))

    def rows(self) -> list[dict[str, Any]]:
        """For JSON: a row a work and broker with its medians and how many rounds they are of."""
        rows: list[dict[str, Any]] = []
        for work in self.works():
            for broker in self.brokers(work):
                rounds = len([s for s in self.samples if (s.work, s.broker) == (work, broker)])
                medians = {metric: self.median(work, broker, metric) for metric in METRICS}
                rows.append({"work": work, "broker": broker, "rounds": rounds, **medians})
        return rows

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(sample) for sample in self.samples]
