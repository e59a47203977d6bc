"""Decoders of the packets that come rarely: bytes of one whole packet to a value of `mqtt.packets`."""

from mqtt import constants as c
from mqtt import properties as p
from mqtt.fields import read_binary, read_u16, read_utf8, short_packet
from mqtt.filters import check_topic_name
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
from mqtt.properties import Properties, decode_properties
from mqtt.reasons import (
    CLIENT_IDENTIFIER_NOT_VALID,
    FROM_V3_CONNACK,
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    UNSPECIFIED_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    ConnectRefused,
    PeerError,
    UnsupportedVersion,
)


def decode_packet(kind: int, data: bytes, pos: int, end: int, version: int) -> Packet:
    """The packet of type `kind` whose variable header starts at `pos` and whose payload ends at `end`.

    Raises PeerError for any packet that the specification calls malformed or a protocol error.
    """
    if kind in (c.PINGREQ, c.PINGRESP):
        if pos != end:
            raise PeerError(MALFORMED_PACKET, "PINGREQ or PINGRESP with a payload")
        return Pingreq() if kind == c.PINGREQ else Pingresp()
    if kind == c.SUBSCRIBE:
        return _decode_subscribe(data, pos, end, version)
    if kind == c.UNSUBSCRIBE:
        return _decode_unsubscribe(data, pos, end, version)
    if kind == c.SUBACK:
        return _decode_suback(data, pos, end, version)
    if kind == c.UNSUBACK:
        return _decode_unsuback(data, pos, end, version)
    if kind == c.CONNACK:
        return _decode_connack(data, pos, end, version)
    if kind == c.DISCONNECT:
        return Disconnect(*_decode_reason(kind, data, pos, end, version))
    if kind == c.AUTH and version == c.V5:
        return Auth(*_decode_reason(kind, data, pos, end, version))
    raise PeerError(MALFORMED_PACKET, f"packet type {kind} does not exist in this version")


def _properties(data: bytes, pos: int, end: int, kind: int, version: int) -> tuple[Properties, int]:
    if version != c.V5:
        return {}, pos
    return decode_properties(data, pos, end, kind)


def decode_connect(data: bytes, pos: int, end: int) -> Connect:
    """A CONNECT of any version (section 3.1).

    Raises PeerError, or UnsupportedVersion: the one fault that version 3.1.1 answers with a CONNACK.
    """
    name, pos = read_binary(data, pos, end)
    if pos >= end:
        raise short_packet("CONNECT")
    level, pos = data[pos], pos + 1
    version = level & ~c.BRIDGE_BIT
    if name not in (b"MQTT", b"MQIsdp"):
        raise PeerError(UNSUPPORTED_PROTOCOL_VERSION, "protocol name is not MQTT [MQTT-3.1.2-1]")
    if c.PROTOCOL_NAMES.get(version, "").encode() != name:
        answer_in = c.V5 if version > c.V5 else c.V311
        raise UnsupportedVersion(answer_in, f"protocol level {level} is not supported [MQTT-3.1.2-2]")
    if pos >= end:
        raise short_packet("CONNECT")
    flags, pos = data[pos], pos + 1
    _check_connect_flags(flags, version)
    keep_alive, pos = read_u16(data, pos, end)
    properties, pos = _properties(data, pos, end, c.CONNECT, version)
    if p.AUTHENTICATION_DATA in properties and p.AUTHENTICATION_METHOD not in properties:
        raise PeerError(PROTOCOL_ERROR, "authentication data without a method")
    client_id, pos = read_utf8(data, pos, end)
    packet = Connect(version, client_id, bool(flags & 2), keep_alive)
    packet.properties = properties
    packet.is_bridge = bool(level & c.BRIDGE_BIT)
    if flags & 4:
        packet.will, pos = _decode_will(data, pos, end, flags, version)
    if flags & 0x80:
        packet.username, pos = read_utf8(data, pos, end)
    if flags & 0x40:
        packet.password, pos = read_binary(data, pos, end)
    if pos != end:
        raise PeerError(MALFORMED_PACKET, "CONNECT has bytes after its payload")
    return packet


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & 1:
        raise PeerError(MALFORMED_PACKET, "reserved connect flag is set [MQTT-3.1.2-3]")
    if not flags & 4 and flags & 0x38:
        raise PeerError(
            MALFORMED_PACKET, "will QoS or will retain without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13]"
        )
    if flags & 0x18 == 0x18:
        raise PeerError(MALFORMED_PACKET, "will QoS is 3 [MQTT-3.1.2-12]")
    if version != c.V5 and flags & 0xC0 == 0x40:
        raise PeerError(MALFORMED_PACKET, "password without a user name [MQTT-3.1.2-22]")


def _decode_will(data: bytes, pos: int, end: int, flags: int, version: int) -> tuple[Will, int]:
    properties, pos = _properties(data, pos, end, c.WILL, version)
    topic, pos = read_utf8(data, pos, end)
    check_topic_name(topic)
    payload, pos = read_binary(data, pos, end)
    delay = properties.pop(p.WILL_DELAY_INTERVAL, 0)
    expiry = properties.pop(p.MESSAGE_EXPIRY_INTERVAL, None)
    assert isinstance(delay, int)
    will = Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), p.encode_block(properties), delay)
    if isinstance(expiry, int):
        will.expires_ms = expiry * 1000 or 1
    return will, pos


def _decode_connack(data: bytes, pos: int, end: int, version: int) -> Connack:
    if pos + 2 > end:
        raise short_packet("CONNACK")
    flags, reason = data[pos], data[pos + 1]
    if flags > 1:
        raise PeerError(MALFORMED_PACKET, "reserved connect acknowledge flag is set [MQTT-3.2.2-1]")
    if version != c.V5:
        if pos + 2 != end:
            raise PeerError(MALFORMED_PACKET, "CONNACK is longer than two bytes")
        reason = FROM_V3_CONNACK[reason] if reason < len(FROM_V3_CONNACK) else UNSPECIFIED_ERROR
        return Connack(bool(flags), reason)
    if pos + 2 == end:
        # A server of MQTT 3 refuses our version by its own CONNACK (3.1.1 section 3.1.2.2).
        return Connack(False, UNSUPPORTED_PROTOCOL_VERSION if reason == 1 else reason or UNSPECIFIED_ERROR)
    properties, stop = decode_properties(data, pos + 2, end, c.CONNACK)
    if stop != end:
        raise PeerError(MALFORMED_PACKET, "CONNACK has bytes after its properties")
    return Connack(bool(flags), reason, properties)


def _packet_id(data: bytes, pos: int, end: int) -> tuple[int, int]:
    packet_id, pos = read_u16(data, pos, end)
    if not packet_id:
        raise PeerError(MALFORMED_PACKET, "packet identifier is 0 [MQTT-2.2.1-3]")
    return packet_id, pos


def _decode_subscribe(data: bytes, pos: int, end: int, version: int) -> Subscribe:
    packet_id, pos = _packet_id(data, pos, end)
    properties, pos = _properties(data, pos, end, c.SUBSCRIBE, version)
    identifier = properties.get(p.SUBSCRIPTION_IDENTIFIER, 0)
    assert isinstance(identifier, int)
    if pos == end:
        raise PeerError(PROTOCOL_ERROR, "SUBSCRIBE without a topic filter [MQTT-3.8.3-2]")
    subscriptions: list[Subscription] = []
    while pos < end:
        if len(subscriptions) == c.FILTERS_MAX:
            raise _too_many_filters()
        topic_filter, pos = read_utf8(data, pos, end)
        if pos >= end:
            raise short_packet("SUBSCRIBE")
        options, pos = data[pos], pos + 1
        _check_options(options, version, topic_filter)
        subscriptions.append(
            Subscription(
                topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3, identifier
            )
        )
    return Subscribe(packet_id, subscriptions, properties)


def _too_many_filters() -> PeerError:
    return PeerError(QUOTA_EXCEEDED, f"more than {c.FILTERS_MAX} topic filters in a packet")


def _check_options(options: int, version: int, topic_filter: str) -> None:
    if options & (0xC0 if version == c.V5 else 0xFC):
        raise PeerError(MALFORMED_PACKET, "reserved subscription option is set [MQTT-3.8.3-5]")
    if options & 3 == 3:
        raise PeerError(PROTOCOL_ERROR, "requested QoS is 3 [MQTT-3.8.3-4]")
    if options >> 4 & 3 == 3:
        raise PeerError(PROTOCOL_ERROR, "retain handling is 3")
    if options & 4 and topic_filter.startswith("$share/"):
        raise PeerError(PROTOCOL_ERROR, "no local on a shared subscription [MQTT-3.8.3-4]")


def _decode_unsubscribe(data: bytes, pos: int, end: int, version: int) -> Unsubscribe:
    packet_id, pos = _packet_id(data, pos, end)
    properties, pos = _properties(data, pos, end, c.UNSUBSCRIBE, version)
    if pos == end:
        raise PeerError(PROTOCOL_ERROR, "UNSUBSCRIBE without a topic filter [MQTT-3.10.3-2]")
    filters: list[str] = []
    while pos < end:
        if len(filters) == c.FILTERS_MAX:
            raise _too_many_filters()
        topic_filter, pos = read_utf8(data, pos, end)
        filters.append(topic_filter)
    return Unsubscribe(packet_id, filters, properties)


def _decode_suback(data: bytes, pos: int, end: int, version: int) -> Suback:
    packet_id, pos = _packet_id(data, pos, end)
    properties, pos = _properties(data, pos, end, c.SUBACK, version)
    if pos == end:
        raise PeerError(MALFORMED_PACKET, "SUBACK without a reason code")
    return Suback(packet_id, list(data[pos:end]), properties)


def _decode_unsuback(data: bytes, pos: int, end: int, version: int) -> Unsuback:
    packet_id, pos = _packet_id(data, pos, end)
    properties, pos = _properties(data, pos, end, c.UNSUBACK, version)
    if version != c.V5 and pos != end:
        raise PeerError(MALFORMED_PACKET, "UNSUBACK has a payload")
    return Unsuback(packet_id, list(data[pos:end]), properties)


def _decode_reason(kind: int, data: bytes, pos: int, end: int, version: int) -> tuple[int, Properties]:
    """The reason code and properties of a DISCONNECT or AUTH; both may be left out (section 3.14.2.1)."""
    if pos == end:
        return 0, {}
    if version != c.V5:
        raise PeerError(MALFORMED_PACKET, "DISCONNECT has a payload")
    reason, pos = data[pos], pos + 1
    if pos == end:
        return reason, {}
    properties, pos = decode_properties(data, pos, end, kind)
    if pos != end:
        raise PeerError(MALFORMED_PACKET, f"{c.PACKET_NAMES[kind]} has bytes after its properties")
    return reason, properties


def decode_ack(data: bytes, pos: int, end: int, kind: int) -> tuple[int, int]:
    """`(packet id, reason code)` of a PUBACK, PUBREC, PUBREL or PUBCOMP longer than two bytes (MQTT 5)."""
    packet_id, pos = _packet_id(data, pos, end)
    reason, properties = _decode_reason(kind, data, pos, end, c.V5)
    del properties  # reason string and user properties: checked, and of no use to a broker
    return packet_id, reason


def check_client_id(packet: Connect) -> None:
    """An empty client identifier asks for one of ours, which MQTT 3 allows only with a clean session.

    Raises ConnectRefused [MQTT-3.1.3-8].
    """
    if packet.client_id:
        return
    if packet.version == c.V31 or (packet.version == c.V311 and not packet.clean_start):
        raise ConnectRefused(CLIENT_IDENTIFIER_NOT_VALID, "client identifier is empty [MQTT-3.1.3-8]")
