"""Wills: when they are published, and when not."""

import asyncio
from collections.abc import Callable

import pytest

from edge.auth.users import Permission
from edge.store.store import Store
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt import will
from mqtt.packets import Will
from mqtt.will import KIND_WILL
from tests.helpers.mqtt_node import MqttNode, until

AN_HOUR = {p.SESSION_EXPIRY_INTERVAL: 3600}


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_lost_connection_publishes_the_will(node: MqttNode, version: int, qos: int) -> None:
    """MQTT-3.1.2-8."""
    listener = await node.client("l")
    await listener.subscribe("w", qos=2)
    client = await node.client("c", version, will=Will("w", b"gone", qos))
    client.abort()
    got = await listener.receive()
    assert (got.body, got.qos, got.retain) == (b"gone", qos, False)


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_disconnect_takes_the_will_back(node: MqttNode, version: int) -> None:
    """MQTT-3.1.2-10."""
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", version, will=Will("w", b"gone"))
    await client.leave()
    await listener.silent()


async def test_disconnect_with_will_publishes_it(node: MqttNode) -> None:
    """MQTT 5 section 3.14.2.1, reason 0x04."""
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", c.V5, will=Will("w", b"gone"))
    await client.leave(r.DISCONNECT_WITH_WILL)
    assert await listener.bodies(1) == [b"gone"]


async def test_a_protocol_error_publishes_the_will(node: MqttNode) -> None:
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", will=Will("w", b"gone"))
    client.send(b"\xff\0")
    assert await listener.bodies(1) == [b"gone"]


async def test_a_keep_alive_timeout_publishes_the_will(node: MqttNode) -> None:
    listener = await node.client("l")
    await listener.subscribe("w")
    await node.client("c", keep_alive_s=1, will=Will("w", b"gone"))
    assert await listener.bodies(1) == [b"gone"]


async def test_takeover_publishes_the_will_of_the_old_connection(node: MqttNode) -> None:
    listener = await node.client("l")
    await listener.subscribe("w")
    await node.client("c", will=Will("w", b"gone"))
    await node.client("c")
    assert await listener.bodies(1) == [b"gone"]


async def test_a_retained_will_is_retained(node: MqttNode) -> None:
    """MQTT-3.1.2-15, MQTT-3.1.2-17."""
    client = await node.client("c", will=Will("w", b"gone", 1, True))
    client.abort()
    await asyncio.sleep(0.05)
    listener = await node.client("l")
    await listener.subscribe("w")
    got = await listener.receive()
    assert (got.body, got.retain) == (b"gone", True)


async def test_a_delayed_will_waits(node: MqttNode) -> None:
    """MQTT 5 section 3.1.3.2.2."""
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", c.V5, will=Will("w", b"gone", delay_s=1), properties=AN_HOUR)
    client.abort()
    await asyncio.sleep(0.5)
    await listener.silent()
    assert await listener.bodies(1) == [b"gone"]


async def test_a_client_that_returns_in_time_leaves_no_will(node: MqttNode) -> None:
    """MQTT-3.1.3-9."""
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", c.V5, will=Will("w", b"gone", delay_s=1), properties=AN_HOUR)
    client.abort()
    await asyncio.sleep(0.05)
    assert len(node.service.wills) == 1
    await node.client("c", c.V5, clean=False, properties=AN_HOUR)
    assert len(node.service.wills) == 0
    await asyncio.sleep(1.1)
    await listener.silent()


async def test_the_end_of_the_session_ends_the_delay(node: MqttNode) -> None:
    """MQTT-3.1.3-9: whichever comes first."""
    listener = await node.client("l")
    await listener.subscribe("w")
    client = await node.client("c", c.V5, will=Will("w", b"1", delay_s=60))
    client.abort()
    assert await listener.bodies(1) == [b"1"]
    client = await node.client("c", c.V5, will=Will("w", b"2", delay_s=60), properties=AN_HOUR)
    client.abort()
    await asyncio.sleep(0.05)
    await node.client("c", c.V5)
    assert await listener.bodies(1) == [b"2"]


async def test_a_will_carries_its_properties(node: MqttNode) -> None:
    """MQTT-3.1.3-10: user properties in order."""
    listener = await node.client("l", c.V5)
    await listener.subscribe("w", qos=1)
    block = b"\x26\0\x01b\0\x011\x26\0\x01a\0\x012"
    client = await node.client("c", c.V5, will=Will("w", b"gone", 1, properties=block, expires_ms=60_000))
    client.abort()
    got = await listener.receive()
    assert got.properties == block
    assert 58_000 < got.expires_ms <= 60_000


async def test_a_will_that_may_not_be_published_refuses_the_connection(node: MqttNode) -> None:
    node.broker.set_user("reader", "pw", [])
    node.broker.set_permission(Permission("reader", "/", ".*", "", ".*"))
    client = await node.client("c", username="reader", password=b"pw", will=Will("w", b"x"))
    assert client.connack.reason == r.NOT_AUTHORIZED


async def test_a_will_to_an_offline_session_is_kept(node: MqttNode) -> None:
    listener = await node.client("l", clean=False)
    await listener.subscribe("w", qos=1)
    await listener.leave()
    client = await node.client("c", will=Will("w", b"gone", 1))
    client.abort()
    await asyncio.sleep(0.05)
    await node.restart()
    listener = await node.client("l", clean=False)
    assert await listener.bodies(1) == [b"gone"]


# -- a node that is killed -----------------------------------------------------------------------------------------


async def listening(node: MqttNode, version: int = c.V311) -> None:
    """An offline session that collects what is published to w."""
    listener = await node.client("l", version, clean=False, properties=AN_HOUR if version == c.V5 else None)
    await listener.subscribe("w", qos=1)
    await listener.leave()


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_the_will_of_a_client_that_was_connected_when_the_node_was_killed_is_published(
    node: MqttNode, version: int
) -> None:
    """MQTT-3.1.2-7: stored; MQTT 5 section 3.1.2.5: a server that fails may publish it when it is back."""
    await listening(node)
    will = Will("w", b"gone", 1, True, b"\x03\0\x04text" if version == c.V5 else b"")
    await node.client("c", version, will=will)
    await node.kill()
    await node.start()
    late = await node.client("late", c.V5)
    await late.subscribe("w")
    assert (await late.receive()).body == b"gone", "it is retained"
    listener = await node.client("l", clean=False)
    got = await listener.receive()
    assert (got.body, got.qos) == (b"gone", 1)
    await listener.leave()
    await node.restart()
    listener = await node.client("l", clean=False)
    await listener.silent()


async def test_a_delay_begins_when_the_node_is_back(node: MqttNode) -> None:
    await listening(node)
    await node.client("c", c.V5, will=Will("w", b"late", 1, delay_s=60), properties=AN_HOUR)
    await node.client("d", c.V5, will=Will("w", b"never", 1, delay_s=60), properties=AN_HOUR)
    await node.kill()
    await node.start()
    await node.client("d", c.V5, clean=False, properties=AN_HOUR)
    listener = await node.client("l", clean=False)
    await listener.silent()
    node.clock.travelled_ms += 61_000
    node.service.wills.flush("/\0c")
    assert await listener.bodies(1) == [b"late"]
    await listener.silent()


async def test_a_will_that_was_taken_back_leaves_nothing_in_the_store(node: MqttNode) -> None:
    """MQTT-3.1.2-10."""
    client = await node.client("c", will=Will("w", b"gone", 1))
    assert set(await node.store.records(KIND_WILL)) == {"/\0c"}
    await client.leave()
    await node.store.committed()
    assert await node.store.records(KIND_WILL) == {}
    client = await node.client("c", will=Will("w", b"gone", 1))
    client.abort()
    await until(lambda: not node.service.connected)
    await node.store.committed()
    assert await node.store.records(KIND_WILL) == {}, "published and removed"


async def test_a_will_for_sys_is_accepted_and_never_published(node: MqttNode) -> None:
    """Mosquitto's bridges set one."""
    listener = await node.client("l", c.V5)
    await listener.subscribe("$SYS/broker/connection/#", retain_handling=2)
    client = await node.client("c", will=Will("$SYS/broker/connection/c/state", b"0", 1, True))
    assert client.connack.reason == 0
    client.abort()
    await listener.silent()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether there is room for what the node publishes itself."""
    room = [1]
    monkeypatch.setattr(Store, "own_room_bytes", property(lambda _: room[0]))
    return lambda is_roomy: room.__setitem__(0, int(is_roomy))


async def test_without_room_on_the_disk_a_will_waits_and_is_kept(
    node: MqttNode, disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(will, "RETRY_MS", 20)
    listener = await node.client("l")
    await listener.subscribe("w", qos=1)
    client = await node.client("c", will=Will("w", b"gone", 1))
    disk(False)
    client.abort()
    await until(lambda: len(node.service.wills) == 1)
    await node.broker.store.committed()
    assert list(await node.broker.store.records(KIND_WILL)) == ["/\0c"]
    await listener.silent()
    disk(True)
    assert await listener.bodies(1) == [b"gone"]
    await node.broker.store.committed()
    assert await node.broker.store.records(KIND_WILL) == {}


async def test_a_will_that_waits_for_room_is_published_when_its_client_comes_back(
    node: MqttNode, disk: Callable[[bool], None]
) -> None:
    """It was due: [MQTT-3.1.2-8]."""
    listener = await node.client("l")
    await listener.subscribe("w", qos=1)
    client = await node.client("c", will=Will("w", b"gone", 1))
    disk(False)
    client.abort()
    await until(lambda: len(node.service.wills) == 1)
    disk(True)
    await node.client("c")
    assert await listener.bodies(1) == [b"gone"]


async def test_a_client_that_comes_and_goes_on_a_full_disk_has_one_will_waiting_and_the_others_counted(
    node: MqttNode, disk: Callable[[bool], None]
) -> None:
    away = await node.client("away", clean=False)
    await away.subscribe("w", qos=1)
    await away.leave()
    queue = node.service.sessions["/\0away"].queue
    assert queue is not None
    disk(False)
    for number in range(3):
        client = await node.client("c", will=Will("w", b"%d" % number, 1))
        client.abort()
        await until(lambda: len(node.service.wills) == 1)
    assert (queue.messages, queue.dropped) == (0, {"disk-full": 2})
    disk(True)
    await until(lambda: queue.messages == 1)
    assert queue.ready[0][1].body == b"2"
