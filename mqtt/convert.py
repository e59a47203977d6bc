"""Message properties between MQTT 5 and AMQP 0-9-1, as RabbitMQ's MQTT plugin maps them (`mc_mqtt.erl`).

Not mapped, as there: payload format indicator, and AMQP's reply_to, message_id, timestamp, type, app_id, user_id,
priority and content_encoding. Unlike there, user properties towards MQTT keep the order of the headers, and expiry is
forwarded in both directions.
"""

from typing import Final

from edge.core.message import FORM_MQTT, PERSISTENT, Message, amqp_properties, register_form
from edge.core.properties import BasicProperties, PropertiesError, decode_properties, encode_properties
from edge.core.table import Decimal, Table
from mqtt import properties as p
from mqtt.filters import routing_key_of, topic_of
from mqtt.properties import Properties, UserProperties, decode_block, encode_block, is_valid_utf8

REPLY_TO_TOPIC: Final = "x-reply-to-topic"
CORRELATION_ID: Final = "x-correlation-id"
_CONSUMED: Final = frozenset((REPLY_TO_TOPIC, CORRELATION_ID))

BLOCKS_MAX: Final = 1_024
"""Property blocks whose conversion is remembered, each way: devices send the same few."""
BLOCK_BYTES_MAX: Final = 128
_amqp_blocks: dict[tuple[bytes, bool], bytes] = {}
_mqtt_blocks: dict[bytes, bytes] = {}


def to_amqp(message: Message) -> bytes:
    """The AMQP 0-9-1 property list of a message that came by MQTT."""
    persistent = bool(message.flags & PERSISTENT)
    if message.expires_at_ms:
        ttl_ms = max(0, message.expires_at_ms - message.published_at_ms)
        return _amqp_block(message.properties, persistent, str(ttl_ms))
    known = _amqp_blocks.get((message.properties, persistent))
    if known is None:
        known = _amqp_block(message.properties, persistent, None)
        if len(message.properties) <= BLOCK_BYTES_MAX:
            if len(_amqp_blocks) >= BLOCKS_MAX:
                _amqp_blocks.clear()
            _amqp_blocks[message.properties, persistent] = known
    return known


def _amqp_block(block: bytes, persistent: bool, expiration: str | None) -> bytes:
    found = decode_block(block)
    headers: Table = {}
    pairs = found.get(p.USER_PROPERTY)
    for name, value in pairs if isinstance(pairs, list) else ():  # type: ignore[misc]
        # A header's name is a short string; of a repeated one the last counts.
        if len(name.encode()) <= 255:
            headers[name] = value
    properties = BasicProperties(delivery_mode=2 if persistent else 1, expiration=expiration)
    content_type = found.get(p.CONTENT_TYPE)
    if isinstance(content_type, str) and content_type.isascii() and len(content_type) <= 255:
        properties.content_type = content_type
    correlation = found.get(p.CORRELATION_DATA)
    if isinstance(correlation, bytes):
        if len(correlation) <= 255 and is_valid_utf8(correlation):
            properties.correlation_id = correlation.decode()
        else:
            headers[CORRELATION_ID] = correlation.decode("utf-8", "surrogateescape")
    response_topic = found.get(p.RESPONSE_TOPIC)
    if isinstance(response_topic, str):
        headers[REPLY_TO_TOPIC] = routing_key_of(response_topic)
    if headers:
        properties.headers = headers
    return encode_properties(properties)


def mqtt_properties(message: Message) -> bytes:
    """The MQTT 5 PUBLISH properties of any message, without their length and without the expiry."""
    if message.form == FORM_MQTT:
        return message.properties
    encoded = amqp_properties(message)
    known = _mqtt_blocks.get(encoded)
    if known is None:
        known = _mqtt_block(encoded)
        if len(encoded) <= BLOCK_BYTES_MAX:
            if len(_mqtt_blocks) >= BLOCKS_MAX:
                _mqtt_blocks.clear()
            _mqtt_blocks[encoded] = known
    return known


def _mqtt_block(encoded: bytes) -> bytes:
    try:
        found = decode_properties(encoded)
    except PropertiesError:
        # What AMQP's own consumers could not read either: the body still arrives.
        return b""
    properties: Properties = {}
    if found.content_type and _is_text(found.content_type):
        properties[p.CONTENT_TYPE] = found.content_type
    headers = found.headers or {}
    reply_to = headers.get(REPLY_TO_TOPIC)
    if isinstance(reply_to, str) and reply_to:
        topic = topic_of(reply_to)
        if _is_text(topic) and not any(wildcard in topic for wildcard in "+#"):
            properties[p.RESPONSE_TOPIC] = topic
    correlation = found.correlation_id
    if correlation is None:
        header = headers.get(CORRELATION_ID)
        correlation = header if isinstance(header, str) else None
    if correlation is not None:
        properties[p.CORRELATION_DATA] = correlation.encode("utf-8", "surrogateescape")[:0xFFFF]
    pairs: UserProperties = []
    for name, value in headers.items():
        text = _as_text(value)
        if name not in _CONSUMED and text is not None and _is_text(name):
            pairs.append((name, text))
    if pairs:
        properties[p.USER_PROPERTY] = pairs
    return encode_block(properties)


def _is_text(value: str) -> bool:
    """Whether MQTT can carry the string: UTF-8 without U+0000, at most 65,535 bytes."""
    if "\0" in value:
        return False
    try:
        return len(value.encode()) <= 0xFFFF
    except UnicodeEncodeError:
        # Bytes that are no UTF-8, carried as surrogates
        return False


def _as_text(value: object) -> str | None:
    """A header's value as a user property's; None for arrays, tables and bytes, which have no text."""
    if isinstance(value, str):
        return value if _is_text(value) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, int | float | Decimal):
        return str(value)
    return None


register_form(FORM_MQTT, to_amqp)
