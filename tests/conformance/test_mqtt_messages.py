"""MQTT: PUBLISH, SUBSCRIBE and their acknowledgements by statement, where no unit test holds it already."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.encode import encode_subscribe, encode_unsubscribe
from mqtt.limits import MqttLimits
from mqtt.packets import AckRun, Connect, Pingresp, Suback, Subscribe, Subscription, Unsuback, Unsubscribe
from tests.helpers.mqtt_node import MqttNode, RawClient

VERSIONS = [c.V31, c.V311, c.V5]
AN_HOUR = {p.SESSION_EXPIRY_INTERVAL: 3600}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[MqttNode]:
    async with MqttNode(tmp_path / "node") as started:
        yield started


# -- topics --------------------------------------------------------------------------------------------------------


async def test_a_byte_order_mark_stays_where_it_is(node: MqttNode) -> None:
    """MQTT-1.5.4-3 (3.1.1: MQTT-1.5.3-3), MQTT-4.7.3-4: topics are bytes, nothing is normalized."""
    client = await node.client("c", c.V5)
    with_mark, composed, decomposed = "\ufefft", "é", "e\u0301"
    await client.subscribe(with_mark, composed)
    for topic in ("t", decomposed, with_mark, composed):
        client.publish(topic, topic.encode())
    assert [(await client.receive()).topic for _ in range(2)] == [with_mark, composed]
    await client.silent()


async def test_topics_may_be_as_long_as_their_length_says(node: MqttNode) -> None:
    """MQTT-4.7.3-3, MQTT-4.7.3-1."""
    client = await node.client("c")
    longest = "x" * 65_535
    await client.subscribe("+", qos=1)
    for topic in (longest, "/"[:0] + "y"):
        assert await client.published(topic, b"") == 0
        assert (await client.receive()).topic == topic
    assert await client.subscribe("") == [0x80]


# -- aliases -------------------------------------------------------------------------------------------------------


async def test_every_alias_up_to_the_maximum_is_taken_and_ends_with_the_connection(node: MqttNode) -> None:
    """MQTT-3.3.2-12, MQTT-3.3.2-7; each direction has its own."""
    listener = await node.client("l")
    await listener.subscribe("#")
    client = await node.client("c", c.V5, properties=AN_HOUR)
    highest = client.connack.properties[p.TOPIC_ALIAS_MAXIMUM]
    assert isinstance(highest, int)
    for alias in range(1, highest + 1):
        client.send(b"\x30\x07\0\x01" + b"%c" % (64 + alias) + b"\x03\x23" + alias.to_bytes(2, "big"))
        client.send(b"\x30\x07\0\0\x03\x23" + alias.to_bytes(2, "big") + b"b")
    got = [await listener.receive() for _ in range(2 * highest)]
    assert [one.topic for one in got] == [chr(64 + i) for i in range(1, highest + 1) for _ in range(2)]
    await client.leave()
    client = await node.client("c", c.V5, clean=False, properties=AN_HOUR)
    client.send(b"\x30\x06\0\0\x03\x23\0\x01")
    assert await client.disconnected() == r.PROTOCOL_ERROR


@pytest.mark.parametrize("allowed", [None, 0, 1, 3])
async def test_no_alias_goes_above_what_the_client_allows(node: MqttNode, allowed: int | None) -> None:
    """MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-8, MQTT-3.3.2-11."""
    client = await node.client(
        "c", c.V5, properties={} if allowed is None else {p.TOPIC_ALIAS_MAXIMUM: allowed}
    )
    publisher = await node.client("p")
    await client.subscribe("#", qos=1)
    # The client's machine faults an alias that is 0, too high or not set.
    for _ in range(3):
        for topic in ("a", "b", "c", "d", "e"):
            for qos in (0, 1):
                await publisher.published(topic, b"x", qos)
                assert (await client.receive()).topic == topic


# -- flow control --------------------------------------------------------------------------------------------------


async def test_a_client_that_acknowledges_nothing_is_still_served(node: MqttNode) -> None:
    """MQTT-4.9.0-1 to -3, MQTT-3.3.4-9, MQTT-3.3.4-10: publishes wait, everything else and QoS 0 does not."""
    client = await node.client("c", c.V5, properties={p.RECEIVE_MAXIMUM: 2})
    publisher = await node.client("p")
    await client.subscribe("t", "zero", qos=2)
    for i in range(5):
        await publisher.published("t", b"%d" % i, 1 + i % 2)
    held = [await client.receive(ack=False) for _ in range(2)]
    await client.silent()
    client.send(b"\xc0\0")
    await client.expect(Pingresp)
    assert await client.subscribe("other") == [0]
    await publisher.published("zero", b"now", 0)
    assert (await client.receive()).body == b"now"
    client.ack(c.PUBACK, held[0].packet_id)
    assert (await client.receive(ack=False)).body == b"2", "one came free"
    client.ack(c.PUBREC, held[1].packet_id)
    assert (await client.expect(AckRun)).kind == c.PUBREL
    await client.silent()
    client.ack(c.PUBCOMP, held[1].packet_id)
    assert (await client.receive(ack=False)).body == b"3"


async def test_a_publish_over_the_receive_maximum_ends_the_connection_and_is_not_published(
    node: MqttNode,
) -> None:
    """MQTT-3.3.4-7, section 3.3.4: 0x93."""
    node.service.limits = MqttLimits(receive_max=20)
    listener = await node.client("l")
    await listener.subscribe("#", qos=2)
    client = await node.client("c", c.V5)
    client_max = client.connack.properties[p.RECEIVE_MAXIMUM]
    assert isinstance(client_max, int)
    # QoS 2 publishes whose flow is left open stay in the quota, answered or not.
    client.send(b"".join(b"\x34\x06\0\x01t" + i.to_bytes(2, "big") + b"\0" for i in range(1, client_max + 1)))
    answered = 0
    while answered < client_max:
        run = await client.expect(AckRun)
        assert run.kind == c.PUBREC
        answered += len(run.packet_ids)
    client.send(b"\x34\x06\0\x01u" + (client_max + 1).to_bytes(2, "big") + b"\0")
    assert await client.disconnected() == r.RECEIVE_MAXIMUM_EXCEEDED
    for _ in range(client_max):
        assert (await listener.receive()).topic == "t"
    await listener.silent()


# -- flows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_dup_is_set_for_repetitions_and_is_not_passed_on(node: MqttNode, version: int) -> None:
    """MQTT-3.3.1-1, -2, -3; MQTT-4.4.0-1, MQTT-4.6.0-1: again by the same identifiers, in order."""
    lasting = AN_HOUR if version == c.V5 else None
    client = await node.client("c", version, clean=False, properties=lasting)
    await client.subscribe("t", qos=2)
    publisher = await node.client("p")
    for qos in (0, 1, 2):
        await publisher.published("t", b"%d" % qos, qos, dup=qos > 0)
    size = 1 if version == c.V5 else 0  # of the properties that there are none of
    sent = _packets(await client.read_raw(6 + 8 + 8 + 3 * size))
    assert [one[0] for one in sent] == [0x30, 0x32, 0x34]
    client.abort()
    client = await node.raw()
    connect = Connect(version, "c", False, properties=dict(lasting or {}))
    client.send(client.machine.connect(connect))
    _connack, *again = _packets(await client.read_raw((16 if version == c.V5 else 4) + 8 + 8 + 2 * size))
    assert [one[0] for one in again] == [0x3A, 0x3C]
    assert [one[1:] for one in again] == [one[1:] for one in sent[1:]], "the same identifiers"


def _packets(raw: bytes) -> list[bytes]:
    packets = []
    while raw:
        packets.append(raw[: 2 + raw[1]])
        raw = raw[2 + raw[1] :]
    return packets


def _first_bytes(raw: bytes) -> list[int]:
    return [one[0] for one in _packets(raw)]


@pytest.mark.parametrize("kind", [c.PUBACK, c.PUBREC])
async def test_what_a_client_refuses_is_not_sent_again(node: MqttNode, kind: int) -> None:
    """MQTT-4.4.0-2."""
    client = await node.client("c", c.V5, properties=AN_HOUR)
    await client.subscribe("t", qos=2)
    publisher = await node.client("p")
    await publisher.published("t", b"x", 1 if kind == c.PUBACK else 2)
    delivery = await client.receive(ack=False)
    client.send(client.machine.acknowledge_with(kind, delivery.packet_id, r.UNSPECIFIED_ERROR))
    await client.leave()
    client = await node.client("c", c.V5, clean=False, properties=AN_HOUR)
    await client.silent()


async def test_a_qos_2_message_that_was_sent_does_not_expire(node: MqttNode) -> None:
    """MQTT-4.3.3-7, MQTT-4.3.3-13; what was not sent does [MQTT-3.3.2-5]."""
    client = await node.client("c", c.V5, properties={**AN_HOUR, p.RECEIVE_MAXIMUM: 1})
    await client.subscribe("t", qos=2)
    publisher = await node.client("p", c.V5)
    for body in (b"sent", b"waiting"):
        await publisher.published("t", body, 2, properties=b"\x02\0\0\0\x0a")
    assert (await client.receive(ack=False)).body == b"sent"
    client.abort()
    await asyncio.sleep(0.01)
    node.clock.travelled_ms += 11_000
    client = await node.client("c", c.V5, clean=False, properties=AN_HOUR)
    assert (await client.receive()).body == b"sent"
    await client.silent()


async def test_an_identifier_is_free_once_its_flow_is_over(node: MqttNode) -> None:
    """MQTT-4.3.2-5, MQTT-4.3.3-12: then the same identifier, DUP or not, is a new message."""
    listener = await node.client("l")
    await listener.subscribe("t", qos=2)
    client = await node.client("c")
    for qos in (1, 2):
        for body in (b"first", b"second"):
            await client.published("t", body, qos, packet_id=9, dup=body == b"second")
            assert (await listener.receive()).body == body


async def test_acknowledgements_come_in_the_order_of_publishes(node: MqttNode) -> None:
    """MQTT-4.6.0-2, MQTT-4.6.0-3, MQTT-4.6.0-4 of 3.1.1; MQTT-3.3.4-1, MQTT-2.2.1-5."""
    await _durable_listener(node, "t")
    client = await node.client("c")
    ids = [7, 3, 65_535, 1, 12]
    for first, answer in ((0x32, 0x40), (0x34, 0x50)):
        # One is routed to the disk, one nowhere: the second must not pass the first.
        topics = [b"t", b"n", b"t", b"n", b"t"]
        client.send(
            b"".join(
                bytes((first, 5)) + b"\0\x01" + topic + one.to_bytes(2, "big")
                for topic, one in zip(topics, ids, strict=True)
            )
        )
        raw = await client.read_raw(4 * len(ids))
        assert _first_bytes(raw) == [answer] * len(ids)
        assert [int.from_bytes(one[2:4], "big") for one in _packets(raw)] == ids
    client.send(b"".join(b"\x62\x02" + one.to_bytes(2, "big") for one in ids))
    raw = await client.read_raw(4 * len(ids))
    assert _first_bytes(raw) == [0x70] * len(ids)
    assert [int.from_bytes(one[2:4], "big") for one in _packets(raw)] == ids


async def _durable_listener(node: MqttNode, topic: str) -> None:
    listener = await node.client("durable", clean=False)
    await listener.subscribe(topic, qos=1)
    await listener.leave()


# -- subscriptions -------------------------------------------------------------------------------------------------


async def _ask(client: RawClient, packet: bytes) -> Suback | Unsuback:
    client.send(packet)
    return await client.expect(Suback if packet[0] == 0x82 else Unsuback)


@pytest.mark.parametrize("version", VERSIONS)
async def test_answers_carry_the_identifier_and_one_code_for_each_filter_in_order(
    node: MqttNode, version: int
) -> None:
    """MQTT-2.2.1-6 (3.1.1: MQTT-2.3.1-7), MQTT-3.8.4-1 to -7, MQTT-3.9.3-1, MQTT-3.10.4-4 to -6, MQTT-3.11.3-1."""
    client = await node.client("c", version)
    wanted = [Subscription("a", 0), Subscription("b/#/c", 1), Subscription("c", 2), Subscription("d", 1)]
    suback = await _ask(client, encode_subscribe(Subscribe(0xABCD, wanted), version))
    assert suback.packet_id == 0xABCD
    assert suback.reasons == [0, 0x8F if version == c.V5 else 0x80, 2, 1]
    unsuback = await _ask(client, encode_unsubscribe(Unsubscribe(0x1234, ["c", "never", "d"]), version))
    assert unsuback.packet_id == 0x1234
    assert unsuback.reasons == ([0, r.NO_SUBSCRIPTION_EXISTED, 0] if version == c.V5 else [])
    unsuback = await _ask(client, encode_unsubscribe(Unsubscribe(5, ["never"]), version))
    assert unsuback.packet_id == 5, "even where nothing was removed"


async def test_filters_are_compared_character_by_character(node: MqttNode) -> None:
    """MQTT-3.10.4-1, MQTT-3.10.4-2: a filter that matches the same topics is another one."""
    client = await node.client("c", c.V5)
    await client.subscribe("a/+", "a/b", "A/b")
    assert await client.unsubscribe("a/#", "a/B", "a/+") == [0x11, 0x11, 0]
    client.publish("a/b", b"x")
    client.publish("a/c", b"y")
    assert (await client.receive()).topic == "a/b"
    await client.silent()


async def test_a_request_of_many_filters_is_as_many_requests(node: MqttNode) -> None:
    """MQTT-3.8.4-5 (3.1.1: MQTT-3.8.4-4): the last of two equal filters counts."""
    client = await node.client("c", c.V5)
    client.send(
        encode_subscribe(
            Subscribe(1, [Subscription("t", 2), Subscription("u", 1), Subscription("t", 0)]), c.V5
        )
    )
    assert (await client.expect(Suback)).reasons == [2, 1, 0]
    publisher = await node.client("p")
    await publisher.published("t", b"x", 2)
    assert (await client.receive()).qos == 0
    await client.silent()


async def test_a_subscription_that_is_replaced_loses_nothing(node: MqttNode) -> None:
    """MQTT-3.8.4-3, MQTT-3.8.4-4."""
    publisher = await node.client("p")
    await publisher.published("t", b"retained", retain=True)
    client = await node.client("c", c.V5, properties={p.RECEIVE_MAXIMUM: 1})
    await client.subscribe("t", qos=1)
    first = await client.receive(ack=False)
    for i in range(5):
        await publisher.published("t", b"%d" % i)
    await client.subscribe("t", qos=1, retain_handling=0)
    client.ack(c.PUBACK, first.packet_id)
    got = [await client.receive() for _ in range(6)]
    assert sorted(one.body for one in got) == [b"0", b"1", b"2", b"3", b"4", b"retained"]


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_a_member_refuses_goes_to_nobody_else(node: MqttNode, qos: int) -> None:
    """MQTT-4.8.2-6."""
    members = [await node.client(name, c.V5) for name in ("a", "b")]
    for member in members:
        await member.subscribe("$share/g/t", qos=2)
    publisher = await node.client("p")
    await publisher.published("t", b"x", qos)
    (queue,) = [one for one in node.broker.vhosts["/"].queues.values() if one.name.startswith("mqtt-shared-")]
    assert queue.messages == 1
    taker = next(one for one in node.service.connected if one.inflight.shared)
    member, other = members if taker.client_id == "a" else reversed(members)
    delivery = await member.receive(ack=False)
    kind = c.PUBACK if qos == 1 else c.PUBREC
    member.send(member.machine.acknowledge_with(kind, delivery.packet_id, r.UNSPECIFIED_ERROR))
    member.send(b"\xc0\0")
    await member.expect(Pingresp)
    assert queue.messages == 0
    await other.silent()
