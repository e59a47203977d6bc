"""Who gets which message."""

import pytest

from edge.core.dispatch import RUN_MAX
from edge.core.errors import AccessRefused
from edge.core.queue import Queue
from tests.helpers.brokers import FakeHost, Taker, numbered


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def queue(host: FakeHost) -> Queue:
    return Queue(host, "/", "q", 1)


def consume(queue: Queue, *takers: Taker) -> None:
    for taker in takers:
        queue.add_consumer(taker)


def deliver(queue: Queue, count: int) -> None:
    queue.enqueue(numbered(count))
    queue.dispatch()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_single_messages_go_to_idle_consumers_in_strict_rotation(queue: Queue, count: int) -> None:
    takers = [Taker(queue) for _ in range(count)]
    consume(queue, *takers)
    order = []
    for _ in range(count * 4):
        before = [len(taker.received) for taker in takers]
        deliver(queue, 1)
        (served,) = [i for i, taker in enumerate(takers) if len(taker.received) > before[i]]
        order.append(served)
    assert order[count:] == order[:-count]
    assert sorted(order[:count]) == list(range(count))


def test_rotation_goes_on_where_a_run_of_any_length_ended(queue: Queue) -> None:
    takers = [Taker(queue), Taker(queue), Taker(queue)]
    consume(queue, *takers)
    for count in (1, 2, 1, 3, 4, 5, 1, 7):
        deliver(queue, count)
    counts = [len(taker.received) for taker in takers]
    assert max(counts) - min(counts) <= 1


def test_the_consumer_that_came_first_is_served_first(queue: Queue) -> None:
    """``rabbit_queue_consumers``: a new consumer goes behind the others, and so does who was served."""
    first, second = Taker(queue), Taker(queue)
    consume(queue, first, second)
    deliver(queue, 3)
    third = Taker(queue)
    consume(queue, third)
    deliver(queue, 5)
    assert (first.sequences, second.sequences, third.sequences) == ([0, 2, 4, 7], [1, 3, 6], [5])


def test_a_consumer_that_had_no_room_at_its_turn_comes_in_last_again(queue: Queue) -> None:
    """``rabbit_queue_consumers:unblock``."""
    small, large = Taker(queue, 1), Taker(queue)
    consume(queue, small, large)
    deliver(queue, 3)
    assert (small.sequences, large.sequences) == ([0], [1, 2])
    small.settle(1)
    deliver(queue, 2)
    assert (small.sequences, large.sequences) == ([0, 4], [1, 2, 3])


def test_a_consumer_that_has_room_again_by_its_turn_keeps_it(queue: Queue) -> None:
    small, large = Taker(queue, 1), Taker(queue)
    consume(queue, small, large)
    deliver(queue, 2)
    small.settle(1)
    deliver(queue, 1)
    assert (small.sequences, large.sequences) == ([0, 2], [1])


def test_a_consumer_that_goes_while_it_has_no_room_is_forgotten(queue: Queue) -> None:
    small, large = Taker(queue, 1), Taker(queue)
    consume(queue, small, large)
    deliver(queue, 3)
    queue.remove_consumer(small)
    consume(queue, Taker(queue, 0))
    deliver(queue, 1)
    assert large.sequences == [1, 2, 3]


def test_a_run_is_dealt_in_turns_and_each_hand_is_one_delivery(queue: Queue) -> None:
    first, second = Taker(queue), Taker(queue)
    consume(queue, first, second)
    deliver(queue, 10)
    assert sorted(first.sequences + second.sequences) == list(range(10))
    assert {tuple(first.sequences), tuple(second.sequences)} == {(0, 2, 4, 6, 8), (1, 3, 5, 7, 9)}


def test_consumers_with_little_room_get_their_share_and_the_others_the_rest(queue: Queue) -> None:
    small, large = Taker(queue, 2), Taker(queue, 100)
    consume(queue, small, large)
    deliver(queue, 50)
    assert (len(small.received), len(large.received)) == (2, 48)
    assert not queue.messages_ready


def test_the_highest_priority_is_served_first_and_the_next_when_it_has_no_room(queue: Queue) -> None:
    low, high, middle = Taker(queue, 5), Taker(queue, 3, priority=9), Taker(queue, 3, priority=4)
    consume(queue, low, high, middle)
    deliver(queue, 8)
    assert (high.sequences, middle.sequences, low.sequences) == ([0, 1, 2], [3, 4, 5], [6, 7])


def test_a_prefetch_of_one_waits_for_the_acknowledgement(queue: Queue) -> None:
    taker = Taker(queue, 1)
    consume(queue, taker)
    deliver(queue, 3)
    assert taker.sequences == [0]
    taker.settle(1)
    queue.dispatch()
    assert taker.sequences == [0, 1]


def test_with_nobody_to_take_them_messages_stay(queue: Queue) -> None:
    consume(queue, Taker(queue, 0), Taker(queue, 0))
    deliver(queue, 3)
    assert queue.messages_ready == 3


def test_long_runs_are_handed_over_in_bounded_pieces(queue: Queue) -> None:
    sizes: list[int] = []

    class Noting(Taker):
        def deliver(self, entries: list[tuple[int, object, int]]) -> None:  # type: ignore[override]
            sizes.append(len(entries))
            super().deliver(entries)  # type: ignore[arg-type]

    consume(queue, Noting(queue))
    deliver(queue, RUN_MAX * 2 + 5)
    assert sizes == [RUN_MAX, RUN_MAX, 5]


def test_uncommitted_messages_pass_a_consumer_of_committed_ones_by(queue: Queue) -> None:
    careful, other = Taker(queue, 100, committed_only=True), Taker(queue, 100)
    consume(queue, careful, other)
    for _ in range(4):
        deliver(queue, 3)
    assert (len(careful.received), len(other.received)) == (0, 12)


def test_a_consumer_of_committed_messages_gets_as_much_of_a_run_as_is_committed(
    queue: Queue, host: FakeHost
) -> None:
    queue.enqueue(numbered(4))
    host.commit(queue)
    queue.enqueue(numbered(4, 4))
    taker = Taker(queue, committed_only=True)
    consume(queue, taker)
    queue.dispatch()
    assert taker.sequences == [0, 1, 2, 3]
    host.commit(queue)
    queue.dispatch()
    assert taker.sequences == list(range(8))


def test_messages_of_a_transient_queue_are_never_waited_for(host: FakeHost) -> None:
    queue = Queue(host, "/", "t", 1, durable=False)
    taker = Taker(queue, committed_only=True)
    consume(queue, taker)
    deliver(queue, 3)
    assert taker.sequences == [0, 1, 2]


def test_the_queue_knows_whether_any_consumer_waits_for_commits(queue: Queue, host: FakeHost) -> None:
    taker = Taker(queue, committed_only=True)
    consume(queue, taker)
    queue.remove_consumer(taker)
    queue.remove_consumer(taker)
    host.asked.clear()
    queue.enqueue(numbered(1))
    host.commit(queue)
    assert not host.asked["dispatch"]


class TestSingleActiveConsumer:
    """RabbitMQ, "Single Active Consumer"."""

    @pytest.fixture
    def queue(self, host: FakeHost) -> Queue:
        return Queue(host, "/", "q", 1, arguments={"x-single-active-consumer": True})

    def test_one_gets_all_and_others_wait_even_while_it_has_no_room(self, queue: Queue) -> None:
        first, second = Taker(queue, 2), Taker(queue, priority=5)
        consume(queue, first, second)
        deliver(queue, 5)
        assert (len(first.received), len(second.received)) == (2, 0)
        assert (queue.is_active(first), queue.is_active(second)) == (True, False)

    def test_when_it_goes_the_one_of_the_highest_priority_takes_over(
        self, queue: Queue, host: FakeHost
    ) -> None:
        first, low, high = Taker(queue, 1), Taker(queue), Taker(queue, priority=5)
        consume(queue, first, low, high)
        deliver(queue, 3)
        host.asked.clear()
        queue.remove_consumer(first)
        assert host.asked["dispatch"]
        queue.dispatch()
        assert (len(low.received), len(high.received)) == (0, 2)
        first.requeue()
        queue.dispatch()
        assert [int(body) for body in high.bodies] == [1, 2, 0]

    def test_one_that_waits_may_go_and_the_last_one_leaves_nobody_active(self, queue: Queue) -> None:
        first, second = Taker(queue), Taker(queue)
        consume(queue, first, second)
        queue.remove_consumer(second)
        queue.remove_consumer(first)
        deliver(queue, 1)
        consume(queue, second)
        queue.dispatch()
        assert len(second.received) == 1

    def test_an_exclusive_consumer_is_refused(self, queue: Queue) -> None:
        with pytest.raises(AccessRefused, match="in exclusive use"):
            consume(queue, Taker(queue, exclusive=True))


def test_of_several_consumers_all_are_active(queue: Queue) -> None:
    first, second = Taker(queue), Taker(queue)
    consume(queue, first, second)
    assert queue.is_active(first)
    assert queue.is_active(second)
