"""Channels of the server on a real broker and a real socket: publishing, consuming, settling."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.amqp091 import spec
from edge.amqp091.credentials import Credentials
from edge.amqp091.events import AckRun, ConnectionClosed, ContentReceived, MethodReceived
from edge.amqp091.outbound import encode_acks, encode_nacks
from edge.broker import Broker
from edge.core.message import MANDATORY, Message
from edge.core.table import Table
from tests.unit.amqp091.conftest import (
    DURABLE,
    AmqpNode,
    assert_closed_with,
    confirmed,
    message,
    running,
    until,
    with_queue,
)

# publishing


async def test_a_confirm_comes_when_the_message_is_on_the_disk(node: AmqpNode) -> None:
    await with_queue(node, b"1", b"2", b"3")
    queue = node.broker.vhosts["/"].queues["q"]
    assert queue.committed_sequence == queue.next_sequence == 3


async def test_confirms_of_a_run_are_one_multiple_ack(node: AmqpNode) -> None:
    peer = await with_queue(node)
    peer.publish(*[message(b"x")] * 100)
    run = await peer.event()
    assert isinstance(run, AckRun)
    assert (run.tags, run.multiple) == ([100], True)


async def test_nacks_part_the_confirms_of_a_run_in_order(node: AmqpNode) -> None:
    peer = await with_queue(node)
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    await peer.call(spec.QueueDeclare(queue="small", durable=True, arguments=arguments))
    keys = ("small", "small", "q", "q", "small", "small")
    peer.publish(*[message(b"x", key) for key in keys])
    answers: list[tuple[str, int, bool]] = []
    while not answers or answers[-1][1] < 6:
        event = await peer.event()
        if isinstance(event, AckRun):
            answers += [("ack", tag, event.multiple) for tag in event.tags]
        else:
            assert isinstance(event, MethodReceived)
            assert isinstance(event.method, spec.BasicNack)
            answers.append(("nack", event.method.delivery_tag, event.method.multiple))
    assert answers == [("ack", 1, False), ("nack", 2, False), ("ack", 4, True), ("nack", 6, True)]
    peer.publish(message(b"x", "small"), message(b"x"))
    assert isinstance((await peer.event()), MethodReceived)
    await confirmed(peer, 8)


async def test_an_unroutable_mandatory_message_comes_back_before_its_confirm(node: AmqpNode) -> None:
    peer = await with_queue(node)
    peer.publish(message(b"kept"), message(b"lost", "nowhere"), message(b"back", "nowhere", flags=MANDATORY))
    returned = await peer.event()
    assert isinstance(returned, ContentReceived)
    assert returned.method == spec.BasicReturn(312, "NO_ROUTE", "", "nowhere")
    assert (returned.message.body, returned.message.properties) == (b"back", DURABLE)
    await confirmed(peer, 3)


async def test_nothing_is_confirmed_before_what_was_published_earlier(node: AmqpNode) -> None:
    peer = await with_queue(node)
    await peer.call(spec.QueueDeclare(queue="transient"))
    peer.publish(
        message(b"durable"), message(b"transient", "transient"), message(b"none", "nowhere", "amq.fanout")
    )
    tags: list[int] = []
    while not tags or tags[-1] < 3:
        run = await peer.event()
        assert isinstance(run, AckRun)
        tags += run.tags
    assert tags == sorted(tags)


async def test_publishing_to_a_missing_exchange_is_404_and_what_came_before_it_stays(node: AmqpNode) -> None:
    peer = await with_queue(node)
    peer.publish(message(b"x"), message(b"y", exchange="nowhere"), message(b"z"))
    events = [await peer.event()]
    while isinstance(events[-1], AckRun):
        events.append(await peer.event())
    assert isinstance(events[-1], MethodReceived)
    assert_closed_with(events[-1].method, 404, "no exchange 'nowhere' in vhost '/'")
    assert node.broker.vhosts["/"].queues["q"].messages == 1


async def test_publishing_to_an_internal_exchange_is_403(node: AmqpNode) -> None:
    peer = await node.peer()
    await peer.call(spec.ExchangeDeclare(exchange="inside", type="fanout", internal=True))
    peer.publish(message(b"x", exchange="inside"))
    assert_closed_with(await peer.method(), 403, "internal exchange")


async def test_a_congested_node_does_not_read_from_its_publishers(
    node: AmqpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await with_queue(node)
    relieved: list[Callable[[], None]] = []
    monkeypatch.setattr(Broker, "congested", True)
    monkeypatch.setattr(Broker, "when_relieved", lambda self, callback: relieved.append(callback))
    peer.publish(message(b"1"))
    await confirmed(peer, 1)
    queue = node.broker.vhosts["/"].queues["q"]
    peer.publish(message(b"2"))
    await peer.silence()
    assert queue.messages == 1
    assert len(relieved) == 1
    monkeypatch.setattr(Broker, "congested", False)
    relieved[0]()
    await confirmed(peer, 2)
    assert queue.messages == 2


async def test_large_messages_pass_in_frames_of_the_agreed_size(node: AmqpNode) -> None:
    body = bytes(range(256)) * 4000
    peer = await node.peer(Credentials(frame_max=4096))
    await peer.call(spec.QueueDeclare(queue="q", durable=True))
    peer.publish(message(body))
    peer.send(spec.BasicGet(queue="q", no_ack=True))
    got = await peer.event()
    assert isinstance(got, ContentReceived)
    assert got.message.body == body


# consuming


async def test_messages_are_delivered_in_order_and_acknowledged(node: AmqpNode) -> None:
    peer = await with_queue(node, b"1", b"2", b"3")
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    got = await peer.deliveries(3)
    assert [(tag, redelivered, each.body) for tag, redelivered, each in got] == [
        (1, False, b"1"),
        (2, False, b"2"),
        (3, False, b"3"),
    ]
    queue = node.broker.vhosts["/"].queues["q"]
    peer.writer.write(encode_acks(1, [2], False) + encode_acks(1, [1], False))
    await until(lambda: queue.messages == 1)
    peer.writer.write(encode_acks(1, [0], True))
    await until(lambda: queue.messages == 0)


async def test_prefetch_bounds_what_is_unacknowledged_for_each_consumer(node: AmqpNode) -> None:
    peer = await with_queue(node, *[b"%d" % i for i in range(10)])
    await peer.call(spec.BasicQos(prefetch_count=2))
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="a"))
    await peer.deliveries(2)
    await peer.silence()
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="b"))
    got = await peer.deliveries(2)
    assert [each.body for _, _, each in got] == [b"2", b"3"]
    await peer.silence()
    peer.writer.write(encode_acks(1, [1], False))
    [(tag, _, each)] = await peer.deliveries(1)
    assert (tag, each.body) == (5, b"4")


async def test_a_shared_prefetch_bounds_all_consumers_of_the_channel_together(node: AmqpNode) -> None:
    peer = await with_queue(node, *[b"%d" % i for i in range(10)])
    await peer.call(spec.BasicQos(prefetch_count=3, global_=True))
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="a"))
    await peer.deliveries(3)
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="b"))
    await peer.silence()
    peer.writer.write(encode_acks(1, [2], True))
    assert len(await peer.deliveries(2)) == 2
    await peer.silence()


async def test_a_shared_prefetch_that_is_used_up_holds_back_consumers_without_acknowledgement_too(
    node: AmqpNode,
) -> None:
    """``rabbit_limiter:can_send``, though the specification says that it does not concern them."""
    peer = await with_queue(node, *[b"%d" % i for i in range(4)])
    await peer.call(spec.BasicQos(prefetch_count=2, global_=True))
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="a"))
    await peer.deliveries(2)
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="b", no_ack=True))
    await peer.silence()
    await peer.call(spec.BasicCancel("a"))
    peer.writer.write(encode_acks(1, [1], False))
    assert len(await peer.deliveries(2)) == 2


async def test_consumers_without_acknowledgement_get_everything_at_once(node: AmqpNode) -> None:
    peer = await with_queue(node, b"1", b"2")
    await peer.call(spec.BasicConsume(queue="q", no_ack=True))
    assert len(await peer.deliveries(2)) == 2
    assert node.broker.vhosts["/"].queues["q"].messages == 0


async def test_a_reader_that_is_slow_stops_deliveries_and_goes_on_later(node: AmqpNode) -> None:
    peer = await with_queue(node)
    body = b"x" * 50_000
    peer.publish(*[message(body)] * 400)
    await confirmed(peer, 400)
    slow = await node.peer()
    slow.pause()
    slow.send(spec.BasicConsume(queue="q", no_ack=True))
    queue = node.broker.vhosts["/"].queues["q"]
    await until(lambda: queue.messages < 400)
    await asyncio.sleep(0.1)
    waiting = queue.messages_ready
    assert waiting > 100
    slow.resume()
    assert isinstance(await slow.method(), spec.BasicConsumeOk)
    assert len(await slow.deliveries(400)) == 400


@pytest.mark.parametrize(
    ("method", "left"),
    [
        (spec.BasicReject(2, requeue=True), [b"1", b"2", b"3"]),
        (spec.BasicNack(2, multiple=True, requeue=True), [b"1", b"2", b"3"]),
        (spec.BasicReject(2, requeue=False), [b"1", b"3"]),
        (spec.BasicNack(2, multiple=True, requeue=False), [b"3"]),
        (spec.BasicRecover(requeue=True), [b"1", b"2", b"3"]),
        (spec.BasicRecoverAsync(requeue=True), [b"1", b"2", b"3"]),
    ],
)
async def test_what_is_given_back_goes_to_its_place_and_is_marked_redelivered(
    node: AmqpNode, method: spec.Method, left: list[bytes]
) -> None:
    peer = await with_queue(node, b"1", b"2", b"3")
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    await peer.deliveries(3)
    await peer.call(spec.BasicCancel("c"))
    peer.send(method)
    if isinstance(method, spec.BasicRecover):
        assert await peer.method() == spec.BasicRecoverOk()
    peer.send(spec.ChannelClose())
    queue = node.broker.vhosts["/"].queues["q"]
    await until(lambda: queue.messages_ready == len(left))
    other = await node.peer()
    await other.call(spec.BasicConsume(queue="q"))
    got = await other.deliveries(len(left))
    assert [each.body for _, _, each in got] == left
    assert all(redelivered for _, redelivered, _ in got)


@pytest.mark.parametrize("ending", ["channel", "connection", "socket"])
async def test_unacknowledged_messages_go_to_another_consumer_when_theirs_is_gone(
    node: AmqpNode, ending: str
) -> None:
    peer = await with_queue(node, b"1", b"2")
    await peer.call(spec.BasicConsume(queue="q"))
    await peer.deliveries(2)
    other = await node.peer()
    await other.call(spec.BasicConsume(queue="q"))
    if ending == "channel":
        assert await peer.call(spec.ChannelClose()) == spec.ChannelCloseOk()
    elif ending == "connection":
        peer.send(spec.Close(200, "bye"), channel=0)
    else:
        peer.writer.transport.abort()
    got = await other.deliveries(2)
    assert [(redelivered, each.body) for _, redelivered, each in got] == [(True, b"1"), (True, b"2")]


@pytest.mark.parametrize(
    "settle",
    [
        encode_acks(1, [7], False),
        encode_acks(1, [1, 1], False),
        encode_acks(1, [0], False),
        encode_acks(1, [1], True) + encode_acks(1, [1], True),
        encode_nacks(1, [7], False, True),
    ],
)
async def test_an_unknown_delivery_tag_is_406(node: AmqpNode, settle: bytes) -> None:
    peer = await with_queue(node, b"1")
    await peer.call(spec.BasicConsume(queue="q"))
    await peer.deliveries(1)
    peer.writer.write(settle)
    assert_closed_with(await peer.method(), 406, "unknown delivery tag")


async def test_acknowledging_is_per_source_and_tags_are_of_the_channel(node: AmqpNode) -> None:
    peer = await with_queue(node, b"1", b"2", b"3", b"4")
    await peer.call(spec.QueueDeclare(queue="other"))
    peer.publish(message(b"a", "other"), message(b"b", "other"))
    await confirmed(peer, 6)
    await peer.call(spec.BasicQos(prefetch_count=2))
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    await peer.deliveries(2)
    await peer.call(spec.BasicConsume(queue="other", consumer_tag="d"))
    await peer.deliveries(2)
    queues = node.broker.vhosts["/"].queues
    peer.writer.write(encode_acks(1, [3], True))
    await until(lambda: queues["q"].messages == 2 and queues["other"].messages == 1)
    got = await peer.deliveries(2)
    peer.writer.write(encode_acks(1, [got[1][0], 4, got[0][0]], False))
    await until(lambda: queues["q"].messages == queues["other"].messages == 0)


async def test_a_consumer_tag_used_twice_is_530(node: AmqpNode) -> None:
    peer = await with_queue(node)
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    peer.send(spec.BasicConsume(queue="q", consumer_tag="c"))
    closed = await peer.event()
    assert isinstance(closed, ConnectionClosed)
    assert closed.code == 530


async def test_an_exclusive_consumer_shares_with_nobody(node: AmqpNode) -> None:
    peer = await with_queue(node)
    await peer.call(spec.BasicConsume(queue="q", exclusive=True))
    other = await node.peer()
    assert_closed_with(await other.call(spec.BasicConsume(queue="q")), 403, "exclusive use")


@pytest.mark.parametrize("knows", [True, False])
async def test_clients_that_want_to_know_are_told_when_their_queue_is_deleted(
    node: AmqpNode, knows: bool
) -> None:
    properties: Table = {} if knows else {"capabilities": {}}
    peer = await node.peer(Credentials(properties=properties))
    await peer.call(spec.QueueDeclare(queue="q"))
    await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
    peer.publish(message(b"x"))
    await peer.deliveries(1)
    other = await node.peer()
    await other.call(spec.QueueDelete(queue="q"))
    if knows:
        assert await peer.method() == spec.BasicCancel("c", True)
    peer.writer.write(encode_acks(1, [1], False))
    assert await peer.call(spec.BasicCancel("c")) == spec.BasicCancelOk("c")


async def test_basic_get_takes_one_message_and_tells_how_many_are_left(node: AmqpNode) -> None:
    peer = await with_queue(node, b"1", b"2")
    peer.send(spec.BasicGet(queue="q"), spec.BasicGet(queue="q", no_ack=True), spec.BasicGet(queue="q"))
    got = [await peer.event() for _ in range(2)]
    for event, body, tag, left in zip(got, (b"1", b"2"), (1, 2), (1, 0), strict=True):
        assert isinstance(event, ContentReceived)
        assert event.method == spec.BasicGetOk(tag, False, "", "q", left)
        assert event.message.body == body
    assert await peer.method() == spec.BasicGetEmpty()
    peer.writer.write(encode_acks(1, [1], False))
    await until(lambda: node.broker.vhosts["/"].queues["q"].messages == 0)


async def test_basic_get_waits_for_a_head_that_is_on_disk(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as first:
        await with_queue(first, b"1", b"2")
    async with running(tmp_path / "data") as node:
        peer = await node.peer()
        assert not node.broker.vhosts["/"].queues["q"].ready
        peer.send(*[spec.BasicGet(queue="q", no_ack=True)] * 3)
        for body in (b"1", b"2"):
            event = await peer.event()
            assert isinstance(event, ContentReceived)
            assert event.message.body == body
        assert await peer.method() == spec.BasicGetEmpty()


# Leveret to Leveret


async def test_a_sequenced_consumer_gets_the_sequence_as_delivery_tag(node: AmqpNode) -> None:
    peer = await with_queue(node, b"1", b"2", b"3")
    channel = await peer.open_channel()
    arguments: Table = {"x-leveret-sequence": True}
    ok = await peer.call(spec.BasicConsume(queue="q", arguments=arguments), channel)
    queue = node.broker.vhosts["/"].queues["q"]
    assert ok == spec.BasicConsumeOk(f"seq-{node.broker.node_id}-{queue.id}")
    got = await peer.deliveries(3, channel)
    assert [tag for tag, _, _ in got] == [1, 2, 3]
    peer.writer.write(encode_nacks(channel, [2], False, True))
    [(tag, redelivered, each)] = await peer.deliveries(1, channel)
    assert (tag, redelivered, each.body) == (2, True, b"2")
    peer.writer.write(encode_acks(channel, [2], True))
    await until(lambda: queue.messages == 1)


@pytest.mark.parametrize("method", [spec.BasicConsume(queue="q"), spec.BasicGet(queue="q")])
async def test_a_sequenced_consumer_has_its_channel_for_itself(node: AmqpNode, method: spec.Method) -> None:
    peer = await with_queue(node)
    await peer.call(spec.BasicConsume(queue="q", arguments={"x-leveret-sequence": True}))
    assert_closed_with(await peer.call(method), 406, "channel of its own")


async def test_a_consumer_of_higher_priority_is_served_first(node: AmqpNode) -> None:
    peer = await with_queue(node)
    await peer.call(
        spec.BasicConsume(queue="q", consumer_tag="low", no_ack=True, arguments={"x-priority": -5})
    )
    await peer.call(
        spec.BasicConsume(queue="q", consumer_tag="high", no_ack=True, arguments={"x-priority": 5})
    )
    await node.broker.store.committed()
    consumers = node.broker.vhosts["/"].queues["q"].consumers
    assert [consumer.tag for consumer in consumers] == ["high", "low"]
    answer = await peer.call(spec.BasicConsume(queue="q", arguments={"x-priority": "first"}))
    assert_closed_with(answer, 406, "x-priority")


async def test_a_routing_key_that_is_too_long_for_the_wire_is_cut(node: AmqpNode) -> None:
    """MQTT publishes such; nothing of a message may break a consumer's connection."""
    peer = await with_queue(node)
    await peer.call(spec.QueueBind(queue="q", exchange="amq.topic", routing_key="#"))
    long = Message("amq.topic", "k" * 300, DURABLE, b"x")
    node.broker.publish(node.broker.vhosts["/"], "amq.topic", [long, long])
    peer.send(spec.BasicGet(queue="q", no_ack=True), spec.BasicConsume(queue="q", no_ack=True))
    got = await peer.event()
    assert isinstance(got, ContentReceived)
    assert got.message.routing_key == "k" * 255
    assert isinstance(await peer.method(), spec.BasicConsumeOk)
    [(_, _, delivered)] = await peer.deliveries(1)
    assert delivered.routing_key == "k" * 255


async def test_the_reply_consumer_of_direct_replies_is_one_a_channel_and_without_acks(node: AmqpNode) -> None:
    peer = await node.peer(channels=2)
    consume = spec.BasicConsume(queue="amq.rabbitmq.reply-to", no_ack=True)
    assert isinstance(await peer.call(consume), spec.BasicConsumeOk)
    passive = spec.QueueDeclare(queue="amq.rabbitmq.reply-to", passive=True)
    assert await peer.call(passive) == spec.QueueDeclareOk("amq.rabbitmq.reply-to", 0, 1)
    assert_closed_with(await peer.call(consume), 406, "already set")
    acknowledged = spec.BasicConsume(queue="amq.rabbitmq.reply-to")
    assert_closed_with(await peer.call(acknowledged, channel=2), 406, "cannot acknowledge")
