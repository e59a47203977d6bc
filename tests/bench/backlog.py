"""What a large backlog costs: memory while a million messages wait, and the way back after SIGKILL."""

import time
from pathlib import Path
from typing import Final

from tests.bench import amqp
from tests.bench import budgets as b
from tests.bench.contenders import RABBITMQ, make
from tests.bench.numbered import LoadError
from tests.bench.samples import Results, Sample
from tests.bench.usage import usage
from tests.bench.works import attempt, ports

QUEUE: Final = "bench-backlog"
WAITING: Final = 1_000_000
KILLED_AT: Final = 500_000
RABBITMQ_KILLED_AT: Final = 100_000
"""In the quick form: RabbitMQ takes a minute to fill and half of one to come back with 500,000."""
_POLL_S: Final = 0.002
_DUMP_S: Final = 5.0
"""RabbitMQ keeps a declaration in RAM for some seconds (Mnesia's log is written with delay)."""


def first_answer_s(port: int, queue: str, count: int, since: float) -> float:
    """Seconds from ``since`` until the broker says over AMQP that ``count`` messages wait in the queue."""
    while True:
        try:
            client = amqp.Amqp(port)
        except (OSError, LoadError):
            time.sleep(_POLL_S)
            continue
        found = client.declare(queue, passive=True)
        seconds = time.perf_counter() - since
        client.close()
        if found != count:
            raise LoadError(f"{found} of {count} confirmed messages came back after SIGKILL")
        return seconds


def run_backlog(results: Results, name: str, directory: Path, scale: float, *, full: bool) -> None:
    """Fill, kill, start again, fill on to a million, look at the memory, drain and verify all of it."""
    killed_at, waiting = int(KILLED_AT * scale), int(WAITING * scale)
    if name == RABBITMQ:
        killed_at = waiting = killed_at if full else int(RABBITMQ_KILLED_AT * scale)
    server = make(name, directory)
    server.start()
    try:
        port = ports(server)[0]

        def restart() -> Sample:
            amqp.fill(port, QUEUE, killed_at)
            if name == RABBITMQ:
                time.sleep(_DUMP_S)
            server.kill()
            begin = time.perf_counter()
            server.launch()
            seconds = first_answer_s(port, QUEUE, killed_at, begin)
            resident_mb = usage(server.pid).resident_bytes / 1e6
            return Sample(b.RESTART, name, 0, killed_at, seconds=seconds, rss_mb=resident_mb)

        def wait() -> Sample:
            if waiting > killed_at:
                amqp.fill(port, QUEUE, waiting - killed_at, first=killed_at)
            resident = usage(server.pid).resident_bytes
            if name != RABBITMQ or full:
                amqp.drain(port, QUEUE, waiting)
            return Sample(b.WAITING, name, 0, waiting, rss_mb=resident / 1e6)

        _ = attempt(results, b.RESTART, name, 0, restart) and attempt(results, b.WAITING, name, 0, wait)
    finally:
        server.stop()
