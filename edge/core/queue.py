"""A queue: a window of entries in RAM, the rest on disk, consumers in round-robin.

Sequences number a queue's messages from 0 without holes. RAM holds the front of the queue (``ready``) and what the
store has not committed yet; a queue that outgrows its window *pages*: new entries stay in RAM only until their
commit, and the front is read back when it runs short. So RAM does not grow with the backlog.

    settled.low        ready[0]      page_sequence        taken_sequence      next_sequence
    | settled, unacked | ready (RAM) | on disk only ...   | fresh: not yet with the store |

Everything here runs to completion without awaiting; what needs the store or the event loop is asked of the host.
"""

from collections import deque
from collections.abc import Iterable
from heapq import merge
from itertools import islice, repeat
from typing import Final

from edge.core.consumer import Consumer, Entry
from edge.core.durability import durability_of
from edge.core.errors import AccessRefused
from edge.core.limits import EXPIRED, ends_at_once, limits_of, with_ttl
from edge.core.message import Message
from edge.core.policy import least
from edge.core.queue_base import QueueBase
from edge.core.queue_state import QueueState, RecoveredState
from edge.core.settled import Settled

WINDOW_MESSAGES: Final = 4096
"""Ready entries a queue keeps in RAM: two reads of a 64 KiB socket buffer of 100-byte messages, ten times the usual
prefetch, about 2 MB."""
WINDOW_BYTES: Final = 4 * 1024 * 1024
"""Bytes of ready bodies and properties that a queue keeps in RAM, whichever bound is met first."""
ENTRY_BYTES: Final = 300
"""What an entry takes in RAM beside its body: message, tuple and the objects' headers, measured."""
PAGE_IN_BELOW: Final = WINDOW_MESSAGES // 2
"""The next page is asked for when fewer are ready, so that reading overlaps with delivery."""
PAGE_IN_BELOW_BYTES: Final = WINDOW_BYTES // 2
NOT_NOW_MS: Final = 1
"""A TTL of 0 is given so long to meet a consumer that is waiting; it is over for whoever comes later, and a longer one
so much earlier."""


class Queue(QueueBase):
    """First in, first out, at least once; a requeued message goes back to its place (RabbitMQ, "Message ordering")."""

    def parts(self) -> Iterable["Queue"]:
        """What the store knows as queues: itself, and the lanes of one with priorities."""
        return (self,)

    def head(self) -> "Queue":
        """The part that the next message comes from."""
        return self

    # -- in --------------------------------------------------------------------------------------------------------

    def enqueue(self, messages: list[Message], publisher: object = None) -> bool:
        """Take messages; return whether they wait for a commit (``publisher`` is for subclasses: MQTT's no-local)."""
        return self.append(messages) if self.limits is None else self.limits.enqueue(self, messages)

    def append(self, messages: list[Message]) -> bool:
        """Append messages, whatever the limits."""
        if self.ttl_ms is not None:
            messages = with_ttl(messages, self.host.elapsed_ms(), self.ttl_ms)
        count = len(messages)
        first = self.next_sequence
        self.next_sequence = first + count
        entries = list(zip(range(first, first + count), messages, repeat(0)))
        size = sum([len(message.body) for message in messages])
        held = size + sum([len(message.properties) for message in messages])
        self.messages_ready += count
        self.message_bytes_ready += size
        if not self.has_expiring:
            self.has_expiring = any([message.expires_at_ms for message in messages])
        if self.is_paging:
            self.fresh += entries
            self.host.schedule_commit(self, held + count * ENTRY_BYTES)
        else:
            self.ready.extend(entries)
            self.window_bytes += held
            if self.durable:
                self.fresh += entries
                self.host.schedule_commit(self, held + count * ENTRY_BYTES)
            if len(self.ready) > WINDOW_MESSAGES or self.window_bytes > WINDOW_BYTES:
                self.start_paging()
        if self.has_expiring:
            self._hand_out_at_once(messages)
        if self._dispatcher.consumers or self.has_expiring:
            self.host.schedule_dispatch(self)
        return self.is_promised

    def _hand_out_at_once(self, messages: list[Message]) -> None:
        """Some live as long as it takes to hand them over (a TTL of 0): the next turn of the loop is too late."""
        all_end = self.has_ttl_of_0()
        ends_ms = [message.expires_at_ms for message in messages if all_end or ends_at_once(message)]
        if ends_ms:
            # However long it took to come here.
            self.run(min(ends_ms) - 1)

    def has_ttl_of_0(self) -> bool:
        """Whether what comes lives only as long as it takes to hand it over."""
        return self.ttl_ms == 0

    def run(self, now_ms: int) -> None:
        """Hand out what consumers have room for and what has not expired by ``now_ms``."""
        if not self.is_held:
            self._dispatcher.run(self, now_ms)

    def start_paging(self) -> None:
        """Keep no more in RAM than there is: what comes goes to the disk, and is read back in its turn."""
        if not self.is_paging:
            self.is_paging = True
            self.is_spilled = not self.durable
            self.page_sequence = self.next_sequence

    def needs_disk_for(self, message: Message) -> bool:
        """Whether a message that is published now would go to the disk."""
        return self.durable or self.is_paging

    # -- out -------------------------------------------------------------------------------------------------------

    def add_consumer(self, consumer: Consumer) -> None:
        """Raises AccessRefused when the queue has an exclusive consumer, or when one is asked for and others exist."""
        if self.heeds_exclusive and self._dispatcher.refuses(consumer):
            raise AccessRefused(f"queue '{self.name}' in vhost '{self.vhost}' in exclusive use")
        self._dispatcher.add(consumer)
        self.host.schedule_dispatch(self)

    def remove_consumer(self, consumer: Consumer) -> None:
        """What the consumer holds unsettled stays its own: requeue it, or let it settle."""
        self._dispatcher.remove(consumer)
        self.touch()
        # Another one may take over.
        self.wake()

    def touch(self) -> None:
        """The queue is in use: it expires that much later."""
        if self.expires_ms is not None and not self.deleted:
            self.used_at_ms = self.host.elapsed_ms()
            if not self._dispatcher.consumers:
                self.host.schedule_unused(self, self.used_at_ms + self.expires_ms)

    def wake(self) -> None:
        """A consumer has room again."""
        if self.messages_ready:
            self.host.schedule_dispatch(self)

    def dispatch(self) -> None:
        """Hand ready entries to consumers with capacity, until one of both runs out."""
        if self.deleted:
            return
        now_ms = self.expiry_ms() if self.has_expiring else 0
        self.expire(now_ms)
        self.run(now_ms)
        if self.limits is not None:
            self.limits.trim(self)
        self.page_ahead()
        if self.has_expiring and self.ready and self.ready[0][1].expires_at_ms and not self.is_held:
            self.host.schedule_expiry(self, self.ready[0][1].expires_at_ms)

    def page_ahead(self) -> None:
        """Ask for the next page when the window runs short; by bytes too, or large messages would fill the RAM."""
        if self.is_paging and len(self.ready) < PAGE_IN_BELOW and self.window_bytes < PAGE_IN_BELOW_BYTES:
            self.host.schedule_page_in(self)

    def hand_over(self, consumer: Consumer, entries: list[Entry]) -> None:
        """Count entries, just taken from ``ready``, as delivered and give them to the consumer."""
        count = len(entries)
        size = sum([len(entry[1].body) for entry in entries])
        self.messages_ready -= count
        self.message_bytes_ready -= size
        self.window_bytes -= size + sum([len(entry[1].properties) for entry in entries])
        self.messages_unacknowledged += count
        self.message_bytes_unacknowledged += size
        self.delivered_sequence = max(self.delivered_sequence, entries[-1][0] + 1)
        if consumer.no_ack:
            self.settle(entries)
        consumer.deliver(entries)

    def pop(self, no_ack: bool) -> Entry | None:
        """Take one entry for basic.get; None when nothing is ready, or while the head is still on disk."""
        self.touch()
        if self.has_expiring:
            self.expire(self.expiry_ms())
        if self.is_held:
            return None
        if not self.ready and self.is_paging:
            # What comes is perhaps still in RAM, and then it is there at once.
            self.host.schedule_page_in(self)
        if not self.ready:
            return None
        entry = self.ready.popleft()
        size = len(entry[1].body)
        self.messages_ready -= 1
        self.message_bytes_ready -= size
        self.window_bytes -= size + len(entry[1].properties)
        self.messages_unacknowledged += 1
        self.message_bytes_unacknowledged += size
        self.delivered_sequence = max(self.delivered_sequence, entry[0] + 1)
        if no_ack:
            self.settle([entry])
        # What comes to the head expires before the rest is counted (``rabbit_amqqueue_process:fetch``).
        if self.has_expiring:
            self.expire(self.expiry_ms())
        self.page_ahead()
        return entry

    # -- settling --------------------------------------------------------------------------------------------------

    def settle(self, entries: list[Entry]) -> None:
        """Acknowledge delivered entries."""
        self.messages_unacknowledged -= len(entries)
        self.message_bytes_unacknowledged -= sum([len(entry[1].body) for entry in entries])
        self._forget(entries)

    def requeue(self, entries: list[Entry]) -> None:
        """Put delivered entries back to their places, marked as redelivered."""
        count = len(entries)
        if not count:
            return
        self.messages_unacknowledged -= count
        self.messages_ready += count
        back = sorted([(sequence, message, times + 1) for sequence, message, times in entries])
        size = sum([len(entry[1].body) for entry in back])
        self.message_bytes_unacknowledged -= size
        self.message_bytes_ready += size
        self.window_bytes += size + sum([len(entry[1].properties) for entry in back])
        ready = self.ready
        if not ready or back[-1][0] < ready[0][0]:
            ready.extendleft(reversed(back))
        else:
            self.ready = deque(merge(ready, back))
        self.came_back()
        self.host.schedule_dispatch(self)

    def came_back(self) -> None:
        """Messages were requeued: what is too much goes before any is delivered (RabbitMQ, ``requeue_and_run``)."""
        if self.limits is not None:
            self.limits.trim(self)

    def reject(self, entries: list[Entry]) -> None:
        """Refuse delivered entries for good: to the dead-letter exchange, or nowhere."""
        self.settle(entries)
        self.bury(entries, "rejected")

    def bury(self, entries: list[Entry], reason: str) -> None:
        """Dead-letter entries that are settled."""
        self.host.dead_letter(self, entries, reason)

    def purge(self) -> int:
        """Drop all ready messages; return how many there were."""
        count = self.messages_ready
        if self.ready:
            self._forget(list(self.ready))
            self.ready.clear()
            self.window_bytes = 0
        if self.is_paging:
            # Between the window and the end all is ready: delivered entries come from the window.
            self.settled.add(self.page_sequence, self.next_sequence)
            self.is_paging = False
            self._note_settled()
        self.messages_ready = self.message_bytes_ready = 0
        return count

    def _forget(self, entries: list[Entry]) -> None:
        sequences = [entry[0] for entry in entries]
        if len(sequences) > 1:
            sequences.sort()
        if sequences:
            self.settled.add_sorted(sequences)
            self._note_settled()

    def _note_settled(self) -> None:
        if not self.settled_changed and (self.durable or self.is_spilled):
            self.settled_changed = True
            self.host.schedule_commit(self)

    def expiry_ms(self) -> int:
        """What ends at this elapsed time is over for whoever has not been waiting."""
        return self.host.elapsed_ms() + NOT_NOW_MS

    def expire(self, now_ms: int) -> None:
        """Drop what has expired at the head by ``now_ms``."""
        if not self.has_expiring:
            return
        count = 0
        for entry in self.ready:
            if not 0 < entry[1].expires_at_ms <= now_ms:
                break
            count += 1
        if not count:
            return
        if not self.is_held:
            admitted = self.host.may_dead_letter(self, self.ready, count)
            self.is_held = admitted < count
            if admitted:
                self.drop_head(admitted, EXPIRED)

    def living(self, count: int, now_ms: int, *, start: int = 0) -> int:
        """How many of the first ``count`` ready entries stand before the first, from ``start`` on, that has expired."""
        for living, entry in enumerate(islice(self.ready, start, count), start):
            if 0 < entry[1].expires_at_ms <= now_ms:
                return living
        return count

    def drop_head(self, count: int, reason: str) -> None:
        """Take ``count`` entries from the window for good: to the dead-letter exchange, or nowhere."""
        popleft = self.ready.popleft
        entries = [popleft() for _ in range(count)]
        size = sum([len(entry[1].body) for entry in entries])
        self.messages_ready -= count
        self.message_bytes_ready -= size
        self.window_bytes -= size + sum([len(entry[1].properties) for entry in entries])
        self._forget(entries)
        self.bury(entries, reason)

    def count_dropped(self, reason: str, count: int) -> None:
        """Count messages that are lost for a reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def apply_policy(self, definition: dict[str, object]) -> None:
        """Go by other policies."""
        before, self.policy = self.policy, definition
        self.durability = durability_of(self)
        if definition != before:
            self.limits = limits_of(self)
            self.ttl_ms, self.expires_ms = least(self, "message-ttl"), least(self, "expires")
            self.touch()
            if self.messages and (self.limits is not None or "dead-letter-exchange" in definition):
                # There may be too many of them now, or somebody waits for them to expire.
                self.host.schedule_dispatch(self)

    # -- store -----------------------------------------------------------------------------------------------------

    def take(self) -> QueueState:
        """Give the store what it has to write; what was settled meanwhile is left out and never written."""
        entries = self.fresh
        self.fresh = []
        if entries and (entries[0][0] < self.settled.low or self.settled.starts):
            settled = self.settled
            entries = [entry for entry in entries if entry[0] not in settled]
        self.in_commit = entries
        ranges = self.settled.ranges() if self.settled_changed else None
        state = QueueState(self, entries, ranges)
        self.settled_changed = self.settles_with_others = False
        return state

    def committed(self, state: QueueState) -> None:
        """The store has written ``state``."""
        self.in_commit = []
        self.committed_sequence = state.next_sequence
        if self.is_paging or self._dispatcher.has_committed_only:
            self.host.schedule_dispatch(self)

    def note_delivered(self) -> None:
        """Let the next commit say how far was delivered, though nothing was settled: the node stops cleanly."""
        if self.durable and self.messages and self.delivered_sequence > self.settled.low:
            self._note_settled()

    def paged_in(self, entries: list[Entry], first_sequence: int, end_sequence: int) -> None:
        """Take what was read from ``first_sequence`` up to ``end_sequence``, ascending."""
        if not self.is_paging or self.deleted or first_sequence != self.page_sequence:
            # Purged while the page was read.
            return
        self.page_sequence = end_sequence
        wanted = self.settled.unsettled(first_sequence, end_sequence)
        if self._extend_window(entries) < sum([end - start for start, end in wanted]):
            self._note_lost(wanted, entries)
        if self.page_sequence >= self.committed_sequence:
            self._leave_paging()

    def _note_lost(self, wanted: list[tuple[int, int]], entries: list[Entry]) -> None:
        """Of what was wanted some is not on the disk any more: a bad card. The rest flows on."""
        found = Settled()
        if entries:
            found.add_sorted([entry[0] for entry in entries])
        lost = [part for start, end in wanted for part in found.unsettled(start, end)]
        count = sum([end - start for start, end in lost])
        # Their bytes are not known; what is counted anew when the queue leaves paging is.
        self.message_bytes_ready -= self.message_bytes_ready * count // max(self.messages_ready, count)
        self.messages_ready -= min(count, self.messages_ready)
        for start, end in lost:
            self.settled.add(start, end)
        self._note_settled()
        self.host.messages_lost(self, lost)

    def _leave_paging(self) -> None:
        """All that is not in the window is still in RAM, on its way to the disk: no need to read it back."""
        first = self.page_sequence
        self._extend_window([entry for entry in self.in_commit + self.fresh if entry[0] >= first])
        self.is_paging = False
        # Counted, not believed: what the store said at the start may have been wrong.
        self.messages_ready = len(self.ready)
        self.message_bytes_ready = sum([len(entry[1].body) for entry in self.ready])

    def needs_disk(self) -> bool:
        """Whether the next page must be read; when it is all in RAM, the queue leaves paging at once."""
        if self.is_paging and self.page_sequence >= self.committed_sequence:
            self._leave_paging()
            self.host.schedule_dispatch(self)
        return self.is_paging

    def _extend_window(self, entries: list[Entry]) -> int:
        settled = self.settled
        below = self.redelivered_below
        fit = entries
        if fit and (settled.starts or fit[0][0] < settled.low):
            fit = [entry for entry in fit if entry[0] not in settled]
        if fit and fit[0][0] < below:
            fit = [entry if entry[0] >= below else (entry[0], entry[1], 1) for entry in fit]
        self.ready.extend(fit)
        self.window_bytes += sum([len(entry[1].body) + len(entry[1].properties) for entry in fit])
        self.has_expiring = self.has_expiring or any([entry[1].expires_at_ms for entry in fit])
        return len(fit)

    def recover(self, state: RecoveredState) -> None:
        """Take over what the store holds, at start; the front is read when somebody asks for it."""
        self.next_sequence = self.committed_sequence = state.next_sequence
        self.settled = Settled(state.settled_low, state.settled_ranges)
        self.messages_ready = state.messages
        self.message_bytes_ready = state.message_bytes
        self.is_paging = state.messages > 0
        self.page_sequence = state.settled_low
        self.redelivered_below = self.delivered_sequence = state.delivered_sequence
        if state.is_changed:
            self._note_settled()
