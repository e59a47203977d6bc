"""A broker without sockets, and a destination that does what the test says."""

import asyncio

import pytest

from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from edge.tables import Table
from shovel.config import read_shovel
from shovel.destination import Destination
from shovel.refusals import Refusals
from shovel.source import LocalSource
from shovel.worker import ShovelWorker
from tests.helpers import brokers

PROPERTIES = encode_properties(BasicProperties(delivery_mode=2))


def message(body, key="q", exchange="", properties=PROPERTIES):
    return Message(exchange, key, properties, str(body).encode(), flags=PERSISTENT)


def shovel_config(**values):
    table = {"name": "s", "src-uri": "amqp://", "dest-uri": "amqp://base"}
    table |= {key.replace("_", "-"): value for key, value in values.items()}
    if not {"src-queue", "src-exchange", "src-topic"} & set(table):
        table["src-queue"] = "q"
    return read_shovel(Table("leveret.toml: [[shovel]] s", table))


async def until(condition, timeout_s=5.0):
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- a condition on plain objects, nobody sets an event
            await asyncio.sleep(0.001)


class FakeDestination(Destination):
    """Keeps what is published; the test confirms and refuses."""

    def __init__(self, made):
        made.append(self)
        self.published = []
        self.refuses_to_open = None
        self.free = 10_000
        self.is_open = False

    async def open(self, feedback):
        if self.refuses_to_open is not None:
            raise self.refuses_to_open
        self.feedback = feedback
        self.is_open = True

    def room(self):
        return self.free

    def publish(self, number, entries):
        self.published += [(number + i, entry) for i, entry in enumerate(entries)]

    @property
    def bodies(self):
        return [entry[1].body.decode() for _, entry in self.published]

    async def close(self):
        self.is_open = False


@pytest.fixture
async def broker(tmp_path):
    broker = await brokers.start(tmp_path / "data")
    yield broker
    await brokers.stop(broker)


@pytest.fixture
async def run_worker(broker, monkeypatch):
    """`worker, destinations = await run_worker(src_queue="q")`: a running worker with fake destinations."""
    tasks = []
    monkeypatch.setattr("shovel.worker.DRAIN_S", 0.1)

    async def run(prepare=lambda destination: None, budget=2, **values):
        made: list[FakeDestination] = []
        config = shovel_config(**{"reconnect_delay": 0.01, **values})
        source = LocalSource(broker, config)
        source.prepare()

        def make(uri):
            destination = FakeDestination(made)
            prepare(destination)
            return destination

        worker = ShovelWorker(broker, config, source, make, Refusals(budget=budget, delay_base_s=0.01))
        task = asyncio.create_task(worker.run())
        tasks.append(task)
        worker.task = task  # type: ignore[attr-defined]  # for tests that wait for its end
        await until(lambda: made)
        return worker, made

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
