"""What a message costs, held as counts: seconds differ from machine to machine and from minute to minute, these do not.

Bounds are a quarter above what was counted; who makes a message cheaper lowers them. Bytes written to the device are
held in tests/durability/test_wear.py.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.core.queue import ENTRY_BYTES
from tests.bench import amqp, mqtt
from tests.costs.count import AMQP_ANY_SIZE, FANOUT, MQTT_ANY_SIZE
from tests.helpers.leveret import LeveretProcess

ROOT = Path(__file__).parents[2]
BYTECODES_MAX = {
    "amqp fill": 142,
    "amqp drain": 200,
    "mqtt qos 0 live": 218,
    "mqtt qos 1 live": 505,
    "mqtt qos 1 offline": 233,
    FANOUT: 283,
    AMQP_ANY_SIZE: 252,
    MQTT_ANY_SIZE: 268,
}
"""Of the event loop's thread a message, in chunks of 400; the compiled build needs half. A fan-out: to all of them."""
CALLS_MAX = 1.0
"""Python functions called a message: the loops call none, and what is called once a chunk of 400 adds up to this."""
MORE_CALLS = {FANOUT: 2.5, AMQP_ANY_SIZE: 1.0}
"""Each session of a fan-out is called once a chunk, and a publish of another size than the one before takes a call."""
COUNT = 50_000
CALLS_OF_THE_SYSTEM_MAX = 0.25
"""Reads and writes of sockets and files a message, the store's pages included."""
COMMITS_MAX = 1 / 50
"""Each syncs once; 2,000 unconfirmed messages make few of them even where a sync takes no time."""


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, float]]:
    # Without what makes coverage start in it: the trace function is taken.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.costs.count"],
        capture_output=True,
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT), "PYTHONASYNCIODEBUG": ""},
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("load", BYTECODES_MAX)
def test_a_message_costs_few_bytecodes_and_hardly_a_call(
    load: str, counts: dict[str, dict[str, float]]
) -> None:
    assert 0 < counts[load]["bytecodes"] <= BYTECODES_MAX[load]
    assert 0 < counts[load]["calls"] <= CALLS_MAX + MORE_CALLS.get(load, 0)


def test_a_waiting_message_takes_what_back_pressure_reckons_with(
    counts: dict[str, dict[str, float]],
) -> None:
    body_bytes = 100
    assert counts["waiting"]["bytes"] <= ENTRY_BYTES + body_bytes
    # Else each collection would go through all of them.
    assert counts["waiting"]["objects"] < 0.1


def calls_of_the_system(node: LeveretProcess) -> int:
    """Reads and writes so far (proc_pid_io(5))."""
    text = Path(f"/proc/{node.pid}/io").read_text()
    values = dict(line.split(": ") for line in text.splitlines())
    return int(values["syscr"]) + int(values["syscw"])


def commits(node: LeveretProcess) -> int:
    request = urllib.request.Request(
        f"{node.ports.http_url}/api/overview", headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
    )
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["store"]["commits"])


def publish_to_a_session(node: LeveretProcess) -> None:
    mqtt.offline_session(node.ports.mqtt, "costs", "costs")
    for client in mqtt.publish_qos1(node.ports.mqtt, "costs", COUNT):
        client.close()


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(lambda node: amqp.fill(node.ports.amqp, "costs", COUNT), id="amqp fill"),
        pytest.param(publish_to_a_session, id="mqtt qos 1 offline"),
        pytest.param(lambda node: mqtt.live(node.ports.mqtt, "costs", COUNT, 1), id="mqtt qos 1 live"),
    ],
)
def test_messages_share_their_system_calls_and_syncs(
    load: Callable[[LeveretProcess], None], leveret: LeveretProcess
) -> None:
    before = calls_of_the_system(leveret), commits(leveret)
    load(leveret)
    made = (calls_of_the_system(leveret) - before[0]) / COUNT
    synced = (commits(leveret) - before[1]) / COUNT
    print(f"{made:.3f} reads and writes, {synced:.5f} commits a message")
    assert made <= CALLS_OF_THE_SYSTEM_MAX
    assert synced <= COMMITS_MAX
