"""When publishers are not read: while the store is behind, and for a moment while a reader is.

A reader that takes less than is published at QoS 0 first slows the publishers down, so that a burst is not lost. It may
do so for a second: then it is on its own, and what does not fit its buffer is dropped until it has caught up. So one
client that does not read costs those who publish to it a second, once, and nobody else anything.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from edge.store.store import Store

HOLD_MAX_S: Final = 1.0
"""How long a slow reader may hold publishers before it has to catch up by itself."""


class BackPressure:
    """Why publishers should not be read for now, and who wants to know when they may again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        #: reader -> the end of its hold
        self._holding: dict[object, asyncio.TimerHandle] = {}
        #: Readers that have used up their hold and have not caught up yet.
        self._overdue: set[object] = set()
        self._waiting: list[Callable[[], None]] = []
        #: What is being published reached a reader that holds its publishers.
        self._is_touched = False

    @property
    def is_on(self) -> bool:
        """Whether the one that has just published should not be read for now; if so, it asks ``when_off``."""
        return self._store.congested or (self._is_touched and bool(self._holding))

    def when_off(self, callback: Callable[[], None]) -> None:
        """Call back once when publishers may be read again."""
        self._is_touched = False
        self._waiting.append(callback)
        if len(self._waiting) == 1:
            self._wait_for_store()

    def hold(self, reader: object) -> None:
        """``reader`` is behind: hold publishers for its sake, unless it has had its time."""
        if reader not in self._holding and reader not in self._overdue:
            self._holding[reader] = self._loop.call_later(HOLD_MAX_S, self._give_up, reader)
        self._is_touched = self._is_touched or reader in self._holding

    def caught_up(self, reader: object) -> None:
        """``reader`` has read what it had been sent, or is gone."""
        self._overdue.discard(reader)
        self._end_hold(reader)

    def _give_up(self, reader: object) -> None:
        self._overdue.add(reader)
        self._end_hold(reader)

    def _end_hold(self, reader: object) -> None:
        timer = self._holding.pop(reader, None)
        if timer is not None:
            timer.cancel()
            if not self._holding:
                # Reached by somebody who never asked, a will for instance: that holds nobody later.
                self._is_touched = False
            self._relieve()

    def _wait_for_store(self) -> None:
        if self._store.congested:
            self._store.when_relieved(self._relieve)

    def _relieve(self) -> None:
        if self._holding or self._store.congested:
            self._wait_for_store()
            return
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._loop.call_soon(callback)
