"""No more dead letters in RAM than there is room for.

A message is dead-lettered by one commit that takes it out of one queue and puts it into others. Until then it is in
RAM, so on a full disk, or one that does not keep up, what is to be dead-lettered stays where it is, on the disk.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, final

from edge.core.consumer import Entry
from edge.core.deadletter import dead_letter_target
from edge.core.queue import ENTRY_BYTES, Queue
from edge.store.store import Store

LOOK_S: Final = 0.1
"""How often to look whether there is room again while a queue waits for it: some slices a second."""


@final
class DeadRoom:
    """Holds queues back that would make more dead letters than there is room for."""

    def __init__(self, store: Store, schedule_dispatch: Callable[[Queue], None]) -> None:
        self._store = store
        self._schedule_dispatch = schedule_dispatch
        self._held: dict[Queue, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, queue: Queue, entries: Iterable[Entry], count: int) -> int:
        """How many of the first ``count`` entries may be dead-lettered now.

        With fewer than ``count`` the queue is dispatched again when there is room.
        """
        if dead_letter_target(queue) is None:
            return count
        room = self._store.own_room_bytes
        admitted = 0
        for _, message, _ in islice(entries, count):
            if room <= 0:
                self._wait(queue)
                break
            room -= len(message.body) + len(message.properties) + ENTRY_BYTES
            admitted += 1
        return admitted

    def refused(self, queue: Queue) -> None:
        """Consumers have refused messages, which are dead-lettered without being admitted.

        They are no more than were delivered; without room the queue delivers nothing more.
        """
        if self._store.own_room_bytes <= 0 and dead_letter_target(queue) is not None:
            for part in queue.parts():
                part.is_held = True
            self._wait(queue)

    def close(self) -> None:
        """Release nothing more: the node stops."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, queue: Queue) -> None:
        self._held[queue] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._store.own_room_bytes <= 0:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
            return
        held, self._held = self._held, {}
        for queue in held:
            for part in queue.parts():
                part.is_held = False
            self._schedule_dispatch(queue)
