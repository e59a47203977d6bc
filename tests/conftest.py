"""Fixtures of the whole suite: real servers, Leveret nodes, and a random generator whose seed is printed."""

import os
import random
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

import edge.wire
from tests.helpers.brokers import stop_threads
from tests.helpers.leveret import LeveretInProcess, LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.process import running_logs
from tests.helpers.rabbitmq import RabbitMQ
from tests.helpers.toxiproxy import Link, ToxiproxyServer

SEED = int(os.environ.get("LEVERET_TEST_SEED", 0)) or random.SystemRandom().randrange(1, 2**32)
# pytest-xdist's workers, which are started later, take the same.
os.environ["LEVERET_TEST_SEED"] = str(SEED)


IS_COMPILED = not str(edge.wire.__file__).endswith(".py")


def pytest_configure() -> None:
    """A stale extension module beside a source, or a source before the compiled build, would be tested unnoticed."""
    wanted = os.environ.get("LEVERET_TEST_COMPILED", "") == "1"
    if wanted != IS_COMPILED:
        raise pytest.UsageError(
            f"edge.wire was loaded from {edge.wire.__file__}, but LEVERET_TEST_COMPILED asks for the"
            f" {'compiled' if wanted else 'plain'} build"
        )


def pytest_report_header() -> str:
    build = "compiled" if IS_COMPILED else "plain"
    return f"{build} build; random seed: {SEED} (LEVERET_TEST_SEED={SEED} repeats it)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of every running server's log, and where the whole log is."""
    report = yield
    if report.failed:
        report.sections.extend(running_logs())
    return report


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that differ from run to run and from test to test, and repeat with LEVERET_TEST_SEED."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    stop_threads()


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One RabbitMQ for the whole run: give queues and exchanges names of your own. Without plugins."""
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A fresh Mosquitto; it starts in 20 ms."""
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def toxiproxy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    """The one Toxiproxy of the run; tests use ``toxiproxy`` or ``make_link``."""
    server = ToxiproxyServer(tmp_path_factory.mktemp("toxiproxy"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def toxiproxy(toxiproxy_server: ToxiproxyServer) -> Iterator[ToxiproxyServer]:
    """Toxiproxy with no links from before, and none left behind."""
    yield toxiproxy_server
    toxiproxy_server.destroy_links()


@pytest.fixture
def make_link(toxiproxy: ToxiproxyServer) -> Callable[[int], Link]:
    """``make_link(port)`` opens a proxied port to a server on loopback; see ``Link`` for what can befall it."""
    return toxiproxy.link


@pytest.fixture
def make_leveret(tmp_path: Path) -> Iterator[Callable[..., LeveretProcess]]:
    """``make_leveret(extra="[[shovel]]...", name="edge")``: a started node in a process of its own.

    ``start=False`` leaves starting to the test. All are stopped after the test.
    """
    made: list[LeveretProcess] = []

    def make(extra: str = "", name: str = "edge", start: bool = True) -> LeveretProcess:
        node = LeveretProcess(tmp_path / f"{name}-{len(made)}", extra, name)
        made.append(node)
        if start:
            node.start()
        return node

    yield make
    for node in made:
        node.stop()


@pytest.fixture
def leveret(make_leveret: Callable[..., LeveretProcess]) -> LeveretProcess:
    """One started node in a process of its own, configured by nothing but its name, data and ports."""
    return make_leveret()


@pytest.fixture
async def edge_node(tmp_path: Path) -> AsyncIterator[LeveretInProcess]:
    """One started node in the test's own event loop."""
    async with LeveretInProcess(tmp_path / "edge") as node:
        yield node
