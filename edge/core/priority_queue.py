"""A queue with priorities (``x-max-priority``; RabbitMQ, "Classic Queues Support Priorities").

Each priority is a *lane*: a queue of its own, in RAM and in the store, with its own sequences, window and watermark. So
what is settled stays a watermark and few gaps however priorities mix, and paging and recovery are those of any queue.
A queue without priorities knows nothing of all this.

To consumers the lanes are one queue: an entry's sequence has the lane's priority above its sequence there.
"""

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, final

from edge.core.consumer import Consumer, Entry
from edge.core.deadletter import dead_letter_target
from edge.core.host import QueueHost
from edge.core.limits import with_ttl
from edge.core.message import Message
from edge.core.queue import WINDOW_BYTES, WINDOW_MESSAGES, Queue
from edge.core.queue_state import RecoveredState

LANE_SHIFT: Final = 40
"""Bits of a sequence within its lane: as many as the store has for one (``edge.store.schema``)."""
LANE_MASK: Final = (1 << LANE_SHIFT) - 1
LANE_WINDOW_MESSAGES: Final = WINDOW_MESSAGES // 4
LANE_WINDOW_BYTES: Final = WINDOW_BYTES // 4
"""At which a lane begins to page. Most queues have few priorities in use: together a few windows of a plain queue."""


class PriorityQueue(Queue, QueueHost):
    """Delivers the highest priority first, and the messages of one in order; hosts the lanes that hold them."""

    kind: ClassVar[str] = "priority"

    def __init__(self, host: QueueHost, vhost: str, name: str, queue_id: int, **definition: object) -> None:
        super().__init__(host, vhost, name, queue_id, **definition)  # type: ignore[arg-type]
        highest = self.arguments["x-max-priority"]
        assert isinstance(highest, int), "checked at declaration"
        self.highest = int(highest)
        #: By priority, as far as there were messages of it.
        self.lanes: dict[int, Lane] = {}
        #: Ids of lanes in the store; the lowest has the queue's own.
        self.lane_ids: dict[int, int] = {}
        #: The same, the highest priority first.
        self._ordered: list[Lane] = []

    def parts(self) -> Iterable[Queue]:
        return (self, *self._ordered)

    def head(self) -> Queue:
        return next((lane for lane in self._ordered if lane.messages_ready), self)

    # -- in --------------------------------------------------------------------------------------------------------

    def append(self, messages: list[Message]) -> bool:
        if self.ttl_ms is not None:
            messages = with_ttl(messages, self.host.elapsed_ms(), self.ttl_ms)
        runs: dict[int, list[Message]] = {}
        for message in messages:
            runs.setdefault(self._priority(message), []).append(message)
        for priority, run in runs.items():
            lane = self.lanes.get(priority) or self._add_lane(priority)
            lane.append(run)
            if len(lane.ready) > LANE_WINDOW_MESSAGES or lane.window_bytes > LANE_WINDOW_BYTES:
                lane.start_paging()
        self._count()
        return self.is_promised

    def apply_policy(self, definition: dict[str, object]) -> None:
        super().apply_policy(definition)
        for lane in self._ordered:
            lane.durability = self.durability

    def _priority(self, message: Message) -> int:
        return min(message.priority, self.highest)

    def needs_disk_for(self, message: Message) -> bool:
        lane = self.lanes.get(self._priority(message))
        return self.durable or (lane is not None and lane.is_paging)

    def _add_lane(self, priority: int) -> "Lane":
        lane_id = self.id
        if priority:
            found = self.lane_ids.get(priority)
            lane_id = self.host.new_lane(self, priority) if found is None else found
        lane = self.lanes[priority] = Lane(self, priority, lane_id)
        self._ordered = [self.lanes[each] for each in sorted(self.lanes, reverse=True)]
        return lane

    # -- out -------------------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        if self.deleted:
            return
        now_ms = self.expiry_ms()
        for lane in self._ordered:
            lane.expire(now_ms)
        self.run(now_ms)
        if self.ttl_ms is not None or dead_letter_target(self) is not None:
            # Somebody waits for what expires further down.
            for lane in self._ordered:
                if not lane.ready:
                    lane.page_ahead()
        if self.limits is not None:
            self.limits.trim(self)
        expiring = [
            lane.ready[0][1].expires_at_ms for lane in self._ordered if lane.ready and not lane.is_held
        ]
        if any(expiring):
            self.host.schedule_expiry(self, min(filter(None, expiring)))

    def run(self, now_ms: int) -> None:
        for lane in self._ordered:
            if not lane.is_held:
                self._dispatcher.run(lane, now_ms)
            lane.page_ahead()
            if lane.messages_ready:
                # Nobody has room, or its messages are still on the disk: lower ones wait behind them.
                break
        self._count()

    def pop(self, no_ack: bool) -> Entry | None:
        self.touch()
        found: Entry | None = None
        for lane in self._ordered:
            if lane.messages_ready:
                found = lane.pop(no_ack)
                if found is not None or lane.messages_ready:
                    break
        self._count()
        return found and (found[0] + lane.offset, found[1], found[2])

    # -- settling --------------------------------------------------------------------------------------------------

    def settle(self, entries: list[Entry]) -> None:
        for lane, own in self._by_lane(entries):
            lane.settle(own)
        self._count()

    def requeue(self, entries: list[Entry]) -> None:
        for lane, own in self._by_lane(entries):
            lane.requeue(own)
        self._count()
        self.came_back()

    def purge(self) -> int:
        count = sum([lane.purge() for lane in self._ordered])
        self._count()
        return count

    def drop_head(self, count: int, reason: str) -> None:
        self.head().drop_head(count, reason)
        self._count()

    def _by_lane(self, entries: list[Entry]) -> Iterator[tuple["Lane", list[Entry]]]:
        """Entries as consumers know them, as their lanes know them."""
        runs: dict[int, list[Entry]] = {}
        for sequence, message, times in entries:
            runs.setdefault(sequence >> LANE_SHIFT, []).append((sequence & LANE_MASK, message, times))
        for priority, run in runs.items():
            yield self.lanes[priority], run

    def _count(self) -> None:
        """The queue's counts are those of its lanes, and its head is that of the first one that has any."""
        lanes = self._ordered
        self.messages_ready = sum([lane.messages_ready for lane in lanes])
        self.messages_unacknowledged = sum([lane.messages_unacknowledged for lane in lanes])
        self.message_bytes_ready = sum([lane.message_bytes_ready for lane in lanes])
        self.message_bytes_unacknowledged = sum([lane.message_bytes_unacknowledged for lane in lanes])
        self.ready = self.head().ready

    # -- store -----------------------------------------------------------------------------------------------------

    def note_delivered(self) -> None:
        for lane in self._ordered:
            lane.note_delivered()

    def recover(self, state: RecoveredState) -> None:
        self.recover_lane(0, state)

    def recover_lane(self, priority: int, state: RecoveredState) -> None:
        """Take over what the store holds of one priority, at start."""
        self._add_lane(priority).recover(state)
        self._count()

    # -- what lanes ask (QueueHost) ----------------------------------------------------------------------------------

    def schedule_dispatch(self, queue: Queue) -> None:
        self.host.schedule_dispatch(self)

    def schedule_commit(self, queue: Queue, size: int = 0) -> None:
        self.host.schedule_commit(queue, size)

    def schedule_page_in(self, queue: Queue) -> None:
        self.host.schedule_page_in(queue)

    def may_dead_letter(self, queue: Queue, entries: Iterable[Entry], count: int) -> int:
        return self.host.may_dead_letter(self, entries, count)

    def dead_letter(self, queue: Queue, entries: list[Entry], reason: str) -> None:
        self.host.dead_letter(self, entries, reason)

    def messages_lost(self, queue: Queue, ranges: list[tuple[int, int]]) -> None:
        self.host.messages_lost(queue, ranges)

    def elapsed_ms(self) -> int:
        return self.host.elapsed_ms()


@final
class Lane(Queue):
    """The messages of one priority."""

    def __init__(self, parent: PriorityQueue, priority: int, lane_id: int) -> None:
        super().__init__(parent, parent.vhost, parent.name, lane_id, durable=parent.durable)
        self.parent = parent
        self.offset = priority << LANE_SHIFT
        self._dispatcher = parent._dispatcher
        self.durability = parent.durability

    def dispatch(self) -> None:
        self.parent.dispatch()

    def has_ttl_of_0(self) -> bool:
        return self.parent.ttl_ms == 0

    def run(self, now_ms: int) -> None:
        self.parent.run(now_ms)

    def hand_over(self, consumer: Consumer, entries: list[Entry]) -> None:
        super().hand_over(_Numbering(consumer, self.offset), entries)


class _Numbering(Consumer):
    """Stands between a lane and a consumer, for one run: numbers entries as the whole queue does."""

    __slots__ = ("_consumer", "_offset")

    def __init__(self, consumer: Consumer, offset: int) -> None:
        self.no_ack = consumer.no_ack
        self._consumer = consumer
        self._offset = offset

    def deliver(self, entries: list[Entry]) -> None:
        offset = self._offset
        self._consumer.deliver([(sequence + offset, message, times) for sequence, message, times in entries])
