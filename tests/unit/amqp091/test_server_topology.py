"""Declarations over the wire, with RabbitMQ's reply codes and texts."""

from collections.abc import Awaitable, Callable

import pytest

from edge.amqp091 import spec
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.errors import AmqpError, ChannelFault
from tests.unit.amqp091.conftest import AmqpNode, message, until

Operation = Callable[[ClientChannel], Awaitable[object]]

REFUSED: dict[str, tuple[Operation, int, str]] = {
    "a queue that is not there": (
        lambda c: c.declare_queue("none", passive=True),
        404,
        "no queue 'none' in vhost '/'",
    ),
    "an exchange that is not there": (
        lambda c: c.declare_exchange("none", passive=True),
        404,
        "no exchange 'none' in vhost '/'",
    ),
    "no queue declared before an empty name": (
        lambda c: c.bind_queue("", "amq.topic"),
        404,
        "no previously declared queue",
    ),
    "binding to nothing": (lambda c: c.bind_queue("q", "none"), 404, "no exchange 'none'"),
    "another durability": (
        lambda c: c.declare_queue("q"),
        406,
        "inequivalent arg 'durable' for queue 'q' in vhost '/'",
    ),
    "another argument": (
        lambda c: c.declare_queue("q", durable=True, arguments={"x-expires": 5}),
        406,
        "inequivalent arg 'x-expires'",
    ),
    "another type": (
        lambda c: c.declare_exchange("amq.topic", "fanout", durable=True),
        406,
        "inequivalent arg 'type'",
    ),
    "a type that does not exist": (lambda c: c.declare_exchange("x", "none"), 406, "invalid exchange type"),
    "a reserved queue name": (lambda c: c.declare_queue("amq.mine"), 403, "reserved prefix"),
    "a reserved exchange name": (lambda c: c.declare_exchange("amq.mine"), 403, "reserved prefix"),
    "the default exchange declared": (lambda c: c.declare_exchange(""), 403, "default exchange"),
    "the default exchange deleted": (lambda c: c.delete_exchange(""), 403, "default exchange"),
    "the default exchange bound": (lambda c: c.bind_queue("q", ""), 403, "default exchange"),
    "a predeclared exchange deleted": (lambda c: c.delete_exchange("amq.topic"), 403, "not allowed"),
    "a queue in use": (lambda c: c.delete_queue("used", if_unused=True), 406, "in use"),
    "a queue with messages": (lambda c: c.delete_queue("q", if_empty=True), 406, "not empty"),
    "an exchange in use": (lambda c: c.delete_exchange("bound", if_unused=True), 406, "in use"),
    "another connection's queue": (
        lambda c: c.declare_queue("locked", passive=True),
        405,
        "exclusive access",
    ),
    "another connection's queue consumed": (lambda c: c.consume("locked", print), 405, "exclusive access"),
    "another connection's queue deleted": (lambda c: c.delete_queue("locked"), 405, "exclusive access"),
}


@pytest.fixture
async def channel(node: AmqpNode) -> ClientChannel:
    """A channel beside queues ``q`` (one message), ``used`` and ``locked`` and exchange ``bound`` of another one."""
    other = await (await node.client()).channel()
    await other.declare_queue("q", durable=True)
    await other.declare_queue("used")
    await other.consume("used", print)
    await other.declare_queue("locked", exclusive=True)
    await other.declare_exchange("bound", "fanout")
    await other.bind_queue("q", "bound")
    other.publish([message(b"x")])
    await other.qos(1)
    return await (await node.client()).channel()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_closes_the_channel_with_rabbitmqs_code(
    channel: ClientChannel, name: str
) -> None:
    operation, code, text = REFUSED[name]
    closed: list[AmqpError] = []
    channel.when_closed = closed.append
    with pytest.raises(ChannelFault) as caught:
        await operation(channel)
    assert caught.value.code == code
    assert text in caught.value.text
    assert closed == [caught.value]
    with pytest.raises(ChannelFault):
        channel.publish([message(b"x")])
    again = await channel.client.channel()
    assert again.number == channel.number


async def test_declarations_answer_with_what_is_there(channel: ClientChannel) -> None:
    answer = await channel.declare_queue("q", durable=True)
    assert (answer.queue, answer.message_count, answer.consumer_count) == ("q", 1, 0)
    assert (await channel.declare_queue("used", passive=True)).consumer_count == 1
    assert await channel.purge_queue("q") == 1
    assert await channel.delete_queue("q", if_unused=True, if_empty=True) == 0


async def test_deleting_what_is_not_there_is_no_error(channel: ClientChannel) -> None:
    assert await channel.delete_queue("none") == 0
    await channel.delete_exchange("none")
    await channel.unbind_queue("q", "amq.topic", "never.bound")


async def test_a_server_named_queue_is_what_an_empty_name_means_afterwards(
    node: AmqpNode, channel: ClientChannel
) -> None:
    name = (await channel.declare_queue(exclusive=True)).queue
    assert name.startswith("amq.gen-")
    await channel.bind_queue("", "amq.fanout")
    channel.publish([message(b"x", exchange="amq.fanout")])
    got = await channel.get("")
    assert got is not None
    await channel.client.close()
    await until(lambda: name not in node.broker.vhosts["/"].queues)


async def test_an_auto_delete_queue_goes_with_its_last_consumer(
    node: AmqpNode, channel: ClientChannel
) -> None:
    await channel.declare_queue("auto", auto_delete=True)
    tag = await channel.consume("auto", print)
    await channel.cancel(tag)
    assert "auto" not in node.broker.vhosts["/"].queues


async def test_exchanges_are_bound_to_exchanges_and_unbound(channel: ClientChannel) -> None:
    await channel.declare_exchange("to", "fanout")
    await channel.bind_exchange("to", "amq.topic", "a.#")
    await channel.bind_queue("q", "to")
    await channel.purge_queue("q")
    channel.publish([message(b"1", "a.b", "amq.topic")])
    await channel.unbind_exchange("to", "amq.topic", "a.#")
    channel.publish([message(b"2", "a.b", "amq.topic")])
    assert (await channel.declare_queue("q", passive=True)).message_count == 1
    await channel.unbind_queue("q", "to")
    await channel.delete_exchange("to")


async def test_what_is_declared_without_waiting_is_there_for_what_follows(node: AmqpNode) -> None:
    peer = await node.peer()
    peer.send(
        spec.ExchangeDeclare(exchange="x", type="fanout", no_wait=True),
        spec.QueueDeclare(queue="nw", no_wait=True),
        spec.QueueBind(queue="nw", exchange="x", no_wait=True),
        spec.BasicConsume(queue="nw", consumer_tag="c", no_ack=True, no_wait=True),
    )
    peer.publish(message(b"x", exchange="x"))
    [(_, _, got)] = await peer.deliveries(1)
    assert got.body == b"x"
    peer.send(
        spec.BasicCancel("c", no_wait=True),
        spec.QueuePurge(queue="nw", no_wait=True),
        spec.QueueDelete(queue="nw", no_wait=True),
        spec.ExchangeDelete(exchange="x", no_wait=True),
        spec.ConfirmSelect(no_wait=True),
    )
    assert await peer.call(spec.AccessRequest("/data")) == spec.AccessRequestOk(1)
    assert "nw" not in node.broker.vhosts["/"].queues


async def test_what_follows_a_declaration_in_the_same_read_waits_for_it_in_order(node: AmqpNode) -> None:
    peer = await node.peer()
    for i in range(20):
        peer.machine.send(1, spec.QueueDeclare(queue=f"q{i}", durable=True))
    peer.machine.send(1, spec.BasicGet(queue="q19"))
    peer.flush()
    for i in range(20):
        assert await peer.method() == spec.QueueDeclareOk(f"q{i}", 0, 0)
    assert await peer.method() == spec.BasicGetEmpty()


@pytest.mark.parametrize(
    "method",
    [
        spec.ChannelFlow(False),
        spec.BasicQos(prefetch_size=5),
        spec.BasicRecover(requeue=False),
        spec.BasicRecoverAsync(requeue=False),
    ],
)
async def test_what_is_not_implemented_is_540(node: AmqpNode, method: spec.Method) -> None:
    peer = await node.peer()
    peer.send(method)
    closed = await peer.event()
    assert closed.code == 540  # type: ignore[attr-defined]


async def test_flow_and_update_secret_are_answered(node: AmqpNode) -> None:
    peer = await node.peer()
    assert await peer.call(spec.ChannelFlow(True)) == spec.ChannelFlowOk(True)
    assert await peer.call(spec.UpdateSecret(b"token", "renewed"), channel=0) == spec.UpdateSecretOk()


async def test_an_exclusive_queue_that_asked_to_be_durable_is_equivalent_to_itself(
    channel: ClientChannel,
) -> None:
    for _ in range(2):
        await channel.declare_queue("mine", durable=True, exclusive=True)
