"""What ``leveret publish`` and ``subscribe`` say when a node refuses: what, where, why, and status 1."""

import json
from collections.abc import Iterator

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.interop.mqtt_commands import PUBLISH, SUBSCRIBE, keep, published, run

DEFINITIONS = {
    "users": [
        {"name": "guest", "password": "guest", "tags": "administrator"},
        {"name": "drone", "password": "secret", "tags": ""},
    ],
    "vhosts": [{"name": "/"}],
    "permissions": [
        {"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        for user in ("guest", "drone")
    ],
    "topic_permissions": [
        {"user": "drone", "vhost": "/", "exchange": "amq.topic", "write": r"^mine\.", "read": r"^mine\."}
    ],
    "queues": [
        {
            "name": "full",
            "vhost": "/",
            "durable": True,
            "auto_delete": False,
            "arguments": {"x-max-length": 2, "x-overflow": "reject-publish"},
        }
    ],
    "bindings": [
        {
            "source": "amq.topic",
            "vhost": "/",
            "destination": "full",
            "destination_type": "queue",
            "routing_key": "mine.full",
            "arguments": {},
        }
    ],
}
DRONE = ("-u", "drone", "-P", "secret")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("refusals")
    (directory / "definitions.json").write_text(json.dumps(DEFINITIONS))
    leveret = LeveretProcess(directory, '[definitions]\nfile = "definitions.json"\n')
    leveret.start()
    yield leveret.ports.mqtt
    leveret.stop()


@pytest.mark.parametrize("qos", ["1", "2"])
def test_a_topic_that_one_may_not_publish_to(port: int, qos: str) -> None:
    """[MQTT-3.3.5-2]; 3.4.2.1 and 3.5.2.1: reason 0x87 in PUBACK and PUBREC."""
    done = run(PUBLISH["leveret"], port, *DRONE, "-t", "others/a", "-m", "x", "-q", qos, "-V", "5")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"Error: the broker at 127.0.0.1:{port} refused the message to 'others/a': Not authorized;"
        " see the permissions of user 'drone' there\n"
    )


def test_a_topic_that_one_may_not_publish_to_with_mqtt_3(port: int) -> None:
    """Which has no reason codes [MQTT-3.3.5-2, 3.1.1]: the connection is closed, and nobody waits for a PUBACK."""
    done = run(PUBLISH["leveret"], port, *DRONE, "-t", "others/a", "-m", "x", "-q", "1")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"Error: the broker at 127.0.0.1:{port} closed the connection; so MQTT 3 refuses what is not allowed or finds"
        " no room: -V 5 tells the reason\n"
    )


def test_a_queue_that_is_full(port: int) -> None:
    """3.4.2.1: reason 0x97; of lines each refusal is told at once, the others are published."""
    keep(port, "watcher", "-t", "mine/full")
    done = run(
        PUBLISH["leveret"],
        port,
        *(*DRONE, "-t", "mine/full", "-l", "-q", "1", "-V", "5"),
        stdin=b"1\n2\n3\n4\n",
    )
    assert done.returncode == 1
    where = f"the broker at 127.0.0.1:{port} refused"
    assert done.stderr.decode().splitlines() == [
        *([f"Warning: {where} a line to 'mine/full': Quota exceeded; going on"] * 2),
        f"Error: {where} 2 of 4 messages to 'mine/full': Quota exceeded; something there is full: see leveret status",
    ]
    done = run(PUBLISH["leveret"], port, *DRONE, "-t", "mine/full", "-n", "-q", "2", "-V", "5", "--quiet")
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(("version", "reason"), [("311", "Unspecified error"), ("5", "Not authorized")])
def test_a_filter_that_one_may_not_subscribe_to(port: int, version: str, reason: str) -> None:
    """[MQTT-3.8.4-5]; SUBACK with 0x80 or 0x87."""
    published(port, "-t", "mine/a", "-m", "a", "-r", "-q", "1")
    arguments = (*DRONE, "-V", version, "-t", "others/#")
    refusal = (
        f"the broker at 127.0.0.1:{port} refused the subscription to 'others/#': {reason}"
        "; see the permissions of user 'drone' there\n"
    )
    done = run(SUBSCRIBE["leveret"], port, *arguments)
    assert (done.returncode, done.stderr.decode()) == (1, f"Error: {refusal}")
    # One of several: as mosquitto_sub it takes what it gets.
    done = run(SUBSCRIBE["leveret"], port, *arguments, "-t", "mine/a", "-C", "1")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"a\n", f"Warning: {refusal}")
