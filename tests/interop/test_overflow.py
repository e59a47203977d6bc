"""Full queues: the same program against a node of ours and against RabbitMQ, with the same outcome."""

import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, NackError


@pytest.fixture(params=["leveret", "rabbitmq"])
def channel(request: pytest.FixtureRequest) -> Iterator[BlockingChannel]:
    server: Any = request.getfixturevalue(request.param)
    connection = pika.BlockingConnection(pika.URLParameters(server.uri()))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    if connection.is_open:
        connection.close()


def declare(channel: BlockingChannel, **arguments: object) -> str:
    """A durable queue with arguments by their names: max_length for x-max-length."""
    name = f"overflow.{uuid.uuid4().hex}"
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    channel.queue_declare(name, durable=True, arguments=named)
    return name


def publish(channel: BlockingChannel, queue: str, count: int, size: int = 10) -> list[int]:
    """Publish numbered persistent messages; returns the numbers of those that were confirmed."""
    confirmed = []
    for i in range(count):
        try:
            channel.basic_publish("", queue, b"%0*d" % (size, i), pika.BasicProperties(delivery_mode=2))
        except NackError:
            continue
        confirmed.append(i)
    return confirmed


def drain(channel: BlockingChannel, queue: str) -> list[int]:
    got = []
    while (found := channel.basic_get(queue, auto_ack=True))[0] is not None:
        got.append(int(found[2]))
    return got


def deaths(channel: BlockingChannel, queue: str) -> list[tuple[int, object, object, object]]:
    """Number, reason, queue and count of the first x-death entry of each message."""
    got = []
    while (found := channel.basic_get(queue, auto_ack=True))[0] is not None:
        [death] = found[1].headers["x-death"]
        got.append((int(found[2]), death["reason"], death["queue"], death["count"]))
    return got


def test_drop_head_confirms_all_and_keeps_the_newest(channel: BlockingChannel) -> None:
    queue = declare(channel, max_length=3)
    assert publish(channel, queue, 10) == list(range(10))
    assert drain(channel, queue) == [7, 8, 9]


def test_bytes_count_bodies_alone(channel: BlockingChannel) -> None:
    queue = declare(channel, max_length_bytes=35)
    publish(channel, queue, 10)
    assert drain(channel, queue) == [7, 8, 9]


def test_what_drop_head_drops_is_dead_lettered_in_order(channel: BlockingChannel) -> None:
    dead = declare(channel)
    queue = declare(channel, max_length=2, dead_letter_exchange="", dead_letter_routing_key=dead)
    publish(channel, queue, 5)
    assert drain(channel, queue) == [3, 4]
    assert deaths(channel, dead) == [(i, "maxlen", queue, 1) for i in range(3)]


def test_reject_publish_nacks_what_does_not_fit(channel: BlockingChannel) -> None:
    dead = declare(channel)
    queue = declare(
        channel,
        max_length=3,
        overflow="reject-publish",
        dead_letter_exchange="",
        dead_letter_routing_key=dead,
    )
    assert publish(channel, queue, 6) == [0, 1, 2]
    assert channel.basic_get(queue, auto_ack=True)[2] == b"0000000000"
    assert publish(channel, queue, 2) == [0]
    assert drain(channel, queue) == [1, 2, 0]
    assert drain(channel, dead) == []


def test_reject_publish_dlx_dead_letters_what_it_nacks(channel: BlockingChannel) -> None:
    dead = declare(channel)
    queue = declare(
        channel,
        max_length=2,
        overflow="reject-publish-dlx",
        dead_letter_exchange="",
        dead_letter_routing_key=dead,
    )
    assert publish(channel, queue, 4) == [0, 1]
    assert drain(channel, queue) == [0, 1]
    assert deaths(channel, dead) == [(i, "maxlen", queue, 1) for i in (2, 3)]


def test_a_nack_of_one_queue_is_a_nack_though_another_has_the_message(channel: BlockingChannel) -> None:
    exchange = f"overflow.{uuid.uuid4().hex}"
    channel.exchange_declare(exchange, "fanout")
    full, free = declare(channel, max_length=1, overflow="reject-publish"), declare(channel)
    for queue in (full, free):
        channel.queue_bind(queue, exchange)
    channel.basic_publish(exchange, "", b"1")
    with pytest.raises(NackError):
        channel.basic_publish(exchange, "", b"2")
    assert (drain(channel, full), drain(channel, free)) == ([1], [1, 2])


def test_unacknowledged_messages_leave_room(channel: BlockingChannel) -> None:
    queue = declare(channel, max_length=2, overflow="reject-publish")
    assert publish(channel, queue, 2) == [0, 1]
    for _ in range(2):
        channel.basic_get(queue)
    assert publish(channel, queue, 3) == [0, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-max-length": -1},
        {"x-max-length-bytes": "many"},
        {"x-overflow": "drop-tail"},
        {"x-dead-letter-routing-key": "k"},
    ],
)
def test_a_wrong_argument_is_refused_with_406(channel: BlockingChannel, arguments: dict[str, object]) -> None:
    with pytest.raises(ChannelClosedByBroker) as closed:
        channel.queue_declare(f"overflow.{uuid.uuid4().hex}", durable=True, arguments=arguments)
    assert closed.value.reply_code == 406
    assert f"invalid arg '{next(iter(arguments))}'" in closed.value.reply_text
