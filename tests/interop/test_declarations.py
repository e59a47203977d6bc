"""Declarations on a node of ours and on RabbitMQ: the same are taken, and the others are refused in the same words."""

from typing import Any

import pika
from pika.exceptions import AMQPChannelError

from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ

Arguments = dict[str, Any]

QUORUM = {"x-queue-type": "quorum"}
ARGUMENTS: list[Arguments] = [
    *[
        {name: value}
        for name in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority")
        for value in (-1, 0, 1, 255, 256, 1 << 40, "5", True, None)
    ],
    *[
        {name: value}
        for name in (
            "x-dead-letter-exchange",
            "x-overflow",
            "x-queue-mode",
            "x-queue-type",
            "x-queue-version",
            "x-max-in-memory-length",
            "x-dead-letter-strategy",
            "x-queue-leader-locator",
            "x-delivery-limit",
            "x-max-age",
        )
        for value in (5, "bogus")
    ],
    *[{"x-single-active-consumer": value} for value in ("true", 1, True, False)],
    {"x-dead-letter-routing-key": "k"},
    {"x-dead-letter-routing-key": 5, "x-dead-letter-exchange": "e"},
    {"x-queue-mode": "lazy"},
    {"x-queue-version": 2},
    {"x-queue-version": 3},
    {"x-foo": 1},
    {**QUORUM},
    *[
        {**QUORUM, name: value}
        for name, value in (
            ("x-max-priority", 5),
            ("x-single-active-consumer", True),
            ("x-delivery-limit", 5),
            ("x-delivery-limit", -1),
            ("x-message-ttl", 5),
            ("x-overflow", "reject-publish"),
            ("x-queue-mode", "lazy"),
            ("x-queue-version", 2),
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-max-age", "1D"),
        )
    ],
]
PROPERTIES: list[tuple[Arguments, dict[str, bool]]] = [
    (QUORUM, {"durable": False}),
    (QUORUM, {"durable": True, "auto_delete": True}),
    (QUORUM, {"durable": True, "exclusive": True}),
]
AGAIN: list[tuple[Arguments, Arguments]] = [
    ({"x-max-length": 5}, {"x-max-length": 6}),
    ({"x-max-length": 5}, {}),
    ({}, {"x-max-length": 5}),
    ({"x-max-length": 5}, {"x-max-length": 1 << 40}),
    ({"x-max-length": 5}, {"x-max-length": "5"}),
    ({"x-max-length": 0}, {"x-max-length": False}),
    ({"x-foo": 1}, {"x-foo": 2}),
    ({"x-foo": 1}, {}),
    ({}, {"x-queue-type": "classic"}),
    ({"x-queue-type": "classic"}, {}),
    ({}, QUORUM),
    (QUORUM, {}),
    ({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}),
    ({"x-overflow": "drop-head"}, {}),
    ({"x-single-active-consumer": True}, {"x-single-active-consumer": False}),
    ({}, {"x-single-active-consumer": False}),
    ({"x-queue-mode": "lazy"}, {}),
    ({"x-queue-version": 2}, {}),
    ({"x-max-priority": 5}, {}),
    ({"x-message-ttl": 5, "x-max-length": 4}, {"x-message-ttl": 6, "x-max-length": 5}),
    ({**QUORUM, "x-delivery-limit": 5}, {**QUORUM, "x-delivery-limit": 6}),
    ({**QUORUM, "x-delivery-limit": 5}, QUORUM),
]


class Asker:
    """Declares queues on one server and says what it answered."""

    def __init__(self, uri: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(uri))
        self._channel = self._connection.channel()

    def declare(self, *declarations: Arguments, **properties: bool) -> str:
        """Declare one queue, as often as there are arguments; "" or what the last one was refused with."""
        if not self._channel.is_open:
            self._channel = self._connection.channel()
        answer = ""
        for arguments in declarations:
            try:
                self._channel.queue_declare(
                    "declared", arguments=arguments, **(properties or {"durable": True})
                )
            except AMQPChannelError as error:
                answer = str(error)
                self._channel = self._connection.channel()
        self._channel.queue_delete("declared")
        return answer

    def close(self) -> None:
        self._connection.close()


def answers(uri: str) -> dict[str, str]:
    asker = Asker(uri)
    found = {str(arguments): asker.declare(arguments) for arguments in ARGUMENTS}
    found |= {str(case): asker.declare(case[0], **case[1]) for case in PROPERTIES}
    found |= {str(pair): asker.declare(*pair) for pair in AGAIN}
    asker.close()
    return found


def test_queues_are_taken_and_refused_as_by_rabbitmq(leveret: LeveretProcess, rabbitmq: RabbitMQ) -> None:
    ours, theirs = answers(leveret.uri()), answers(rabbitmq.uri())
    assert {case: (text, theirs[case]) for case, text in ours.items() if text != theirs[case]} == {}
