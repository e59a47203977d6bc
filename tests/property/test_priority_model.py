"""Queues with priorities against a plain sorted list: random work, crashes and stops, windows of a few messages."""

import random
from pathlib import Path

import msgspec
import pytest

from edge.broker import Broker
from edge.core import priority_queue, queue
from edge.core.consumer import Entry
from edge.core.priority_queue import PriorityQueue
from edge.store import group, reader
from tests.helpers.brokers import Taker, crash, message, start, stop, turn, until

STEPS = 250
RUNS = 4
HIGHEST = 4


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "PAGE_IN_BELOW", 4)
    monkeypatch.setattr(priority_queue, "LANE_WINDOW_MESSAGES", 6)
    monkeypatch.setattr(group, "BATCH_MESSAGES_MAX", 5)
    monkeypatch.setattr(group, "RANGES_FEW", 1)
    monkeypatch.setattr(reader, "PAGE_MESSAGES", 5)


class Work:
    """One queue, and what it should hold: (-priority, number) of what is ready, and entries of what is held."""

    def __init__(self, directory: Path, rng: random.Random, durable: bool) -> None:
        self.directory = directory
        self.rng = rng
        self.durable = durable
        self.broker: Broker
        self.queue: PriorityQueue
        self.ready: set[tuple[int, int]] = set()
        self.held: list[Entry] = []
        self.published = 0

    async def begin(self) -> None:
        self.broker = await start(self.directory)
        declared = self.broker.declare_queue(
            self.broker.vhost("/"), "q", durable=self.durable, arguments={"x-max-priority": HIGHEST}
        )
        assert isinstance(declared, PriorityQueue)
        self.queue = declared

    def publish(self) -> None:
        made = []
        for _ in range(self.rng.choice((1, 2, 7, 20))):
            priority = self.rng.choice((0, 0, 1, 3, 4, 9))
            made.append(msgspec.structs.replace(message(body=b"%d" % self.published), priority=priority))
            self.ready.add((-min(priority, HIGHEST), self.published))
            self.published += 1
        self.broker.publish(self.broker.vhost("/"), "", made)

    async def get(self) -> None:
        entry = self.queue.pop(no_ack=False)
        for _ in range(100):
            if entry is not None or not self.queue.messages_ready:
                break
            await self.broker.page_in(self.queue)
            entry = self.queue.pop(no_ack=False)
        if not self.ready:
            assert entry is None
            return
        assert entry is not None, "the head never came into RAM"
        assert key_of(entry) == min(self.ready), "out of order"
        self.ready.remove(key_of(entry))
        self.held.append(entry)

    async def consume(self) -> None:
        """A consumer takes what it can: the head of the queue, nothing left out."""
        taker = Taker(self.queue, self.rng.choice((1, 5, 30)))
        self.broker.consume(taker)
        await until(lambda: not taker.capacity() or not self.queue.messages_ready)
        self.broker.cancel(taker)
        got = [key_of(entry) for entry in taker.received]
        assert got == sorted(self.ready)[: len(got)]
        self.ready -= set(got)
        self.held += taker.held

    def settle(self) -> None:
        count = self.rng.randint(0, len(self.held))
        picked = self.rng.sample(self.held, count)
        self.held = [entry for entry in self.held if entry not in picked]
        if self.rng.random() < 0.4:
            self.queue.requeue(picked)
            self.ready |= {key_of(entry) for entry in picked}
        else:
            self.queue.settle(picked)

    async def restart(self) -> None:
        await self.broker.store.committed()
        if self.rng.random() < 0.5:
            await crash(self.broker)
        else:
            await stop(self.broker)
        if self.durable:
            self.ready |= {key_of(entry) for entry in self.held}
        else:
            self.ready = set()
        self.held = []
        await self.begin()

    def check(self) -> None:
        lanes = self.queue.lanes.values()
        assert self.queue.messages_ready == len(self.ready) == sum(lane.messages_ready for lane in lanes)
        assert self.queue.messages_unacknowledged == len(self.held)
        assert self.queue.message_bytes == sum(lane.message_bytes for lane in lanes)


def key_of(entry: Entry) -> tuple[int, int]:
    return -min(entry[1].priority, HIGHEST), int(entry[1].body)


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("run", range(RUNS))
async def test_the_highest_priority_comes_first_through_paging_crashes_and_stops(
    tmp_path: Path, rng: random.Random, run: int, durable: bool
) -> None:
    work = Work(tmp_path, rng, durable)
    await work.begin()
    for _ in range(STEPS):
        chance = rng.random()
        if chance < 0.3:
            work.publish()
        elif chance < 0.6:
            await work.get()
        elif chance < 0.75:
            await work.consume()
        elif chance < 0.92:
            work.settle()
        elif chance < 0.95:
            await work.restart()
        elif chance < 0.96:
            assert work.queue.purge() == len(work.ready)
            work.ready = set()
        else:
            await turn(rng.randrange(20))
        work.check()
    await work.restart()
    while work.ready:
        await work.get()
    work.queue.settle(work.held)
    work.held = []
    work.check()
    await work.broker.store.committed()
    await stop(work.broker)
    again = await start(tmp_path)
    assert not await again.store.reader.queue_ids()
    await stop(again)
