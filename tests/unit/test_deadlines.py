"""One heap, one timer: what is due when."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edge.deadlines import Deadlines


class Times:
    """Deadlines by a clock of the test's; ``called`` is who was called back."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.called: list[str] = []
        self.deadlines = Deadlines(lambda: self.now_ms)

    def set(self, key: str, at_ms: int) -> None:
        self.deadlines.set(key, at_ms, lambda: self.called.append(key))

    def at(self, now_ms: int) -> list[str]:
        self.now_ms, self.called = now_ms, []
        self.deadlines.run_due()
        return self.called


@pytest.fixture
async def times() -> AsyncIterator[Times]:
    made = Times()
    yield made
    made.deadlines.close()


async def test_each_is_called_once_in_the_order_of_time(times: Times) -> None:
    times.set("b", 3_000)
    times.set("a", 2_000)
    times.set("c", 4_000)
    assert times.at(1_999) == []
    assert times.at(3_000) == ["a", "b"]
    assert times.at(5_000) == ["c"]
    assert len(times.deadlines) == 0


async def test_the_earliest_of_a_key_counts(times: Times) -> None:
    times.set("a", 3_000)
    times.set("a", 5_000)
    assert times.deadlines.at_ms("a") == 3_000
    times.set("a", 2_000)
    assert times.at(2_500) == ["a"]
    assert times.at(9_000) == [], "the outdated ones are passed over"


async def test_a_cancelled_one_is_not_called(times: Times) -> None:
    times.set("a", 2_000)
    times.deadlines.cancel("a")
    times.deadlines.cancel("nobody")
    assert times.at(3_000) == []


async def test_a_callback_may_set_the_next(times: Times) -> None:
    def again() -> None:
        times.called.append("again")
        times.deadlines.set("a", times.now_ms + 500, again)

    times.deadlines.set("a", 2_000, again)
    assert times.at(2_000) == ["again"]
    assert times.at(2_400) == []
    assert times.at(2_500) == ["again"]


async def test_the_timer_calls_by_itself(times: Times) -> None:
    times.set("a", 1_005)
    times.set("later", 900_000)
    times.now_ms = 1_006
    await asyncio.sleep(0.03)
    assert times.called == ["a"]


async def test_after_the_end_nothing_is_set(times: Times) -> None:
    times.set("a", 2_000)
    times.deadlines.close()
    times.set("b", 2_000)
    assert times.at(3_000) == []
    assert times.deadlines._timer is None


async def test_one_that_raises_leaves_the_others_their_timer(times: Times) -> None:
    def fail() -> None:
        raise ValueError("its fault")

    times.deadlines.set("bad", 2_000, fail)
    times.set("good", 2_500)
    times.now_ms = 3_000
    with pytest.raises(ValueError, match="its fault"):
        times.deadlines.run_due()
    await asyncio.sleep(0.02)
    assert times.called == ["good"]


async def test_what_is_set_and_cancelled_again_and_again_does_not_pile_up(times: Times) -> None:
    times.set("kept", 5_000_000)
    for i in range(10_000):
        times.set("flapping", 9_000_000 + i)
        times.deadlines.cancel("flapping")
    assert len(times.deadlines._heap) < 200
    assert times.at(10_000_000) == ["kept"]
