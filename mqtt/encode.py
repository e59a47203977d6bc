"""Encoders: packets to bytes. Runs (PUBLISH, acknowledgements) become one bytes object each."""

import sys
from array import array
from typing import Final

from edge.core.message import FORM_MQTT, QOS2, RETAIN, Message
from mqtt import constants as c
from mqtt.convert import mqtt_properties
from mqtt.fields import binary, u16, utf8, varint
from mqtt.filters import WireCache
from mqtt.packets import Connack, Connect, Suback, Subscribe, Unsuback, Unsubscribe, Will
from mqtt.properties import (
    MESSAGE_EXPIRY_INTERVAL,
    REASON_STRING,
    WILL_DELAY_INTERVAL,
    Properties,
    encode_properties,
)
from mqtt.reasons import V3_CONNACK

PINGREQ: Final = b"\xc0\x00"
PINGRESP: Final = b"\xd0\x00"
# Remaining lengths of one byte, ready to be joined.
_LENGTHS: Final[tuple[bytes, ...]] = tuple(bytes((i,)) for i in range(128))
_NO_PROPERTIES: Final = b"\x00"
_ACK_HEADS: Final[dict[int, bytes]] = {
    c.PUBACK: b"\x40\x02",
    c.PUBREC: b"\x50\x02",
    c.PUBREL: b"\x62\x02",
    c.PUBCOMP: b"\x70\x02",
}


def packet(kind: int, body: bytes) -> bytes:
    """A whole packet of a kind with fixed flags."""
    return bytes((kind << 4 | c.FIXED_FLAGS[kind],)) + varint(len(body)) + body


def _block(properties: Properties, version: int) -> bytes:
    return encode_properties(properties) if version == c.V5 else b""


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT; ValueError for a field longer than the wire allows."""
    version = connect.version
    flags = 2 if connect.clean_start else 0
    tail: list[bytes] = [utf8(connect.client_id)]
    will = connect.will
    if will is not None:
        flags |= 4 | will.qos << 3 | (0x20 if will.retain else 0)
        if version == c.V5:
            tail.append(_will_properties(will))
        tail += (utf8(will.topic), binary(will.payload))
    if connect.username is not None:
        flags |= 0x80
        tail.append(utf8(connect.username))
    if connect.password is not None:
        flags |= 0x40
        tail.append(binary(connect.password))
    level = version | (c.BRIDGE_BIT if connect.is_bridge else 0)
    head = utf8(c.PROTOCOL_NAMES[version]) + bytes((level, flags)) + u16(connect.keep_alive_s)
    return packet(c.CONNECT, head + _block(connect.properties, version) + b"".join(tail))


def _will_properties(will: Will) -> bytes:
    block = will.properties
    if will.delay_s:
        block = bytes((WILL_DELAY_INTERVAL,)) + will.delay_s.to_bytes(4, "big") + block
    if will.expires_ms:
        block = bytes((MESSAGE_EXPIRY_INTERVAL,)) + (will.expires_ms // 1000).to_bytes(4, "big") + block
    return varint(len(block)) + block


def encode_connack(connack: Connack, version: int) -> bytes:
    """A CONNACK; empty for an MQTT 3 peer when no return code stands for the reason [MQTT-3.1.4-1]."""
    if version == c.V5:
        body = bytes((connack.session_present, connack.reason)) + encode_properties(connack.properties)
        return packet(c.CONNACK, body)
    code = V3_CONNACK.get(connack.reason)
    if code is None:
        return b""
    # Version 3.1 has no session present flag (section 3.2).
    present = connack.session_present and version == c.V311
    return bytes((0x20, 2, present, code))


def encode_subscribe(subscribe: Subscribe, version: int) -> bytes:
    """A SUBSCRIBE with its options; MQTT 3 carries the QoS alone."""
    parts = [u16(subscribe.packet_id), _block(subscribe.properties, version)]
    for one in subscribe.subscriptions:
        options = one.qos
        if version == c.V5:
            options |= one.no_local << 2 | one.retain_as_published << 3 | one.retain_handling << 4
        parts += (utf8(one.filter), bytes((options,)))
    return packet(c.SUBSCRIBE, b"".join(parts))


def encode_suback(suback: Suback, version: int) -> bytes:
    """A SUBACK; MQTT 3 knows one failure code, 0x80, and 3.1 none at all."""
    reasons = suback.reasons
    if version != c.V5:
        reasons = [0x80 if reason >= 0x80 else reason for reason in reasons]
    return packet(c.SUBACK, u16(suback.packet_id) + _block(suback.properties, version) + bytes(reasons))


def encode_unsubscribe(unsubscribe: Unsubscribe, version: int) -> bytes:
    """An UNSUBSCRIBE."""
    filters = b"".join([utf8(one) for one in unsubscribe.filters])
    body = u16(unsubscribe.packet_id) + _block(unsubscribe.properties, version) + filters
    return packet(c.UNSUBSCRIBE, body)


def encode_unsuback(unsuback: Unsuback, version: int) -> bytes:
    """An UNSUBACK; MQTT 3 has no reason codes in it."""
    reasons = bytes(unsuback.reasons) if version == c.V5 else b""
    return packet(c.UNSUBACK, u16(unsuback.packet_id) + _block(unsuback.properties, version) + reasons)


def encode_disconnect(reason: int, properties: Properties, version: int) -> bytes:
    """A DISCONNECT; without reason and properties it is two bytes in all versions."""
    if version != c.V5 or not (reason or properties):
        return b"\xe0\x00"
    body = bytes((reason,))
    if properties:
        body += encode_properties(properties)
    return packet(c.DISCONNECT, body)


def encode_auth(reason: int, properties: Properties) -> bytes:
    """An AUTH (MQTT 5)."""
    return packet(c.AUTH, bytes((reason,)) + encode_properties(properties))


def encode_acks(kind: int, packet_ids: list[int]) -> bytes:
    """Successful acknowledgements of one kind, joined."""
    head = int.from_bytes(_ACK_HEADS[kind], "big") << 16
    words = array("I", [head | packet_id for packet_id in packet_ids])
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def encode_ack(kind: int, packet_id: int, reason: int, version: int, text: str = "") -> bytes:
    """One acknowledgement, `text` its reason string; MQTT 3 can carry neither."""
    if not reason or version != c.V5:
        return _ACK_HEADS[kind] + u16(packet_id)
    body = u16(packet_id) + bytes((reason,))
    return packet(kind, body + encode_properties({REASON_STRING: text}) if text else body)


def expiry_property(message: Message, now_ms: int) -> bytes:
    """The message expiry property with what is left of it, rounded up: 0 s would say expired [MQTT-3.3.2-6]."""
    if not message.expires_at_ms:
        return b""
    left = max(1, -((now_ms - message.expires_at_ms) // 1000))
    return b"\x02" + min(left, 0xFFFFFFFF).to_bytes(4, "big")


def publish_properties(message: Message, now_ms: int, extra: bytes, block: bytes) -> bytes:
    """The property block of a PUBLISH with its length: `extra` (alias, subscription ids), expiry, then `block`."""
    if message.expires_at_ms:
        extra += expiry_property(message, now_ms)
    if not extra and not block:
        return _NO_PROPERTIES
    extra += block
    return varint(len(extra)) + extra


def encode_publish(first: int, topic_field: bytes, packet_id: int, properties: bytes, body: bytes) -> bytes:
    """One PUBLISH. `properties` has its length in front (empty for MQTT 3); packet id 0 means QoS 0."""
    head = topic_field + packet_id.to_bytes(2, "big") + properties if packet_id else topic_field + properties
    length = len(head) + len(body)
    size = _LENGTHS[length] if length < 128 else varint(length)
    return b"%c%b%b%b" % (first, size, head, body)


def encode_publishes(
    version: int, messages: list[Message], packet_ids: list[int], cache: WireCache, qos: int, now_ms: int
) -> list[bytes]:
    """PUBLISH packets of a client, one bytes each: QoS is `qos` (2 only where the message had it).

    A message whose routing key no topic name can stand for becomes an empty bytes: it cannot be sent.
    """
    out: list[bytes] = []
    fields = cache.fields
    for message, packet_id in zip(messages, packet_ids, strict=True):
        topic_field = fields.get(message.routing_key) or cache.field(message.routing_key)
        if not topic_field:
            out.append(b"")
            continue
        flags = message.flags
        first = 0x30 | qos << 1 if qos < 2 or flags & QOS2 else 0x32
        if flags & RETAIN:
            first |= 1
        properties = b""
        if version == c.V5:
            block = message.properties if message.form == FORM_MQTT else mqtt_properties(message)
            properties = publish_properties(message, now_ms, b"", block)
        out.append(encode_publish(first, topic_field, packet_id, properties, message.body))
    return out
