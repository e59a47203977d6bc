"""A broker with nothing but an AMQP listener, in the test's event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge.amqp091 import spec
from edge.amqp091.client import AmqpClient
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.credentials import Credentials
from edge.amqp091.events import AckRun
from edge.amqp091.server import AmqpServerProtocol
from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties
from edge.store.store import Store
from tests.helpers.amqp import RawPeer


class AmqpNode:
    """``broker`` and where it listens; clients made here are closed after the test."""

    def __init__(self, broker: Broker, port: int) -> None:
        self.broker = broker
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._clients: list[AmqpClient] = []

    async def peer(self, credentials: Credentials | None = None, channels: int = 1) -> RawPeer:
        """A bare client, logged in."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return await RawPeer(reader, writer, ClientMachine(credentials or Credentials())).open(channels)

    async def client(self, uri: str = "", connection_name: str = "") -> AmqpClient:
        """The product's client."""
        client = await AmqpClient.connect(uri or self.uri(), connection_name=connection_name)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for writer in self._writers:
            writer.transport.abort()

    def uri(self, userinfo: str = "guest:guest", query: str = "") -> str:
        return f"amqp://{userinfo}@127.0.0.1:{self.port}{query}"


DURABLE = encode_properties(BasicProperties(delivery_mode=2))


def message(body: bytes, key: str = "q", exchange: str = "", flags: int = 0) -> Message:
    return Message(exchange, key, DURABLE, body, flags=flags)


async def with_queue(node: AmqpNode, *bodies: bytes) -> RawPeer:
    """A client, confirms on, and queue ``q`` with messages in it, on the disk."""
    peer = await node.peer()
    await peer.call(spec.QueueDeclare(queue="q", durable=True))
    await peer.call(spec.ConfirmSelect())
    if bodies:
        peer.publish(*[message(body) for body in bodies])
        await confirmed(peer, len(bodies))
    return peer


async def confirmed(peer: RawPeer, last: int) -> None:
    tag = 0
    while tag < last:
        run = await peer.event()
        assert isinstance(run, AckRun)
        tag = run.tags[-1]


def assert_closed_with(method: spec.Method, code: int, text: str) -> None:
    assert isinstance(method, spec.ChannelClose), method
    assert method.reply_code == code
    assert text in method.reply_text


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, for 5 s at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  the broker tells nobody
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[AmqpNode]:
    """A node on what the directory holds."""
    store = Store(directory)
    await store.open()
    broker = Broker("edge-1", store, Clock(), Auth())
    await broker.recover()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: AmqpServerProtocol(broker), "127.0.0.1", 0)
    node = AmqpNode(broker, server.sockets[0].getsockname()[1])
    try:
        yield node
    finally:
        await node.close()
        server.close()
        for connection in list(broker.connections.values()):
            assert isinstance(connection, AmqpServerProtocol)
            connection.abort()
        await broker.close()
        await store.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[AmqpNode]:
    async with running(tmp_path / "data") as node:
        yield node
