"""Transactions on a real broker: one commit to the disk, all or nothing; the bound of what is not committed."""

import shutil
from pathlib import Path

import pytest

from edge.amqp091 import server_tx, spec
from edge.amqp091.events import ConnectionClosed, ContentReceived
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties
from tests.helpers.amqp import RawPeer
from tests.unit.amqp091.conftest import AmqpNode, message, running, with_queue


async def with_transaction(node: AmqpNode, *bodies: bytes) -> RawPeer:
    await with_queue(node, *bodies)
    peer = await node.peer()
    await peer.call(spec.QueueDeclare(queue="other", durable=True))
    assert await peer.call(spec.TxSelect()) == spec.TxSelectOk()
    return peer


async def test_tx_commit_is_one_commit_to_the_disk_and_told_after_it(node: AmqpNode) -> None:
    peer = await with_transaction(node, b"1", b"2")
    for tag in (1, 2):
        peer.send(spec.BasicGet(queue="q"))
        got = await peer.event()
        assert isinstance(got, ContentReceived)
        assert got.method.delivery_tag == tag  # type: ignore[attr-defined]
    commits = node.broker.store.commits
    peer.publish(message(b"3", "other"), message(b"4", "q"))
    peer.send(spec.BasicAck(2, multiple=True), spec.BasicQos())
    assert await peer.method() == spec.BasicQosOk()
    assert node.broker.store.commits == commits
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    assert node.broker.store.commits == commits + 1
    queues = node.broker.vhosts["/"].queues
    assert queues["other"].committed_sequence == 1
    assert queues["q"].committed_sequence == 3
    assert queues["q"].settled.low == 2


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_crash_leaves_all_of_a_transaction_or_nothing(tmp_path: Path, is_committed: bool) -> None:
    async with running(tmp_path / "data") as node:
        peer = await with_transaction(node, b"1")
        peer.send(spec.BasicGet(queue="q"))
        await peer.event()
        peer.publish(message(b"2", "other"))
        peer.send(spec.BasicAck(1))
        if is_committed:
            assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
        else:
            peer.send(spec.BasicQos())
            assert await peer.method() == spec.BasicQosOk()
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    async with running(tmp_path / "crashed") as node:
        queues = node.broker.vhosts["/"].queues
        assert queues["q"].messages == (0 if is_committed else 1)
        assert queues["other"].messages == (1 if is_committed else 0)


async def test_a_transaction_is_bounded(node: AmqpNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tx, "UNCOMMITTED_BYTES_MAX", 5_000)
    peer = await with_transaction(node)
    peer.publish(*[message(b"x" * 1000)] * 3)
    assert await peer.call(spec.TxCommit()) == spec.TxCommitOk()
    peer.publish(*[message(b"x" * 1000)] * 3)
    assert await peer.call(spec.TxRollback()) == spec.TxRollbackOk()
    peer.publish(*[message(b"x" * 1000)] * 6)
    closed = await peer.event()
    assert isinstance(closed, ConnectionClosed)
    assert (closed.code, closed.method) == (506, spec.BasicPublish.ID)
    assert "commit more often" in closed.text


async def test_only_an_impersonator_may_publish_in_anothers_name(node: AmqpNode) -> None:
    node.broker.set_user("guest", "guest", ["administrator", "impersonator"])
    peer = await with_queue(node)
    properties = encode_properties(BasicProperties(user_id="bob"))
    peer.publish(Message("", "q", properties, b"x"))
    await peer.event()
    assert node.broker.vhosts["/"].queues["q"].messages == 1
