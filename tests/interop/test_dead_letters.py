"""What a dead-lettered message carries and where it goes, on a node of ours and on RabbitMQ."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ

Arguments = dict[str, Any]
Outcome = list[Any]

GRAVE = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "grave"}


class Yard:
    """A connection whose queues go with it: those that messages die in, and the grave."""

    def __init__(self, uri: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(uri))
        self.channel: BlockingChannel = self.connection.channel()

    def declare(self, name: str, arguments: Arguments | None = None) -> str:
        self.channel.queue_declare(name, exclusive=True, arguments=arguments)
        return name

    def publish(self, queue: str, body: bytes = b"x", exchange: str = "", **properties: Any) -> None:
        self.channel.basic_publish(exchange, queue, body, pika.BasicProperties(**properties))

    def reject(self, queue: str) -> None:
        method, _, _ = self.get(queue)
        self.channel.basic_reject(method.delivery_tag, requeue=False)

    def get(self, queue: str, auto_ack: bool = False) -> Any:
        """The next message of a queue, waited for."""
        deadline = time.monotonic() + 5
        while (found := self.channel.basic_get(queue, auto_ack=auto_ack))[0] is None:
            assert time.monotonic() < deadline, f"nothing in {queue}"
            time.sleep(0.01)
        return found

    def buried(self, queue: str = "grave") -> Outcome:
        """Routing, expiration, headers and body of the next message there."""
        method, properties, body = self.get(queue, auto_ack=True)
        return [method.exchange, method.routing_key, properties.expiration, plain(properties.headers), body]

    def is_empty(self, queue: str) -> bool:
        self.connection.process_data_events(0.1)
        return self.channel.basic_get(queue)[0] is None


def plain(value: Any) -> Any:
    """Without times."""
    if isinstance(value, dict):
        # RabbitMQ 3.10 does not say what killed a message last; later versions and ours do.
        return {key: plain(item) for key, item in value.items() if not key.startswith("x-last-death-")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return "a time" if isinstance(value, datetime) else value


def rejected(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", GRAVE)
    yard.publish("q", headers={"mine": 1})
    yard.reject("q")
    return yard.buried()


def expired_by_its_own_ttl(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", GRAVE)
    yard.publish("q", expiration="1")
    return yard.buried()


def expired_by_the_queues_ttl(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", {**GRAVE, "x-message-ttl": 1})
    yard.publish("q", expiration="60000")
    return yard.buried()


def too_many(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", {**GRAVE, "x-max-length": 1})
    yard.publish("q", b"1")
    yard.publish("q", b"2")
    return yard.buried()


def without_a_routing_key_of_its_own(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.channel.queue_bind("grave", "amq.topic", "#")
    yard.declare("q", {"x-dead-letter-exchange": "amq.topic"})
    yard.channel.queue_bind("q", "amq.direct", "some.key")
    yard.publish("some.key", exchange="amq.direct")
    yard.reject("q")
    return yard.buried()


def through_two_queues(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("second", GRAVE)
    yard.declare(
        "q", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "second", "x-message-ttl": 1}
    )
    yard.publish("q", expiration="60000")
    yard.reject("second")
    return yard.buried()


def twice_in_the_same_queue(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", GRAVE)
    yard.publish("q")
    yard.reject("q")
    _, properties, body = yard.get("grave", auto_ack=True)
    yard.channel.basic_publish("", "q", body, properties)
    yard.reject("q")
    return yard.buried()


def round_and_round_by_expiry(yard: Yard) -> Outcome:
    """A circle without a rejection ends after one round."""
    yard.declare("q", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q", "x-message-ttl": 1})
    yard.publish("q")
    time.sleep(0.05)
    return [yard.is_empty("q")]


def round_and_round_by_rejection(yard: Yard) -> Outcome:
    yard.declare("q", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"})
    yard.publish("q")
    yard.reject("q")
    yard.reject("q")
    return yard.buried("q")


def a_circle_of_two_queues(yard: Yard) -> Outcome:
    """Expiry in one, rejection in the other: goes on; the counts rise."""
    yard.declare(
        "wait", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "work", "x-message-ttl": 1}
    )
    yard.declare("work", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait"})
    yard.publish("work")
    yard.reject("work")
    yard.reject("work")
    return yard.buried("work")


def with_carbon_copies(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", GRAVE)
    yard.publish("q", headers={"CC": ["nowhere"], "other": "x"})
    yard.reject("q")
    return yard.buried()


def with_carbon_copies_and_no_routing_key(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.channel.queue_bind("grave", "amq.direct", "copy")
    yard.declare("q", {"x-dead-letter-exchange": "amq.direct"})
    yard.publish("q", headers={"CC": ["copy"]})
    yard.reject("q")
    return yard.buried()


def what_a_client_says_of_deaths(yard: Yard) -> Outcome:
    yard.declare("grave")
    yard.declare("q", GRAVE)
    yard.publish("q", headers={"x-death": "none", "x-first-death-queue": "mine"})
    yard.reject("q")
    return yard.buried()


def to_no_exchange(yard: Yard) -> Outcome:
    yard.declare("q", {"x-dead-letter-exchange": "not there"})
    yard.publish("q")
    yard.reject("q")
    return [yard.is_empty("q")]


SCENARIOS: list[Callable[[Yard], Outcome]] = [
    rejected,
    expired_by_its_own_ttl,
    expired_by_the_queues_ttl,
    too_many,
    without_a_routing_key_of_its_own,
    through_two_queues,
    twice_in_the_same_queue,
    round_and_round_by_expiry,
    round_and_round_by_rejection,
    a_circle_of_two_queues,
    with_carbon_copies,
    with_carbon_copies_and_no_routing_key,
    what_a_client_says_of_deaths,
    to_no_exchange,
]


def outcomes(uri: str) -> dict[str, Outcome]:
    found = {}
    for scenario in SCENARIOS:
        yard = Yard(uri)
        found[scenario.__name__] = scenario(yard)
        yard.connection.close()
    return found


def test_the_dead_are_buried_as_by_rabbitmq(leveret: LeveretProcess, rabbitmq: RabbitMQ) -> None:
    ours, theirs = outcomes(leveret.uri()), outcomes(rabbitmq.uri())
    for name, outcome in theirs.items():
        assert ours[name] == outcome, name
