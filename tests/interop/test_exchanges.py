"""Headers exchanges and alternates on a node of ours and on RabbitMQ: the same messages go through."""

from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ

Table = dict[str, Any]

HEADERS: list[tuple[Table, Table]] = [
    ({"a": 5}, {"a": 5}),
    ({"a": 5}, {"a": 1 << 40}),
    ({"a": 5}, {"a": "5"}),
    ({"a": 1}, {"a": True}),
    ({"a": "s"}, {"a": b"s"}),
    ({"a": None}, {"a": 1}),
    ({"a": None}, {}),
    ({"a": [1, "x"]}, {"a": [1, "x"]}),
    ({"a": {"b": 1}}, {"a": {"b": 2}}),
    ({}, {}),
    ({"x-match": "any"}, {"a": 1}),
    *[
        ({"x-match": mode, "a": 1, "b": 2, "x-c": 3}, headers)
        for mode in ("all", "any", "all-with-x", "any-with-x")
        for headers in ({"a": 1, "b": 2}, {"a": 1}, {"x-c": 3}, {"a": 1, "b": 2, "x-c": 3}, {"a": 2}, {})
    ],
]


def headers_matched(channel: BlockingChannel) -> list[bool]:
    found = []
    for arguments, headers in HEADERS:
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.headers", "", arguments)
        channel.basic_publish("amq.headers", "", b"", pika.BasicProperties(headers=headers))
        found.append(channel.basic_get(queue, auto_ack=True)[0] is not None)
        channel.queue_delete(queue)
    return found


def alternates_followed(channel: BlockingChannel) -> list[Any]:
    """Where messages go whose exchange has an alternate that has one, and what comes back."""
    for name, following in (("alt.1", "alt.2"), ("alt.2", "alt.3"), ("alt.3", "alt.1")):
        channel.exchange_declare(name, "direct", arguments={"alternate-exchange": following})
    for name in ("1", "3"):
        channel.queue_declare(f"alt.q{name}", exclusive=True)
        channel.queue_bind(f"alt.q{name}", f"alt.{name}", name)
    returned: list[str] = []
    channel.add_on_return_callback(
        lambda _channel, method, _properties, _body: returned.append(method.routing_key)
    )
    for key in ("1", "3", "nowhere"):
        channel.basic_publish("alt.1", key, key.encode(), mandatory=True)
    channel.connection.process_data_events(0.2)
    got = [channel.basic_get(f"alt.q{name}", auto_ack=True)[2] for name in ("1", "3")]
    for name in ("alt.1", "alt.2", "alt.3"):
        channel.exchange_delete(name)
    return [got, returned]


def outcome(uri: str) -> list[Any]:
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    found = [headers_matched(connection.channel()), alternates_followed(connection.channel())]
    connection.close()
    return found


def test_exchanges_route_as_rabbitmqs(leveret: LeveretProcess, rabbitmq: RabbitMQ) -> None:
    ours, theirs = outcome(leveret.uri()), outcome(rabbitmq.uri())
    assert ours == theirs
    assert True in ours[0]
    assert ours[1] == [[b"1", b"3"], ["nowhere"]]
