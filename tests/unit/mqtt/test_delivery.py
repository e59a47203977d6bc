"""What leaves for a client: aliases, identifiers, sizes, expiry, fan-out, and clients that do not read."""

import asyncio
from functools import partial

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, Message
from edge.core.properties import BasicProperties, encode_properties
from mqtt import constants as c
from mqtt import delivery
from mqtt import properties as p
from mqtt.packets import PublishRun
from mqtt.properties import decode_block
from tests.helpers.mqtt_node import MqttNode, RawClient


async def raw_publish(client: RawClient) -> bytes:
    """The bytes of the next packet, which the client's machine has not seen."""
    async with asyncio.timeout(5):
        head = await client._reader.readexactly(2)
        return head + await client._reader.readexactly(head[1])


async def test_a_client_that_allows_aliases_gets_them(node: MqttNode) -> None:
    """MQTT-3.1.2-26, MQTT-3.1.2-27: from the first publish of a topic, and no more than it allows."""
    client = await node.client("s", c.V5, properties={p.TOPIC_ALIAS_MAXIMUM: 1})
    await client.subscribe("#", qos=0)
    publisher = await node.client("p")
    await publisher.published("t", b"1", 0)
    assert await raw_publish(client) == b"\x30\x08\0\x01t\x03\x23\0\x01" + b"1"
    await publisher.published("t", b"2", 1)
    assert await raw_publish(client) == b"\x30\x07\0\0\x03\x23\0\x01" + b"2"
    await publisher.published("u", b"3", 0)
    assert await raw_publish(client) == b"\x30\x05\0\x01u\0" + b"3"


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
async def test_what_changes_from_one_message_of_a_run_to_the_next_is_in_the_bytes(
    node: MqttNode, version: int, subscribed: int
) -> None:
    """MQTT-3.3.2: sizes of one and two bytes, topics, QoS and properties in any order, all in one run."""
    client = await node.client("s", version)
    await client.subscribe("#", qos=subscribed)
    sizes = [5, 5, 6, 6, 6, 130, 130, 5, 5]
    run = [
        Message(c.TOPIC_EXCHANGE, key, properties, b"%0*d" % (size, number), FORM_MQTT, flags)
        for properties in (b"", b"\x01\x01", b"")
        for key in ("t", "u", "t")
        for flags in (0, PERSISTENT, PERSISTENT | QOS2, 0)
        for number, size in enumerate(sizes)
    ]
    run[12] = Message(c.TOPIC_EXCHANGE, "t", b"", b"12345", FORM_MQTT, PERSISTENT, 0, 10**9)
    node.broker.publish(node.broker.vhosts["/"], c.TOPIC_EXCHANGE, run)
    kept = [message for message in run if message.flags & PERSISTENT and subscribed]
    passed = [message for message in run if message not in kept]
    for message in passed + kept:
        got = await client.receive()
        assert (got.topic, got.body) == (message.routing_key, message.body)
        qos = 2 if message.flags & QOS2 else 1 if message.flags & PERSISTENT else 0
        assert got.qos == min(qos, subscribed)
        assert bool(got.expires_ms) == (bool(message.expires_at_ms) and version == c.V5)
        assert got.properties == (message.properties if version == c.V5 else b"")


async def test_a_run_of_one_topic_and_a_mixed_one_reach_the_same_sessions(node: MqttNode) -> None:
    """The run is looked at once for all sessions that get it: each has its own grants all the same."""
    clients = [await node.client(f"s{i}") for i in range(4)]
    await clients[0].subscribe("t", qos=0)
    await clients[1].subscribe("t", qos=1)
    await clients[2].subscribe("#", qos=1)
    await clients[3].subscribe("u", qos=1)
    at = partial(Message, c.TOPIC_EXCHANGE)
    alike = [at("t", b"", b"%d" % i, FORM_MQTT, PERSISTENT) for i in range(3)]
    mixed = [
        at("t", b"", b"3", FORM_MQTT, 0),
        at("t", b"", b"4", FORM_MQTT, PERSISTENT),
        at("u", b"", b"5", FORM_MQTT, 0),
    ]
    for run in (alike, mixed):
        node.broker.publish(node.broker.vhosts["/"], c.TOPIC_EXCHANGE, run)
    assert await clients[0].bodies(5) == [b"0", b"1", b"2", b"3", b"4"]
    assert sorted(await clients[1].bodies(5)) == [b"0", b"1", b"2", b"3", b"4"]
    assert sorted(await clients[2].bodies(6)) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert await clients[3].bodies(1) == [b"5"]
    for client in clients:
        await client.silent()


async def test_an_alias_is_set_anew_on_a_new_connection(node: MqttNode) -> None:
    """MQTT-3.3.2-7: mappings last as long as the connection."""
    properties: p.Properties = {p.TOPIC_ALIAS_MAXIMUM: 5, p.SESSION_EXPIRY_INTERVAL: 100}
    publisher = await node.client("p")
    for _ in range(2):
        client = await node.client("s", c.V5, clean=False, properties=properties)
        await client.subscribe("t", qos=0)
        await publisher.published("t", b"x", 1)
        assert b"\0\x01t" in await raw_publish(client)
        await publisher.published("t", b"x", 1)
        assert b"\0\x01t" not in await raw_publish(client)
        client.disconnect()


async def test_all_identifiers_of_matching_subscriptions_are_in_one_publish(node: MqttNode) -> None:
    """MQTT-3.3.4-3, MQTT-3.3.4-4."""
    client = await node.client("s", c.V5)
    await client.subscribe("a/#", qos=1, identifier=1)
    await client.subscribe("a/+", qos=1, identifier=300)
    await client.subscribe("+/b", qos=1)
    await (await node.client("p")).published("a/b", b"x", 0)
    raw = await raw_publish(client)
    assert raw[-7:] == b"\x05\x0b\x01\x0b\xac\x02x" or raw[-7:] == b"\x05\x0b\xac\x02\x0b\x01x"
    await client.silent()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_packet_over_the_clients_maximum_is_dropped(node: MqttNode, qos: int) -> None:
    """MQTT-3.1.2-24, MQTT-3.1.2-25."""
    client = await node.client("s", c.V5, properties={p.MAXIMUM_PACKET_SIZE: 100})
    await client.subscribe("t", qos=1)
    publisher = await node.client("p")
    fits = 100 - 2 - 3 - (2 if qos else 0) - 1
    await publisher.published("t", bytes(fits + 1), qos)
    await publisher.published("t", bytes(fits), qos)
    assert len((await client.receive()).body) == fits
    await client.silent()


async def test_the_remaining_expiry_is_passed_on(node: MqttNode) -> None:
    """MQTT-3.3.2-6."""
    client = await node.client("s", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: 1000})
    await client.subscribe("t", qos=1)
    await client.leave()
    publisher = await node.client("p", c.V5)
    await publisher.published("t", b"x", properties=b"\x02\0\0\0\x64")
    node.clock.travelled_ms += 40_000
    client = await node.client("s", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 1000})
    assert 59_000 <= (await client.receive()).expires_ms <= 61_000


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_an_expired_message_is_not_delivered(node: MqttNode, version: int) -> None:
    """MQTT-3.3.2-5, also when it is not the first in the queue."""
    properties: p.Properties = {p.SESSION_EXPIRY_INTERVAL: 1000} if version == c.V5 else {}
    client = await node.client("s", version, clean=False, properties=properties)
    await client.subscribe("t", qos=1)
    await client.leave()
    publisher = await node.client("p", c.V5)
    await publisher.published("t", b"first")
    await publisher.published("t", b"expires", properties=b"\x02\0\0\0\x0a")
    await publisher.published("t", b"last")
    node.clock.travelled_ms += 11_000
    client = await node.client("s", version, clean=False, properties=properties)
    assert await client.bodies(2) == [b"first", b"last"]
    await client.silent()


async def test_an_amqp_message_arrives_with_its_headers_as_user_properties(node: MqttNode) -> None:
    client = await node.client("s", c.V5)
    await client.subscribe("a/b", qos=1)
    block = encode_properties(BasicProperties(content_type="text/plain", headers={"k": "v"}))
    message = Message("amq.topic", "a.b", block, b"from amqp", 0, PERSISTENT)
    node.broker.publish(node.broker.vhosts["/"], "amq.topic", [message])
    got = await client.receive()
    assert (got.topic, got.qos, got.body) == ("a/b", 1, b"from amqp")
    assert decode_block(got.properties) == {p.CONTENT_TYPE: "text/plain", p.USER_PROPERTY: [("k", "v")]}


async def test_a_routing_key_that_is_no_topic_is_passed_over(node: MqttNode) -> None:
    client = await node.client("s")
    await client.subscribe("#", qos=1)
    vhost = node.broker.vhosts["/"]
    for key in ("a.*", "b.#", "good"):
        node.broker.publish(vhost, "amq.topic", [Message("amq.topic", key, b"", key.encode(), 0, PERSISTENT)])
    assert await client.bodies(1) == [b"good"]
    await client.silent()


async def test_what_comes_past_the_subscriptions_is_delivered(node: MqttNode) -> None:
    """A queue is a queue: the default exchange reaches it by its name."""
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    key = "mqtt-subscription-sqos1"
    node.broker.publish(node.broker.vhosts["/"], "", [Message("", key, b"", b"direct", 0, PERSISTENT)])
    assert await client.bodies(1) == [b"direct"]


async def test_fan_out_reuses_the_bytes_of_the_first(node: MqttNode, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    real = delivery.Link._encode_qos0

    def counted(link: delivery.Link, messages: list[Message]) -> bytes:
        encoded.append(len(messages))
        return real(link, messages)

    monkeypatch.setattr(delivery.Link, "_encode_qos0", counted)
    clients = [await node.client(f"s{i}", c.V311 if i % 2 else c.V5) for i in range(6)]
    for client in clients:
        await client.subscribe("t")
    different = await node.client("d", c.V5)
    await different.subscribe("t", identifier=9)
    await (await node.client("p")).published("t", b"x", 0)
    for client in [*clients, different]:
        assert (await client.receive()).body == b"x"
    assert len(encoded) == 3


async def test_a_client_that_does_not_read_loses_qos_0_and_keeps_qos_1(
    node: MqttNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "QOS0_UNSENT_BYTES_MAX", 100_000)
    slow = await node.client("slow", clean=False)
    await slow.subscribe("t", qos=1)
    slow.pause_reading()
    quick = await node.client("quick")
    await quick.subscribe("t", qos=1)
    publisher = await node.client("p")
    body = bytes(50_000)
    for _ in range(300):
        await publisher.published("t", body, 0)
        assert (await quick.receive()).qos == 0
    session = node.service.sessions["/\0slow"]
    assert session.qos0_dropped > 0
    for i in range(20):
        await publisher.published("t", b"%d" % i)
    assert await quick.bodies(20) == [b"%d" % i for i in range(20)]
    slow.resume_reading()
    kept: list[bytes] = []
    while len(kept) < 20:
        run = await slow.expect(PublishRun)
        if run.packet_ids[0]:
            kept.append(run.messages[0].body)
            slow.ack(c.PUBACK, run.packet_ids[0])
    assert kept == [b"%d" % i for i in range(20)]


async def test_messages_a_round_of_identifiers_apart_are_not_in_flight_together(node: MqttNode) -> None:
    """MQTT-2.2.1-3: a client that acknowledges all but one leaves neighbours in the queue that share an identifier."""
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    await client.leave()
    queue = node.broker.vhost("/").queues["mqtt-subscription-sqos1"]
    messages = [
        Message("amq.topic", "t", b"", b"%d" % i, FORM_MQTT, PERSISTENT) for i in range(c.PACKET_ID_MAX + 3)
    ]
    node.broker.publish(node.broker.vhost("/"), "amq.topic", messages)
    await node.store.committed()
    while queue.messages > 4:
        await node.broker.page_in(queue)
        entries = [entry for entry in iter(partial(queue.pop, False), None) if entry is not None]
        kept = [entry for entry in entries if entry[0] == 0 or entry[0] >= c.PACKET_ID_MAX]
        queue.settle([entry for entry in entries if entry not in kept])
        queue.requeue(kept)
        if queue.messages == len(queue.ready):
            break
    assert [entry[0] for entry in queue.ready] == [
        0,
        c.PACKET_ID_MAX,
        c.PACKET_ID_MAX + 1,
        c.PACKET_ID_MAX + 2,
    ]
    again = await node.client("s", clean=False)
    first = await again.receive(ack=False)
    await again.silent()
    again.ack(c.PUBACK, first.packet_id)
    assert await again.bodies(3) == [b"65535", b"65536", b"65537"]
