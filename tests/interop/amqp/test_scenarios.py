"""Every scenario with every client library, against RabbitMQ and against Leveret, which must not differ."""

import itertools
import time

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ
from tests.interop.amqp.conftest import CLIENTS
from tests.interop.amqp.scenarios import SCENARIOS
from tests.interop.amqp.scene import Connection, Scene
from tests.interop.harness import DOCUMENT, Drivers, Scenario

QUIET_S = 3.5

CASES = [
    pytest.param(client, scenario, id=f"{client}-{scenario.name}")
    for client, scenario in SCENARIOS.cases(CLIENTS)
]


@pytest.mark.parametrize(("client", "scenario"), CASES)
def test_a_client_sees_no_difference(
    client: str,
    scenario: Scenario[Scene],
    rabbitmq: RabbitMQ,
    interop_leveret: LeveretProcess,
    drivers: Drivers[Scene],
) -> None:
    control = drivers.observe(client, scenario, rabbitmq.uri(), is_control=True)
    assert drivers.observe(client, scenario, interop_leveret.uri(), is_control=False) == control


def test_the_document_of_clients_shows_what_is_tested() -> None:
    for part in SCENARIOS.table(CLIENTS), SCENARIOS.reasons(CLIENTS):
        assert part in DOCUMENT.read_text(), f"{DOCUMENT.name} should have:\n{part}"


def test_quiet_connections_live_on_by_heartbeats(
    rabbitmq: RabbitMQ, interop_leveret: LeveretProcess, drivers: Drivers[Scene]
) -> None:
    """All clients at once, with heartbeats of 1 s: a broker drops who misses two."""
    channels = []
    for client in CLIENTS:
        for uri in (rabbitmq.uri(), interop_leveret.uri()):
            connection = Connection(drivers.start(client), uri, map(str, itertools.count()), heartbeat_s=1)
            channels.append(connection.channel())
    time.sleep(QUIET_S)
    for channel in channels:
        assert channel.queue(exclusive=True).startswith("amq.gen-")
