"""What a message costs in instructions, C included: as bytecodes a count, and it sees what msgspec and SQLite do."""

import pytest

from tests.costs.count import AMQP_ANY_SIZE, FANOUT, MQTT_ANY_SIZE
from tests.costs.instructions import measure

INSTRUCTIONS_MAX = {
    "amqp fill": (8_800, 4_300),
    "amqp drain": (10_500, 630),
    "mqtt qos 0 live": (11_800, 100),
    "mqtt qos 1 live": (25_800, 100),
    "mqtt qos 1 offline": (13_500, 4_400),
    FANOUT: (13_500, 100),
    AMQP_ANY_SIZE: (19_000, 6_100),
    MQTT_ANY_SIZE: (15_300, 6_100),
}
"""A message, of the event loop's thread and of SQLite's: a quarter above what Python 3.11 needed, which counts the same
from run to run within one in a thousand. A Python built with profile-guided optimisation needs less."""


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    return measure()


@pytest.mark.parametrize("load", INSTRUCTIONS_MAX)
def test_a_message_costs_few_instructions(load: str, counts: dict[str, dict[str, int]]) -> None:
    event_loop, sqlite = INSTRUCTIONS_MAX[load]
    assert 0 < counts[load]["event loop"] <= event_loop
    assert counts[load]["SQLite"] <= sqlite
