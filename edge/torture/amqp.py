"""Torture by AMQP: publishers with confirms, and consumers that acknowledge in and out of order."""

import asyncio
import random
from typing import Any, Final

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.confirms import Ranges
from edge.amqp091.errors import AmqpError
from edge.amqp091.events import DeliverRun
from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from edge.torture.ledger import Arrivals, Ledger, body_of

RETRY_S: Final = 0.02
WINDOW: Final = 200
"""Unconfirmed messages of a publisher."""
BATCH_MAX: Final = 30
PREFETCH: Final = 300
PROPERTIES: Final = encode_properties(BasicProperties(delivery_mode=2))
LINK_ERRORS: Final = (AmqpError, OSError, TimeoutError)


async def connect(port: int) -> AmqpClient:
    """Raises LINK_ERRORS while the node is down."""
    return await AmqpClient.connect(f"amqp://127.0.0.1:{port}?connection_timeout=5000")


class AmqpPublisher:
    """Publishes to one exchange; after a break it publishes again, in order, what was not confirmed."""

    def __init__(
        self, ledger: Ledger, name: str, port: int, exchange: str, routing_key: str, rng: random.Random
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.port = port
        self.exchange = exchange
        self.routing_key = routing_key
        #: Not while consumers are far behind, and at the end.
        self._may_send = False
        self._rng = rng
        self._unconfirmed: dict[int, None] = {}
        #: Of the connection: message numbers in the order of their publishes.
        self._numbers: list[int] = []
        self._progress = asyncio.Event()
        ledger.publisher(name)

    async def run(self) -> None:
        """Until cancelled, whatever happens to the node."""
        while True:
            try:
                await self._publish()
            except LINK_ERRORS:
                await asyncio.sleep(RETRY_S)

    async def _publish(self) -> None:
        client = await connect(self.port)
        client.when_closed = lambda _error: self._progress.set()
        try:
            channel = await client.channel()
            await channel.confirm_select()
            channel.on_confirm = self._on_confirm
            self._numbers = []
            self._send(channel, list(self._unconfirmed))
            while client.error is None:
                if self._may_send and len(self._unconfirmed) < WINDOW:
                    count = self._rng.randint(1, BATCH_MAX)
                    self._send(channel, [self.ledger.send(self.name) for _ in range(count)])
                    await asyncio.sleep(self._rng.choice((0, 0, 0.002)))
                else:
                    self._progress.clear()
                    await self._progress.wait()
        finally:
            client.abort()

    def go_on(self) -> None:
        """Publish new messages from now on."""
        self._may_send = True
        self._progress.set()

    def hold(self) -> None:
        """Publish nothing new; what is not confirmed is still published again over new connections."""
        self._may_send = False

    def _send(self, channel: ClientChannel, numbers: list[int]) -> None:
        self._numbers += numbers
        self._unconfirmed |= dict.fromkeys(numbers)
        messages = [
            Message(self.exchange, self.routing_key, PROPERTIES, body_of(self.name, number), flags=PERSISTENT)
            for number in numbers
        ]
        if messages:
            channel.publish(messages)

    def _on_confirm(self, acked: Ranges, _nacked: Ranges, _returned: list[Any]) -> None:
        confirmed = self.ledger.confirmed[self.name]
        for first, last in acked:
            for number in self._numbers[first - 1 : last]:
                confirmed.add(number)
                self._unconfirmed.pop(number, None)
        self._progress.set()


class AmqpConsumer:
    """Consumes one queue; acknowledges now in order and together, now one by one in any order."""

    def __init__(self, arrivals: Arrivals, port: int, queue: str, rng: random.Random) -> None:
        self.arrivals = arrivals
        self.port = port
        self.queue = queue
        self._rng = rng
        self._held: list[int] = []

    async def run(self) -> None:
        """Until cancelled, whatever happens to the node."""
        while True:
            try:
                await self._consume()
            except LINK_ERRORS:
                await asyncio.sleep(RETRY_S)

    async def _consume(self) -> None:
        client = await connect(self.port)
        try:
            channel = await client.channel()
            await channel.qos(PREFETCH)
            self._held = []
            await channel.consume(self.queue, self._on_deliveries)
            while client.error is None:
                await asyncio.sleep(self._rng.choice((0, 0.002, 0.01)))
                self._acknowledge(channel)
        finally:
            client.abort()

    def _on_deliveries(self, run: DeliverRun) -> None:
        for message in run.messages:
            self.arrivals.arrive(message.body)
        self._held += run.tags

    def _acknowledge(self, channel: ClientChannel) -> None:
        held = self._held
        if not held:
            return
        if self._rng.random() < 0.5:
            channel.ack(max(held), multiple=True)
            held.clear()
            return
        self._rng.shuffle(held)
        count = self._rng.randint(1, len(held))
        channel.acks(held[:count])
        del held[:count]
