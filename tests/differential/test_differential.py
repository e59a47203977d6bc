"""Random sequences of operations, played at Leveret and at a real RabbitMQ: what each answers, delivers, returns,
confirms, closes and keeps must be the same.

A failure shows the shortest sequence that was found to differ, for ``found.py``. ``make differential`` plays thousands.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conftest import SEED
from tests.differential.duel import Duel
from tests.differential.found import FOUND
from tests.differential.operations import Operation
from tests.differential.sequences import sequences

COUNT = int(os.environ.get("LEVERET_DIFFERENTIAL_SEQUENCES", "0"))
"""How many sequences to play; they differ from run to run then. 0: those of the suite, always the same."""
SUITE_COUNT = 250


@pytest.mark.timeout(900 + COUNT)  # to find the shortest of a sequence that differs takes minutes
def test_random_sequences_are_played_as_by_rabbitmq(duel: Duel) -> None:
    @settings(
        max_examples=COUNT or SUITE_COUNT,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
        report_multiple_bugs=False,
    )
    @seed(SEED if COUNT else 1)
    @given(sequences())
    def play(sequence: list[Operation]) -> None:
        duel.play(sequence)

    play()


@pytest.mark.parametrize("name", FOUND)
def test_what_was_once_played_otherwise(name: str, duel: Duel) -> None:
    duel.play(FOUND[name])
