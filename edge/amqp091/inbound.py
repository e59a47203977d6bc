"""The hot loops of parsing: runs of basic.publish, basic.deliver and basic.ack, taken in line from a chunk of bytes.

Each loop takes whole messages from ``pos`` on and returns the position of the first frame that it does not take:
another method, another channel, a message that is not all there or spans several body frames, or a fault. The machine's
frame loop goes on from there, so whatever is rare or wrong is handled and reported in one place.

What makes them fast: no object but the message, properties are not decoded, and a message whose frames begin byte for
byte as those of the message before (same exchange, key, properties and size) is told by one comparison; a publish of
another size by two more.
"""

from typing import Final

from edge.amqp091.channel import CONTENT_HEADER_MIN, Channel, Content
from edge.amqp091.constants import ACK_BYTES, BASIC_CLASS, BODY, DELIVER_ID, FRAME_END, HEADER, PUBLISH_ID
from edge.amqp091.events import AckRun, DeliverRun, Event, PublishRun
from edge.core.message import MANDATORY, Message
from edge.core.properties import MARK_MALFORMED, NO_EXPIRATION

_IMMEDIATE: Final = 2
_MANDATORY: Final = 1
_TAG_BYTES: Final = 9
"""Of delivery tag and redelivered, between consumer tag and exchange."""
CACHE_ENTRIES_MAX: Final = 128
CACHED_BYTES_MAX: Final = 256
"""Bounds the caches of a channel to 64 KiB."""


def read_publishes(channel: Channel, chunk: bytes, pos: int, events: list[Event], now_ms: int) -> int:
    """Take consecutive basic.publish of ``channel``; ``now_ms`` becomes their time of publishing."""
    end = len(chunk)
    messages: list[Message] = []
    exchange = run_exchange = routing_key = ""
    properties = before = head = tail = b""
    before_bytes = body_bytes = flags = expires_at_ms = priority = mandatory = marks = 0
    while True:
        if before_bytes and chunk.startswith(before, pos):
            start = pos + before_bytes
        elif before_bytes and 0 < (resized := _resized(chunk, pos, head, tail)) <= channel.body_bytes_max:
            body_bytes, start = resized, pos + before_bytes
            before = chunk[pos:start]
        else:
            # the method frame is [pos:content_at], header frame and lead of the body frame are [content_at:start]
            content_at = pos + 8 + int.from_bytes(chunk[pos + 3 : pos + 7], "big")
            start = content_at + 15 + int.from_bytes(chunk[content_at + 3 : content_at + 7], "big")
            if start >= end:
                break
            route = channel.routes.get(chunk[pos:content_at]) or _read_route(channel, chunk[pos:content_at])
            content = channel.contents.get(chunk[content_at:start]) or _read_content(
                channel, chunk[content_at:start]
            )
            if route is None or content is None:
                break
            exchange, routing_key, mandatory = route
            properties, body_bytes, flags, ttl_ms, priority, marks = content
            flags |= mandatory
            expires_at_ms = 0 if ttl_ms == NO_EXPIRATION else now_ms + (ttl_ms or 1)
            before = chunk[pos:start]
            before_bytes = start - pos
            head, tail = chunk[pos : content_at + 11], chunk[content_at + 19 : start - 4]
        stop = start + body_bytes
        if stop >= end or chunk[stop] != FRAME_END or marks:
            break
        if exchange != run_exchange or not messages:
            run_exchange = exchange
            messages = publish_run(events, channel.number, exchange).messages
        messages.append(
            Message(
                exchange,
                routing_key,
                properties,
                chunk[start:stop],
                0,
                flags,
                now_ms,
                expires_at_ms,
                priority,
            )
        )
        pos = stop + 1
    return pos


def _resized(chunk: bytes, pos: int, head: bytes, tail: bytes) -> int:
    """Size of a body whose frames begin as those before in all but that; 0 if they do not.

    ``head`` reaches up to the size in the header frame, ``tail`` from behind it up to that of the body frame.
    """
    if not chunk.startswith(head, pos):
        return 0
    size_at = pos + len(head)
    start = size_at + 12 + len(tail)
    size = chunk[start - 4 : start]
    if chunk[size_at : size_at + 8] != b"\0\0\0\0" + size or not chunk.startswith(tail, size_at + 8):
        return 0
    return int.from_bytes(size, "big")


def _text(encoded: bytes) -> str | None:
    """Decode a short string's bytes; None if they are not UTF-8, which the frame loop then reports."""
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return None


def _read_route(channel: Channel, frame: bytes) -> tuple[str, str, int] | None:
    """Read a whole basic.publish frame: exchange, routing key, MANDATORY or 0. None if it is anything else."""
    # kind, channel, size, class and method, ticket, exchange, routing key, bits, frame end
    if not frame.startswith(channel.method_lead) or frame[7:11] != PUBLISH_ID or len(frame) < 17:
        return None
    key_at = 14 + frame[13]
    last = len(frame) - 1
    if key_at >= last or key_at + frame[key_at] + 2 != last or frame[last] != FRAME_END:
        return None
    bits = frame[last - 1]
    if bits & _IMMEDIATE:
        return None
    exchange, routing_key = _text(frame[14:key_at]), _text(frame[key_at + 1 : last - 1])
    if exchange is None or routing_key is None:
        return None
    route = exchange, routing_key, MANDATORY if bits & _MANDATORY else 0
    if len(frame) <= CACHED_BYTES_MAX:
        if len(channel.routes) >= CACHE_ENTRIES_MAX:
            channel.routes.clear()
        channel.routes[frame] = route
    return route


def _read_content(channel: Channel, lead: bytes) -> Content | None:
    """Read a header frame and the lead of the only body frame after it. None if they are anything else."""
    # kind, channel, size, class, weight, body size, properties, frame end; kind, channel, size
    if len(lead) < CONTENT_HEADER_MIN + 15 or lead[0] != HEADER or lead[-8] != FRAME_END or lead[-7] != BODY:
        return None
    on_channel = channel.method_lead[1:]
    body_bytes = int.from_bytes(lead[11:19], "big")
    if (
        lead[1:3] != on_channel
        or lead[-6:-4] != on_channel
        or int.from_bytes(lead[7:9], "big") != BASIC_CLASS
    ):
        return None
    if int.from_bytes(lead[-4:], "big") != body_bytes or body_bytes > channel.body_bytes_max:
        return None
    properties = lead[19:-8]
    flags, ttl_ms, priority, marks = channel.reader.peek(properties)
    content = properties, body_bytes, flags, ttl_ms, priority, marks
    if len(lead) <= CACHED_BYTES_MAX:
        if len(channel.contents) >= CACHE_ENTRIES_MAX:
            channel.contents.clear()
        channel.contents[lead] = content
    return content


def publish_run(events: list[Event], number: int, exchange: str) -> PublishRun:
    """Return the run that a publish of this channel and exchange continues, a new one if there is none."""
    if events:
        last = events[-1]
        if (
            type(last) is PublishRun
            and last.channel == number
            and last.exchange == exchange
            and not last.copies
        ):
            return last
    run = PublishRun(number, exchange, [])
    events.append(run)
    return run


def read_deliveries(channel: Channel, chunk: bytes, pos: int, events: list[Event], now_ms: int) -> int:
    """Take consecutive basic.deliver of ``channel``; they expire only if ``now_ms`` is given. Client role."""
    end = len(chunk)
    run = DeliverRun(channel.number, "")
    exchange = routing_key = ""
    properties = tag_field = before = after = b""
    before_bytes = after_bytes = body_bytes = flags = priority = marks = expires_at_ms = 0
    while True:
        tag_at = pos + before_bytes
        if before_bytes and chunk.startswith(before, pos) and chunk.startswith(after, tag_at + _TAG_BYTES):
            start = tag_at + _TAG_BYTES + after_bytes
        else:
            # [pos:tag_at] is constant for a consumer and a length of names, [tag_at+9:content_at] are the names
            content_at = pos + 8 + int.from_bytes(chunk[pos + 3 : pos + 7], "big")
            start = content_at + 15 + int.from_bytes(chunk[content_at + 3 : content_at + 7], "big")
            if start >= end or not chunk.startswith(channel.method_lead, pos):
                break
            tag_at = pos + 12 + chunk[pos + 11]
            # Compiled, a slice that ends before it starts is a SystemError.
            if tag_at + _TAG_BYTES > content_at:
                break
            names = chunk[tag_at + _TAG_BYTES : content_at]
            route = channel.routes.get(names) or _read_names(channel, names)
            lead = chunk[content_at:start]
            content = channel.contents.get(lead) or _read_content(channel, lead)
            if route is None or content is None or chunk[pos + 7 : pos + 11] != DELIVER_ID:
                break
            if tag_field != chunk[pos + 11 : tag_at] or not before_bytes:
                tag_field = chunk[pos + 11 : tag_at]
                consumer_tag = _text(tag_field[1:])
                if consumer_tag is None:
                    break
                run = DeliverRun(channel.number, consumer_tag)
            exchange, routing_key, _ = route
            properties, body_bytes, flags, ttl_ms, priority, marks = content
            expires_at_ms = 0 if ttl_ms == NO_EXPIRATION or not now_ms else now_ms + (ttl_ms or 1)
            before, after = chunk[pos:tag_at], chunk[tag_at + _TAG_BYTES : start]
            before_bytes, after_bytes = len(before), len(after)
        stop = start + body_bytes
        if stop >= end or chunk[stop] != FRAME_END or marks & MARK_MALFORMED:
            break
        if not run.tags:
            run = deliver_run(events, channel.number, run.consumer_tag)
        run.tags.append(int.from_bytes(chunk[tag_at : tag_at + 8], "big"))
        run.redelivered.append(chunk[tag_at + 8] & 1 == 1)
        run.messages.append(
            Message(
                exchange,
                routing_key,
                properties,
                chunk[start:stop],
                0,
                flags,
                now_ms,
                expires_at_ms,
                priority,
            )
        )
        pos = stop + 1
    return pos


def _read_names(channel: Channel, names: bytes) -> tuple[str, str, int] | None:
    """Read exchange, routing key and frame end. None if they are anything else."""
    last = len(names) - 1
    if last < 2 or names[last] != FRAME_END:
        return None
    key_at = 1 + names[0]
    if key_at >= last or key_at + names[key_at] + 1 != last:
        return None
    exchange, routing_key = _text(names[1:key_at]), _text(names[key_at + 1 : last])
    if exchange is None or routing_key is None:
        return None
    route = exchange, routing_key, 0
    if len(names) <= CACHED_BYTES_MAX:
        if len(channel.routes) >= CACHE_ENTRIES_MAX:
            channel.routes.clear()
        channel.routes[names] = route
    return route


def deliver_run(events: list[Event], number: int, consumer_tag: str) -> DeliverRun:
    """Return the run that a delivery to this consumer continues, a new one if there is none."""
    if events:
        last = events[-1]
        if type(last) is DeliverRun and last.channel == number and last.consumer_tag == consumer_tag:
            return last
    run = DeliverRun(number, consumer_tag)
    events.append(run)
    return run


def read_acks(channel: Channel, chunk: bytes, pos: int, events: list[Event]) -> int:
    """Take consecutive basic.ack of ``channel``: both roles, a consumer's as well as confirms."""
    end = len(chunk)
    lead = channel.ack_lead
    tags: list[int] = []
    while pos + ACK_BYTES <= end and chunk.startswith(lead, pos) and chunk[pos + 20] == FRAME_END:
        tag = int.from_bytes(chunk[pos + 11 : pos + 19], "big")
        if chunk[pos + 19] & 1:
            if tags:
                events.append(AckRun(channel.number, tags, False))
                tags = []
            events.append(AckRun(channel.number, [tag], True))
        else:
            tags.append(tag)
        pos += ACK_BYTES
    if tags:
        events.append(AckRun(channel.number, tags, False))
    return pos
