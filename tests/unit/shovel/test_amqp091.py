"""The AMQP ends of a shovel, against another node: what comes back, what breaks, what waits."""

import asyncio

import pytest

from edge.core.message import PERSISTENT, Message
from edge.core.properties import headers, set_header
from shovel import amqp091
from shovel.refusals import Refusal
from tests.helpers.leveret import LeveretInProcess
from tests.unit.shovel.conftest import PROPERTIES, FakeDestination, until
from tests.unit.shovel.test_supervisor import bodies, publish, row, shovel_toml


@pytest.fixture
async def base(tmp_path):
    async with LeveretInProcess(tmp_path / "base", name="base") as node:
        yield node


def queue(node, name="q"):
    return node.node.broker.vhost("/").queues[name]


def worker(node):
    supervisor = node.node.broker.status_sources["shovels"].__self__
    [found] = supervisor.workers.values()
    return found


def from_base(base, **values):
    keys = {
        "src_uri": base.uri(),
        "src_queue": "q",
        "dest_uri": "amqp://",
        "dest_queue": "mine",
        "reconnect_delay": 0.05,
    }
    return shovel_toml(**(keys | values))


async def test_a_lost_source_connection_is_made_anew_and_nothing_is_lost(tmp_path, base):
    async with LeveretInProcess(tmp_path / "edge", from_base(base)) as edge:
        await until(lambda: row(edge)["state"] == "running")
        publish(base, range(100))
        await until(lambda: len(bodies(edge, "mine")) == 100)
        for connection in list(base.node.broker.connections.values()):
            connection.shut_down("the test wants it")
        await until(lambda: row(edge)["reconnects"] == 1 and row(edge)["state"] == "running")
        assert "320 CONNECTION_FORCED" in row(edge)["last_error"]
        publish(base, range(100, 200))
        await until(lambda: len(set(bodies(edge, "mine"))) == 200)
        await until(lambda: queue(base).messages == 0)


async def test_a_deleted_source_queue_is_declared_again(tmp_path, base):
    async with LeveretInProcess(tmp_path / "edge", from_base(base)) as edge:
        await until(lambda: row(edge)["state"] == "running")
        base.node.broker.delete_queue(base.node.broker.vhost("/"), queue(base))
        await until(lambda: row(edge)["reconnects"] == 1 and row(edge)["state"] == "running")
        assert row(edge)["last_error"] == "source: queue 'q' is gone"


async def test_no_source_that_answers_is_told_by_name(tmp_path):
    toml = shovel_toml(
        src_uri=["amqp://u:secret@127.0.0.1:1", "amqp://u:secret@127.0.0.1:2"],
        src_queue="q",
        dest_uri="amqp://",
        dest_queue="mine",
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["last_error"])
        assert "source amqp://127.0.0.1:1: " in row(edge)["last_error"]
        assert "source amqp://127.0.0.1:2: " in row(edge)["last_error"]
        assert "secret" not in row(edge)["last_error"]


async def test_without_acknowledgement_the_source_is_empty_at_once(tmp_path, base):
    async with LeveretInProcess(tmp_path / "edge", from_base(base, ack_mode="no-ack")) as edge:
        await until(lambda: row(edge)["state"] == "running")
        publish(base, range(50))
        await until(lambda: len(bodies(edge, "mine")) == 50)
        assert queue(base).messages == 0


async def test_a_source_is_not_read_faster_than_the_destination_takes(tmp_path, base, monkeypatch):
    """Prefetch counts no bytes: a thousand messages of a megabyte would be a gigabyte here."""
    monkeypatch.setattr(amqp091, "PENDING_BYTES_MAX", 100_000)
    made: list[FakeDestination] = []
    monkeypatch.setattr("shovel.supervisor.LocalDestination", lambda *_: FakeDestination(made))
    async with LeveretInProcess(tmp_path / "edge", from_base(base)) as edge:
        await until(lambda: row(edge)["state"] == "running")
        made[0].free = 0
        publish(base, ["x" * 10_000] * 500)
        await until(lambda: worker(edge)._source._pending_bytes > 100_000)
        await asyncio.sleep(0.05)
        assert worker(edge)._source._pending_bytes < 3_000_000
        assert row(edge)["lag"] > 0
        made[0].free = 10_000
        made[0].feedback.has_room()
        async with asyncio.timeout(5):
            while row(edge)["forwarded"] < 500:
                made[0].feedback.confirmed([(1, len(made[0].published))])
                await asyncio.sleep(0.005)


async def test_what_a_destination_refuses_for_good_is_parked_here_and_then_acknowledged_there(
    tmp_path, base, monkeypatch
):
    made: list[FakeDestination] = []
    monkeypatch.setattr("shovel.supervisor.LocalDestination", lambda *_: FakeDestination(made))
    async with LeveretInProcess(tmp_path / "edge", from_base(base)) as edge:
        await until(lambda: row(edge)["state"] == "running")
        publish(base, ["bad", "good"])
        await until(lambda: len(made[0].published) == 2)
        made[0].feedback.refused([(1, 1)], Refusal("too large", of_message=True, is_final=True))
        made[0].feedback.confirmed([(2, 2)])
        await until(lambda: queue(base).messages == 0)
        assert bodies(edge, "q.parked") == ["bad"]


async def test_of_messages_alike_the_returned_one_is_told_by_its_properties(tmp_path, base):
    """basic.return has no delivery tag: the message itself must tell which it was."""
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_exchange="amq.headers")
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.headers", "arrived", "", {"x-match": "all", "kind": "good"})
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        broker = edge.node.broker
        messages = [
            Message("", "q", set_header(PROPERTIES, "kind", kind), b"same", flags=PERSISTENT)
            for kind in ("good", "bad", "good", "bad", "good")
        ]
        broker.publish(broker.vhost("/"), "", messages)
        await until(lambda: row(edge)["forwarded"] == 3)
        await until(lambda: row(edge)["blocked_status"] == "refused")
        assert row(edge)["lag"] == 2
        arrived = [headers(entry[1].properties)["kind"] for entry in queue(base, "arrived").ready]
        assert arrived == ["good"] * 3


async def test_a_predeclared_destination_queue_must_be_there(tmp_path, base):
    toml = shovel_toml(
        src_uri="amqp://",
        src_queue="q",
        dest_uri=base.uri(),
        dest_queue="later",
        dest_predeclared=True,
        reconnect_delay=0.05,
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: "404 NOT_FOUND" in row(edge)["last_error"])
        base.node.broker.declare_queue(base.node.broker.vhost("/"), "later")
        publish(edge, ["x"])
        await until(lambda: bodies(base, "later") == ["x"])


async def test_on_publish_needs_no_confirms(tmp_path, base):
    toml = shovel_toml(
        src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="q", ack_mode="on-publish"
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(100))
        await until(lambda: len(bodies(base)) == 100)
        assert queue(edge).messages == 0


async def test_an_exchange_of_the_messages_own_that_is_missing_is_a_fault_of_the_message(tmp_path, base):
    """Without dest-exchange each goes to where it was published first; one 404 must not stop the others for ever."""
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), reconnect_delay=0.02)
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.fanout", "arrived", "")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        here = edge.node.broker
        here.declare_exchange(here.vhost("/"), "only here", "fanout")
        for exchange in ("only here", "amq.fanout"):
            here.bind(here.vhost("/"), exchange, "q", "")
        publish(edge, range(5), "", "amq.fanout")
        publish(edge, ["bad"], "", "only here")
        publish(edge, range(5, 10), "", "amq.fanout")
        await until(lambda: row(edge)["parked"] == 1, 20)
        await until(lambda: row(edge)["lag"] == 0)
        assert list(dict.fromkeys(bodies(base, "arrived"))) == [str(i) for i in range(10)]
