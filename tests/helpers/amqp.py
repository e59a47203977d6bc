"""The AMQP machine wired to itself without sockets, and a bare client on a socket that may send any bytes."""

import asyncio

from edge.amqp091 import spec
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.credentials import Credentials
from edge.amqp091.events import DeliverRun, Event, LoginRequested, MethodReceived, Opened, OpenRequested
from edge.amqp091.outbound import PublishEncoder
from edge.amqp091.server_machine import ServerMachine
from edge.core.message import Message


class ConnectionPair:
    """A client and a server machine. ``run`` carries bytes to and fro until both have nothing to say."""

    def __init__(self, credentials: Credentials | None = None, piece_bytes: int = 0, **limits: int) -> None:
        self.client = ClientMachine(credentials or Credentials())
        self.server = ServerMachine({"product": "test", "capabilities": {"basic.nack": True}}, **limits)
        #: Feed so many bytes at a time; 0: all at once.
        self.piece_bytes = piece_bytes
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []

    def open(self, channels: int = 1) -> "ConnectionPair":
        """Shake hands and open channels 1 up to ``channels``; the events of that are dropped."""
        self.run()
        for _ in range(channels):
            self.client.open_channel()
        self.run()
        self.client_events.clear()
        self.server_events.clear()
        return self

    def run(self, now_ms: int = 0) -> None:
        while True:
            to_server = self.client.take_output()
            for piece in self._pieces(to_server):
                self._serve(self.server.receive(piece, now_ms))
            to_client = self.server.take_output()
            for piece in self._pieces(to_client):
                self.client_events += self.client.receive(piece)
            if not to_server and not to_client:
                return

    def _pieces(self, chunk: bytes) -> list[bytes]:
        size = self.piece_bytes or max(1, len(chunk))
        return [chunk[start : start + size] for start in range(0, len(chunk), size)]

    def _serve(self, events: list[Event]) -> None:
        """Accept logins, vhosts and channels; the rest is for the test."""
        for event in events:
            if isinstance(event, LoginRequested):
                self.server.accept_login(event.username)
            elif isinstance(event, OpenRequested):
                self.server.accept_open(event.vhost)
            elif isinstance(event, MethodReceived) and isinstance(event.method, spec.ChannelOpen):
                self.server.send(event.channel, spec.ChannelOpenOk())
        self.server_events += events

    @property
    def is_open(self) -> bool:
        return any(isinstance(event, Opened) for event in self.client_events)


class RawPeer:
    """A client made of the bare machine and a socket: sends whatever bytes a test likes, and shows what comes back."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, machine: ClientMachine
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.machine = machine
        self._events: list[Event] = []

    async def open(self, channels: int = 1) -> "RawPeer":
        """Shake hands and open channels from 1 on."""
        self.flush()
        event = await self.event()
        assert isinstance(event, Opened), event
        for _ in range(channels):
            await self.open_channel()
        return self

    async def open_channel(self) -> int:
        number = self.machine.open_channel()
        self.flush()
        assert await self.method(number) == spec.ChannelOpenOk()
        return number

    def flush(self) -> None:
        self.writer.write(self.machine.take_output())

    def send(self, *methods: spec.Method, channel: int = 1) -> None:
        """Send methods in one write."""
        for method in methods:
            self.machine.send(channel, method)
        self.flush()

    def publish(self, *messages: Message, channel: int = 1) -> None:
        """Publish in one write."""
        self.writer.write(PublishEncoder(channel, self.machine.frame_max).encode(list(messages)))

    async def event(self) -> Event:
        """The next event; what the machine answers by itself is sent."""
        async with asyncio.timeout(5):
            while not self._events:
                chunk = await self.reader.read(65_536)
                assert chunk, "the server has closed the connection"
                self._events = self.machine.receive(chunk)
                self.flush()
        return self._events.pop(0)

    async def method(self, channel: int = 1) -> spec.Method:
        """The next event, which must be a method on ``channel``."""
        event = await self.event()
        assert isinstance(event, MethodReceived), event
        assert event.channel == channel
        return event.method

    async def call(self, method: spec.Method, channel: int = 1) -> spec.Method:
        """Send a method and return what comes back on its channel; an error is a ChannelClose, answered."""
        self.send(method, channel=channel)
        answer = await self.method(channel)
        if isinstance(answer, spec.ChannelClose):
            self.send(spec.ChannelCloseOk(), channel=channel)
        return answer

    async def deliveries(self, count: int, channel: int = 1) -> list[tuple[int, bool, Message]]:
        """The next deliveries: tag, redelivered, message."""
        got: list[tuple[int, bool, Message]] = []
        while len(got) < count:
            event = await self.event()
            assert isinstance(event, DeliverRun), event
            assert event.channel == channel
            got += zip(event.tags, event.redelivered, event.messages, strict=True)
        return got

    async def silence(self, seconds: float = 0.05) -> None:
        """Nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                event = await self.event()
        except TimeoutError:
            return
        raise AssertionError(f"{event!r} came where nothing was due")

    def pause(self) -> None:
        """Read nothing; the buffers of both sides run full."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def resume(self) -> None:
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.resume_reading()

    async def end(self) -> bytes:
        """What still comes until the server closes the socket."""
        async with asyncio.timeout(5):
            return await self.reader.read()
