"""Links that follow upstreams, sets and policies while the node runs, as RabbitMQ's do."""

import pytest

from edge.core.policy import Policy
from edge.parameters import Parameter
from tests.helpers.leveret import LeveretInProcess
from tests.unit.federation.test_exchange_link import base as base
from tests.unit.federation.test_exchange_link import bodies, declare, publish, until
from tests.unit.management.conftest import Client


@pytest.fixture
async def edge(tmp_path):
    async with LeveretInProcess(tmp_path / "edge", name="edge") as node:
        declare(node, "#")
        yield node


def rows(node):
    source = node.node.broker.status_sources.get("federation-links")
    return source() if source is not None else []


def links(node):
    """Upstream and exchange there, of links that run."""
    return sorted(
        (row["upstream"], row["upstream_exchange"]) for row in rows(node) if row["status"] == "running"
    )


def workers(node):
    [supervisor] = {stop.__self__ for stop in node.node._stops if stop.__qualname__.startswith("Federation")}
    return dict(supervisor.workers)


def federate(node, **definition):
    """Set the one policy of the test."""
    keys = {f"federation-{key.replace('_', '-')}": name for key, name in definition.items()}
    node.node.broker.set_policy(Policy("/", "fed", "^fleet", keys, apply_to="exchanges"))


def put(node, component, name, value):
    node.node.broker.parameters.put(Parameter("/", component, name, value))


async def test_a_link_is_started_changed_and_ended_by_its_upstream_alone(edge, base):
    client = Client(edge.ports.http)
    federate(edge, upstream_set="all")
    path = "/api/parameters/federation-upstream/%2F/"
    value = {"uri": base.uri(), "reconnect-delay": 0.1}
    assert (await client.put(path + "base", {"value": value}))[0] == 201
    assert (await client.put(path + "other", {"value": {**value, "exchange": "there"}}))[0] == 201
    await until(lambda: links(edge) == [("base", "fleet"), ("other", "there")])
    publish(base, range(100))
    await until(lambda: len(bodies(edge)) == 100)
    before = workers(edge)

    assert (await client.put(path + "base", {"value": {**value, "prefetch-count": 7}}))[0] == 204
    publish(base, range(100, 200))
    await until(lambda: len(bodies(edge)) == 200)
    assert bodies(edge) == [str(i) for i in range(200)]
    changed = [key[2] for key, worker in workers(edge).items() if before[key] is not worker]
    assert changed == ["base"]

    await until(lambda: links(edge) == [("base", "fleet"), ("other", "there")])
    assert (await client.get(path + "base", method="DELETE"))[0] == 204
    await until(lambda: links(edge) == [("other", "there")])
    await until(lambda: list(base.node.broker.vhost("/").queues) == ["federation: there -> edge:fleet"])


async def test_a_set_feeds_an_exchange_from_its_upstreams_and_is_followed(edge, base):
    for name in ("one", "two", "three"):
        put(edge, "federation-upstream", name, {"uri": base.uri(), "exchange": name, "reconnect-delay": 0.1})
    put(
        edge,
        "federation-upstream-set",
        "near",
        [{"upstream": "one"}, {"upstream": "one", "exchange": "more"}],
    )
    federate(edge, upstream_set="near")
    await until(lambda: links(edge) == [("one", "more"), ("one", "one")])
    assert len({row["id"] for row in rows(edge)}) == 2
    for exchange in ("one", "more"):
        publish(base, [exchange], exchange=exchange)
    await until(lambda: sorted(bodies(edge)) == ["more", "one"])
    put(edge, "federation-upstream-set", "near", [{"upstream": "one"}, {"upstream": "two"}])
    await until(lambda: links(edge) == [("one", "one"), ("two", "two")])
    federate(edge, upstream_pattern="^t")
    await until(lambda: links(edge) == [("three", "three"), ("two", "two")])
    federate(edge, upstream="one")
    await until(lambda: links(edge) == [("one", "one")])
    edge.node.broker.delete_policy("/", "fed")
    await until(lambda: rows(edge) == [])
