"""What a shovel has in flight, in order of publishing, and how much that may be.

The bound is in bytes, because a thousand messages of a megabyte are a gigabyte at both ends, and it follows the
confirms: while it is used up and they come as fast as before it is doubled on trial, so that neither 600 ms of delay
nor a fast LAN is a ceiling, and a trial that does not bring more across is taken back: then messages would only wait
in buffers, and a cut would repeat all of them. A given ``src-prefetch-count`` bounds the number of messages instead.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, final

from edge.core.consumer import Entry
from edge.core.queue import ENTRY_BYTES

LIMIT_BYTES_START: Final = 256 * 1024
"""650 messages of 100 bytes: what RabbitMQ's prefetch of 1000 allows, about."""
LIMIT_BYTES_MIN: Final = 64 * 1024
LIMIT_BYTES_MAX: Final = 8 * 1024 * 1024
"""20,000 messages of 100 bytes, or 13 MB/s at 600 ms; what a small node can spare for one link."""
FLAT_FACTOR: Final = 1.5
FLAT_S: Final = 0.1
"""A confirm within 1.5 times the shortest time plus 100 ms counts as fast: disks at the far end sync in batches."""
SLOW_FACTOR: Final = 4.0
SLOW_S: Final = 0.4
"""Beyond these the window is larger than the link has become: it shrinks."""
GAIN_FACTOR: Final = 1.1
"""What a doubled window must bring across to be kept."""
TRIAL_PAUSE_S_MIN: Final = 1.0
"""Until the next trial after one that brought nothing: it may have met a slow moment, of the far disk for example."""
TRIAL_PAUSE_S_MAX: Final = 30.0
"""Each trial in a row that brings nothing doubles the pause up to this: a link seldom becomes wider."""
BASE_BUCKET_S: Final = 30.0
"""The shortest time is that of the last 30 to 60 s: a link by satellite or mobile network changes its delay."""
COMPACT_AT: Final = 4096

Ranges = list[tuple[int, int]]
"""Numbers of messages, first and last of each range."""


def weight(entry: Entry) -> int:
    """Bytes that an entry counts for: its body and what it takes in RAM beside it."""
    return len(entry[1].body) + ENTRY_BYTES


@final
class Window:
    """Entries in flight by their number, which counts from 1 in each connection (as publisher confirms do)."""

    def __init__(self, prefetch_count: int | None = None) -> None:
        self.prefetch_count = prefetch_count
        self.limit_bytes = LIMIT_BYTES_START if prefetch_count is None else LIMIT_BYTES_MAX
        self.bytes = 0
        self.count = 0
        #: Entries by number - ``_first``; None: confirmed or taken out. All before ``_head`` are.
        self._entries: list[Entry | None] = []
        self._first = 1
        self._head = 0
        #: Number of the last message of a run, and when it was published.
        self._marks: deque[tuple[int, float]] = deque()
        self._mean_weight = ENTRY_BYTES + 100
        # Adapting, by rounds: from the first confirm of what was published under the present limit, one window long
        self._was_full = False
        self._confirmed_bytes = 0
        self._round_ends_at = 0
        self._round: tuple[float, int] | None = None
        #: The limit before the trial that runs, and what it brought across in a second.
        self._trial: tuple[int, float] | None = None
        self._trial_pause_s = TRIAL_PAUSE_S_MIN
        self._no_trial_before_s = 0.0
        self._base_s = self._base_before_s = float("inf")
        self._bucket_at_s = 0.0

    @property
    def next_number(self) -> int:
        return self._first + len(self._entries)

    def room(self) -> int:
        """How many messages more may be in flight, by their mean size so far; 0 when the window is full."""
        left = self.limit_bytes - self.bytes
        room = 0 if left <= 0 else left // self._mean_weight + 1
        if self.prefetch_count is not None:
            room = min(room, self.prefetch_count - self.count)
        if room <= 0:
            self._was_full = True
            return 0
        return room

    @property
    def is_full(self) -> bool:
        """Whether the limit, not the source, decides how much is in flight."""
        return self.bytes >= self.limit_bytes or self.count == self.prefetch_count

    def add(self, entries: list[Entry], now_s: float) -> int:
        """Note a run as published; return the number of its first message."""
        number = self.next_number
        self._entries += entries
        self.count += len(entries)
        size = sum([weight(entry) for entry in entries])
        self.bytes += size
        self._mean_weight = (3 * self._mean_weight + size // len(entries)) // 4
        self._marks.append((self.next_number - 1, now_s))
        return number

    def outstanding(self) -> Iterator[tuple[int, Entry]]:
        """All that is in flight with its numbers, in order."""
        for index in range(self._head, len(self._entries)):
            entry = self._entries[index]
            if entry is not None:
                yield self._first + index, entry

    def take(self, ranges: Ranges, now_s: float) -> list[Entry]:
        """Take messages out, confirmed or refused; a number that is not in flight is passed over."""
        entries, offset = self._entries, self._first
        taken: list[Entry] = []
        for first, last in ranges:
            start, stop = max(first - offset, self._head), min(last + 1 - offset, len(entries))
            if start < stop:
                taken += [entry for entry in entries[start:stop] if entry is not None]
                entries[start:stop] = [None] * (stop - start)
        self._taken(taken, now_s)
        return taken

    def clear(self) -> list[Entry]:
        """Take everything out, in order, and begin numbering anew: the connection is gone."""
        left = [entry for entry in self._entries if entry is not None]
        self._entries = []
        self._first = 1
        self._head = self.count = self.bytes = 0
        self._marks.clear()
        self._trial = None
        self._new_round(None)
        return left

    def oldest_s(self, now_s: float) -> float:
        """Since when the oldest message in flight has waited for its confirm; 0 when there is none."""
        return now_s - self._marks[0][1] if self._marks else 0.0

    def _taken(self, taken: list[Entry], now_s: float) -> None:
        self.count -= len(taken)
        size = sum([weight(entry) for entry in taken])
        self.bytes -= size
        self._confirmed_bytes += size
        entries, head = self._entries, self._head
        end = len(entries)
        while head < end and entries[head] is None:
            head += 1
        if head == end or head > COMPACT_AT:
            del entries[:head]
            self._first += head
            head = 0
        self._head = head
        low = self._first + head
        marks = self._marks
        while marks and marks[0][0] < low:
            last, at_s = marks.popleft()
            self._adapt(last, now_s - at_s, now_s)

    def _adapt(self, last: int, latency_s: float, now_s: float) -> None:
        if now_s - self._bucket_at_s > BASE_BUCKET_S:
            self._bucket_at_s = now_s
            self._base_before_s, self._base_s = self._base_s, latency_s
        self._base_s = min(self._base_s, latency_s)
        if last < self._round_ends_at or self.prefetch_count is not None:
            return
        if self._round is not None and now_s > self._round[0]:
            self._end_round(latency_s, now_s)
        else:
            self._new_round((now_s, self._confirmed_bytes))

    def _new_round(self, start: tuple[float, int] | None) -> None:
        self._round = start
        self._round_ends_at = self.next_number
        self._was_full = False

    def _end_round(self, latency_s: float, now_s: float) -> None:
        assert self._round is not None
        started_s, confirmed = self._round
        rate = (self._confirmed_bytes - confirmed) / (now_s - started_s)
        base_s = min(self._base_s, self._base_before_s)
        limit = self.limit_bytes
        if self._trial is not None:
            before, rate_before = self._trial
            self._trial = None
            if rate < rate_before * GAIN_FACTOR:
                self.limit_bytes = before
                self._no_trial_before_s = now_s + self._trial_pause_s
                self._trial_pause_s = min(TRIAL_PAUSE_S_MAX, 2 * self._trial_pause_s)
            else:
                self._trial_pause_s = TRIAL_PAUSE_S_MIN
        elif latency_s > base_s * SLOW_FACTOR + SLOW_S:
            self.limit_bytes = max(LIMIT_BYTES_MIN, limit * 3 // 4)
        elif (
            self._was_full
            and latency_s <= base_s * FLAT_FACTOR + FLAT_S
            and limit < LIMIT_BYTES_MAX
            and now_s >= self._no_trial_before_s
        ):
            # Within 100 ms nothing waits long anywhere: not worth a trial, and rates of a LAN are all noise.
            self._trial = (limit, rate) if latency_s > FLAT_S else None
            self.limit_bytes = min(LIMIT_BYTES_MAX, limit * 2)
        self._new_round(None if self.limit_bytes != limit else (now_s, self._confirmed_bytes))
