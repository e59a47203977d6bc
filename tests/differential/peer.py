"""One AMQP connection of a stage: methods go out pipelined, what comes back is sorted into answers and news."""

import asyncio
from collections import deque
from dataclasses import dataclass

from edge.amqp091 import spec
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import ChannelFault
from edge.amqp091.events import (
    AckRun,
    ConnectionClosed,
    ContentReceived,
    DeliverRun,
    Event,
    MethodReceived,
    Opened,
)
from edge.amqp091.outbound import PublishEncoder
from edge.core.message import Message

ANSWER_TIMEOUT_S = 20.0
"""Both brokers answer within milliseconds; a loaded machine may take seconds."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """basic.deliver."""

    channel: int
    consumer_tag: str
    tag: int
    redelivered: bool
    message: Message


@dataclass(frozen=True, slots=True)
class Returned:
    """basic.return."""

    channel: int
    code: int
    text: str
    message: Message


@dataclass(frozen=True, slots=True)
class Confirmed:
    """basic.ack or basic.nack of the broker."""

    channel: int
    tags: tuple[int, ...]
    multiple: bool
    positive: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """basic.cancel of the broker."""

    channel: int
    consumer_tag: str


@dataclass(frozen=True, slots=True)
class Closed:
    """channel.close, or connection.close on channel 0."""

    channel: int
    code: int
    text: str
    method: int


News = Delivered | Returned | Confirmed | Cancelled | Closed
"""What a broker says by itself."""
Answer = spec.Method | ContentReceived | Closed
"""What comes back for a method; a close stands for all that was asked before it and not answered."""


class Peer:
    """A connection with channels 1 to ``channels``; ``open`` opens again what was closed."""

    def __init__(self, port: int, channels: int) -> None:
        self.port = port
        self.channels = range(1, channels + 1)
        self.news: list[News] = []
        self.heard = 0
        self._answers: dict[int, deque[Answer]] = {}
        self._machine: ClientMachine
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._lost: Closed | None = None
        self._is_open = False

    async def open(self) -> None:
        """Connect, unless connected, and open the channels that are not open."""
        if not self._is_open:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._machine = ClientMachine(Credentials(heartbeat_s=0))
            self._lost = None
            self._answers = {number: deque() for number in self.channels}
            while not self._is_open:
                await self._pump()
        # In ascending order: the machine takes the lowest number that is free.
        missing = [number for number in self.channels if number not in self._machine.channels]
        for number in missing:
            self._answers[number].clear()
            assert self._machine.open_channel() == number
        for number in missing:
            answer = await self.answer(number)
            assert answer == spec.ChannelOpenOk(), answer

    def send(self, channel: int, method: spec.Method) -> None:
        """Send a method; a method on a channel that the broker has closed is not sent."""
        if self._lost is None and channel in self._machine.channels:
            self._machine.send(channel, method)

    def publish(self, channel: int, messages: list[Message]) -> None:
        """Publish in one write."""
        if self._lost is None and channel in self._machine.channels:
            self._machine.send_bytes(PublishEncoder(channel, self._machine.frame_max).encode(messages))

    async def answer(self, channel: int) -> Answer:
        """The next answer on a channel."""
        answers = self._answers[channel]
        while not answers:
            if self._lost is not None:
                return self._lost
            if channel not in self._machine.channels:
                raise AssertionError(f"channel {channel} is closed and its closing was answered for")
            await self._pump()
        return answers.popleft()

    async def call(self, channel: int, method: spec.Method) -> Answer:
        """Send a method and return its answer."""
        self.send(channel, method)
        return await self.answer(channel)

    async def close_channel(self, channel: int) -> None:
        """Close a channel in order."""
        if self._lost is None and channel in self._machine.channels:
            self._machine.close_channel(ChannelFault(channel, 200, "done"))
            answer = await self.answer(channel)
            assert isinstance(answer, spec.ChannelCloseOk | Closed), answer

    async def close(self) -> None:
        """Close the connection in order."""
        if self._lost is None and self._is_open:
            self._machine.send(0, spec.Close(200, "done", 0, 0))
            while self._lost is None:
                await self._pump()

    def abort(self) -> None:
        """Drop the socket."""
        if self._is_open:
            self._is_open = False
            self._writer.transport.abort()

    async def _pump(self) -> None:
        """Send what is to be sent, wait for something to come, and take it."""
        self._writer.write(self._machine.take_output())
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            chunk = await self._reader.read(1 << 18)
        if not chunk:
            self._take_loss(Closed(0, 0, "the socket was closed", 0))
            return
        for event in self._machine.receive(chunk):
            self._take(event)
        self._writer.write(self._machine.take_output())

    def _take(self, event: Event) -> None:
        channel = event.channel
        if isinstance(event, Opened):
            self._is_open = True
        elif isinstance(event, DeliverRun):
            for tag, redelivered, message in zip(event.tags, event.redelivered, event.messages, strict=True):
                self._tell(Delivered(channel, event.consumer_tag, tag, redelivered, message))
        elif isinstance(event, AckRun):
            self._tell(Confirmed(channel, tuple(event.tags), event.multiple, positive=True))
        elif isinstance(event, ContentReceived) and isinstance(event.method, spec.BasicReturn):
            self._tell(Returned(channel, event.method.reply_code, event.method.reply_text, event.message))
        elif isinstance(event, ContentReceived):
            self._answers[channel].append(event)
        elif isinstance(event, ConnectionClosed):
            self._take_loss(Closed(0, event.code, event.text, event.method))
        elif isinstance(event, MethodReceived):
            self._take_method(channel, event.method)
        else:
            raise AssertionError(f"the broker broke the protocol: {getattr(event, 'error', event)}")

    def _take_method(self, channel: int, method: spec.Method) -> None:
        if isinstance(method, spec.BasicNack):
            self._tell(Confirmed(channel, (method.delivery_tag,), method.multiple, positive=False))
        elif isinstance(method, spec.BasicCancel):
            self._tell(Cancelled(channel, method.consumer_tag))
        elif isinstance(method, spec.ChannelClose):
            self._machine.send(channel, spec.ChannelCloseOk())
            ids = method.class_id << 16 | method.method_id
            closed = Closed(channel, method.reply_code, method.reply_text, ids)
            self._tell(closed)
            self._answers[channel].append(closed)
        else:
            self._answers[channel].append(method)

    def _take_loss(self, closed: Closed) -> None:
        self._lost = closed
        self._tell(closed)
        self.abort()

    def _tell(self, news: News) -> None:
        self.news.append(news)
        self.heard += 1
