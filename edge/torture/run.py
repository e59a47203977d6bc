"""One run of torture: load, kills, the drain at the end, and the report."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge.torture.amqp import AmqpConsumer, AmqpPublisher, connect
from edge.torture.child import Child
from edge.torture.ledger import Arrivals, Ledger, Report
from edge.torture.mqtt import MqttPublisher, MqttSubscriber

LIFE_MIN_S, LIFE_MAX_S = 0.15, 0.9
"""Between a start and the next kill: clients are back and a few hundred commits are made, or hardly one."""
BACKLOG_MAX: Final = 20_000
"""How far the slowest consumer may be behind before publishers rest; so a run ends soon after its time."""
DRAIN_TIMEOUT_S: Final = 60.0
DRAIN_STILL_S: Final = 10.0
"""When nothing more arrives for so long, what has not arrived is lost."""
AMQP_PUBLISHERS: Final = ("a1", "a2", "a3")
QOS1_PUBLISHERS: Final = ("m1", "m2")
QOS2_PUBLISHERS: Final = ("x1", "x2")
MQTT_PUBLISHERS: Final = (*QOS1_PUBLISHERS, *QOS2_PUBLISHERS)
EXCHANGE: Final = "torture"
QUEUES: Final = {"torture.work": AMQP_PUBLISHERS, "torture.copies": (*AMQP_PUBLISHERS, *MQTT_PUBLISHERS)}
"""Queue -> whose messages go to it."""


class Torture:
    """A node, its clients and the ledger."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.ledger = Ledger()
        self.kills = 0
        self.child = Child(directory)
        self._rng = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
        self._begin = time.monotonic()
        self._publishers = self._make_publishers()
        self._consumers = self._make_consumers()
        self._subscribers = self._make_subscribers()

    def _random(self) -> random.Random:
        return random.Random(self._rng.random())  # noqa: S311  # likewise

    def _make_publishers(self) -> "Sequence[AmqpPublisher | MqttPublisher]":
        ledger, child = self.ledger, self.child
        made: list[AmqpPublisher | MqttPublisher] = [
            AmqpPublisher(ledger, name, child.amqp_port, EXCHANGE, name, self._random())
            for name in AMQP_PUBLISHERS
        ]
        for qos, names in ((1, QOS1_PUBLISHERS), (2, QOS2_PUBLISHERS)):
            made += [
                MqttPublisher(ledger, name, child.mqtt_port, f"torture/{name}", qos, self._random())
                for name in names
            ]
        return made

    def _make_consumers(self) -> list[AmqpConsumer]:
        made = []
        for queue, publishers in QUEUES.items():
            arrivals = Arrivals(queue, publishers)
            self.ledger.consumers.append(arrivals)
            made.append(AmqpConsumer(arrivals, self.child.amqp_port, queue, self._random()))
        return made

    def _make_subscribers(self) -> list[MqttSubscriber]:
        made = []
        for qos, exactly_once in ((1, ()), (2, QOS2_PUBLISHERS)):
            arrivals = Arrivals(f"QoS {qos} session", MQTT_PUBLISHERS, exactly_once=exactly_once)
            self.ledger.consumers.append(arrivals)
            name, port = f"torture-qos{qos}", self.child.mqtt_port
            made.append(MqttSubscriber(self.ledger, name, port, arrivals, "torture/#", qos))
        return made

    async def run(
        self, seconds: float, kills_max: int | None = None, on_kill: Callable[["Torture"], None] | None = None
    ) -> Report:
        """Torture for so long, or for so many kills. Raises ChildFailed when the node does not come back."""
        await self.child.start()
        await self._declare()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run(), name="subscriber") for one in self._subscribers]
            for subscriber in self._subscribers:
                await subscriber.subscribed.wait()
            tasks += [group.create_task(one.run(), name="consumer") for one in self._consumers]
            tasks += [group.create_task(one.run(), name="publisher") for one in self._publishers]
            tasks.append(group.create_task(self._hold_publishers(), name="hold publishers"))
            try:
                await self._kill_again_and_again(seconds, kills_max, on_kill)
                tasks.pop().cancel()
                await self._drain()
            finally:
                for task in tasks:
                    task.cancel()
        await self.child.stop()
        return self._report()

    async def _declare(self) -> None:
        client = await connect(self.child.amqp_port)
        try:
            channel = await client.channel()
            await channel.declare_exchange(EXCHANGE, "fanout", durable=True)
            for queue in QUEUES:
                await channel.declare_queue(queue, durable=True)
                await channel.bind_queue(queue, EXCHANGE)
            await channel.bind_queue("torture.copies", "amq.topic", "torture.#")
        finally:
            await client.close()

    async def _kill_again_and_again(
        self, seconds: float, kills_max: int | None, on_kill: Callable[["Torture"], None] | None
    ) -> None:
        self._begin = time.monotonic()
        while True:
            await asyncio.sleep(self._rng.uniform(LIFE_MIN_S, LIFE_MAX_S))
            if time.monotonic() - self._begin > seconds or self.kills == kills_max:
                return
            await self.child.kill()
            self.kills += 1
            await self.child.start()
            if on_kill is not None:
                on_kill(self)

    async def _hold_publishers(self) -> None:
        """Let consumers keep up."""
        while True:
            is_behind = self.ledger.backlog > BACKLOG_MAX
            for publisher in self._publishers:
                if is_behind:
                    publisher.hold()
                else:
                    publisher.go_on()
            await asyncio.sleep(0.05)

    async def _drain(self) -> None:
        """Publish nothing new, and wait until all is confirmed and has arrived, or nothing moves any more."""
        for publisher in self._publishers:
            publisher.hold()
        ledger = self.ledger
        progress, since = (0, 0), time.monotonic()
        deadline = since + DRAIN_TIMEOUT_S
        while not ledger.is_complete and time.monotonic() < min(deadline, since + DRAIN_STILL_S):
            await asyncio.sleep(0.05)
            arrived = sum([len(numbers) for one in ledger.consumers for numbers in one.arrived.values()])
            if (ledger.acked, arrived) != progress:
                progress, since = (ledger.acked, arrived), time.monotonic()

    def _report(self) -> Report:
        ledger, child = self.ledger, self.child
        consumers = ledger.consumers
        # The first start made the store; the others recovered it.
        recovery_ms = child.recovery_ms[1:] or child.recovery_ms
        return Report(
            seconds=round(time.monotonic() - self._begin, 1),
            kills=self.kills,
            acked=ledger.acked,
            lost=sum([ledger.lost(one) for one in consumers]),
            sessions_lost=ledger.sessions_lost,
            duplicates=sum([count for one in consumers for count in one.duplicates.values()]),
            duplicates_of_qos2=sum([one.duplicates[name] for one in consumers for name in one.exactly_once]),
            out_of_order=sum([one.out_of_order for one in consumers]),
            damaged=sum([one.damaged for one in consumers]),
            bytes_written=child.bytes_written,
            bytes_per_message=round(child.bytes_written / max(ledger.acked, 1), 1),
            recovery_ms_median=round(statistics.median(recovery_ms), 1),
            recovery_ms_max=round(max(recovery_ms), 1),
        )
