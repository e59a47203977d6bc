"""Priorities, single active consumers, delivery limits: the same program against a node of ours and RabbitMQ."""

import time
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPChannelError

from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ

Arguments = dict[str, Any]
Outcome = list[Any]

QUEUE = "features"
QUORUM = {"x-queue-type": "quorum"}
GRAVE = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "features.grave"}


class Bench:
    """A connection to one server, its queue, and consumers that note what they get."""

    def __init__(self, uri: str, patience_s: float) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(uri))
        self.channel = self.connection.channel()
        self._patience_s = patience_s
        self.got: list[tuple[str, bytes]] = []
        #: The last delivery tag of each consumer.
        self.tags: dict[str, int] = {}

    def declare(self, arguments: Arguments, name: str = QUEUE) -> None:
        self.channel.queue_declare(name, durable=True, arguments=arguments)

    def publish(self, *bodies: str, priority: int | None = None, **properties: Any) -> None:
        for body in bodies:
            self.channel.basic_publish(
                "", QUEUE, body.encode(), pika.BasicProperties(priority=priority, **properties)
            )

    def consume(self, tag: str, prefetch: int = 1, **arguments: Any) -> BlockingChannel:
        """Consume on a channel of its own, which is returned."""
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=prefetch)

        def note(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            self.got.append((tag, body))
            self.tags[tag] = method.delivery_tag

        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        channel.basic_consume(QUEUE, note, consumer_tag=tag, arguments=named)
        self.settle_down()
        return channel

    def ack(self, channel: BlockingChannel, tag: str) -> None:
        channel.basic_ack(self.tags[tag])
        self.settle_down()

    def settle_down(self) -> None:
        """Take what comes for a while; pika returns as soon as anything has come."""
        deadline = time.monotonic() + self._patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            self.connection.process_data_events(left_s)

    def drain(self, queue: str = QUEUE) -> list[bytes]:
        found = []
        while (one := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(one[2])
        return found

    def get(self, queue: str = QUEUE) -> Any:
        deadline = time.monotonic() + 5
        while (found := self.channel.basic_get(queue))[0] is None:
            assert time.monotonic() < deadline, f"nothing in {queue}"
            time.sleep(0.01)
        return found

    def close(self) -> None:
        for name in (QUEUE, "features.grave"):
            self.channel.queue_delete(name)
        self.connection.close()


def by_priority(bench: Bench) -> Outcome:
    bench.declare({"x-max-priority": 5})
    for priority, body in ((None, "a"), (5, "b"), (1, "c"), (9, "d"), (0, "e"), (5, "f")):
        bench.publish(body, priority=priority)
    return bench.drain()


def by_priority_in_a_short_queue(bench: Bench) -> Outcome:
    bench.declare({"x-max-priority": 5, "x-max-length": 3})
    for priority, body in ((0, "a"), (5, "b"), (1, "c"), (4, "d"), (0, "e")):
        bench.publish(body, priority=priority)
    bench.settle_down()
    return bench.drain()


def by_priority_and_back(bench: Bench) -> Outcome:
    bench.declare({"x-max-priority": 5})
    bench.publish("a", priority=1)
    bench.publish("b", "c", priority=3)
    taken = [bench.get() for _ in range(3)]
    bench.publish("d", priority=3)
    bench.publish("e", priority=5)
    for method, _, _ in taken:
        bench.channel.basic_nack(method.delivery_tag, requeue=True)
    return bench.drain()


def one_active_consumer(bench: Bench) -> Outcome:
    bench.declare({"x-single-active-consumer": True})
    first = bench.consume("first")
    second = bench.consume("second", priority=5)
    bench.publish("a", "b")
    bench.settle_down()
    bench.ack(first, "first")
    bench.ack(first, "first")
    # Not with a delivery unacknowledged: RabbitMQ 3.10's queue crashes then.
    first.basic_cancel("first")
    bench.publish("c")
    bench.settle_down()
    bench.ack(second, "second")
    return bench.got


def the_next_active_consumer_by_priority(bench: Bench) -> Outcome:
    bench.declare({"x-single-active-consumer": True})
    first = bench.consume("first")
    bench.consume("low", priority=1)
    bench.consume("high", priority=5)
    first.close()
    bench.settle_down()
    bench.publish("a")
    bench.settle_down()
    return bench.got


def consumers_by_priority(bench: Bench) -> Outcome:
    bench.declare({})
    bench.consume("low", priority=-1)
    bench.consume("plain")
    bench.consume("high", prefetch=2, priority=10)
    for body in "abcde":
        bench.publish(body)
        bench.settle_down()
    return bench.got


def counted_deliveries(bench: Bench) -> Outcome:
    bench.declare(QUORUM)
    bench.publish("a", headers={"mine": 1})
    found = []
    for _ in range(3):
        method, properties, _ = bench.get()
        # RabbitMQ 3.10 also says that a message has come for the first time, by a count of 0.
        count = properties.headers.pop("x-delivery-count", 0)
        found.append((method.redelivered, count, properties.headers))
        bench.channel.basic_nack(method.delivery_tag, requeue=True)
    return found


def too_many_deliveries(bench: Bench) -> Outcome:
    bench.declare({}, "features.grave")
    bench.declare({**QUORUM, **GRAVE, "x-delivery-limit": 2})
    bench.publish("a")
    deliveries = 0
    while (found := bench.channel.basic_get("features.grave"))[0] is None:
        method, _, _ = bench.channel.basic_get(QUEUE)
        if method is None:
            time.sleep(0.01)
            continue
        deliveries += 1
        bench.channel.basic_reject(method.delivery_tag, requeue=True)
    headers = found[1].headers
    (death,) = headers["x-death"]
    return [deliveries, death["reason"], death["count"], headers.get("x-delivery-count")]


def deliveries_in_vain_of_a_classic_queue(bench: Bench) -> Outcome:
    bench.declare({})
    bench.publish("a")
    for _ in range(30):
        method, properties, _ = bench.get()
        bench.channel.basic_reject(method.delivery_tag, requeue=True)
    return [properties.headers]


def a_ttl_of_0(bench: Bench) -> Outcome:
    """What nobody waits for is gone at once; what somebody waits for is his."""
    bench.declare({"x-message-ttl": 0})
    bench.publish("a")
    bench.settle_down()
    left = bench.drain()
    bench.consume("waiting", prefetch=10)
    bench.publish("b", "c")
    bench.settle_down()
    return [left, bench.got]


def an_expiration_of_0(bench: Bench) -> Outcome:
    bench.declare({})
    bench.publish("a", expiration="0")
    bench.publish("b", expiration="60000")
    bench.settle_down()
    return bench.drain()


def what_expires_behind_a_message_that_does_not(bench: Bench) -> Outcome:
    """Classic queues let go at the head only."""
    bench.declare({}, "features.grave")
    bench.declare(GRAVE)
    bench.publish("a")
    bench.publish("b", expiration="1")
    bench.publish("c")
    bench.settle_down()
    found = [bench.drain(), bench.drain("features.grave")]
    bench.publish("d", expiration="1")
    bench.settle_down()
    return [*found, bench.drain(), bench.drain("features.grave")]


def room_for_none(bench: Bench) -> Outcome:
    bench.declare({"x-max-length": 0})
    bench.publish("a")
    bench.settle_down()
    left = bench.drain()
    bench.consume("waiting", prefetch=10)
    bench.publish("b")
    bench.settle_down()
    return [left, bench.got]


def auto_delete_of_a_queue(bench: Bench) -> Outcome:
    """With its last consumer, never before the first."""
    name = "features.passing"
    bench.channel.queue_declare(name, auto_delete=True)
    bench.channel.basic_publish("", name, b"a")
    found = [bench.channel.basic_get(name, auto_ack=True)[2], exists(bench, "queue", name)]
    for tag in ("one", "other"):
        bench.channel.basic_consume(name, lambda *_: None, consumer_tag=tag)
    bench.channel.basic_cancel("one")
    found.append(exists(bench, "queue", name))
    bench.channel.basic_cancel("other")
    return [*found, exists(bench, "queue", name)]


def auto_delete_of_an_exchange(bench: Bench) -> Outcome:
    """With its last binding, never before the first; its own being bound does not count."""
    name = "features.passing"
    bench.declare({})
    bench.channel.exchange_declare(name, "fanout", auto_delete=True)
    bench.channel.exchange_bind(name, "amq.fanout")
    bench.channel.exchange_unbind(name, "amq.fanout")
    found = [exists(bench, "exchange", name)]
    for key in ("a", "b"):
        bench.channel.queue_bind(QUEUE, name, key)
    bench.channel.queue_unbind(QUEUE, name, "a")
    found.append(exists(bench, "exchange", name))
    bench.channel.queue_delete(QUEUE)
    return [*found, exists(bench, "exchange", name)]


def through_an_internal_exchange(bench: Bench) -> Outcome:
    """Clients cannot publish to it, exchanges and dead letters can."""
    bench.declare({})
    bench.channel.exchange_declare("features.inner", "fanout", internal=True)
    bench.channel.exchange_declare("features.outer", "fanout")
    bench.channel.exchange_bind("features.inner", "features.outer")
    bench.channel.queue_bind(QUEUE, "features.inner")
    bench.channel.basic_publish("features.outer", "", b"a")
    bench.declare({"x-dead-letter-exchange": "features.inner", "x-message-ttl": 0}, "features.grave")
    bench.channel.basic_publish("", "features.grave", b"b")
    bench.settle_down()
    found = bench.drain()
    for name in ("features.inner", "features.outer"):
        bench.channel.exchange_delete(name)
    return found


def exists(bench: Bench, kind: str, name: str) -> bool:
    channel = bench.connection.channel()
    try:
        getattr(channel, f"{kind}_declare")(name, passive=True)
    except AMQPChannelError:
        return False
    channel.close()
    return True


SCENARIOS: list[Callable[[Bench], Outcome]] = [
    by_priority,
    by_priority_in_a_short_queue,
    by_priority_and_back,
    one_active_consumer,
    the_next_active_consumer_by_priority,
    consumers_by_priority,
    counted_deliveries,
    too_many_deliveries,
    deliveries_in_vain_of_a_classic_queue,
    a_ttl_of_0,
    an_expiration_of_0,
    what_expires_behind_a_message_that_does_not,
    room_for_none,
    auto_delete_of_a_queue,
    auto_delete_of_an_exchange,
    through_an_internal_exchange,
]


def outcome(scenario: Callable[[Bench], Outcome], uri: str, patience_s: float) -> Outcome:
    bench = Bench(uri, patience_s)
    try:
        return scenario(bench)
    finally:
        bench.close()


def test_queues_do_what_rabbitmqs_do(leveret: LeveretProcess, rabbitmq: RabbitMQ) -> None:
    for scenario in SCENARIOS:
        # What differs is looked at again with more patience: a loaded machine may be slow.
        for patience_s in (0.1, 0.5):
            ours = outcome(scenario, leveret.uri(), patience_s)
            theirs = outcome(scenario, rabbitmq.uri(), patience_s)
            if ours == theirs:
                break
        assert ours == theirs, scenario.__name__
