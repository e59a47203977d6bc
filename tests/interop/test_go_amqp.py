"""Go programs with rabbitmq/amqp091-go, unchanged against RabbitMQ and against a node of ours."""

import os
import queue
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parent / "go"
WAIT_S = 20.0


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built programs are. The first build fetches the library through Go's module proxy."""
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    assert go, "Go is not installed; run: make test-setup"
    directory = tmp_path_factory.mktemp("go")
    done = subprocess.run(
        [go, "build", "-o", f"{directory}{os.sep}", "./..."],
        cwd=SOURCES,
        env={**os.environ, "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"go build: {done.stderr}"
    return directory


@pytest.fixture(params=["leveret", "rabbitmq"])
def uri(request: pytest.FixtureRequest) -> str:
    """Where the broker is that the program runs against."""
    server: Any = request.getfixturevalue(request.param)
    return str(server.uri())


class Program:
    """A running program; ``line()`` is what it prints next."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.name = path.name
        self._process = subprocess.Popen(
            [str(path), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name=f"output of {self.name}")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("(ended)")

    def line(self) -> str:
        try:
            return self._lines.get(timeout=WAIT_S)
        except queue.Empty:
            raise AssertionError(f"{self.name} printed nothing for {WAIT_S:.0f} s") from None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def succeed(self) -> None:
        """Wait until it ends by itself, without an error."""
        assert self._process.wait(timeout=WAIT_S) == 0, self.line()


Run = Callable[..., Program]


@pytest.fixture
def run(programs: Path) -> Iterator[Run]:
    """``run("worker", uri, ...)`` starts a program; all are killed after the test."""
    started: list[Program] = []

    def run(name: str, *arguments: str) -> Program:
        started.append(Program(programs / name, *arguments))
        return started[-1]

    yield run
    for program in started:
        program.kill()


def unique(name: str) -> str:
    """RabbitMQ is shared by all tests of a run."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_hello_world_arrives_from_one_program_at_another(run: Run, uri: str) -> None:
    hello = unique("hello")
    run("send", uri, hello, "Hello World!").succeed()
    receiver = run("receive", uri, hello, "2")
    assert receiver.line() == "text/plain Hello World!"
    run("send", uri, hello, "and again").succeed()
    assert receiver.line() == "text/plain and again"
    receiver.succeed()


def test_the_task_of_a_killed_worker_goes_to_the_other_one(run: Run, uri: str) -> None:
    tasks = unique("task_queue")
    first = run("worker", uri, tasks)
    assert first.line() == "ready"
    long_task = "long" + "." * 600
    run("new_task", uri, tasks, long_task).succeed()
    assert first.line() == f"take {long_task} false"
    second = run("worker", uri, tasks)
    assert second.line() == "ready"
    run("new_task", uri, tasks, "short.", "another").succeed()
    # Prefetch 1: the busy worker gets none of them
    assert [second.line() for _ in range(4)] == [
        "take short. false",
        "done short.",
        "take another false",
        "done another",
    ]
    first.kill()
    assert second.line() == f"take {long_task} true"


def test_tasks_outlive_a_kill_of_the_node(run: Run, make_leveret: Callable[..., Any]) -> None:
    node = make_leveret()
    run("new_task", node.uri(), "task_queue", "one", "two").succeed()
    node.kill()
    node.start()
    worker = run("worker", node.uri(), "task_queue")
    lines = [worker.line() for _ in range(5)]
    assert [line.split()[:2] for line in lines] == [
        ["ready"],
        ["take", "one"],
        ["done", "one"],
        ["take", "two"],
        ["done", "two"],
    ]
