"""Retained messages: the trie alone, and what subscribers and restarts see of it."""

import asyncio

import pytest

from edge.core.message import Message
from mqtt import constants as c
from mqtt import properties as p
from mqtt.filters import routing_key_of
from mqtt.retained import Retained
from tests.helpers.mqtt_node import MqttNode


def message(topic: str, body: bytes = b"x") -> Message:
    return Message("amq.topic", routing_key_of(topic), b"", body)


@pytest.fixture
def retained() -> Retained:
    made = Retained()
    for topic in ("a", "a/b", "a/b/c", "a/c", "/a", "$SYS/a", "b"):
        made.set(message(topic, topic.encode()))
    return made


@pytest.mark.parametrize(
    ("topic_filter", "topics"),
    [
        ("a", {"a"}),
        ("a/b", {"a/b"}),
        ("a/+", {"a/b", "a/c"}),
        ("a/#", {"a", "a/b", "a/b/c", "a/c"}),
        ("+", {"a", "b"}),
        ("#", {"a", "a/b", "a/b/c", "a/c", "/a", "b"}),
        ("+/+", {"a/b", "a/c", "/a"}),
        ("+/b/#", {"a/b", "a/b/c"}),
        ("$SYS/#", {"$SYS/a"}),
        ("nothing/here", set()),
    ],
)
def test_a_filter_finds_retained_topics(retained: Retained, topic_filter: str, topics: set[str]) -> None:
    assert {found.body.decode() for found in retained.match(topic_filter)} == topics


def test_counts_follow_replacement_and_removal(retained: Retained) -> None:
    assert retained.messages == 7
    before = retained.message_bytes
    retained.set(message("b", b"longer"))
    assert (retained.messages, retained.message_bytes) == (7, before + 5)
    retained.set(message("b", b""))
    assert (retained.messages, retained.message_bytes) == (6, before - 2)
    assert not retained.remove(routing_key_of("b"))
    assert not retained.remove(routing_key_of("never/was"))
    assert retained.remove(routing_key_of("a/b"))
    assert {found.body for found in retained.match("a/#")} == {b"a", b"a/b/c", b"a/c"}


def test_a_removed_branch_leaves_no_nodes() -> None:
    retained = Retained()
    retained.set(message("x/y/z"))
    retained.remove(routing_key_of("x/y/z"))
    assert retained._root.children == {}


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_new_subscription_gets_the_last_message(node: MqttNode, qos: int) -> None:
    """MQTT-3.3.1-5, MQTT-3.3.1-8, MQTT-3.3.1-9."""
    publisher = await node.client("p")
    await publisher.published("a/b", b"old", qos, retain=True)
    await publisher.published("a/b", b"new", qos, retain=True)
    subscriber = await node.client("s")
    await subscriber.subscribe("a/+", qos=2)
    got = await subscriber.receive()
    assert (got.body, got.qos, got.retain) == (b"new", qos, True)
    await subscriber.silent()
    await publisher.published("a/b", b"live", qos, retain=True)
    assert not (await subscriber.receive()).retain


async def test_an_empty_payload_clears_and_is_delivered_as_any_other(node: MqttNode) -> None:
    """MQTT-3.3.1-6, MQTT-3.3.1-7, MQTT-3.3.1-11."""
    publisher = await node.client("p")
    await publisher.published("t", b"x", 1, retain=True)
    live = await node.client("l")
    await live.subscribe("t")
    assert (await live.receive()).retain
    await publisher.published("t", b"", 1, retain=True)
    got = await live.receive()
    assert (got.body, got.retain) == (b"", False)
    late = await node.client("s")
    await late.subscribe("t")
    await late.silent()


async def test_a_message_without_retain_replaces_nothing(node: MqttNode) -> None:
    """MQTT-3.3.1-8 of version 5."""
    publisher = await node.client("p")
    await publisher.published("t", b"kept", 1, retain=True)
    await publisher.published("t", b"passing", 1)
    subscriber = await node.client("s")
    await subscriber.subscribe("t")
    assert await subscriber.bodies(1) == [b"kept"]


async def test_retained_messages_survive_a_restart(node: MqttNode) -> None:
    publisher = await node.client("p")
    await publisher.published("a", b"gone", 0, retain=True)
    await publisher.published("b", b"kept", 1, retain=True)
    await publisher.published("a", b"", 1, retain=True)
    await node.restart()
    subscriber = await node.client("s")
    await subscriber.subscribe("#")
    got = await subscriber.receive()
    assert (got.topic, got.body) == ("b", b"kept")
    await subscriber.silent()


async def test_retain_handling_says_when_they_are_sent(node: MqttNode) -> None:
    """MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11 of version 5."""
    await (await node.client("p")).published("t", b"kept", 1, retain=True)
    client = await node.client("s", c.V5)
    await client.subscribe("t", retain_handling=2)
    await client.silent()
    await client.subscribe("t", retain_handling=1)
    await client.silent()
    await client.subscribe("t", retain_handling=0)
    assert await client.bodies(1) == [b"kept"]
    other = await node.client("o", c.V5)
    await other.subscribe("t", retain_handling=1)
    assert await other.bodies(1) == [b"kept"]


async def test_an_expired_retained_message_is_not_sent(node: MqttNode) -> None:
    """MQTT 5 section 3.3.1.3."""
    publisher = await node.client("p", c.V5)
    await publisher.published("t", b"x", 1, retain=True, properties=b"\x02\0\0\0\x0a")
    early = await node.client("e", c.V5)
    await early.subscribe("t")
    got = await early.receive()
    assert 8_000 < got.expires_ms <= 10_000
    node.clock.travelled_ms += 11_000
    late = await node.client("s", c.V5)
    await late.subscribe("t")
    await late.silent()


async def test_retained_messages_are_kept_per_vhost(node: MqttNode) -> None:
    node.service.retained("other").set(message("t"))
    client = await node.client("s")
    await client.subscribe("t")
    await client.silent()


async def test_many_retained_topics_answer_a_wildcard(node: MqttNode) -> None:
    publisher = await node.client("p")
    for i in range(3_000):
        publisher.publish(f"many/{i}/state", b"%d" % i, 0, retain=True)
    await publisher.published("done", b"x")
    client = await node.client("s", c.V5, properties={p.RECEIVE_MAXIMUM: 10})
    await client.subscribe("many/+/state", qos=1)
    assert sorted(map(int, await client.bodies(3_000))) == list(range(3_000))
    await asyncio.sleep(0)
