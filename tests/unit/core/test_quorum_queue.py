"""Queues of type quorum: x-delivery-count and delivery limits (RabbitMQ, "Poison Message Handling")."""

import pytest

from edge.core.errors import ResourceLocked
from edge.core.properties import BasicProperties, encode_properties, header
from edge.core.quorum_queue import QuorumQueue
from tests.helpers.brokers import FakeHost, Taker, message, numbered


def queue(host: FakeHost, **arguments: object) -> QuorumQueue:
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return QuorumQueue(host, "/", "q", 1, arguments={"x-queue-type": "quorum", **named})


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def requeue(queue: QuorumQueue, times: int = 1) -> list[object]:
    """Take the head and give it back; returns what its header said each time."""
    counts = []
    for _ in range(times):
        entry = queue.pop(no_ack=False)
        assert entry is not None
        counts.append(header(entry[1].properties, "x-delivery-count"))
        queue.requeue([entry])
    return counts


def test_a_message_that_comes_back_says_how_often(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue([message(properties=encode_properties(BasicProperties(headers={"mine": 1})))])
    assert requeue(made, 4) == [0, 1, 2, 3]
    entry = made.pop(no_ack=True)
    assert entry is not None
    assert header(entry[1].properties, "mine") == 1
    assert (made.messages, made.window_bytes) == (0, 0)


def test_a_first_delivery_has_no_count_where_a_first_get_says_0(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(numbered(2))
    got = made.pop(no_ack=False)
    assert got is not None
    taker = Taker(made)
    made.add_consumer(taker)
    made.dispatch()
    counts = [header(entry[1].properties, "x-delivery-count") for entry in (got, *taker.received)]
    assert counts == [0, None]


def test_what_comes_back_is_delivered_before_the_limit_drops_the_rest(host: FakeHost) -> None:
    made = queue(host, max_length=0)
    taker = Taker(made, 1)
    made.add_consumer(taker)
    made.enqueue(numbered(1))
    made.dispatch()
    taker.requeue()
    made.dispatch()
    assert [(sequence, times) for sequence, _, times in taker.received] == [(0, 0), (0, 1)]
    made.remove_consumer(taker)
    taker.requeue()
    assert (made.messages, len(taker.received)) == (0, 2)


def test_other_queues_see_nothing_of_the_count(host: FakeHost) -> None:
    sent = message()
    made = queue(host)
    made.enqueue([sent])
    requeue(made)
    assert sent.properties == message().properties


def test_a_message_over_the_limit_is_dead_lettered_as_it_was_published(host: FakeHost) -> None:
    made = queue(host, delivery_limit=2)
    made.enqueue(numbered(2))
    requeue(made, 3)
    ((entries, reason),) = host.dead
    assert (reason, [entry[1] for entry in entries]) == ("delivery_limit", numbered(1))
    assert (made.messages_ready, made.settled.low) == (1, 1)


def test_a_limit_of_none_at_all_lets_nothing_come_back(host: FakeHost) -> None:
    made = queue(host, delivery_limit=0)
    made.enqueue(numbered(3))
    taker = Taker(made, 2)
    made.add_consumer(taker)
    made.dispatch()
    taker.requeue()
    assert sum(len(entries) for entries, _ in host.dead) == 2


def test_the_smaller_limit_of_argument_and_policy_holds_and_a_negative_one_is_none(host: FakeHost) -> None:
    made = queue(host, delivery_limit=5)
    made.apply_policy({"delivery-limit": 1})
    made.enqueue(numbered(1))
    requeue(made, 2)
    assert host.dead
    unlimited = queue(host, delivery_limit=-1)
    unlimited.enqueue(numbered(1))
    requeue(unlimited, 50)
    assert unlimited.messages == 1


def test_its_overflow_goes_by_the_policy_first(host: FakeHost) -> None:
    made = queue(host, max_length=1, overflow="drop-head")
    made.apply_policy({"overflow": "reject-publish"})
    assert made.limits is not None
    assert made.limits.overflow == "reject-publish"


def test_with_a_single_active_consumer_it_cannot_be_got_from(host: FakeHost) -> None:
    with pytest.raises(ResourceLocked, match=r"basic\.get operations are not supported by quorum queues"):
        queue(host, single_active_consumer=True).pop(no_ack=True)


@pytest.mark.parametrize("single", [True, False])
def test_an_exclusive_consumer_is_as_any_other(host: FakeHost, single: bool) -> None:
    """RabbitMQ's quorum queues do not heed ``exclusive`` of basic.consume."""
    made = queue(host, single_active_consumer=single)
    for exclusive in (True, True, False):
        made.add_consumer(Taker(made, exclusive=exclusive))
    assert made.consumer_count == 3
