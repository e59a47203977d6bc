"""One queue with a host that does what it is asked at once."""

from collections.abc import Iterable

import msgspec
import pytest

from edge.core import queue as queue_module
from edge.core.consumer import Entry
from edge.core.errors import AccessRefused
from edge.core.queue import ENTRY_BYTES, WINDOW_BYTES, WINDOW_MESSAGES, Queue
from edge.core.queue_state import RecoveredState
from tests.helpers.brokers import FakeHost, Taker, message, numbered


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def queue(host: FakeHost) -> Queue:
    return Queue(host, "/", "q", 1)


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
    monkeypatch.setattr(queue_module, "PAGE_IN_BELOW", 5)


def bodies(entries: Iterable[Entry]) -> list[int]:
    return [int(entry[1].body) for entry in entries]


def pop_all(queue: Queue) -> list[int]:
    popped = []
    while (entry := queue.pop(no_ack=True)) is not None:
        popped.append(int(entry[1].body))
    return popped


class TestCounts:
    def test_ready_and_unacknowledged_add_up_through_delivery_requeue_and_settling(
        self, queue: Queue
    ) -> None:
        queue.enqueue(numbered(5, size=10))
        assert (queue.messages_ready, queue.messages_unacknowledged, queue.messages) == (5, 0, 5)
        taker = Taker(queue, 3)
        queue.add_consumer(taker)
        queue.dispatch()
        assert (queue.messages_ready, queue.messages_unacknowledged) == (2, 3)
        assert (queue.message_bytes_ready, queue.message_bytes_unacknowledged) == (20, 30)
        taker.requeue(1)
        assert (queue.messages_ready, queue.messages_unacknowledged) == (3, 2)
        assert (queue.message_bytes_ready, queue.message_bytes_unacknowledged) == (30, 20)
        queue.settle(taker.held)
        assert (queue.messages, queue.message_bytes, queue.messages_unacknowledged) == (3, 30, 0)

    def test_the_window_counts_properties_as_well_as_bodies(self, queue: Queue) -> None:
        queue.enqueue([message(body=b"12345", properties=b"1234567")])
        assert (queue.window_bytes, queue.message_bytes) == (12, 5)
        queue.pop(no_ack=True)
        assert (queue.window_bytes, queue.message_bytes) == (0, 0)

    def test_a_purge_while_paging_leaves_exactly_the_bytes_of_what_is_unacknowledged(
        self, queue: Queue, host: FakeHost, small_window: None
    ) -> None:
        queue.enqueue(numbered(30, size=10))
        host.commit(queue)
        queue.enqueue(numbered(30, size=10))
        held = queue.pop(no_ack=False)
        assert held is not None
        assert queue.purge() == 59
        assert (queue.messages, queue.message_bytes, queue.window_bytes) == (1, 10, 0)
        queue.settle([held])
        assert (queue.messages, queue.message_bytes, queue.settled.low) == (0, 0, 60)

    def test_the_host_learns_how_many_bytes_wait_for_the_commit(self, queue: Queue, host: FakeHost) -> None:
        queue.enqueue([message(body=b"12345", properties=b"12")])
        assert host.pending_bytes == 7 + ENTRY_BYTES


class TestOrder:
    def test_requeued_messages_go_back_to_their_places_and_are_marked(self, queue: Queue) -> None:
        queue.enqueue(numbered(6))
        held = [queue.pop(no_ack=False) for _ in range(4)]
        back = [entry for entry in held if entry is not None]
        queue.requeue([back[3], back[1]])
        assert [(int(m.body), times) for _, m, times in queue.ready] == [(1, 1), (3, 1), (4, 0), (5, 0)]
        queue.requeue([back[2], back[0]])
        assert bodies(queue.ready) == list(range(6))
        assert [entry[2] for entry in queue.ready] == [1, 1, 1, 1, 0, 0]

    def test_requeuing_nothing_does_nothing(self, queue: Queue, host: FakeHost) -> None:
        queue.requeue([])
        assert not host.asked

    def test_every_delivery_is_counted(self, queue: Queue) -> None:
        queue.enqueue(numbered(1))
        for times in range(4):
            entry = queue.pop(no_ack=False)
            assert entry is not None
            assert entry[2] == times
            queue.requeue([entry])

    def test_get_from_an_empty_queue_is_none(self, queue: Queue, host: FakeHost) -> None:
        assert queue.pop(no_ack=True) is None
        assert not host.asked


class TestConsumers:
    def test_an_exclusive_consumer_shuts_out_others_and_is_shut_out_by_them(self, queue: Queue) -> None:
        exclusive, shared = Taker(queue, exclusive=True), Taker(queue)
        queue.add_consumer(exclusive)
        with pytest.raises(AccessRefused, match="in exclusive use"):
            queue.add_consumer(shared)
        queue.remove_consumer(exclusive)
        queue.add_consumer(shared)
        with pytest.raises(AccessRefused, match="in exclusive use"):
            queue.add_consumer(exclusive)
        assert (queue.consumer_count, queue.consumers) == (1, [shared])

    def test_a_get_comes_too_late_for_a_message_that_may_not_wait(self, host: FakeHost) -> None:
        """A TTL of 0 is given one millisecond, for a consumer that is there."""
        queue = Queue(host, "/", "q", 1)
        queue.ttl_ms = 0
        queue.enqueue(numbered(1))
        assert queue.pop(no_ack=True) is None
        assert queue.messages == 0

    @pytest.mark.parametrize("of_queue", [True, False], ids=["queue", "message"])
    def test_a_ttl_of_0_reaches_a_consumer_that_waits_however_late_the_loop_is(
        self, queue: Queue, host: FakeHost, of_queue: bool
    ) -> None:
        taker = Taker(queue, no_ack=True)
        queue.add_consumer(taker)
        queue.ttl_ms = 0 if of_queue else None
        expires_at_ms = 0 if of_queue else host.now_ms + 1
        (plain,) = numbered(1)
        queue.enqueue(
            [msgspec.structs.replace(plain, published_at_ms=host.now_ms, expires_at_ms=expires_at_ms)]
        )
        host.now_ms += 1000
        queue.dispatch()
        assert (taker.bodies, queue.messages) == ([plain.body], 0)

    def test_without_acknowledgement_a_delivery_settles(self, queue: Queue) -> None:
        queue.add_consumer(Taker(queue, no_ack=True))
        queue.enqueue(numbered(3))
        queue.dispatch()
        assert (queue.messages, queue.settled.low) == (0, 3)

    def test_a_removed_consumer_still_settles_what_it_holds(self, queue: Queue) -> None:
        taker = Taker(queue)
        queue.add_consumer(taker)
        queue.enqueue(numbered(3))
        queue.dispatch()
        queue.remove_consumer(taker)
        taker.settle(3)
        assert queue.messages == 0

    def test_a_wake_up_is_heeded_only_when_something_is_ready(self, queue: Queue, host: FakeHost) -> None:
        queue.wake()
        assert "dispatch" not in host.asked
        queue.enqueue(numbered(1))
        queue.wake()
        assert host.asked["dispatch"] == 1

    def test_a_deleted_queue_delivers_nothing(self, queue: Queue) -> None:
        taker = Taker(queue)
        queue.add_consumer(taker)
        queue.enqueue(numbered(1))
        queue.deleted = True
        queue.dispatch()
        assert not taker.received

    def test_a_rejected_message_is_settled_and_dead_lettered(self, queue: Queue, host: FakeHost) -> None:
        queue.enqueue(numbered(2))
        entry = queue.pop(no_ack=False)
        assert entry is not None
        queue.reject([entry])
        assert host.dead == [([entry], "rejected")]
        assert (queue.messages, queue.settled.low) == (1, 1)


class TestCommits:
    def test_what_is_settled_before_its_commit_is_never_written(self, queue: Queue, host: FakeHost) -> None:
        queue.enqueue(numbered(10))
        entries = [queue.pop(no_ack=False) for _ in range(10)]
        queue.settle([entry for entry in entries if entry is not None and entry[0] not in (3, 7)])
        assert host.commit(queue) == [3, 7]

    def test_a_message_settled_while_its_commit_runs_is_written_and_settled_by_the_next(
        self, queue: Queue
    ) -> None:
        queue.enqueue(numbered(1))
        state = queue.take()
        assert queue.pop(no_ack=True) is not None
        queue.committed(state)
        after = queue.take()
        assert ([e[0] for e in state.entries], state.settled_ranges) == ([0], None)
        assert (after.entries, after.settled_low, after.settled_ranges, after.messages) == ([], 1, [], 0)

    def test_messages_of_a_transient_queue_are_not_written_while_they_fit_in_ram(
        self, host: FakeHost
    ) -> None:
        queue = Queue(host, "/", "t", 1, durable=False)
        assert queue.enqueue(numbered(5)) is False
        queue.pop(no_ack=True)
        assert not host.asked["commit"]

    def test_a_queue_is_told_to_write_its_progress_once_until_the_next_commit(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue(numbered(3))
        host.commit(queue)
        host.asked.clear()
        pop_all(queue)
        assert host.asked["commit"] == 1

    def test_what_was_delivered_is_noted_at_a_clean_stop_though_nothing_was_settled(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue(numbered(3))
        host.commit(queue)
        entry = queue.pop(no_ack=False)
        assert entry is not None
        queue.requeue([entry])
        queue.note_delivered()
        state = queue.take()
        assert (state.settled_ranges, state.delivered_sequence) == ([], 1)

    def test_at_a_clean_stop_nothing_is_written_of_a_queue_that_never_delivered(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue(numbered(3))
        host.commit(queue)
        queue.note_delivered()
        assert queue.take().settled_ranges is None

    def test_a_consumer_of_committed_messages_gets_them_after_the_commit(
        self, queue: Queue, host: FakeHost
    ) -> None:
        taker = Taker(queue, committed_only=True)
        queue.add_consumer(taker)
        queue.enqueue(numbered(3))
        state = queue.take()
        queue.enqueue(numbered(2, start=3))
        queue.dispatch()
        assert not taker.received
        host.asked.clear()
        queue.committed(state)
        assert host.asked["dispatch"]
        queue.dispatch()
        assert taker.sequences == [0, 1, 2]


class TestPaging:
    @pytest.mark.parametrize("durable", [True, False])
    def test_a_long_queue_comes_back_from_the_disk_whole_and_in_order(
        self, host: FakeHost, durable: bool, small_window: None
    ) -> None:
        queue = Queue(host, "/", "q", 1, durable=durable)
        for start in range(0, 100, 4):
            queue.enqueue(numbered(4, start))
            host.commit(queue)
        assert queue.is_paging
        assert queue.is_spilled is not durable
        got = []
        while queue.messages:
            got += pop_all(queue)
            if queue.is_paging:
                host.page_in(queue)
        assert got == list(range(100))
        host.commit(queue)
        assert queue.settled.low == 100

    def test_what_still_waits_for_its_commit_is_not_read_back_from_the_disk(
        self, queue: Queue, host: FakeHost, small_window: None
    ) -> None:
        queue.enqueue(numbered(11))
        host.commit(queue)
        queue.enqueue(numbered(5, 11))
        state = queue.take()
        queue.enqueue(numbered(5, 16))
        assert pop_all(queue) == list(range(21))
        assert not queue.is_paging
        assert not host.asked["page_in"]
        queue.committed(state)

    def test_a_page_read_before_a_purge_is_dropped(
        self, queue: Queue, host: FakeHost, small_window: None
    ) -> None:
        queue.enqueue(numbered(30))
        host.commit(queue)
        queue.enqueue(numbered(10, 30))
        host.commit(queue)
        first, end = queue.page_sequence, queue.committed_sequence
        page = [(i, host.disk[i], 0) for i in range(first, end)]
        queue.purge()
        queue.paged_in(page, first, end)
        assert not queue.ready
        queue.enqueue(numbered(11, 40))
        queue.enqueue(numbered(11, 51))
        assert queue.is_paging
        queue.paged_in(page, first, end)
        assert pop_all(queue) == list(range(40, 62))

    def test_what_was_settled_while_a_page_was_read_does_not_come_back(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.recover(RecoveredState(4, 0, [(1, 2)], 3, 24, 4))
        host.disk = dict(enumerate(numbered(4)))
        host.page_in(queue)
        assert bodies(queue.ready) == [0, 2, 3]
        assert [entry[2] for entry in queue.ready] == [1, 1, 1]

    def test_the_window_stays_within_its_bytes_however_large_the_messages(
        self, queue: Queue, host: FakeHost
    ) -> None:
        size = WINDOW_BYTES // 4
        for i in range(100):
            queue.enqueue(numbered(1, i, size=size))
            host.commit(queue)
        assert queue.window_bytes <= WINDOW_BYTES + size + 2
        queue.dispatch()
        pop_all_count = 0
        while queue.messages:
            assert queue.pop(no_ack=True) is not None
            pop_all_count += 1
            host.asked.clear()
            queue.dispatch()
            if host.asked["page_in"]:
                host.page_in(queue, 2)
            assert queue.window_bytes <= WINDOW_BYTES + size + 2
        assert pop_all_count == 100

    def test_large_properties_count_for_the_window(self, queue: Queue) -> None:
        properties = bytes(WINDOW_BYTES // 2)
        queue.enqueue([message(properties=properties) for _ in range(3)])
        assert queue.is_paging

    def test_a_backlog_takes_no_more_ram_than_the_window(self, queue: Queue, host: FakeHost) -> None:
        for start in range(0, 20_000, 500):
            queue.enqueue(numbered(500, start))
            host.commit(queue)
        assert len(queue.ready) <= WINDOW_MESSAGES + 500
        assert not queue.fresh
        assert not queue.in_commit

    def test_a_dispatch_with_a_short_window_asks_for_the_next_page(
        self, queue: Queue, host: FakeHost, small_window: None
    ) -> None:
        queue.recover(RecoveredState(20, 0, [], 20, 160, 20))
        queue.dispatch()
        assert host.asked["page_in"] == 1
        host.disk = dict(enumerate(numbered(20)))
        host.page_in(queue, 7)
        host.asked.clear()
        queue.dispatch()
        assert not host.asked["page_in"]

    def test_a_page_for_a_deleted_queue_is_dropped(self, queue: Queue, host: FakeHost) -> None:
        queue.recover(RecoveredState(4, 0, [], 4, 32, 4))
        host.disk = dict(enumerate(numbered(4)))
        queue.deleted = True
        host.page_in(queue)
        assert not queue.ready

    def test_a_transient_queue_that_spilled_settles_on_disk_too(
        self, host: FakeHost, small_window: None
    ) -> None:
        queue = Queue(host, "/", "t", 1, durable=False)
        queue.enqueue(numbered(11))
        queue.enqueue(numbered(1, 11))
        assert host.commit(queue) == [11]
        queue.purge()
        state = queue.take()
        assert (state.settled_low, state.settled_ranges) == (12, [])


class TestExpiry:
    def test_expired_messages_at_the_head_are_dead_lettered_and_those_behind_wait(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue(
            [
                message(body=b"1", expires_at_ms=1_500),
                message(body=b"2", expires_at_ms=2_000),
                message(body=b"3"),
                message(body=b"4", expires_at_ms=1_500),
            ]
        )
        host.now_ms = 1_998
        queue.dispatch()
        assert [(bodies(dead), reason) for dead, reason in host.dead] == [([1], "expired")]
        assert host.expiry_ms == 2_000
        host.now_ms = 2_000
        queue.dispatch()
        assert bodies(queue.ready) == [3, 4]
        assert (queue.messages_ready, queue.message_bytes, queue.settled.low) == (2, 2, 2)

    @pytest.mark.parametrize("takers", [1, 2])
    def test_what_has_expired_behind_others_is_not_delivered_with_them(
        self, queue: Queue, host: FakeHost, takers: int
    ) -> None:
        """``rabbit_amqqueue_process:drop_expired_msgs`` after each fetch."""
        ends = (0, 1_500, 0, 1_500)
        queue.enqueue([message(body=b"%d" % n, expires_at_ms=end) for n, end in enumerate(ends)])
        host.now_ms = 9_000
        consumers = [Taker(queue) for _ in range(takers)]
        for consumer in consumers:
            queue.add_consumer(consumer)
        queue.dispatch()
        assert sorted([entry[0] for taker in consumers for entry in taker.received]) == [0, 2]
        assert [(bodies(dead), reason) for dead, reason in host.dead] == [([1], "expired"), ([3], "expired")]
        assert not queue.messages_ready

    def test_what_comes_to_the_head_by_a_get_expires_before_the_rest_is_counted(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue([message(body=b"1"), message(body=b"2", expires_at_ms=1_500)])
        host.now_ms = 9_000
        assert queue.pop(no_ack=True) is not None
        assert not queue.messages_ready

    def test_get_passes_expired_messages_by(self, queue: Queue, host: FakeHost) -> None:
        queue.enqueue([message(body=b"1", expires_at_ms=1_500), message(body=b"2")])
        host.now_ms = 9_000
        assert pop_all(queue) == [2]

    def test_an_expiring_message_in_a_queue_without_consumers_is_looked_after(
        self, queue: Queue, host: FakeHost
    ) -> None:
        queue.enqueue([message(body=b"1")])
        assert not host.asked["dispatch"]
        queue.enqueue([message(body=b"2", expires_at_ms=1_500)])
        assert host.asked["dispatch"]

    def test_messages_that_come_from_the_disk_expire_as_well(self, queue: Queue, host: FakeHost) -> None:
        queue.recover(RecoveredState(2, 0, [], 2, 2, 2))
        host.disk = {0: message(body=b"1", expires_at_ms=500), 1: message(body=b"2", expires_at_ms=5_000)}
        host.page_in(queue)
        queue.dispatch()
        assert bodies(queue.ready) == [2]
        assert host.expiry_ms == 5_000
