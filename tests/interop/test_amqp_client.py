"""Our client against RabbitMQ, and aio-pika against our server."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import aio_pika
import pytest

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import Returned
from edge.amqp091.confirms import Ranges
from edge.amqp091.errors import ChannelFault, LoginRefused
from edge.amqp091.events import DeliverRun
from edge.core.message import MANDATORY, Message
from edge.core.properties import BasicProperties, encode_properties, headers
from edge.core.table import Decimal, Float32, Int8, Int16, Int32, Timestamp, UInt8, UInt16, UInt32

COUNT = 5000
DURABLE = encode_properties(BasicProperties(delivery_mode=2))


@pytest.fixture(params=["leveret", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Any:
    """The broker that the test runs against."""
    return request.getfixturevalue(request.param)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, for 20 s at most."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  callbacks only
            await asyncio.sleep(0.005)


async def test_messages_go_through_in_order_and_each_is_confirmed_once(server: Any) -> None:
    client = await AmqpClient.connect(server.uri(), connection_name="interop")
    channel = await client.channel()
    queue = f"client-{uuid.uuid4().hex[:8]}"
    await channel.declare_queue(queue, durable=True)
    await channel.confirm_select()
    confirmed: list[int] = []
    back: list[Returned] = []

    def on_confirm(acked: Ranges, nacked: Ranges, returned: list[Returned]) -> None:
        assert not nacked
        for first, last in acked:
            confirmed.extend(range(first, last + 1))
        back.extend(returned)

    channel.on_confirm = on_confirm
    for start in range(0, COUNT, 500):
        bodies = [b"%d" % i for i in range(start, start + 500)]
        assert (
            channel.publish([Message("", queue, DURABLE, body, flags=MANDATORY) for body in bodies])
            == start + 1
        )
    channel.publish([Message("", f"{queue}-nowhere", DURABLE, b"lost", flags=MANDATORY)])
    await until(lambda: channel.unconfirmed.count == 0)
    assert sorted(confirmed) == list(range(1, COUNT + 2))
    assert [(each.code, each.message.body) for each in back] == [(312, b"lost")]
    got: list[bytes] = []

    def on_deliveries(run: DeliverRun) -> None:
        got.extend(message.body for message in run.messages)
        channel.ack(run.last_tag, multiple=True)

    await channel.qos(1000)
    tag = await channel.consume(queue, on_deliveries)
    await until(lambda: len(got) == COUNT)
    assert got == [b"%d" % i for i in range(COUNT)]
    await channel.cancel(tag)
    await channel.close()
    channel = await client.channel()
    assert await channel.delete_queue(queue) == 0
    await client.close()


async def test_large_bodies_and_all_header_types_come_back_as_they_were(server: Any) -> None:
    client = await AmqpClient.connect(server.uri())
    channel = await client.channel()
    queue = (await channel.declare_queue(exclusive=True)).queue
    table = {
        "b": Int8(-5),
        "B": UInt8(250),
        "s": Int16(-3000),
        "u": UInt16(60000),
        "I": Int32(-70000),
        "i": UInt32(3_000_000_000),
        "l": -(1 << 40),
        "f": Float32(0.5),
        "d": 0.1,
        "D": Decimal(2, 314),
        "S": "état",
        "x": b"\x00\xff",
        "T": Timestamp(1700000000),
        "t": True,
        "V": None,
        "A": ["a", Int16(1), {"n": 1}],
        "F": {"inner": {"deep": [1, 2]}},
    }
    properties = encode_properties(BasicProperties(headers=dict(table), message_id="m"))
    body = bytes(range(256)) * 2000
    channel.publish([Message("", queue, properties, body)])
    got = await channel.get(queue)
    assert got is not None
    message = got[0]
    assert message.body == body
    received = headers(message.properties)
    assert received == table
    assert {name: type(value) for name, value in received.items()} == {
        name: type(value) for name, value in table.items()
    }
    await client.close()


async def test_refusals_carry_code_and_text(server: Any) -> None:
    client = await AmqpClient.connect(server.uri())
    for operation, code, text in (
        (
            lambda c: c.declare_queue("interop-none", passive=True),
            404,
            "no queue 'interop-none' in vhost '/'",
        ),
        (lambda c: c.declare_exchange("amq.topic", "fanout", durable=True), 406, "inequivalent arg 'type'"),
        (lambda c: c.declare_queue("amq.mine"), 403, "reserved prefix"),
        (lambda c: c.declare_exchange("interop-none", passive=True), 404, "no exchange 'interop-none'"),
        (lambda c: c.delete_exchange(""), 403, "default exchange"),
    ):
        channel = await client.channel()
        with pytest.raises(ChannelFault) as caught:
            await operation(channel)
        assert caught.value.code == code
        assert text in caught.value.text
    await client.close()
    with pytest.raises(LoginRefused):
        await AmqpClient.connect(server.uri().replace("guest:guest", "guest:secret"))


async def test_aio_pika_publishes_and_consumes(server: Any) -> None:
    connection = await aio_pika.connect_robust(server.uri())
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        exchange = await channel.declare_exchange(f"aio-{uuid.uuid4().hex[:8]}", aio_pika.ExchangeType.TOPIC)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "drone.*.position")
        for i in range(20):
            message = aio_pika.Message(f"{i}".encode(), headers={"n": i}, expiration=60)
            await exchange.publish(message, f"drone.{i}.position")
        got: list[bytes] = []
        async with queue.iterator() as messages:
            async for delivery in messages:
                async with delivery.process():
                    got.append(delivery.body)
                    assert delivery.headers["n"] == len(got) - 1
                if len(got) == 20:
                    break
        assert got == [b"%d" % i for i in range(20)]
        await exchange.delete()
