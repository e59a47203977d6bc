"""Everything that a client can grow has an end, and the client is told where it can be."""

import asyncio
from pathlib import Path

import pytest

from edge.config import load
from edge.core.message import FORM_MQTT, PERSISTENT, RETAIN, Message
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.codec import Decoder
from mqtt.delivery import QOS0_UNSENT_BYTES_MAX
from mqtt.encode import encode_subscribe, encode_unsubscribe
from mqtt.fields import varint
from mqtt.filters import WireCache
from mqtt.limits import MqttLimits
from mqtt.packets import AckRun, Connack, Connect, Suback, Subscribe, Subscription, Unsubscribe
from mqtt.retained import Retained
from mqtt.session import Session
from tests.helpers.mqtt_node import MqttNode, until


def test_the_configuration_sets_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "leveret.toml"
    path.write_text(
        "[mqtt]\nkeep_alive_max_s = 60\nsession_expiry_max_s = 86400\nsubscriptions_max = 5\nreceive_max = 7\n"
        "packet_bytes_max = 4096\ntopic_alias_max = 0\nretained_messages_max = 10\nretained_bytes_max = 1000\n"
        'response_topic = "r/{client_id}"\nsys_interval_s = 0\n'
    )
    assert MqttLimits.of(load(path, environ={}).mqtt) == MqttLimits(
        receive_max=7,
        packet_bytes_max=4096,
        topic_alias_max=0,
        subscriptions_max=5,
        keep_alive_max_s=60,
        session_expiry_max_s=86400,
        retained_messages_max=10,
        retained_bytes_max=1000,
        response_topic="r/{client_id}",
        sys_interval_s=0,
    )
    path.write_text("")
    assert MqttLimits.of(load(path, environ={}).mqtt) == MqttLimits()


async def test_a_session_lasts_no_longer_than_the_node_lets_it(tmp_path: Path) -> None:
    """MQTT 5 section 3.2.2.3.2: the server says which interval it uses when it is not the client's."""
    async with MqttNode(tmp_path, MqttLimits(session_expiry_max_s=100)) as node:
        for asked_s, told_s in ((50, None), (100, None), (101, 100), (0xFFFFFFFF, 100)):
            client = await node.client("c", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: asked_s})
            assert client.connack.properties.get(p.SESSION_EXPIRY_INTERVAL) == told_s
        await client.leave(properties={p.SESSION_EXPIRY_INTERVAL: 1_000})
        (session,) = node.service.sessions.values()
        assert session.expiry_s == 100
        await node.client("old", c.V311, clean=False)
        assert {one.expiry_s for one in node.service.sessions.values()} == {100}


async def test_response_information_is_told_to_who_asks(tmp_path: Path) -> None:
    """MQTT-3.1.2-28."""
    async with MqttNode(tmp_path, MqttLimits(response_topic="reply/{username}/{client_id}")) as node:
        for asked, told in ((None, None), (0, None), (1, "reply/guest/c")):
            properties = {} if asked is None else {p.REQUEST_RESPONSE_INFORMATION: asked}
            client = await node.client("c", c.V5, properties=properties)
            assert client.connack.properties.get(p.RESPONSE_INFORMATION) == told


@pytest.mark.parametrize("wants", [True, False])
async def test_reason_strings_go_to_who_wants_them(node: MqttNode, wants: bool) -> None:
    """MQTT-3.1.2-29, MQTT-3.4.2-1, MQTT-3.9.3-2."""
    client = await node.client("c", c.V5, properties={p.REQUEST_PROBLEM_INFORMATION: int(wants)})
    client.send(encode_subscribe(Subscribe(1, [Subscription("a/#/b"), Subscription("ok")]), c.V5))
    suback = await client.expect(Suback)
    assert suback.reasons == [r.TOPIC_FILTER_INVALID, 0]
    assert suback.properties == ({p.REASON_STRING: "'a/#/b': topic filter invalid"} if wants else {})
    client.machine.wants_problem_information = wants
    raw = client.machine.acknowledge_with(c.PUBACK, 1, r.NOT_AUTHORIZED)
    assert (p.REASON_STRING.to_bytes(1, "big") in raw[5:]) is wants
    client.machine.peer_packet_bytes_max = 20
    assert client.machine.acknowledge_with(c.PUBACK, 1, r.NOT_AUTHORIZED) == b"\x40\x03\0\x01\x87"


async def test_a_client_that_takes_no_connack_is_not_let_in(node: MqttNode) -> None:
    """MQTT-3.1.2-24."""
    client = await node.client("c", c.V5, properties={p.MAXIMUM_PACKET_SIZE: 8})
    assert client.connack.reason == r.PACKET_TOO_LARGE
    await client.closed()
    client = await node.raw()
    client.send(client.machine.connect(Connect(c.V5, "c", properties={p.MAXIMUM_PACKET_SIZE: 4})))
    await client.closed()


async def test_an_answer_that_the_client_does_not_take_ends_the_connection(node: MqttNode) -> None:
    """MQTT-3.1.2-24; a reason string is left out first [MQTT-3.9.2-1]."""
    client = await node.client("c", c.V5, properties={p.MAXIMUM_PACKET_SIZE: 40})
    assert await client.subscribe("#/not/valid/and/long/enough/to/be/too/long") == [r.TOPIC_FILTER_INVALID]
    client.send(encode_subscribe(Subscribe(1, [Subscription(f"a{i}") for i in range(60)]), c.V5))
    assert await client.disconnected() == r.PACKET_TOO_LARGE


async def test_text_that_is_none_is_refused_alone(node: MqttNode) -> None:
    """MQTT 5 section 3.3.2.3.2: 0x99; MQTT-3.3.2-4: the indicator is passed on."""
    text, binary = b"\x01\x01", b"\x01\0"
    listener = await node.client("l", c.V5)
    await listener.subscribe("t", qos=2)
    client = await node.client("c", c.V5)
    for qos in (1, 2):
        for _ in range(2):
            assert await client.published("t", "é".encode(), qos, properties=text) == 0
            assert await client.published("t", b"\xff", qos, properties=binary) == 0
            packet_id = client.publish("t", b"\xff", qos, properties=text)
            answer = await client.expect(AckRun)
            assert answer.reasons == {packet_id: r.PAYLOAD_FORMAT_INVALID}
            got = [await listener.receive(), await listener.receive()]
            assert [(one.body, one.properties) for one in got] == [("é".encode(), text), (b"\xff", binary)]
    client.publish("t", b"\xff", properties=text)
    client.publish("t", b"ok", properties=text)
    assert await listener.bodies(1) == [b"ok"]


def _decoder() -> Decoder:
    decoder = Decoder(c.SERVER, c.V5, WireCache())
    decoder.packet_bytes_max = c.PACKET_BYTES_MAX
    return decoder


@pytest.mark.parametrize(("count", "reason"), [(c.USER_PROPERTIES_MAX, 0), (c.USER_PROPERTIES_MAX + 1, 0x97)])
def test_user_properties_of_a_packet_are_bounded(count: int, reason: int) -> None:
    block = p.encode_properties({p.USER_PROPERTY: [("", "")] * count})
    bodies = [
        (0x30, b"\0\x01t" + block),
        (0x82, b"\0\x01" + block + b"\0\x01t\0"),
        (0xE0, b"\0" + block),
    ]
    for first, body in bodies:
        decoder = _decoder()
        decoder.feed(bytes((first,)) + varint(len(body)) + body)
        assert (decoder.fault.reason if decoder.fault else 0) == reason


@pytest.mark.parametrize(("count", "reason"), [(c.FILTERS_MAX, 0), (c.FILTERS_MAX + 1, 0x97)])
def test_topic_filters_of_a_packet_are_bounded(count: int, reason: int) -> None:
    for raw in (
        encode_subscribe(Subscribe(1, [Subscription("a")] * count), c.V5),
        encode_unsubscribe(Unsubscribe(1, ["a"] * count), c.V5),
    ):
        decoder = _decoder()
        decoder.feed(raw)
        assert (decoder.fault.reason if decoder.fault else 0) == reason


def test_long_topics_are_not_remembered() -> None:
    cache = WireCache()
    session = Session("/", "s", cache)
    long = "x" * (c.TOPIC_CACHED_BYTES_MAX + 1)
    for topic in (long, "short"):
        key = cache.key(topic.encode())
        assert cache.field(key)[2:] == topic.encode()
        session.grant(key)
    assert list(cache.keys.values()) == list(cache.fields) == list(session.grants) == ["short"]


async def test_a_long_topic_gets_no_alias_and_arrives(node: MqttNode) -> None:
    client = await node.client("c", c.V5, properties={p.TOPIC_ALIAS_MAXIMUM: 1})
    await client.subscribe("#")
    long = "/".join(["level"] * 120)
    for topic in (long, "short", long, "short", "other"):
        client.publish(topic, b"x")
        assert (await client.receive()).topic == topic


async def test_an_alias_that_was_too_large_to_be_told_is_told_later(node: MqttNode) -> None:
    """MQTT-3.3.2-7: an empty topic stands for an alias that this connection has been told of."""
    properties = {p.TOPIC_ALIAS_MAXIMUM: 5, p.MAXIMUM_PACKET_SIZE: 60, p.RECEIVE_MAXIMUM: 100}
    client = await node.client("c", c.V5, properties=properties)
    await client.subscribe("#", qos=1)
    publisher = await node.client("p")
    for qos in (0, 1):
        for body in (b"x" * 100, b"1", b"2"):
            await publisher.published(f"t{qos}", body, qos)
        got = [await client.receive(), await client.receive()]
        assert [(one.topic, one.body) for one in got] == [(f"t{qos}", b"1"), (f"t{qos}", b"2")]


# -- retained ------------------------------------------------------------------------------------------------------


def _message(key: str, body: bytes = b"x") -> Message:
    return Message("", key, b"", body, FORM_MQTT, RETAIN | PERSISTENT)


def test_the_retained_messages_of_a_vhost_are_bounded_in_number_and_bytes() -> None:
    retained = Retained(messages_max=2, bytes_max=20)
    for key in ("a", "b"):
        assert retained.has_room(_message(key))
        assert retained.is_roomy([_message(key)])
        retained.set(_message(key))
    assert not retained.is_roomy([_message("c")])
    assert not retained.has_room(_message("c")), "one too many"
    assert retained.has_room(_message("c", b"")), "to clear is always possible"
    assert retained.has_room(_message("a", b"x" * 17)), "to replace is not to add"
    assert not retained.has_room(_message("a", b"x" * 18)), "too large"


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_what_finds_no_room_to_be_retained_is_not_published(tmp_path: Path, version: int) -> None:
    """MQTT-3.3.1-5 asks for it to be stored: 0x97 says that it is not, to MQTT 3 silence does."""
    async with MqttNode(tmp_path, MqttLimits(retained_messages_max=1)) as node:
        listener = await node.client("l")
        await listener.subscribe("#")
        client = await node.client("c", version)
        await client.published("a", b"1", retain=True)
        client.publish("b", b"2", 1, retain=True)
        if version == c.V5:
            assert list((await client.expect(AckRun)).reasons.values()) == [r.QUOTA_EXCEEDED]
        else:
            await client.silent()
        await client.published("b", b"3")
        await client.published("a", b"4", retain=True)
        assert await listener.bodies(3) == [b"1", b"3", b"4"]


def test_a_filter_meets_no_more_of_the_trie_than_it_has_to() -> None:
    retained = Retained()
    for i in range(100_000):
        retained.set(_message(f"site{i // 1000}.dev{i}.state"))
    assert retained.messages == 100_000
    assert retained.message_bytes < c.RETAINED_BYTES_MAX
    for topic_filter, found, visited in (
        ("site7/dev7001/state", 1, 4),
        ("site7/+/state", 1_000, 2_002),
        ("site7/#", 1_000, 2_002),
        ("+/dev7001/state", 1, 103),
        ("site7/dev7001/none", 0, 3),
        ("nothing/#", 0, 1),
    ):
        assert len(retained.match(topic_filter)) == found
        assert retained.visited <= visited, topic_filter


async def test_a_second_connack_is_never_sent(node: MqttNode) -> None:
    """MQTT-3.2.0-2."""
    client = await node.client("c", c.V5)
    client.send(client.machine.connect(Connect(c.V5, "c")))
    assert await client.disconnected() == r.PROTOCOL_ERROR
    assert isinstance(client.connack, Connack)


async def test_a_client_that_does_not_read_gets_no_more_retained_messages_than_it_reads(
    node: MqttNode,
) -> None:
    """At QoS 0 nothing else would bound what is written for it."""
    retained = node.service.retained("/")
    for i in range(400):
        retained.set(Message(c.TOPIC_EXCHANGE, f"big.{i}", b"", b"%d" % i + b"x" * 50_000, FORM_MQTT, RETAIN))
    client = await node.client("c")
    client.pause_reading()
    client.send(encode_subscribe(Subscribe(1, [Subscription("big/#")]), c.V311))
    await until(
        lambda: bool(node.service.connected) and len(node.service.sessions["/\0c"].subscriptions) == 1
    )
    await asyncio.sleep(0.05)
    (protocol,) = node.service.connected.values()
    assert protocol.transport is not None
    assert protocol.transport.get_write_buffer_size() < 2 * QOS0_UNSENT_BYTES_MAX
    client.resume_reading()
    await client.expect(Suback)
    got = [await client.receive() for _ in range(400)]
    assert sorted(int(one.body.partition(b"x")[0]) for one in got) == list(range(400))
    assert all(one.retain and one.qos == 0 for one in got)
