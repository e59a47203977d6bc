"""MQTT 5 properties: every one there and back, and what a PUBLISH's block says to whom."""

import pytest

from mqtt import constants as c
from mqtt import properties as p
from mqtt.properties import Properties, decode_properties, encode_properties, split_publish_properties
from mqtt.reasons import PeerError

VALUES: list[tuple[int, Properties]] = [
    (c.PUBLISH, {p.PAYLOAD_FORMAT_INDICATOR: 1}),
    (c.PUBLISH, {p.MESSAGE_EXPIRY_INTERVAL: 4_294_967_295}),
    (c.PUBLISH, {p.CONTENT_TYPE: "text/plain"}),
    (c.PUBLISH, {p.RESPONSE_TOPIC: "r/t"}),
    (c.PUBLISH, {p.CORRELATION_DATA: b"\0\xff"}),
    (c.PUBLISH, {p.SUBSCRIPTION_IDENTIFIER: [1, 268_435_455]}),
    (c.SUBSCRIBE, {p.SUBSCRIPTION_IDENTIFIER: 128}),
    (c.CONNECT, {p.SESSION_EXPIRY_INTERVAL: 0, p.REQUEST_PROBLEM_INFORMATION: 0}),
    (c.CONNECT, {p.AUTHENTICATION_METHOD: "m", p.AUTHENTICATION_DATA: b""}),
    (c.WILL, {p.WILL_DELAY_INTERVAL: 5}),
    (c.CONNACK, {p.ASSIGNED_CLIENT_IDENTIFIER: "x", p.SERVER_KEEP_ALIVE: 60, p.MAXIMUM_QOS: 1}),
    (c.CONNACK, {p.RESPONSE_INFORMATION: "i", p.SERVER_REFERENCE: "s", p.RETAIN_AVAILABLE: 0}),
    (c.PUBACK, {p.REASON_STRING: "why", p.USER_PROPERTY: [("k", "v"), ("a", ""), ("k", "w")]}),
]


@pytest.mark.parametrize(("kind", "properties"), VALUES)
def test_properties_make_the_round_trip(kind: int, properties: Properties) -> None:
    encoded = encode_properties(properties)
    assert decode_properties(encoded, 0, len(encoded), kind) == (properties, len(encoded))


@pytest.mark.parametrize(("kind", "properties"), VALUES)
def test_a_block_cut_short_is_malformed(kind: int, properties: Properties) -> None:
    encoded = encode_properties(properties)
    for cut in range(len(encoded)):
        with pytest.raises(PeerError):
            decode_properties(encoded[:cut], 0, cut, kind)
        if cut:
            shorter = bytes((cut - 1,)) + encoded[1:cut]
            try:
                found, _ = decode_properties(shorter, 0, cut, kind)
            except PeerError:
                continue
            assert found != properties


def test_a_publish_block_is_split() -> None:
    """What belongs to the connection goes out, user properties keep their order [MQTT-3.3.2-18]."""
    user = b"\x26\0\x01b\0\x011\x26\0\x01a\0\x012"
    block = b"\x23\0\x05" + user + b"\x02\0\0\0\x02" + b"\x03\0\x01t"
    assert split_publish_properties(block, True) == (user + b"\x03\0\x01t", 5, 2000)
    assert split_publish_properties(b"\x02\0\0\0\0", True) == (b"", 0, 1)


def test_subscription_identifiers_are_dropped_from_a_server() -> None:
    assert split_publish_properties(b"\x0b\x01\x0b\x02\x03\0\x01t", False) == (b"\x03\0\x01t", 0, 0)


def test_what_does_not_fit_the_wire_is_a_value_error() -> None:
    for properties in ({p.CONTENT_TYPE: "x" * 65_536}, {p.SUBSCRIPTION_IDENTIFIER: [268_435_456]}):
        with pytest.raises(ValueError, match=r"fit|longer"):
            encode_properties(properties)  # type: ignore[arg-type]
