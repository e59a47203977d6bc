"""Shovels of a whole node: what they carry to another node, to MQTT and to the node itself."""

import asyncio

import pytest

from edge.core.errors import ConfigError
from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties, headers
from edge.tables import Table
from shovel.supervisor import ShovelSupervisor
from tests.helpers.leveret import LeveretInProcess
from tests.unit.shovel.conftest import message, until


def shovel_toml(**values):
    lines = [f"{key.replace('_', '-')} = {_toml(value)}" for key, value in {"name": "s", **values}.items()]
    return "[[shovel]]\n" + "\n".join(lines) + "\n"


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float | list) else f'"{value}"'


def publish(node, bodies, key="q", exchange=""):
    broker = node.node.broker
    broker.publish(broker.vhost("/"), exchange, [message(body, key, exchange) for body in bodies])


def bodies(node, queue="q"):
    found = node.node.broker.vhost("/").queues.get(queue)
    return [entry[1].body.decode() for entry in found.ready] if found is not None else []


def row(node):
    [found] = node.node.broker.status_sources["shovels"]()
    return found


@pytest.fixture
async def base(tmp_path):
    async with LeveretInProcess(tmp_path / "base", name="base") as node:
        yield node


async def test_a_queue_comes_to_another_node_in_order(tmp_path, base):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="q")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(2000))
        await until(lambda: len(bodies(base)) == 2000)
        assert bodies(base) == [str(i) for i in range(2000)]
        await until(lambda: row(edge)["forwarded"] == 2000)
        assert edge.node.broker.vhost("/").queues["q"].messages == 0
        assert base.node.broker.vhost("/").queues["q"].durable, "declared, since it was missing"


async def test_a_queue_of_another_node_comes_here(tmp_path, base):
    toml = shovel_toml(src_uri=base.uri(), src_queue="q", dest_uri="amqp://", dest_queue="mine")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["state"] == "running")
        publish(base, range(500))
        await until(lambda: len(bodies(edge, "mine")) == 500)
        assert bodies(edge, "mine") == [str(i) for i in range(500)]
        await until(lambda: base.node.broker.vhost("/").queues["q"].messages == 0)


async def test_an_exchange_of_another_node_is_buffered_there(tmp_path, base):
    toml = shovel_toml(
        src_uri=base.uri(),
        src_exchange="amq.topic",
        src_exchange_key="a.*",
        dest_uri="amqp://",
        dest_queue="mine",
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["state"] == "running")
        publish(base, ["x"], "a.b", "amq.topic")
        await until(lambda: bodies(edge, "mine") == ["x"])
        assert "shovel: edge s" in base.node.broker.vhost("/").queues


async def test_a_topic_filter_comes_to_an_mqtt_server_at_qos_1(tmp_path, base):
    toml = shovel_toml(
        src_topic="fleet/#", dest_uri=f"mqtt://127.0.0.1:{base.ports.mqtt}", dest_topic="edge/"
    )
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.topic", "arrived", "edge.#")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(1000), "fleet.d1", "amq.topic")
        await until(lambda: len(bodies(base, "arrived")) == 1000)
        assert bodies(base, "arrived") == [str(i) for i in range(1000)]
        assert there.vhost("/").queues["arrived"].ready[0][1].routing_key == "edge.fleet.d1"
        await until(lambda: row(edge)["forwarded"] == 1000)


async def test_an_mqtt_server_without_a_subscriber_loses_nothing(tmp_path, base):
    """PUBACK with reason 0x10 says that nobody has the message [MQTT 5, section 3.4.2.1]."""
    toml = shovel_toml(src_topic="fleet/#", dest_uri=f"mqtt://127.0.0.1:{base.ports.mqtt}")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(3), "fleet.d1", "amq.topic")
        await until(lambda: row(edge)["blocked_status"] == "refused")
        assert row(edge)["last_error"] == "0x10 no matching subscribers"
        assert row(edge)["lag"] == 3
        there = base.node.broker
        there.declare_queue(there.vhost("/"), "arrived")
        there.bind(there.vhost("/"), "amq.topic", "arrived", "#")
        await until(lambda: len(bodies(base, "arrived")) == 3, 10)
        await until(lambda: row(edge)["lag"] == 0)


async def test_an_unroutable_message_is_not_lost_and_others_pass_it(tmp_path, base):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_exchange="amq.topic")
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.topic", "arrived", "good")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        here = edge.node.broker
        for key in ("bad", "good"):
            here.bind(here.vhost("/"), "amq.direct", "q", key)
        publish(edge, ["lost?"], "bad", "amq.direct")
        publish(edge, range(10), "good", "amq.direct")
        await until(lambda: len(bodies(base, "arrived")) == 10)
        await until(lambda: row(edge)["blocked_status"] == "refused")
        assert "312 NO_ROUTE" in row(edge)["last_error"]
        there.bind(there.vhost("/"), "amq.topic", "arrived", "bad")
        await until(lambda: "lost?" in bodies(base, "arrived"), 10)
        await until(lambda: row(edge)["lag"] == 0)


async def test_a_message_larger_than_the_destination_takes_is_parked(tmp_path, base):
    toml = shovel_toml(
        src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="q", reconnect_delay=0.05
    )
    too_large = "x" * (16 * 1024 * 1024 + 1)
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, [1, too_large, 2])
        await until(lambda: row(edge)["parked"] == 1, 30)
        await until(lambda: row(edge)["lag"] == 0)
        arrived = [body for i, body in enumerate(bodies(base)) if body not in bodies(base)[:i]]
        assert arrived == ["1", "2"]
        assert bodies(edge, "q.parked") == [too_large]


async def test_within_a_node_a_shovel_confirms_what_is_on_disk(tmp_path):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri="amqp://", dest_queue="other")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(3000))
        await until(lambda: row(edge)["forwarded"] == 3000)
        assert edge.node.broker.vhost("/").queues["other"].messages == 3000
        assert edge.node.broker.vhost("/").queues["q"].messages == 0


async def test_within_a_node_a_shovel_goes_by_cc_and_bcc_as_any_publisher(tmp_path):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri="amqp://", dest_exchange="amq.direct")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        broker = edge.node.broker
        vhost = broker.vhost("/")
        for name in ("copy", "blind"):
            broker.declare_queue(vhost, name)
            broker.bind(vhost, "amq.direct", name, name)
        sent = encode_properties(BasicProperties(headers={"CC": ["copy"], "BCC": ["blind"]}))
        broker.publish(vhost, "", [Message("", "q", sent, b"x", 0, PERSISTENT)])
        await until(lambda: [bodies(edge, name) for name in ("copy", "blind")] == [["x"], ["x"]])
        assert headers(vhost.queues["blind"].ready[0][1].properties) == {"CC": ["copy"]}
        await until(lambda: vhost.queues["q"].messages == 0)


async def test_within_a_node_unroutable_messages_stay(tmp_path):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri="amqp://", dest_exchange="amq.direct")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(3))
        await until(lambda: row(edge)["blocked_status"] == "refused")
        assert row(edge)["lag"] == 3


async def test_a_buffer_is_bound_as_soon_as_its_exchange_is_declared(tmp_path):
    toml = shovel_toml(src_uri="amqp://", src_exchange="fleet", dest_uri="amqp://127.0.0.1:1")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        broker = edge.node.broker
        broker.declare_exchange(broker.vhost("/"), "fleet", "fanout")
        publish(edge, ["at once"], "k", "fleet")
        assert bodies(edge, "shovel: s") == ["at once"]
        await until(lambda: row(edge)["last_error"])
        assert row(edge)["state"] == "starting"


async def test_a_missing_destination_exchange_is_told_and_waited_for(tmp_path, base):
    toml = shovel_toml(
        src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_exchange="later", reconnect_delay=0.1
    )
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, ["x"])
        await until(lambda: "no exchange 'later'" in row(edge)["last_error"])
        there = base.node.broker
        there.declare_exchange(there.vhost("/"), "later", "fanout")
        there.declare_queue(there.vhost("/"), "arrived")
        there.bind(there.vhost("/"), "later", "arrived", "")
        await until(lambda: bodies(base, "arrived") == ["x"])


async def test_one_bad_link_touches_no_other(tmp_path, base):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="q")
    toml += shovel_toml(name="bad", src_uri="amqp://", src_queue="p", dest_uri="amqp://127.0.0.1:1")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        publish(edge, range(10), "p")
        publish(edge, range(10))
        await until(lambda: len(bodies(base)) == 10)
        rows = {each["name"]: each for each in edge.node.broker.status_sources["shovels"]()}
        assert rows["s"]["state"] == "running"
        assert rows["bad"]["lag"] == 10


async def test_a_restarted_worker_goes_on(tmp_path, base):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="q")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["state"] == "running")
        supervisor = edge.node.broker.status_sources["shovels"].__self__  # type: ignore[attr-defined]
        await supervisor.restart(("/", "s"))
        publish(edge, ["x"])
        await until(lambda: bodies(base) == ["x"])


async def test_a_wrong_table_is_refused_at_start(broker):
    with pytest.raises(ConfigError, match="closest known key is src-queue"):
        ShovelSupervisor(broker, [Table("leveret.toml: [[shovel]] s", {"name": "s", "src-quee": "q"})])


async def test_a_wrong_password_is_told_without_it(tmp_path, base):
    uri = base.uri().replace("guest:guest", "guest:secret")
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=uri, dest_queue="q")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        await until(lambda: row(edge)["last_error"])
        assert "403 ACCESS_REFUSED" in row(edge)["last_error"]
        assert "secret" not in str(row(edge))
        await asyncio.sleep(0)
