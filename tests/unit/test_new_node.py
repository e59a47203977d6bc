"""The first start of a node with a definitions file: vhosts and users are those of the file alone, as in RabbitMQ."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.amqp091.client import AmqpClient
from edge.amqp091.constants import ACCESS_REFUSED
from edge.amqp091.errors import AmqpError
from edge.core.errors import ConfigError
from edge.uris import parse_uris
from tests.helpers.leveret import LeveretInProcess, LeveretProcess

FLEET: dict[str, Any] = {
    "vhosts": [{"name": "fleet"}],
    "users": [{"name": "pilot", "password": "secret", "tags": "administrator"}],
    "permissions": [{"user": "pilot", "vhost": "fleet", "configure": ".*", "write": ".*", "read": ".*"}],
}
EXTRA = '[definitions]\nfile = "definitions.json"\n'


def node(directory: Path, document: dict[str, Any] | None) -> LeveretInProcess:
    directory.mkdir(exist_ok=True)
    (directory / "definitions.json").write_text(json.dumps(document))
    return LeveretInProcess(directory, "" if document is None else EXTRA)


async def can_log_in(edge: LeveretInProcess, user: str, vhost: str) -> bool:
    [uri] = parse_uris("uri", f"amqp://{user}@127.0.0.1:{edge.ports.amqp}/{vhost}")
    try:
        client = await AmqpClient.connect(uri, connection_name="test")
    except AmqpError as error:
        if error.code != ACCESS_REFUSED:
            raise
        return False
    await client.close()
    return True


async def test_a_new_node_has_the_vhosts_and_users_of_the_file_alone(tmp_path: Path) -> None:
    async with node(tmp_path, FLEET) as edge:
        assert (list(edge.node.broker.vhosts), list(edge.node.broker.auth.users)) == (["fleet"], ["pilot"])
        assert await can_log_in(edge, "pilot:secret", "fleet")
        assert not await can_log_in(edge, "guest:guest", "%2F")
        assert edge.node.notes == [
            f"new node: vhosts (fleet) and users (pilot) are those of {tmp_path / 'definitions.json'} alone",
            "MQTT clients without credentials are refused: there is no user 'guest'; add it, or set [mqtt]"
            " anonymous_user",
        ]
    async with node(tmp_path, FLEET) as edge:
        assert edge.node.notes == [], "it is new once"
    async with node(tmp_path, None) as edge:
        assert list(edge.node.broker.auth.users) == ["pilot"], "and stays as it was made"


async def test_a_node_that_was_there_before_keeps_what_it_has(tmp_path: Path) -> None:
    async with node(tmp_path, None) as edge:
        assert await can_log_in(edge, "guest:guest", "%2F")
    async with node(tmp_path, FLEET) as edge:
        assert sorted(edge.node.broker.vhosts) == ["/", "fleet"]
        assert await can_log_in(edge, "guest:guest", "%2F")
        assert edge.node.notes == []


async def test_a_file_without_users_is_told_and_mended_by_one_that_has_them(tmp_path: Path) -> None:
    async with node(tmp_path, {"vhosts": FLEET["vhosts"]}) as edge:
        assert edge.node.notes[1].startswith("nobody can log in: add users to ")
        assert not await can_log_in(edge, "guest:guest", "%2F")
    async with node(tmp_path, FLEET) as edge:
        assert await can_log_in(edge, "pilot:secret", "fleet")


async def test_a_file_that_takes_the_default_vhost_for_granted_is_refused_and_nothing_is_made(
    tmp_path: Path,
) -> None:
    queue = {"vhost": "/", "name": "q", "durable": True, "auto_delete": False, "arguments": {}}
    with pytest.raises(
        ConfigError, match=r"vhost '/' not found; a new node has the vhosts and users of this file alone"
    ):
        await node(tmp_path, {"queues": [queue]}).start()
    async with node(tmp_path, FLEET) as edge:
        assert list(edge.node.broker.vhosts) == ["fleet"], "it is as new as before"


def test_run_says_it_where_it_says_what_listens(tmp_path: Path) -> None:
    (tmp_path / "definitions.json").write_text(json.dumps(FLEET))
    leveret = LeveretProcess(tmp_path, EXTRA)
    leveret.start()
    leveret.stop()
    assert "new node: vhosts (fleet) and users (pilot) are those of" in leveret.log_text()
