"""A definitions file of RabbitMQ's becomes users, exchanges, queues, bindings, policies and shovels of a node."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.broker import Broker
from edge.core.errors import ConfigError
from edge.definitions.document import read_definitions
from edge.definitions.importing import import_definitions
from tests.unit.management.conftest import broker

__all__ = ["broker"]

GUEST_SHA256 = "9/1i+jKFRpbTRV1PtRnzFFYibT3cEpP92JeZ8YKGtflf4e/u"
"""RabbitMQ's own hash of "guest" by SHA-256, from one of its exports."""

EXPORT: dict[str, Any] = {
    "rabbit_version": "3.10.8",
    "users": [
        {
            "name": "drone",
            "password_hash": GUEST_SHA256,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["monitoring"],
            "limits": {},
        },
        {"name": "old", "password": "secret", "tags": "management,policymaker"},
    ],
    "vhosts": [{"name": "/"}, {"name": "fleet"}],
    "permissions": [{"user": "drone", "vhost": "fleet", "configure": "", "write": "^fleet", "read": ".*"}],
    "topic_permissions": [],
    "parameters": [
        {
            "component": "shovel",
            "vhost": "fleet",
            "name": "home",
            "value": {"src-uri": "amqp://", "src-queue": "reports", "dest-uri": "amqp://base"},
        },
        {"component": "federation-upstream", "vhost": "/", "name": "base", "value": {"uri": "amqp://base"}},
    ],
    "global_parameters": [{"name": "cluster_name", "value": "rabbit@base"}],
    "policies": [
        {
            "vhost": "fleet",
            "name": "ttl",
            "pattern": "^reports$",
            "apply-to": "queues",
            "definition": {"message-ttl": 1000},
            "priority": 3,
        }
    ],
    "exchanges": [
        {
            "name": "fleet",
            "vhost": "fleet",
            "type": "topic",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {"alternate-exchange": "lost"},
        },
        {"name": "lost", "vhost": "fleet", "type": "fanout", "arguments": {}},
    ],
    "queues": [
        {
            "name": "reports",
            "vhost": "fleet",
            "durable": True,
            "auto_delete": False,
            "arguments": {"x-max-length": 10},
        }
    ],
    "bindings": [
        {
            "source": "fleet",
            "vhost": "fleet",
            "destination": "reports",
            "destination_type": "queue",
            "routing_key": "a.#",
            "arguments": {},
        },
        {
            "source": "fleet",
            "vhost": "fleet",
            "destination": "lost",
            "destination_type": "exchange",
            "routing_key": "b",
            "arguments": {},
        },
    ],
}


def write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "definitions.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def load(broker: Broker, tmp_path: Path, document: object) -> None:
    import_definitions(broker, read_definitions(write(tmp_path, document)))


async def test_an_export_of_rabbitmq_becomes_the_same_topology(broker: Broker, tmp_path: Path) -> None:
    load(broker, tmp_path, EXPORT)
    vhost = broker.vhost("fleet")
    assert vhost.exchange("fleet").arguments == {"alternate-exchange": "lost"}
    assert vhost.queue("reports").arguments == {"x-max-length": 10}
    assert sorted((binding.destination.name, binding.destination_type) for binding in vhost.bindings()) == [
        ("lost", "exchange"),
        ("reports", "queue"),
    ]
    policy = broker.policy_for(vhost.queue("reports"))
    assert policy is not None
    assert (policy.name, policy.priority, policy.definition) == ("ttl", 3, {"message-ttl": 1000})


async def test_what_a_policy_says_in_vain_is_warned_of(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = {"vhost": "/", "name": "ha", "pattern": ".*", "definition": {"ha-mode": "all", "max-length": 5}}
    load(broker, tmp_path, {"policies": [policy]})
    assert "policy 'ha': ha-mode have no effect here" in caplog.text


async def test_a_wrong_value_in_a_policy_is_named(broker: Broker, tmp_path: Path) -> None:
    policy = {"vhost": "/", "name": "short", "pattern": ".*", "definition": {"overflow": "drop-tail"}}
    with pytest.raises(ConfigError, match=r"policy 'short': overflow: must be one of drop-head"):
        load(broker, tmp_path, {"policies": [policy]})


async def test_users_keep_their_passwords_and_rights(broker: Broker, tmp_path: Path) -> None:
    load(broker, tmp_path, EXPORT)
    drone = broker.auth.authenticate("drone", "guest", peer_is_loopback=False)
    assert drone.tags == ["monitoring"]
    broker.auth.check(drone, "fleet", "write", "fleet.a")
    old = broker.auth.authenticate("old", "secret", peer_is_loopback=False)
    assert old.tags == ["management", "policymaker"]


async def test_importing_again_changes_nothing_that_is_there(broker: Broker, tmp_path: Path) -> None:
    load(broker, tmp_path, EXPORT)
    queue = broker.vhost("fleet").queue("reports")
    changed = {
        **EXPORT,
        "policies": [],
        "queues": [{**EXPORT["queues"][0], "arguments": {"x-max-length": 99}}],
    }
    load(broker, tmp_path, changed)
    assert broker.vhost("fleet").queue("reports") is queue
    assert queue.arguments == {"x-max-length": 10}


async def test_shovels_and_upstreams_have_the_form_of_the_configuration(
    broker: Broker, tmp_path: Path
) -> None:
    load(broker, tmp_path, EXPORT)
    (shovel,) = [parameter.table() for parameter in broker.parameters.list("shovel")]
    assert shovel.where == "shovel 'home' in vhost 'fleet'"
    assert shovel.values == {
        "name": "home",
        "vhost": "fleet",
        "src-uri": "amqp://",
        "src-queue": "reports",
        "dest-uri": "amqp://base",
    }
    (upstream,) = [parameter.table() for parameter in broker.parameters.list("federation-upstream")]
    assert upstream.values == {"name": "base", "vhost": "/", "uri": "amqp://base"}


async def test_names_of_the_nodes_own_are_left_out_with_a_warning(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(
        broker,
        tmp_path,
        {
            "exchanges": [{"vhost": "/", "name": "amq.topic", "type": "topic"}],
            "queues": [{"vhost": "/", "name": "amq.gen-x"}],
            "queue_types": [{}],
        },
    )
    assert "amq.gen-x" not in broker.vhost("/").queues
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "'queue_types' is not known and left out",
        "exchange 'amq.topic' is the node's own and left out",
        "queue 'amq.gen-x' has a generated name and is left out",
    ]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("{", "Input data was truncated"),
        ({"queues": [{"vhost": "/"}]}, "Object missing required field `name` - at `$.queues[0]`"),
        ({"queues": [{"name": 3}]}, "Expected `str`, got `int` - at `$.queues[0].name`"),
        (
            {"policies": [{"vhost": "/", "name": "p", "pattern": "(", "definition": {}}]},
            "policy 'p': pattern: not a regular",
        ),
        (
            {"permissions": [{"user": "u", "vhost": "/", "configure": "(", "write": "", "read": ""}]},
            "permission of 'u': not a regular expression",
        ),
        (
            {"users": [{"name": "u", "hashing_algorithm": "rot13"}]},
            "user 'u': unknown hashing_algorithm 'rot13'",
        ),
        (
            {"parameters": [{"vhost": "/", "component": "shovel", "name": "s", "value": 3}]},
            "shovel 's': value must be an object",
        ),
    ],
)
def test_a_mistake_is_named_with_its_file_and_place(tmp_path: Path, document: object, text: str) -> None:
    path = write(tmp_path, document)
    with pytest.raises(ConfigError) as caught:
        read_definitions(path)
    assert caught.value.text.startswith(f"{path}: ")
    assert text in caught.value.text


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        read_definitions(tmp_path / "nowhere.json")


async def test_an_item_that_refers_to_what_is_not_there_is_named(broker: Broker, tmp_path: Path) -> None:
    grant = {"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""}
    with pytest.raises(ConfigError, match=r"definitions\.json: user 'nobody' not found"):
        load(broker, tmp_path, {"permissions": [grant]})


async def test_a_binding_that_lacks_an_end_is_left_out_with_a_warning(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    binding = {"vhost": "/", "source": "nope", "destination": "q", "destination_type": "queue"}
    load(broker, tmp_path, {"queues": [{"vhost": "/", "name": "q"}], "bindings": [binding]})
    assert "binding from 'nope' to 'q' is left out: no exchange 'nope' in vhost '/'" in caplog.text


async def test_a_byte_order_mark_is_no_harm(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "definitions.json"
    path.write_bytes(b'\xef\xbb\xbf{"queues": [{"vhost": "/", "name": "q"}]}')
    import_definitions(broker, read_definitions(path))
    assert broker.vhost("/").queue("q").durable


async def test_queues_of_mqtt_sessions_and_clients_are_left_out_with_their_bindings(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain queue by the name of a session's would refuse its client every subscription."""
    names = ["mqtt-subscription-deviceqos1", "amq.gen-x"]
    bindings = [
        {
            "vhost": "/",
            "source": "amq.topic",
            "destination": name,
            "destination_type": "queue",
            "routing_key": "a.#",
        }
        for name in names
    ]
    load(broker, tmp_path, {"queues": [{"vhost": "/", "name": name} for name in names], "bindings": bindings})
    assert not broker.vhost("/").queues
    assert "queue 'mqtt-subscription-deviceqos1' is an MQTT session's and is left out" in caplog.text


async def test_a_stream_is_left_out_with_its_bindings(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    binding = {
        "vhost": "/",
        "source": "amq.topic",
        "destination": "log",
        "destination_type": "queue",
        "routing_key": "#",
    }
    queue = {"vhost": "/", "name": "log", "arguments": {"x-queue-type": "stream", "x-max-age": "1D"}}
    load(broker, tmp_path, {"queues": [queue], "bindings": [binding]})
    assert "queue 'log' is a stream and is left out" in caplog.text
    assert not broker.vhost("/").queues
