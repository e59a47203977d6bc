"""What queues ask of the node that holds them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edge.core.consumer import Entry

if TYPE_CHECKING:
    from edge.core.priority_queue import PriorityQueue
    from edge.core.queue import Queue


class QueueHost:
    """What a queue asks of the node that holds it. All calls return at once."""

    def schedule_dispatch(self, queue: "Queue") -> None:
        """Call ``queue.dispatch()`` in this loop turn."""
        raise NotImplementedError

    def new_lane(self, queue: "PriorityQueue", priority: int) -> int:
        """The id for messages of a priority that the queue has had none of; kept with its record."""
        raise NotImplementedError

    def schedule_commit(self, queue: "Queue", size: int = 0) -> None:
        """Take ``queue.take()`` into the next commit, which then has ``size`` bytes of bodies more to write."""
        raise NotImplementedError

    def schedule_page_in(self, queue: "Queue") -> None:
        """Read the entries from ``queue.page_sequence`` on and give them to ``queue.paged_in``."""
        raise NotImplementedError

    def schedule_expiry(self, queue: "Queue", at_ms: int) -> None:
        """Call ``queue.dispatch()`` when the elapsed time is ``at_ms``: its first message expires then."""
        raise NotImplementedError

    def schedule_unused(self, queue: "Queue", at_ms: int) -> None:
        """Delete the queue when the elapsed time is ``at_ms``, unless it has been used by then."""
        raise NotImplementedError

    def may_dead_letter(self, queue: "Queue", entries: Iterable[Entry], count: int) -> int:
        """How many of the first ``count`` entries may be dead-lettered, or dropped, now.

        For want of room it may be fewer; then ``queue.dispatch()`` is called when there is some.
        """
        raise NotImplementedError

    def dead_letter(self, queue: "Queue", entries: list[Entry], reason: str) -> None:
        """Publish settled entries to the queue's dead-letter exchange, if it has one."""
        raise NotImplementedError

    def messages_lost(self, queue: "Queue", ranges: list[tuple[int, int]]) -> None:
        """Report sequences (half-open ranges) that the store should hold and cannot read; they count as settled."""
        raise NotImplementedError

    def elapsed_ms(self) -> int:
        """The node's elapsed time, in which messages expire."""
        raise NotImplementedError
