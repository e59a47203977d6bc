"""The set of settled sequences of a queue: a watermark, and ranges above it."""

from bisect import bisect_right
from typing import final


@final
class Settled:
    """All sequences below ``low`` and all in the half-open ranges ``starts[i] .. ends[i]`` are settled.

    Ranges are sorted, disjoint, never adjacent, and lie above ``low``. In-order settling only moves ``low``; one
    message that stays unsettled costs one range, however many are settled behind it.
    """

    __slots__ = ("ends", "low", "starts")

    def __init__(self, low: int = 0, ranges: list[tuple[int, int]] | None = None) -> None:
        self.low = low
        self.starts: list[int] = [start for start, _ in ranges or ()]
        self.ends: list[int] = [end for _, end in ranges or ()]

    def __contains__(self, sequence: int) -> bool:
        if sequence < self.low:
            return True
        i = bisect_right(self.starts, sequence) - 1
        return i >= 0 and sequence < self.ends[i]

    def ranges(self) -> list[tuple[int, int]]:
        """The settled ranges above ``low``, ascending."""
        return list(zip(self.starts, self.ends, strict=True))

    def unsettled(self, start: int, end: int) -> list[tuple[int, int]]:
        """What is not settled of ``start`` up to but not including ``end``, as half-open ranges, ascending."""
        start = max(start, self.low)
        i = bisect_right(self.starts, start)
        if i and self.ends[i - 1] > start:
            start = self.ends[i - 1]
        found: list[tuple[int, int]] = []
        while i < len(self.starts) and self.starts[i] < end:
            if start < self.starts[i]:
                found.append((start, self.starts[i]))
            start = self.ends[i]
            i += 1
        if start < end:
            found.append((start, end))
        return found

    def add(self, start: int, end: int) -> None:
        """Settle ``start`` up to but not including ``end``; settling again what is settled changes nothing."""
        starts, ends = self.starts, self.ends
        if start <= self.low:
            if end <= self.low:
                return
            self.low = end
            merged = 0
            while merged < len(starts) and starts[merged] <= self.low:
                self.low = max(self.low, ends[merged])
                merged += 1
            if merged:
                del starts[:merged]
                del ends[:merged]
            return
        if starts and ends[-1] == start:
            # The common case above the watermark: in order behind one message that stays unsettled.
            ends[-1] = end
            return
        first = bisect_right(starts, start)
        if first and ends[first - 1] >= start:
            first -= 1
            start = starts[first]
            end = max(end, ends[first])
        last = first
        while last < len(starts) and starts[last] <= end:
            end = max(end, ends[last])
            last += 1
        starts[first:last] = [start]
        ends[first:last] = [end]

    def add_sorted(self, sequences: list[int]) -> None:
        """Settle ascending, distinct sequences."""
        first = sequences[0]
        if sequences[-1] - first + 1 == len(sequences):
            self.add(first, first + len(sequences))
            return
        start = end = first
        for sequence in sequences:
            if sequence != end:
                self.add(start, end)
                start = sequence
            end = sequence + 1
        self.add(start, end)
