"""Consumers that do not acknowledge (RabbitMQ, "Delivery Acknowledgement Timeout")."""

from collections.abc import Mapping

import pytest

from edge.amqp091.ack_timeout import AckTimeouts
from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.errors import ChannelFault
from edge.amqp091.events import DeliverRun
from edge.core.policy import Policy
from tests.unit.amqp091.conftest import AmqpNode, message, until

TIMEOUT_MS = 60_000


class Times:
    """The timeouts of a node, by a clock that the test moves."""

    def __init__(self, node: AmqpNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = node.broker
        self.passed_ms = 0
        elapsed_ms = node.broker.clock.elapsed_ms
        monkeypatch.setattr(node.broker.clock, "elapsed_ms", lambda: elapsed_ms() + self.passed_ms)
        self.timeouts = AckTimeouts(node.broker, TIMEOUT_MS)

    def after(self, seconds: float) -> None:
        self.passed_ms += int(seconds * 1000)
        self.timeouts.check()


@pytest.fixture
def times(node: AmqpNode, monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times(node, monkeypatch)


async def consume(
    client: AmqpClient,
    count: int,
    queue_arguments: Mapping[str, object] | None = None,
    arguments: Mapping[str, object] | None = None,
) -> tuple[ClientChannel, list[int]]:
    """A channel that holds ``count`` deliveries; returns their tags."""
    channel = await client.channel()
    await channel.declare_queue("q", durable=True, arguments=dict(queue_arguments or {}))
    tags: list[int] = []

    def on_deliveries(run: DeliverRun) -> None:
        tags.extend(run.tags)

    channel.publish([message(b"%d" % i) for i in range(count)])
    await channel.consume("q", on_deliveries, arguments=dict(arguments or {}))
    await until(lambda: len(tags) == count)
    return channel, tags


async def test_a_channel_that_holds_a_delivery_too_long_is_closed(node: AmqpNode, times: Times) -> None:
    client = await node.client()
    channel, _ = await consume(client, 3)
    for seconds in (0, 30, 29):
        times.after(seconds)
    assert channel.error is None
    times.after(2)
    await until(lambda: channel.error is not None)
    assert isinstance(channel.error, ChannelFault)
    assert channel.error.code == 406
    assert (
        "delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms." in channel.error.text
    )
    queue = node.broker.vhosts["/"].queues["q"]
    await until(lambda: queue.messages_ready == 3)
    await client.close()


async def test_the_oldest_delivery_counts_though_others_are_acknowledged(
    node: AmqpNode, times: Times
) -> None:
    client = await node.client()
    channel, tags = await consume(client, 10)
    queue = node.broker.vhosts["/"].queues["q"]
    times.after(0)
    for i in range(5):
        channel.ack(tags[i])
        await until(lambda i=i: queue.messages == 9 - i)  # type: ignore[misc]
        times.after(10)
    assert channel.error is None
    times.after(11)
    await until(lambda: channel.error is not None)
    await client.close()


async def test_a_consumer_that_keeps_up_is_left_alone(node: AmqpNode, times: Times) -> None:
    client = await node.client()
    channel, tags = await consume(client, 1)
    for _ in range(10):
        times.after(40)
        channel.ack(tags[-1])
        count = len(tags)
        channel.publish([message(b"next")])
        await until(lambda count=count: len(tags) > count)  # type: ignore[misc]
    assert channel.error is None
    await client.close()


@pytest.mark.parametrize(
    ("of_consumer", "of_queue", "of_policy", "expected_ms"),
    [
        (20_000, None, None, 20_000),
        (None, 30_000, None, 30_000),
        (None, None, 40_000, 40_000),
        (None, 30_000, 20_000, 20_000),
        (50_000, 20_000, 20_000, 50_000),
        (90_000, None, None, 90_000),
        (None, 90_000, None, 90_000),
    ],
)
async def test_a_consumers_timeout_goes_before_its_queues_and_that_before_the_nodes(
    node: AmqpNode,
    times: Times,
    of_consumer: int | None,
    of_queue: int | None,
    of_policy: int | None,
    expected_ms: int,
) -> None:
    client = await node.client()
    queue_arguments = {} if of_queue is None else {"x-consumer-timeout": of_queue}
    arguments = {} if of_consumer is None else {"x-consumer-timeout": of_consumer}
    if of_policy is not None:
        node.broker.set_policy(Policy("/", "p", "^q$", {"consumer-timeout": of_policy}))
    channel, _ = await consume(client, 1, queue_arguments, arguments)
    times.after(0)
    times.after(expected_ms / 1000 - 1)
    assert channel.error is None
    times.after(2)
    await until(lambda: channel.error is not None)
    assert f"Timeout value used: {expected_ms} ms." in str(channel.error)
    await client.close()


async def test_a_timeout_of_0_is_none_and_then_only_others_are_looked_for(
    node: AmqpNode, times: Times
) -> None:
    client = await node.client()
    channel, _ = await consume(client, 1, {}, {"x-consumer-timeout": 0})
    times.timeouts._timeout_ms = 0
    for _ in range(5):
        times.after(100_000)
    assert channel.error is None
    times.timeouts.start()
    assert times.timeouts._timer is not None
    times.timeouts.stop()
    await client.close()
