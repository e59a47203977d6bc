"""Shovels that are parameters: made, changed and cleared while the node runs, as RabbitMQ's dynamic shovels."""

import json
import logging

import pytest

from edge.parameters import Parameter
from tests.helpers.leveret import LeveretInProcess
from tests.unit.management.conftest import Client
from tests.unit.shovel.conftest import until
from tests.unit.shovel.test_supervisor import base as base
from tests.unit.shovel.test_supervisor import bodies, publish, shovel_toml


def rows(node):
    source = node.node.broker.status_sources.get("shovels")
    return {row["name"]: row for row in source()} if source is not None else {}


def workers(node):
    """The workers themselves, by name: a restarted shovel has another one."""
    [supervisor] = {stop.__self__ for stop in node.node._stops if stop.__qualname__.startswith("Shovel")}
    return {name: worker for (_, name), worker in supervisor.workers.items()}


def path(name):
    return f"/api/parameters/shovel/%2F/{name}"


def value(base, source="q", destination="q", **more):
    return {
        "src-uri": "amqp://",
        "src-queue": source,
        "dest-uri": base.uri(),
        "dest-queue": destination,
        **more,
    }


async def test_a_shovel_is_started_changed_and_ended_by_its_parameter_alone(edge_node, base):
    client = Client(edge_node.ports.http)
    assert rows(edge_node) == {}
    assert (await client.put(path("other"), {"value": value(base, "o", "o")}))[0] == 201
    assert (await client.put(path("s"), {"value": value(base)}))[0] == 201
    publish(edge_node, range(100))
    await until(lambda: len(bodies(base)) == 100)
    other = workers(edge_node)["other"]

    assert (await client.put(path("s"), {"value": value(base, destination="new")}))[0] == 204
    publish(edge_node, range(100, 200))
    await until(lambda: len(bodies(base, "new")) == 100)
    assert bodies(base) + bodies(base, "new") == [str(i) for i in range(200)]

    assert (await client.get(path("s"), method="DELETE"))[0] == 204
    assert list(rows(edge_node)) == ["other"]
    await until(lambda: edge_node.node.broker.vhost("/").queues["q"].consumer_count == 0)
    publish(edge_node, range(5))
    assert workers(edge_node)["other"] is other
    await until(lambda: rows(edge_node)["other"]["state"] == "running")
    assert (rows(edge_node)["other"]["reconnects"], bodies(edge_node)) == (0, [str(i) for i in range(5)])


async def test_shovels_of_imported_definitions_run_at_once_and_an_import_anew_leaves_them_alone(
    edge_node, base
):
    client = Client(edge_node.ports.http)
    parameter = {"vhost": "/", "component": "shovel", "name": "s", "value": value(base)}
    document = json.dumps({"parameters": [parameter]}).encode()
    seen = []
    for _ in range(2):
        status, _, _ = await client.fetch("/api/definitions", method="POST", body=document)
        assert status == 204
        seen.append(workers(edge_node)["s"])
        publish(edge_node, ["x"])
        await until(lambda: len(bodies(base)) == len(seen))
    assert seen[0] is seen[1]
    assert seen[0].reconnects == 0


async def test_a_change_that_comes_before_the_last_one_is_done_is_the_one_that_counts(edge_node, base):
    parameters = edge_node.node.broker.parameters
    for i in range(20):
        parameters.put(Parameter("/", "shovel", "s", value(base, destination=f"d{i}")))
    publish(edge_node, range(50))
    await until(lambda: bodies(base, "d19") == [str(i) for i in range(50)])
    assert len(edge_node.node.broker.vhost("/").queues["q"].consumers) == 1
    await until(lambda: len(base.node.broker.connections) == 1)


@pytest.mark.parametrize("left", [0, 3])
async def test_the_buffer_of_a_cleared_shovel_goes_unless_it_holds_messages(edge_node, base, caplog, left):
    broker = edge_node.node.broker
    made = {
        "src-uri": "amqp://",
        "src-exchange": "amq.topic",
        "src-exchange-key": "#",
        "dest-uri": "amqp://127.0.0.1:1",
    }
    broker.parameters.put(Parameter("/", "shovel", "s", made))
    publish(edge_node, range(left), "a", "amq.topic")
    assert len(bodies(edge_node, "shovel: s")) == left
    changed = {**made, "src-exchange": "amq.fanout"}
    broker.parameters.put(Parameter("/", "shovel", "s", changed))
    queue = broker.vhost("/").queues["shovel: s"]
    assert [binding.source.name for binding in broker.vhost("/").bindings_to(queue)] == ["amq.fanout"]
    with caplog.at_level(logging.WARNING, "shovel.source"):
        broker.parameters.clear("/", "shovel", "s")
        assert broker.vhost("/").bindings_to(queue) == []
        if left:
            await until(lambda: "keeps 3 messages" in caplog.text)
            assert len(bodies(edge_node, "shovel: s")) == left
        else:
            await until(lambda: "shovel: s" not in broker.vhost("/").queues)


async def test_the_buffer_of_a_cleared_shovel_stays_for_one_that_comes_right_behind_it(edge_node, base):
    parameters = edge_node.node.broker.parameters
    made = {"src-uri": "amqp://", "src-exchange": "amq.fanout", "dest-uri": base.uri(), "dest-queue": "q"}
    parameters.put(Parameter("/", "shovel", "s", made))
    await until(lambda: rows(edge_node)["s"]["state"] == "running")
    parameters.clear("/", "shovel", "s")
    parameters.put(Parameter("/", "shovel", "s", made))
    queue = edge_node.node.broker.vhost("/").queues["shovel: s"]
    await until(lambda: rows(edge_node)["s"]["state"] == "running")
    assert not queue.deleted
    publish(edge_node, ["x"], exchange="amq.fanout")
    await until(lambda: bodies(base) == ["x"])


async def test_of_two_shovels_of_one_name_that_of_the_configuration_runs(tmp_path, base):
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=base.uri(), dest_queue="configured")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        worker = workers(edge)["s"]
        edge.node.broker.parameters.put(Parameter("/", "shovel", "s", value(base)))
        edge.node.broker.parameters.clear("/", "shovel", "s")
        assert workers(edge)["s"] is worker
        publish(edge, ["x"])
        await until(lambda: bodies(base, "configured") == ["x"])


async def test_a_shovel_by_parameter_runs_again_after_a_start_and_a_wrong_one_stops_nobody(
    tmp_path, base, caplog
):
    async with LeveretInProcess(tmp_path / "edge") as edge:
        edge.node.broker.parameters.put(Parameter("/", "shovel", "s", value(base)))
        edge.node.broker.parameters.checks.clear()  # as an older version would have let it in
        edge.node.broker.parameters.put(Parameter("/", "shovel", "bad", {"src-quee": "q"}))
    async with LeveretInProcess(tmp_path / "edge") as edge:
        publish(edge, ["x"])
        await until(lambda: bodies(base) == ["x"])
        assert list(rows(edge)) == ["s"]
    assert "shovel 'bad' in vhost '/': src-quee: unknown key" in caplog.text
