"""The HTTP API beside that of a real RabbitMQ: where both have a key, its values are of one kind."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from edge.broker import Broker
from tests.helpers.ports import free_port, wait_until
from tests.helpers.rabbitmq import RabbitMQ
from tests.unit.management.conftest import Client

REQUIRED = {
    # What the strictly typed clients of the API (rabbitmqadmin v2 and the Terraform provider) fail without.
    "/api/overview": {"cluster_name", "node", "object_totals", "queue_totals", "message_stats", "listeners"},
    "/api/queues": {"name", "vhost", "type", "durable", "auto_delete", "exclusive", "arguments"},
    "/api/exchanges": {"name", "vhost", "type", "durable", "auto_delete", "arguments"},
    "/api/bindings": {"source", "vhost", "destination", "destination_type", "routing_key", "arguments"},
    "/api/vhosts": {"name"},
    "/api/nodes": {
        *(
            "name",
            "uptime",
            "run_queue",
            "processors",
            "os_pid",
            "fd_total",
            "proc_total",
            "mem_limit",
            "mem_alarm",
        ),
        *("disk_free_limit", "disk_free_alarm", "rates_mode", "enabled_plugins", "being_drained"),
    },
    "/api/whoami": {"name", "tags"},
    "/api/health/checks/alarms": {"status"},
}


@pytest.fixture(scope="module")
def management(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMQ, int]]:
    """A RabbitMQ with its management plugin, and the port of its HTTP API."""
    port = free_port()
    settings = (
        f"management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\ncollect_statistics_interval = 1000\n"
    )
    server = RabbitMQ(tmp_path_factory.mktemp("rabbitmq-management"), ("rabbitmq_management",), settings)
    server.start()
    try:
        with pika.BlockingConnection(pika.URLParameters(server.uri())) as connection:
            declare(connection.channel())
        wait_until(lambda: "messages" in first(ask(port, "/api/queues")), 20, "RabbitMQ's statistics")
        wait_until(lambda: "os_pid" in first(ask(port, "/api/nodes")), 20, "RabbitMQ's statistics")
        yield server, port
    finally:
        server.close()


def declare(channel: Any) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-max-length": 5})
    channel.exchange_declare("x", "topic", durable=True)
    channel.queue_bind("q", "x", "a.#", {"x-match": "all"})
    channel.basic_publish("", "q", b"hello")


def ask(port: int, path: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def first(answer: Any) -> Any:
    """The row to compare: of a listing the one that the test declared, else the first."""
    if not isinstance(answer, list):
        return answer
    named = [row for row in answer if row.get("name", row.get("source")) in ("q", "x")]
    return (named or answer)[0]


def kind(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value).__name__)
    return "number" if isinstance(value, int | float) else type(value).__name__


@pytest.mark.parametrize("path", REQUIRED)
async def test_values_are_of_the_kinds_of_rabbitmqs(
    path: str, management: tuple[RabbitMQ, int], client: Client, broker: Broker
) -> None:
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "q", arguments={"x-max-length": 5})
    broker.declare_exchange(vhost, "x", "topic")
    broker.bind(vhost, "x", "q", "a.#", {"x-match": "all"})
    theirs, ours = first(ask(management[1], path)), first((await client.get(path))[1])
    assert REQUIRED[path] <= set(ours)
    for key in set(theirs) & set(ours):
        if ours[key] is not None and theirs[key] is not None:
            assert kind(ours[key]) == kind(theirs[key]), (
                f"{path}: {key}: {ours[key]!r}, in RabbitMQ {theirs[key]!r}"
            )
