"""Shovels to AMQP brokers over links that fail: nothing is lost, and order is kept apart from duplicates."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.faults.conftest import (
    FAULTS,
    befall,
    first_arrivals,
    number_of,
    publish,
    publish_through_fault,
    until,
)
from tests.helpers.leveret import LeveretInProcess
from tests.helpers.rabbitmq import RabbitMQ
from tests.helpers.toxiproxy import Link

MakeLink = Callable[[int], Link]


def shovel(dest_uri: str, keys: str) -> str:
    return (
        '[[shovel]]\nname = "up"\nsrc-uri = "amqp://"\nsrc-queue = "q"\nreconnect-delay = 0.2\n'
        f'dest-uri = "{dest_uri}"\n{keys}\n'
    )


def row(edge: LeveretInProcess) -> dict[str, Any]:
    [found] = edge.node.broker.status_sources["shovels"]()
    return found


def drained(edge: LeveretInProcess) -> bool:
    return edge.node.broker.vhost("/").queues["q"].messages == 0


def read_all(uri: str, queue: str) -> list[int]:
    """What RabbitMQ's queue holds, in order."""
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1000)
    numbers = []
    for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.5):
        if body is None:
            break
        numbers.append(number_of(body))
    connection.close()
    return numbers


@pytest.mark.parametrize("kind", FAULTS)
async def test_another_leveret_gets_everything_in_order(
    tmp_path: Path, make_link: MakeLink, rng: random.Random, kind: str
) -> None:
    async with LeveretInProcess(tmp_path / "base", name="base") as base:
        link = make_link(base.ports.amqp)
        toml = shovel(base.uri(port=link.port) + "?heartbeat=1", 'dest-queue = "q"')
        async with LeveretInProcess(tmp_path / "edge", toml) as edge:
            count = await publish_through_fault(edge, link, kind, rng, "q")
            await until(lambda: drained(edge))
            arrived = [number_of(e[1].body) for e in base.node.broker.vhost("/").queues["q"].ready]
            assert first_arrivals(arrived) == list(range(count))
            print(
                f"{kind}: {count} messages, {len(arrived) - count} duplicates, {row(edge)['reconnects']} reconnects"
            )


@pytest.mark.parametrize("kind", FAULTS)
async def test_rabbitmq_gets_everything_in_order(
    tmp_path: Path, rabbitmq: RabbitMQ, make_link: MakeLink, rng: random.Random, kind: str
) -> None:
    queue = f"up-{kind}"
    link = make_link(rabbitmq.amqp_port)
    toml = shovel(rabbitmq.uri(port=link.port) + "?heartbeat=1", f'dest-queue = "{queue}"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        count = await publish_through_fault(edge, link, kind, rng, "q")
        await until(lambda: drained(edge))
    arrived = await asyncio.to_thread(read_all, rabbitmq.uri(), queue)
    assert first_arrivals(arrived) == list(range(count))


async def test_a_black_hole_is_noticed_by_heartbeat(
    tmp_path: Path, make_link: MakeLink, rabbitmq: RabbitMQ
) -> None:
    link = make_link(rabbitmq.amqp_port)
    toml = shovel(rabbitmq.uri(port=link.port) + "?heartbeat=1", 'dest-queue = "black-hole"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["state"] == "running")
        for stream in ("upstream", "downstream"):
            await asyncio.to_thread(link.add, "timeout", stream, timeout=0)
        publish(edge, range(10), "q")
        started_s = time.monotonic()
        await until(lambda: row(edge)["reconnects"] > 0)
        assert time.monotonic() - started_s < 4
        assert "missed heartbeats" in row(edge)["last_error"]
        await asyncio.to_thread(link.heal)
        await until(lambda: drained(edge))


async def test_a_long_round_trip_is_no_ceiling(
    tmp_path: Path, make_link: MakeLink, rabbitmq: RabbitMQ
) -> None:
    """At 600 ms one message at a time would make 2 a second, and 1000 at a time 1700: the window has to follow."""
    link = make_link(rabbitmq.amqp_port)
    toml = shovel(rabbitmq.uri(port=link.port) + "?heartbeat=30", 'dest-queue = "far"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["state"] == "running")
        for stream in ("upstream", "downstream"):
            await asyncio.to_thread(link.add, "latency", stream, latency=300)
        most = 0

        def wide_or_drained() -> bool:
            nonlocal most
            most = max(most, row(edge)["pending"])
            return most > 5_000 or drained(edge)

        publish(edge, range(60_000), "q")
        await until(wide_or_drained, timeout_s=60)
        assert most > 5_000, "it drained with few messages in flight, a round trip for each handful"


async def test_a_blocked_rabbitmq_is_waited_for(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    toml = shovel(rabbitmq.uri(), 'dest-queue = "blocked"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(10), "q")
        await until(lambda: drained(edge))
        try:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1")
            # RabbitMQ tells only connections that publish while the alarm is on.
            publish(edge, range(10, 20), "q")
            await until(lambda: row(edge)["blocked_status"] == "blocked")
            publish(edge, range(20, 500), "q")
            await asyncio.sleep(0.2)
            assert row(edge)["state"] == "running"
            assert row(edge)["lag"] >= 480
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.6")
        await until(lambda: drained(edge))
        assert row(edge)["reconnects"] == 0
    assert read_all(rabbitmq.uri(), "blocked") == list(range(500))


async def test_a_full_queue_that_rejects_loses_nothing_and_keeps_the_order(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    """RabbitMQ's own shovel requeues a nack at once, for ever; LavinMQ's lost the message (lavinmq#1357)."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.uri()))
    channel = connection.channel()
    channel.queue_declare(
        "full", durable=True, arguments={"x-max-length": 10, "x-overflow": "reject-publish"}
    )
    arrived: list[int] = []
    stop = threading.Event()

    def consume_slowly() -> None:
        while not stop.is_set():
            _, _, body = channel.basic_get("full", auto_ack=True)
            if body is None:
                time.sleep(0.005)
            else:
                arrived.append(number_of(body))
                time.sleep(0.002)
        connection.close()

    toml = shovel(rabbitmq.uri(), 'dest-queue = "full"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(100), "q")
        await until(lambda: row(edge)["blocked_status"] == "refused")
        consumer = threading.Thread(target=consume_slowly)
        consumer.start()
        try:
            await until(lambda: len(set(arrived)) == 100, 25)
        finally:
            stop.set()
            consumer.join()
        assert first_arrivals(arrived) == list(range(100))
        assert row(edge)["parked"] == 0


async def test_an_unroutable_message_stays_until_somebody_binds(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    """RabbitMQ's own shovel acknowledges it: lost (rabbitmq-server#16993)."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.uri()))
    channel = connection.channel()
    channel.exchange_declare("nobody-bound", "fanout", durable=True)
    toml = shovel(rabbitmq.uri(), 'dest-exchange = "nobody-bound"')
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(300), "q")
        await until(lambda: row(edge)["blocked_status"] == "refused")
        assert row(edge)["last_error"] == "312 NO_ROUTE"
        assert row(edge)["lag"] == 300
        channel.queue_declare("bound-late", durable=True)
        channel.queue_bind("bound-late", "nobody-bound")
        await until(lambda: drained(edge), 25)
    connection.close()
    assert sorted(set(read_all(rabbitmq.uri(), "bound-late"))) == list(range(300))


async def test_one_link_down_does_not_disturb_another(
    tmp_path: Path, rabbitmq: RabbitMQ, make_link: MakeLink
) -> None:
    """rabbitmq-server#10544: two shovels, one outage, both stopped."""
    link = make_link(rabbitmq.amqp_port)
    toml = shovel(rabbitmq.uri(), 'dest-queue = "fine"')
    toml += (
        shovel(rabbitmq.uri(port=link.port), 'dest-queue = "cut"')
        .replace('"up"', '"bad"')
        .replace('"q"', '"p"')
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await befall(link, "down")
        publish(edge, range(100), "p")
        publish(edge, range(100), "q")
        await until(lambda: drained(edge))
        await asyncio.to_thread(link.heal)
        await until(lambda: edge.node.broker.vhost("/").queues["p"].messages == 0)
