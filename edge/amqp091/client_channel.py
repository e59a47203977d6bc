"""A client's channel: calls that are awaited; publishes in batches, deliveries and confirms by callback in runs."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from edge.amqp091 import spec
from edge.amqp091.confirms import Ranges, Unconfirmed
from edge.amqp091.constants import COMMAND_INVALID, SUCCESS
from edge.amqp091.errors import AmqpError, ChannelFault, ConnectionFault
from edge.amqp091.events import AckRun, ContentReceived, DeliverRun, Event, MethodReceived
from edge.amqp091.outbound import PublishEncoder, encode_acks, encode_nacks
from edge.core.message import Message
from edge.core.table import Table

if TYPE_CHECKING:
    from edge.amqp091.client import AmqpClient

M = TypeVar("M", bound=spec.Method)


class Returned:
    """A mandatory message that came back, and why (basic.return); its confirm follows."""

    __slots__ = ("code", "message", "text")

    def __init__(self, message: Message, code: int, text: str) -> None:
        self.message = message
        self.code = code
        self.text = text


class _Call:
    """A method that waits for its answer; ``then`` is done with the answer at once, before anything behind it."""

    __slots__ = ("answers", "future", "then")

    def __init__(
        self, answers: tuple[type[spec.Method], ...], future: asyncio.Future[Event], then: "Then | None"
    ) -> None:
        self.answers = answers
        self.future = future
        self.then = then


Then = Callable[[spec.Method], None]
OnDeliveries = Callable[[DeliverRun], None]
OnConfirm = Callable[[Ranges, Ranges, list[Returned]], None]


class ClientChannel:
    """Made by ``AmqpClient.channel``. Every awaited call raises ChannelFault, ConnectionFault or ConnectionLost."""

    def __init__(self, client: "AmqpClient", number: int) -> None:
        self.client = client
        self.number = number
        #: Called with acked ranges, nacked ranges and returned messages, once for each read of the socket at most.
        self.on_confirm: OnConfirm | None = None
        #: Called once when the channel has ended otherwise than by ``close``; also when the connection has.
        self.when_closed: Callable[[AmqpError], None] | None = None
        self.unconfirmed = Unconfirmed()
        self.error: AmqpError | None = None
        self._is_confirming = False
        self._encoder = PublishEncoder(number, client.machine.frame_max)
        self._consumers: dict[str, OnDeliveries] = {}
        self._cancel_callbacks: dict[str, Callable[[str], None]] = {}
        #: calls whose answer is due, in order: a channel answers in the order of asking (section 2.1.2)
        self._calls: deque[_Call] = deque()
        # of the current read
        self._acked: Ranges = []
        self._nacked: Ranges = []
        self._returned: list[Returned] = []

    # declaring

    async def declare_exchange(
        self,
        name: str,
        type: str = "direct",
        *,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Table | None = None,
    ) -> None:
        """exchange.declare"""
        method = spec.ExchangeDeclare(
            0, name, type, passive, durable, auto_delete, internal, False, arguments or {}
        )
        await self._call(method, spec.ExchangeDeclareOk)

    async def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """exchange.delete"""
        await self._call(spec.ExchangeDelete(0, name, if_unused), spec.ExchangeDeleteOk)

    async def bind_exchange(
        self, destination: str, source: str, routing_key: str = "", arguments: Table | None = None
    ) -> None:
        """exchange.bind"""
        method = spec.ExchangeBind(0, destination, source, routing_key, False, arguments or {})
        await self._call(method, spec.ExchangeBindOk)

    async def unbind_exchange(
        self, destination: str, source: str, routing_key: str = "", arguments: Table | None = None
    ) -> None:
        """exchange.unbind"""
        method = spec.ExchangeUnbind(0, destination, source, routing_key, False, arguments or {})
        await self._call(method, spec.ExchangeUnbindOk)

    async def declare_queue(
        self,
        name: str = "",
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Table | None = None,
    ) -> spec.QueueDeclareOk:
        """queue.declare; the answer has ``queue``, ``message_count`` and ``consumer_count``."""
        method = spec.QueueDeclare(0, name, passive, durable, exclusive, auto_delete, False, arguments or {})
        return await self._call(method, spec.QueueDeclareOk)

    async def bind_queue(
        self, queue: str, exchange: str, routing_key: str = "", arguments: Table | None = None
    ) -> None:
        """queue.bind"""
        method = spec.QueueBind(0, queue, exchange, routing_key, False, arguments or {})
        await self._call(method, spec.QueueBindOk)

    async def unbind_queue(
        self, queue: str, exchange: str, routing_key: str = "", arguments: Table | None = None
    ) -> None:
        """queue.unbind"""
        method = spec.QueueUnbind(0, queue, exchange, routing_key, arguments or {})
        await self._call(method, spec.QueueUnbindOk)

    async def purge_queue(self, queue: str) -> int:
        """queue.purge; returns how many messages are gone."""
        return (await self._call(spec.QueuePurge(0, queue), spec.QueuePurgeOk)).message_count

    async def delete_queue(self, queue: str, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """queue.delete; returns how many messages are gone."""
        answer = await self._call(spec.QueueDelete(0, queue, if_unused, if_empty), spec.QueueDeleteOk)
        return answer.message_count

    # publishing

    async def confirm_select(self) -> None:
        """Publishes are numbered from 1 and answered through ``on_confirm``."""
        await self._call(spec.ConfirmSelect(), spec.ConfirmSelectOk)
        self._is_confirming = True

    def publish(self, messages: list[Message]) -> int:
        """Publish in one write; returns the number of the first, 0 without confirms. Raises when the channel is over.

        Look at ``client.writable`` before: what is not sent yet is kept in RAM.
        """
        self._require_open()
        first = self.unconfirmed.publish(len(messages)) if self._is_confirming else 0
        self.client.write(self._encoder.encode(messages))
        return first

    # consuming

    async def qos(self, prefetch_count: int, *, shared: bool = False) -> None:
        """basic.qos for each consumer to come, or for all of the channel together."""
        await self._call(spec.BasicQos(0, prefetch_count, shared), spec.BasicQosOk)

    async def consume(
        self,
        queue: str,
        on_deliveries: OnDeliveries,
        *,
        consumer_tag: str = "",
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: Table | None = None,
        when_cancelled: Callable[[str], None] | None = None,
    ) -> str:
        """basic.consume; returns the consumer tag. ``when_cancelled`` is told the tag when the queue is gone."""
        method = spec.BasicConsume(0, queue, consumer_tag, False, no_ack, exclusive, False, arguments or {})

        def register(answer: spec.Method) -> None:
            # At once: deliveries may come in the same read as the answer.
            assert isinstance(answer, spec.BasicConsumeOk)
            self._consumers[answer.consumer_tag] = on_deliveries
            if when_cancelled is not None:
                self._cancel_callbacks[answer.consumer_tag] = when_cancelled

        return (await self._call(method, spec.BasicConsumeOk, register)).consumer_tag

    async def cancel(self, consumer_tag: str) -> None:
        """basic.cancel; deliveries come until it is answered."""
        await self._call(spec.BasicCancel(consumer_tag), spec.BasicCancelOk)
        self._consumers.pop(consumer_tag, None)
        self._cancel_callbacks.pop(consumer_tag, None)

    async def get(self, queue: str, *, no_ack: bool = False) -> tuple[Message, spec.BasicGetOk] | None:
        """basic.get; None when the queue is empty."""
        event = await self._send(spec.BasicGet(0, queue, no_ack), (spec.BasicGetOk, spec.BasicGetEmpty))
        if isinstance(event, ContentReceived) and isinstance(event.method, spec.BasicGetOk):
            return event.message, event.method
        return None

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge one delivery, or all up to it. Raises when the channel is over, as all that settle."""
        self.acks([tag], multiple=multiple)

    def acks(self, tags: list[int], *, multiple: bool = False) -> None:
        """Acknowledge many in one write."""
        self._require_open()
        self.client.write(encode_acks(self.number, tags, multiple))

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        """Give one delivery back, or all up to it."""
        self.nacks([tag], multiple=multiple, requeue=requeue)

    def nacks(self, tags: list[int], *, multiple: bool = False, requeue: bool = True) -> None:
        """Give many back in one write."""
        self._require_open()
        self.client.write(encode_nacks(self.number, tags, multiple, requeue))

    # ending

    async def close(self) -> None:
        """channel.close; returns at once when the channel is over already."""
        if self.error is not None:
            return
        self.when_closed = None
        future = self._expect((spec.ChannelCloseOk,), None)
        self.client.machine.close_channel(ChannelFault(self.number, SUCCESS, "Goodbye"))
        self.client.flush()
        await future
        self.client.forget(self)
        self.end(ChannelFault(self.number, SUCCESS, "the channel was closed by its owner"))

    def end(self, error: AmqpError) -> None:
        """The channel is over: fail what is awaited. Called by the client."""
        if self.error is not None:
            return
        self.error = error
        calls, self._calls = self._calls, deque()
        for call in calls:
            if not call.future.done():
                call.future.set_exception(error)
        self._consumers.clear()
        if self.when_closed is not None:
            self.when_closed(error)

    # events

    def handle(self, event: Event) -> None:
        """Take an event of this channel. Called by the client."""
        if isinstance(event, DeliverRun):
            on_deliveries = self._consumers.get(event.consumer_tag)
            if on_deliveries is not None:
                on_deliveries(event)
        elif isinstance(event, AckRun):
            self._acked += self.unconfirmed.answer(event.tags, event.multiple)
        elif isinstance(event, ContentReceived) and isinstance(event.method, spec.BasicReturn):
            method = event.method
            self._returned.append(Returned(event.message, method.reply_code, method.reply_text))
        elif isinstance(event, ContentReceived):
            self._on_answer(event, event.method)
        elif isinstance(event, MethodReceived):
            self._on_method(event)

    def report_confirms(self) -> None:
        """A read is through: tell what it confirmed and returned. Called by the client."""
        if self._acked or self._nacked or self._returned:
            acked, nacked, returned = self._acked, self._nacked, self._returned
            self._acked, self._nacked, self._returned = [], [], []
            if self.on_confirm is not None:
                self.on_confirm(acked, nacked, returned)

    def _on_method(self, event: MethodReceived) -> None:
        method = event.method
        if isinstance(method, spec.BasicNack):
            self._nacked += self.unconfirmed.answer([method.delivery_tag], method.multiple)
        elif isinstance(method, spec.BasicCancel):
            self._consumers.pop(method.consumer_tag, None)
            callback = self._cancel_callbacks.pop(method.consumer_tag, None)
            if callback is not None:
                callback(method.consumer_tag)
        elif isinstance(method, spec.ChannelFlow):
            # Nobody but old brokers sends it; RabbitMQ pushes back by TCP
            self.client.machine.send(self.number, spec.ChannelFlowOk(method.active))
        else:
            self._on_answer(event, method)

    def _on_answer(self, event: Event, method: spec.Method) -> None:
        if not self._calls or not isinstance(method, self._calls[0].answers):
            due = (
                " or ".join(answer.__name__ for answer in self._calls[0].answers)
                if self._calls
                else "nothing"
            )
            text = f"{type(method).__name__} came where {due} was due"
            self.client.fail(ConnectionFault(COMMAND_INVALID, text, method.ID))
            return
        call = self._calls.popleft()
        if call.then is not None:
            call.then(method)
        if not call.future.done():
            call.future.set_result(event)

    # calls

    async def _call(self, method: spec.Method, answer: type[M], then: Then | None = None) -> M:
        event = await self._send(method, (answer,), then)
        assert isinstance(event, MethodReceived)
        assert isinstance(event.method, answer)
        return event.method

    async def _send(
        self, method: spec.Method, answers: tuple[type[spec.Method], ...], then: Then | None = None
    ) -> Event:
        self._require_open()
        future = self._expect(answers, then)
        self.client.machine.send(self.number, method)
        self.client.flush()
        return await future

    def _expect(self, answers: tuple[type[spec.Method], ...], then: Then | None) -> asyncio.Future[Event]:
        future: asyncio.Future[Event] = self.client.loop.create_future()
        self._calls.append(_Call(answers, future, then))
        return future

    async def opened(self) -> None:
        """Wait for channel.open-ok. Called by the client."""
        await self._expect((spec.ChannelOpenOk,), None)

    def _require_open(self) -> None:
        if self.error is not None:
            raise self.error
