"""Two nodes: a shovel and a federation link between them, whose connections are lost again and again."""

import asyncio

from edge.amqp091.client import AmqpClient
from edge.node import Node
from tests.durability.workload.amqp import Publisher
from tests.durability.workload.context import Context
from tests.helpers.leveret import Ports

UP, DOWN = "up", "down"
FEDERATION_QUEUE = "federation: fed -> down"
BACKLOG_MAX = 700
TOTAL_MAX = 2500
"""Messages of a life: the far end is never drained, and a state is read whole each time."""


def shovel(port: int) -> str:
    return (
        '[[shovel]]\nname = "out"\nsrc-uri = "amqp://"\nsrc-queue = "out"\nreconnect-delay = 0.05\n'
        f'dest-uri = "amqp://127.0.0.1:{port}"\ndest-queue = "in"\n'
    )


def federation(port: int) -> str:
    return (
        f'[[federation-upstream]]\nname = "up"\nuri = "amqp://127.0.0.1:{port}"\nreconnect-delay = 0.05\n'
        '[[policy]]\nname = "fed"\npattern = "^fed$"\napply-to = "exchanges"\n'
        'definition = { federation-upstream-set = "all" }\n'
    )


async def set_up(context: Context, up: Node, ports: dict[str, Ports]) -> None:
    marks = context.marks
    client = await AmqpClient.connect(f"amqp://127.0.0.1:{ports[DOWN].amqp}")
    channel = await client.channel()
    await context.declared(DOWN, "exchange", "fed", channel.declare_exchange("fed", "topic", durable=True))
    await context.declared(DOWN, "queue", "fedq", channel.declare_queue("fedq", durable=True))
    await context.declared(DOWN, "binding", "fed fedq #", channel.bind_queue("fedq", "fed", "#"))
    await client.close()
    marks.note("place", name="out", queues=[(UP, "out"), (DOWN, "in")], repeats=True)
    marks.note("place", name="fed", queues=[(UP, FEDERATION_QUEUE), (DOWN, "fedq")])
    if not context.life:
        marks.note("exactly_once", place="fed")
    vhost = up.broker.vhosts["/"]
    for _ in range(2000):
        if "out" in vhost.queues and "fed" in vhost.exchanges and vhost.exchanges["fed"].bindings:
            break
        await asyncio.sleep(0.005)
    await up.broker.store.committed()


async def publish(context: Context, port: int, exchange: str, routing_key: str, place: str) -> None:
    client = await AmqpClient.connect(f"amqp://127.0.0.1:{port}")
    publisher = await Publisher.open(context, f"to-{place}", client)
    while publisher.next_number < TOTAL_MAX:
        publisher.publish(context.rng.choice((1, 1, 5, 30)), exchange, routing_key, [place])
        await context.wait(0.02)
        await publisher.settled(100)


async def cut(context: Context, nodes: list[Node]) -> None:
    """Lose the links' connections."""
    while True:
        await asyncio.sleep(context.rng.uniform(0.1, 0.4))
        for node in nodes:
            for connection in list(node.broker.connections.values()):
                name = str(connection.details()["client_properties"].get("connection_name", ""))
                if name and context.rng.random() < 0.7:
                    connection.shut_down("the workload cuts links")


async def run(context: Context) -> None:
    """Until the time is over."""
    ports = {UP: Ports(), DOWN: Ports()}
    async with (
        context.node(UP, ports[UP], shovel(ports[DOWN].amqp)) as up,
        context.node(DOWN, ports[DOWN], federation(ports[UP].amqp)) as down,
    ):
        await set_up(context, up, ports)
        context.marks.note("ready")
        async with asyncio.TaskGroup() as group:
            port = ports[UP].amqp
            tasks = [
                group.create_task(publish(context, port, "fed", "a.b", "fed")),
                group.create_task(publish(context, port, "", "out", "out")),
                group.create_task(cut(context, [up, down])),
            ]
            await asyncio.sleep(context.seconds)
            for task in tasks:
                task.cancel()
