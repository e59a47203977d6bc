"""Which publishes are answered: RabbitMQ acks singly, in ranges, and out of order."""

from hypothesis import given
from hypothesis import strategies as st

from edge.amqp091.confirms import Unconfirmed


def published(count: int) -> Unconfirmed:
    unconfirmed = Unconfirmed()
    assert unconfirmed.publish(count) == 1
    return unconfirmed


def test_a_multiple_ack_answers_all_before_it() -> None:
    unconfirmed = published(10)
    assert unconfirmed.answer([4], multiple=True) == [(1, 4)]
    assert unconfirmed.answer([10], multiple=True) == [(5, 10)]
    assert unconfirmed.count == 0


def test_what_was_answered_before_is_not_in_a_later_range() -> None:
    unconfirmed = published(10)
    assert unconfirmed.answer([3, 4, 7], multiple=False) == [(3, 4), (7, 7)]
    assert unconfirmed.answer([8], multiple=True) == [(1, 2), (5, 6), (8, 8)]
    assert (unconfirmed.low, unconfirmed.count) == (9, 2)


def test_tag_zero_with_multiple_is_all_there_are() -> None:
    assert published(5).answer([0], multiple=True) == [(1, 5)]


def test_what_was_never_published_or_is_answered_twice_counts_for_nothing() -> None:
    unconfirmed = published(3)
    assert unconfirmed.answer([9], multiple=True) == [(1, 3)]
    assert unconfirmed.answer([2], multiple=True) == []
    assert unconfirmed.answer([1, 9], multiple=False) == []
    assert unconfirmed.publish(1) == 4


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60))
def test_every_publish_is_answered_at_most_once_and_the_rest_is_counted(
    answers: list[tuple[int, bool]],
) -> None:
    unconfirmed = published(30)
    seen: list[int] = []
    for tag, multiple in answers:
        for first, last in unconfirmed.answer([tag], multiple):
            seen += range(first, last + 1)
    assert len(seen) == len(set(seen))
    assert unconfirmed.count == 30 - len(seen)
    assert all(1 <= tag <= 30 for tag in seen)
