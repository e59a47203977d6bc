"""Both ends of a shovel in AMQP 0-9-1: RabbitMQ, another Leveret, or any broker with publisher confirms."""

from collections import deque
from typing import Any, Final

from edge.amqp091 import spec
from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel, Returned
from edge.amqp091.constants import (
    ACCESS_REFUSED,
    CONTENT_TOO_LARGE,
    FRAME_ERROR,
    NOT_FOUND,
    PRECONDITION_FAILED,
)
from edge.amqp091.errors import AmqpError, ChannelFault
from edge.amqp091.events import DeliverRun
from edge.broker import Broker
from edge.core.consumer import Entry
from edge.core.errors import ConfigError, EdgeError
from edge.core.settled import Settled
from edge.uris import Uri
from edge.workers import LinkError, close_soon, error_text
from shovel.config import NO_ACK, ON_CONFIRM, ShovelConfig
from shovel.destination import Destination, Feedback, MessageFault, to_ranges
from shovel.forwarding import Forwarder
from shovel.refusals import Refusal
from shovel.source import BUFFER_PREFIX, Source, Taker, park
from shovel.window import Ranges, weight

ROOM: Final = 1024
NACKED: Final = Refusal("the destination refuses it (basic.nack), for want of room most often", of_room=True)
PREFETCH_COUNT: Final = 1000
"""RabbitMQ's default of ``src-prefetch-count``."""
PENDING_BYTES_MAX: Final = 8 * 1024 * 1024
"""Deliveries that wait for the destination before the source is no longer read: prefetch counts no bytes."""


async def ensure_queue(client: AmqpClient, name: str, predeclared: bool, arguments: dict[str, Any]) -> None:
    """Find a queue, or declare it durable when it is missing, as RabbitMQ's shovels do. Raises AmqpError."""
    if await _exists(client, name, predeclared):
        return
    channel = await client.channel()
    await channel.declare_queue(name, durable=True, arguments=arguments)
    await channel.close()


async def _exists(client: AmqpClient, name: str, must: bool) -> bool:
    channel = await client.channel()
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelFault as error:
        if must or error.code != NOT_FOUND:
            raise
        return False
    await channel.close()
    return True


class AmqpDestination(Destination):
    """Publishes mandatory messages with confirms."""

    def __init__(self, broker: Broker, config: ShovelConfig, uri: Uri) -> None:
        self._broker = broker
        self._config = config
        self._uri = uri
        self._forwarder = Forwarder(config, broker.name, str(uri), uri.username or "guest")
        self._confirms = config.ack_mode == ON_CONFIRM
        self._client: AmqpClient | None = None
        self._channel: ClientChannel | None = None
        self._feedback: Feedback | None = None
        #: Messages that came back, by number, until their confirm comes.
        self._returned: dict[int, Refusal] = {}

    async def open(self, feedback: Feedback) -> None:
        destination = self._config.destination
        self._feedback = feedback
        client = self._client = await AmqpClient.connect(
            self._uri, connection_name=f"Shovel {self._config.name}"
        )
        client.when_closed = self._closed
        client.when_blocked = self._on_blocked
        client.when_writable = feedback.has_room
        if destination.queue is not None:
            await ensure_queue(
                client, destination.queue, destination.predeclared, destination.queue_arguments
            )
        channel = self._channel = await client.channel()
        if destination.exchange:
            # Missing, it would end the channel only at the first message.
            await channel.declare_exchange(destination.exchange, passive=True)
        if self._confirms:
            await channel.confirm_select()
        channel.on_confirm = self._on_confirm
        channel.when_closed = self._closed

    def room(self) -> int:
        client = self._client
        if client is None or client.error is not None or client.blocked_reason is not None:
            return 0
        return ROOM if client.writable else 0

    def publish(self, number: int, entries: list[Entry]) -> None:
        assert self._channel is not None
        messages = self._forwarder.messages(entries, self._broker.clock.unix_ms())
        if self._channel.error is not None:
            return  # the worker hears of it in this turn of the loop
        first = self._channel.publish(messages)
        assert first in (0, number), "publishes are numbered apart from the window"

    def _on_confirm(self, acked: Ranges, nacked: Ranges, returned: list[Returned]) -> None:
        feedback = self._feedback
        if feedback is None:
            return
        for each in returned:
            self._note_returned(feedback, each)
        if self._returned and acked:
            self._refuse_returned(feedback, acked)
        if acked:
            feedback.confirmed(acked)
        if nacked:
            feedback.refused(nacked, NACKED)

    def _note_returned(self, feedback: Feedback, returned: Returned) -> None:
        """Find out which message in flight has come back: basic.return does not say.

        Of messages that are alike in all but properties, which a broker may encode anew, the one with the same bytes
        is meant; when there is none such, all that may be meant count as returned: better twice than not at all.
        """
        refusal = Refusal(f"{returned.code} {returned.text}", of_route=True)
        back = returned.message
        candidates: list[int] = []
        for number, entry in feedback.in_flight():
            if entry[1].body != back.body or number in self._returned:
                continue
            sent = self._forwarder.messages([entry], self._broker.clock.unix_ms())[0]
            if (sent.exchange, sent.routing_key) == (back.exchange, back.routing_key):
                candidates.append(number)
                if sent.properties == back.properties:
                    candidates = [number]
                    break
        self._returned.update(dict.fromkeys(candidates, refusal))

    def _refuse_returned(self, feedback: Feedback, acked: Ranges) -> None:
        by_refusal: dict[Refusal, list[int]] = {}
        for number in sorted(self._returned):
            if any([first <= number <= last for first, last in acked]):
                by_refusal.setdefault(self._returned.pop(number), []).append(number)
        for refusal, numbers in by_refusal.items():
            feedback.refused(to_ranges(numbers), refusal)

    def _on_blocked(self, reason: str | None) -> None:
        self.blocked = reason or ""
        if reason is None and self._feedback is not None:
            self._feedback.has_room()

    def _closed(self, error: AmqpError) -> None:
        if self._feedback is not None:
            self._feedback.destination_failed(self._what_failed(error))

    def _what_failed(self, error: AmqpError) -> Exception:
        """A MessageFault when it was for one of the messages: its size, its properties, or an exchange of its own."""
        destination = self._config.destination
        codes = [PRECONDITION_FAILED, CONTENT_TOO_LARGE, FRAME_ERROR]
        if destination.exchange is None and destination.queue is None:
            codes += [NOT_FOUND, ACCESS_REFUSED]
        if error.method == spec.BasicPublish.ID and error.code in codes:
            return MessageFault(str(error))
        return error

    def bytes_across(self) -> int:
        return self._client.bytes_across() if self._client is not None else 0

    async def close(self) -> None:
        self._feedback = None
        client, self._client, self._channel = self._client, None, None
        if client is not None:
            await close_soon(client.close())


class AmqpSource(Source):
    """A queue of another broker, or a durable queue that buffers an exchange of it for us."""

    def __init__(self, broker: Broker, config: ShovelConfig) -> None:
        self._broker = broker
        self._config = config
        self._client: AmqpClient | None = None
        self._channel: ClientChannel | None = None
        self._taker: Taker | None = None
        self._pending: deque[Entry] = deque()
        self._pending_bytes = 0
        self._settled = Settled(1)
        self._needs_ack = config.ack_mode != NO_ACK

    @property
    def queue_name(self) -> str:
        source = self._config.source
        # Other nodes may have a shovel of the same name to the same broker.
        return source.queue or f"{BUFFER_PREFIX}{self._broker.name} {self._config.name}"

    async def open(self, taker: Taker) -> None:
        client = self._client = await self._connect()
        source = self._config.source
        self._taker = taker
        self._settled = Settled(1)
        client.when_closed = self._closed
        await ensure_queue(client, self.queue_name, source.predeclared, source.queue_arguments)
        channel = self._channel = await client.channel()
        if source.exchange is not None:
            await channel.bind_queue(self.queue_name, source.exchange, source.exchange_key)
        if self._needs_ack:
            await channel.qos(source.prefetch_count or PREFETCH_COUNT)
        channel.when_closed = self._closed
        await channel.consume(
            self.queue_name,
            self._on_deliveries,
            consumer_tag=source.consumer_name,
            no_ack=not self._needs_ack,
            arguments=source.consumer_arguments,
            when_cancelled=self._cancelled,
        )

    async def _connect(self) -> AmqpClient:
        errors: list[str] = []
        for uri in self._config.source.uris:
            try:
                return await AmqpClient.connect(
                    uri,
                    connection_name=f"Shovel {self._config.name}",
                    elapsed_ms=self._broker.clock.elapsed_ms,
                )
            except ConfigError:
                raise
            except (EdgeError, OSError) as error:
                errors.append(f"source {uri}: {error_text(error)}")
        raise LinkError("; ".join(errors))

    def _on_deliveries(self, run: DeliverRun) -> None:
        entries = [
            (tag, message, int(redelivered))
            for tag, message, redelivered in zip(run.tags, run.messages, run.redelivered, strict=True)
        ]
        self._pending.extend(entries)
        self._pending_bytes += sum([weight(entry) for entry in entries])
        self.wake()

    def wake(self) -> None:
        taker, pending = self._taker, self._pending
        while taker is not None and pending and (room := taker.room()) > 0:
            run = [pending.popleft() for _ in range(min(room, len(pending)))]
            self._pending_bytes -= sum([weight(entry) for entry in run])
            taker.take(run)
        if self._client is not None:
            if self._pending_bytes > PENDING_BYTES_MAX:
                self._client.pause_input("destination")
            else:
                self._client.resume_input("destination")

    def settle(self, entries: list[Entry]) -> None:
        channel = self._channel
        if not self._needs_ack or channel is None or channel.error is not None:
            return
        tags = sorted([entry[0] for entry in entries])
        self._settled.add_sorted(tags)
        low = self._settled.low
        # The last one of these, and not the last below the watermark: that may be acknowledged already, and then it
        # is an unknown tag.
        below = [tag for tag in tags if tag < low]
        if below:
            channel.ack(below[-1], multiple=True)
        above = [tag for tag in tags if tag >= low]
        if above:
            channel.acks(above)

    def requeue(self, entries: list[Entry]) -> None:
        channel = self._channel
        if self._needs_ack and channel is not None and channel.error is None:
            channel.nacks([entry[0] for entry in entries], requeue=True)

    def park(self, entries: list[Entry], reason: str) -> None:
        # Here and not at the source: what is on this node's disk may be acknowledged there.
        config = self._config
        park(
            self._broker,
            self._broker.vhost(config.vhost),
            config.source.queue or self.queue_name,
            None,
            entries,
            reason,
            config.name,
        )
        channel = self._channel

        def settle() -> None:
            if self._channel is channel:
                self.settle(entries)

        self._broker.after_commit(settle)

    def waiting(self) -> int:
        return len(self._pending)

    def _closed(self, error: AmqpError) -> None:
        if self._taker is not None:
            self._taker.source_failed(LinkError(f"source: {error}"))

    def _cancelled(self, consumer_tag: str) -> None:
        if self._taker is not None:
            self._taker.source_failed(LinkError(f"source: queue '{self.queue_name}' is gone"))

    async def close(self) -> None:
        self._taker = None
        self._pending.clear()
        self._pending_bytes = 0
        client, self._client, self._channel = self._client, None, None
        if client is not None:
            await close_soon(client.close())
