"""Which publishes of a channel the server has answered (RabbitMQ, "Publisher Confirms"). Client role."""

from typing import final

Ranges = list[tuple[int, int]]
"""Publish sequence numbers, first and last of each range, ascending."""


@final
class Unconfirmed:
    """Numbers from 1 up: all below ``low`` are answered, and those in ``_answered`` above it."""

    __slots__ = ("_answered", "low", "next")

    def __init__(self) -> None:
        self.low = 1
        self.next = 1
        self._answered: set[int] = set()

    @property
    def count(self) -> int:
        """How many are not answered yet."""
        return self.next - self.low - len(self._answered)

    def publish(self, count: int) -> int:
        """Count publishes; return the number of the first."""
        first = self.next
        self.next += count
        return first

    def answer(self, tags: list[int], multiple: bool) -> Ranges:
        """Take a server's ack or nack; return what it newly answers."""
        if multiple:
            return self._answer_through(tags[-1] or self.next - 1)
        ranges: Ranges = []
        for tag in tags:
            if self.low <= tag < self.next and tag not in self._answered:
                self._answered.add(tag)
                if ranges and ranges[-1][1] == tag - 1:
                    ranges[-1] = ranges[-1][0], tag
                else:
                    ranges.append((tag, tag))
        self._advance()
        return ranges

    def _answer_through(self, last: int) -> Ranges:
        last = min(last, self.next - 1)
        if last < self.low:
            return []
        ranges: Ranges = []
        first = self.low
        for tag in sorted([tag for tag in self._answered if tag <= last]) if self._answered else []:
            if tag > first:
                ranges.append((first, tag - 1))
            first = tag + 1
            self._answered.discard(tag)
        if first <= last:
            ranges.append((first, last))
        self.low = last + 1
        self._advance()
        return ranges

    def _advance(self) -> None:
        while self.low in self._answered:
            self._answered.discard(self.low)
            self.low += 1
