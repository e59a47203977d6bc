"""MQTT: CONNECT and CONNACK by statement, on raw bytes, where no unit test holds it already."""

import string
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.packets import Connack, Pingresp, Will
from tests.helpers.mqtt_node import MqttNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[MqttNode]:
    async with MqttNode(tmp_path / "node") as started:
        yield started


def packet(first: int, body: bytes) -> bytes:
    return bytes((first, len(body))) + body


V4 = b"\0\x04MQTT\x04"
V5 = b"\0\x04MQTT\x05"


@pytest.mark.parametrize("version", [c.V31, c.V311, c.V5])
async def test_client_identifiers_of_1_to_23_letters_and_digits_are_taken(
    node: MqttNode, version: int
) -> None:
    """MQTT-3.1.3-5; longer ones too, as Mosquitto and RabbitMQ take them, of version 3.1 as well."""
    every = string.digits + string.ascii_lowercase + string.ascii_uppercase
    for client_id in (every[:23], every[23:46], every[46:], every[:1], every, "with space/é$"):
        client = await node.client(client_id, version)
        assert client.connack.reason == r.SUCCESS
        assert client_id in {session.client_id for session in node.service.sessions.values()}
        await client.leave()


@pytest.mark.parametrize(
    "body",
    [
        V4 + b"\x82\0\0\0\x01c",  # user name flag, no user name
        V4 + b"\xc2\0\0\0\x01c\0\x01u",  # password flag, no password
        V5 + b"\x42\0\0\0\0\x01c",  # password flag alone, no password
        V4 + b"\x06\0\0\0\x01c",  # will flag, no will topic
        V4 + b"\x06\0\0\0\x01c\0\x01w",  # will flag, no will message
        V5 + b"\x06\0\0\0\0\x01c\0\x01w\0\0",  # will flag, no will properties: the topic is taken for them
        V4 + b"\x02\0\0\0\x01c\0\x01u",  # a user name without its flag
        V4 + b"\x02\0\0",  # no client identifier
        V4 + b"\x82\0\0\0\x01c\0\x01\xff",  # user name is not UTF-8
        V4 + b"\x06\0\0\0\x01c\0\x01\xff\0\0",  # will topic is not UTF-8
        V5 + b"\x02\0\0\x05\x26\0\x01k\0\x01\xff\0\x01c",  # a user property that is not UTF-8, and its length
    ],
)
async def test_fields_are_there_as_the_flags_say(node: MqttNode, body: bytes) -> None:
    """MQTT-3.1.2-9, -16 to -19, MQTT-3.1.3-1, -3, -4, -11, -12; of 3.1.1 MQTT-3.1.2-18 to -21, MQTT-3.1.3-10, -11.

    Closed without a CONNACK [MQTT-3.1.4-1], and never by a DISCONNECT [MQTT-3.14.0-1].
    """
    client = await node.raw()
    client.machine._decoder.version = body[6]
    client.send(packet(0x10, body))
    await client.closed()
    assert not node.service.sessions


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_nothing_behind_a_refused_connect_is_looked_at(node: MqttNode, version: int) -> None:
    """MQTT-3.1.4-6 (3.1.1: MQTT-3.1.4-5), MQTT-3.1.4-2, MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-3.2.2-8."""
    listener = await node.client("l")
    await listener.subscribe("#")
    client = await node.raw()
    client.machine._decoder.version = version
    properties = b"\0" if version == c.V5 else b""
    connect = packet(0x10, b"\0\x04MQTT%c\xc2\0\0" % version + properties + b"\0\x01c\0\x05guest\0\x03bad")
    client.send(connect + b"\x30\x05\0\x01ahi" + b"\xff\xff")
    connack = await client.expect(Connack)
    assert (connack.reason, connack.session_present) == (r.BAD_USER_NAME_OR_PASSWORD, False)
    await client.closed()
    await listener.silent()


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_session_present_says_whether_there_is_one(node: MqttNode, version: int) -> None:
    """MQTT-3.1.2-4 to -6, MQTT-3.2.2-2, MQTT-3.2.2-3; 3.1.1: MQTT-3.2.2-1 to -3."""
    lasting = {p.SESSION_EXPIRY_INTERVAL: 100} if version == c.V5 else None
    seen = []
    for clean in (False, False, True, False):
        client = await node.client("c", version, clean=clean, properties=lasting)
        seen.append(client.connack.session_present)
        await client.leave()
    assert seen == [False, True, False, version == c.V5], "a clean session of 3.1.1 leaves nothing"


async def test_the_first_bytes_of_an_answer_are_as_the_text_draws_them(node: MqttNode) -> None:
    """MQTT-3.2.2-1 (reserved bits), MQTT-2.2.2-1 (a length of properties where there are none)."""
    answers = {}
    for version, connect in (
        (c.V311, packet(0x10, V4 + b"\x02\0\0\0\x01a")),
        (c.V5, packet(0x10, V5 + b"\x02\0\0\0\0\x01b")),
    ):
        client = await node.raw()
        client.send(connect + packet(0x82, b"\0\x07" + (b"\0" if version == c.V5 else b"") + b"\0\x01t\0"))
        answers[version] = await client.read_raw(4 + 5 if version == c.V311 else 16 + 6)
    assert answers[c.V311] == b"\x20\x02\0\0" + b"\x90\x03\0\x07\0"
    assert answers[c.V5][:5] == b"\x20\x0e\0\0\x0b"
    assert answers[c.V5][16:] == b"\x90\x04\0\x07\0\0"


async def test_no_property_that_belongs_to_what_we_support_is_refused(node: MqttNode) -> None:
    """MQTT-3.2.2-9, -10, -12, -13: QoS 2 and retained messages are supported, so nothing says that they are not."""
    client = await node.client("c", c.V5, will=Will("w", b"", 2, True))
    assert client.connack.reason == r.SUCCESS
    for absent in (
        p.MAXIMUM_QOS,
        p.RETAIN_AVAILABLE,
        p.WILDCARD_SUBSCRIPTION_AVAILABLE,
        p.SUBSCRIPTION_IDENTIFIER_AVAILABLE,
        p.SHARED_SUBSCRIPTION_AVAILABLE,
        p.AUTHENTICATION_METHOD,
        p.SERVER_KEEP_ALIVE,
    ):
        assert absent not in client.connack.properties


async def test_a_reason_string_never_makes_a_refusal_too_large(node: MqttNode) -> None:
    """MQTT-3.2.2-19, MQTT-3.14.2-3."""
    for size, has_text in ((1_000, True), (20, False)):
        properties = {p.MAXIMUM_PACKET_SIZE: size}
        client = await node.client("c", c.V5, properties={**properties, p.AUTHENTICATION_METHOD: "X"})
        assert client.connack.reason == r.BAD_AUTHENTICATION_METHOD
        assert (p.REASON_STRING in client.connack.properties) is has_text
    # The client's machine faults what is too large.
    client = await node.client("c", c.V5, properties={p.MAXIMUM_PACKET_SIZE: 40})
    client.send(b"\xf0\0")
    assert await client.disconnected() == r.PROTOCOL_ERROR


async def test_a_pingreq_gets_its_pingresp_whatever_else_goes_on(node: MqttNode) -> None:
    """MQTT-3.12.4-1."""
    client = await node.client("c")
    client.send(b"\xc0\0" * 3)
    for _ in range(3):
        await client.expect(Pingresp)
