"""Durability classes of MQTT sessions: by policy, for a session's queue has no arguments."""

import pytest

from edge.core.policy import Policy
from tests.helpers.mqtt_node import MqttNode


@pytest.mark.parametrize(("durability", "commits"), [("durable", 5), ("volatile", 0)])
async def test_a_puback_goes_by_the_class_of_the_sessions_that_get_the_message(
    node: MqttNode, durability: str, commits: int
) -> None:
    node.broker.set_policy(Policy("/", "sessions", "^mqtt-subscription-", {"durability": durability}))
    away = await node.client("away", clean=False)
    await away.subscribe("t", qos=1)
    await away.leave()
    publisher = await node.client("publisher")
    await node.broker.store.committed()
    before = node.broker.store.commits
    for _ in range(5):
        await publisher.published("t", b"x")
    assert node.broker.store.commits - before == commits
    (queue,) = [queue for queue in node.broker.vhosts["/"].queues.values() if queue.messages]
    assert queue.messages == 5
