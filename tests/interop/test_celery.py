"""Celery over kombu: late acknowledgements and the rpc backend, unchanged against both brokers."""

import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import group

from tests.helpers.ports import wait_until
from tests.helpers.process import ServerProcess
from tests.interop.celery_app import TASK, make_app

ROOT = Path(__file__).parents[2]
TASKS = 200


class Worker(ServerProcess):
    """One Celery worker that does a task at a time in its own process."""

    name = "celery"

    def __init__(self, directory: Path, uri: str, queue: str) -> None:
        self.queue = queue
        # Celery warns of running as root.
        environment = {
            "INTEROP_BROKER": uri,
            "INTEROP_QUEUE": queue,
            "PYTHONPATH": str(ROOT),
            "C_FORCE_ROOT": "true",
        }
        options = ["--pool", "solo", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
        command = [sys.executable, "-m", "celery", "--app", "tests.interop.celery_app", "worker", *options]
        super().__init__(directory, command, environment)

    def ready(self) -> bool:
        return " ready." in self.log_text()

    def done(self) -> int:
        return self.log_text().count(" succeeded in ")


@pytest.fixture(params=["leveret", "rabbitmq"])
def uri(request: pytest.FixtureRequest) -> str:
    """Where the broker is that Celery runs against."""
    server: Any = request.getfixturevalue(request.param)
    return str(server.uri())


@pytest.fixture
def worker(tmp_path: Path, uri: str) -> Iterator[Worker]:
    worker = Worker(tmp_path / "worker", uri, f"celery-{uuid.uuid4().hex[:8]}")
    worker.start()
    yield worker
    worker.stop()


def test_all_results_arrive_though_the_worker_is_killed(worker: Worker, uri: str) -> None:
    """acks_late: what the killed worker held is done by the one that follows it."""
    app = make_app(uri, worker.queue)
    task = app.tasks[TASK]
    results = group(task.s(number) for number in range(TASKS)).apply_async()
    wait_until(lambda: worker.done() >= TASKS // 10, 20, "the first tasks")
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)
    assert worker.done() < TASKS, "the worker was done before it was killed"
    worker.kill()
    worker.start()
    assert results.get(timeout=60) == [number * number for number in range(TASKS)]
    app.backend.result_consumer.stop()
    app.close()
