"""The power is cut at any instant: what was confirmed is there, nothing else has changed, and the node starts."""

import os
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.durability.powercut import NODES, Life, cut_power

STATES = int(os.environ.get("LEVERET_TORTURE_STATES", "200"))
"""Power cuts a scenario; `make torture` takes thousands."""
LIVES = [Life(0.8, "kill"), Life(0.6, "kill"), Life(0.5, "stop"), Life(0.4, "stop")]
"""Recovery of a log that a killed process has left, and the first writes after a clean stop, are cut into as well."""


@pytest.mark.timeout(120 + STATES)
@pytest.mark.parametrize("scenario", NODES)
def test_a_power_cut_at_any_instant_loses_nothing_that_was_confirmed(scenario: str, tmp_path: Path) -> None:
    verdict = cut_power(tmp_path, scenario, LIVES, STATES, SEED)
    print(f"{scenario}, seed {SEED}: {verdict.text()}")
    assert verdict.states == STATES
    assert verdict.confirmed > 500
    assert not verdict.bad, f"seed {SEED}, the first states are below {tmp_path}: {verdict.text()}"


@pytest.mark.parametrize("scenario", NODES)
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL", "EARLY"])
def test_the_simulator_finds_the_losses_of_a_store_that_does_not_sync_before_it_confirms(
    synchronous: str, scenario: str, tmp_path: Path
) -> None:
    verdict = cut_power(tmp_path, scenario, [Life(0.6, "stop")], 100, SEED, synchronous, bad_max=3)
    print(f"{scenario}, synchronous {synchronous}, seed {SEED}: {verdict.text()}")
    assert len(verdict.bad) == 3, f"of {verdict.states} states {len(verdict.bad)} were found bad"
