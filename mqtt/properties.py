"""MQTT 5 properties (section 2.2.2): one table, one decoder, one encoder.

Decoded properties are a dict from identifier to value; user properties are a list of pairs in the
order of the wire, subscription identifiers a list of ints. PUBLISH properties are not decoded on their way
through the node: `split_publish_properties` checks them once and takes out what belongs to the connection.
"""

from typing import Final

from mqtt import constants as c
from mqtt.fields import (
    binary,
    decode_utf8,
    read_binary,
    read_u16,
    read_u32,
    read_utf8,
    read_varint,
    utf8,
    varint,
)
from mqtt.reasons import (
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    TOPIC_ALIAS_INVALID,
    PeerError,
)

UserProperties = list[tuple[str, str]]
PropertyValue = int | str | bytes | UserProperties | list[int]
Properties = dict[int, PropertyValue]

PAYLOAD_FORMAT_INDICATOR: Final = 0x01
MESSAGE_EXPIRY_INTERVAL: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
SESSION_EXPIRY_INTERVAL: Final = 0x11
ASSIGNED_CLIENT_IDENTIFIER: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
AUTHENTICATION_METHOD: Final = 0x15
AUTHENTICATION_DATA: Final = 0x16
REQUEST_PROBLEM_INFORMATION: Final = 0x17
WILL_DELAY_INTERVAL: Final = 0x18
REQUEST_RESPONSE_INFORMATION: Final = 0x19
RESPONSE_INFORMATION: Final = 0x1A
SERVER_REFERENCE: Final = 0x1C
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS_MAXIMUM: Final = 0x22
TOPIC_ALIAS: Final = 0x23
MAXIMUM_QOS: Final = 0x24
RETAIN_AVAILABLE: Final = 0x25
USER_PROPERTY: Final = 0x26
MAXIMUM_PACKET_SIZE: Final = 0x27
WILDCARD_SUBSCRIPTION_AVAILABLE: Final = 0x28
SUBSCRIPTION_IDENTIFIER_AVAILABLE: Final = 0x29
SHARED_SUBSCRIPTION_AVAILABLE: Final = 0x2A

_BYTE: Final = 0
_TWO: Final = 1
_FOUR: Final = 2
_VARINT: Final = 3
_STRING: Final = 4
_BINARY: Final = 5
_PAIR: Final = 6

_MESSAGE: Final = frozenset((c.PUBLISH, c.WILL))
_AUTH: Final = frozenset((c.CONNECT, c.CONNACK, c.AUTH))
_SESSION: Final = frozenset((c.CONNECT, c.CONNACK, c.DISCONNECT))
_LIMITS: Final = frozenset((c.CONNECT, c.CONNACK))
_CONNACK: Final = frozenset((c.CONNACK,))
_ANSWERS: Final = frozenset(
    (c.CONNACK, c.PUBACK, c.PUBREC, c.PUBREL, c.PUBCOMP, c.SUBACK, c.UNSUBACK, c.DISCONNECT, c.AUTH)
)
_ANY: Final = frozenset(range(16)) - {c.PINGREQ, c.PINGRESP}

# identifier -> (wire type, packets that may carry it): table 2-4 of the specification.
_TABLE: Final[dict[int, tuple[int, frozenset[int]]]] = {
    PAYLOAD_FORMAT_INDICATOR: (_BYTE, _MESSAGE),
    MESSAGE_EXPIRY_INTERVAL: (_FOUR, _MESSAGE),
    CONTENT_TYPE: (_STRING, _MESSAGE),
    RESPONSE_TOPIC: (_STRING, _MESSAGE),
    CORRELATION_DATA: (_BINARY, _MESSAGE),
    SUBSCRIPTION_IDENTIFIER: (_VARINT, frozenset((c.PUBLISH, c.SUBSCRIBE))),
    SESSION_EXPIRY_INTERVAL: (_FOUR, _SESSION),
    ASSIGNED_CLIENT_IDENTIFIER: (_STRING, _CONNACK),
    SERVER_KEEP_ALIVE: (_TWO, _CONNACK),
    AUTHENTICATION_METHOD: (_STRING, _AUTH),
    AUTHENTICATION_DATA: (_BINARY, _AUTH),
    REQUEST_PROBLEM_INFORMATION: (_BYTE, frozenset((c.CONNECT,))),
    WILL_DELAY_INTERVAL: (_FOUR, frozenset((c.WILL,))),
    REQUEST_RESPONSE_INFORMATION: (_BYTE, frozenset((c.CONNECT,))),
    RESPONSE_INFORMATION: (_STRING, _CONNACK),
    SERVER_REFERENCE: (_STRING, frozenset((c.CONNACK, c.DISCONNECT))),
    REASON_STRING: (_STRING, _ANSWERS),
    RECEIVE_MAXIMUM: (_TWO, _LIMITS),
    TOPIC_ALIAS_MAXIMUM: (_TWO, _LIMITS),
    TOPIC_ALIAS: (_TWO, frozenset((c.PUBLISH,))),
    MAXIMUM_QOS: (_BYTE, _CONNACK),
    RETAIN_AVAILABLE: (_BYTE, _CONNACK),
    USER_PROPERTY: (_PAIR, _ANY),
    MAXIMUM_PACKET_SIZE: (_FOUR, _LIMITS),
    WILDCARD_SUBSCRIPTION_AVAILABLE: (_BYTE, _CONNACK),
    SUBSCRIPTION_IDENTIFIER_AVAILABLE: (_BYTE, _CONNACK),
    SHARED_SUBSCRIPTION_AVAILABLE: (_BYTE, _CONNACK),
}
IS_TEXT: Final = 0x10000
"""Set beside a topic alias by `split_publish_properties`: the payload is to be UTF-8."""
_NOT_ZERO: Final = frozenset((RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, SUBSCRIPTION_IDENTIFIER))


def decode_properties(data: bytes, pos: int, end: int, kind: int) -> tuple[Properties, int]:
    """The property block at `pos` of a packet of type `kind` (WILL for will properties).

    Raises PeerError 0x81 for what does not parse, 0x82 for a property that is repeated, out of range
    or not allowed in this packet.
    """
    length, pos = read_varint(data, pos, end)
    stop = pos + length
    if stop > end:
        raise PeerError(MALFORMED_PACKET, "property length runs past the packet")
    found: Properties = {}
    pairs: UserProperties = []
    identifiers: list[int] = []
    while pos < stop:
        identifier, value, pos = _read_property(data, pos, stop, kind)
        if isinstance(value, tuple):
            if len(pairs) == c.USER_PROPERTIES_MAX:
                raise _too_many()
            pairs.append(value)
            found[identifier] = pairs
        elif identifier == SUBSCRIPTION_IDENTIFIER and kind == c.PUBLISH:
            assert isinstance(value, int)
            identifiers.append(value)
            found[identifier] = identifiers
        elif identifier in found:
            raise PeerError(PROTOCOL_ERROR, f"property 0x{identifier:02x} is repeated")
        else:
            found[identifier] = value
    return found, stop


def _too_many() -> PeerError:
    return PeerError(QUOTA_EXCEEDED, f"more than {c.USER_PROPERTIES_MAX} user properties in a packet")


def _read_property(
    data: bytes, pos: int, end: int, kind: int
) -> tuple[int, int | str | bytes | tuple[str, str], int]:
    identifier, pos = read_varint(data, pos, end)
    known = _TABLE.get(identifier)
    if known is None:
        raise PeerError(MALFORMED_PACKET, f"unknown property 0x{identifier:02x}")
    wire_type, packets = known
    if kind not in packets:
        raise PeerError(
            PROTOCOL_ERROR, f"property 0x{identifier:02x} is not allowed in {c.PACKET_NAMES[kind]}"
        )
    value: int | str | bytes | tuple[str, str]
    if wire_type == _STRING:
        value, pos = read_utf8(data, pos, end)
        if identifier == RESPONSE_TOPIC and ("#" in value or "+" in value):
            raise PeerError(PROTOCOL_ERROR, "response topic contains a wildcard [MQTT-3.3.2-14]")
        return identifier, value, pos
    if wire_type == _PAIR:
        name, pos = read_utf8(data, pos, end)
        text, pos = read_utf8(data, pos, end)
        return identifier, (name, text), pos
    if wire_type == _BINARY:
        value, pos = read_binary(data, pos, end)
        return identifier, value, pos
    number, pos = _read_number(data, pos, end, wire_type)
    _check_number(identifier, number, wire_type)
    return identifier, number, pos


def _read_number(data: bytes, pos: int, end: int, wire_type: int) -> tuple[int, int]:
    if wire_type == _FOUR:
        return read_u32(data, pos, end)
    if wire_type == _TWO:
        return read_u16(data, pos, end)
    if wire_type == _VARINT:
        return read_varint(data, pos, end)
    if pos >= end:
        raise PeerError(MALFORMED_PACKET, "packet ends inside a property")
    return data[pos], pos + 1


def _check_number(identifier: int, value: int, wire_type: int) -> None:
    if wire_type == _BYTE and value > 1:
        raise PeerError(PROTOCOL_ERROR, f"property 0x{identifier:02x} must be 0 or 1")
    if value == 0 and identifier in _NOT_ZERO:
        raise PeerError(PROTOCOL_ERROR, f"property 0x{identifier:02x} must not be 0")
    if value == 0 and identifier == TOPIC_ALIAS:
        raise PeerError(TOPIC_ALIAS_INVALID, "topic alias is 0 [MQTT-3.3.2-8]")


def encode_properties(properties: Properties) -> bytes:
    """A property block with its length; ValueError for a field that does not fit the wire."""
    block = encode_block(properties)
    return varint(len(block)) + block


def encode_block(properties: Properties) -> bytes:
    """A property block without its length."""
    parts: list[bytes] = []
    for identifier, value in properties.items():
        wire_type = _TABLE[identifier][0]
        values = value if isinstance(value, list) else [value]
        for one in values:
            parts.append(bytes((identifier,)))
            parts.append(_encode_value(wire_type, one))
    return b"".join(parts)


def _encode_value(wire_type: int, value: int | str | bytes | tuple[str, str]) -> bytes:
    if isinstance(value, int):
        if wire_type == _VARINT:
            return varint(value)
        return value.to_bytes(1 if wire_type == _BYTE else 2 if wire_type == _TWO else 4, "big")
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, bytes):
        return binary(value)
    return utf8(value[0]) + utf8(value[1])


def split_publish_properties(block: bytes, from_client: bool) -> tuple[bytes, int, int]:
    """What a PUBLISH's property block says to the node and what it says to the receiver.

    Returns `(kept, topic alias or 0, message expiry in ms or 0)`, with IS_TEXT in the alias: topic alias, message
    expiry and subscription identifiers are taken out of `kept`, the rest stays as it came, user properties in
    order [MQTT-3.3.2-18]. A client must not send subscription identifiers [MQTT-3.3.4-6].
    An expiry of 0 s counts as 1 ms: 0 means never in a Message.
    """
    pos = 0
    end = len(block)
    seen: set[int] = set()
    kept: list[bytes] = []
    alias = user_properties = 0
    expires_ms = 0
    while pos < end:
        start = pos
        identifier, value, pos = _read_property(block, pos, end, c.PUBLISH)
        if identifier == USER_PROPERTY:
            user_properties += 1
            if user_properties > c.USER_PROPERTIES_MAX:
                raise _too_many()
            kept.append(block[start:pos])
            continue
        if identifier == SUBSCRIPTION_IDENTIFIER:
            if from_client:
                raise PeerError(
                    PROTOCOL_ERROR, "subscription identifier in a client's PUBLISH [MQTT-3.3.4-6]"
                )
            continue
        if identifier in seen:
            raise PeerError(PROTOCOL_ERROR, f"property 0x{identifier:02x} is repeated")
        seen.add(identifier)
        if identifier == TOPIC_ALIAS:
            assert isinstance(value, int)
            alias |= value
        elif identifier == MESSAGE_EXPIRY_INTERVAL:
            assert isinstance(value, int)
            expires_ms = value * 1000 or 1
        else:
            if identifier == PAYLOAD_FORMAT_INDICATOR and value:
                alias |= IS_TEXT
            kept.append(block[start:pos])
    return b"".join(kept), alias, expires_ms


def decode_block(block: bytes) -> Properties:
    """The properties of a Message in MQTT form, decoded; the node checked them when they came."""
    whole = varint(len(block)) + block
    return decode_properties(whole, 0, len(whole), c.PUBLISH)[0]


def is_valid_utf8(raw: bytes) -> bool:
    """True if `raw` may stand in an MQTT UTF-8 string."""
    try:
        decode_utf8(raw)
    except PeerError:
        return False
    return True
