"""Shovels to a real Mosquitto over a link that fails: QoS 1, nothing lost, order kept apart from duplicates."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.core.message import PERSISTENT, Message
from tests.faults.conftest import (
    FAULTS,
    PROPERTIES,
    first_arrivals,
    number_of,
    publish,
    publish_through_fault,
    until,
)
from tests.helpers.fleet import MqttReceiver
from tests.helpers.leveret import LeveretInProcess
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.toxiproxy import Link

MakeLink = Callable[[int], Link]


def shovel(uri: str, keys: str = "") -> str:
    return (
        f'[[shovel]]\nname = "up"\nsrc-topic = "fleet/#"\nreconnect-delay = 0.2\ndest-uri = "{uri}"\n{keys}\n'
    )


def drained(edge: LeveretInProcess) -> bool:
    return edge.node.broker.vhost("/").queues["shovel: up"].messages == 0


@pytest.mark.parametrize(
    ("kind", "version"), [*((kind, "5") for kind in FAULTS), ("down", "3.1.1"), ("timeout", "3.1.1")]
)
async def test_mosquitto_gets_everything_in_order(
    tmp_path: Path, mosquitto: Mosquitto, make_link: MakeLink, rng: random.Random, kind: str, version: str
) -> None:
    arrived: list[int] = []
    receiver = MqttReceiver(mosquitto.mqtt_port, "fleet/#", lambda body: arrived.append(number_of(body)))
    link = make_link(mosquitto.mqtt_port)
    toml = shovel(f"{mosquitto.uri(port=link.port)}?keepalive=1&version={version}")
    try:
        async with LeveretInProcess(tmp_path / "edge", toml) as edge:
            count = await publish_through_fault(edge, link, kind, rng, "fleet.d1", "amq.topic")
            await until(lambda: drained(edge) and len(set(arrived)) == count)
    finally:
        receiver.close()
    assert first_arrivals(arrived) == list(range(count))


async def test_a_message_larger_than_the_server_takes_is_parked_and_the_rest_arrives(
    tmp_path: Path,
) -> None:
    """MQTT 5, Maximum Packet Size: it must not be sent at all [MQTT-3.2.2-15]."""
    server = Mosquitto(tmp_path / "mosquitto", "max_packet_size 50000\n")
    server.start()
    arrived: list[bytes] = []
    receiver = MqttReceiver(server.mqtt_port, "fleet/#", arrived.append)
    try:
        async with LeveretInProcess(tmp_path / "edge", shovel(server.uri())) as edge:
            broker = edge.node.broker
            publish(edge, [1], "fleet.d1", "amq.topic")
            large = Message("amq.topic", "fleet.d1", PROPERTIES, bytes(60_000), flags=PERSISTENT)
            broker.publish(broker.vhost("/"), "amq.topic", [large])
            publish(edge, [2], "fleet.d1", "amq.topic")
            await until(lambda: drained(edge) and len(arrived) == 2, 30)
            [row] = broker.status_sources["shovels"]()
            assert row["parked"] == 1
            assert "0x95" in row["last_error"]
            assert broker.vhost("/").queues["shovel: up.parked"].messages == 1
    finally:
        receiver.close()
        server.stop()
    assert [number_of(body) for body in arrived] == [1, 2]
