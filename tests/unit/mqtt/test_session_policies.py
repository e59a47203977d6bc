"""An offline session is a durable queue: policies bound it, AMQP and the API see it (RabbitMQ, "MQTT Plugin")."""

import asyncio

import pytest

from edge.core.message import PERSISTENT, Message
from edge.core.policy import Policy
from edge.core.queue import Queue
from mqtt import constants as c
from mqtt import properties as p
from mqtt.packets import Connack
from tests.helpers.mqtt_node import MqttNode

QUEUE = "mqtt-subscription-dqos1"


async def offline(node: MqttNode, definition: dict[str, object]) -> Queue:
    """A session whose client is away, and whose queue a policy governs."""
    node.broker.set_policy(Policy("/", "sessions", "^mqtt-subscription-", definition, apply_to="queues"))
    device = await node.client("d", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 3600})
    await device.subscribe("t/#", qos=2)
    await device.leave()
    queue = node.broker.vhosts["/"].queues[QUEUE]
    assert (queue.durable, queue.exclusive, queue.auto_delete) == (True, False, False)
    return queue


async def back(node: MqttNode) -> list[bytes]:
    """What the client finds when it is back."""
    device = await node.client("d", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 3600})
    assert isinstance(device.connack, Connack)
    found = []
    while True:
        try:
            async with asyncio.timeout(0.1):
                found.append((await device.receive()).body)
        except TimeoutError:
            return found


@pytest.mark.parametrize(
    ("definition", "left"),
    [
        ({"max-length": 3}, [b"7", b"8", b"9"]),
        ({"max-length-bytes": 2}, [b"8", b"9"]),
        ({"max-length": 3, "overflow": "reject-publish"}, [b"0", b"1", b"2"]),
    ],
    ids=str,
)
async def test_a_policy_bounds_what_waits(
    node: MqttNode, definition: dict[str, object], left: list[bytes]
) -> None:
    queue = await offline(node, definition)
    publisher = await node.client("p", c.V5)
    for i in range(10):
        await publisher.published(f"t/{i}", b"%d" % i)
    assert queue.messages == len(left)
    assert sum(queue.dropped.values()) + len(left) == 10 or "overflow" in definition
    assert await back(node) == left


async def test_a_policy_lets_what_waits_expire(node: MqttNode) -> None:
    queue = await offline(node, {"message-ttl": 60_000})
    publisher = await node.client("p", c.V5)
    await publisher.published("t", b"old")
    node.clock.travelled_ms += 61_000
    await publisher.published("t", b"new")
    assert await back(node) == [b"new"]
    assert queue.dropped == {"expired": 1}


async def test_a_policy_lets_the_queue_go_and_the_session_makes_it_again(node: MqttNode) -> None:
    queue = await offline(node, {"expires": 60_000})
    node.clock.travelled_ms += 61_000
    node.broker._drop_unused(queue)
    assert QUEUE not in node.broker.vhosts["/"].queues
    assert await back(node) == []
    publisher = await node.client("p", c.V5)
    assert await publisher.published("t", b"x") == 0
    assert node.broker.vhosts["/"].queues[QUEUE].messages == 1


async def test_amqp_may_put_into_a_session_and_take_from_it(node: MqttNode) -> None:
    queue = await offline(node, {})
    message = Message("", QUEUE, b"", b"by the queue's name", 0, PERSISTENT)
    node.broker.publish(node.broker.vhosts["/"], "", [message])
    entry = queue.pop(no_ack=True)
    assert entry is not None
    assert entry[1].body == b"by the queue's name"
    node.broker.publish(node.broker.vhosts["/"], "", [message])
    assert await back(node) == [b"by the queue's name"]
