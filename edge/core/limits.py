"""How long a queue may grow, what happens to what does not fit (RabbitMQ, "Queue Length Limit"), and for how long.

Only a queue that has a limit has one of these, and only it pays for one.
"""

from typing import TYPE_CHECKING, Final, final

import msgspec

from edge.core.message import Message
from edge.core.names import QUORUM
from edge.core.policy import least, setting

if TYPE_CHECKING:
    from edge.core.queue import Queue
    from edge.core.queue_base import QueueBase

DROP_HEAD: Final = "drop-head"
REJECT_PUBLISH: Final = "reject-publish"
REJECT_PUBLISH_DLX: Final = "reject-publish-dlx"
OVERFLOWS: Final = (DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX)

EXPIRED: Final = "expired"
MAXLEN: Final = "maxlen"
"""Why a message was dropped from the head, or dead-lettered on its way in: RabbitMQ's word in x-death."""
REFUSED: Final = "reject-publish"
"""Why a message never got into the queue."""

NO_LIMIT: Final = 1 << 62


@final
class Limits:
    """The bounds of one queue's ready messages, by number and by bytes of their bodies, and its overflow behaviour."""

    __slots__ = ("_is_trimming", "max_bytes", "max_messages", "overflow", "refused")

    def __init__(self, max_messages: int, max_bytes: int, overflow: str) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.overflow = overflow
        #: Messages of the last run that were not let in.
        self.refused: list[Message] = []
        self._is_trimming = False

    def enqueue(self, queue: "Queue", messages: list[Message]) -> bool:
        """Append what fits, or all and drop from the head; return whether something waits for a commit."""
        refused: list[Message] = []
        if self._fitting(queue, messages, 0) == len(messages):
            durable = queue.append(messages)
        elif queue.has_ttl_of_0() or any([ends_at_once(message) for message in messages]):
            # One that ends at once does so before the next one comes, and needs no room then.
            durable = False
            for message in messages:
                durable = self._append(queue, [message], refused) or durable
                queue.dispatch()
        else:
            durable = self._append(queue, messages, refused)
        # Only now: what was dead-lettered meanwhile may have come back to this queue.
        self.refused = refused
        return durable

    def _append(self, queue: "Queue", messages: list[Message], refused: list[Message]) -> bool:
        if self.overflow != DROP_HEAD:
            return self._append_what_fits(queue, messages, refused)
        durable = queue.append(messages)
        if self._is_over(queue):
            # What consumers take at once needs no room; and what is too much goes before what has expired
            # (``rabbit_amqqueue_process:deliver_or_enqueue``).
            queue.run(queue.expiry_ms())
            self.trim(queue, by_arrivals=queue.has_expiring)
            queue.dispatch()
        return durable

    def trim(self, queue: "Queue", *, by_arrivals: bool = False) -> None:
        """Drop ready messages from the head until the rest fits; what is on disk only is dropped when it is read.

        ``by_arrivals`` when messages have come one by one: whatever one's coming brings to the head expires before the
        next one drives it out.
        """
        if self.overflow != DROP_HEAD or self._is_trimming:
            # Its own dead letters may come back to the queue: they wait for the next round of this loop.
            return
        self._is_trimming = True
        try:
            while queue.ready and self._is_over(queue):
                count = self._surplus(queue)
                if by_arrivals:
                    count = queue.living(count, queue.expiry_ms(), start=1)
                count = queue.host.may_dead_letter(queue, queue.ready, count)
                if not count:
                    return
                queue.drop_head(count, MAXLEN)
                if by_arrivals:
                    queue.expire(queue.expiry_ms())
        finally:
            self._is_trimming = False

    def _is_over(self, queue: "Queue") -> bool:
        return queue.messages_ready > self.max_messages or queue.message_bytes_ready > self.max_bytes

    def _surplus(self, queue: "Queue") -> int:
        """How many entries at the head of the window are too many."""
        count = min(max(0, queue.messages_ready - self.max_messages), len(queue.ready))
        bytes_over = queue.message_bytes_ready - self.max_bytes
        if bytes_over > 0:
            taken = 0
            for sized, entry in enumerate(queue.ready, 1):
                taken += len(entry[1].body)
                if taken >= bytes_over:
                    return max(count, sized)
            return len(queue.ready)
        return count

    def _append_what_fits(self, queue: "Queue", messages: list[Message], refused: list[Message]) -> bool:
        durable = False
        start = 0
        may_deliver = bool(queue.consumers)
        while start < len(messages):
            end = self._fitting(queue, messages, start)
            if end > start:
                durable = queue.append(messages[start:end]) or durable
                start = end
                continue
            if may_deliver:
                before = queue.messages_ready
                queue.dispatch()
                may_deliver = queue.messages_ready < before
                continue
            # A smaller one behind it may still fit, unless it is their number that is too high.
            end = len(messages) if queue.messages_ready >= self.max_messages else start + 1
            refused += messages[start:end]
            self._refuse(queue, messages[start:end])
            start = end
        return durable

    def _fitting(self, queue: "Queue", messages: list[Message], start: int) -> int:
        """Where the run from ``start`` on stops fitting."""
        end = min(len(messages), start + max(0, self.max_messages - queue.messages_ready))
        room = self.max_bytes - queue.message_bytes_ready
        if self.max_bytes == NO_LIMIT:
            return end
        for i in range(start, end):
            room -= len(messages[i].body)
            if room < 0:
                return i
        return end

    def _refuse(self, queue: "Queue", messages: list[Message]) -> None:
        queue.count_dropped(REFUSED, len(messages))
        if self.overflow == REJECT_PUBLISH_DLX:
            queue.host.dead_letter(queue, [(-1, message, 0) for message in messages], MAXLEN)


def ends_at_once(message: Message) -> bool:
    """Whether it was published with an expiration of 0: it lives as long as it takes to hand it over."""
    return 0 < message.expires_at_ms <= message.published_at_ms + 1


def with_ttl(messages: list[Message], now_ms: int, ttl_ms: int) -> list[Message]:
    """The messages as a queue with a TTL holds them: other queues may hold them longer (RabbitMQ, "Time-To-Live").

    One of 0 ms lives as long as it takes to hand it to a consumer that is waiting.
    """
    at_ms = now_ms + (ttl_ms or 1)
    return [
        message
        if 0 < message.expires_at_ms <= at_ms
        else msgspec.structs.replace(message, expires_at_ms=at_ms)
        for message in messages
    ]


def limits_of(queue: "QueueBase") -> Limits | None:
    """What arguments and policy together say: the smaller limit, the argument's overflow; None without a limit."""
    max_messages = least(queue, "max-length")
    max_bytes = least(queue, "max-length-bytes")
    if max_messages is None and max_bytes is None:
        return None
    overflow = setting(queue, "overflow")
    if queue.type == QUORUM:
        # There the policy goes before the argument (RabbitMQ, ``rabbit_quorum_queue``).
        overflow = queue.policy.get("overflow", overflow)
    return Limits(
        NO_LIMIT if max_messages is None else max_messages,
        NO_LIMIT if max_bytes is None else max_bytes,
        overflow if isinstance(overflow, str) and overflow in OVERFLOWS else DROP_HEAD,
    )
