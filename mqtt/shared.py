"""Shared subscriptions (MQTT 5 section 4.8.2): one queue a share name and filter, its members take turns.

The queue is durable and lives as long as any session subscribes to it, so what comes while all members are away waits
for the first one back.
"""

from typing import ClassVar, Final, final

from edge.clock import Clock
from edge.core.consumer import Consumer, Entry
from edge.core.message import FORM_MQTT, PERSISTENT, Message
from edge.core.queue import Queue
from edge.net.protocol import WireProtocol
from mqtt.connection import Connection
from mqtt.constants import V5
from mqtt.convert import mqtt_properties
from mqtt.delivery import QOS0, QOS0_UNSENT_BYTES_MAX, run_room
from mqtt.encode import encode_publish, publish_properties
from mqtt.filters import WireCache, hides_dollar
from mqtt.packets import Subscription
from mqtt.session import Grant, Session, grant_of

FILTER_ARGUMENT: Final = "x-mqtt-filter"
"""Queue argument that keeps the topic filter."""


def shared_queue_name(share: str, topic_filter: str) -> str:
    """The name of a shared subscription's queue."""
    return f"mqtt-shared-{share}-{topic_filter}"


class SharedQueue(Queue):
    """The queue behind a shared subscription. QoS 0 goes to the next live member at once, or nowhere."""

    kind: ClassVar[str] = "mqtt-shared"
    _turn = 0

    def needs_disk_for(self, message: Message) -> bool:
        """See `Queue.needs_disk_for`: QoS 0 goes to a member or nowhere."""
        return bool(message.flags & PERSISTENT) and super().needs_disk_for(message)

    def enqueue(self, messages: list[Message], publisher: object = None) -> bool:
        """See `Queue.enqueue`."""
        if hides_dollar(str(self.arguments.get(FILTER_ARGUMENT, "#"))):
            messages = [message for message in messages if not message.routing_key.startswith("$")]
        kept = [message for message in messages if message.flags & PERSISTENT]
        if len(kept) < len(messages):
            self._pass_on([message for message in messages if not message.flags & PERSISTENT])
        return super().enqueue(kept, publisher) if kept else False

    def _pass_on(self, messages: list[Message]) -> None:
        """Give QoS 0 by turns to the members that read what they are sent; without any it is dropped."""
        members = [one for one in self.consumers if isinstance(one, SharedLink) and one.reads()]
        if not members:
            self.count_dropped(QOS0, len(messages))
            return
        hands: list[list[Entry]] = [[] for _ in members]
        for message in messages:
            self._turn += 1
            hands[self._turn % len(members)].append((0, message, 0))
        for member, hand in zip(members, hands, strict=True):
            if hand:
                member.send(hand)


@final
class SharedLink(Consumer):
    """One session's part in a shared subscription, while it is connected."""

    __slots__ = ("_cache", "_clock", "_grants", "_machine", "_protocol", "_session", "_subscription")

    def __init__(
        self,
        session: Session,
        subscription: Subscription,
        queue: Queue,
        protocol: WireProtocol,
        machine: Connection,
        cache: WireCache,
        clock: Clock,
    ) -> None:
        super().__init__(session.client_id, queue)
        self._session = session
        self._subscription = subscription
        self._protocol = protocol
        self._machine = machine
        self._cache = cache
        self._clock = clock
        self._grants: dict[str, Grant] = {}

    def capacity(self) -> int:
        if not self._protocol.writable:
            return 0
        return min(self._session.inflight.window - len(self._session.inflight), run_room(self.queue))

    def reads(self) -> bool:
        """Whether the client keeps up with what it is sent at QoS 0, which nothing else bounds."""
        transport = self._protocol.transport
        return transport is not None and transport.get_write_buffer_size() <= QOS0_UNSENT_BYTES_MAX

    def cancelled(self) -> None:
        """The queue was deleted under its members: the client has to know, and comes back to a new one."""
        self._protocol.abort()

    def deliver(self, entries: list[Entry]) -> None:
        settled = self.send(entries)
        if settled:
            self.queue.settle(settled)

    def send(self, entries: list[Entry]) -> list[Entry]:
        """Write entries in one go; return those that need no acknowledgement."""
        out: list[bytes] = []
        settled: list[Entry] = []
        for entry in entries:
            message = entry[1]
            grant = self._grant(message)
            flags = message.flags
            first = grant.firsts[flags & 7]
            qos = first >> 1 & 3
            properties = self._properties(message, grant)
            size = len(grant.field) + 2 + len(properties) + len(message.body)
            expired = 0 < message.expires_at_ms <= self._clock.elapsed_ms()
            if grant.is_hidden or expired or size + 5 > self._machine.peer_packet_bytes_max:
                settled.append(entry)
                continue
            packet_id = 0
            if qos:
                packet_id = self._take_id(entry, qos)
                if entry[2]:
                    first |= 8
            else:
                settled.append(entry)
            out.append(encode_publish(first, grant.field, packet_id, properties, message.body))
        if out:
            self._protocol.write(b"".join(out))
        return settled

    def send_again(self) -> None:
        """What the session holds of QoS 2 from before, by the same identifiers [MQTT-4.8.2-5]."""
        for packet_id, (queue, entry, qos) in self._session.inflight.shared.items():
            if queue is self.queue and qos == 2:
                grant = self._grant(entry[1])
                properties = self._properties(entry[1], grant)
                self._protocol.write(encode_publish(0x3C, grant.field, packet_id, properties, entry[1].body))

    def _take_id(self, entry: Entry, qos: int) -> int:
        own = self._session.queue
        next_sequence = own.next_sequence if own is not None else 0
        return self._session.inflight.take_shared(self.queue, entry, qos, next_sequence)

    def _grant(self, message: Message) -> Grant:
        grant = self._grants.get(message.routing_key)
        if grant is None:
            if len(self._grants) >= 256:
                self._grants.clear()
            field = self._cache.field(message.routing_key)
            grant = self._grants[message.routing_key] = grant_of([self._subscription], field, False)
        return grant

    def _properties(self, message: Message, grant: Grant) -> bytes:
        if self._machine.version != V5:
            return b""
        block = message.properties if message.form == FORM_MQTT else mqtt_properties(message)
        return publish_properties(message, self._clock.elapsed_ms(), grant.extra, block)
