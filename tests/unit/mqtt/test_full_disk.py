"""Low on disk: MQTT 5 publishers are refused with reason 0x97, MQTT 3 publishers wait."""

import asyncio

import pytest

from mqtt import constants as c
from mqtt import reasons as r
from mqtt import waiting
from mqtt.encode import PINGREQ
from mqtt.packets import AckRun, Pingresp, PublishRun
from tests.helpers.alarm import DiskAlarm
from tests.helpers.brokers import until
from tests.helpers.mqtt_node import MqttNode, RawClient


@pytest.fixture
def alarm(node: MqttNode, monkeypatch: pytest.MonkeyPatch) -> DiskAlarm:
    return DiskAlarm(node.broker, monkeypatch)


async def away(node: MqttNode) -> None:
    """A session that is away and subscribes to everything."""
    client = await node.client("away", clean=False)
    await client.subscribe("#", qos=2)
    await client.leave()


def waiting_of(node: MqttNode) -> int:
    return node.service.sessions["/\0away"].queue.messages  # type: ignore[union-attr]


def dropped(node: MqttNode) -> dict[str, int]:
    return node.service.sessions["/\0away"].queue.dropped  # type: ignore[union-attr]


async def test_mqtt_5_is_refused_with_quota_exceeded_and_nothing_is_stored(
    node: MqttNode, alarm: DiskAlarm
) -> None:
    """[MQTT-4.13] PUBACK and PUBREC 0x97; a retained message is not kept either."""
    await away(node)
    client = await node.client("publisher", c.V5)
    alarm.on()
    assert await client.published("t", b"1", qos=1, retain=True) == r.QUOTA_EXCEEDED
    packet_id = client.publish("t", b"2", qos=2)
    answer = await client.expect(AckRun)
    assert (answer.kind, answer.reasons) == (c.PUBREC, {packet_id: r.QUOTA_EXCEEDED})
    assert (waiting_of(node), dropped(node)) == (0, {"disk-full": 2})
    assert not list(node.service.retained("/").match("#"))
    alarm.off()
    assert await client.published("t", b"3", qos=2) == r.SUCCESS
    assert waiting_of(node) == 1


async def test_what_was_taken_at_qos_2_before_is_not_refused_when_it_comes_again(
    node: MqttNode, alarm: DiskAlarm
) -> None:
    await away(node)
    client = await node.client("publisher", c.V5)
    packet_id = client.publish("t", b"1", qos=2)
    assert (await client.expect(AckRun)).reasons == {}
    alarm.on()
    client.publish("t", b"1", qos=2, packet_id=packet_id, dup=True)
    assert (await client.expect(AckRun)).reasons == {}
    assert waiting_of(node) == 1


async def test_qos_0_goes_to_those_who_are_there(node: MqttNode, alarm: DiskAlarm) -> None:
    await away(node)
    vhost = node.broker.vhosts["/"]
    queue = node.broker.declare_queue(vhost, "amqp")
    node.broker.bind(vhost, "amq.topic", "amqp", "#")
    reader = await node.client("reader", c.V5)
    await reader.subscribe("t", qos=1)
    client = await node.client("publisher", c.V5)
    alarm.on()
    client.publish("t", b"live")
    run = await reader.expect(PublishRun)
    assert run.messages[0].body == b"live"
    assert (queue.messages, queue.dropped) == (0, {"disk-full": 1})
    assert dropped(node) == {"qos0": 1}


async def test_mqtt_3_waits_and_goes_on_in_order(node: MqttNode, alarm: DiskAlarm) -> None:
    await away(node)
    client = await node.client("publisher", keep_alive_s=60)
    alarm.on()
    for body in (b"1", b"2"):
        client.publish("t", body, qos=1)
    client.send(PINGREQ)
    await client.expect(Pingresp)
    client.publish("t", b"3", qos=1)
    await asyncio.sleep(0.05)
    assert (waiting_of(node), alarm.waiting) == (0, 1)
    alarm.off()
    await until(lambda: waiting_of(node) == 3)
    queue = node.service.sessions["/\0away"].queue
    assert queue is not None
    assert [entry[1].body for entry in queue.ready] == [b"1", b"2", b"3"]


async def test_no_more_is_read_of_it_than_a_bound(
    node: MqttNode, alarm: DiskAlarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BYTES_MAX", 10_000)
    client = await node.client("publisher")
    (protocol,) = node.service.connected.values()
    alarm.on()
    for _ in range(30):
        client.publish("t", bytes(100_000), qos=1)
    await until(lambda: protocol.bytes_received > 20_000)
    await asyncio.sleep(0.05)
    received = protocol.bytes_received
    await asyncio.sleep(0.1)
    assert protocol.bytes_received == received < 2_000_000
    alarm.off()
    await until(lambda: protocol.bytes_received > 3_000_000)


async def test_one_that_is_gone_meanwhile_is_forgotten_with_what_it_wanted(
    node: MqttNode, alarm: DiskAlarm
) -> None:
    await away(node)
    client = await node.client("publisher")
    alarm.on()
    client.publish("t", b"1", qos=1)
    await until(lambda: alarm.waiting)
    client.abort()
    await until(lambda: not alarm.waiting)
    alarm.off()
    await asyncio.sleep(0.02)
    assert waiting_of(node) == 0


async def test_a_subscriber_takes_and_acknowledges_meanwhile(node: MqttNode, alarm: DiskAlarm) -> None:
    await away(node)
    client: RawClient = await node.client("publisher", c.V5)
    for body in (b"1", b"2"):
        await client.published("t", body, qos=1)
    alarm.on()
    reader = await node.client("away", clean=False)
    for _ in range(2):
        run = await reader.pick(PublishRun)
        reader.ack(c.PUBACK, *run.packet_ids)
    await until(lambda: waiting_of(node) == 0)
