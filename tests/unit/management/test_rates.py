"""Rates are those of the last interval."""

import asyncio

import pytest

from edge.management import rates as rates_module
from edge.management.rates import Rates


async def test_a_rate_is_the_change_since_the_last_sample_by_the_time_between() -> None:
    counters = {"publish": 100}
    rates = Rates(lambda: dict(counters))
    rates.take(10.0)
    counters["publish"] = 150
    rates.take(15.0)
    assert rates.with_details(counters) == {"publish": 150, "publish_details": {"rate": 10.0}}


async def test_before_the_first_interval_has_passed_rates_are_zero() -> None:
    rates = Rates(lambda: {"publish": 7})
    rates.start()
    assert rates.with_details({"publish": 9}) == {"publish": 9, "publish_details": {"rate": 0.0}}
    rates.stop()


async def test_samples_are_taken_by_a_timer_until_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "INTERVAL_S", 0.01)
    readings = 0
    enough = asyncio.Event()

    def read() -> dict[str, int]:
        nonlocal readings
        readings += 1
        if readings == 3:
            enough.set()
        return {"publish": readings}

    rates = Rates(read)
    rates.stop()
    rates.start()
    async with asyncio.timeout(5):
        await enough.wait()
    rates.stop()
    last = readings
    await asyncio.sleep(0.03)
    assert readings == last
