"""The HTTP API answers in RabbitMQ's words and keys."""

import logging
from typing import Any

import pytest

from edge.auth.users import Permission
from edge.broker import Broker
from edge.core.consumer import Consumer
from edge.core.message import Message
from edge.core.policy import Policy
from edge.core.table_types import Int32
from tests.unit.management.conftest import Client

SHOVEL = {"name": "reports", "vhost": "/", "node": "edge-1", "type": "dynamic", "state": "running"}


class Connection:
    """What a protocol puts into the registry of connections."""

    def __init__(self, **row: Any) -> None:
        self._row = row

    def details(self) -> dict[str, Any]:
        return self._row

    def shut_down(self, reason: str) -> None:
        raise AssertionError(f"nobody asked for it: {reason}")


def fill(broker: Broker) -> None:
    """Two queues, one with three messages, and a binding with arguments."""
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "q1")
    broker.declare_queue(vhost, "q2", arguments={"x-max-length": Int32(5)})
    broker.declare_exchange(vhost, "x", "topic")
    broker.bind(vhost, "x", "q1", "a.#", {})
    broker.bind(vhost, "amq.headers", "q1", "", {"x-match": "all"})
    broker.publish(vhost, "", [Message("", "q1", b"", b"hello")] * 3)


async def test_overview_has_what_clients_of_rabbitmq_require(client: Client, broker: Broker) -> None:
    fill(broker)
    status, body = await client.get("/api/overview")
    assert status == 200
    assert body["cluster_name"] == body["node"] == "edge-1"
    assert body["product_name"] == "Leveret"
    assert body["queue_totals"]["messages"] == 3
    assert body["queue_totals"]["messages_ready_details"] == {"rate": 0.0}
    assert body["message_stats"]["publish"] == 3
    assert body["object_totals"] == {
        "connections": 0,
        "channels": 0,
        "exchanges": 7,
        "queues": 2,
        "consumers": 0,
    }
    assert body["listeners"][0]["protocol"] == "amqp"
    assert {
        "name": "topic",
        "description": "Binding keys are patterns over words parted by dots.",
        "enabled": True,
    } in (body["exchange_types"])


async def test_queues_are_listed_with_their_counts(client: Client, broker: Broker) -> None:
    fill(broker)
    status, rows = await client.get("/api/queues")
    assert status == 200
    q1, q2 = rows
    assert (q1["name"], q1["vhost"], q1["type"], q1["durable"]) == ("q1", "/", "classic", True)
    assert (q1["messages"], q1["messages_ready"], q1["messages_unacknowledged"]) == (3, 3, 0)
    assert q1["message_bytes"] == 15
    assert q2["arguments"] == {"x-max-length": 5}


async def test_the_default_vhost_is_percent_encoded_in_paths(client: Client, broker: Broker) -> None:
    fill(broker)
    broker.declare_queue(broker.vhost("/"), "a/b c")
    assert [row["name"] for row in (await client.get("/api/queues/%2F"))[1]] == ["q1", "q2", "a/b c"]
    assert (await client.get("/api/queues/%2F/q1"))[1]["messages"] == 3
    assert (await client.get("/api/queues/%2f/a%2Fb%20c"))[1]["name"] == "a/b c"
    assert (await client.get("/api/queues/%2F/q1"))[1]["consumer_details"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/nope",
        "/",
        "/api/queues/",
        "/api/queues/nope",
        "/api/queues/%2F/nope",
        "/api/exchanges/%2F/nope",
        "/api/vhosts/nope",
        "/api/nodes/nope",
        "/api/connections/nope",
        "/api/shovels/nope",
    ],
)
async def test_what_is_not_there_is_a_404_in_rabbitmqs_words(client: Client, path: str) -> None:
    assert await client.get(path) == (404, {"error": "Object Not Found", "reason": "Not Found"})


class Subscription(Consumer):
    """A consumer that takes nothing."""

    def capacity(self) -> int:
        return 0


async def test_a_queue_shows_its_consumers(client: Client, broker: Broker) -> None:
    queue = broker.declare_queue(broker.vhost("/"), "q1")
    broker.consume(Subscription("tag-1", queue, exclusive=True))
    _, row = await client.get("/api/queues/%2F/q1")
    assert row["consumers"] == 1
    assert row["consumer_details"] == [
        {
            "consumer_tag": "tag-1",
            "queue": {"name": "q1", "vhost": "/"},
            "ack_required": True,
            "exclusive": True,
            "active": True,
            "arguments": {},
        }
    ]


async def test_a_queue_shows_the_policy_in_force(client: Client, broker: Broker) -> None:
    broker.set_policy(Policy("/", "ttl", "^q", {"message-ttl": 5}))
    broker.set_policy(Policy("/", "cap", "", {"message-ttl": 3, "max-length": 9}, operator=True))
    broker.declare_queue(broker.vhost("/"), "q1")
    _, row = await client.get("/api/queues/%2F/q1")
    assert (row["policy"], row["operator_policy"]) == ("ttl", "cap")
    assert row["effective_policy_definition"] == {"message-ttl": 3, "max-length": 9}


async def test_a_column_inside_what_is_no_object_is_left_out(client: Client, broker: Broker) -> None:
    fill(broker)
    assert (await client.get("/api/queues?columns=name.x,arguments.x-max-length&sort=node"))[1] == [
        {},
        {"arguments": {"x-max-length": 5}},
    ]


async def test_exchanges_are_listed_and_the_default_one_is_called_amq_default(client: Client) -> None:
    _, rows = await client.get("/api/exchanges/%2F")
    assert [row["name"] for row in rows][:2] == ["", "amq.direct"]
    status, row = await client.get("/api/exchanges/%2F/amq.default")
    assert (status, row["name"], row["type"]) == (200, "", "direct")


async def test_bindings_include_those_of_the_default_exchange(client: Client, broker: Broker) -> None:
    fill(broker)
    _, rows = await client.get("/api/bindings")
    shown = [(row["source"], row["destination"], row["routing_key"], row["properties_key"]) for row in rows]
    assert shown[:2] == [("", "q1", "q1", "q1"), ("", "q2", "q2", "q2")]
    assert ("x", "q1", "a.#", "a.%23") in shown
    assert any(row["arguments"] == {"x-match": "all"} for row in rows)


async def test_a_node_has_the_fields_that_clients_require(client: Client) -> None:
    status, (node,) = await client.get("/api/nodes")
    assert status == 200
    assert node["os_pid"].isdecimal()
    assert node["mem_used"] > 1_000_000
    assert node["disk_free"] > 0
    assert (await client.get("/api/nodes/edge-1"))[1]["name"] == "edge-1"


async def test_vhosts_carry_their_totals(client: Client, broker: Broker) -> None:
    fill(broker)
    assert (await client.get("/api/vhosts"))[1][0]["messages"] == 3
    assert (await client.get("/api/vhosts/%2F"))[1]["name"] == "/"


async def test_shovels_and_links_show_what_they_report_themselves(client: Client, broker: Broker) -> None:
    assert await client.get("/api/shovels") == (200, [])
    broker.status_sources["shovels"] = lambda: [SHOVEL, {**SHOVEL, "vhost": "gone"}]
    assert await client.get("/api/shovels") == (200, [SHOVEL])
    assert await client.get("/api/shovels/%2F") == (200, [SHOVEL])
    assert await client.get("/api/federation-links") == (200, [])


async def test_connections_are_found_by_name(client: Client, broker: Broker) -> None:
    broker.connections["1"] = Connection(name="127.0.0.1:1 -> 127.0.0.1:2", user="guest", channels=2)
    assert (await client.get("/api/connections"))[1][0]["channels"] == 2
    status, row = await client.get("/api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A2")
    assert (status, row["user"]) == (200, "guest")
    assert (await client.get("/api/overview"))[1]["object_totals"]["channels"] == 2


async def test_the_alarm_check_fails_while_the_store_does(client: Client, broker: Broker) -> None:
    assert await client.get("/api/health/checks/alarms") == (200, {"status": "ok"})
    (row,) = (await client.get("/api/nodes"))[1]
    assert (row["disk_free_alarm"], row["disk_free_limit"] > 0) == (False, True)
    broker.store._commits.is_failing = True
    status, body = await client.get("/api/health/checks/alarms")
    assert (status, body["status"]) == (503, "failed")
    broker.store._commits.is_failing = False
    broker.store.space.is_low = True
    status, body = await client.get("/api/health/checks/alarms")
    assert (status, body["alarms"]) == (503, [{"node": "edge-1", "resource": "disk"}])
    (row,) = (await client.get("/api/nodes"))[1]
    assert row["disk_free_alarm"]


async def test_whoami_names_the_user_and_the_cluster_its_name(client: Client) -> None:
    assert await client.get("/api/whoami") == (200, {"name": "guest", "tags": ["administrator"]})
    assert await client.get("/api/cluster-name") == (200, {"name": "edge-1"})


async def test_other_methods_are_refused(client: Client) -> None:
    assert (await client.get("/api/overview", method="POST"))[0] == 405


async def test_without_credentials_it_asks_for_them(client: Client) -> None:
    status, headers, body = await client.fetch("/api/overview", user=None)
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic realm=")
    assert body == {"error": "not_authorized", "reason": "Not_Authorized"}


@pytest.mark.parametrize("user", ["guest:wrong", "nobody:guest", "guest"])
async def test_a_bad_login_is_refused_and_logged_with_the_peers_address(
    client: Client, caplog: pytest.LogCaptureFixture, user: str
) -> None:
    assert await client.get("/api/overview", user) == (
        401,
        {"error": "not_authorized", "reason": "Login failed"},
    )
    (record,) = [record for record in caplog.records if record.name == "edge.management"]
    assert record.levelno == logging.WARNING
    assert "HTTP 127.0.0.1:" in record.getMessage()
    assert "wrong" not in record.getMessage().replace("wrong name or password", "")


async def test_a_user_without_a_tag_may_not_use_the_api(client: Client, broker: Broker) -> None:
    broker.set_user("device", "device", [])
    body = {"error": "not_authorised", "reason": "Not management user"}
    assert await client.get("/api/overview", "device:device") == (401, body)


async def test_a_management_user_sees_only_his_vhosts_and_connections(client: Client, broker: Broker) -> None:
    fill(broker)
    broker.set_user("own", "own", ["management"])
    broker.connections["1"] = Connection(name="a", user="guest")
    broker.connections["2"] = Connection(name="b", user="own")
    assert await client.get("/api/queues", "own:own") == (200, [])
    assert (await client.get("/api/queues/%2F", "own:own"))[0] == 404
    assert [row["name"] for row in (await client.get("/api/connections", "own:own"))[1]] == ["b"]
    broker.set_permission(Permission("own", "/", "", "", ""))
    assert len((await client.get("/api/queues", "own:own"))[1]) == 2


async def test_listings_take_columns_sorting_names_and_pages(client: Client, broker: Broker) -> None:
    for number in (2, 10, 1):
        broker.declare_queue(broker.vhost("/"), f"q{number}", arguments={"x-max-length": number})

    async def get(query: str) -> Any:
        return (await client.get(f"/api/queues?{query}"))[1]

    assert await get("columns=name") == [{"name": "q2"}, {"name": "q10"}, {"name": "q1"}]
    assert await get("columns=arguments.x-max-length&sort=arguments.x-max-length&sort_reverse=true") == [
        {"arguments": {"x-max-length": 10}},
        {"arguments": {"x-max-length": 2}},
        {"arguments": {"x-max-length": 1}},
    ]
    assert len(await get("name=1")) == 2
    page = await get("page=2&page_size=2&sort=name&columns=name")
    assert page == {
        "items": [{"name": "q2"}],
        "item_count": 1,
        "filtered_count": 3,
        "total_count": 3,
        "page": 2,
        "page_size": 2,
        "page_count": 2,
    }


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=1&page_size=-1", "name=a&use_regex=true"])
async def test_a_bad_query_is_a_400_with_its_reason(client: Client, query: str) -> None:
    status, body = await client.get(f"/api/queues?{query}")
    assert (status, body["error"]) == (400, "bad_request")


@pytest.mark.parametrize("header", ["Bearer Z3Vlc3Q6Z3Vlc3Q=", "Basic ###", "Basic /w==", "Basic"])
async def test_a_header_that_is_no_basic_authentication_is_refused(client: Client, header: str) -> None:
    assert (await client.fetch("/api/overview", authorization=header))[0] == 401
