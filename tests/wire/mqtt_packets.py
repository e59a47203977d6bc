"""Named MQTT packets as they stand on the wire, used by the codec's, the machine's and the server's tests.

`WELL_FORMED`: what the codec must read and write; `MALFORMED`: what must end the connection, with its reason code.
Statement numbers are those of MQTT 5.0 unless the case is of version 3.
"""

from typing import NamedTuple

from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)


class Case(NamedTuple):
    name: str
    version: int
    sender: int
    raw: bytes
    packet: Packet


class Fault(NamedTuple):
    name: str
    version: int
    raw: bytes
    reason: int


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first, len(body))) + body


WELL_FORMED = [
    Case(
        "v3.1 connect",
        c.V31,
        c.CLIENT,
        _packet(0x10, b"\0\x06MQIsdp\x03\x02\0\x3c\0\x03dev"),
        Connect(c.V31, "dev", True, 60),
    ),
    Case(
        "v3.1.1 connect with an empty client id",
        c.V311,
        c.CLIENT,
        _packet(0x10, b"\0\x04MQTT\x04\x02\0\x0a\0\0"),
        Connect(c.V311, "", True, 10),
    ),
    Case(
        "v3.1.1 connect of a bridge",
        c.V311,
        c.CLIENT,
        _packet(0x10, b"\0\x04MQTT\x84\x00\0\x0a\0\x01b"),
        Connect(c.V311, "b", False, 10, is_bridge=True),
    ),
    Case(
        "v3.1.1 connect with will, user name and password",
        c.V311,
        c.CLIENT,
        _packet(0x10, b"\0\x04MQTT\x04\xf6\0\x0a\0\x01d\0\x03w/t\0\x04gone\0\x01u\0\x02pw"),
        Connect(c.V311, "d", True, 10, "u", b"pw", Will("w/t", b"gone", 2, True)),
    ),
    Case(
        "v5 connect with properties and a delayed will",
        c.V5,
        c.CLIENT,
        _packet(
            0x10,
            b"\0\x04MQTT\x05\x0c\0\x0a"
            b"\x10\x11\0\0\0\x1e\x21\0\x14\x22\0\x05\x27\0\0\x10\0"
            b"\0\x02id"
            b"\x0a\x18\0\0\0\x05\x02\0\0\0\x07"
            b"\0\x01w\0\x02by",
        ),
        Connect(
            c.V5,
            "id",
            False,
            10,
            None,
            None,
            Will("w", b"by", 1, False, b"", 5, 7000),
            {
                p.SESSION_EXPIRY_INTERVAL: 30,
                p.RECEIVE_MAXIMUM: 20,
                p.TOPIC_ALIAS_MAXIMUM: 5,
                p.MAXIMUM_PACKET_SIZE: 4096,
            },
        ),
    ),
    Case(
        "v5 connect with a password and no user name",
        c.V5,
        c.CLIENT,
        _packet(0x10, b"\0\x04MQTT\x05\x42\0\0\0\0\x01t\0\x03tok"),
        Connect(c.V5, "t", True, 0, None, b"tok"),
    ),
    Case("v3.1.1 connack", c.V311, c.SERVER, b"\x20\x02\x01\x00", Connack(True, 0)),
    Case(
        "v3.1.1 connack not authorized", c.V311, c.SERVER, b"\x20\x02\0\x05", Connack(False, r.NOT_AUTHORIZED)
    ),
    Case(
        "v5 connack with an assigned client id",
        c.V5,
        c.SERVER,
        _packet(0x20, b"\0\0\x06\x12\0\x03a-1"),
        Connack(False, 0, {p.ASSIGNED_CLIENT_IDENTIFIER: "a-1"}),
    ),
    Case(
        "v3.1.1 subscribe to two filters",
        c.V311,
        c.CLIENT,
        _packet(0x82, b"\0\x0a\0\x03a/b\x01\0\x03c/#\x02"),
        Subscribe(10, [Subscription("a/b", 1), Subscription("c/#", 2)]),
    ),
    Case(
        "v5 subscribe with options and an identifier",
        c.V5,
        c.CLIENT,
        _packet(0x82, b"\0\x0a\x03\x0b\xc8\x01\0\x01+\x2e"),
        Subscribe(10, [Subscription("+", 2, True, True, 2, 200)], {p.SUBSCRIPTION_IDENTIFIER: 200}),
    ),
    Case("v3.1.1 suback", c.V311, c.SERVER, b"\x90\x05\0\x0a\0\x02\x80", Suback(10, [0, 2, 0x80])),
    Case("v5 suback", c.V5, c.SERVER, b"\x90\x04\0\x0a\0\x87", Suback(10, [0x87])),
    Case("v3.1.1 unsubscribe", c.V311, c.CLIENT, _packet(0xA2, b"\0\x02\0\x01a"), Unsubscribe(2, ["a"])),
    Case(
        "v5 unsubscribe with user properties in order",
        c.V5,
        c.CLIENT,
        _packet(0xA2, b"\0\x02\x15\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x26\0\x01b\0\x013\0\x01a"),
        Unsubscribe(2, ["a"], {p.USER_PROPERTY: [("b", "1"), ("a", "2"), ("b", "3")]}),
    ),
    Case("v3.1.1 unsuback", c.V311, c.SERVER, b"\xb0\x02\0\x02", Unsuback(2)),
    Case("v5 unsuback", c.V5, c.SERVER, b"\xb0\x04\0\x02\0\x11", Unsuback(2, [0x11])),
    Case("pingreq", c.V311, c.CLIENT, b"\xc0\0", Pingreq()),
    Case("pingresp", c.V311, c.SERVER, b"\xd0\0", Pingresp()),
    Case("v3.1.1 disconnect", c.V311, c.CLIENT, b"\xe0\0", Disconnect()),
    Case("v5 disconnect without a reason", c.V5, c.CLIENT, b"\xe0\0", Disconnect()),
    Case("v5 disconnect with will", c.V5, c.CLIENT, b"\xe0\x01\x04", Disconnect(4)),
    Case(
        "v5 disconnect with a session expiry",
        c.V5,
        c.CLIENT,
        _packet(0xE0, b"\0\x05\x11\0\0\0\0"),
        Disconnect(0, {p.SESSION_EXPIRY_INTERVAL: 0}),
    ),
    Case(
        "v5 auth",
        c.V5,
        c.CLIENT,
        _packet(0xF0, b"\x19\x09\x15\0\x01m\x16\0\x02ab"),
        Auth(0x19, {p.AUTHENTICATION_METHOD: "m", p.AUTHENTICATION_DATA: b"ab"}),
    ),
]

_HEAD4 = b"\0\x04MQTT\x04"
_HEAD5 = b"\0\x04MQTT\x05"

BAD_CONNECTS = [
    Fault("first packet is not CONNECT [MQTT-3.1.0-1]", 0, b"\xc0\0", r.PROTOCOL_ERROR),
    Fault("publish before CONNECT [MQTT-3.1.0-1]", 0, b"\x30\x04\0\x01ax", r.PROTOCOL_ERROR),
    Fault("puback before CONNECT [MQTT-3.1.0-1]", 0, b"\x40\x02\0\x01", r.PROTOCOL_ERROR),
    Fault("wrong protocol name [MQTT-3.1.2-1]", 0, _packet(0x10, b"\0\x04HTTP\x04\x02\0\0\0\0"), 0x84),
    Fault("reserved connect flag [MQTT-3.1.2-3]", 0, _packet(0x10, _HEAD4 + b"\x03\0\0\0\0"), 0x81),
    Fault("will QoS without will [MQTT-3.1.2-11]", 0, _packet(0x10, _HEAD4 + b"\x0a\0\0\0\0"), 0x81),
    Fault("will retain without will [MQTT-3.1.2-13]", 0, _packet(0x10, _HEAD5 + b"\x22\0\0\0\0\0"), 0x81),
    Fault("will QoS 3 [MQTT-3.1.2-12]", 0, _packet(0x10, _HEAD4 + b"\x1e\0\0\0\0\0\x01a\0\0"), 0x81),
    Fault(
        "v3 password without user [MQTT-3.1.2-22]", 0, _packet(0x10, _HEAD4 + b"\x42\0\0\0\0\0\x01p"), 0x81
    ),
    Fault("connect with bytes behind it", 0, _packet(0x10, _HEAD4 + b"\x02\0\0\0\0x"), 0x81),
    Fault("connect cut short", 0, _packet(0x10, _HEAD4 + b"\x02\0\0\0\x05ab"), 0x81),
    Fault("connect with wrong fixed flags [MQTT-2.1.3-1]", 0, _packet(0x11, _HEAD4 + b"\x02\0\0\0\0"), 0x81),
    Fault("client id not UTF-8 [MQTT-1.5.4-1]", 0, _packet(0x10, _HEAD4 + b"\x02\0\0\0\x02\xc3\x28"), 0x81),
    Fault("client id with U+0000 [MQTT-1.5.4-2]", 0, _packet(0x10, _HEAD4 + b"\x02\0\0\0\x01\0"), 0x81),
    Fault("client id with a surrogate", 0, _packet(0x10, _HEAD4 + b"\x02\0\0\0\x03\xed\xa0\x80"), 0x81),
    Fault("receive maximum 0", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x03\x21\0\0\0\0"), 0x82),
    Fault("maximum packet size 0", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x05\x27\0\0\0\0\0\0"), 0x82),
    Fault("property twice", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x06\x21\0\x01\x21\0\x01\0\0"), 0x82),
    Fault("property of another packet", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x03\x23\0\x01\0\0"), 0x82),
    Fault("unknown property", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x02\x7f\0\0\0"), 0x81),
    Fault("auth data without a method", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x04\x16\0\x01a\0\0"), 0x82),
    Fault("request problem information 2", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x02\x17\x02\0\0"), 0x82),
    Fault("property length past the packet", 0, _packet(0x10, _HEAD5 + b"\x02\0\0\x7f\0\0"), 0x81),
    Fault("connect over 64 KiB before login", 0, b"\x10\x80\x80\x08", r.PACKET_TOO_LARGE),
]

BAD_PACKETS = [
    Fault("remaining length of five bytes", c.V311, b"\x30\xff\xff\xff\xff\x01", 0x81),
    Fault("remaining length not in its shortest form [MQTT-1.5.5-1]", c.V5, b"\x30\x85\0\0\x01a\0x", 0x81),
    Fault(
        "remaining length not in its shortest form, behind a publish like it [MQTT-1.5.5-1]",
        c.V5,
        b"\x30\x9a\x01\0\x01a\0" + b"x" * 150 + b"\x30\x85\0\0\x01a\0x",
        0x81,
    ),
    Fault("packet type 0", c.V5, b"\0\0", 0x81),
    Fault("v3 auth", c.V311, b"\xf0\0", 0x81),
    Fault("second connect [MQTT-3.1.0-2]", c.V311, _packet(0x10, _HEAD4 + b"\x02\0\0\0\0"), 0x82),
    Fault("publish of QoS 3 [MQTT-3.3.1-4]", c.V5, b"\x36\x05\0\x01a\0\x01", 0x81),
    Fault("publish with DUP at QoS 0 [MQTT-3.3.1-2]", c.V311, b"\x38\x04\0\x01ax", 0x81),
    Fault("publish with a wildcard # [MQTT-3.3.2-2]", c.V311, b"\x30\x03\0\x01#", 0x90),
    Fault("publish with a wildcard + [MQTT-3.3.2-2]", c.V5, b"\x30\x04\0\x01+\0", 0x90),
    Fault("v3 publish with an empty topic [MQTT-4.7.3-1]", c.V311, b"\x30\x02\0\0", 0x90),
    Fault("v5 publish without topic and alias", c.V5, b"\x30\x03\0\0\0", 0x90),
    Fault("publish topic not UTF-8 [MQTT-3.3.2-1]", c.V311, b"\x30\x04\0\x02\xc3\x28", 0x81),
    Fault("publish topic with U+0000 [MQTT-4.7.3-2]", c.V311, b"\x30\x03\0\x01\0", 0x81),
    Fault("publish topic longer than the packet", c.V311, b"\x30\x04\0\x09ab", 0x81),
    Fault("publish with packet id 0 [MQTT-2.2.1-3]", c.V311, b"\x32\x05\0\x01a\0\0", 0x81),
    Fault("publish of QoS 1 without packet id", c.V311, b"\x32\x03\0\x01a", 0x81),
    Fault("v5 publish without property length", c.V5, b"\x30\x03\0\x01a", 0x81),
    Fault("v5 publish with subscription identifier", c.V5, b"\x30\x06\0\x01a\x02\x0b\x01", 0x82),
    Fault("v5 publish with topic alias 0 [MQTT-3.3.2-8]", c.V5, b"\x30\x07\0\x01a\x03\x23\0\0", 0x94),
    Fault("v5 publish with alias above the maximum", c.V5, b"\x30\x07\0\x01a\x03\x23\0\xff", 0x94),
    Fault("v5 publish with an alias never set", c.V5, b"\x30\x06\0\0\x03\x23\0\x01", 0x82),
    Fault("v5 publish with wildcard response topic", c.V5, b"\x30\x08\0\x01a\x04\x08\0\x01#", 0x82),
    Fault("v5 publish with expiry twice", c.V5, b"\x30\x0e\0\x01a\x0a\x02\0\0\0\x01\x02\0\0\0\x01", 0x82),
    Fault("v5 publish with payload format 2", c.V5, b"\x30\x06\0\x01a\x02\x01\x02", 0x82),
    Fault("property length not in its shortest form", c.V5, b"\x30\x05\0\x01a\x80\0", 0x81),
    Fault("puback with packet id 0", c.V311, b"\x40\x02\0\0", 0x81),
    Fault("v3 puback of three bytes", c.V311, b"\x40\x03\0\x01\0", 0x81),
    Fault("puback with wrong flags [MQTT-2.1.3-1]", c.V311, b"\x41\x02\0\x01", 0x81),
    Fault("pubrel with wrong flags [MQTT-3.6.1-1]", c.V311, b"\x60\x02\0\x01", 0x81),
    Fault("pubrel without packet id", c.V5, b"\x62\x01\x01", 0x81),
    Fault("subscribe with wrong flags [MQTT-3.8.1-1]", c.V311, b"\x80\x06\0\x01\0\x01a\0", 0x81),
    Fault("subscribe with packet id 0", c.V311, b"\x82\x06\0\0\0\x01a\0", 0x81),
    Fault("subscribe without a filter [MQTT-3.8.3-2]", c.V311, b"\x82\x02\0\x01", 0x82),
    Fault("subscribe without options", c.V311, b"\x82\x05\0\x01\0\x01a", 0x81),
    Fault("v3 subscribe with reserved bits [MQTT-3-8.3-4]", c.V311, b"\x82\x06\0\x01\0\x01a\x04", 0x81),
    Fault("v5 subscribe with reserved bits [MQTT-3.8.3-5]", c.V5, b"\x82\x07\0\x01\0\0\x01a\x40", 0x81),
    Fault("subscribe of QoS 3", c.V311, b"\x82\x06\0\x01\0\x01a\x03", 0x82),
    Fault("subscribe with retain handling 3", c.V5, b"\x82\x07\0\x01\0\0\x01a\x30", 0x82),
    Fault("no local on a shared subscription", c.V5, b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04", 0x82),
    Fault("subscription identifier 0", c.V5, b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", 0x82),
    Fault("unsubscribe without a filter [MQTT-3.10.3-2]", c.V5, b"\xa2\x03\0\x01\0", 0x82),
    Fault("unsubscribe with wrong flags [MQTT-3.10.1-1]", c.V311, b"\xa0\x05\0\x01\0\x01a", 0x81),
    Fault("subscribe filter not UTF-8 [MQTT-3.8.3-1]", c.V311, b"\x82\x06\0\x01\0\x01\xff\0", 0x81),
    Fault("unsubscribe filter not UTF-8 [MQTT-3.10.3-1]", c.V5, b"\xa2\x06\0\x01\0\0\x01\xff", 0x81),
    Fault("v5 response topic not UTF-8 [MQTT-3.3.2-13]", c.V5, b"\x30\x08\0\x01a\x04\x08\0\x01\xff", 0x81),
    Fault("v5 content type not UTF-8 [MQTT-3.3.2-19]", c.V5, b"\x30\x08\0\x01a\x04\x03\0\x01\xff", 0x81),
    Fault("v5 user property not UTF-8 [MQTT-1.5.7-1]", c.V5, b"\x30\x0a\0\x01a\x06\x26\0\0\0\x01\xff", 0x81),
    Fault("auth with wrong flags [MQTT-3.15.1-1]", c.V5, b"\xf1\0", 0x81),
    Fault("pingreq with a payload", c.V311, b"\xc0\x01x", 0x81),
    Fault("v3 disconnect with a payload", c.V311, b"\xe0\x01\0", 0x81),
    Fault("disconnect with wrong flags [MQTT-3.14.1-1]", c.V5, b"\xe1\0", 0x81),
    Fault("connack from a client", c.V311, b"\x20\x02\0\0", 0x82),
    Fault("suback from a client", c.V311, b"\x90\x03\0\x01\0", 0x82),
    Fault("unsuback from a client", c.V311, b"\xb0\x02\0\x01", 0x82),
    Fault("pingresp from a client", c.V311, b"\xd0\0", 0x82),
    Fault("packet over the maximum size", c.V5, b"\x30\xff\xff\xff\x7f", r.PACKET_TOO_LARGE),
]

PUBLISHES = {
    "v3 publish of QoS 0": (c.V311, b"\x30\x07\0\x03a/bhi"),
    "v3 publish of QoS 1, retained": (c.V311, b"\x33\x09\0\x03a/b\0\x07hi"),
    "v3 publish of QoS 2, repeated": (c.V311, b"\x3c\x09\0\x03a/b\0\x08hi"),
    "v3 publish with an empty payload": (c.V311, b"\x30\x05\0\x03a/b"),
    "v5 publish of QoS 0": (c.V5, b"\x30\x08\0\x03a/b\0hi"),
    "v5 publish with expiry and user properties": (
        c.V5,
        b"\x32\x1d\0\x03a/b\0\x09\x13\x02\0\0\0\x3c\x26\0\x01k\0\x01v\x26\0\x01k\0\x01whi",
    ),
    "v5 publish that sets an alias": (c.V5, b"\x30\x0b\0\x03a/b\x03\x23\0\x01hi"),
    "v5 publish with a correlation": (c.V5, b"\x30\x14\0\x03a/b\x0c\x08\0\x03r/t\x09\0\x03\0\1\2hi"),
}
