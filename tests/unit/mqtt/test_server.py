"""Connections to the server: CONNECT and its refusals, bad input, keep-alive, takeover, DISCONNECT."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from edge.auth.users import Permission
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.limits import MqttLimits
from mqtt.packets import Connack, Connect, Pingresp
from tests.helpers.mqtt_node import MqttNode
from tests.wire.mqtt_packets import BAD_CONNECTS, BAD_PACKETS, Fault

VERSIONS = [c.V31, c.V311, c.V5]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_connects_and_pings(node: MqttNode, version: int) -> None:
    client = await node.client("c", version)
    assert client.connack.reason == 0
    client.send(b"\xc0\0")
    await client.expect(Pingresp)


async def test_a_v5_client_is_told_the_limits(node: MqttNode) -> None:
    client = await node.client("c", c.V5)
    limits = node.service.limits
    assert client.connack.properties[p.RECEIVE_MAXIMUM] == limits.receive_max
    assert client.connack.properties[p.MAXIMUM_PACKET_SIZE] == limits.packet_bytes_max
    assert client.connack.properties[p.TOPIC_ALIAS_MAXIMUM] == limits.topic_alias_max


@pytest.mark.parametrize("case", BAD_CONNECTS, ids=lambda case: case.name)
async def test_a_bad_connect_is_refused_as_its_version_can(
    node: MqttNode, case: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """A v5 CONNECT may be answered by a CONNACK with the reason, any other is closed bare [MQTT-3.1.4-1]."""
    other = await node.client("other")
    client = await node.raw()
    caplog.clear()
    client.send(case.raw)
    client.machine._decoder.version = c.V5
    await client.closed()
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.name == "mqtt.server"
    assert "127.0.0.1:" in line.getMessage()
    other.send(b"\xc0\0")
    await other.expect(Pingresp)


@pytest.mark.parametrize("case", BAD_PACKETS, ids=lambda case: case.name)
async def test_a_bad_packet_ends_the_connection_with_its_reason(
    node: MqttNode, case: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """A v5 client gets DISCONNECT with the reason [MQTT-4.13.1-1], v3 is closed bare."""
    other = await node.client("other")
    client = await node.client("bad", case.version)
    caplog.clear()
    client.send(case.raw)
    if case.version == c.V5:
        assert await client.disconnected() == case.reason
    else:
        await client.closed()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    other.send(b"\xc0\0")
    await other.expect(Pingresp)


@pytest.mark.parametrize(("level", "version", "reason"), [(2, c.V311, 0x84), (6, c.V5, 0x84)])
async def test_an_unknown_protocol_level_is_refused(
    node: MqttNode, level: int, version: int, reason: int
) -> None:
    """MQTT-3.1.2-2."""
    client = await node.raw()
    client.machine._decoder.version = version
    client.send(b"\x10\x0c\0\x04MQTT%c\x02\0\0\0\0" % level)
    assert (await client.expect(Connack)).reason == reason
    await client.closed()


async def test_an_empty_client_id_gets_one_assigned(node: MqttNode) -> None:
    """MQTT-3.1.3-6, MQTT-3.2.2-16; v3.1.1 does not tell it."""
    first = await node.client("", c.V5)
    second = await node.client("", c.V5)
    assigned = first.connack.properties[p.ASSIGNED_CLIENT_IDENTIFIER]
    assert assigned
    assert assigned != second.connack.properties[p.ASSIGNED_CLIENT_IDENTIFIER]
    assert (await node.client("", c.V311)).connack.reason == 0


@pytest.mark.parametrize(("version", "clean"), [(c.V311, False), (c.V31, True)])
async def test_an_empty_client_id_is_refused_where_a_session_would_need_it(
    node: MqttNode, version: int, clean: bool
) -> None:
    """MQTT 3.1.1 [MQTT-3.1.3-8]; 3.1 has no empty identifiers."""
    client = await node.client("", version, clean=clean)
    assert client.connack.reason == r.CLIENT_IDENTIFIER_NOT_VALID
    await client.closed()


async def test_a_client_id_too_long_for_a_queue_name_is_refused(node: MqttNode) -> None:
    client = await node.client("x" * 250)
    assert client.connack.reason == r.CLIENT_IDENTIFIER_NOT_VALID


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_a_wrong_password_is_refused_without_telling_why(
    node: MqttNode, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    """MQTT-3.1.4-2."""
    client = await node.client("c", version, username="guest", password=b"wrong-secret")
    assert client.connack.reason == r.BAD_USER_NAME_OR_PASSWORD
    await client.closed()
    assert "127.0.0.1:" in caplog.text
    assert "guest" in caplog.text
    assert "wrong-secret" not in caplog.text


async def test_the_username_may_name_the_vhost(node: MqttNode) -> None:
    node.broker.add_vhost("fleet")
    refused = await node.client("c", username="fleet:guest", password=b"guest")
    assert refused.connack.reason == r.NOT_AUTHORIZED
    node.broker.set_permission(Permission("guest", "fleet", ".*", ".*", ".*"))
    client = await node.client("c", username="fleet:guest", password=b"guest")
    assert client.connack.reason == 0
    (info,) = node.broker.connections.values()
    assert info.details()["vhost"] == "fleet"
    assert info.details()["user"] == "guest"


async def test_an_unknown_vhost_is_not_authorized(node: MqttNode) -> None:
    client = await node.client("c", username="nowhere:guest", password=b"guest")
    assert client.connack.reason == r.NOT_AUTHORIZED


async def test_vhosts_do_not_see_each_other(node: MqttNode) -> None:
    node.broker.add_vhost("fleet")
    node.broker.set_permission(Permission("guest", "fleet", ".*", ".*", ".*"))
    here = await node.client("same")
    there = await node.client("same", username="fleet:guest", password=b"guest")
    await here.subscribe("t")
    await there.subscribe("t")
    here.publish("t", b"here")
    assert (await here.receive()).body == b"here"
    await there.silent()


async def test_enhanced_authentication_is_refused(node: MqttNode) -> None:
    """MQTT-4.12.0-1."""
    client = await node.client("c", c.V5, properties={p.AUTHENTICATION_METHOD: "SCRAM-SHA-1"})
    assert client.connack.reason == r.BAD_AUTHENTICATION_METHOD


async def test_an_auth_packet_out_of_the_blue_is_a_protocol_error(node: MqttNode) -> None:
    """MQTT-4.12.0-6."""
    client = await node.client("c", c.V5)
    client.send(b"\xf0\0")
    assert await client.disconnected() == r.PROTOCOL_ERROR


async def test_a_publish_without_permission(node: MqttNode) -> None:
    """v5 is told by PUBACK and PUBREC, v3 is closed [MQTT-3.3.5-2]."""
    node.broker.set_user("reader", "pw", [])
    node.broker.set_permission(Permission("reader", "/", ".*", "^mqtt-subscription-.*", ".*"))
    client = await node.client("r5", c.V5, username="reader", password=b"pw")
    assert await client.published("t", b"x") == r.NOT_AUTHORIZED
    assert await client.subscribe("t") == [0]
    old = await node.client("r4", c.V311, username="reader", password=b"pw")
    old.publish("t", b"x", 1)
    await old.closed()


async def test_a_subscription_without_permission(node: MqttNode) -> None:
    """MQTT-3.8.4: 0x87, or 0x80 of MQTT 3."""
    node.broker.set_user("writer", "pw", [])
    node.broker.set_permission(Permission("writer", "/", "", ".*", ""))
    client = await node.client("w5", c.V5, username="writer", password=b"pw")
    assert await client.subscribe("t") == [r.NOT_AUTHORIZED]
    old = await node.client("w4", c.V311, username="writer", password=b"pw")
    assert await old.subscribe("t") == [0x80]


async def test_a_connection_without_connect_is_closed(node: MqttNode) -> None:
    node.service.limits = MqttLimits(connect_timeout_s=0.05)
    client = await node.raw()
    await client.closed()


async def test_a_silent_client_is_disconnected_after_one_and_a_half_keep_alives(node: MqttNode) -> None:
    """MQTT-3.1.2-22."""
    client = await node.client("c", c.V5, keep_alive_s=1)
    started = asyncio.get_running_loop().time()
    assert await client.disconnected() == r.KEEP_ALIVE_TIMEOUT
    assert 1.4 < asyncio.get_running_loop().time() - started < 2.5


async def test_a_client_that_pings_stays(node: MqttNode) -> None:
    client = await node.client("c", c.V311, keep_alive_s=1)
    for _ in range(5):
        await asyncio.sleep(0.5)
        client.send(b"\xc0\0")
        await client.expect(Pingresp)


async def test_the_server_may_shorten_the_keep_alive(node: MqttNode) -> None:
    """MQTT-3.2.2-21."""
    node.service.limits = MqttLimits(keep_alive_max_s=60)
    client = await node.client("c", c.V5, keep_alive_s=120)
    assert client.connack.properties[p.SERVER_KEEP_ALIVE] == 60
    short = await node.client("d", c.V5, keep_alive_s=30)
    assert p.SERVER_KEEP_ALIVE not in short.connack.properties


async def test_a_second_connection_takes_over(node: MqttNode) -> None:
    """MQTT-3.1.4-3."""
    first = await node.client("c", c.V5)
    second = await node.client("c", c.V5)
    assert await first.disconnected() == r.SESSION_TAKEN_OVER
    assert len(node.broker.connections) == 1
    await second.subscribe("t")
    second.publish("t", b"alive")
    assert (await second.receive()).body == b"alive"


async def test_takeover_keeps_a_persistent_session_and_what_was_in_flight(node: MqttNode) -> None:
    first = await node.client("c", clean=False)
    await first.subscribe("t", qos=1)
    await (await node.client("p")).published("t", b"held")
    sent = await first.receive(ack=False)
    second = await node.client("c", clean=False)
    await first.closed()
    assert second.connack.session_present
    again = await second.receive()
    assert (again.body, again.packet_id) == (b"held", sent.packet_id)


async def test_a_connection_shows_as_rabbitmq_shows_it(node: MqttNode) -> None:
    await node.client("drone", c.V311, keep_alive_s=30)
    ((name, info),) = node.broker.connections.items()
    details = info.details()
    assert details["name"] == name
    assert details["protocol"] == "MQTT 3.1.1"
    assert details["variable_map"] == {"client_id": "drone"}
    assert details["timeout"] == 30
    assert details["peer_host"] == "127.0.0.1"
    assert details["port"] == node.port


async def test_a_stopping_node_says_so(node: MqttNode) -> None:
    client = await node.client("c", c.V5)
    (info,) = node.broker.connections.values()
    info.shut_down("the node is stopping")
    assert await client.disconnected() == r.SERVER_SHUTTING_DOWN
    assert not node.broker.connections


async def test_nothing_after_disconnect_is_looked_at(node: MqttNode) -> None:
    """MQTT-3.14.4-1."""
    listener = await node.client("l")
    await listener.subscribe("t")
    client = await node.client("c")
    client.send(b"\xe0\0" + b"\x30\x04\0\x01tx")
    await client.closed()
    await listener.silent()


async def test_packets_sent_behind_connect_are_processed(node: MqttNode) -> None:
    """MQTT-3.1.4-6: a client need not wait for CONNACK."""
    listener = await node.client("l")
    await listener.subscribe("t")
    client = await node.raw()
    client.machine._decoder.version = c.V311
    client.send(b"\x10\x0d\0\x04MQTT\x04\x00\0\0\0\x01c" + b"\x30\x04\0\x01tx" + b"\xc0\0")
    await client.expect(Connack)
    await client.expect(Pingresp)
    assert (await listener.receive()).body == b"x"


async def test_a_dollar_topic_is_taken_and_the_connection_kept(node: MqttNode) -> None:
    client = await node.client("c", c.V5)
    client.publish("$TopicA/B", b"x")
    client.send(b"\xc0\0")
    await client.expect(Pingresp)


async def test_a_client_that_goes_on_sending_still_reads_why_it_was_disconnected(node: MqttNode) -> None:
    """Closing with bytes unread would reset the connection and lose the DISCONNECT."""
    client = await node.client("c", c.V5)
    client.send(b"\xff\0")
    for _ in range(100):
        client.send(b"\x30\xe8\x07\0\x01t\0" + bytes(996))
        await asyncio.sleep(0)
    assert await client.disconnected() == r.MALFORMED_PACKET


async def test_a_client_that_waits_for_its_connack_is_not_read(
    node: MqttNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may keep it waiting for long, and what it sends would pile up in RAM."""
    waiting: list[Callable[[], None]] = []
    with monkeypatch.context() as patch:
        patch.setattr(node.broker, "after_commit", lambda callback, **_: waiting.append(callback))
        client = await node.raw()
        client.send(client.machine.connect(Connect(c.V311, "eager", False, 0, None, None, None, {})))
        while not waiting:  # noqa: ASYNC110 -- nobody sets an event
            await asyncio.sleep(0.001)
        (protocol,) = node.service.connected.values()
        received = protocol.bytes_received
        client.publish("t", bytes(100_000))
        await asyncio.sleep(0.05)
        assert protocol.bytes_received == received
    waiting[0]()
    client.connack = await client.expect(Connack)
    assert await client.subscribe("t") == [0]
