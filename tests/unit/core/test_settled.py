"""The set of settled sequences against a set of numbers."""

import random

import pytest

from edge.core.settled import Settled


def check(settled: Settled, expected: set[int], highest: int) -> None:
    assert {i for i in range(highest) if i in settled} == expected
    ranges = settled.ranges()
    last = settled.low
    for start, end in ranges:
        assert last < start < end, "sorted, disjoint, never adjacent, above the watermark"
        last = end
    assert Settled(settled.low, ranges).ranges() == ranges


@pytest.mark.parametrize("round_", range(60))
def test_it_holds_what_a_plain_set_would(rng: random.Random, round_: int) -> None:
    settled, expected = Settled(), set[int]()
    for _ in range(60):
        if rng.random() < 0.5:
            start = rng.randrange(120)
            end = start + rng.randrange(1, 12)
            settled.add(start, end)
            expected |= set(range(start, end))
        else:
            sequences = sorted(rng.sample(range(130), rng.randrange(1, 15)))
            settled.add_sorted(sequences)
            expected |= set(sequences)
        check(settled, expected, 150)


def test_in_order_settling_only_moves_the_watermark() -> None:
    settled = Settled()
    for i in range(100):
        settled.add(i, i + 1)
    assert (settled.low, settled.ranges()) == (100, [])


def test_one_unsettled_message_costs_one_range() -> None:
    settled = Settled()
    for i in range(1, 1_000):
        settled.add(i, i + 1)
    assert settled.ranges() == [(1, 1_000)]
    settled.add(0, 1)
    assert (settled.low, settled.ranges()) == (1_000, [])


def test_settling_again_changes_nothing() -> None:
    settled = Settled(10, [(15, 20)])
    settled.add(0, 10)
    settled.add(16, 19)
    assert (settled.low, settled.ranges()) == (10, [(15, 20)])
