"""``leveret list_queues`` reads like rabbitmqctl, ``--format json`` is for programs."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from edge.broker import Broker
from edge.cli.main import main
from edge.core.message import Message
from tests.unit.cli.conftest import Leveret


@pytest.fixture(autouse=True)
def two_queues(broker: Broker) -> None:
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "reports")
    broker.declare_queue(vhost, "a long name", arguments={"x-max-length": 5})
    broker.publish(vhost, "", [Message("", "reports", b"", b"hello")] * 12)


async def test_without_columns_it_shows_names_and_messages(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues")
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [
        ["name", "messages"],
        ["reports", "12"],
        ["a", "long", "name", "0"],
    ]


async def test_columns_come_in_the_order_in_which_they_are_asked_for(leveret_command: Leveret) -> None:
    result = await leveret_command("queues", "list", "messages_ready", "name", "arguments")
    assert result.output.splitlines()[1].split() == ["12", "reports", "{}"]
    assert '{"x-max-length": 5}' in result.output


async def test_json_has_the_columns_as_keys(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", "name", "messages", "-p", "/", "--format", "json")
    assert json.loads(result.output) == [
        {"name": "reports", "messages": 12},
        {"name": "a long name", "messages": 0},
    ]


async def test_an_unknown_column_is_wrong_usage_with_the_closest_one(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", "mesages")
    assert result.exit_code == 2
    assert "No such column 'mesages'. Did you mean 'messages'?" in result.output


async def test_an_unknown_vhost_is_a_failure(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", "-p", "nope")
    assert result.exit_code == 1
    assert "the node answered 404 for /api/queues/nope: Not Found" in result.output


async def test_a_wrong_password_is_a_failure_that_says_what_to_try(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", LEVERET_PASSWORD="wrong")
    assert result.exit_code == 1
    assert "the node refused user 'guest': Login failed; try --user and --password" in result.output
    assert "wrong" not in result.output


async def test_without_a_node_it_says_where_it_looked(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", "--url", "http://user:secret@127.0.0.1:1")
    assert result.exit_code == 1
    assert "no node answers at http://user:***@127.0.0.1:1: " in result.output


async def test_an_answer_that_is_no_json_is_no_nodes(leveret_command: Leveret) -> None:
    result = await leveret_command("list_queues", "--url", "ftp://127.0.0.1")
    assert result.exit_code == 2
    assert "--url must begin with http:// or https://" in result.output


async def test_what_does_not_speak_http_is_named() -> None:
    """Such as the AMQP listener, when --url has its port."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"AMQP\0\0\x09\x01\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        result = await asyncio.to_thread(CliRunner().invoke, main, ["list_queues", "--url", url])
    assert result.exit_code == 1
    assert f"no node answers at {url}: no HTTP comes back; is it running" in result.output
