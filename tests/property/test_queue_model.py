"""Broker and store against a plain model: random work, crashes and clean stops; nothing confirmed is ever lost."""

import random
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from edge.broker import Broker
from edge.core import queue as queue_module
from edge.core.consumer import Entry
from edge.core.message import Message
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.store import group as group_module
from edge.store import reader as reader_module
from edge.store.schema import SEQUENCE_BITS
from edge.store.store import FILE_NAME
from tests.helpers.brokers import Taker, crash, message, start, stop, turn, until

STEPS = 350
RUNS = 12
QUEUES = ("a", "b", "c", "t")
TRANSIENT = "t"
"""The queue that is not durable: it spills to the disk as the others page, and is gone with the process."""


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few dozen messages page, cut batches and leave deletions over, as millions would."""
    for name, value in (
        ("WINDOW_MESSAGES", 16),
        ("WINDOW_BYTES", 4_000),
        ("PAGE_IN_BELOW", 8),
        ("PAGE_IN_BELOW_BYTES", 2_000),
    ):
        monkeypatch.setattr(queue_module, name, value)
    for name, value in (
        ("BATCH_MESSAGES_MAX", 8),
        ("BATCH_BYTES_MAX", 1_000),
        ("RANGE_DELETE_MIN", 4),
        ("RANGES_FEW", 2),
        ("DELETE_BATCHES_MAX", 3),
    ):
        monkeypatch.setattr(group_module, name, value)
    for name, value in (("PAGE_MESSAGES", 8), ("PAGE_BYTES", 2_000), ("PAGE_BATCHES_MAX", 4)):
        monkeypatch.setattr(reader_module, name, value)


class Item:
    """A message in a queue, as the model sees it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_confirmed = False
        self.was_delivered = False
        #: Whether the redelivered flag may stand on it though it was never delivered.
        self.may_be_marked = False


class ModelQueue:
    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self.held: set[int] = set()
        self.durably_settled: set[int] = set()
        self.settled: set[int] = set()
        self.delivered_high = -1
        self.takers: list[Taker] = []
        self.got: list[Entry] = []
        self.seen = 0

    def ready(self) -> list[int]:
        return [number for number in self.items if number not in self.held]


def number_of(entry: Entry) -> int:
    return int.from_bytes(entry[1].body[:8], "big")


class Work:
    """One run: the broker, the model and the random choices."""

    def __init__(self, directory: Path, rng: random.Random) -> None:
        self.directory = directory
        self.rng = rng
        self.broker: Broker
        self.model: dict[str, ModelQueue] = {}
        self.published = 0
        self.log: list[str] = []

    @property
    def vhost(self) -> VHost:
        return self.broker.vhosts["/"]

    def queue(self, name: str) -> Queue:
        return self.vhost.queues[name]

    # -- actions ---------------------------------------------------------------------------------------------------

    async def declare(self, name: str) -> None:
        if name in self.model:
            return
        self.broker.declare_queue(self.vhost, name, durable=name != TRANSIENT)
        if self.rng.random() < 0.7:
            self.broker.bind(self.vhost, "fan", name, "")
        self.model[name] = ModelQueue()
        # Whether an unconfirmed declaration survives is not the matter here.
        await self.broker.store.committed()

    async def delete(self, name: str) -> None:
        if self.rng.random() < 0.2 and name in self.model:
            self.broker.delete_queue(self.vhost, self.queue(name))
            gone = self.model.pop(name)
            for taker in gone.takers:
                assert taker.is_cancelled
                if self.rng.random() < 0.5:
                    taker.queue.settle(taker.held)
                else:
                    taker.requeue()
            await self.broker.store.committed()

    def new_messages(self, routing_key: str) -> list[Message]:
        made = []
        for _ in range(self.rng.choice((1, 1, 2, 5, 12, 40))):
            size = self.rng.choice((8, 8, 30, 300, 3_000 if self.rng.random() < 0.1 else 9))
            made.append(message(routing_key, self.published.to_bytes(8, "big") + bytes(size - 8)))
            self.published += 1
        return made

    async def publish(self, name: str) -> None:
        messages = self.new_messages(name)
        exchange = self.rng.choice(("", "fan"))
        self.broker.publish(self.vhost, exchange, messages)
        targets = [name] if exchange == "" else self.fan_queues()
        items: list[Item] = []
        for target in targets:
            for made in messages:
                if target in self.model:
                    item = Item(len(made.body))
                    self.model[target].items[int.from_bytes(made.body[:8], "big")] = item
                    items.append(item)

        def confirm() -> None:
            for item in items:
                item.is_confirmed = True

        self.broker.after_commit(confirm)

    def fan_queues(self) -> list[str]:
        return [binding.destination.name for binding in self.vhost.exchange("fan").bindings.values()]

    async def consume(self, name: str) -> None:
        model = self.model.get(name)
        if model is not None and len(model.takers) < 3:
            taker = Taker(
                self.queue(name),
                self.rng.choice((1, 3, 20)),
                no_ack=self.rng.random() < 0.1,
                committed_only=self.rng.random() < 0.3,
                priority=self.rng.choice((0, 0, 1)),
            )
            model.takers.append(taker)
            self.broker.consume(taker)

    async def cancel(self, name: str) -> None:
        model = self.model.get(name)
        if model is not None and model.takers:
            taker = model.takers.pop(self.rng.randrange(len(model.takers)))
            self.broker.cancel(taker)
            self.note_requeued(model, taker.held)
            taker.requeue()

    def pick(self, model: ModelQueue) -> list[Entry]:
        """Take some of what is held, in order or not."""
        held = self.rng.choice([*[taker.held for taker in model.takers], model.got])
        count = self.rng.randint(0, len(held))
        picked = held[:count] if self.rng.random() < 0.6 else self.rng.sample(held, count)
        for entry in picked:
            held.remove(entry)
        return picked

    async def settle(self, name: str) -> None:
        model = self.model.get(name)
        if model is None:
            return
        entries = self.pick(model)
        action = self.rng.random()
        if action < 0.25:
            self.note_requeued(model, entries)
            self.queue(name).requeue(entries)
        else:
            self.note_settled(model, [number_of(entry) for entry in entries])
            if action < 0.4:
                self.queue(name).reject(entries)
            else:
                self.queue(name).settle(entries)
        self.queue(name).wake()

    def note_requeued(self, model: ModelQueue, entries: list[Entry]) -> None:
        model.held -= {number_of(entry) for entry in entries}

    def note_settled(self, model: ModelQueue, numbers: list[int]) -> None:
        for number in numbers:
            del model.items[number]
        model.held -= set(numbers)
        model.settled |= set(numbers)
        self.broker.after_commit(lambda: model.durably_settled.update(numbers))

    async def get(self, name: str) -> None:
        model = self.model.get(name)
        if model is None:
            return
        await self.check_deliveries()
        queue = self.queue(name)
        no_ack = self.rng.random() < 0.3
        entry = queue.pop(no_ack)
        for _ in range(1_000):
            if entry is not None or not queue.messages_ready:
                break
            await self.broker.page_in(queue)
            await self.check_deliveries()
            entry = queue.pop(no_ack)
        else:
            pytest.fail("the head of the queue never came into RAM")
        if entry is None:
            assert not model.ready()
            return
        self.check_entry(model, entry, model.ready()[0])
        if no_ack:
            self.note_settled(model, [number_of(entry)])
        else:
            model.held.add(number_of(entry))
            model.got.append(entry)

    async def purge(self, name: str) -> None:
        if name in self.model and self.rng.random() < 0.2:
            model = self.model[name]
            ready = model.ready()
            assert self.queue(name).purge() == len(ready)
            self.note_settled(model, ready)

    async def commit(self, _name: str) -> None:
        await self.broker.store.committed()

    async def wait(self, _name: str) -> None:
        await turn(self.rng.randrange(30))

    async def kill(self, _name: str) -> None:
        if self.rng.random() < 0.3:
            await self.check_deliveries()
            await crash(self.broker)
            self.note_crash()
            await self.begin()

    async def stop_cleanly(self, _name: str) -> None:
        if self.rng.random() < 0.3:
            await self.check_deliveries()
            await stop(self.broker)
            for model in self.model.values():
                for number, item in model.items.items():
                    item.may_be_marked = item.may_be_marked or number <= model.delivered_high
            self.forget_takers()
            self.check_counts_of_disk()
            await self.begin()

    # -- restarts --------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        self.broker = await start(self.directory)
        self.broker.declare_exchange(self.vhost, "fan", "fanout")
        await self.broker.store.committed()
        assert set(self.vhost.queues) == set(self.model)

    def forget_takers(self) -> None:
        self.model.pop(TRANSIENT, None)
        for model in self.model.values():
            model.takers, model.got, model.held, model.seen = [], [], set(), 0

    def on_disk(self) -> dict[str, set[int]]:
        """Queue name -> numbers of the messages that the store holds for it, read apart from the product's reader."""
        connection = sqlite3.connect(self.directory / FILE_NAME)
        batches = connection.execute("SELECT id, data FROM batch").fetchall()
        cursors = {row[0]: row[1:] for row in connection.execute("SELECT queue_id, low, ranges FROM cursor")}
        queues = connection.execute("SELECT value FROM record WHERE kind = 'queue'").fetchall()
        connection.close()
        names = {record[2]: record[1] for record in (msgspec.msgpack.decode(value) for (value,) in queues)}
        assert set(cursors) <= set(names)
        found: dict[str, set[int]] = {name: set() for name in names.values()}
        for batch, data in batches:
            queue_id, first = batch >> SEQUENCE_BITS, batch & (1 << SEQUENCE_BITS) - 1
            low, ranges = cursors.get(queue_id, (0, b"\x90"))
            gaps = msgspec.msgpack.decode(ranges)
            for sequence, stored in enumerate(msgspec.msgpack.decode(data), first):
                is_settled = sequence < low or any(begin <= sequence < end for begin, end in gaps)
                if stored is not None and not is_settled and queue_id in names:
                    found[names[queue_id]].add(int.from_bytes(stored[3][:8], "big"))
        return found

    def note_crash(self) -> None:
        """What is on disk is what there is; compare it with what was promised."""
        disk = self.on_disk()
        self.forget_takers()
        for name, model in self.model.items():
            confirmed = {number for number, item in model.items.items() if item.is_confirmed}
            assert confirmed <= disk[name], f"queue {name} lost {sorted(confirmed - disk[name])}"
            back = disk[name] & model.durably_settled
            assert not back, f"queue {name} got back {sorted(back)}"
            assert disk[name] <= set(model.items) | model.settled
            for number in disk[name] & model.settled:
                model.items[number] = Item(-1)
                model.items[number].was_delivered = True
            model.settled -= disk[name]
            model.items = {number: model.items[number] for number in sorted(disk[name])}
            for item in model.items.values():
                item.may_be_marked = item.is_confirmed = True

    def check_counts_of_disk(self) -> None:
        """After a clean stop nothing is on its way."""
        disk = self.on_disk()
        for name, model in self.model.items():
            assert disk[name] == set(model.items)

    # -- checks ----------------------------------------------------------------------------------------------------

    def check_entry(self, model: ModelQueue, entry: Entry, expected: int) -> None:
        number = number_of(entry)
        assert number == expected, "out of order"
        item = model.items[number]
        if item.size < 0:
            item.size = len(entry[1].body)
        assert len(entry[1].body) == item.size
        if item.was_delivered:
            assert entry[2] > 0, f"{number} was delivered before and is not marked"
        elif not item.may_be_marked:
            assert entry[2] == 0, f"{number} is new and marked as redelivered"
        item.was_delivered = True
        model.delivered_high = max(model.delivered_high, number)

    async def check_deliveries(self) -> None:
        """What was delivered since the last check is the front of the queue, nothing left out."""
        await turn()
        for name, model in self.model.items():
            new: list[tuple[Entry, Taker]] = []
            for taker in model.takers:
                new += [(entry, taker) for entry in taker.received]
                numbers = [number_of(entry) for entry in taker.received]
                assert numbers == sorted(numbers)
                taker.received = []
            new.sort(key=lambda pair: pair[0][0])
            ready = model.ready()
            for (entry, taker), expected in zip(new, ready, strict=False):
                self.check_entry(model, entry, expected)
                if taker.no_ack:
                    self.note_settled(model, [number_of(entry)])
                else:
                    model.held.add(number_of(entry))
            self.check_counters(name, model)

    def check_counters(self, name: str, model: ModelQueue) -> None:
        queue = self.queue(name)
        assert queue.messages_unacknowledged == len(model.held)
        assert queue.messages_ready == len(model.items) - len(model.held)
        if all(item.size >= 0 for item in model.items.values()):
            assert queue.message_bytes == sum(item.size for item in model.items.values())
        in_window = [entry[1] for entry in queue.ready]
        assert queue.window_bytes == sum(len(m.body) + len(m.properties) for m in in_window)
        assert len(in_window) <= queue.messages_ready

    async def drain(self) -> None:
        """Deliver and settle all; then nothing is left on the disk."""
        await self.check_deliveries()
        for name, model in self.model.items():
            queue = self.queue(name)
            for taker in model.takers:
                self.broker.cancel(taker)
                self.note_requeued(model, taker.held)
                taker.requeue()
            self.note_requeued(model, model.got)
            queue.requeue(model.got)
            model.got = []
            taker = Taker(queue, 30)
            model.takers = [taker]
            self.broker.consume(taker)
        for name, model in self.model.items():
            (taker,) = model.takers
            queue = self.queue(name)
            while queue.messages:
                await until(partial(getattr, taker, "held"))
                await self.check_deliveries()
                self.note_settled(model, [number_of(entry) for entry in taker.held])
                taker.settle(len(taker.held))
            assert not model.items
        await until(lambda: not self.rows_left())

    def rows_left(self) -> list[tuple[int, int]]:
        """Queue ids and how many batches they have."""
        connection = sqlite3.connect(self.directory / FILE_NAME)
        rows = connection.execute(
            "SELECT id >> ?, count(*) FROM batch GROUP BY 1", (SEQUENCE_BITS,)
        ).fetchall()
        connection.close()
        return rows


ACTIONS: list[tuple[Callable[[Work, str], Awaitable[None]], int]] = [
    (Work.declare, 4),
    (Work.delete, 1),
    (Work.publish, 20),
    (Work.consume, 5),
    (Work.cancel, 3),
    (Work.settle, 25),
    (Work.get, 8),
    (Work.purge, 2),
    (Work.commit, 5),
    (Work.wait, 15),
    (Work.kill, 4),
    (Work.stop_cleanly, 3),
]


@pytest.mark.parametrize("run", range(RUNS))
async def test_broker_and_store_do_what_a_plain_list_would_through_crashes_and_stops(
    tmp_path: Path, rng: random.Random, run: int
) -> None:
    work = Work(tmp_path, rng)
    await work.begin()
    for name in QUEUES:
        await work.declare(name)
    actions = [action for action, _ in ACTIONS]
    weights = [weight for _, weight in ACTIONS]
    try:
        for _ in range(STEPS):
            (action,) = rng.choices(actions, weights)
            name = rng.choice(QUEUES)
            work.log.append(f"{action.__name__} {name}")
            await action(work, name)
            await work.check_deliveries()
        await work.drain()
    except BaseException:
        print("\n".join(work.log[-40:]))
        await crash(work.broker)
        raise
    await stop(work.broker)
    assert work.rows_left() == []
