"""Where a shovel brings messages to: the base of all destinations, and what they report."""

from collections.abc import Iterator

from edge.core.consumer import Entry
from edge.workers import LinkError
from shovel.refusals import Refusal
from shovel.window import Ranges


class MessageFault(LinkError):
    """The connection or channel ended because of one of the messages in flight, and nobody says which."""


class Feedback:
    """Who a destination reports to: the worker. Messages are named by the numbers they were published with."""

    def confirmed(self, ranges: Ranges) -> None:
        """The destination has taken responsibility for them."""
        raise NotImplementedError

    def refused(self, ranges: Ranges, refusal: Refusal) -> None:
        """The destination did not take them."""
        raise NotImplementedError

    def in_flight(self) -> Iterator[tuple[int, Entry]]:
        """What is neither confirmed nor refused, with its numbers, in order."""
        raise NotImplementedError

    def has_room(self) -> None:
        """``room()`` may have grown."""
        raise NotImplementedError

    def destination_failed(self, error: Exception) -> None:
        """Nothing more is confirmed."""
        raise NotImplementedError


class Destination:
    """Base of all destinations; one object a connection. Unless told otherwise they confirm what they take."""

    #: Why the peer takes nothing now (connection.blocked); "" while it does.
    blocked = ""

    async def open(self, feedback: Feedback) -> None:
        """Connect. Raises LinkError and what the connection raises; ConfigError is final."""
        raise NotImplementedError

    def room(self) -> int:
        """How many messages it takes now."""
        raise NotImplementedError

    def publish(self, number: int, entries: list[Entry]) -> None:
        """Publish a run with consecutive numbers from ``number`` on, numbers being consecutive over all runs.

        May report refusals and confirms before it returns. Raises ValueError for a message that cannot be encoded.
        """
        raise NotImplementedError

    def bytes_across(self) -> int:
        """Bytes that the peer's host has received so far: progress that is seen before a large message's confirm."""
        return 0

    async def close(self) -> None:
        """Let go of the connection. Never raises."""
        raise NotImplementedError


def to_ranges(numbers: list[int]) -> Ranges:
    """Ascending numbers as ranges."""
    ranges: Ranges = []
    first = last = 0
    for number in numbers:
        if number == last + 1 and last:
            last = number
            continue
        if last:
            ranges.append((first, last))
        first = last = number
    if last:
        ranges.append((first, last))
    return ranges
