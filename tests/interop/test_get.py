"""``leveret get`` at a node and at RabbitMQ: what it shows, and what becomes of the messages."""

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.amqp091.client import AmqpClient
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties
from tests.helpers.ports import free_port
from tests.interop.mqtt_commands import ENV, WAIT_S

PROPERTIES = BasicProperties(
    content_type="text/plain", headers={"unit": "C", "list": [1, True]}, delivery_mode=2, message_id="m"
)


@pytest.fixture(params=["leveret", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Any:
    """The broker that the test runs against."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def queue(server: Any) -> AsyncIterator[str]:
    """A queue that holds "one", two bytes that are no text, and "three"; what it rejects is in ``<queue>-dead``."""
    client = await AmqpClient.connect(server.uri())
    channel = await client.channel()
    name = f"get-{uuid.uuid4().hex[:8]}"
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}-dead"}
    await channel.declare_queue(name, durable=True, arguments=dict(dead))
    await channel.declare_queue(f"{name}-dead", durable=True)
    await channel.confirm_select()
    properties = encode_properties(PROPERTIES)
    channel.publish([Message("", name, properties, body) for body in (b"one", b"\xff\xfe", b"three")])
    await channel.qos(1)  # answered behind what was published
    yield name
    await channel.delete_queue(name)
    await channel.delete_queue(f"{name}-dead")
    await client.close()


def get(server: Any, queue: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edge", "get", queue, "--uri", server.uri(), *arguments]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=WAIT_S)


def rows(server: Any, queue: str, *arguments: str) -> list[dict[str, Any]]:
    done = get(server, queue, "--format", "json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


async def test_messages_are_shown_under_rabbitmqs_keys_and_stay(server: Any, queue: str) -> None:
    (row,) = rows(server, queue)
    assert row == {
        "payload_bytes": 3,
        "redelivered": False,
        "exchange": "",
        "routing_key": queue,
        "message_count": 2,
        "properties": {
            "content_type": "text/plain",
            "headers": {"unit": "C", "list": [1, True]},
            "delivery_mode": 2,
            "message_id": "m",
        },
        "payload": "one",
        "payload_encoding": "string",
    }
    again = rows(server, queue, "--count", "10", "--ackmode", "reject_requeue_true")
    assert [each["payload"] for each in again] == ["one", "//4=", "three"]
    assert [each["payload_encoding"] for each in again] == ["string", "base64", "string"]
    assert again[0]["redelivered"]
    assert [each["payload"] for each in rows(server, queue, "--encoding", "base64")] == ["b25l"]
    table = get(server, queue).stdout.splitlines()
    assert table[0].split()[:4] == ["routing_key", "exchange", "message_count", "payload"]
    assert "text/plain" in table[1]


async def test_what_is_taken_is_gone_and_what_is_rejected_is_dead_lettered(
    server: Any, queue: str, tmp_path: Path
) -> None:
    assert len(rows(server, queue, "--ackmode", "ack_requeue_false")) == 1
    payload = tmp_path / "payload"
    rejected = rows(server, queue, "--ackmode", "reject_requeue_false", "--payload-file", str(payload))
    assert [each["payload"] for each in rejected] == ["//4="]
    assert payload.read_bytes() == b"\xff\xfe"
    assert [each["payload"] for each in rows(server, queue, "--count", "9")] == ["three"]
    assert [each["payload"] for each in rows(server, f"{queue}-dead", "--ackmode", "ack_requeue_false")] == [
        "//4="
    ]
    assert rows(server, f"{queue}-dead") == []
    done = get(server, f"{queue}-dead")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"nothing is ready in queue '{queue}-dead'\n"


async def test_what_could_not_be_shown_is_not_taken(server: Any, queue: str) -> None:
    done = get(server, queue, "--ackmode", "ack_requeue_false", "--payload-file", "/nowhere/payload")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: cannot write /nowhere/payload: No such file or directory\n",
    )
    assert [each["payload"] for each in rows(server, queue)] == ["one"]


def test_errors_say_what_where_and_what_to_do(leveret: Any) -> None:
    uri, nobody = leveret.uri(), free_port()
    place = uri.partition("@")[2].partition("/")[0]
    for arguments, status, text in (
        (
            (),
            1,
            f"the broker at amqp://{place} refused: 404 NOT_FOUND - no queue 'none' in vhost '/'; see leveret",
        ),
        (("-p", "nowhere"), 1, f"the broker at amqp://{place}/nowhere refused: 530 NOT_ALLOWED"),
        (
            ("--uri", uri.replace(":guest@", ":wrong@")),
            1,
            f"the broker at amqp://{place} refused user 'guest': 403",
        ),
        (
            ("--uri", f"amqp://127.0.0.1:{nobody}"),
            1,
            f"no AMQP connection to amqp://127.0.0.1:{nobody}: Connection refused; is a",
        ),
        (("--uri", "http://wrong@nowhere"), 2, "--uri: scheme must be one of amqp, amqps, not 'http'"),
        (("--count", "2", "--payload-file", "x"), 2, "--payload-file holds one payload"),
    ):
        done = get(leveret, "none", *arguments)
        assert done.returncode == status
        assert text in done.stderr
        assert "wrong" not in done.stderr
        assert "Traceback" not in done.stderr
