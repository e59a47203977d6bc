"""QoS 1 and 2 over links that break a thousand times, at any byte: nothing lost, QoS 2 never twice, all in order."""

import asyncio
import random
from collections.abc import Callable

from edge.torture.ledger import Arrivals, Ledger
from edge.torture.mqtt import MqttPeer, MqttPublisher, MqttSubscriber, Peer
from tests.faults.conftest import until
from tests.helpers.leveret import LeveretProcess
from tests.helpers.toxiproxy import Link

RESETS = 1_000
BREAKS_S = 60.0
"""Generous: a reset takes milliseconds."""
BYTES_MAX = 6_000
"""That a connection lives for at most: a few runs of messages, so most break amid a packet or a handshake of QoS 2."""
LIFE_MAX_MS = 20
WINDOW_MESSAGES = 500
"""Publishers wait for the slower subscriber, so that the drain at the end is short."""
QOS_OF_PUBLISHERS = {"once-or-more-1": 1, "once-or-more-2": 1, "once-1": 2, "once-2": 2}
EXACTLY_ONCE = tuple(name for name, qos in QOS_OF_PUBLISHERS.items() if qos == 2)


class Broken(MqttPeer):
    """Counts its connections that the node has answered and that have ended."""

    resets = 0

    async def talk(self, peer: Peer) -> None:
        await super().talk(peer)
        self.resets += self.peer is peer


class BrokenPublisher(Broken, MqttPublisher):
    """A publisher behind a bad link."""


class BrokenSubscriber(Broken, MqttSubscriber):
    """A subscriber behind a bad link."""


async def break_again_and_again(link: Link, rng: random.Random, enough: asyncio.Event) -> None:
    """Every connection gets so many bytes, or milliseconds, until the link thinks of something else."""
    while not enough.is_set():
        kind = rng.choice(("after our bytes", "after its bytes", "by RST"))
        if kind == "by RST":
            fault = (
                "reset_peer",
                rng.choice(("upstream", "downstream")),
                {"timeout": rng.randint(1, LIFE_MAX_MS)},
            )
        else:
            stream = "upstream" if kind == "after our bytes" else "downstream"
            fault = ("limit_data", stream, {"bytes": rng.randint(1, BYTES_MAX)})
        name, stream, attributes = fault
        await asyncio.to_thread(link.add, name, stream, **attributes)
        await asyncio.sleep(rng.uniform(0.05, 0.2))
        await asyncio.to_thread(link.clear)


async def hold(publishers: list[BrokenPublisher], ledger: Ledger) -> None:
    """Let the subscribers keep up."""
    while True:
        for publisher in publishers:
            if ledger.backlog > WINDOW_MESSAGES:
                publisher.hold()
            else:
                publisher.go_on()
        await asyncio.sleep(0.01)


async def test_a_thousand_resets_lose_nothing_and_double_nothing_of_qos_2(
    leveret: LeveretProcess, make_link: Callable[[int], Link], rng: random.Random
) -> None:
    ledger = Ledger()
    links = [make_link(leveret.ports.mqtt) for _ in range(len(QOS_OF_PUBLISHERS) + 2)]
    ports = iter([link.port for link in links])
    publishers = [
        BrokenPublisher(ledger, name, next(ports), f"resets/{name}", qos, random.Random(rng.random()))
        for name, qos in QOS_OF_PUBLISHERS.items()
    ]
    subscribers = []
    for qos, exactly_once in ((1, ()), (2, EXACTLY_ONCE)):
        arrivals = Arrivals(f"QoS {qos}", tuple(QOS_OF_PUBLISHERS), exactly_once=exactly_once)
        ledger.consumers.append(arrivals)
        subscribers.append(BrokenSubscriber(ledger, f"s{qos}", next(ports), arrivals, "resets/#", qos))
    clients: list[Broken] = [*subscribers, *publishers]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in subscribers]
        for subscriber in subscribers:
            await subscriber.subscribed.wait()
        tasks += [group.create_task(client.run()) for client in publishers]
        enough = asyncio.Event()
        breaking = [
            group.create_task(break_again_and_again(link, random.Random(rng.random()), enough))
            for link in links
        ]
        holding = group.create_task(hold(publishers, ledger))
        await until(lambda: sum([client.resets for client in clients]) >= RESETS, BREAKS_S)
        enough.set()
        await asyncio.wait(breaking)
        holding.cancel()
        for publisher in publishers:
            publisher.hold()
        await until(lambda: ledger.is_complete, BREAKS_S)
        for task in tasks:
            task.cancel()
    assert all(client.resets for client in clients)
    # A message or more for each reset: there was something to lose.
    assert ledger.acked > RESETS
    assert ledger.sessions_lost == 0
    for consumer in ledger.consumers:
        assert {name: ledger.lost(consumer) for name in ledger.sent} == dict.fromkeys(ledger.sent, 0)
        assert (consumer.out_of_order, consumer.damaged) == (0, 0)
        assert {name: consumer.duplicates[name] for name in consumer.exactly_once} == dict.fromkeys(
            consumer.exactly_once, 0
        )
