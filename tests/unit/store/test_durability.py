"""Durability classes: what is confirmed when, and how many commits, each with one sync, that takes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.errors import PreconditionFailed
from edge.core.policy import Policy
from edge.core.queue import Queue
from edge.store import commits as commits_module
from tests.helpers.brokers import Taker, crash, message, numbered, start, stop, turn, until

DELAY_MS = 100


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = await start(tmp_path)
    made.store._commits._lazy_delay_s = DELAY_MS / 1000
    for name in ("durable", "lazy", "volatile"):
        made.declare_queue(made.vhosts["/"], name, arguments={"x-durability": name})
        made.bind(made.vhosts["/"], "amq.fanout", name, "")
    await made.store.committed()
    yield made
    await stop(made)


def publish(broker: Broker, routing_key: str, told: list[str], exchange: str = "") -> None:
    """Publish one message and be told as a publisher is."""
    result = broker.publish(
        broker.vhosts["/"], exchange, [message(routing_key, b"x" * 100, exchange=exchange)]
    )
    if result.durable:
        broker.after_commit(lambda: told.append(routing_key))
    else:
        told.append(routing_key)


def queue_of(broker: Broker, name: str) -> Queue:
    return broker.vhosts["/"].queues[name]


async def test_lazy_messages_share_a_commit_and_are_confirmed_by_it_and_not_before(broker: Broker) -> None:
    before = broker.store.commits
    told: list[str] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(50):
        publish(broker, "lazy", told)
        await asyncio.sleep(0.0005)
        assert not told or broker.store.commits > before
    await until(lambda: len(told) == 50)
    # However slow the machine is: so many delays fit in between.
    assert 1 <= broker.store.commits - before <= 2 + (loop.time() - began) * 1000 / DELAY_MS
    assert queue_of(broker, "lazy").committed_sequence == 50


async def test_a_durable_message_waits_for_no_lazy_one_and_takes_it_along(broker: Broker) -> None:
    broker.store._commits._lazy_delay_s = 3600
    before = broker.store.commits
    told: list[str] = []
    publish(broker, "lazy", told)
    await turn(20)
    assert (told, broker.store.commits) == ([], before)
    publish(broker, "durable", told)
    await until(lambda: len(told) == 2)
    assert told == ["lazy", "durable"], "confirms stay in order"
    assert broker.store.commits == before + 1


async def test_volatile_messages_are_confirmed_at_once_and_go_with_the_next_commit(broker: Broker) -> None:
    before = broker.store.commits
    told: list[str] = []
    for _ in range(100):
        publish(broker, "volatile", told)
        await turn()
    assert (len(told), broker.store.commits) == (100, before)
    publish(broker, "durable", told)
    await until(lambda: len(told) == 101)
    assert broker.store.commits == before + 1
    assert queue_of(broker, "volatile").committed_sequence == 100


async def test_volatile_messages_alone_are_written_now_and_then(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits_module, "VOLATILE_DELAY_S", 0.05)
    told: list[str] = []
    publish(broker, "volatile", told)
    await until(lambda: queue_of(broker, "volatile").committed_sequence == 1)


async def test_a_message_to_several_queues_goes_by_the_strictest(broker: Broker) -> None:
    broker.store._commits._lazy_delay_s = 3600
    told: list[str] = []
    publish(broker, "", told, exchange="amq.fanout")
    assert not told
    await until(lambda: told)
    assert [queue_of(broker, name).committed_sequence for name in ("durable", "lazy", "volatile")] == [
        1,
        1,
        1,
    ]


async def test_with_a_volatile_queue_alone_nobody_waits_longer_than_for_a_lazy_one(broker: Broker) -> None:
    """A declaration, for instance, promises what its connection did before."""
    told: list[str] = []
    publish(broker, "volatile", told)
    broker.after_commit(lambda: told.append("declared"))
    await until(lambda: len(told) == 2, timeout_s=3)
    assert queue_of(broker, "volatile").committed_sequence == 1


async def test_what_waits_in_ram_is_bounded(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits_module, "LAZY_BYTES_MAX", 10_000)
    broker.store._commits._lazy_delay_s = 3600
    broker.publish(broker.vhosts["/"], "", numbered(100, size=100, routing_key="lazy"))
    await until(lambda: queue_of(broker, "lazy").committed_sequence == 100)


async def test_who_takes_only_what_is_on_the_disk_does_not_wait_for_it(broker: Broker) -> None:
    """MQTT at QoS 2 and Leveret-to-Leveret links."""
    broker.store._commits._lazy_delay_s = 3600
    taker = Taker(queue_of(broker, "volatile"), committed_only=True)
    broker.consume(taker)
    publish(broker, "volatile", [])
    await until(lambda: taker.received)


async def test_a_power_cut_takes_volatile_messages_and_no_confirmed_others(
    broker: Broker, tmp_path: Path
) -> None:
    broker.store._commits._lazy_delay_s = 3600
    told: list[str] = []
    publish(broker, "lazy", told)
    publish(broker, "durable", told)
    publish(broker, "volatile", told)
    await until(lambda: len(told) == 3)
    publish(broker, "volatile", told)
    publish(broker, "lazy", told)
    assert told.count("volatile") == 2
    await crash(broker)
    again = await start(tmp_path)
    assert {name: queue_of(again, name).messages for name in ("durable", "lazy", "volatile")} == {
        "durable": 1,
        "lazy": 1,
        "volatile": 1,
    }
    assert queue_of(again, "lazy").durability == "lazy"
    assert not again.store.losses.entries
    await stop(again)
    await broker.store.open()


async def test_a_stop_writes_what_waits(broker: Broker, tmp_path: Path) -> None:
    broker.store._commits._lazy_delay_s = 3600
    publish(broker, "lazy", [])
    publish(broker, "volatile", [])
    await stop(broker)
    again = await start(tmp_path)
    assert [queue_of(again, name).messages for name in ("lazy", "volatile")] == [1, 1]
    await stop(again)
    await broker.store.open()


async def test_acknowledgements_of_lazy_queues_wait_as_well(broker: Broker) -> None:
    told: list[str] = []
    for _ in range(20):
        publish(broker, "lazy", told)
    await until(lambda: len(told) == 20)
    before = broker.store.commits
    taker = Taker(queue_of(broker, "lazy"))
    broker.consume(taker)
    await until(lambda: taker.held)
    for _ in range(20):
        taker.settle(1)
        await turn()
    assert broker.store.commits == before
    await until(lambda: broker.store.commits > before)


class TestSettings:
    async def test_a_policy_says_it_for_queues_whose_arguments_do_not(self, broker: Broker) -> None:
        vhost = broker.vhosts["/"]
        plain = broker.declare_queue(vhost, "plain")
        broker.set_policy(Policy("/", "p", ".*", {"durability": "volatile"}))
        assert (plain.durability, plain.is_promised) == ("volatile", False)
        assert queue_of(broker, "durable").durability == "durable"
        broker.delete_policy("/", "p")
        assert (plain.durability, plain.is_promised) == ("durable", True)

    async def test_the_lanes_of_a_queue_with_priorities_go_by_it(self, broker: Broker) -> None:
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(
            vhost, "lanes", arguments={"x-max-priority": 2, "x-durability": "volatile"}
        )
        before = broker.store.commits
        await broker.store.committed()
        told: list[str] = []
        publish(broker, "lanes", told)
        await turn(20)
        assert (told, broker.store.commits) == (["lanes"], before + 1)
        assert [part.durability for part in queue.parts()] == ["volatile", "volatile"]

    async def test_any_other_class_is_refused(self, broker: Broker) -> None:
        with pytest.raises(PreconditionFailed, match="invalid arg 'x-durability'"):
            broker.declare_queue(broker.vhosts["/"], "q", arguments={"x-durability": "sometimes"})
