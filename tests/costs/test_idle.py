"""A node with nothing to do sleeps."""

import time

from tests.bench.amqp import Amqp
from tests.bench.mqtt import Mqtt
from tests.bench.usage import usage
from tests.helpers.leveret import LeveretProcess

WAKES_A_SECOND_MAX = 5
"""Each wake takes a processor out of its sleep, which a node on a battery pays for."""
CONNECTIONS = 100
WATCHED_S = 5.0
HEARTBEAT_S = 4
"""Short, so that every AMQP connection has its beat twice while we watch: 125 timers, spread over the second."""


def wakes(node: LeveretProcess, seconds: float) -> float:
    """How often a thread of the node woke up in a second."""
    before = usage(node.pid).sleeps
    time.sleep(seconds)
    return (usage(node.pid).sleeps - before) / seconds


def test_a_node_with_a_hundred_idle_connections_wakes_at_most_five_times_a_second(
    leveret: LeveretProcess,
) -> None:
    clients: list[Amqp | Mqtt] = []
    for i in range(CONNECTIONS // 2):
        clients.append(Amqp(leveret.ports.amqp, HEARTBEAT_S))
        clients.append(Mqtt(leveret.ports.mqtt, f"idle-{i}", keep_alive_s=60))
        # Not all at once, or their timers would fall together by themselves.
        time.sleep(0.02)
    assert wakes(leveret, WATCHED_S) <= WAKES_A_SECOND_MAX
    for client in clients:
        client.socket.close()


def test_heartbeats_come_in_time_all_the_same(leveret: LeveretProcess) -> None:
    client = Amqp(leveret.ports.amqp, 2)
    client.socket.settimeout(2.0)
    for _ in range(2):
        assert client.receive().startswith(b"\x08\0\0\0\0\0\0\xce")
    client.close()
