"""Torture by MQTT: publishers at QoS 1 and 2, and subscribers whose sessions stay, as the specification wants them.

The clients keep their state across the node's kills, as devices would: what has no answer is sent again under its
packet identifier (MQTT section 4.4), and what came at QoS 2 is known by its identifier until it is released.
"""

import asyncio
import random
from typing import Final

from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, Message
from edge.net.protocol import WireProtocol
from edge.torture.ledger import Arrivals, Ledger, body_of
from mqtt import constants as c
from mqtt import encode
from mqtt.connection import Connection
from mqtt.filters import WireCache, routing_key_of
from mqtt.packets import AckRun, Connack, Connect, Event, PublishRun, Suback, Subscribe, Subscription

RETRY_S: Final = 0.02
WINDOW: Final = 50
"""Publishes of a client that are not answered finally."""
BATCH_MAX: Final = 8
DUP: Final = 0x08
"""Of the first byte of a PUBLISH that may have come before."""
SUBSCRIBE_ID: Final = c.PACKET_ID_MAX
"""Publishes take theirs from the bottom."""


class Peer(WireProtocol):
    """One connection of a client."""

    def __init__(self, client: "MqttPeer") -> None:
        super().__init__()
        self.machine = Connection(c.CLIENT, WireCache())
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self._client = client

    def on_connected(self) -> None:
        self.write(self.machine.connect(Connect(c.V311, self._client.name, clean_start=False)))

    def on_bytes(self, data: bytes) -> None:
        for event in self.machine.receive(data):
            self._client.on_event(self, event)
        if self.machine.fault is not None:
            self.abort()

    def on_closed(self, exc: Exception | None) -> None:
        # It is cancelled with the task that waits for it.
        if not self.gone.done():
            self.gone.set_result(None)


class MqttPeer:
    """A client with a session that stays; reconnects for ever."""

    def __init__(self, ledger: Ledger, name: str, port: int) -> None:
        self.ledger = ledger
        self.name = name
        self.port = port
        self.peer: Peer | None = None
        self._has_session = False

    async def run(self) -> None:
        """Until cancelled, whatever happens to the node."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, peer = await loop.create_connection(lambda: Peer(self), "127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self.talk(peer)
            finally:
                self.peer = None
                peer.abort()

    async def talk(self, peer: Peer) -> None:
        """Until the connection is gone."""
        await peer.gone

    def on_event(self, peer: Peer, event: Event) -> None:
        """A packet or a run of them."""
        if isinstance(event, Connack):
            if self._has_session and not event.session_present:
                self.ledger.sessions_lost += 1
            self._has_session = True
            self.peer = peer
            self.on_open(peer)
        elif isinstance(event, AckRun):
            for packet_id in event.packet_ids:
                self.on_answer(peer, event.kind, packet_id)
        elif isinstance(event, PublishRun):
            for message, packet_id in zip(event.messages, event.packet_ids, strict=True):
                self.on_publish(peer, message, packet_id)

    def on_open(self, peer: Peer) -> None:
        """The node has answered CONNECT."""

    def on_answer(self, peer: Peer, kind: int, packet_id: int) -> None:
        """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    def on_publish(self, peer: Peer, message: Message, packet_id: int) -> None:
        """PUBLISH."""


class MqttPublisher(MqttPeer):
    """Publishes to one topic at QoS 1 or 2."""

    def __init__(
        self, ledger: Ledger, name: str, port: int, topic: str, qos: int, rng: random.Random
    ) -> None:
        super().__init__(ledger, name, port)
        self._may_send = False
        self._qos = qos
        self._routing_key = routing_key_of(topic)
        self._rng = rng
        #: Packet id -> number, and whether PUBREC came; in order.
        self._open: dict[int, tuple[int, bool]] = {}
        self._next_id = 1
        self._progress = asyncio.Event()
        ledger.publisher(name)

    async def talk(self, peer: Peer) -> None:
        peer.gone.add_done_callback(lambda _: self._progress.set())
        while not peer.gone.done():
            if self._may_send and self.peer is peer and len(self._open) < WINDOW:
                for _ in range(self._rng.randint(1, BATCH_MAX)):
                    self._send_new(peer)
                await asyncio.sleep(self._rng.choice((0, 0.001, 0.004)))
            else:
                self._progress.clear()
                await self._progress.wait()

    def go_on(self) -> None:
        """Publish new messages from now on."""
        self._may_send = True
        self._progress.set()

    def hold(self) -> None:
        """Publish nothing new; what has no answer is still seen through, over new connections too."""
        self._may_send = False

    def _send_new(self, peer: Peer) -> None:
        packet_id = self._next_id
        self._next_id = packet_id % (SUBSCRIBE_ID - 1) + 1
        number = self.ledger.send(self.name)
        self._open[packet_id] = number, False
        peer.write(self._encode(peer, packet_id, number))

    def _encode(self, peer: Peer, packet_id: int, number: int) -> bytes:
        flags = PERSISTENT | (QOS2 if self._qos == 2 else 0)
        message = Message("", self._routing_key, b"", body_of(self.name, number), FORM_MQTT, flags)
        machine = peer.machine
        return encode.encode_publishes(machine.version, [message], [packet_id], machine.cache, self._qos, 0)[
            0
        ]

    def on_open(self, peer: Peer) -> None:
        """Send again what has no answer, in order [MQTT-4.4.0-1]."""
        for packet_id, (number, is_received) in self._open.items():
            if is_received:
                peer.write(peer.machine.acknowledge(c.PUBREL, [packet_id]))
            else:
                raw = self._encode(peer, packet_id, number)
                peer.write(bytes((raw[0] | DUP,)) + raw[1:])
        self._progress.set()

    def on_answer(self, peer: Peer, kind: int, packet_id: int) -> None:
        known = self._open.get(packet_id)
        if known is None:
            return
        number = known[0]
        self.ledger.confirmed[self.name].add(number)
        if kind == c.PUBREC:
            self._open[packet_id] = number, True
            peer.write(peer.machine.acknowledge(c.PUBREL, [packet_id]))
        else:
            del self._open[packet_id]
            self._progress.set()


class MqttSubscriber(MqttPeer):
    """Subscribes at QoS 1 or 2 and answers a little later."""

    def __init__(
        self, ledger: Ledger, name: str, port: int, arrivals: Arrivals, topic_filter: str, qos: int
    ) -> None:
        super().__init__(ledger, name, port)
        self.subscribed = asyncio.Event()
        self._arrivals = arrivals
        self._subscription = Subscription(topic_filter, qos)
        #: Packet ids of QoS 2 that are not released.
        self._received: set[int] = set()
        self._answers: dict[int, list[int]] = {}

    def on_open(self, peer: Peer) -> None:
        self._answers = {}
        if not self.subscribed.is_set():
            packet = Subscribe(SUBSCRIBE_ID, [self._subscription])
            peer.write(encode.encode_subscribe(packet, peer.machine.version))

    def on_event(self, peer: Peer, event: Event) -> None:
        super().on_event(peer, event)
        if isinstance(event, Suback):
            self.subscribed.set()

    def on_publish(self, peer: Peer, message: Message, packet_id: int) -> None:
        if not message.flags & QOS2:
            self._arrivals.arrive(message.body)
            self._answer_later(peer, c.PUBACK, packet_id)
            return
        if packet_id not in self._received:
            self._received.add(packet_id)
            self._arrivals.arrive(message.body)
        self._answer_later(peer, c.PUBREC, packet_id)

    def on_answer(self, peer: Peer, kind: int, packet_id: int) -> None:
        if kind == c.PUBREL:
            self._received.discard(packet_id)
            self._answer_later(peer, c.PUBCOMP, packet_id)

    def _answer_later(self, peer: Peer, kind: int, packet_id: int) -> None:
        """With others of the next millisecond, so that some are open whenever the node is killed."""
        if not self._answers:
            peer.loop.call_later(0.001, self._answer, peer)
        self._answers.setdefault(kind, []).append(packet_id)

    def _answer(self, peer: Peer) -> None:
        if self.peer is not peer:
            return
        answers, self._answers = self._answers, {}
        for kind, packet_ids in answers.items():
            peer.write(peer.machine.acknowledge(kind, packet_ids))
