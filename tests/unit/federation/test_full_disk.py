"""A federation link waits while this node's disk is full: the upstream keeps what it has."""

import pytest

from tests.helpers.alarm import DiskAlarm
from tests.helpers.brokers import turn
from tests.unit.federation.test_exchange_link import base as base
from tests.unit.federation.test_exchange_link import bodies, publish, until
from tests.unit.federation.test_live import edge as edge
from tests.unit.federation.test_live import federate, links, put, rows


@pytest.fixture
async def alarm(edge, base, monkeypatch):
    """Of a node with a running link."""
    put(edge, "federation-upstream", "base", {"uri": base.uri(), "reconnect-delay": 0.1})
    federate(edge, upstream_set="all")
    await until(lambda: links(edge) == [("base", "fleet")])
    return DiskAlarm(edge.node.broker, monkeypatch)


def upstream_queue(base):
    [queue] = base.node.broker.vhost("/").queues.values()
    return queue


async def test_what_comes_on_a_full_disk_stays_upstream_and_follows_in_order(edge, base, alarm):
    publish(base, range(100))
    await until(lambda: len(bodies(edge)) == 100)
    await until(lambda: upstream_queue(base).messages == 0)
    alarm.on()
    publish(base, range(100, 300))
    await until(lambda: alarm.waiting)
    await turn(20)
    assert len(bodies(edge)) == 100
    assert upstream_queue(base).messages == 200
    alarm.off()
    await until(lambda: len(bodies(edge)) == 300)
    assert bodies(edge) == [str(i) for i in range(300)]
    await until(lambda: upstream_queue(base).messages == 0)


async def test_a_link_that_is_cut_while_it_waits_gets_all_of_it_again_and_once(edge, base, alarm):
    alarm.on()
    publish(base, range(50))
    await until(lambda: alarm.waiting)
    for connection in list(base.node.broker.connections.values()):
        connection.shut_down("the test says so")
    await turn(20)
    assert bodies(edge) == []
    assert upstream_queue(base).messages == 50
    alarm.off()
    await until(lambda: upstream_queue(base).messages == 0)
    assert bodies(edge) == [str(i) for i in range(50)]
    [row] = rows(edge)
    assert row["reconnects"] == 1
