"""Length limits and overflow (RabbitMQ, "Queue Length Limit" and "Policies")."""

import random

import pytest

from edge.core import queue as queue_module
from edge.core.limits import OVERFLOWS, limits_of
from edge.core.queue import Queue
from tests.helpers.brokers import FakeHost, Taker, message, numbered


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def limited(host: FakeHost, overflow: str = "drop-head", **arguments: object) -> Queue:
    names = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    return Queue(host, "/", "q", 1, arguments={"x-overflow": overflow, **names})


def ready(queue: Queue) -> list[int]:
    return [int(entry[1].body) for entry in queue.ready]


def reasons(host: FakeHost) -> list[tuple[bytes, str]]:
    """Each dead message's body, and why."""
    return [(entry[1].body, reason) for entries, reason in host.dead for entry in entries]


def test_a_queue_without_a_limit_has_none(host: FakeHost) -> None:
    assert Queue(host, "/", "q", 1, arguments={"x-overflow": "reject-publish"}).limits is None


class TestWhatIsInForce:
    def test_the_smaller_of_argument_and_policy_limits(self, host: FakeHost) -> None:
        queue = limited(host, max_length=5, max_length_bytes=10)
        queue.apply_policy({"max-length": 3, "max-length-bytes": 20})
        limits = limits_of(queue)
        assert limits is not None
        assert (limits.max_messages, limits.max_bytes) == (3, 10)

    def test_the_arguments_overflow_goes_before_the_policys(self, host: FakeHost) -> None:
        queue = limited(host, "reject-publish", max_length=1)
        queue.apply_policy({"overflow": "drop-head"})
        assert queue.limits is not None
        assert queue.limits.overflow == "reject-publish"
        other = Queue(host, "/", "q", 1, arguments={"x-max-length": 1})
        other.apply_policy({"overflow": "reject-publish-dlx"})
        assert other.limits is not None
        assert other.limits.overflow == "reject-publish-dlx"

    def test_a_policy_that_comes_later_drops_what_is_too_much(self, host: FakeHost) -> None:
        queue = Queue(host, "/", "q", 1)
        queue.enqueue(numbered(10))
        queue.apply_policy({"max-length": 4})
        queue.dispatch()
        assert ready(queue) == [6, 7, 8, 9]
        queue.apply_policy({})
        assert queue.limits is None


class TestDropHead:
    def test_the_oldest_go_and_the_newest_stay(self, host: FakeHost) -> None:
        queue = limited(host, max_length=3)
        assert queue.enqueue(numbered(10)) is True
        assert ready(queue) == [7, 8, 9]
        assert (queue.messages_ready, queue.message_bytes_ready) == (3, 24)
        assert [(len(entries), reason) for entries, reason in host.dead] == [(7, "maxlen")]

    def test_bytes_limit_as_well(self, host: FakeHost) -> None:
        queue = limited(host, max_length_bytes=25)
        queue.enqueue(numbered(5, size=10))
        assert ready(queue) == [3, 4]
        queue.enqueue([message(body=b"%030d" % 5)])
        assert ready(queue) == []

    def test_what_consumers_take_at_once_needs_no_room(self, host: FakeHost) -> None:
        queue = limited(host, max_length=0)
        taker = Taker(queue, prefetch=4)
        queue.add_consumer(taker)
        queue.enqueue(numbered(6))
        assert taker.bodies == [b"%08d" % i for i in range(4)]
        assert (queue.messages_ready, queue.messages_unacknowledged) == (0, 4)

    def test_unacknowledged_messages_do_not_count_and_requeued_ones_do(self, host: FakeHost) -> None:
        queue = limited(host, max_length=2)
        taker = Taker(queue, prefetch=3)
        queue.add_consumer(taker)
        queue.enqueue(numbered(3))
        queue.enqueue(numbered(2, 3))
        assert (queue.messages_ready, queue.messages_unacknowledged) == (2, 3)
        queue.remove_consumer(taker)
        taker.requeue()
        queue.dispatch()
        assert ready(queue) == [3, 4]

    def test_what_is_dropped_before_its_commit_is_never_written(self, host: FakeHost) -> None:
        queue = limited(host, max_length=2)
        queue.enqueue(numbered(100))
        assert host.commit(queue) == [98, 99]

    def test_a_paging_queue_drops_what_is_only_on_the_disk_once_it_is_read(
        self, host: FakeHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
        monkeypatch.setattr(queue_module, "PAGE_IN_BELOW", 5)
        queue = limited(host, max_length=40)
        for start in range(0, 100, 10):
            queue.enqueue(numbered(10, start))
            host.commit(queue)
        while queue.is_paging and queue.messages_ready > 40:
            host.page_in(queue)
            queue.dispatch()
        dropped = [int(entry[1].body) for entries, _ in host.dead for entry in entries]
        assert dropped == list(range(60))
        assert (queue.messages_ready, queue.settled.low) == (40, 60)

    def test_two_full_queues_that_dead_letter_to_each_other_do_not_recurse(self) -> None:
        class Pair(FakeHost):
            def dead_letter(self, queue: Queue, entries: list[object], reason: str) -> None:  # type: ignore[override]
                self.hops += 1
                if self.hops < 5_000:
                    (b if queue is a else a).enqueue(numbered(1))

            hops = 0

        host = Pair()
        a, b = limited(host, max_length=1), limited(host, max_length=1)
        a.enqueue(numbered(1))
        b.enqueue(numbered(1))
        a.enqueue(numbered(1))
        assert (a.messages_ready, b.messages_ready) == (1, 1)


class TestExpiring:
    """The order of ``rabbit_amqqueue_process:deliver_or_enqueue``, message by message."""

    def test_what_is_too_much_is_not_called_expired(self, host: FakeHost) -> None:
        queue = limited(host, max_length=0)
        queue.enqueue([message(expires_at_ms=1)])
        assert reasons(host) == [(b"", "maxlen")]

    @pytest.mark.parametrize("overflow", OVERFLOWS)
    def test_what_ends_at_once_makes_room_for_the_next_one(self, host: FakeHost, overflow: str) -> None:
        queue = limited(host, overflow, max_length=1)
        queue.enqueue([*[message(body=b"%d" % i, expires_at_ms=1) for i in range(2)], message(body=b"2")])
        assert reasons(host) == [(b"0", "expired"), (b"1", "expired")]
        assert queue.limits is not None
        assert (ready(queue), queue.limits.refused) == ([2], [])

    def test_what_comes_to_the_head_of_a_full_queue_expires_before_more_is_dropped(
        self, host: FakeHost
    ) -> None:
        queue = limited(host, max_length=3)
        ends_at_ms = host.now_ms + 100
        queue.enqueue([*numbered(1), *[message(body=b"%d" % i, expires_at_ms=ends_at_ms) for i in (1, 2)]])
        host.now_ms = ends_at_ms
        queue.enqueue(numbered(2, 3))
        assert [reason for _, reason in reasons(host)] == ["maxlen", "expired", "expired"]
        assert ready(queue) == [3, 4]


class TestRejectPublish:
    def test_what_fits_is_taken_and_the_rest_is_refused(self, host: FakeHost) -> None:
        queue = limited(host, "reject-publish", max_length=3)
        run = numbered(5)
        assert queue.enqueue(run) is True
        assert queue.limits is not None
        assert queue.limits.refused == run[3:]
        assert ready(queue) == [0, 1, 2]
        assert (queue.dropped, host.dead) == ({"reject-publish": 2}, [])
        assert queue.enqueue(numbered(1)) is False
        queue.pop(no_ack=True)
        assert queue.enqueue(numbered(1)) is True
        assert queue.limits.refused == []

    def test_a_smaller_message_behind_one_too_large_still_fits(self, host: FakeHost) -> None:
        queue = limited(host, "reject-publish", max_length_bytes=10)
        run = [message(body=b"0" * size) for size in (6, 6, 4, 1)]
        queue.enqueue(run)
        assert queue.limits is not None
        assert queue.limits.refused == [run[1], run[3]]

    def test_consumers_make_room_in_the_middle_of_a_run(self, host: FakeHost) -> None:
        queue = limited(host, "reject-publish", max_length=2)
        taker = Taker(queue, prefetch=5)
        queue.add_consumer(taker)
        run = numbered(9)
        queue.enqueue(run)
        assert queue.limits is not None
        assert (len(taker.received), queue.messages_ready, queue.limits.refused) == (5, 2, run[7:])

    def test_what_comes_back_in_the_middle_of_a_run_does_not_hide_that_another_was_refused(self) -> None:
        class Circle(FakeHost):
            def dead_letter(self, queue: Queue, entries: list[object], reason: str) -> None:  # type: ignore[override]
                queue.enqueue([message(body=b"back")])

        queue = limited(Circle(), "reject-publish", max_length_bytes=10)
        run = [message(body=b"too large for it"), message(body=b"0", expires_at_ms=1)]
        queue.enqueue(run)
        assert queue.limits is not None
        assert queue.limits.refused == run[:1]
        assert [entry[1].body for entry in queue.ready] == [b"back"]

    def test_dlx_dead_letters_what_is_refused(self, host: FakeHost) -> None:
        queue = limited(host, "reject-publish-dlx", max_length=1)
        run = numbered(3)
        queue.enqueue(run)
        assert [([entry[1] for entry in entries], reason) for entries, reason in host.dead] == [
            (run[1:], "maxlen")
        ]


@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_no_history_leaves_more_than_the_limit_or_loses_count(
    overflow: str, host: FakeHost, rng: random.Random
) -> None:
    queue = limited(host, overflow, max_length=20, max_length_bytes=400)
    taker = Taker(queue, prefetch=0)
    queue.add_consumer(taker)
    sent = settled = 0
    for _ in range(300):
        taker.prefetch = rng.choice((0, 0, 3, 50))
        run = numbered(rng.randrange(1, 30), sent, size=rng.choice((8, 30, 90)))
        sent += len(run)
        queue.enqueue(run)
        assert queue.messages_ready <= 20
        assert queue.message_bytes_ready <= 400
        if rng.random() < 0.3:
            host.commit(queue)
        if rng.random() < 0.5:
            held = len(taker.held)
            taker.settle(rng.randrange(20))
            settled += held - len(taker.held)
        elif overflow == "drop-head" and rng.random() < 0.2:
            taker.requeue()
            queue.dispatch()
    refused = queue.dropped.get("reject-publish", 0)
    dead = sum([len(entries) for entries, _ in host.dead]) if overflow == "drop-head" else 0
    assert sent == settled + refused + dead + queue.messages
