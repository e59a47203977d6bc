"""From the broker to an MQTT client: the session's queue, and the consumer that encodes what it hands over.

Runs of messages become one write. QoS 0 for a live session passes the queue by; when many sessions get the same run,
the bytes of the first are used for all.
"""

from bisect import bisect_left
from operator import itemgetter
from typing import ClassVar, Final, final

from edge.backpressure import BackPressure
from edge.clock import Clock
from edge.core.consumer import Consumer, Entry
from edge.core.message import FORM_MQTT, PERSISTENT, Message
from edge.core.queue import Queue
from edge.net.protocol import WRITE_HIGH_BYTES, WireProtocol
from mqtt.connection import Connection
from mqtt.constants import (
    OUTBOUND_ALIAS_MAX,
    PACKET_ID_MAX,
    REMAINING_LENGTH_MAX,
    TOPIC_CACHED_BYTES_MAX,
    V5,
)
from mqtt.convert import mqtt_properties
from mqtt.encode import publish_properties
from mqtt.fields import varint
from mqtt.properties import TOPIC_ALIAS
from mqtt.session import Grant, Session

QOS0_UNSENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Unsent bytes above which a slow client loses QoS 0 messages: a second's burst of 40 k/s, and little enough for a
dozen such clients on a Pi."""
QOS0: Final = "qos0"
"""Why a session's queue has dropped messages: their client was away, or did not read."""
_ALIASED: Final = b"\0\0"
_NO_PROPERTIES: Final = b"\0"
# First byte and remaining length of a PUBLISH, by both, for lengths of one byte.
_HEADS: Final[dict[int, tuple[bytes, ...]]] = {
    first: tuple([bytes((first, length)) for length in range(128)]) for first in range(0x30, 0x40)
}


def run_room(queue: Queue) -> int:
    """How many messages of the queue's usual size go into one run: large ones must not pile up unsent in RAM."""
    return 1 + WRITE_HIGH_BYTES // (queue.message_bytes // (queue.messages or 1) + 64)


@final
class FanOut:
    """The last run that went to sessions: what all of them need to know of it, and its bytes at QoS 0 by version."""

    __slots__ = ("encoded", "is_above_qos0", "key", "run")

    def __init__(self) -> None:
        self.run: list[Message] | None = None
        self.encoded: dict[bool, bytes] = {}
        #: The routing key that all have, and whether they are above QoS 0; None when they differ in either.
        self.key: str | None = None
        self.is_above_qos0 = False

    def look_at(self, messages: list[Message]) -> None:
        """Look through a run, unless it is that of the session before."""
        if self.run is messages:
            return
        self.run = messages
        self.encoded.clear()
        key, persistent = messages[0].routing_key, messages[0].flags & PERSISTENT
        others = [m for m in messages if m.routing_key != key or m.flags & PERSISTENT != persistent]
        self.key = None if others else key
        self.is_above_qos0 = persistent > 0


class SessionQueue(Queue):
    """A session's queue: keeps what must survive, passes QoS 0 straight to the connection."""

    kind: ClassVar[str] = "mqtt"
    session: Session | None = None

    def needs_disk_for(self, message: Message) -> bool:
        """See `Queue.needs_disk_for`: QoS 0 goes to the connection or nowhere."""
        return bool(message.flags & PERSISTENT) and super().needs_disk_for(message)

    def enqueue(self, messages: list[Message], publisher: object = None) -> bool:
        """See `Queue.enqueue`. Takes out what is not for this session: `$`-topics, its own with no-local."""
        session = self.session
        if session is None or not messages:
            return super().enqueue(messages, publisher)
        link = session.link
        run = FanOut() if link is None else link.fan_out
        run.look_at(messages)
        is_own = publisher is session
        if run.key is not None:
            grant = session.grants.get(run.key) or session.grant(run.key)
            if grant.is_hidden or (is_own and grant.no_local):
                return False
            if run.is_above_qos0 and grant.qos:
                return super().enqueue(messages, publisher)
            self._pass_on(messages, grant.is_plain)
            return False
        kept: list[Message] = []
        direct: list[Message] = []
        is_plain = True
        for message in messages:
            grant = session.grants.get(message.routing_key) or session.grant(message.routing_key)
            if grant.is_hidden or (is_own and grant.no_local):
                continue
            if message.flags & PERSISTENT and grant.qos:
                kept.append(message)
            else:
                direct.append(message)
                if not grant.is_plain:
                    is_plain = False
        if direct:
            # A run that goes to every subscriber whole is encoded once.
            self._pass_on(messages if len(direct) == len(messages) else direct, is_plain)
        return super().enqueue(kept, publisher) if kept else False

    def _pass_on(self, messages: list[Message], is_plain: bool) -> None:
        """Send at QoS 0 to the client, if it is there. `is_plain`: the grants of all messages are."""
        session = self.session
        assert session is not None
        if session.link is not None:
            session.link.deliver_now(messages, is_plain)
        else:
            session.qos0_dropped += len(messages)
            self.count_dropped(QOS0, len(messages))


@final
class Link(Consumer):
    """A session's queue and its live connection, for as long as both exist."""

    __slots__ = (
        "_aliases",
        "_back_pressure",
        "_clock",
        "_is_v5",
        "_limit",
        "_machine",
        "_protocol",
        "_session",
        "_unannounced",
        "delivered",
        "fan_out",
    )

    def __init__(
        self,
        session: Session,
        queue: Queue,
        protocol: WireProtocol,
        machine: Connection,
        clock: Clock,
        fan_out: FanOut,
        back_pressure: BackPressure,
    ) -> None:
        # A durable queue's QoS 2 packet ids must mean the same message after a crash: only what is on disk goes out.
        committed_only = queue.durable and session.max_qos() == 2
        super().__init__(session.client_id, queue, committed_only=committed_only)
        self.delivered = 0
        self._session = session
        self._protocol = protocol
        self._machine = machine
        self._clock = clock
        self.fan_out = fan_out
        self._back_pressure = back_pressure
        self._is_v5 = machine.version == V5
        self._limit = machine.peer_packet_bytes_max
        self._aliases: dict[str, int] = {}
        #: Keys whose alias the client does not know yet: no PUBLISH that says it was small enough so far.
        self._unannounced: set[str] = set()

    def capacity(self) -> int:
        ready = self.queue.ready
        if not self._protocol.writable or not ready:
            return 0
        first = ready[0][0]
        room = min(self._session.inflight.room(first), run_room(self.queue))
        if room > 1 and ready[min(room, len(ready)) - 1][0] >= first + room:
            # There are gaps, and identifiers are bounded by the distance of sequences, not by their number.
            return bisect_left(ready, first + room, 0, min(room, len(ready)), key=itemgetter(0))
        return room

    def cancelled(self) -> None:
        """The queue was deleted under the session: its client has to know, and comes back to a new one."""
        self._protocol.abort()

    def deliver(self, entries: list[Entry]) -> None:
        session = self._session
        inflight = session.inflight
        is_v5 = self._is_v5
        out: list[bytes] = []
        settled: list[Entry] = []
        # Of the packet before: one of the same topic, flags and size differs in identifier and payload only.
        key, flags, size, first = "", 0, -1, 0
        lead = properties = b""
        for entry in entries:
            sequence, message, times = entry
            body = message.body
            if (
                len(body) != size
                or message.routing_key != key
                or message.flags != flags
                or times
                or message.expires_at_ms
                or (is_v5 and message.properties)
            ):
                size = -1
                key = message.routing_key
                grant = session.grants.get(key) or session.grant(key)
                if grant.is_hidden or (message.expires_at_ms and self._is_expired(message)):
                    settled.append(entry)
                    continue
                flags = message.flags
                first = grant.firsts[flags & 7 | flags >> 1 & 8]
                properties = self._properties(message, grant) if is_v5 else b""
                length = len(grant.field) + len(properties) + len(body) + (2 if first & 6 else 0)
                if length > self._limit - 5 and not self._fits(length):
                    settled.append(entry)
                    continue
                if times:
                    first |= 8
                elif not (grant.extra or message.expires_at_ms or (is_v5 and message.properties)):
                    size = len(body)
                lead = (
                    _HEADS[first][length] if length < 128 else bytes((first,)) + varint(length)
                ) + grant.field
                if grant.is_announcing:
                    self._announced(key, grant)
            out.append(lead)
            if first & 6:
                packet_id = sequence % PACKET_ID_MAX + 1
                out.append(packet_id.to_bytes(2, "big"))
                if first & 2:
                    inflight.qos1[packet_id] = entry
                else:
                    inflight.qos2[packet_id] = entry
            else:
                settled.append(entry)
            if properties:
                out.append(properties)
            out.append(body)
        self.delivered += len(entries)
        if out:
            self._protocol.write(b"".join(out))
        if settled:
            self.queue.settle(settled)

    def deliver_now(self, messages: list[Message], is_plain: bool) -> None:
        """Send at QoS 0, past the queue. `is_plain`: the grants of all messages are."""
        protocol = self._protocol
        if not protocol.writable:
            self._back_pressure.hold(self)
            if self._unsent_bytes() > QOS0_UNSENT_BYTES_MAX:
                self._session.qos0_dropped += len(messages)
                self.queue.count_dropped(QOS0, len(messages))
                return
        self.delivered += len(messages)
        fan_out = self.fan_out
        is_shared = is_plain and self._limit > REMAINING_LENGTH_MAX and not self._machine.peer_alias_max
        if is_shared and fan_out.run is messages:
            known = fan_out.encoded.get(self._is_v5)
            if known is not None:
                protocol.write(known)
                return
        encoded = self._encode_qos0(messages)
        protocol.write(encoded)
        if is_shared:
            fan_out.look_at(messages)
            fan_out.encoded[self._is_v5] = encoded

    def _encode_qos0(self, messages: list[Message]) -> bytes:
        session = self._session
        is_v5 = self._is_v5
        out: list[bytes] = []
        # As in `deliver`
        key, flags, size = "", 0, -1
        lead = b""
        for message in messages:
            body = message.body
            if (
                len(body) != size
                or message.routing_key != key
                or message.flags != flags
                or (is_v5 and (message.properties or message.expires_at_ms))
            ):
                key, flags = message.routing_key, message.flags
                grant = session.grants.get(key) or session.grant(key)
                first = grant.firsts[flags & 7 | flags >> 1 & 8] & 0xF9
                properties = self._properties(message, grant) if is_v5 else b""
                length = len(grant.field) + len(properties) + len(body)
                if length > self._limit - 5 and not self._fits(length):
                    size = -1
                    continue
                lead = _HEADS[first][length] if length < 128 else bytes((first,)) + varint(length)
                lead += grant.field + properties
                is_its_own = grant.extra or (is_v5 and (message.properties or message.expires_at_ms))
                size = -1 if is_its_own else len(body)
                if grant.is_announcing:
                    self._announced(key, grant)
            out.append(lead)
            out.append(body)
        return b"".join(out)

    def _unsent_bytes(self) -> int:
        transport = self._protocol.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def _fits(self, remaining_length: int) -> bool:
        """Whether a packet is within the client's maximum packet size; if not it is dropped [MQTT-3.1.2-25]."""
        return 1 + len(varint(remaining_length)) + remaining_length <= self._limit

    def _is_expired(self, message: Message) -> bool:
        """Expired while it waited: must not be sent [MQTT-3.3.2-5]."""
        expires_at_ms = message.expires_at_ms
        return expires_at_ms > 0 and expires_at_ms <= self._clock.elapsed_ms()

    def _properties(self, message: Message, grant: Grant) -> bytes:
        block = message.properties if message.form == FORM_MQTT else mqtt_properties(message)
        if self._machine.peer_alias_max and not (grant.field is _ALIASED or grant.is_announcing):
            self._alias(message.routing_key, grant)
        extra = grant.extra
        if not message.expires_at_ms:
            if not extra and not block:
                return _NO_PROPERTIES
            extra += block
            return varint(len(extra)) + extra
        return publish_properties(message, self._clock.elapsed_ms(), extra, block)

    def _announced(self, routing_key: str, grant: Grant) -> None:
        """The PUBLISH that tells the client of the alias is written."""
        grant.is_announcing = False
        grant.field = _ALIASED
        self._unannounced.discard(routing_key)

    def _alias(self, routing_key: str, grant: Grant) -> None:
        """Give the topic an alias while there are free ones: first come, first served (section 3.3.2.3.4)."""
        alias = self._aliases.get(routing_key)
        if alias is None:
            is_full = len(self._aliases) >= min(self._machine.peer_alias_max, OUTBOUND_ALIAS_MAX)
            if is_full or len(routing_key) > TOPIC_CACHED_BYTES_MAX:
                return
            alias = self._aliases[routing_key] = len(self._aliases) + 1
            self._unannounced.add(routing_key)
        if routing_key in self._unannounced:
            grant.is_announcing = True
        else:
            grant.field = _ALIASED
        grant.is_plain = False
        grant.extra += bytes((TOPIC_ALIAS,)) + alias.to_bytes(2, "big")
