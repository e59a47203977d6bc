"""Transactions, CC and BCC, direct reply-to and the like: the same steps against Leveret and against RabbitMQ."""

import pytest

from edge.amqp091 import spec
from edge.amqp091.events import ContentReceived
from edge.core.message import MANDATORY, Message
from edge.core.properties import BasicProperties, decode_properties, encode_properties
from edge.core.table import Table
from tests.conformance.conftest import Bench, closing, get, ready
from tests.helpers.amqp import RawPeer
from tests.wire.amqp_refusals import CHANNEL, CONNECTION

DIRECT_REPLY = "amq.rabbitmq.reply-to"


def message(
    key: str, body: bytes = b"x", exchange: str = "", flags: int = 0, **properties: object
) -> Message:
    return Message(exchange, key, encode_properties(BasicProperties(**properties)), body, flags=flags)  # type: ignore[arg-type]


async def with_queues(bench: Bench, *names: str, **arguments: object) -> RawPeer:
    """A peer with two channels and queues of its own."""
    peer = await bench.peer(2)
    for name in names:
        await peer.call(spec.QueueDeclare(queue=name, exclusive=True, arguments=arguments))
    return peer


async def with_transaction(bench: Bench, name: str, *bodies: bytes, **arguments: object) -> RawPeer:
    """A peer with a queue that holds messages, and a transaction on channel 1."""
    peer = await with_queues(bench, name, **arguments)
    peer.publish(*[message(name, body) for body in bodies])
    while await ready(peer, name) < len(bodies):
        pass
    assert await peer.call(spec.TxSelect()) == spec.TxSelectOk()
    assert await peer.call(spec.TxSelect()) == spec.TxSelectOk()
    return peer


# tx


async def test_what_a_transaction_publishes_arrives_at_its_commit(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.publish")
    peer.publish(message("tx.publish", b"1"), message("tx.publish", b"2"))
    assert await ready(peer, "tx.publish") == 0
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await ready(peer, "tx.publish", channel=2) == 2
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await ready(peer, "tx.publish", channel=2) == 2


async def test_a_rollback_forgets_publishes_and_acknowledgements(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.rollback", b"old")
    peer.publish(message("tx.rollback", b"new"))
    assert await get(peer, "tx.rollback", no_ack=False) is not None
    peer.send(spec.BasicAck(1))
    assert await peer.call(spec.TxRollback()) == spec.TxRollbackOk()
    assert await ready(peer, "tx.rollback") == 0
    peer.send(spec.BasicAck(1))
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await get(peer, "tx.rollback") is None


async def test_what_is_acknowledged_and_not_committed_comes_back_when_the_channel_closes(
    bench: Bench,
) -> None:
    peer = await with_transaction(bench, "tx.close", b"1", b"2")
    assert await get(peer, "tx.close", no_ack=False) is not None
    assert await get(peer, "tx.close", no_ack=False) is not None
    peer.send(spec.BasicAck(1))
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    peer.send(spec.BasicAck(0, multiple=True))
    assert await peer.call(spec.ChannelClose()) == spec.ChannelCloseOk()
    got = await get(peer, "tx.close", channel=2)
    assert got is not None
    assert got.body == b"2"


@pytest.mark.parametrize("settle", [spec.BasicNack(1, False, True), spec.BasicReject(1, True)])
async def test_what_is_refused_goes_back_at_the_commit(bench: Bench, settle: spec.Method) -> None:
    peer = await with_transaction(bench, "tx.refuse", b"1")
    assert await get(peer, "tx.refuse", no_ack=False) is not None
    peer.send(settle)
    assert await ready(peer, "tx.refuse") == 0
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await ready(peer, "tx.refuse") == 1


async def test_recovery_leaves_what_the_transaction_has_settled(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.recover", b"1", b"2")
    assert await get(peer, "tx.recover", no_ack=False) is not None
    assert await get(peer, "tx.recover", no_ack=False) is not None
    peer.send(spec.BasicAck(1))
    assert await peer.call(spec.BasicRecover(requeue=True)) == spec.BasicRecoverOk()
    assert await ready(peer, "tx.recover") == 1
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await ready(peer, "tx.recover") == 1


@pytest.mark.parametrize("multiple", [False, True])
async def test_acknowledging_twice_in_a_transaction_is_an_unknown_tag(bench: Bench, multiple: bool) -> None:
    peer = await with_transaction(bench, "tx.twice", b"1")
    assert await get(peer, "tx.twice", no_ack=False) is not None
    peer.send(spec.BasicAck(1), spec.BasicAck(1, multiple))
    answer, text = await closing(peer)
    assert answer == (CHANNEL, 406, spec.BasicAck.ID)
    assert "unknown delivery tag 1" in text


async def test_unbinding_what_is_not_bound_is_no_error_whosever_the_queue(bench: Bench) -> None:
    """``rabbit_binding:remove`` looks at the queue only when there is a binding."""
    peer, owner = await bench.peer(), await bench.peer()
    await owner.call(spec.QueueDeclare(queue="methods.locked", exclusive=True))
    for queue in ("methods.none", "methods.locked"):
        unbind = spec.QueueUnbind(queue=queue, exchange="amq.direct", routing_key="a")
        assert await peer.call(unbind) == spec.QueueUnbindOk()
    await owner.call(spec.QueueBind(queue="methods.locked", exchange="amq.direct", routing_key="a"))
    closed = await peer.call(spec.QueueUnbind(queue="methods.locked", exchange="amq.direct", routing_key="a"))
    assert isinstance(closed, spec.ChannelClose)
    assert closed.reply_code == 405


async def test_a_queue_whose_messages_are_all_delivered_is_empty(bench: Bench) -> None:
    """``queue.delete`` with ``if-empty`` counts what is ready."""
    peer = await bench.peer()
    await peer.call(spec.QueueDeclare(queue="methods.delivered"))
    peer.publish(Message("", "methods.delivered", b"\x00\x00", b"x"))
    assert await get(peer, "methods.delivered", no_ack=False) is not None
    assert await peer.call(spec.QueueDelete(queue="methods.delivered", if_empty=True)) == spec.QueueDeleteOk(
        0
    )


@pytest.mark.parametrize(("if_unused", "if_empty"), [(True, False), (True, True), (False, True)])
async def test_a_quorum_queue_is_not_deleted_on_conditions(
    bench: Bench, if_unused: bool, if_empty: bool
) -> None:
    """``rabbit_quorum_queue:delete``."""
    peer, other = await bench.peer(), await bench.peer()
    arguments: Table = {"x-queue-type": "quorum"}
    await peer.call(spec.QueueDeclare(queue="methods.quorum", durable=True, arguments=arguments))
    peer.send(spec.QueueDelete(queue="methods.quorum", if_unused=if_unused, if_empty=if_empty))
    answer, text = await closing(peer)
    assert answer == (CONNECTION, 540, spec.QueueDelete.ID)
    assert f"with {'if-unused' if if_unused else 'if-empty'} flag set are not supported by quorum" in text
    assert await other.call(spec.QueueDelete(queue="methods.quorum")) == spec.QueueDeleteOk(0)


async def test_a_missing_exchange_is_told_at_the_publish(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.missing")
    peer.publish(message("k", exchange="none"))
    assert (await closing(peer))[0] == (CHANNEL, 404, spec.BasicPublish.ID)


async def test_what_is_mandatory_and_finds_no_queue_returns_before_the_commit_is_told(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.mandatory")
    peer.publish(message("tx.nowhere", b"back", flags=MANDATORY))
    peer.send(spec.TxCommit())
    returned = await peer.event()
    assert isinstance(returned, ContentReceived)
    assert returned.message.body == b"back"
    assert await peer.method() == spec.TxCommitOk()


async def test_a_queue_deleted_before_the_commit_takes_nothing(bench: Bench) -> None:
    peer = await with_transaction(bench, "tx.deleted")
    peer.publish(message("tx.deleted"))
    assert await peer.call(spec.QueueDelete(queue="tx.deleted"), channel=2) == spec.QueueDeleteOk(0)
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()


async def test_a_full_queue_fails_the_commit(bench: Bench) -> None:
    limits: dict[str, object] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    peer = await with_transaction(bench, "tx.full", **limits)
    peer.publish(message("tx.full", b"1"), message("tx.full", b"2"))
    peer.send(spec.TxCommit())
    answer, text = await closing(peer)
    assert answer == (CHANNEL, 406, spec.TxCommit.ID)
    assert "partial tx completion" in text
    assert await ready(peer, "tx.full", channel=2) == 1


# CC and BCC


async def test_copies_go_to_every_queue_once_and_only_cc_is_shown(bench: Bench) -> None:
    peer = await with_queues(bench, "cc.1", "cc.2", "cc.3")
    await peer.call(spec.ConfirmSelect())
    headers = {"CC": ["cc.2", 5], "BCC": ["cc.3", "cc.1", "cc.none"], "x": "y"}
    peer.publish(message("cc.1", headers=headers, message_id="7"))
    await peer.event()
    for queue in ("cc.1", "cc.2", "cc.3"):
        got = await get(peer, queue)
        assert got is not None
        assert got.routing_key == "cc.1"
        properties = decode_properties(got.properties)
        assert properties.headers == {"CC": ["cc.2", 5], "x": "y"}
        assert properties.message_id == "7"
        assert await get(peer, queue) is None


async def test_copies_are_routed_together_so_that_an_alternate_exchange_takes_what_none_of_the_keys_finds(
    bench: Bench,
) -> None:
    peer = await with_queues(bench, "cc.found", "cc.lost")
    for name, arguments in (("cc.alternate", {}), ("cc.topic", {"alternate-exchange": "cc.alternate"})):
        kind = "topic" if arguments else "fanout"
        await peer.call(
            spec.ExchangeDeclare(exchange=name, type=kind, auto_delete=True, arguments=dict(arguments))
        )
    await peer.call(spec.QueueBind(queue="cc.lost", exchange="cc.alternate"))
    await peer.call(spec.QueueBind(queue="cc.found", exchange="cc.topic", routing_key="a.*"))
    peer.publish(message("x", b"1", "cc.topic", headers={"CC": ["a.b"]}))
    peer.publish(message("x", b"2", "cc.topic", headers={"CC": ["y"]}))
    while await ready(peer, "cc.lost", channel=2) < 1:
        pass
    assert await ready(peer, "cc.found", channel=2) == 1
    got = await get(peer, "cc.lost", channel=2)
    assert got is not None
    assert got.body == b"2"


async def test_copies_of_a_transaction_arrive_with_it(bench: Bench) -> None:
    peer = await with_queues(bench, "cc.tx.1", "cc.tx.2")
    await peer.call(spec.TxSelect())
    peer.publish(message("cc.tx.1", headers={"BCC": ["cc.tx.2"]}))
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert await ready(peer, "cc.tx.1") == await ready(peer, "cc.tx.2") == 1


# direct reply-to


async def test_a_direct_reply_finds_its_requester_as_long_as_it_waits(bench: Bench) -> None:
    requester = await with_queues(bench, "reply.requests")
    consume = spec.BasicConsume(queue=DIRECT_REPLY, no_ack=True, consumer_tag="replies")
    assert await requester.call(consume) == spec.BasicConsumeOk("replies")
    requester.publish(message("reply.requests", b"?", reply_to=DIRECT_REPLY, correlation_id="7"))
    while await ready(requester, "reply.requests", channel=2) < 1:
        pass
    request = await get(requester, "reply.requests", channel=2)
    assert request is not None
    reply_to = decode_properties(request.properties).reply_to
    assert reply_to is not None
    assert reply_to.startswith(f"{DIRECT_REPLY}.")

    responder = await bench.peer()
    for declare in (spec.QueueDeclare(queue=reply_to, passive=True), spec.QueueDeclare(queue=reply_to)):
        assert await responder.call(declare) == spec.QueueDeclareOk(reply_to, 0, 1)
    responder.publish(message(reply_to, b"!", correlation_id="7"))
    [(_, _, reply)] = await requester.deliveries(1)
    assert (reply.body, reply.exchange, reply.routing_key) == (b"!", "", reply_to)

    assert await requester.call(spec.BasicCancel("replies")) == spec.BasicCancelOk("replies")
    responder.publish(message(reply_to, b"late", flags=MANDATORY))
    returned = await responder.event()
    assert isinstance(returned, ContentReceived)
    assert returned.method.reply_code == 312  # type: ignore[attr-defined]
    responder.send(spec.QueueDeclare(queue=reply_to, passive=True))
    answer, text = await closing(responder)
    assert answer == (CHANNEL, 404, spec.QueueDeclare.ID)
    assert f"no queue '{reply_to}' in vhost '/'" in text
    assert await requester.call(consume) == spec.BasicConsumeOk("replies")


# the rest


async def test_a_user_may_say_who_it_is(bench: Bench) -> None:
    peer = await with_queues(bench, "user.own")
    await peer.call(spec.ConfirmSelect())
    peer.publish(message("user.own", user_id="guest"))
    await peer.event()
    assert await ready(peer, "user.own") == 1


async def test_nothing_answers_what_is_not_waited_for(bench: Bench) -> None:
    peer = await bench.peer()
    peer.send(
        spec.ExchangeDeclare(exchange="nowait.x", type="fanout", no_wait=True),
        spec.ExchangeDeclare(exchange="nowait.x", passive=True, no_wait=True),
        spec.QueueDeclare(queue="nowait.q", exclusive=True, no_wait=True),
        spec.QueueDeclare(queue="nowait.q", passive=True, no_wait=True),
        spec.ExchangeBind(destination="nowait.x", source="amq.fanout", no_wait=True),
        spec.QueueBind(queue="nowait.q", exchange="nowait.x", no_wait=True),
        spec.BasicConsume(queue="nowait.q", consumer_tag="c", no_ack=True, no_wait=True),
        spec.BasicCancel("c", no_wait=True),
        spec.QueuePurge(queue="nowait.q", no_wait=True),
        spec.ConfirmSelect(no_wait=True),
        spec.ExchangeUnbind(destination="nowait.x", source="amq.fanout", no_wait=True),
        spec.QueueDelete(queue="nowait.q", no_wait=True),
        spec.ExchangeDelete(exchange="nowait.x", no_wait=True),
    )
    assert await peer.call(spec.BasicQos()) == spec.BasicQosOk()
