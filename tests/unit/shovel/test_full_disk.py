"""A shovel into this node waits while its disk is full, and goes on by itself."""

import pytest

from edge.parameters import Parameter
from tests.helpers.alarm import DiskAlarm
from tests.helpers.brokers import turn
from tests.unit.shovel.conftest import until
from tests.unit.shovel.test_live import rows, workers
from tests.unit.shovel.test_supervisor import bodies, publish


@pytest.fixture
async def alarm(edge_node, monkeypatch):
    """Of a node that shovels from "q" to "there"."""
    broker = edge_node.node.broker
    value = {"src-uri": "amqp://", "src-queue": "q", "dest-uri": "amqp://", "dest-queue": "there"}
    broker.parameters.put(Parameter("/", "shovel", "s", value))
    await until(lambda: rows(edge_node)["s"]["state"] == "running")
    return DiskAlarm(broker, monkeypatch)


async def test_what_comes_on_a_full_disk_waits_at_the_source_in_order(edge_node, alarm):
    publish(edge_node, range(100))
    source = edge_node.node.broker.vhost("/").queues["q"]
    await until(lambda: len(bodies(edge_node, "there")) == 100 and source.messages == 0)
    alarm.on()
    publish(edge_node, range(100, 300))
    await until(lambda: rows(edge_node)["s"]["blocked_status"] == "blocked")
    await turn(20)
    assert len(bodies(edge_node, "there")) == 100
    assert (source.messages_ready, source.messages_unacknowledged) == (200, 0)
    assert alarm.waiting == 1
    alarm.off()
    await until(lambda: len(bodies(edge_node, "there")) == 300)
    assert bodies(edge_node, "there") == [str(i) for i in range(300)]
    await until(lambda: source.messages == 0)
    assert workers(edge_node)["s"].reconnects == 0


async def test_a_shovel_that_ends_while_it_waits_is_forgotten(edge_node, alarm):
    alarm.on()
    publish(edge_node, range(10))
    await until(lambda: rows(edge_node)["s"]["blocked_status"] == "blocked")
    edge_node.node.broker.parameters.clear("/", "shovel", "s")
    await until(lambda: "s" not in rows(edge_node))
    await until(lambda: alarm.waiting == 0)
    assert edge_node.node.broker.vhost("/").queues["q"].messages_ready == 10
