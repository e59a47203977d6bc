"""What a queue delivers to: a protocol's subscription, a shovel, a federation link."""

from typing import TYPE_CHECKING

from edge.core.message import Message

if TYPE_CHECKING:
    from edge.core.queue import Queue

Entry = tuple[int, Message, int]
"""A message in a queue: its sequence there, the message, how often it was delivered before."""


class Consumer:
    """Base of all consumers. The queue asks ``capacity`` and hands over entries by ``deliver``.

    What was delivered without ``no_ack`` belongs to the consumer until it gives every entry back exactly once, by
    ``queue.settle``, ``queue.requeue`` or ``queue.reject``.
    """

    __slots__ = ("arguments", "committed_only", "exclusive", "no_ack", "priority", "queue", "tag")

    def __init__(
        self,
        tag: str,
        queue: "Queue",
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        priority: int = 0,
        committed_only: bool = False,
        arguments: dict[str, object] | None = None,
    ) -> None:
        self.tag = tag
        self.queue = queue
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.priority = priority
        #: Deliver only what is on disk: its sequence then means the same message after a crash.
        self.committed_only = committed_only
        self.arguments: dict[str, object] = arguments or {}

    @property
    def shares_room(self) -> bool:
        """Whether what it takes may be taken from the capacity of other consumers."""
        return False

    def capacity(self) -> int:
        """How many entries the consumer takes now; 0 while its prefetch is used up or its peer does not read."""
        raise NotImplementedError

    def deliver(self, entries: list[Entry]) -> None:
        """Take entries, at most ``capacity()``, in the queue's order. With ``no_ack`` they are settled already."""
        raise NotImplementedError

    def cancelled(self) -> None:
        """The queue is gone: the consumer has been removed and its client should be told."""
        raise NotImplementedError
