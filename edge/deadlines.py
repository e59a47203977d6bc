"""What is due at an elapsed time: one heap and one timer of the loop, however many wait.

By the node's clock, not the loop's: what was saved before a restart is due when it would have been, and no jump of wall
time makes anything early or late.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Final

CHECK_MAX_S: Final = 60.0
"""The longest that the timer waits: it counts the loop's time, which stands still while the machine sleeps."""


OUTDATED_MAX: Final = 64
"""Outdated entries of the heap that are not worth clearing away."""


class Deadlines:
    """Calls back when the time has come; a key has one deadline, and the earliest one counts.

    Who sets a later one is called at the earlier, looks again and sets it anew. So a queue whose head changes with
    every delivery costs a look-up each time, not a timer.
    """

    def __init__(self, elapsed_ms: Callable[[], int]) -> None:
        self._elapsed_ms = elapsed_ms
        self._due: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        #: (elapsed time, number, key); outdated ones are passed over.
        self._heap: list[tuple[int, int, Hashable]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._due)

    def at_ms(self, key: Hashable) -> int | None:
        """When ``key`` is due."""
        found = self._due.get(key)
        return None if found is None else found[0]

    def set(self, key: Hashable, at_ms: int, callback: Callable[[], None]) -> None:
        """Call back at ``at_ms``, or before when ``key`` is due before."""
        found = self._due.get(key)
        if self._is_closed or (found is not None and found[0] <= at_ms):
            return
        self._due[key] = at_ms, callback
        self._number += 1
        heapq.heappush(self._heap, (at_ms, self._number, key))
        if len(self._heap) > 2 * len(self._due) + OUTDATED_MAX:
            self._drop_outdated()
        if self._timer is None or at_ms < self._timer_ms:
            self._arm()

    def cancel(self, key: Hashable) -> None:
        """Forget ``key``."""
        self._due.pop(key, None)

    def run_due(self) -> None:
        """Call back whatever is due; the timer does so by itself."""
        now = self._elapsed_ms()
        heap = self._heap
        try:
            while heap and heap[0][0] <= now:
                at_ms, _, key = heapq.heappop(heap)
                found = self._due.get(key)
                if found is not None and found[0] == at_ms:
                    del self._due[key]
                    found[1]()
        finally:
            # Also when one has raised: its fault, not that of the others.
            self._arm()

    def _drop_outdated(self) -> None:
        """Days ahead, what is set and cancelled again and again would pile up."""
        self._heap[:] = [each for each in self._heap if self.at_ms(each[2]) == each[0]]
        heapq.heapify(self._heap)

    def close(self) -> None:
        """Forget everything, and what may still be set."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        self._heap.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        heap = self._heap
        while heap and self.at_ms(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        if heap:
            self._timer_ms = heap[0][0]
            wait_s = max(0.001, (self._timer_ms - self._elapsed_ms()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(min(wait_s, CHECK_MAX_S), self.run_due)
