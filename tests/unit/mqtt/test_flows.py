"""The flows of QoS 0, 1 and 2 (MQTT 5 section 4.3), ordering, and what a crash leaves of them."""

import asyncio

import pytest

from edge.core.policy import Policy
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.packets import AckRun
from tests.helpers.mqtt_node import MqttNode


@pytest.mark.parametrize("version", [c.V31, c.V311, c.V5])
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
async def test_a_message_arrives_at_the_lower_qos(
    node: MqttNode, version: int, published: int, subscribed: int
) -> None:
    """MQTT-3.8.4-8."""
    subscriber = await node.client("s", version)
    publisher = await node.client("p", version)
    assert await subscriber.subscribe("a/b", qos=subscribed) == [subscribed]
    await publisher.published("a/b", b"body", published)
    got = await subscriber.receive()
    assert (got.topic, got.body, got.qos, got.retain) == ("a/b", b"body", min(published, subscribed), False)
    await subscriber.silent()


async def test_a_persistent_session_receives_qos_2(node: MqttNode) -> None:
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=2)
    publisher = await node.client("p")
    for i in range(3):
        await publisher.published("t", b"%d" % i, 2)
    assert await subscriber.bodies(3) == [b"0", b"1", b"2"]


async def test_a_repeated_qos_2_publish_is_not_a_second_message(node: MqttNode) -> None:
    """MQTT-4.3.3-10."""
    subscriber = await node.client("s")
    await subscriber.subscribe("t", qos=1)
    publisher = await node.client("p")
    for _ in range(2):
        publisher.publish("t", b"once", 2, packet_id=7, dup=True)
        assert (await publisher.expect(AckRun)).kind == c.PUBREC
    publisher.ack(c.PUBREL, 7)
    assert (await publisher.expect(AckRun)).kind == c.PUBCOMP
    publisher.publish("t", b"twice", 2, packet_id=7)
    assert await subscriber.bodies(2) == [b"once", b"twice"]
    await subscriber.silent()


async def test_a_repeated_qos_2_publish_is_known_after_a_restart(node: MqttNode) -> None:
    """Exactly once needs the identifier on disk before PUBREC leaves."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    publisher = await node.client("p", clean=False)
    publisher.publish("t", b"once", 2, packet_id=7)
    await publisher.expect(AckRun)
    await node.restart()
    publisher = await node.client("p", clean=False)
    assert publisher.connack.session_present
    publisher.publish("t", b"once", 2, packet_id=7, dup=True)
    assert (await publisher.expect(AckRun)).kind == c.PUBREC
    publisher.ack(c.PUBREL, 7)
    assert (await publisher.expect(AckRun)).kind == c.PUBCOMP
    subscriber = await node.client("s", clean=False)
    assert await subscriber.bodies(1) == [b"once"]
    await subscriber.silent()


async def test_a_pubrel_is_sent_again_after_a_restart_and_the_message_is_not(node: MqttNode) -> None:
    """MQTT-4.4.0-1: what was released before is completed, not delivered again."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=2)
    await (await node.client("p")).published("t", b"once", 2)
    got = await subscriber.receive(ack=False)
    assert got.qos == 2
    subscriber.ack(c.PUBREC, got.packet_id)
    assert (await subscriber.expect(AckRun)).kind == c.PUBREL
    await node.restart()
    subscriber = await node.client("s", clean=False)
    again = await subscriber.expect(AckRun)
    assert (again.kind, again.packet_ids) == (c.PUBREL, [got.packet_id])
    subscriber.ack(c.PUBCOMP, got.packet_id)
    await subscriber.silent()
    subscriber.abort()
    subscriber = await node.client("s", clean=False)
    await subscriber.silent()


async def test_an_unreleased_qos_2_message_keeps_its_identifier_over_a_restart(node: MqttNode) -> None:
    """So that the client, which knows the identifier, sees a repetition [MQTT-3.3.1-1]."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=2)
    publisher = await node.client("p")
    await publisher.published("t", b"0", 2)
    first = await subscriber.receive(ack=False)
    await node.restart()
    subscriber = await node.client("s", clean=False)
    again = await subscriber.receive()
    assert (again.packet_id, again.body) == (first.packet_id, b"0")


async def test_a_puback_for_an_unknown_identifier_is_passed_over(node: MqttNode) -> None:
    client = await node.client("c")
    client.ack(c.PUBACK, 99)
    await client.published("t", b"still here")


async def test_a_pubrec_for_an_unknown_identifier_is_answered_not_found(node: MqttNode) -> None:
    """MQTT 5 section 3.6.2.1, reason 0x92."""
    client = await node.client("c", c.V5)
    client.ack(c.PUBREC, 99)
    answer = await client.expect(AckRun)
    assert (answer.kind, answer.reasons) == (c.PUBREL, {99: r.PACKET_IDENTIFIER_NOT_FOUND})


async def test_a_pubrec_with_an_error_ends_the_flow(node: MqttNode) -> None:
    """MQTT 5 section 4.3.3: no PUBREL, and the message is not sent again."""
    client = await node.client("c", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: 100})
    await client.subscribe("t", qos=2)
    await (await node.client("p")).published("t", b"unwanted", 2)
    got = await client.receive(ack=False)
    client.send(b"\x50\x03" + got.packet_id.to_bytes(2, "big") + b"\x97")
    await client.silent()
    assert node.broker.vhosts["/"].queues["mqtt-subscription-cqos1"].messages == 0


async def test_messages_of_one_publisher_stay_in_order(node: MqttNode) -> None:
    """MQTT-4.6.0-5."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    publisher = await node.client("p")
    for i in range(500):
        publisher.publish("t", b"%d" % i, 1)
    acknowledged = [(await publisher.expect(AckRun)).packet_ids[0] for _ in range(500)]
    assert acknowledged == list(range(1, 501))
    assert await subscriber.bodies(500) == [b"%d" % i for i in range(500)]


async def test_unacknowledged_messages_are_sent_again_in_order_with_dup(node: MqttNode) -> None:
    """MQTT-4.4.0-1, MQTT-3.3.1-1."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    publisher = await node.client("p")
    for i in range(4):
        await publisher.published("t", b"%d" % i)
    held = [await subscriber.receive(ack=False) for _ in range(4)]
    subscriber.ack(c.PUBACK, held[1].packet_id)
    subscriber.abort()
    await publisher.published("t", b"4")
    subscriber = await node.client("s", clean=False)
    raw = [await subscriber.receive() for _ in range(4)]
    assert [got.body for got in raw] == [b"0", b"2", b"3", b"4"]
    assert [got.packet_id for got in raw[:3]] == [held[0].packet_id, held[2].packet_id, held[3].packet_id]


async def test_a_client_never_gets_more_than_its_receive_maximum(node: MqttNode) -> None:
    """MQTT-3.3.4-9."""
    subscriber = await node.client("s", c.V5, properties={p.RECEIVE_MAXIMUM: 3})
    await subscriber.subscribe("t", qos=1)
    publisher = await node.client("p")
    for i in range(10):
        await publisher.published("t", b"%d" % i)
    held = [await subscriber.receive(ack=False) for _ in range(3)]
    await subscriber.silent()
    subscriber.ack(c.PUBACK, held[0].packet_id)
    assert (await subscriber.receive(ack=False)).body == b"3"
    await subscriber.silent()


async def test_a_client_that_exceeds_ours_is_disconnected(node: MqttNode) -> None:
    """MQTT-3.3.4-7: an unreleased QoS 2 publish counts."""
    node.service.limits = type(node.service.limits)(receive_max=2)
    client = await node.client("c", c.V5)
    for _ in range(2):
        client.publish("t", b"x", 2)
        await client.expect(AckRun)
    client.publish("t", b"x", 2)
    assert await client.disconnected() == r.RECEIVE_MAXIMUM_EXCEEDED


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publish_that_nobody_takes_is_told_so(node: MqttNode, qos: int) -> None:
    """MQTT 5 sections 3.4.2.1 and 3.5.2.1, reason 0x10; MQTT 3 cannot say it."""
    client = await node.client("c", c.V5)
    assert await client.published("nobody", b"x", qos) == r.NO_MATCHING_SUBSCRIBERS
    assert await (await node.client("old")).published("nobody", b"x", qos) == 0
    await client.subscribe("somebody")
    assert await client.published("somebody", b"x", qos) == 0


async def test_one_run_may_hold_all_three_qos(node: MqttNode) -> None:
    subscriber = await node.client("s")
    await subscriber.subscribe("t", qos=2)
    publisher = await node.client("p")
    for qos in (0, 1, 2, 0, 1, 2):
        publisher.publish("t", b"%d" % qos, qos)
    kinds = [(await publisher.expect(AckRun)).kind for _ in range(4)]
    assert sorted(kinds) == [c.PUBACK, c.PUBACK, c.PUBREC, c.PUBREC]
    assert sorted(await subscriber.bodies(6)) == sorted([b"0", b"1", b"2"] * 2)


async def test_a_puback_means_on_disk(node: MqttNode) -> None:
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    subscriber.disconnect()
    await asyncio.sleep(0.05)
    commits = node.store.commits
    publisher = await node.client("p")
    await publisher.published("t", b"x")
    assert node.store.commits > commits


async def test_a_qos_0_publish_to_a_live_session_touches_no_disk(node: MqttNode) -> None:
    subscriber = await node.client("s")
    await subscriber.subscribe("t", qos=0)
    publisher = await node.client("p")
    await asyncio.sleep(0.05)
    commits = node.store.commits
    await publisher.published("t", b"x", 1)
    assert (await subscriber.receive()).qos == 0
    assert node.store.commits == commits


async def test_packet_identifiers_go_round(node: MqttNode) -> None:
    """Identifiers follow from sequences: message 65,535 has the first one's again."""
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    node.broker.vhosts["/"].queues["mqtt-subscription-sqos1"].next_sequence = 65_533
    publisher = await node.client("p")
    for _ in range(4):
        await publisher.published("t", b"x")
    assert [(await subscriber.receive()).packet_id for _ in range(4)] == [65_534, 65_535, 1, 2]


async def test_mqtt_5_is_told_that_a_queue_is_full(node: MqttNode) -> None:
    """RabbitMQ's reject-publish; MQTT 5 section 3.4.2.1, reason code 0x97."""
    limit_sessions(node)
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=1)
    await subscriber.leave()
    publisher = await node.client("p", c.V5)
    assert [await publisher.published("t", b"x", qos) for qos in (1, 1, 1, 2)] == [
        r.SUCCESS,
        r.SUCCESS,
        r.QUOTA_EXCEEDED,
        r.QUOTA_EXCEEDED,
    ]


async def test_mqtt_3_gets_no_puback_from_a_full_queue_and_may_send_again(node: MqttNode) -> None:
    """As of RabbitMQ: MQTT 3 has no negative acknowledgement."""
    limit_sessions(node)
    subscriber = await node.client("s", clean=False)
    await subscriber.subscribe("t", qos=2)
    await subscriber.leave()
    publisher = await node.client("p")
    for i in range(2):
        await publisher.published("t", b"%d" % i, 2)
    refused = publisher.publish("t", b"2", 2)
    await publisher.silent()
    subscriber = await node.client("s", clean=False)
    assert await subscriber.bodies(2) == [b"0", b"1"]
    publisher.publish("t", b"2", 2, packet_id=refused, dup=True)
    assert (await publisher.expect(AckRun)).kind == c.PUBREC
    assert await subscriber.bodies(1) == [b"2"]


def limit_sessions(node: MqttNode) -> None:
    definition: dict[str, object] = {"max-length": 2, "overflow": "reject-publish"}
    node.broker.set_policy(Policy("/", "short", "^mqtt-", definition, apply_to="queues"))
