"""Low on disk: publishers are blocked, consumers go on (RabbitMQ, "Blocked Connections")."""

import asyncio
import logging

import pytest

from edge.amqp091 import client_machine, spec
from edge.amqp091.events import AckRun, DeliverRun
from edge.amqp091.server import AmqpServerProtocol
from tests.helpers.alarm import DiskAlarm
from tests.unit.amqp091.conftest import AmqpNode, confirmed, message, until, with_queue


@pytest.fixture
def alarm(node: AmqpNode, monkeypatch: pytest.MonkeyPatch) -> DiskAlarm:
    return DiskAlarm(node.broker, monkeypatch)


def states(node: AmqpNode) -> list[str]:
    return [connection.details()["state"] for connection in node.broker.connections.values()]


async def test_a_publisher_is_told_once_and_its_publishes_wait_in_order(
    node: AmqpNode, alarm: DiskAlarm, caplog: pytest.LogCaptureFixture
) -> None:
    """connection.blocked, connection.unblocked."""
    peer = await with_queue(node)
    alarm.on()
    with caplog.at_level(logging.WARNING):
        peer.publish(message(b"1"), message(b"2"))
        assert await peer.method(0) == spec.Blocked("low on disk")
        peer.publish(message(b"3"))
        await asyncio.sleep(0.05)
    assert states(node) == ["blocked"]
    assert caplog.text.count("publisher is blocked: low on disk") == 1
    queue = node.broker.vhosts["/"].queues["q"]
    assert queue.messages == 0, "nothing gets in once the alarm is on"
    alarm.off()
    assert await peer.method(0) == spec.Unblocked()
    await confirmed(peer, 3)
    assert [entry[1].body for entry in queue.ready] == [b"1", b"2", b"3"]
    assert states(node) == ["running"]


async def test_a_client_that_does_not_know_of_it_is_not_told(
    node: AmqpNode, alarm: DiskAlarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(client_machine.CLIENT_CAPABILITIES, "connection.blocked", False)
    peer = await with_queue(node)
    alarm.on()
    peer.publish(message(b"1"))
    await until(lambda: states(node) == ["blocked"])
    alarm.off()
    assert isinstance(await peer.event(), AckRun)


async def test_consumers_declare_take_and_acknowledge_meanwhile(node: AmqpNode, alarm: DiskAlarm) -> None:
    publisher = await with_queue(node, b"1", b"2")
    alarm.on()
    publisher.publish(message(b"3"))
    await publisher.method(0)
    consumer = await node.peer()
    await consumer.call(spec.QueueDeclare(queue="q", durable=True))
    await consumer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    run = await consumer.event()
    assert isinstance(run, DeliverRun)
    consumer.send(spec.BasicAck(run.tags[-1], True))
    queue = node.broker.vhosts["/"].queues["q"]
    await until(lambda: queue.settled.low == 2)
    await consumer.call(spec.QueueDeclare(queue="new", durable=True))
    alarm.off()
    assert isinstance(await publisher.method(0), spec.Unblocked)
    run = await consumer.event()
    assert isinstance(run, DeliverRun)
    assert run.messages[0].body == b"3"


async def test_who_consumes_is_not_held_for_what_others_publish(
    node: AmqpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledgements make room: they are read, however much waits for its commit."""
    await with_queue(node, b"1")
    consumer = await node.peer()
    monkeypatch.setattr(type(node.broker), "congested", True)
    await consumer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    run = await consumer.event()
    assert isinstance(run, DeliverRun)
    consumer.send(spec.BasicAck(run.tags[-1], True))
    await until(lambda: node.broker.vhosts["/"].queues["q"].settled.low == 1)


async def test_a_blocked_publisher_that_is_gone_is_forgotten(node: AmqpNode, alarm: DiskAlarm) -> None:
    peer = await with_queue(node)
    alarm.on()
    peer.publish(message(b"1"))
    await peer.method(0)
    assert alarm.waiting == 1
    (connection,) = node.broker.connections.values()
    assert isinstance(connection, AmqpServerProtocol)
    connection.abort()
    await until(lambda: not node.broker.connections)
    assert alarm.waiting == 0
