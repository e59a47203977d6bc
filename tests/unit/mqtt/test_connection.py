"""The machine of either role, wired to itself."""

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, Message
from mqtt import constants as c
from mqtt import encode
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.connection import Connection
from mqtt.filters import WireCache
from mqtt.packets import AckRun, Connack, Connect, Disconnect, Event, Pingreq, PublishRun
from mqtt.properties import Properties
from mqtt.reasons import ConnectRefused


class ConnectionPair:
    """A client and a server machine; what one sends the other receives."""

    def __init__(
        self, version: int = c.V5, properties: Properties | None = None, answer: Properties | None = None
    ) -> None:
        self.client = Connection(c.CLIENT, WireCache())
        self.server = Connection(c.SERVER, WireCache())
        connect = Connect(version, "pair", keep_alive_s=30, properties=properties or {})
        self.seen = self.server.receive(self.client.connect(connect))
        self.server.learn_peer(connect)
        connack = Connack(properties=answer or {})
        self.answer = self.client.receive(self.server.accept(connack, c.TOPIC_ALIAS_MAX, c.PACKET_BYTES_MAX))


@pytest.mark.parametrize("version", [c.V31, c.V311, c.V5])
def test_a_connection_opens_on_both_sides(version: int) -> None:
    pair = ConnectionPair(version)
    assert isinstance(pair.seen[0], Connect)
    assert pair.answer == [Connack()]
    assert pair.client.is_open
    assert pair.server.is_open
    assert pair.server.version == version
    assert pair.server.keep_alive_s == 30


@pytest.mark.parametrize("version", [c.V311, c.V5])
def test_a_run_of_publishes_and_its_acknowledgements_cross(version: int) -> None:
    pair = ConnectionPair(version)
    cache = WireCache()
    messages = [Message("", f"k.{i}", b"", b"%d" % i, FORM_MQTT, PERSISTENT) for i in range(100)]
    packet_ids = list(range(1, 101))
    raw = b"".join(encode.encode_publishes(version, messages, packet_ids, cache, 1, 0))
    (run,) = pair.server.receive(raw)
    assert isinstance(run, PublishRun)
    assert [m.routing_key for m in run.messages] == [f"k.{i}" for i in range(100)]
    assert [m.body for m in run.messages] == [b"%d" % i for i in range(100)]
    assert pair.client.receive(pair.server.acknowledge(c.PUBACK, run.packet_ids)) == [
        AckRun(c.PUBACK, packet_ids, {})
    ]


def test_what_comes_behind_a_connect_waits_for_the_decision() -> None:
    """A client may send before CONNACK [MQTT-3.1.4-6]; nothing of it counts if it is refused."""
    server = Connection(c.SERVER, WireCache())
    client = Connection(c.CLIENT, WireCache())
    events = server.receive(client.connect(Connect(c.V311, "c")) + b"\xc0\0\x30")
    assert len(events) == 1
    assert server.receive(b"\x03\0\x01") == []
    server.accept(Connack(), 0, 1000)
    assert server.receive(b"") == [Pingreq()]
    (run,) = server.receive(b"a")
    assert isinstance(run, PublishRun)


def test_limits_of_both_sides_are_learned() -> None:
    pair = ConnectionPair(
        properties={p.RECEIVE_MAXIMUM: 7, p.MAXIMUM_PACKET_SIZE: 99, p.TOPIC_ALIAS_MAXIMUM: 3},
        answer={p.RECEIVE_MAXIMUM: 9, p.SERVER_KEEP_ALIVE: 60, p.TOPIC_ALIAS_MAXIMUM: 16},
    )
    assert (pair.server.peer_receive_max, pair.server.peer_packet_bytes_max, pair.server.peer_alias_max) == (
        7,
        99,
        3,
    )
    assert (pair.client.peer_receive_max, pair.client.keep_alive_s, pair.client.peer_alias_max) == (9, 60, 16)


def test_more_publishes_than_receive_maximum_are_a_fault() -> None:
    """MQTT-3.3.4-9."""
    pair = ConnectionPair(answer={p.RECEIVE_MAXIMUM: 2})
    publish = b"\x32\x07\0\x01a\0%c\0x"
    (run,) = pair.server.receive(publish % 1 + publish % 2)
    assert isinstance(run, PublishRun)
    assert pair.server.fault is None
    pair.server.acknowledge(c.PUBACK, [1])
    pair.server.receive(publish % 3)
    assert pair.server.fault is None
    pair.server.receive(publish % 4)
    assert pair.server.fault is not None
    assert pair.server.fault.reason == r.RECEIVE_MAXIMUM_EXCEEDED


def test_a_refused_version_3_client_gets_its_own_codes() -> None:
    """MQTT 3.1.1 table 3.1; a reason without a code closes the connection bare [MQTT-3.1.4-1]."""
    server = Connection(c.SERVER, WireCache())
    server.receive(Connection(c.CLIENT, WireCache()).connect(Connect(c.V311, "c")))
    assert server.refuse(r.BAD_USER_NAME_OR_PASSWORD) == b"\x20\x02\0\x04"
    assert server.refuse(r.MALFORMED_PACKET) == b""


def test_an_unknown_protocol_level_is_refused_not_faulted() -> None:
    """MQTT 3.1.1 [MQTT-3.1.2-2]: CONNACK 0x01; a level above 5 gets MQTT 5's 0x84."""
    for level in (2, 6, 99):
        server = Connection(c.SERVER, WireCache())
        server.receive(b"\x10\x0c\0\x04MQTT%c\x02\0\0\0\0" % level)
        assert isinstance(server.fault, ConnectRefused)
        expected = b"\x20\x03\0\x84\0" if level > 5 else b"\x20\x02\0\x01"
        assert server.refuse(server.fault.reason) == expected


def test_a_version_3_server_cannot_say_why_it_closes() -> None:
    assert ConnectionPair(c.V311).server.disconnect(r.SESSION_TAKEN_OVER) == b""
    pair = ConnectionPair(c.V5)
    events: list[Event] = pair.client.receive(pair.server.disconnect(r.SESSION_TAKEN_OVER, "elsewhere"))
    assert events == [Disconnect(r.SESSION_TAKEN_OVER, {p.REASON_STRING: "elsewhere"})]


def test_a_client_faults_a_server_that_speaks_before_connack() -> None:
    """MQTT-3.2.0-1."""
    client = Connection(c.CLIENT, WireCache())
    client.connect(Connect(c.V311, "c"))
    client.receive(b"\xd0\0")
    assert client.fault is not None


def test_a_client_faults_a_second_connack() -> None:
    """MQTT-3.2.0-2."""
    pair = ConnectionPair()
    pair.client.receive(b"\x20\x03\0\0\0")
    assert pair.client.fault is not None


def test_a_reason_string_that_the_peer_cannot_take_is_left_out() -> None:
    """MQTT-3.2.2-19, MQTT-3.14.2-3."""
    pair = ConnectionPair(properties={p.MAXIMUM_PACKET_SIZE: 20})
    assert pair.server.disconnect(r.QUOTA_EXCEEDED, "x" * 50) == b"\xe0\x01\x97"
    assert len(pair.server.disconnect(r.QUOTA_EXCEEDED, "short")) > 3
    assert len(pair.server.refuse(r.NOT_AUTHORIZED, "x" * 50)) == 5
