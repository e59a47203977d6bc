"""The MQTT decoder: bytes of any chunking to events, for all versions.

The loop over PUBLISH and PUBACK calls nothing per packet but the Message constructor; every other packet goes to
`mqtt.decode`. The version is a parameter: it is unknown (0) on a server until the CONNECT says it.
"""

from typing import Final, final

from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, RETAIN, Message
from mqtt import constants as c
from mqtt.decode import decode_ack, decode_connect, decode_packet
from mqtt.fields import read_varint
from mqtt.filters import WireCache
from mqtt.packets import AckRun, Event, PublishRun
from mqtt.properties import IS_TEXT, split_publish_properties
from mqtt.reasons import (
    MALFORMED_PACKET,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    TOPIC_ALIAS_INVALID,
    TOPIC_NAME_INVALID,
    MqttError,
    PeerError,
)

# Message flags by the low four bits of a PUBLISH's first byte: DUP, QoS (2), RETAIN; -1 for what is malformed.
_FLAGS: Final[tuple[int, ...]] = (
    *(0, RETAIN, PERSISTENT, PERSISTENT | RETAIN, PERSISTENT | QOS2, PERSISTENT | QOS2 | RETAIN, -1, -1),
    # DUP on QoS 0 [MQTT-3.3.1-2]
    *(-1, -1, PERSISTENT, PERSISTENT | RETAIN, PERSISTENT | QOS2, PERSISTENT | QOS2 | RETAIN, -1, -1),
)


@final
class Decoder:
    """Turns received bytes into events; keeps what is incomplete, and the fault that ended it."""

    __slots__ = (
        "_acks",
        "_aliases",
        "_cache",
        "_chunks",
        "_cold",
        "_gathered",
        "_messages",
        "_needed",
        "_now_ms",
        "_packet_ids",
        "_refused",
        "alias_max",
        "exchange",
        "fault",
        "is_halted",
        "packet_bytes_max",
        "role",
        "version",
    )

    def __init__(self, role: int, version: int, cache: WireCache, exchange: str = c.TOPIC_EXCHANGE) -> None:
        self.role = role
        self.version = version
        self.exchange = exchange
        self.packet_bytes_max = c.CONNECT_BYTES_MAX if role == c.SERVER else c.REMAINING_LENGTH_MAX
        self.alias_max = 0
        self.fault: MqttError | None = None
        self.is_halted = False
        """True after a CONNECT: what follows waits until the server has decided."""
        self._cache = cache
        self._aliases: dict[int, str] = {}
        # Bytes of a packet that is not whole yet: gathered, joined once `_needed` are there.
        self._chunks: list[bytes] = []
        self._gathered = 0
        self._needed = 0
        self._now_ms = 0
        # The runs under way
        self._messages: list[Message] = []
        self._packet_ids: list[int] = []
        self._refused: dict[int, int] = {}
        self._acks: list[int] = []
        self._cold: AckRun | None = None

    def feed(self, data: bytes, now_ms: int = 0) -> list[Event]:
        """Events of all packets that are whole now, in order; PUBACKs may pass PUBLISHes, which they do not touch.

        `now_ms` is the elapsed time at which messages count as published and from which they expire.

        After the peer's fault `fault` is set: what came before it is returned, nothing after it is looked at.
        """
        if self.fault is not None:
            return []
        self._now_ms = now_ms
        if self._chunks:
            self._chunks.append(data)
            self._gathered += len(data)
            if self._gathered < self._needed or self.is_halted:
                return []
            data = b"".join(self._chunks)
            self._chunks = []
        events: list[Event] = []
        pos = 0
        size = len(data)
        try:
            while not self.is_halted:
                if self.version:
                    pos = self._runs(data, pos, size)
                stop = self._whole(data, pos, size)
                if not stop:
                    break
                self._rare(data, pos, stop, events)
                pos = stop
        except MqttError as fault:
            self.fault = fault
        self._flush(events)
        if pos < size and self.fault is None:
            self._chunks = [data[pos:] if pos else data]
            self._gathered = size - pos
            if self.is_halted:
                self._needed = 0
        return events

    def _runs(self, data: bytes, pos: int, size: int) -> int:
        """Take PUBLISH and PUBACK packets from `pos` on; return where something else, or the end, begins."""
        keys = self._cache.keys
        blocks = self._cache.blocks
        exchange = self.exchange
        messages = self._messages
        packet_ids = self._packet_ids
        v5 = self.version == c.V5
        limit = self.packet_bytes_max
        now_ms = self._now_ms
        key_before = ""
        while pos + 1 < size:
            first = data[pos]
            length = data[pos + 1]
            at = pos + 2
            if length > 127:
                # Two bytes of length cover what devices send; the rest goes the long way.
                if pos + 3 >= size or not 0 < data[at] < 128:
                    break
                length += (data[at] << 7) - 128
                at += 1
            stop = at + length
            if stop > size or stop - pos > limit:
                break
            if first == 0x40 and length == 2 and (data[at] or data[at + 1]):
                self._acks.append(data[at] << 8 | data[at + 1])
                pos = stop
                continue
            flags = _FLAGS[first & 15]
            if first & 0xF0 != 0x30 or flags < 0 or length < 3:
                break
            topic_end = at + 2 + (data[at] << 8 | data[at + 1])
            key = keys.get(data[at + 2 : topic_end])
            at = topic_end
            packet_id = 0
            if flags & 1:
                if at + 2 > stop:
                    break
                packet_id = data[at] << 8 | data[at + 1]
                at += 2
            block, marks, expires_ms = b"", 0, 0
            if v5 and at < stop and data[at]:
                start, at = at + 1, at + 1 + data[at]
                known = blocks.get(data[start:at]) if at <= stop else None  # a long one for the long way
                if known is None or (known[1] and (known[1] != IS_TEXT or not _is_text(data[at:stop]))):
                    break
                block, marks, expires_ms = known[0], known[1], known[2] and known[2] + now_ms
            elif v5:
                at += 1
            if key is None or at > stop or (flags & 1 and not packet_id):
                break
            messages.append(
                Message(exchange, key, block, data[at:stop], FORM_MQTT, flags, now_ms, expires_ms)
            )
            packet_ids.append(packet_id)
            if key == key_before and not marks:
                stop = self._repeats(data, pos, topic_end, at, stop)
            key_before, pos = key, stop
        return pos

    def _repeats(self, data: bytes, first_at: int, topic_end: int, body_at: int, stop: int) -> int:
        """Take the PUBLISHes behind the one at `first_at` that differ from it in length, identifier and payload only.

        Many clients publish to one topic: what stands around the payload is then told by two comparisons.
        """
        messages = self._messages
        packet_ids = self._packet_ids
        model = messages[-1]
        exchange, key, block, flags = model.exchange, model.routing_key, model.properties, model.flags
        now_ms, expires_at_ms = model.published_at_ms, model.expires_at_ms
        first = data[first_at]
        is_long = data[first_at + 1] > 127
        head_bytes = 3 if is_long else 2
        topic_bytes, lead_bytes = topic_end - first_at, body_at - first_at
        id_bytes = 2 if flags & PERSISTENT else 0
        topic, after = data[first_at + head_bytes : topic_end], data[topic_end + id_bytes : body_at]
        packet_id = 0
        size, limit = len(data), self.packet_bytes_max
        while data[stop + head_bytes : stop + topic_bytes] == topic and data[stop] == first:
            length = data[stop + 1]
            if is_long != (length > 127):
                break
            if is_long:
                if not 0 < data[stop + 2] < 128:
                    break
                length += (data[stop + 2] << 7) - 128
            body_at = stop + lead_bytes
            end = stop + head_bytes + length
            if end > size or end - stop > limit or body_at > end:
                break
            if id_bytes:
                packet_id = data[stop + topic_bytes] << 8 | data[stop + topic_bytes + 1]
                if not packet_id:
                    break
            if after and data[body_at - len(after) : body_at] != after:
                break
            messages.append(
                Message(exchange, key, block, data[body_at:end], FORM_MQTT, flags, now_ms, expires_at_ms)
            )
            packet_ids.append(packet_id)
            stop = end
        return stop

    def _whole(self, data: bytes, pos: int, size: int) -> int:
        """Where the packet at `pos` ends; 0 if it is not whole (`_needed` then says how many bytes it has)."""
        self._needed = 2
        if pos + 2 > size:
            return 0
        if not self.version and data[pos] & 0xF0 != 0x10:
            raise PeerError(PROTOCOL_ERROR, "first packet is not CONNECT [MQTT-3.1.0-1]")
        at = pos + 1
        length = 0
        shift = 0
        while True:
            if at >= size:
                self._needed = size - pos + 1
                return 0
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 21:
                raise PeerError(MALFORMED_PACKET, "remaining length is longer than four bytes")
        if shift and not byte and self.version == c.V5:
            raise PeerError(MALFORMED_PACKET, "remaining length is not in its shortest form [MQTT-1.5.5-1]")
        stop = at + length
        if stop - pos > self.packet_bytes_max:
            raise PeerError(
                PACKET_TOO_LARGE,
                f"packet of {stop - pos} bytes, {self.packet_bytes_max} are allowed [MQTT-3.2.2-15]",
            )
        if stop > size:
            self._needed = stop - pos
            return 0
        return stop

    def _rare(self, data: bytes, pos: int, stop: int, events: list[Event]) -> None:
        """One whole packet that the run loop left: rare, or frequent but with something unusual in it."""
        first = data[pos]
        kind = first >> 4
        at = pos + 2
        while data[at - 1] > 127:
            at += 1
        if kind == c.PUBLISH:
            self._publish(data, first, at, stop)
            return
        flags = first & 15
        if self.version == c.V31:
            flags &= 7  # DUP may be set on PUBREL, SUBSCRIBE and UNSUBSCRIBE (MQTT 3.1 section 2.1)
        if flags != c.FIXED_FLAGS[kind]:
            raise PeerError(
                MALFORMED_PACKET, f"reserved flags of {c.PACKET_NAMES[kind]} are wrong [MQTT-2.2.2-2]"
            )
        if c.PUBACK <= kind <= c.PUBCOMP:
            self._ack(kind, data, at, stop, events)
            return
        self._flush(events)
        if kind == c.CONNECT:
            if self.version or self.role == c.CLIENT:
                raise PeerError(PROTOCOL_ERROR, "a second CONNECT [MQTT-3.1.0-2]")
            connect = decode_connect(data, at, stop)
            self.version = connect.version
            self.is_halted = True
            events.append(connect)
            return
        events.append(decode_packet(kind, data, at, stop, self.version))

    def _ack(self, kind: int, data: bytes, at: int, stop: int, events: list[Event]) -> None:
        reason = 0
        if stop - at == 2:
            packet_id = data[at] << 8 | data[at + 1]
            if not packet_id:
                raise PeerError(MALFORMED_PACKET, "packet identifier is 0 [MQTT-2.2.1-3]")
        elif self.version == c.V5:
            packet_id, reason = decode_ack(data, at, stop, kind)
        else:
            raise PeerError(MALFORMED_PACKET, f"{c.PACKET_NAMES[kind]} is not two bytes long")
        run = self._cold
        if (
            run is None
            or run.kind != kind
            # A run has one reason for an id: a peer may err and acknowledge it twice, with two.
            or bool(run.reasons) != bool(reason)
            or packet_id in run.reasons
            # A PUBREL frees an id that PUBLISHes before it may carry: keep their order.
            or (self._messages and kind == c.PUBREL)
        ):
            self._flush(events)
            run = self._cold = AckRun(kind, [], {})
        run.packet_ids.append(packet_id)
        if reason:
            run.reasons[packet_id] = reason

    def _flush(self, events: list[Event]) -> None:
        """Close the runs under way. Any order among them is right: see `_ack` and `_publish`."""
        if self._acks:
            events.append(AckRun(c.PUBACK, self._acks, {}))
            self._acks = []
        if self._cold is not None:
            events.append(self._cold)
            self._cold = None
        if self._messages:
            events.append(self._close_run())

    def _close_run(self) -> PublishRun:
        messages = self._messages
        flags = 0
        for message in messages:
            flags |= message.flags
        run = PublishRun(messages, self._packet_ids, bool(flags & RETAIN), bool(flags & QOS2), self._refused)
        self._messages = []
        self._packet_ids = []
        if self._refused:
            self._refused = {}
        return run

    def _publish(self, data: bytes, first: int, at: int, stop: int) -> None:
        """A PUBLISH with a new topic, properties, a long body, or a fault."""
        flags = _FLAGS[first & 15]
        if flags < 0:
            raise PeerError(MALFORMED_PACKET, "QoS 3, or DUP at QoS 0 [MQTT-3.3.1-2] [MQTT-3.3.1-4]")
        topic_end = at + 2
        if topic_end <= stop:
            topic_end += data[at] << 8 | data[at + 1]
        packet_end = topic_end + 2 if flags & PERSISTENT else topic_end
        if packet_end > stop:
            raise PeerError(MALFORMED_PACKET, "PUBLISH ends inside its variable header")
        topic = data[at + 2 : topic_end]
        packet_id = 0
        if flags & PERSISTENT:
            packet_id = data[topic_end] << 8 | data[topic_end + 1]
            if not packet_id:
                raise PeerError(MALFORMED_PACKET, "packet identifier is 0 [MQTT-2.2.1-3]")
        block = b""
        alias = expires_ms = 0
        if self.version == c.V5:
            block, alias, expires_ms, packet_end = self._publish_properties(data, packet_end, stop)
            if expires_ms:
                expires_ms += self._now_ms
        number = alias & ~IS_TEXT
        key = self._resolve(topic, number) if number else self._cache.key(topic)
        body = data[packet_end:stop]
        message = Message(self.exchange, key, block, body, FORM_MQTT, flags, self._now_ms, expires_ms)
        self._messages.append(message)
        self._packet_ids.append(packet_id)
        if self.role == c.SERVER:
            if key.startswith(c.SYS_KEY_PREFIX):
                self._refused[id(message)] = TOPIC_NAME_INVALID
            elif alias & IS_TEXT and not _is_text(body):
                self._refused[id(message)] = PAYLOAD_FORMAT_INVALID

    def _publish_properties(self, data: bytes, pos: int, stop: int) -> tuple[bytes, int, int, int]:
        length = data[pos] if pos < stop else 128
        start = pos + 1
        if length > 127:
            length, start = read_varint(data, pos, stop)
        end = start + length
        if end > stop:
            raise PeerError(MALFORMED_PACKET, "property length runs past the packet")
        raw = data[start:end]
        blocks = self._cache.blocks
        known = blocks.get(raw)
        if known is None:
            known = split_publish_properties(raw, self.role == c.SERVER)
            if length <= c.PROPERTIES_CACHED_BYTES_MAX:
                if len(blocks) >= c.PROPERTIES_CACHE_MAX:
                    blocks.clear()
                blocks[raw] = known
        return known[0], known[1], known[2], end

    def _resolve(self, topic: bytes, alias: int) -> str:
        """The routing key that a topic alias stands for, or set it [MQTT-3.3.2-9] [MQTT-3.3.2-10]."""
        if alias > self.alias_max:
            raise PeerError(
                TOPIC_ALIAS_INVALID, f"topic alias {alias} is above {self.alias_max} [MQTT-3.3.2-9]"
            )
        if topic:
            key = self._cache.key(topic)
            self._aliases[alias] = key
            return key
        known = self._aliases.get(alias)
        if known is None:
            raise PeerError(PROTOCOL_ERROR, f"topic alias {alias} was never set [MQTT-3.3.2-12]")
        return known


def _is_text(body: bytes) -> bool:
    """Whether a payload is the UTF-8 that its format indicator says it is (section 3.3.2.3.2)."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
