"""Every scenario with every client library, against Mosquitto and against Leveret, which must not differ."""

import time
from collections.abc import Callable

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.interop.harness import DOCUMENT, Drivers, Scenario
from tests.interop.mqtt.client import Json
from tests.interop.mqtt.conftest import CLIENTS
from tests.interop.mqtt.scenarios import SCENARIOS
from tests.interop.mqtt.scene import Scene

WAIT_S = 3.0
"""Mosquitto counts in whole seconds, and looks once in each: what expires after 1 s is gone after 3 at the latest."""

PLAIN = SCENARIOS.cases(CLIENTS)
WAITING = SCENARIOS.cases(CLIENTS, waits=True)
BY_CLIENT = ("client", "scenario")


def ids(cases: list[tuple[str, Scenario[Scene]]]) -> list[str]:
    return [f"{client}-{scenario.name}" for client, scenario in cases]


def uri_of(node: LeveretProcess) -> str:
    return f"mqtt://127.0.0.1:{node.ports.mqtt}"


@pytest.mark.parametrize(BY_CLIENT, PLAIN, ids=ids(PLAIN))
def test_a_client_sees_no_difference(
    client: str,
    scenario: Scenario[Scene],
    interop_mosquitto: Mosquitto,
    interop_leveret: LeveretProcess,
    drivers: Drivers[Scene],
) -> None:
    control = drivers.observe(client, scenario, interop_mosquitto.uri(), is_control=True)
    assert drivers.observe(client, scenario, uri_of(interop_leveret), is_control=False) == control


Rests = dict[str, tuple[Callable[[], Json], Callable[[], Json]]]


@pytest.fixture(scope="module")
def rests(
    request: pytest.FixtureRequest,
    interop_mosquitto: Mosquitto,
    interop_leveret: LeveretProcess,
    drivers: Drivers[Scene],
) -> Rests:
    """What is left of the scenarios that wait: those that are to be run have all waited at once, at both brokers."""
    chosen = {item.name for item in request.session.items}
    begun = {}
    for (client, scenario), case in zip(WAITING, ids(WAITING), strict=True):
        if f"test_a_client_sees_no_difference_after_a_while[{case}]" in chosen:
            begun[case] = (
                drivers.begin(client, scenario, interop_mosquitto.uri(), is_control=True),
                drivers.begin(client, scenario, uri_of(interop_leveret), is_control=False),
            )
    time.sleep(WAIT_S)
    return begun


@pytest.mark.parametrize("case", ids(WAITING))
def test_a_client_sees_no_difference_after_a_while(case: str, rests: Rests) -> None:
    at_mosquitto, at_leveret = rests[case]
    control = at_mosquitto()
    assert at_leveret() == control


def test_the_document_of_clients_shows_what_is_tested() -> None:
    for part in SCENARIOS.table(CLIENTS), SCENARIOS.reasons(CLIENTS), SCENARIOS.differences():
        assert part in DOCUMENT.read_text(), f"{DOCUMENT.name} should have:\n{part}"
