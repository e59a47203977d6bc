"""AMQP: publishers with confirms, consumers that acknowledge out of order, queues that come, are purged and go."""

import asyncio
from typing import Any

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.confirms import Ranges
from edge.amqp091.events import DeliverRun
from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from tests.durability.bodies import Key, body_of, key_of
from tests.durability.workload.context import Context
from tests.helpers.leveret import Ports

NODE = "a"
PROPERTIES = encode_properties(BasicProperties(delivery_mode=2))
UNCONFIRMED_MAX = 200
BACKLOG_MAX = 900
"""Ready messages of a queue above which it is purged: a state is read whole each time."""
QUEUES = ("orders", "events", "archive", "later", "fleeting")
CLASSES = {"later": "lazy", "fleeting": "volatile"}
"""Of those that are not durable, mixed with the others on every connection."""


def messages(
    publisher: str, numbers: range, exchange: str, routing_key: str, properties: bytes
) -> list[Message]:
    return [
        Message(exchange, routing_key, properties, body_of(publisher, number), flags=PERSISTENT)
        for number in numbers
    ]


class Publisher:
    """One channel with confirms."""

    def __init__(self, context: Context, name: str, channel: ClientChannel) -> None:
        self.context = context
        self.name = context.publisher(name)
        self.channel = channel
        self.properties = PROPERTIES
        self.next_number = 1
        self._progress = asyncio.Event()
        channel.on_confirm = self._on_confirm

    @classmethod
    async def open(cls, context: Context, name: str, client: AmqpClient) -> "Publisher":
        channel = await client.channel()
        await channel.confirm_select()
        return cls(context, name, channel)

    def publish(self, count: int, exchange: str, routing_key: str, places: list[str]) -> None:
        numbers = range(self.next_number, self.next_number + count)
        self.next_number += count
        self.context.marks.note("send", publisher=self.name, numbers=list(numbers), places=places)
        first = self.channel.publish(messages(self.name, numbers, exchange, routing_key, self.properties))
        assert first == numbers[0]

    def _on_confirm(self, acked: Ranges, nacked: Ranges, _returned: list[Any]) -> None:
        assert not nacked
        numbers = [number for first, last in acked for number in range(first, last + 1)]
        self.context.marks.note("confirm", publisher=self.name, numbers=numbers)
        self._progress.set()

    async def settled(self, unconfirmed: int = 0) -> None:
        while self.channel.unconfirmed.count > unconfirmed:
            self._progress.clear()
            await self._progress.wait()


class Worker:
    """Consumes one queue and acknowledges in any order, later."""

    #: Where the ledger has the queue's messages; "": by the queue's name.
    place = ""

    def __init__(self, context: Context, queue: str, channel: ClientChannel) -> None:
        self.context = context
        self.queue = queue
        self.channel = channel
        self._held: dict[int, Key] = {}
        self._taking: list[Key] = []

    def on_deliveries(self, run: DeliverRun) -> None:
        for tag, message in zip(run.tags, run.messages, strict=True):
            self._held[tag] = key_of(message.body)

    async def run(self) -> None:
        rng = self.context.rng
        await self.channel.qos(rng.choice((20, 60)))
        await self.channel.consume(self.queue, self.on_deliveries)
        while True:
            await self.context.wait(0.02)
            tags = sorted(self._held)
            if rng.random() < 0.5:
                tags = tags[: rng.randint(0, len(tags))]
            else:
                tags = rng.sample(tags, rng.randint(0, len(tags)))
            self.settle(tags)
            for tag in tags:
                del self._held[tag]
            if rng.random() < 0.2:
                await self._settle()

    def settle(self, tags: list[int]) -> None:
        if self.context.rng.random() < 0.15:
            self.channel.nacks(tags)
        else:
            self.acknowledge(tags)

    def acknowledge(self, tags: list[int]) -> None:
        keys = [self._held[tag] for tag in tags]
        self._taking += keys
        self.context.marks.note("take", place=self.place or self.queue, keys=keys)
        self.channel.acks(tags)

    async def _settle(self) -> None:
        """A declaration is answered from the disk, and with it all that came before it."""
        taking, self._taking = self._taking, []
        await self.ask()
        self.context.marks.note("taken", place=self.place or self.queue, keys=taking)

    async def ask(self) -> None:
        await self.channel.declare_queue(self.queue, durable=True)


class Load:
    """One life of the workload."""

    def __init__(self, context: Context, port: int) -> None:
        self.context = context
        self.uri = f"amqp://127.0.0.1:{port}"

    async def set_up(self) -> None:
        context = self.context
        client = await AmqpClient.connect(self.uri)
        channel = await client.channel()
        for queue in QUEUES:
            durability = CLASSES.get(queue)
            is_promised = durability != "volatile"
            context.marks.note("place", name=queue, queues=[(NODE, queue)], is_promised=is_promised)
            arguments: dict[str, object] = {"x-durability": durability} if durability else {}
            declared = channel.declare_queue(queue, durable=True, arguments=arguments)
            await context.declared(NODE, "queue", queue, declared)
        await context.declared(
            NODE, "exchange", "all", channel.declare_exchange("all", "fanout", durable=True)
        )
        for queue in QUEUES[1:]:
            await context.declared(NODE, "binding", f"all {queue} ", channel.bind_queue(queue, "all"))
        await client.close()

    async def publish(self, name: str) -> None:
        rng = self.context.rng
        client = await AmqpClient.connect(self.uri)
        publisher = await Publisher.open(self.context, name, client)
        observer = await client.channel()
        while True:
            queue = rng.choice(QUEUES)
            if (await observer.declare_queue(queue, passive=True)).message_count > BACKLOG_MAX:
                await self.purge(queue, observer)
            for _ in range(rng.randint(1, 6)):
                count = rng.choice((1, 1, 3, 10, 40))
                if rng.random() < 0.5:
                    publisher.publish(count, "", queue, [queue])
                else:
                    publisher.publish(count, "all", "x", list(QUEUES[1:]))
                await self.context.wait(0.008)
            await publisher.settled(UNCONFIRMED_MAX)

    async def purge(self, queue: str, channel: ClientChannel) -> None:
        self.context.marks.note("purge", place=queue)
        await channel.purge_queue(queue)
        self.context.marks.note("purged", place=queue)

    async def consume(self, queue: str) -> None:
        client = await AmqpClient.connect(self.uri)
        await Worker(self.context, queue, await client.channel()).run()

    async def come_and_go(self) -> None:
        """A queue's whole life, and an exchange's, again and again."""
        context, marks = self.context, self.context.marks
        client = await AmqpClient.connect(self.uri)
        channel = await client.channel()
        publisher = await Publisher.open(context, "passing", client)
        for round_ in range(1_000_000):
            name = f"passing.{context.life}.{round_ % 3}.{round_}"
            marks.note("place", name=name, queues=[(NODE, name)])
            await context.declared(NODE, "queue", name, channel.declare_queue(name, durable=True))
            await context.declared(
                NODE, "exchange", name, channel.declare_exchange(name, "topic", durable=True)
            )
            binding = f"{name} {name} a.#"
            await context.declared(NODE, "binding", binding, channel.bind_queue(name, name, "a.#"))
            publisher.publish(context.rng.randint(1, 120), name, "a.b", [name])
            await publisher.settled()
            if context.rng.random() < 0.3:
                await self.purge(name, channel)
            if context.rng.random() < 0.3:
                await context.deleted(NODE, "binding", binding, channel.unbind_queue(name, name, "a.#"))
            marks.note("delete", thing=[NODE, "binding", binding])
            if context.rng.random() < 0.5:
                await context.deleted(NODE, "exchange", name, channel.delete_exchange(name))
                marks.note("deleted", thing=[NODE, "binding", binding])
            marks.note("purge", place=name)
            await context.deleted(NODE, "queue", name, channel.delete_queue(name))
            marks.note("deleted", thing=[NODE, "binding", binding])


async def run(context: Context) -> None:
    """Until the time is over."""
    ports = Ports()
    async with context.node(NODE, ports):
        load = Load(context, ports.amqp)
        await load.set_up()
        context.marks.note("ready")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(load.publish(name)) for name in ("p", "q", "r")]
            tasks += [group.create_task(load.consume(queue)) for queue in QUEUES[:2]]
            tasks.append(group.create_task(load.come_and_go()))
            await asyncio.sleep(context.seconds)
            for task in tasks:
                task.cancel()
