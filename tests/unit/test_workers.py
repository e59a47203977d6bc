"""Workers and their supervisor: attempts for ever, each worker for itself, status."""

import asyncio
import logging
import re

import pytest

from edge.core.errors import ConfigError
from edge.workers import RATE_WEIGHT, RUNNING, LinkError, Supervisor, Worker, close_soon, error_text
from tests.helpers import brokers


class Link(Worker):
    """Fails as the test says; runs when there is nothing left to fail of."""

    def __init__(self, broker, *errors):
        super().__init__(broker, "/", "link", 0.01)
        self.errors = list(errors)
        self.attempts = 0

    async def attempt(self):
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        self.set_state(RUNNING)
        await self.broken()

    def details(self):
        return {"name": self.name, "state": self.state}


@pytest.fixture
async def broker(tmp_path):
    broker = await brokers.start(tmp_path)
    yield broker
    await brokers.stop(broker)


@pytest.fixture
async def supervisor(broker):
    supervisor = Supervisor(broker, "links")
    supervisor.start()
    yield supervisor
    await supervisor.stop()


async def running(worker):
    async with asyncio.timeout(5):
        while worker.state != RUNNING:  # noqa: ASYNC110 -- a plain attribute
            await asyncio.sleep(0.001)


async def test_a_bug_in_one_attempt_is_logged_with_its_traceback_and_tried_again(broker, supervisor, caplog):
    link = Link(broker, KeyError("oops"), LinkError("cut"))
    with caplog.at_level(logging.WARNING):
        supervisor.add("a", link)
        await running(link)
    assert link.attempts == 3
    assert link.reconnects == 2
    bug, cut = [record for record in caplog.records if record.name == "edge.workers"]
    assert bug.levelno == logging.ERROR
    assert bug.exc_info is not None
    assert (cut.levelno, cut.exc_info) == (logging.WARNING, None)


async def test_a_worker_that_ends_for_good_leaves_the_others_running(broker, supervisor):
    bad, good = Link(broker, ConfigError("wrong")), Link(broker)
    supervisor.add("bad", bad)
    supervisor.add("good", good)
    await running(good)
    assert [row["state"] for row in broker.status_sources["links"]()] == ["terminated", "running"]
    await supervisor.restart("bad")
    await running(bad)


async def test_a_removed_worker_is_shown_no_more(broker, supervisor):
    link = Link(broker)
    supervisor.add("a", link)
    await running(link)
    await supervisor.remove("a")
    assert supervisor.rows() == []
    await supervisor.remove("a")


async def test_the_rate_follows_what_is_forwarded(broker):
    link = Link(broker)
    link.forwarded = 100
    link.tick(0.0)
    assert link.rate == pytest.approx(100 * RATE_WEIGHT)
    assert link.eta_s() == 0
    for _ in range(100):
        link.tick(0.0)
    assert link.rate < 0.01


async def test_errors_show_no_password_and_are_never_empty():
    assert error_text(OSError("amqp://u:secret@base refused")) == "amqp://u:***@base refused"
    assert error_text(TimeoutError()) == "timed out"
    assert error_text(ValueError()) == "ValueError"


async def test_the_timestamp_is_written_as_rabbitmq_writes_it(broker):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d{1,2}:\d\d:\d\d", Link(broker).timestamp)


async def test_a_peer_that_does_not_answer_holds_up_no_stop(monkeypatch):
    monkeypatch.setattr("edge.workers.CLOSE_S", 0.01)
    async with asyncio.timeout(1):
        await close_soon(asyncio.Event().wait())
