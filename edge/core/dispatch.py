"""Which consumer gets which entry: priorities first, then round-robin, in runs as long as the credit allows."""

from typing import TYPE_CHECKING, Final, final

from edge.core.consumer import Consumer, Entry

if TYPE_CHECKING:
    from edge.core.queue import Queue

RUN_MAX: Final = 1024
"""Entries handed over in one call: bounds what one turn of the loop encodes for one consumer (about 1 ms)."""


class Dispatcher:
    """A queue's consumers, highest priority first, and whose turn it is.

    Turns go as in RabbitMQ (``rabbit_queue_consumers``): who was served goes behind the others of its priority; who has
    no room when it is its turn is passed over, and comes in last when it has room again.
    """

    __slots__ = ("_full", "_turns", "consumers", "has_committed_only")

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.has_committed_only = False
        #: Those whose turn comes, the next one of the highest priority first; and those that were passed over.
        self._turns: list[Consumer] = []
        self._full: list[Consumer] = []

    def add(self, consumer: Consumer) -> None:
        self.consumers.append(consumer)
        self.consumers.sort(key=_by_priority)
        self._turns.append(consumer)
        self._turns.sort(key=_by_priority)
        self.has_committed_only = self.has_committed_only or consumer.committed_only

    def remove(self, consumer: Consumer) -> None:
        if consumer in self.consumers:
            self.consumers.remove(consumer)
            (self._full if consumer in self._full else self._turns).remove(consumer)
            self.has_committed_only = any([other.committed_only for other in self.consumers])

    def refuses(self, consumer: Consumer) -> bool:
        """Whether it, or one that is here, wants the queue for itself."""
        consumers = self.consumers
        return bool(consumers) and (consumer.exclusive or consumers[0].exclusive)

    def is_active(self, consumer: Consumer) -> bool:
        """Whether it gets messages when it has room."""
        return consumer in self.consumers

    def run(self, queue: "Queue", now_ms: int) -> None:
        """Deliver until nothing is ready or nobody has capacity; nothing that has expired by ``now_ms``."""
        consumers = self.consumers
        if self._full:
            self._let_back()
        while queue.ready:
            if len(consumers) == 1:
                taker = consumers[0]
                if not self._deliver_run(queue, taker, taker.capacity(), now_ms):
                    return
            elif not self._deal(queue, now_ms):
                return
            if queue.has_expiring:
                queue.expire(now_ms)

    def _deliver_run(self, queue: "Queue", taker: Consumer, room: int, now_ms: int) -> bool:
        ready = queue.ready
        count = min(len(ready), room, RUN_MAX)
        if count <= 0:
            return False
        if queue.has_expiring:
            count = queue.living(count, now_ms)
        if taker.committed_only and _is_uncommitted(queue, ready[count - 1]):
            count = _committed(queue, count)
        if not count:
            return False
        popleft = ready.popleft
        queue.hand_over(taker, [popleft() for _ in range(count)])
        return True

    def _let_back(self) -> None:
        """Give those a turn again that have room again."""
        able = [consumer for consumer in self._full if consumer.capacity() > 0]
        if able:
            self._full = [consumer for consumer in self._full if consumer not in able]
            self._turns += able
            self._turns.sort(key=_by_priority)

    def _deal(self, queue: "Queue", now_ms: int) -> bool:
        """Deal to the consumers of the highest priority that have room, in turns; return whether anything went out."""
        takers, level = self._takers()
        if not takers:
            return False
        if level == 1:
            return self._deliver_run(queue, takers[0][0], takers[0][1], now_ms)
        hands: list[list[Entry]] = [[] for _ in takers]
        ready = queue.ready
        dealt = 0
        rounds = 1
        if len(takers) == level:
            rounds = min(min([room for _, room in takers]), RUN_MAX // level + 1)
        left = min(len(ready), rounds * level)
        if queue.has_expiring:
            left = queue.living(left, now_ms)
        for _ in range(rounds):
            for (taker, _room), hand in zip(takers, hands, strict=True):
                if dealt == left:
                    break
                if taker.committed_only and _is_uncommitted(queue, ready[0]):
                    continue
                hand.append(ready.popleft())
                dealt += 1
        served = dealt % level
        self._turns[:level] = self._turns[served:level] + self._turns[:served]
        for (taker, _room), hand in zip(takers, hands, strict=True):
            if hand:
                queue.hand_over(taker, hand)
        return dealt > 0

    def _takers(self) -> tuple[list[tuple[Consumer, int]], int]:
        """Whose turn it is, up to one that has no room, with their room; and how many have their priority."""
        turns = self._turns
        takers: list[tuple[Consumer, int]] = []
        level = 0
        is_full = False
        for consumer in turns.copy():
            if takers and consumer.priority < takers[0][0].priority:
                break
            room = 0 if is_full else consumer.capacity()
            if room > 0:
                takers.append((consumer, room))
                # What it takes may leave no room to the next one.
                is_full = consumer.shares_room
            elif not takers:
                # Its turn, with something ready: passed over.
                turns.remove(consumer)
                self._full.append(consumer)
                continue
            else:
                is_full = True
            level += 1
        return takers, level


@final
class SingleActiveDispatcher(Dispatcher):
    """One consumer gets all; when it goes, another takes over (RabbitMQ, "Single Active Consumer").

    Who came first stays active, whatever the priorities of those who come later; they count when it goes.
    """

    __slots__ = ("active",)

    def __init__(self) -> None:
        super().__init__()
        self.active: Consumer | None = None

    def add(self, consumer: Consumer) -> None:
        super().add(consumer)
        self.active = self.active or consumer

    def remove(self, consumer: Consumer) -> None:
        super().remove(consumer)
        if consumer is self.active:
            self.active = self.consumers[0] if self.consumers else None

    def refuses(self, consumer: Consumer) -> bool:
        return consumer.exclusive

    def is_active(self, consumer: Consumer) -> bool:
        return consumer is self.active

    def run(self, queue: "Queue", now_ms: int) -> None:
        active = self.active
        while active is not None and queue.ready:
            if not self._deliver_run(queue, active, active.capacity(), now_ms):
                return
            if queue.has_expiring:
                queue.expire(now_ms)


def _by_priority(consumer: Consumer) -> int:
    return -consumer.priority


def _is_uncommitted(queue: "Queue", entry: Entry) -> bool:
    # Of a queue that is not durable nothing will ever be committed, and nothing is waited for.
    return queue.durable and entry[0] >= queue.committed_sequence


def _committed(queue: "Queue", count: int) -> int:
    """How many of the first ``count`` ready entries are on disk."""
    committed = queue.committed_sequence
    for i in range(count):
        if queue.ready[i][0] >= committed:
            return i
    return count
