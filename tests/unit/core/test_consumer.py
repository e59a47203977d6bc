"""The base of all consumers."""

import pytest

from edge.core.consumer import Consumer
from edge.core.queue import Queue
from tests.helpers.brokers import FakeHost


def test_the_base_class_leaves_capacity_delivery_and_cancellation_to_protocols() -> None:
    consumer = Consumer("tag", Queue(FakeHost(), "/", "q", 1), priority=3)
    assert (consumer.tag, consumer.priority, consumer.arguments, consumer.no_ack) == ("tag", 3, {}, False)
    with pytest.raises(NotImplementedError):
        consumer.capacity()
    with pytest.raises(NotImplementedError):
        consumer.deliver([])
    with pytest.raises(NotImplementedError):
        consumer.cancelled()
