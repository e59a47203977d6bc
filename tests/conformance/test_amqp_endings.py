"""What ends a channel or a connection without a method of the peer being at fault."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edge.amqp091 import spec
from edge.core.message import Message
from tests.conformance.conftest import Bench, closing, get
from tests.helpers.leveret import LeveretInProcess, LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ
from tests.wire.amqp_refusals import CHANNEL, CONNECTION

TIMEOUT_MS = 400


@pytest.fixture
def impatient_leveret(tmp_path: Path) -> Iterator[int]:
    node = LeveretProcess(tmp_path, f"[amqp]\nconsumer_timeout_ms = {TIMEOUT_MS}\n")
    node.start()
    yield node.ports.amqp
    node.stop()


def set_timeout(rabbitmq: RabbitMQ, timeout_ms: int, tick_ms: int) -> None:
    """Of channels that are opened from now on."""
    rabbitmq.ctl(
        "eval",
        f"application:set_env(rabbit, consumer_timeout, {timeout_ms}),"
        f" application:set_env(rabbit, channel_tick_interval, {tick_ms}).",
    )


@pytest.fixture
def impatient_rabbitmq(rabbitmq: RabbitMQ) -> Iterator[int]:
    set_timeout(rabbitmq, TIMEOUT_MS, 100)
    yield rabbitmq.amqp_port
    set_timeout(rabbitmq, 1_800_000, 60_000)


@pytest.fixture(params=["leveret", "rabbitmq"])
async def impatient(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(request.getfixturevalue(f"impatient_{request.param}"))
    yield bench
    await bench.close()


async def test_a_delivery_that_is_not_acknowledged_in_time_ends_its_channel_alone(impatient: Bench) -> None:
    """406, of no method: nothing has been asked. What was delivered goes to others."""
    peer, other = await impatient.peer(2), await impatient.peer()
    await peer.call(spec.QueueDeclare(queue="late", durable=True))
    peer.publish(Message("", "late", b"\0\0", b"x"))
    await peer.call(spec.BasicConsume(queue="late", consumer_tag="c"))
    await peer.deliveries(1)
    answer, text = await closing(peer)
    assert answer == (CHANNEL, 406, 0)
    assert text == (
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 400 ms. This"
        " timeout value can be configured, see consumers doc guide to learn more"
    )
    peer.send(spec.ChannelCloseOk())
    assert await peer.call(spec.BasicQos(), channel=2) == spec.BasicQosOk()
    found = await get(other, "late")
    assert found is not None
    assert found.body == b"x"
    await other.call(spec.QueueDelete(queue="late"))


async def test_a_fault_of_the_node_itself_ends_the_connection_that_met_it_and_no_other(
    edge_node: LeveretInProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """541, as RabbitMQ when a channel of its own crashes. No real one is known, so a broken broker stands in."""
    bench = Bench(edge_node.ports.amqp)
    peer, other = await bench.peer(2), await bench.peer()
    await peer.call(spec.QueueDeclare(queue="mine", exclusive=True))
    broker = edge_node.node.broker
    with monkeypatch.context() as patch:
        patch.setattr(broker, "declare_queue", lambda *_, **__: 1 / 0)
        peer.send(spec.QueueDeclare(queue="q"), spec.BasicQos())
        answer, text = await closing(peer)
    assert (answer, text) == ((CONNECTION, 541, 0), "INTERNAL_ERROR - see the log of the broker")
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]
    assert await other.call(spec.QueueDeclare(queue="q")) == spec.QueueDeclareOk("q", 0, 0)
    assert len(broker.connections) == 1
    assert list(broker.vhost("/").queues) == ["q"], "what was the connection's own is gone with it"
    await bench.close()
