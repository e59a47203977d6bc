"""The main job under every fault: devices and publishers, a node that is killed, a link that fails in every way."""

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.helpers.fleet import AmqpReceiver, Fleet, MqttReceiver
from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.rabbitmq import RabbitMQ
from tests.helpers.toxiproxy import Link

MQTT_DEVICES, AMQP_PUBLISHERS, EACH = 20, 5, 800
INTERVAL_S = 0.012
"""Between two messages of a device: the fleet then reports for about 12 s, through all faults."""
KILLS = 3
ARRIVAL_TIMEOUT_S = 90

SHOVEL = """
[[shovel]]
name = "base"
src-uri = "amqp://"
src-exchange = "amq.topic"
src-exchange-key = "fleet.#"
reconnect-delay = 0.2
"""

TOXICS = (
    ("latency", {"latency": 80, "jitter": 40}),
    ("bandwidth", {"rate": 40}),
    ("slicer", {"average_size": 60, "size_variation": 30, "delay": 200}),
    ("reset_peer", {"timeout": 50}),
    ("timeout", {"timeout": 300}),
    ("limit_data", {"bytes": 20000}),
)


async def fault_the_link(link: Link, rng: random.Random, until: asyncio.Event) -> None:
    """Every kind of fault in random order, both directions, again and again."""
    kinds: list[tuple[str, dict[str, int]]] = []
    while not until.is_set():
        if not kinds:
            kinds = [("down", {}), *TOXICS]
            rng.shuffle(kinds)
        kind, attributes = kinds.pop()
        if kind == "down":
            await asyncio.to_thread(link.cut)
        else:
            await asyncio.to_thread(link.add, kind, rng.choice(("upstream", "downstream")), **attributes)
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        await asyncio.to_thread(link.heal)
        await asyncio.sleep(rng.uniform(0.2, 0.6))


async def kill_the_node(node: LeveretProcess, rng: random.Random) -> None:
    """SIGKILL at random moments, start again."""
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(1.0, 3.0))
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)


async def run_fleet(node: LeveretProcess, link: Link, fleet: Fleet, rng: random.Random) -> None:
    """Publish through all faults; then heal, and wait for the rest."""
    published = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(fault_the_link(link, rng, published))
        killer = group.create_task(kill_the_node(node, rng))
        await fleet.publish(node.ports.mqtt, node.uri())
        await killer
        published.set()
    await fleet.all_arrived(ARRIVAL_TIMEOUT_S)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(MQTT_DEVICES, AMQP_PUBLISHERS, EACH, INTERVAL_S)


@pytest.mark.timeout(240)
async def test_what_is_confirmed_arrives_at_rabbitmq_in_order_across_faults_and_kills(
    rabbitmq: RabbitMQ,
    make_leveret: Callable[..., LeveretProcess],
    make_link: Callable[[int], Link],
    fleet: Fleet,
    rng: random.Random,
) -> None:
    link = make_link(rabbitmq.amqp_port)
    receiver = AmqpReceiver(rabbitmq.uri(), "fleet-under-faults", fleet.arrive)
    try:
        node = make_leveret(
            SHOVEL + f'dest-uri = "{rabbitmq.uri(port=link.port)}"\ndest-queue = "fleet-under-faults"\n'
        )
        await run_fleet(node, link, fleet, rng)
    finally:
        receiver.close()
    fleet.check()


@pytest.mark.timeout(240)
async def test_what_is_confirmed_arrives_at_another_leveret_in_order_across_faults_and_kills(
    make_leveret: Callable[..., LeveretProcess],
    make_link: Callable[[int], Link],
    fleet: Fleet,
    rng: random.Random,
) -> None:
    base = make_leveret(name="base")
    link = make_link(base.ports.amqp)
    receiver = AmqpReceiver(base.uri(), "fleet", fleet.arrive)
    try:
        node = make_leveret(SHOVEL + f'dest-uri = "{base.uri(port=link.port)}"\ndest-queue = "fleet"\n')
        await run_fleet(node, link, fleet, rng)
    finally:
        receiver.close()
    fleet.check()


@pytest.mark.timeout(240)
async def test_what_is_confirmed_arrives_at_mosquitto_in_order_across_faults_and_kills(
    mosquitto: Mosquitto,
    make_leveret: Callable[..., LeveretProcess],
    make_link: Callable[[int], Link],
    fleet: Fleet,
    rng: random.Random,
) -> None:
    link = make_link(mosquitto.mqtt_port)
    receiver = MqttReceiver(mosquitto.mqtt_port, "fleet/#", fleet.arrive)
    try:
        node = make_leveret(
            SHOVEL + f'dest-protocol = "mqtt"\ndest-uri = "{mosquitto.uri(port=link.port)}"\n'
        )
        await run_fleet(node, link, fleet, rng)
    finally:
        receiver.close()
    fleet.check()
