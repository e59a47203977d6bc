"""What the fault tests of single links share: numbered messages, faults of a link, and the account of what arrived."""

import asyncio
import random
from collections.abc import Callable, Sequence

from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from tests.helpers.leveret import LeveretInProcess
from tests.helpers.toxiproxy import Link

PROPERTIES = encode_properties(BasicProperties(delivery_mode=2))

FAULTS: dict[str, tuple[dict[str, int], str]] = {
    "down": ({}, ""),
    "reset_peer": ({"timeout": 0}, "downstream"),
    "timeout": ({"timeout": 0}, "upstream"),
    "latency": ({"latency": 150, "jitter": 100}, "downstream"),
    "limit_data": ({"bytes": 9_000}, "upstream"),
}
"""Kind -> attributes and direction. A timeout of 0 swallows everything and closes nothing: a black hole."""


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- a condition on plain objects, nobody sets an event
            await asyncio.sleep(0.005)


def publish(node: LeveretInProcess, numbers: Sequence[int], key: str, exchange: str = "") -> None:
    """Publish numbered messages of 100 bytes into the node itself."""
    broker = node.node.broker
    messages = [
        Message(exchange, key, PROPERTIES, b"%d" % number + b"." * 90, flags=PERSISTENT) for number in numbers
    ]
    broker.publish(broker.vhost("/"), exchange, messages)


def number_of(body: bytes) -> int:
    return int(body.rstrip(b"."))


async def befall(link: Link, kind: str) -> None:
    """One fault; it lasts until the link is healed."""
    attributes, stream = FAULTS[kind]
    if kind == "down":
        await asyncio.to_thread(link.cut)
    else:
        await asyncio.to_thread(link.add, kind, stream, **attributes)


async def publish_through_fault(
    node: LeveretInProcess, link: Link, kind: str, rng: random.Random, key: str, exchange: str = ""
) -> int:
    """Publish while the fault comes and goes twice; return how many messages there are."""
    count = 0
    for step in range(40):
        if step in (8, 24):
            await befall(link, kind)
        if step in (16, 32):
            await asyncio.to_thread(link.heal)
        run = rng.randint(20, 80)
        publish(node, range(count, count + run), key, exchange)
        count += run
        await asyncio.sleep(rng.uniform(0.01, 0.05))
    return count


def first_arrivals(numbers: Sequence[int]) -> list[int]:
    """The numbers without what came again."""
    return list(dict.fromkeys(numbers))
