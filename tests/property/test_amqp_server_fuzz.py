"""Whatever a client that has logged in asks for, a node answers or refuses it; nothing is raised or logged as ours."""

import asyncio
import logging
import random

import pytest

from edge.amqp091 import spec
from edge.amqp091.outbound import encode_method
from edge.core.table import Table
from tests.conformance.conftest import Bench
from tests.helpers.leveret import LeveretInProcess
from tests.wire.amqp_refusals import publish

CONNECTIONS = 100
NAMES = (
    "",
    "q",
    "x",
    "amq.topic",
    "amq.direct",
    "amq.rabbitmq.reply-to",
    "amq.rabbitmq.reply-to.x",
    "é\0",
    "a" * 255,
)
TYPES = ("direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random", "x-recent-history")
VALUES = (
    None,
    True,
    0,
    -1,
    5,
    1 << 62,
    "x",
    "all",
    b"\xff",
    1.5,
    [1, "a"],
    {"a": 1},
    "quorum",
    "reject-publish",
)
ARGUMENTS = (
    *(
        "x-match",
        "x-max-priority",
        "x-expires",
        "x-message-ttl",
        "x-max-length",
        "x-overflow",
        "x-queue-type",
    ),
    *("x-dead-letter-exchange", "alternate-exchange", "x-priority", "x-single-active-consumer", "CC"),
    *(
        "x-leveret-sequence",
        "x-recent-history-length",
        "hash-header",
        "x-consumer-timeout",
        "x-delivery-limit",
    ),
)
KINDS = [
    kind
    for kind in spec.METHODS.values()
    if kind.SENDER & spec.CLIENT
    and kind.ID >> 16 != 10
    and kind not in (spec.ChannelOpen, spec.ChannelCloseOk)
]


def method(rng: random.Random) -> bytes:
    """Any method that a client may send on an open channel, with arguments that mean something now and then."""
    kind = rng.choice(KINDS)
    if kind is spec.BasicPublish:
        return publish(rng.choice(NAMES), rng.choice(NAMES), headers=_table(rng), expiration="5")
    values: list[object] = []
    for letter in kind.WIRE:
        if letter == "b":
            values.append(rng.random() < 0.4)
        elif letter == "s":
            values.append(rng.choice(NAMES + TYPES))
        elif letter == "T":
            values.append(_table(rng))
        elif letter == "S":
            values.append(b"x")
        else:
            values.append(rng.choice((0, 0, 1, 2, 9)))
    return encode_method(1, spec.encode_arguments(kind(*values)))


def _table(rng: random.Random) -> Table:
    return {rng.choice(ARGUMENTS): rng.choice(VALUES) for _ in range(rng.randrange(3))}


async def test_whatever_is_asked_is_answered_or_refused(
    edge_node: LeveretInProcess, rng: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    bench = Bench(edge_node.ports.amqp)
    for _ in range(CONNECTIONS):
        peer = await bench.peer()
        peer.writer.write(b"".join([method(rng) for _ in range(rng.randrange(1, 25))]))
        try:
            async with asyncio.timeout(0.02):
                while await peer.reader.read(65_536):
                    pass
        except (TimeoutError, ConnectionError):
            # It has nothing more to say, or has closed.
            pass
        peer.writer.transport.abort()
    other = await bench.peer()
    assert await other.call(spec.BasicQos()) == spec.BasicQosOk()
    assert not raised
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    await bench.close()
