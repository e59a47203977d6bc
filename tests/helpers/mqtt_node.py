"""A broker with nothing but MQTT, in the test's event loop, and a client that shows every packet.

`async with MqttNode(tmp_path) as node: a = await node.client("a"); ...`
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, RETAIN, Message
from edge.store.store import Store
from mqtt import constants as c
from mqtt import encode
from mqtt.connection import Connection
from mqtt.filters import WireCache, routing_key_of, topic_of
from mqtt.limits import MqttLimits
from mqtt.packets import (
    AckRun,
    Connack,
    Connect,
    Disconnect,
    Event,
    PublishRun,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from mqtt.properties import Properties
from mqtt.server import MqttServerProtocol
from mqtt.service import MqttService
from tests.helpers.brokers import crash

T = TypeVar("T")
WAIT_S = 5.0
SILENCE_S = 0.1


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.005)


class TestClock(Clock):
    """Elapsed time that a test can move on."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.travelled_ms = 0

    def elapsed_ms(self) -> int:
        return super().elapsed_ms() + self.travelled_ms


class MqttNode:
    """Start, stop, and start again on the same data."""

    def __init__(self, directory: Path, limits: MqttLimits | None = None) -> None:
        self.directory = directory
        self.limits = limits
        self.clock = TestClock()
        self.store: Store
        self.broker: Broker
        self.service: MqttService
        self.port = 0
        self._server: asyncio.Server
        self._clients: list[RawClient] = []

    async def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.directory)
        await self.store.open()
        self.broker = Broker("test", self.store, self.clock, Auth())
        self.service = MqttService(self.broker, self.limits)
        await self.broker.recover()
        await self.service.recover()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: MqttServerProtocol(self.service), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for client in self._clients:
            client.abort()
        self._clients = []
        for connection in list(self.broker.connections.values()):
            connection.shut_down("the node is stopping")
        await asyncio.sleep(0)
        self.broker.save_clock()
        await self.service.stop()
        await self.broker.close()
        await self.store.close()

    async def kill(self) -> None:
        """End as by SIGKILL: nobody is told anything, and what is not committed is gone."""
        self._server.close()
        for connection in list(self.service.connected.values()):
            connection.is_over = True
        for client in self._clients:
            client.abort()
        self._clients = []
        self.service.sys.stop()
        await crash(self.broker)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def __aenter__(self) -> "MqttNode":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def raw(self) -> "RawClient":
        """A TCP connection on which nothing was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = RawClient(reader, writer)
        self._clients.append(client)
        return client

    async def client(
        self,
        client_id: str,
        version: int = c.V311,
        *,
        clean: bool = True,
        keep_alive_s: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        properties: dict[int, Any] | None = None,
        is_bridge: bool = False,
    ) -> "RawClient":
        """A client that has sent CONNECT and got its CONNACK, whatever that says (`connack`)."""
        client = await self.raw()
        connect = Connect(version, client_id, clean, keep_alive_s, username, password, will, properties or {})
        connect.is_bridge = is_bridge
        client.send(client.machine.connect(connect))
        client.connack = await client.expect(Connack)
        return client


class RawClient:
    """The machine in the client role on a socket; what comes in is looked at packet by packet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.machine = Connection(c.CLIENT, WireCache())
        self.connack = Connack()
        self._reader = reader
        self._writer = writer
        self._events: list[Event] = []
        self._next_id = 0

    # -- out -------------------------------------------------------------------------------------------------------

    def send(self, raw: bytes) -> None:
        self._writer.write(raw)

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def publish(
        self,
        topic: str,
        body: bytes,
        qos: int = 0,
        *,
        retain: bool = False,
        packet_id: int = 0,
        dup: bool = False,
        properties: bytes = b"",
    ) -> int:
        """Send one PUBLISH; returns its packet id."""
        packet_id = packet_id or (self.next_id() if qos else 0)
        flags = (PERSISTENT if qos else 0) | (QOS2 if qos == 2 else 0) | (RETAIN if retain else 0)
        message = Message("", routing_key_of(topic), properties, body, FORM_MQTT, flags)
        raw = encode.encode_publishes(self.machine.version, [message], [packet_id], WireCache(), qos, 0)[0]
        self.send(bytes((raw[0] | 8,)) + raw[1:] if dup else raw)
        return packet_id

    async def published(self, topic: str, body: bytes, qos: int = 1, **options: Any) -> int:
        """Publish and wait for the whole flow; returns the reason code of the first answer."""
        packet_id = self.publish(topic, body, qos, **options)
        if qos == 0:
            return 0
        answer = await self.pick(AckRun)
        assert answer.kind == (c.PUBACK if qos == 1 else c.PUBREC)
        assert answer.packet_ids == [packet_id]
        if qos == 2:
            self.ack(c.PUBREL, packet_id)
            assert (await self.pick(AckRun)).kind == c.PUBCOMP
        return answer.reasons.get(packet_id, 0)

    def ack(self, kind: int, *packet_ids: int) -> None:
        self.send(self.machine.acknowledge(kind, list(packet_ids)))

    async def subscribe(self, *filters: str, qos: int = 0, **options: Any) -> list[int]:
        """Subscribe; returns the reason codes of the SUBACK."""
        identifier = options.get("identifier", 0)
        properties: Properties = {0x0B: identifier} if isinstance(identifier, int) and identifier else {}
        subscriptions = [Subscription(one, qos, **options) for one in filters]
        self.send(
            encode.encode_subscribe(
                Subscribe(self.next_id(), subscriptions, properties), self.machine.version
            )
        )
        return (await self.expect(Suback)).reasons

    async def unsubscribe(self, *filters: str) -> list[int]:
        self.send(encode.encode_unsubscribe(Unsubscribe(self.next_id(), list(filters)), self.machine.version))
        return (await self.expect(Unsuback)).reasons

    def disconnect(self, reason: int = 0, properties: dict[int, Any] | None = None) -> None:
        self.send(encode.encode_disconnect(reason, properties or {}, self.machine.version))
        self._writer.close()

    async def leave(self, reason: int = 0, properties: dict[int, Any] | None = None) -> None:
        """Disconnect and wait until the node has noticed."""
        self.send(encode.encode_disconnect(reason, properties or {}, self.machine.version))
        await self.closed()

    def abort(self) -> None:
        """Lose the connection."""
        self._writer.transport.abort()

    def pause_reading(self) -> None:
        """Let the node's bytes pile up."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def resume_reading(self) -> None:
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.resume_reading()

    # -- in --------------------------------------------------------------------------------------------------------

    async def _event(self) -> Event | None:
        """The next event; of a run one message or acknowledgement at a time. None at the end."""
        while not self._events:
            data = await self._reader.read(65_536)
            if not data:
                return None
            for event in self.machine.receive(data):
                if isinstance(event, PublishRun):
                    for message, packet_id in zip(event.messages, event.packet_ids, strict=True):
                        self._events.append(PublishRun([message], [packet_id]))
                elif isinstance(event, AckRun):
                    for packet_id in event.packet_ids:
                        reasons = {packet_id: event.reasons[packet_id]} if packet_id in event.reasons else {}
                        self._events.append(AckRun(event.kind, [packet_id], reasons))
                else:
                    self._events.append(event)
            assert self.machine.fault is None, self.machine.fault
        return self._events.pop(0)

    async def read_raw(self, size: int) -> bytes:
        """The next bytes as they are; not to be mixed with a packet that was read in part."""
        async with asyncio.timeout(WAIT_S):
            return await self._reader.readexactly(size)

    async def expect(self, kind: type[T]) -> T:
        """The next packet, which must be of this kind."""
        async with asyncio.timeout(WAIT_S):
            event = await self._event()
        assert isinstance(event, kind), f"expected {kind.__name__}, got {event}"
        return event

    async def pick(self, kind: type[T]) -> T:
        """The next packet of this kind; the others keep their place."""
        passed: list[Event] = []
        async with asyncio.timeout(WAIT_S):
            while not isinstance(event := await self._event(), kind):
                assert event is not None, f"expected {kind.__name__}, got the end"
                passed.append(event)
        self._events[:0] = passed
        return event

    async def receive(self, *, ack: bool = True) -> "Delivery":
        """The next packet, which must be a PUBLISH; acknowledged whole unless told otherwise."""
        run = await self.expect(PublishRun)
        delivery = Delivery(run.messages[0], run.packet_ids[0])
        if ack and delivery.qos == 1:
            self.ack(c.PUBACK, delivery.packet_id)
        elif ack and delivery.qos == 2:
            self.ack(c.PUBREC, delivery.packet_id)
            assert (await self.pick(AckRun)).kind == c.PUBREL
            self.ack(c.PUBCOMP, delivery.packet_id)
        return delivery

    async def bodies(self, count: int) -> list[bytes]:
        return [(await self.receive()).body for _ in range(count)]

    async def silent(self) -> None:
        """Nothing comes for a while."""
        try:
            async with asyncio.timeout(SILENCE_S):
                event = await self._event()
        except TimeoutError:
            return
        raise AssertionError(f"expected silence, got {event}")

    async def disconnected(self) -> int:
        """The node sends DISCONNECT and closes; returns its reason code."""
        reason = (await self.expect(Disconnect)).reason
        await self.closed()
        return reason

    async def closed(self) -> None:
        """The node closes without a word."""
        async with asyncio.timeout(WAIT_S):
            try:
                event = await self._event()
            except ConnectionError:
                event = None
        assert event is None, f"expected the end, got {event}"
        self._writer.close()


class Delivery:
    """One PUBLISH as the client saw it."""

    def __init__(self, message: Message, packet_id: int) -> None:
        self.topic = topic_of(message.routing_key)
        self.body = message.body
        self.packet_id = packet_id
        self.qos = 2 if message.flags & QOS2 else 1 if message.flags & PERSISTENT else 0
        self.retain = bool(message.flags & RETAIN)
        self.properties = message.properties
        self.expires_ms = message.expires_at_ms
