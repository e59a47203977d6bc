"""Definitions by the HTTP API and the commands: what is exported imports again, here and in RabbitMQ."""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.auth.topics import TopicPermission
from edge.auth.users import Permission
from edge.broker import Broker
from edge.cli.main import main
from edge.core.policy import Policy
from edge.core.table import Int32
from edge.definitions.document import parse_definitions, read_definitions
from edge.definitions.exporting import export_definitions, export_vhost
from edge.definitions.importing import import_definitions
from edge.parameters import Parameter
from tests.helpers import brokers
from tests.helpers.rabbitmq import RabbitMQ
from tests.unit.cli.conftest import Leveret
from tests.unit.cli.conftest import leveret_command as leveret_command
from tests.unit.management.conftest import Client

VERSION = "3.13.7"
PLACES = ("queues", "exchanges", "bindings", "policies", "parameters", "permissions", "topic_permissions")


def fill(broker: Broker) -> None:
    """One of everything in a vhost of its own, and what is not exported."""
    vhost = broker.add_vhost("carried")
    broker.set_vhost(vhost, limits={"max-queues": 9}, metadata={"description": "a fleet", "tags": ["x"]})
    broker.set_user("carrier", "secret", ["monitoring"])
    broker.set_permission(Permission("carrier", "carried", "", "^a", ".*"))
    broker.set_permission(Permission("guest", "carried", ".*", ".*", ".*"))
    broker.declare_exchange(vhost, "x", "topic", arguments={"alternate-exchange": "lost"})
    broker.declare_exchange(vhost, "lost", "fanout", durable=False)
    broker.declare_exchange(vhost, "inner", "fanout", internal=True)
    broker.set_topic_permission(TopicPermission("carrier", "carried", "x", "^a", "^b"))
    broker.declare_queue(vhost, "q", arguments={"x-max-length": Int32(5), "x-queue-type": "quorum"})
    broker.declare_queue(vhost, "auto", durable=False, auto_delete=True)
    broker.declare_queue(vhost, "mine", exclusive=True, owner=object())
    broker.bind(vhost, "x", "q", "a.#", {"x-match": "all"})
    broker.bind(vhost, "x", "lost", "b", to_exchange=True)
    broker.bind(vhost, "x", "mine", "c")
    broker.set_policy(
        Policy("carried", "p", "^q", {"max-length": 7}, apply_to="queues", priority=2),
        Policy("carried", "cap", "^q", {"max-length": 6}, apply_to="queues", operator=True),
    )
    broker.parameters.put(Parameter("carried", "federation-upstream", "base", {"uri": "amqp://base"}))
    broker.parameters.put_global("site", {"id": 7})


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Without the order of rows, which says nothing."""
    return {
        key: sorted(map(json.dumps, value)) if isinstance(value, list) else value
        for key, value in document.items()
    }


async def test_an_export_imports_into_another_node_without_a_difference(
    broker: Broker, tmp_path: Path
) -> None:
    fill(broker)
    exported = export_definitions(broker, VERSION)
    names = {row["name"] for row in exported["queues"]}
    assert names == {"q", "auto"}
    other = await brokers.start(tmp_path / "other")
    try:
        warnings = import_definitions(other, parse_definitions(json.dumps(exported).encode(), "export"))
        assert warnings == []
        other.name = broker.name
        assert comparable(export_definitions(other, VERSION)) == comparable(exported)
        assert other.auth.authenticate("carrier", "secret", True).tags == ["monitoring"]
    finally:
        await brokers.stop(other)
    again = await brokers.start(tmp_path / "other")
    try:
        again.name = broker.name
        kept = comparable(export_definitions(again, VERSION))
        for section in ("users", "vhosts", "parameters", "global_parameters", *PLACES[3:]):
            assert kept[section] == comparable(exported)[section]
    finally:
        await brokers.stop(again)


async def test_the_export_of_one_vhost_imports_into_any(broker: Broker) -> None:
    fill(broker)
    exported = export_vhost(broker, broker.vhost("carried"), VERSION)
    assert "users" not in exported
    broker.add_vhost("second")
    import_definitions(broker, parse_definitions(json.dumps(exported).encode(), "export", "second"))
    second = export_vhost(broker, broker.vhost("second"), VERSION)
    for section in ("queues", "exchanges", "bindings", "policies", "parameters"):
        assert comparable(second)[section] == comparable(exported)[section]


async def test_rabbitmq_takes_our_export_and_we_take_its(
    broker: Broker, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    fill(broker)
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    exported = export_definitions(broker, VERSION)
    # The RabbitMQ of the tests has no federation.
    exported["parameters"] = [row for row in exported["parameters"] if row["name"] != "base"]
    ours.write_text(json.dumps(exported))
    await asyncio.to_thread(rabbitmq.ctl, "import_definitions", str(ours))
    await asyncio.to_thread(rabbitmq.ctl, "export_definitions", str(theirs))
    other = await brokers.start(tmp_path / "other")
    try:
        import_definitions(other, read_definitions(theirs))
        found = export_definitions(other, VERSION)
        for section in PLACES:
            of_vhost = [row for row in found[section] if row["vhost"] == "carried"]
            expected = [
                row for row in exported[section] if row["vhost"] == "carried" and not row.get("internal")
            ]
            assert by_name(of_vhost) == by_name(expected), section
        assert other.auth.authenticate("carrier", "secret", True).tags == ["monitoring"]
    finally:
        await brokers.stop(other)


def by_name(rows: list[dict[str, Any]]) -> list[str]:
    return sorted([json.dumps(row, sort_keys=True) for row in rows])


async def post(
    client: Client, path: str, body: bytes, content_type: str = "application/json"
) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{client.port}{path}", body, method="POST")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    request.add_header("Content-Type", content_type)

    def send() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(send)


async def test_the_api_exports_and_imports(broker: Broker, client: Client) -> None:
    fill(broker)
    status, exported = await client.get("/api/definitions")
    assert status == 200
    assert comparable(exported) == comparable(export_definitions(broker, VERSION))
    broker.remove_queue(broker.vhost("carried").queue("q"))
    assert (await post(client, "/api/definitions", json.dumps(exported).encode()))[0] == 204
    queue = broker.vhost("carried").queue("q")
    assert queue.arguments["x-max-length"] == 5
    status, of_vhost = await client.get("/api/definitions/carried")
    assert status == 200
    assert "vhost" not in of_vhost["queues"][0]
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="d.json"\r\n\r\n%b\r\n--b--\r\n'
    body = form % json.dumps(of_vhost).encode()
    assert (await post(client, "/api/definitions/%2F", body, "multipart/form-data; boundary=b"))[0] == 204
    assert "q" in broker.vhost("/").queues


async def test_the_api_says_what_is_wrong_and_who_may(broker: Broker, client: Client) -> None:
    fill(broker)
    status, text = await post(client, "/api/definitions", b'{"queues": [{"name": "q"}]}')
    assert status == 400
    assert "'q' has no vhost" in text
    assert (await client.get("/api/definitions/none"))[0] == 404
    assert (await client.get("/api/definitions", "carrier:secret"))[0] == 401


async def test_the_commands_carry_a_file(
    broker: Broker, leveret_command: Leveret, client: Client, tmp_path: Path
) -> None:
    fill(broker)
    file = tmp_path / "definitions.json"
    assert (await leveret_command("definitions", "export", str(file))).exit_code == 0
    broker.remove_queue(broker.vhost("carried").queue("q"))
    result = await leveret_command("definitions", "import", str(file))
    assert (result.exit_code, result.output) == (0, f"imported {file}\n")
    assert "q" in broker.vhost("carried").queues
    shown = await leveret_command("definitions", "export", "-", "--vhost", "carried")
    assert json.loads(shown.output)["original_vhost_name"] == "carried"


@pytest.mark.parametrize(
    ("document", "exit_code", "text"),
    [
        ({"vhosts": [{"name": "v"}], "queues": [{"name": "q", "vhost": "v"}]}, 0, "queues"),
        ({"strange": 1}, 0, "'strange' is not known"),
        ({"queues": [{"name": "q", "vhost": "none"}]}, 1, "vhost 'none' not found"),
        (
            {"parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": {"src-url": "x"}}]},
            1,
            "src-url",
        ),
    ],
)
def test_check_tries_a_file_without_a_node(
    tmp_path: Path, document: object, exit_code: int, text: str
) -> None:
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(document))
    result = CliRunner().invoke(main, ["definitions", "check", str(file)])
    assert result.exit_code == exit_code
    assert text in result.output


def test_passwords_of_old_files_are_read_as_md5() -> None:
    old = (
        b'{"rabbit_version": "3.5.7", "users": [{"name": "u", "password_hash": "x", "administrator": true}]}'
    )
    (user,) = parse_definitions(old, "old").document.users
    assert user.hashing_algorithm == "rabbit_password_hashing_md5"
    assert user.tag_list() == ["administrator"]
