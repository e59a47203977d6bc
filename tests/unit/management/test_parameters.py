"""/api/parameters, with RabbitMQ's statuses and words."""

from edge.broker import Broker
from edge.node import parameter_checks
from tests.unit.management.conftest import Client

PATH = "/api/parameters/shovel/%2F/s"
VALUE = {"src-uri": "amqp://", "src-queue": "q", "dest-uri": "amqp://base", "dest-queue": "q"}
ROW = {"value": VALUE, "vhost": "/", "component": "shovel", "name": "s"}


async def test_a_parameter_is_made_changed_shown_and_cleared(client: Client, broker: Broker) -> None:
    assert await client.put(PATH, {"value": VALUE, "component": "shovel", "vhost": "/", "name": "s"}) == (
        201,
        None,
    )
    assert await client.put(PATH, {"value": VALUE}) == (204, None)
    assert await client.get(PATH) == (200, ROW)
    for path in ("/api/parameters", "/api/parameters/shovel", "/api/parameters/shovel/%2F"):
        assert await client.get(path) == (200, [ROW])
    assert await client.get("/api/parameters/federation-upstream") == (200, [])
    assert (await broker.store.records("parameter")).keys() == {"/\0shovel\0s"}
    assert await client.get(PATH, method="DELETE") == (204, None)
    assert (await client.get(PATH))[0] == 404
    assert (await client.get(PATH, method="DELETE"))[0] == 404
    assert await broker.store.records("parameter") == {}


async def test_a_parameter_that_cannot_be_is_refused(client: Client, broker: Broker) -> None:
    broker.parameters.checks = parameter_checks()
    status, answer = await client.put(PATH, {"value": {**VALUE, "src-quee": "q"}})
    assert (status, answer["error"]) == (400, "bad_request")
    assert "src-quee: unknown key; the closest known key is src-queue" in answer["reason"]
    assert (await client.put(PATH, {"values": VALUE}))[0] == 400
    assert (await client.put("/api/parameters/shovels/%2F/s", {"value": VALUE}))[0] == 400
    assert (await client.put("/api/parameters/shovel/nowhere/s", {"value": VALUE}))[0] == 404
    status, answer = await client.put(PATH, {"value": {"src-queue": "q" * 1024 * 1024}})
    assert (status, "bytes is not taken" in answer["reason"]) == (400, True)
    assert broker.parameters.list() == []


async def test_parameters_are_for_policymakers(client: Client, broker: Broker) -> None:
    broker.set_user("viewer", "secret", ["monitoring"])
    for method in ("GET", "DELETE", "PUT"):
        assert (await client.get(PATH, "viewer:secret", method))[0] == 401
    assert (await client.get("/api/parameters", "viewer:secret"))[0] == 401
