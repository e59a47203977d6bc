"""A queue with priorities whose messages are dead-lettered: refused by its consumers, and driven out by its limit."""

import asyncio
from typing import Any

from edge.amqp091.client import AmqpClient
from edge.core.properties import BasicProperties, encode_properties
from tests.durability.workload.amqp import NODE, Publisher, Worker
from tests.durability.workload.context import Context
from tests.helpers.leveret import Ports

QUEUE, GRAVE = "ranked", "grave"
PLACE = "ranked, then grave"
HIGHEST = 3
LENGTH_MAX = 150
"""Messages above which the head is dead-lettered."""
ARGUMENTS: dict[str, object] = {
    "x-max-priority": HIGHEST,
    "x-max-length": LENGTH_MAX,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": GRAVE,
}
UNCONFIRMED_MAX = 100


class Judge(Worker):
    """Acknowledges some, refuses some for good, and gives some back."""

    place = PLACE

    def settle(self, tags: list[int]) -> None:
        chance = self.context.rng.random()
        if chance < 0.5:
            self.channel.nacks(tags, requeue=False)
        elif chance < 0.6:
            self.channel.nacks(tags)
        else:
            self.acknowledge(tags)

    async def ask(self) -> None:
        await self.channel.declare_queue(QUEUE, durable=True, arguments=ARGUMENTS)


class Undertaker(Worker):
    """Empties the queue of dead letters."""

    place = PLACE


async def publish(context: Context, uri: str, priority: int) -> None:
    """Messages of one priority: order holds among those."""
    client = await AmqpClient.connect(uri)
    publisher = await Publisher.open(context, f"priority-{priority}", client)
    publisher.properties = encode_properties(BasicProperties(delivery_mode=2, priority=priority))
    while True:
        for _ in range(context.rng.randint(1, 4)):
            publisher.publish(context.rng.choice((1, 1, 3, 10, 30)), "", QUEUE, [PLACE])
            await context.wait(0.02)
        await publisher.settled(UNCONFIRMED_MAX)


async def consume(worker: type[Worker], context: Context, uri: str, queue: str) -> None:
    client = await AmqpClient.connect(uri)
    await worker(context, queue, await client.channel()).run()


async def run(context: Context) -> None:
    """Until the time is over."""
    ports = Ports()
    async with context.node(NODE, ports):
        uri = f"amqp://127.0.0.1:{ports.amqp}"
        client = await AmqpClient.connect(uri)
        channel = await client.channel()
        context.marks.note("place", name=PLACE, queues=[(NODE, QUEUE), (NODE, GRAVE)], is_moved=True)
        for queue, arguments in ((GRAVE, {}), (QUEUE, ARGUMENTS)):
            declared = channel.declare_queue(queue, durable=True, arguments=arguments)
            await context.declared(NODE, "queue", queue, declared)
        await client.close()
        context.marks.note("ready")
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[Any]] = [
                group.create_task(publish(context, uri, priority)) for priority in range(HIGHEST + 1)
            ]
            tasks.append(group.create_task(consume(Judge, context, uri, QUEUE)))
            tasks.append(group.create_task(consume(Undertaker, context, uri, GRAVE)))
            await asyncio.sleep(context.seconds)
            for task in tasks:
                task.cancel()
