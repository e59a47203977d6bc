"""The hot loops of encoding: a run of deliveries or publishes becomes one bytes object.

Both keep what stands around the body: while exchange, key, properties and size stay the same, a message costs a few
appends; names come from a cache. One join a run.
"""

from struct import Struct
from typing import Final, final

from edge.amqp091.constants import BASIC_CLASS, BODY, FRAME_OVERHEAD, HEADER, METHOD
from edge.amqp091.spec import encode_short_string
from edge.core.consumer import Entry
from edge.core.message import MANDATORY, Message, amqp_properties
from edge.core.properties import NO_PROPERTIES
from edge.wire import U64

_LEAD: Final = Struct(">BHI")
_HEADER: Final = Struct(">BHIHHQ")
_METHOD: Final = Struct(">BHII")
_TAG: Final = Struct(">QB")
_END: Final = b"\xce"
_PUBLISH: Final = 60 << 16 | 40
_DELIVER: Final = 60 << 16 | 60
_ACK: Final = 60 << 16 | 80
_NACK: Final = 60 << 16 | 120
_TAG_BYTES: Final = 9
CACHE_ENTRIES_MAX: Final = 256
"""Names that an encoder remembers: at most 512 bytes each, so 128 KiB."""


def encode_method(channel: int, payload: bytes) -> bytes:
    """Frame an encoded method."""
    return _LEAD.pack(METHOD, channel, len(payload)) + payload + _END


def encode_acks(channel: int, tags: list[int], multiple: bool) -> bytes:
    """Encode a run of basic.ack."""
    lead = _METHOD.pack(METHOD, channel, 13, _ACK)
    after = b"\x01\xce" if multiple else b"\x00\xce"
    return b"".join([lead + U64.pack(tag) + after for tag in tags])


def encode_nacks(channel: int, tags: list[int], multiple: bool, requeue: bool) -> bytes:
    """Encode a run of basic.nack."""
    lead = _METHOD.pack(METHOD, channel, 13, _NACK)
    after = bytes((multiple | requeue << 1, 0xCE))
    return b"".join([lead + U64.pack(tag) + after for tag in tags])


def encode_content(channel: int, message: Message, frame_max: int) -> bytes:
    """Encode header and body frames of a message."""
    properties = amqp_properties(message) or NO_PROPERTIES
    body = message.body
    lead = _HEADER.pack(HEADER, channel, 12 + len(properties), BASIC_CLASS, 0, len(body))
    parts = [lead, properties, _END]
    piece_bytes = frame_max - FRAME_OVERHEAD
    for start in range(0, len(body), piece_bytes):
        piece = body[start : start + piece_bytes]
        parts += (_LEAD.pack(BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def cut_short(text: str) -> str:
    """Cut to what a short string holds: an MQTT topic, and so a routing key, may be longer than 255 bytes."""
    if len(text) <= 63:
        return text
    encoded = text.encode()
    return text if len(encoded) <= 255 else encoded[:255].decode("utf-8", "ignore")


def _short(text: str) -> bytes:
    return encode_short_string(cut_short(text))


def content_lead(channel: int, message: Message, frame_max: int) -> bytes:
    """All bytes from a content header to the body. Empty for a body of no or of several frames: ``encode_content``."""
    body_bytes = len(message.body)
    if not 0 < body_bytes <= frame_max - FRAME_OVERHEAD:
        return b""
    properties = amqp_properties(message) or NO_PROPERTIES
    lead = _HEADER.pack(HEADER, channel, 12 + len(properties), BASIC_CLASS, 0, body_bytes)
    return lead + properties + _END + _LEAD.pack(BODY, channel, body_bytes)


@final
class DeliveryEncoder:
    """Encodes the deliveries to one consumer."""

    __slots__ = ("_channel", "_consumer_tag", "_frame_max", "_names")

    def __init__(self, channel: int, consumer_tag: str, frame_max: int) -> None:
        self._channel = channel
        self._consumer_tag = encode_short_string(consumer_tag)
        self._frame_max = frame_max
        #: by exchange and routing key: what stands before the delivery tag, and what between it and the content
        self._names: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    def encode(self, entries: list[Entry], tag: int) -> bytes:
        """Encode entries as deliveries with consecutive tags from ``tag`` on; from 0: with their sequence + 1."""
        parts: list[bytes] = []
        append = parts.append
        pack = _TAG.pack
        routing_key = exchange = ""
        before = names = after = lead = properties = b""
        form = size = -1
        for sequence, message, count in entries:
            body = message.body
            same = True
            if message.routing_key != routing_key or message.exchange != exchange or not before:
                routing_key, exchange = message.routing_key, message.exchange
                before, names = self._names.get((exchange, routing_key)) or self._name(exchange, routing_key)
                same = False
            if len(body) != size or message.properties != properties or message.form != form:
                size, properties, form = len(body), message.properties, message.form
                lead = content_lead(self._channel, message, self._frame_max)
                same = False
            if not same:
                after = names + lead
            append(before)
            append(pack(tag or sequence + 1, count > 0))
            append(after)
            if lead:
                append(body)
                append(_END)
            else:
                append(encode_content(self._channel, message, self._frame_max))
            if tag:
                tag += 1
        return b"".join(parts)

    def _name(self, exchange: str, routing_key: str) -> tuple[bytes, bytes]:
        names = _short(exchange) + _short(routing_key)
        size = 4 + len(self._consumer_tag) + _TAG_BYTES + len(names)
        parts = _METHOD.pack(METHOD, self._channel, size, _DELIVER) + self._consumer_tag, names + _END
        if len(self._names) >= CACHE_ENTRIES_MAX:
            self._names.clear()
        self._names[exchange, routing_key] = parts
        return parts


@final
class PublishEncoder:
    """Encodes the publishes on one channel. Client role."""

    __slots__ = ("_channel", "_frame_max", "_names")

    def __init__(self, channel: int, frame_max: int) -> None:
        self._channel = channel
        self._frame_max = frame_max
        #: by exchange, routing key and mandatory: the method frame
        self._names: dict[tuple[str, str, int], bytes] = {}

    def encode(self, messages: list[Message]) -> bytes:
        """Encode messages, each to its own exchange and routing key; MANDATORY in ``flags`` sets mandatory."""
        parts: list[bytes] = []
        append = parts.append
        routing_key = exchange = ""
        before = method = lead = properties = b""
        form = size = flags = -1
        for message in messages:
            body = message.body
            same = True
            if message.routing_key != routing_key or message.exchange != exchange or message.flags != flags:
                routing_key, exchange, flags = message.routing_key, message.exchange, message.flags
                route = exchange, routing_key, flags & MANDATORY
                method = self._names.get(route) or self._name(route)
                same = False
            if len(body) != size or message.properties != properties or message.form != form:
                size, properties, form = len(body), message.properties, message.form
                lead = content_lead(self._channel, message, self._frame_max)
                same = False
            if not same:
                before = method + lead
            append(before)
            if lead:
                append(body)
                append(_END)
            else:
                append(encode_content(self._channel, message, self._frame_max))
        return b"".join(parts)

    def _name(self, route: tuple[str, str, int]) -> bytes:
        names = _short(route[0]) + _short(route[1])
        bits = b"\x01\xce" if route[2] else b"\x00\xce"
        method = _METHOD.pack(METHOD, self._channel, 7 + len(names), _PUBLISH) + b"\x00\x00" + names + bits
        if len(self._names) >= CACHE_ENTRIES_MAX:
            self._names.clear()
        self._names[route] = method
        return method
