"""A slow reader holds those who publish to it for a moment, and nobody else."""

import asyncio
from collections.abc import Callable

import pytest

from edge import backpressure
from edge.backpressure import BackPressure
from edge.store.store import Store


class FullStore(Store):
    """A store that is behind until the test says otherwise."""

    def __init__(self) -> None:
        self.is_behind = False
        self.callbacks: list[Callable[[], None]] = []

    @property
    def congested(self) -> bool:
        return self.is_behind

    def when_relieved(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


@pytest.fixture
def store() -> FullStore:
    return FullStore()


@pytest.fixture
async def pressure(store: FullStore) -> BackPressure:
    return BackPressure(store)


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_only_the_publisher_that_reached_the_slow_reader_is_held(pressure: BackPressure) -> None:
    relieved: list[str] = []
    pressure.hold("reader")
    assert pressure.is_on
    pressure.when_off(lambda: relieved.append("publisher"))
    assert not pressure.is_on
    pressure.caught_up("reader")
    await turn()
    assert relieved == ["publisher"]


async def test_a_reader_that_does_not_catch_up_holds_for_its_time_and_not_again(
    pressure: BackPressure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "HOLD_MAX_S", 0.01)
    relieved = asyncio.Event()
    pressure.hold("reader")
    pressure.when_off(relieved.set)
    await asyncio.wait_for(relieved.wait(), 5)
    pressure.hold("reader")
    assert not pressure.is_on
    pressure.caught_up("reader")
    pressure.hold("reader")
    assert pressure.is_on
    pressure.caught_up("reader")


async def test_publishers_wait_for_the_store_as_well_as_for_the_reader(
    pressure: BackPressure, store: FullStore
) -> None:
    relieved: list[str] = []
    pressure.hold("reader")
    pressure.when_off(lambda: relieved.append("publisher"))
    store.is_behind = True
    assert pressure.is_on
    pressure.caught_up("reader")
    await turn()
    assert not relieved
    store.is_behind = False
    for callback in store.callbacks:
        callback()
    await turn()
    assert relieved == ["publisher"]


async def test_a_reader_that_was_reached_by_nobody_who_waits_holds_nobody_later(
    pressure: BackPressure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A will or a retained message reaches it: nobody asks whether to go on, and its hold passes."""
    monkeypatch.setattr(backpressure, "HOLD_MAX_S", 0.01)
    pressure.hold("reader")
    await asyncio.sleep(0.03)
    assert not pressure.is_on


async def test_an_overdue_reader_of_the_same_messages_does_not_end_anothers_hold(
    pressure: BackPressure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "HOLD_MAX_S", 0.01)
    pressure.hold("overdue")
    await asyncio.sleep(0.03)
    monkeypatch.setattr(backpressure, "HOLD_MAX_S", 5)
    pressure.hold("slow")
    pressure.hold("overdue")
    assert pressure.is_on
    pressure.caught_up("slow")
