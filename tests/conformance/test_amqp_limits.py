"""Limits of users and vhosts, against Leveret and against RabbitMQ; bounds of our own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge.amqp091 import server_channel, server_consumer, spec
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import ConnectionFault
from edge.amqp091.events import AckRun, DeliverRun
from edge.auth.users import Permission
from edge.core.message import Message
from tests.conformance.conftest import Bench, closing, get
from tests.helpers.amqp import RawPeer
from tests.helpers.leveret import LeveretInProcess, Ports
from tests.helpers.rabbitmq import RabbitMQ
from tests.wire.amqp_refusals import CHANNEL, CONNECTION

CAPPED = Credentials("capped", "secret")
IN_SMALL = Credentials(vhost="small")
OPEN = Permission("capped", "/", ".*", ".*", ".*")


@pytest.fixture(params=["leveret", "rabbitmq"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A broker with a user ``capped`` and a vhost ``small``: of everything that can be limited, one."""
    if request.param == "leveret":
        return _bench(request, "at_leveret")
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    if "capped" not in rabbitmq.ctl("list_users"):
        rabbitmq.ctl("add_user", CAPPED.username, CAPPED.password)
        rabbitmq.ctl("set_permissions", CAPPED.username, ".*", ".*", ".*")
        rabbitmq.ctl("set_user_limits", CAPPED.username, '{"max-connections": 1, "max-channels": 1}')
        rabbitmq.ctl("add_vhost", IN_SMALL.vhost)
        rabbitmq.ctl("set_permissions", "-p", IN_SMALL.vhost, "guest", ".*", ".*", ".*")
        rabbitmq.ctl("set_vhost_limits", "-p", IN_SMALL.vhost, '{"max-connections": 1, "max-queues": 1}')
    return _bench(request, "rabbitmq_bench")


def _bench(request: pytest.FixtureRequest, name: str) -> Bench:
    found = request.getfixturevalue(name)
    assert isinstance(found, Bench)
    return found


@pytest.fixture
async def at_leveret(edge_node: LeveretInProcess) -> AsyncIterator[Bench]:
    broker = edge_node.node.broker
    broker.set_user(CAPPED.username, CAPPED.password, [])
    broker.set_permission(OPEN)
    capped = broker.auth.users[CAPPED.username]
    broker.put_user(msgspec.structs.replace(capped, limits={"max-connections": 1, "max-channels": 1}))
    small = broker.add_vhost(IN_SMALL.vhost)
    broker.set_vhost(small, limits={"max-connections": 1, "max-queues": 1})
    broker.set_permission(Permission("guest", IN_SMALL.vhost, ".*", ".*", ".*"))
    bench = Bench(edge_node.ports.amqp)
    yield bench
    await bench.close()


async def test_a_user_has_its_connections_and_channels(bench: Bench) -> None:
    peer = await bench.peer(credentials=CAPPED)
    with pytest.raises(AssertionError, match="ConnectionClosed"):
        await bench.peer(credentials=CAPPED)
    peer.machine.open_channel()
    peer.flush()
    answer, text = await closing(peer)
    assert answer == (CONNECTION, 530, 0)
    assert (
        "number of channels opened for user 'capped' has reached the maximum allowed user limit of (1)"
        in text
    )


async def test_a_vhost_has_its_connections_and_queues(bench: Bench) -> None:
    peer = await bench.peer(2, credentials=IN_SMALL)
    with pytest.raises(AssertionError, match="ConnectionClosed"):
        await bench.peer(credentials=IN_SMALL)
    await peer.call(spec.QueueDeclare(queue="one", exclusive=True))
    peer.send(spec.QueueDeclare(queue="two", exclusive=True))
    answer, text = await closing(peer)
    assert answer == (CHANNEL, 406, spec.QueueDeclare.ID)
    assert "cannot declare queue 'two': queue limit in vhost 'small' (1) is reached" in text
    assert isinstance(await peer.call(spec.QueueDeclare(queue="one", exclusive=True), 2), spec.QueueDeclareOk)


async def test_limits_are_kept_over_a_restart(tmp_path: Path) -> None:
    for is_first in (True, False):
        async with LeveretInProcess(tmp_path) as edge:
            broker = edge.node.broker
            if is_first:
                broker.set_vhost(broker.add_vhost("kept"), limits={"max-queues": 7}, metadata={"tags": ["x"]})
            else:
                assert broker.vhosts["kept"].limits == {"max-queues": 7}
                assert broker.vhosts["kept"].metadata == {"tags": ["x"]}


async def test_a_connection_has_so_many_consumers(at_leveret: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_channel, "CONSUMERS_MAX", 2)
    peer = await at_leveret.peer(2)
    await peer.call(spec.QueueDeclare(queue="q", exclusive=True))
    for channel in (1, 2):
        assert isinstance(await peer.call(spec.BasicConsume(queue="q"), channel), spec.BasicConsumeOk)
    peer.send(spec.BasicConsume(queue="q"))
    answer, text = await closing(peer)
    assert answer == (CONNECTION, 530, spec.BasicConsume.ID)
    assert "reached maximum (2) of consumers" in text


async def test_basic_get_stops_at_so_many_unacknowledged(
    at_leveret: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_channel, "UNACKED_MAX", 2)
    assert server_consumer.UNACKED_MAX == 65_535
    peer = await at_leveret.peer()
    await peer.call(spec.QueueDeclare(queue="q", exclusive=True))
    peer.publish(*[Message("", "q", b"\0\0", b"x")] * 3)
    for _ in range(2):
        assert await get(peer, "q", no_ack=False) is not None
    peer.send(spec.BasicGet(queue="q"))
    answer, text = await closing(peer)
    assert answer == (CHANNEL, 406, spec.BasicGet.ID)
    assert "2 deliveries are unacknowledged" in text


async def test_what_the_configuration_says_is_offered_and_held(tmp_path: Path) -> None:
    extra = "[amqp]\nchannel_max = 2\nframe_max = 8192\nheartbeat_s = 7\nmessage_max_bytes = 100\n"
    async with LeveretInProcess(tmp_path, extra, ports=Ports()) as edge:
        bench = Bench(edge.ports.amqp)
        peer = await bench.peer(2)
        machine = peer.machine
        assert (machine.channel_max, machine.frame_max, machine.heartbeat_s) == (2, 8192, 7)
        with pytest.raises(ConnectionFault):
            machine.open_channel()
        peer.publish(Message("", "q", b"\0\0", b"x" * 101))
        answer, text = await closing(peer)
        assert answer == (CHANNEL, 406, spec.BasicPublish.ID)
        assert "message size 101 is larger than configured max size 100" in text
        await bench.close()


async def held(peer: RawPeer) -> list[int]:
    """The tags of what comes until nothing does."""
    tags: list[int] = []
    while True:
        try:
            async with asyncio.timeout(0.1):
                event = await peer.event()
        except TimeoutError:
            return tags
        assert isinstance(event, DeliverRun), event
        tags += event.tags


@pytest.mark.parametrize("bytes_max", [1_000_000, 0])
async def test_a_consumer_without_prefetch_holds_a_bounded_part_of_its_queue_in_ram(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bytes_max: int
) -> None:
    async with LeveretInProcess(tmp_path, f"[amqp]\nunacked_max_bytes = {bytes_max}\n") as edge:
        bench = Bench(edge.ports.amqp)
        peer = await bench.peer()
        await peer.call(spec.QueueDeclare(queue="q", durable=True))
        await peer.call(spec.ConfirmSelect())
        peer.publish(*[Message("", "q", b"\0\0", bytes(100_000))] * 40)
        while not isinstance(event := await peer.event(), AckRun) or event.tags[-1] < 40:
            pass
        await peer.call(spec.BasicConsume(queue="q", consumer_tag="c"))
        tags = await held(peer)
        if bytes_max:
            # It gets the run that goes over the bound, which is what a turn of the loop may deliver.
            assert 10 <= len(tags) < 20
            assert caplog.text.count("consumer 'c' has no prefetch, and queue 'q' has ") == 1
            asking = await bench.peer()
            await asking.call(spec.BasicQos(prefetch_count=15))
            await asking.call(spec.BasicConsume(queue="q", consumer_tag="d"))
            assert len(await held(asking)) == 15, "who says how much it takes gets that"
            asking.send(spec.BasicNack(multiple=True, requeue=True), spec.BasicCancel(consumer_tag="d"))
        while len(tags) < 40:
            peer.send(spec.BasicAck(tags[-1], multiple=True))
            more = await held(peer)
            assert 0 < len(more) < 20
            tags += more
        assert len(tags) == 40
        assert caplog.text.count("has no prefetch") == (1 if bytes_max else 0)
        await bench.close()
