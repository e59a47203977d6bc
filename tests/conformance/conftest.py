"""The two brokers that the same questions are asked of, and peers that may send them any frames."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from edge.amqp091 import spec
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.credentials import Credentials
from edge.amqp091.events import ConnectionClosed, ContentReceived, MethodReceived
from edge.core.message import Message
from tests.helpers.amqp import RawPeer
from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ
from tests.wire.amqp_refusals import CHANNEL, CONNECTION, Answer


class Bench:
    """One broker, and the peers that a test connects to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A socket on which nothing has been said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def peer(self, channels: int = 1, credentials: Credentials | None = None) -> RawPeer:
        reader, writer = await self.connect()
        return await RawPeer(reader, writer, ClientMachine(credentials or Credentials())).open(channels)

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def closing(peer: RawPeer) -> tuple[Answer, str]:
    """The next channel.close or connection.close; confirms and the like in front of it do not matter."""
    while True:
        event = await peer.event()
        if isinstance(event, ConnectionClosed):
            return (CONNECTION, event.code, event.method), event.text
        if isinstance(event, MethodReceived) and isinstance(event.method, spec.ChannelClose):
            closed = event.method
            ids = closed.class_id << 16 | closed.method_id
            return (CHANNEL, closed.reply_code, ids), closed.reply_text


async def get(peer: RawPeer, queue: str, channel: int = 1, no_ack: bool = True) -> Message | None:
    """basic.get; None when the queue is empty."""
    peer.send(spec.BasicGet(queue=queue, no_ack=no_ack), channel=channel)
    event = await peer.event()
    if isinstance(event, ContentReceived):
        return event.message
    assert isinstance(event, MethodReceived)
    assert isinstance(event.method, spec.BasicGetEmpty), event.method
    return None


async def ready(peer: RawPeer, queue: str, channel: int = 1) -> int:
    """How many messages a queue has ready."""
    answer = await peer.call(spec.QueueDeclare(queue=queue, passive=True), channel)
    assert isinstance(answer, spec.QueueDeclareOk), answer
    return answer.message_count


@pytest.fixture(scope="module")
def shared_leveret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeveretProcess]:
    """A node in a process of its own, shared by the tests of a module as the one RabbitMQ is."""
    node = LeveretProcess(tmp_path_factory.mktemp("leveret"))
    node.start()
    yield node
    node.stop()


@pytest.fixture
async def leveret_bench(shared_leveret: LeveretProcess) -> AsyncIterator[Bench]:
    bench = Bench(shared_leveret.ports.amqp)
    yield bench
    await bench.close()


@pytest.fixture
async def rabbitmq_bench(rabbitmq: RabbitMQ) -> AsyncIterator[Bench]:
    bench = Bench(rabbitmq.amqp_port)
    yield bench
    await bench.close()


@pytest.fixture(params=["leveret", "rabbitmq"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Either broker: the test runs once against each."""
    found = request.getfixturevalue(f"{request.param}_bench")
    assert isinstance(found, Bench)
    return found
