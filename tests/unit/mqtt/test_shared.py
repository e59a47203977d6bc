"""Shared subscriptions (MQTT 5 section 4.8.2)."""

import asyncio

import pytest

from edge.core.message import FORM_MQTT, Message
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt import shared
from mqtt.packets import AckRun, PublishRun
from tests.helpers.mqtt_node import MqttNode, RawClient

QUEUE = "mqtt-shared-g-t/#"
FOR_EVER = {p.SESSION_EXPIRY_INTERVAL: 0xFFFFFFFF}


async def drained(client: RawClient) -> list[bytes]:
    """All messages that come until nothing comes for a while, acknowledged."""
    bodies: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout(0.2):
                delivery = await client.receive()
        except TimeoutError:
            return bodies
        bodies.append(delivery.body)


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_members_take_turns_and_others_get_all(node: MqttNode, version: int, qos: int) -> None:
    """MQTT-4.8.2-4."""
    members = [await node.client(f"m{i}", version) for i in range(2)]
    for member in members:
        assert await member.subscribe("$share/g/t/#", qos=qos) == [qos]
    other_group = await node.client("o", version)
    await other_group.subscribe("$share/h/t/#", qos=qos)
    plain = await node.client("s", version)
    await plain.subscribe("t/#", qos=qos)
    publisher = await node.client("p", version)
    for i in range(20):
        await publisher.published("t/x", b"%d" % i, qos)
    everything = [b"%d" % i for i in range(20)]
    shares = [await drained(member) for member in members]
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == sorted(everything)
    assert await drained(other_group) == everything
    assert await drained(plain) == everything


async def test_what_one_member_leaves_another_gets(node: MqttNode) -> None:
    first = await node.client("m1")
    await first.subscribe("$share/g/t/#", qos=1)
    publisher = await node.client("p")
    for i in range(5):
        await publisher.published("t", b"%d" % i)
        await first.receive(ack=False)
    second = await node.client("m2")
    await second.subscribe("$share/g/t/#", qos=1)
    first.abort()
    assert await drained(second) == [b"0", b"1", b"2", b"3", b"4"]


async def test_qos_2_waits_for_the_member_that_has_it(node: MqttNode) -> None:
    """MQTT-4.8.2-5."""
    first = await node.client("m1", c.V5, properties=FOR_EVER)
    await first.subscribe("$share/g/t/#", qos=2)
    publisher = await node.client("p")
    await publisher.published("t", b"mine", 2)
    held = await first.receive(ack=False)
    second = await node.client("m2", c.V5)
    await second.subscribe("$share/g/t/#", qos=2)
    first.abort()
    await second.silent()
    first = await node.client("m1", c.V5, clean=False, properties=FOR_EVER)
    again = await first.receive()
    assert (again.body, again.packet_id) == (b"mine", held.packet_id)
    await asyncio.sleep(0.05)
    assert node.broker.vhosts["/"].queues[QUEUE].messages == 0


async def test_qos_2_of_an_ended_session_goes_to_nobody(node: MqttNode) -> None:
    """MQTT-4.8.2-6."""
    first = await node.client("m1", c.V5)
    await first.subscribe("$share/g/t/#", qos=2)
    await (await node.client("p")).published("t", b"gone", 2)
    await first.receive(ack=False)
    second = await node.client("m2", c.V5)
    await second.subscribe("$share/g/t/#", qos=2)
    first.abort()
    await second.silent()
    assert node.broker.vhosts["/"].queues[QUEUE].messages == 0


async def test_messages_wait_while_all_members_are_away_and_over_a_restart(node: MqttNode) -> None:
    member = await node.client("m", c.V5, properties=FOR_EVER)
    await member.subscribe("$share/g/t/#", qos=1)
    await member.leave()
    publisher = await node.client("p")
    for i in range(3):
        await publisher.published("t/1", b"%d" % i)
    await publisher.published("t/1", b"not kept", 0)
    await node.restart()
    member = await node.client("m", c.V5, clean=False, properties=FOR_EVER)
    assert await drained(member) == [b"0", b"1", b"2"]
    await (await node.client("p")).published("t/1", b"live")
    assert await drained(member) == [b"live"]


async def test_the_queue_goes_with_its_last_member(node: MqttNode) -> None:
    queues = node.broker.vhosts["/"].queues
    first, second = await node.client("m1", c.V5), await node.client("m2", c.V5)
    for member in (first, second):
        await member.subscribe("$share/g/t/#", qos=1)
    assert await first.unsubscribe("$share/g/t/#", "$share/g/t/#") == [0, r.NO_SUBSCRIPTION_EXISTED]
    assert QUEUE in queues
    await second.leave()
    await asyncio.sleep(0.02)
    assert QUEUE not in queues


async def test_a_shared_queue_of_clean_sessions_does_not_survive_the_node(node: MqttNode) -> None:
    member = await node.client("m")
    await member.subscribe("$share/g/t/#", qos=1)
    await node.store.committed()
    for connection in list(node.broker.connections.values()):
        node.service.connected.clear()
        connection._is_over = True  # type: ignore[attr-defined]
    await node.restart()
    assert QUEUE not in node.broker.vhosts["/"].queues


async def test_own_and_shared_deliveries_use_different_identifiers(node: MqttNode) -> None:
    """MQTT-2.2.1-4: an identifier in use is not used again."""
    client = await node.client("m", clean=False)
    await client.subscribe("$share/g/t/#", qos=2)
    await client.subscribe("t/#", qos=1)
    publisher = await node.client("p")
    for i in range(50):
        await publisher.published("t", b"%d" % i, 2)
    runs = [await client.expect(PublishRun) for _ in range(100)]
    assert len({run.packet_ids[0] for run in runs}) == 100
    for run in runs:
        client.ack(c.PUBREC if run.qos2 or run.messages[0].flags & 2 else c.PUBACK, run.packet_ids[0])
    for _ in range(50):
        release = await client.expect(AckRun)
        client.ack(c.PUBCOMP, release.packet_ids[0])
    await client.silent()
    assert len(node.service.sessions["/\0m"].inflight) == 0
    assert node.broker.vhosts["/"].queues[QUEUE].messages == 0


@pytest.mark.parametrize(
    "topic_filter", ["$share/", "$share/g", "$share//t", "$share/g+/t", "$share/g/", "$share/g/a#"]
)
async def test_a_malformed_share_is_refused(node: MqttNode, topic_filter: str) -> None:
    """MQTT-4.8.2-1, MQTT-4.8.2-2."""
    client = await node.client("m", c.V5)
    assert await client.subscribe(topic_filter) == [r.TOPIC_FILTER_INVALID]


async def test_shared_subscriptions_get_no_retained_messages(node: MqttNode) -> None:
    await (await node.client("p")).published("t", b"kept", retain=True)
    client = await node.client("m")
    await client.subscribe("$share/g/t/#", qos=1)
    await client.silent()


async def test_a_share_of_everything_does_not_see_dollar_topics(node: MqttNode) -> None:
    """MQTT-4.7.2-1."""
    client = await node.client("m")
    await client.subscribe("$share/g/#", qos=1)
    publisher = await node.client("p")
    await publisher.published("$data/x", b"hidden")
    await publisher.published("data/x", b"seen")
    assert await drained(client) == [b"seen"]


async def test_a_member_that_does_not_read_loses_qos_0_and_no_memory_of_the_node(
    node: MqttNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "QOS0_UNSENT_BYTES_MAX", 100_000)
    slow = await node.client("slow")
    await slow.subscribe("$share/g/t", qos=0)
    slow.pause_reading()
    queue = node.broker.vhost("/").queues[shared.shared_queue_name("g", "t")]
    big = Message("amq.topic", "t", b"", bytes(50_000), FORM_MQTT)
    for _ in range(400):
        node.broker.publish(node.broker.vhost("/"), "amq.topic", [big])
        await asyncio.sleep(0)
    assert queue.dropped["qos0"] > 100
    (protocol,) = node.service.connected.values()
    assert protocol.transport is not None
    assert protocol.transport.get_write_buffer_size() < 300_000
    other = await node.client("other")
    await other.subscribe("$share/g/t", qos=0)
    node.broker.publish(node.broker.vhost("/"), "amq.topic", [big, big])
    assert len(await drained(other)) == 2
