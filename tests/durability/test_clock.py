"""A machine without a clock battery: wall time is 1970, then 2040, then whatever; only powered time counts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.amqp091.client import AmqpClient
from edge.amqp091.errors import ChannelFault
from edge.amqp091.events import DeliverRun
from edge.config import load
from edge.core.message import PERSISTENT, Message
from edge.core.queue import Queue
from edge.node import Node
from mqtt import constants as c
from mqtt import properties as p
from mqtt.packets import Connack, Connect, Will
from mqtt.properties import Properties
from tests.helpers.brokers import turn, until
from tests.helpers.clock import FakeClock
from tests.helpers.leveret import Ports, write_config
from tests.helpers.mqtt_node import RawClient

SESSION_S = 300
WILL_S = 200
TTL_S = 100


class Machine:
    """A node on a machine with a clock of its own; it can be restarted, and rebooted."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.ports = Ports()
        self.config = load(write_config(directory, "edge", self.ports), environ={})
        self.node = Node(self.config, self.clock)
        self.deliveries: list[DeliverRun] = []

    async def start(self) -> None:
        self.node = Node(self.config, self.clock)
        await self.node.start()

    async def restart(self, clock: FakeClock, down_s: float = 0) -> None:
        """Stop; let time pass by the machine's own clocks; start on ``clock``."""
        await self.node.stop()
        self.clock = clock
        self.clock.advance(down_s)
        await self.start()

    def queue(self, name: str) -> Queue:
        return self.node.broker.vhosts["/"].queues[name]

    def messages(self, name: str) -> int:
        queue = self.node.broker.vhosts["/"].queues.get(name)
        return -1 if queue is None else queue.messages

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with what it brings; the node's timers are real ones, so they are helped."""
        self.clock.advance(seconds)
        await self.look()

    async def look(self) -> None:
        broker = self.node.broker
        for _ in range(3):
            broker.deadlines.run_due()
            await turn()
            assert self.node.ack_timeouts is not None
            self.node.ack_timeouts.check()
            await broker.store.committed()
            await turn()

    async def mqtt_client(self, client_id: str, will: Will | None = None) -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.mqtt)
        client = RawClient(reader, writer)
        properties: Properties = {p.SESSION_EXPIRY_INTERVAL: SESSION_S}
        client.send(client.machine.connect(Connect(c.V5, client_id, False, 0, None, None, will, properties)))
        await client.expect(Connack)
        return client

    async def load(self) -> AmqpClient:
        """One message with a TTL by its queue, one by itself, a session that waits with a delayed will, and a consumer
        that never acknowledges."""
        broker = self.node.broker
        vhost = broker.vhosts["/"]
        dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        broker.declare_queue(vhost, "dead")
        broker.declare_queue(vhost, "by-queue", arguments={**dead, "x-message-ttl": TTL_S * 1000})
        broker.declare_queue(vhost, "by-message", arguments=dict(dead))
        broker.declare_queue(vhost, "held")
        broker.declare_queue(vhost, "wills")
        broker.bind(vhost, "amq.topic", "wills", "#")
        now_ms = broker.elapsed_ms()
        for queue, expires_at_ms in (("by-queue", 0), ("by-message", now_ms + TTL_S * 1000), ("held", 0)):
            broker.publish(
                vhost, "", [Message("", queue, b"\0\0", b"x", 0, PERSISTENT, now_ms, expires_at_ms)]
            )
        session = await self.mqtt_client("drone", Will("gone", b"drone", 1, delay_s=WILL_S))
        await session.subscribe("commands", qos=1)
        session.abort()
        await until(lambda: len(self.node.mqtt.wills))
        client = await AmqpClient.connect(self.ports.uri())
        channel = await client.channel()
        await channel.consume("held", self.deliveries.append)
        await until(lambda: self.deliveries)
        await self.look()
        return client

    async def comes_to(self, state: tuple[int, int, int, int, int]) -> bool:
        """Whether it does, once what is on disk has been read."""
        for _ in range(100):
            await self.look()
            if self.state() == state:
                return True
            await asyncio.sleep(0.01)
        return False

    def state(self) -> tuple[int, int, int, int, int]:
        """Messages with a TTL, dead ones, wills, sessions, deliveries held."""
        return (
            self.messages("by-queue") + self.messages("by-message"),
            self.messages("dead"),
            self.messages("wills"),
            len(self.node.mqtt.sessions),
            self.queue("held").messages_unacknowledged,
        )


FRESH = (2, 0, 0, 1, 1)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path)
    await made.start()
    yield made
    await made.node.stop()


async def test_the_wall_clock_jumps_to_2040_and_back_and_nothing_is_early_or_immortal(
    machine: Machine,
) -> None:
    """1970 at boot, 2040 by a wrong time server, 1970 again, then 2026: each with some powered time."""
    client = await machine.load()
    (channel,) = client._channels.values()
    for year in (2040, 1970, 2026):
        machine.clock.set_year(year)
        await machine.pass_time(30)
        assert machine.state() == FRESH, year
    await machine.pass_time(TTL_S - 90 + 1)
    assert machine.state() == (0, 2, 0, 1, 1), "TTLs are over"
    machine.clock.set_year(1970)
    await machine.pass_time(WILL_S - TTL_S)
    assert machine.state() == (0, 2, 1, 1, 1), "so is the will's delay"
    machine.clock.set_year(2040)
    await machine.pass_time(SESSION_S - WILL_S)
    assert machine.state() == (0, 2, 1, 0, 1), "and the session"
    for _ in range(15):
        machine.clock.set_year(2040 if machine.clock.wall_ms < 10**12 else 1970)
        await machine.pass_time(100)
    assert machine.state() == (0, 2, 1, 0, 0), "the delivery that was never acknowledged is ready again"
    assert isinstance(channel.error, ChannelFault)
    assert (
        "delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms"
        in channel.error.text
    )
    await client.close()


async def test_within_a_boot_the_time_that_the_node_was_down_counts(machine: Machine) -> None:
    client = await machine.load()
    await client.close()
    await machine.restart(machine.clock.restarted(), down_s=TTL_S + 1)
    assert await machine.comes_to((0, 2, 0, 1, 0))
    await machine.restart(machine.clock.restarted(), down_s=WILL_S - TTL_S)
    assert await machine.comes_to((0, 2, 1, 1, 0))
    await machine.restart(machine.clock.restarted(), down_s=SESSION_S - WILL_S)
    assert await machine.comes_to((0, 2, 1, 0, 0))


async def test_after_a_reboot_all_goes_on_where_it_was(machine: Machine) -> None:
    """How long the machine was without power nobody knows, so it does not count; what had passed before does."""
    client = await machine.load()
    await client.close()
    await machine.pass_time(TTL_S - 10)
    await machine.restart(machine.clock.rebooted(), down_s=2)
    assert await machine.comes_to((2, 0, 0, 1, 0))
    machine.clock.set_year(2040)
    await machine.pass_time(7)
    assert machine.state() == (2, 0, 0, 1, 0)
    await machine.pass_time(5)
    assert await machine.comes_to((0, 2, 0, 1, 0))
    await machine.pass_time(WILL_S - TTL_S)
    assert machine.state() == (0, 2, 1, 1, 0)
    await machine.pass_time(SESSION_S - WILL_S)
    assert machine.state() == (0, 2, 1, 0, 0)


async def test_an_unused_queue_goes_after_its_powered_time(machine: Machine) -> None:
    broker = machine.node.broker
    vhost = broker.vhosts["/"]
    queue = broker.declare_queue(vhost, "q", arguments={"x-expires": 60_000})
    machine.clock.set_year(2040)
    await machine.pass_time(50)
    assert machine.messages("q") == 0
    broker.declare_queue(vhost, "q", arguments={"x-expires": 60_000})
    await machine.pass_time(50)
    queue.pop(no_ack=True)
    await machine.pass_time(50)
    assert machine.messages("q") == 0, "declared anew, then asked"
    await machine.restart(machine.clock.restarted(), down_s=1000)
    await machine.look()
    assert machine.messages("q") == 0, "its lease begins anew with the node, as RabbitMQ's does"
    await machine.pass_time(61)
    assert machine.messages("q") == -1
