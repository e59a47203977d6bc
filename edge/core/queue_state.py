"""What passes between a queue and the store: what a commit writes, and what a start finds."""

from typing import TYPE_CHECKING

from edge.core.consumer import Entry

if TYPE_CHECKING:
    from edge.core.queue import Queue


class QueueState:
    """What a commit writes about a queue: entries to add, and where settling has come to."""

    __slots__ = (
        "delivered_sequence",
        "entries",
        "message_bytes",
        "messages",
        "next_sequence",
        "queue",
        "settled_low",
        "settled_ranges",
        "settles_with_others",
    )

    def __init__(self, queue: "Queue", entries: list[Entry], ranges: list[tuple[int, int]] | None) -> None:
        self.queue = queue
        self.entries = entries
        self.next_sequence = queue.next_sequence
        self.messages = queue.messages
        self.message_bytes = queue.message_bytes
        self.delivered_sequence = queue.delivered_sequence
        self.settled_low = queue.settled.low
        #: None when nothing was settled since the last commit.
        self.settled_ranges = ranges
        #: What was settled is on its way to another queue or record, and both are written together.
        self.settles_with_others = queue.settles_with_others

    def put_back(self) -> None:
        """It was not written: the queue takes it back, for a later commit."""
        queue = self.queue
        queue.fresh = self.entries + queue.fresh
        queue.in_commit = []
        queue.settled_changed = queue.settled_changed or self.settled_ranges is not None
        queue.settles_with_others = queue.settles_with_others or self.settles_with_others

    def end_before(self, sequence: int, waiting: list[Entry]) -> None:
        """Leave out all from ``sequence`` on, where only ``waiting`` is not settled: it is not written yet."""
        self.next_sequence = sequence
        self.messages -= len(waiting)
        self.message_bytes -= sum([len(entry[1].body) for entry in waiting])
        self.delivered_sequence = min(self.delivered_sequence, sequence)
        self.settled_low = min(self.settled_low, sequence)
        if self.settled_ranges is not None:
            self.settled_ranges = [
                (start, min(end, sequence)) for start, end in self.settled_ranges if start < sequence
            ]


def take_part(queue: "Queue", size: int) -> QueueState:
    """What ``queue.take`` gives, but of new entries only the first ``size`` bytes; the others stay with the queue."""
    settled = queue.settled
    fresh = [entry for entry in queue.fresh if entry[0] not in settled]
    count = 0
    for _, message, _ in fresh:
        size -= len(message.body) + len(message.properties)
        if size < 0:
            break
        count += 1
    queue.fresh = fresh[:count]
    state = queue.take()
    queue.fresh = waiting = fresh[count:]
    if waiting:
        state.end_before(waiting[0][0], waiting)
    return state


def fresh_bytes(queue: "Queue") -> int:
    """What ``queue.take`` would give to write."""
    return sum([len(message.body) + len(message.properties) for _, message, _ in queue.fresh])


class RecoveredState:
    """What the store knows of a queue at start."""

    __slots__ = (
        "delivered_sequence",
        "is_changed",
        "message_bytes",
        "messages",
        "next_sequence",
        "settled_low",
        "settled_ranges",
    )

    def __init__(
        self,
        next_sequence: int,
        settled_low: int,
        settled_ranges: list[tuple[int, int]],
        messages: int,
        message_bytes: int,
        delivered_sequence: int,
    ) -> None:
        self.next_sequence = next_sequence
        self.settled_low = settled_low
        self.settled_ranges = settled_ranges
        self.messages = messages
        self.message_bytes = message_bytes
        #: After a crash this is the end of the queue: only a clean stop knows what was never delivered, and a message
        #: without the redelivered flag must be new to everybody.
        self.delivered_sequence = delivered_sequence
        #: Sequences were skipped: the next commit must say so.
        self.is_changed = False
