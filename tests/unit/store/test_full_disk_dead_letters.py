"""On a full disk what is to be dead-lettered stays where it is, and goes on by itself when there is room."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.queue import Queue
from edge.store import commits as commits_module
from tests.helpers.brokers import ManualClock, Taker, crash, message, start, stop, turn, until
from tests.unit.store.test_full_disk import SIZE, Full, quick

__all__ = ["quick"]

TO_GRAVE: dict[str, object] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "grave"}
DUE_MS = 2_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Broker]:
    made = await start(tmp_path, clock)
    yield made
    await stop(made)


class Dying(Full):
    """Queue "dying" holds ten messages that expire, and there is no room to dead-letter them."""

    async def prepare(self, **arguments: object) -> Queue:
        self.grave = self.broker.declare_queue(self.vhost, "grave")
        self.dying = self.broker.declare_queue(self.vhost, "dying", arguments=TO_GRAVE | arguments)
        messages = [message("dying", b"%0*d" % (SIZE, number), expires_at_ms=DUE_MS) for number in range(10)]
        self.broker.publish(self.vhost, "", messages)
        await self.fill()
        self.publish()
        # It has been tried with less and less.
        commits = self.broker.store._commits
        await until(lambda: commits._part_bytes_max == commits_module.PART_BYTES_MIN)
        assert self.broker.store.own_room_bytes <= 0
        return self.dying

    @property
    def buried(self) -> list[int]:
        return [int(entry[1].body[-4:]) for entry in self.grave.ready]


@pytest.fixture
def dying(broker: Broker) -> Dying:
    return Dying(broker)


@pytest.mark.parametrize("arguments", [{}, {"x-max-priority": 3}])
async def test_what_expires_waits_in_its_queue_and_is_given_to_nobody(
    dying: Dying, clock: ManualClock, tmp_path: Path, arguments: dict[str, object]
) -> None:
    queue = await dying.prepare(**arguments)
    clock.now_ms = DUE_MS + 1
    taker = Taker(queue)
    dying.broker.consume(taker)
    await turn(20)
    assert (queue.messages_ready, dying.grave.messages) == (10, 0)
    assert taker.received == []
    assert queue.pop(no_ack=False) is None
    await dying.settle(10)
    await until(lambda: dying.grave.messages == 10)
    assert dying.buried == list(range(10))
    assert taker.received == []
    assert queue.dead_lettered == {"expired": 10}
    await dying.broker.store.committed()
    await crash(dying.broker)
    again = await start(tmp_path, clock)
    queues = again.vhosts["/"].queues
    assert (queues["dying"].messages, queues["grave"].messages) == (0, 10)
    await crash(again)
    await dying.broker.store.open()


async def test_a_power_cut_finds_what_waits_to_be_dead_lettered_in_its_queue(
    dying: Dying, clock: ManualClock, tmp_path: Path
) -> None:
    await dying.prepare()
    clock.now_ms = DUE_MS + 1
    dying.broker.schedule_dispatch(dying.dying)
    await turn(20)
    await crash(dying.broker)
    again = await start(tmp_path, clock)
    queues = again.vhosts["/"].queues
    assert (queues["dying"].messages, queues["grave"].messages) == (10, 0)
    await crash(again)
    await dying.broker.store.open()


async def test_consumers_that_refuse_get_nothing_more_to_refuse(dying: Dying) -> None:
    """What they hold is theirs to refuse; the rest comes when there is room."""
    queue = await dying.prepare()
    taker = Taker(queue, 3)
    dying.broker.consume(taker)
    await until(lambda: len(taker.received) == 3)
    for _ in range(3):
        refused, taker.held = taker.held[:1], taker.held[1:]
        queue.reject(refused)
        queue.wake()
        await turn(20)
    assert len(taker.received) == 3
    assert dying.grave.messages == 3
    assert queue.pop(no_ack=False) is None
    await dying.settle(10)
    await until(lambda: len(taker.received) == 6)
    assert dying.buried == [0, 1, 2]


async def test_a_queue_with_a_limit_is_too_long_until_there_is_room(dying: Dying) -> None:
    """Its consumers drain it meanwhile."""
    queue = await dying.prepare()
    queue.apply_policy({"max-length": 5})
    await turn(20)
    assert (queue.messages_ready, dying.grave.messages) == (10, 0)
    taker = Taker(queue, 2)
    dying.broker.consume(taker)
    await until(lambda: taker.bodies)
    assert (queue.messages_ready, dying.grave.messages) == (8, 0)
    await dying.settle(10)
    await until(lambda: dying.grave.messages == 3)
    assert queue.messages_ready == 5
    assert dying.buried == [2, 3, 4]


async def test_what_is_dropped_for_good_makes_room_and_need_not_wait(
    dying: Dying, clock: ManualClock
) -> None:
    queue = await dying.prepare()
    queue.arguments = {}
    clock.now_ms = DUE_MS + 1
    dying.broker.schedule_dispatch(queue)
    await until(lambda: queue.dropped == {"expired": 10})


async def test_a_disk_that_does_not_keep_up_bounds_dead_letters_too(
    broker: Broker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long queue that expires at once no more is in RAM than may wait for its commit."""
    vhost = broker.vhosts["/"]
    grave = broker.declare_queue(vhost, "grave")
    queue = broker.declare_queue(vhost, "dying", arguments=TO_GRAVE)
    broker.publish(vhost, "", [message("dying", bytes(SIZE), expires_at_ms=DUE_MS) for _ in range(300)])
    await broker.store.committed()
    monkeypatch.setattr(commits_module, "PENDING_BYTES_MAX", 10 * SIZE)
    monkeypatch.setattr(commits_module, "LAZY_BYTES_MAX", 10 * SIZE)
    most = 0
    clock.now_ms = DUE_MS + 1
    broker.schedule_dispatch(queue)
    while grave.messages < 300:
        await turn(1)
        most = max(most, broker.store.pending_bytes)
        assert most <= 12 * SIZE
    assert most > 8 * SIZE
    assert queue.messages == 0
