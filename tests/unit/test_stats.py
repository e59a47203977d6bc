"""Counters."""

from edge.stats import Stats


def test_every_counter_begins_at_zero() -> None:
    stats = Stats()
    assert {name: getattr(stats, name) for name in Stats.__slots__} == dict.fromkeys(Stats.__slots__, 0)
