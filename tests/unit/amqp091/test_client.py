"""The client against our own server; against RabbitMQ it is in ``tests/interop``."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from edge.amqp091 import client as client_module
from edge.amqp091 import spec
from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import Returned
from edge.amqp091.confirms import Ranges
from edge.amqp091.constants import HEARTBEAT_FRAME, PROTOCOL_HEADER
from edge.amqp091.errors import AmqpError, ChannelFault, ConnectionFault, ConnectionLost, LoginRefused
from edge.amqp091.events import DeliverRun
from edge.amqp091.outbound import encode_method
from edge.core.errors import ConfigError
from edge.core.message import MANDATORY
from tests.unit.amqp091.conftest import AmqpNode, message, until


def frame(method: spec.Method, channel: int = 0) -> bytes:
    return encode_method(channel, spec.encode_arguments(method))


class Scripted(asyncio.Protocol):
    """A server that answers each read by the next of its lines and then closes; without lines it stays silent."""

    def __init__(self, lines: list[bytes] | None) -> None:
        self.lines = None if lines is None else list(lines)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.lines:
            self.transport.write(self.lines.pop(0))
        elif self.lines is not None:
            self.transport.close()


@contextlib.asynccontextmanager
async def served_by(lines: list[bytes] | None) -> AsyncIterator[str]:
    """The URI of a scripted server."""
    server = await asyncio.get_running_loop().create_server(lambda: Scripted(lines), "127.0.0.1", 0)
    async with server:
        yield f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    # The ends that the client aborted notice it in the next turns
    await asyncio.sleep(0.01)


async def test_a_run_of_publishes_is_confirmed_and_delivered(node: AmqpNode) -> None:
    client = await node.client()
    channel = await client.channel()
    await channel.declare_queue("q", durable=True)
    await channel.confirm_select()
    reports: list[tuple[Ranges, Ranges, list[Returned]]] = []
    channel.on_confirm = lambda acked, nacked, returned: reports.append((acked, nacked, returned))
    assert channel.publish([message(b"%d" % i) for i in range(100)]) == 1
    assert channel.publish([message(b"x", "nowhere", flags=MANDATORY)]) == 101
    await until(lambda: channel.unconfirmed.count == 0)
    assert [pair for acked, _, _ in reports for pair in acked][-1][1] == 101
    [returned] = [each for _, _, group in reports for each in group]
    assert (returned.code, returned.text, returned.message.body) == (312, "NO_ROUTE", b"x")
    bodies: list[bytes] = []

    def on_deliveries(run: DeliverRun) -> None:
        bodies.extend(each.body for each in run.messages)
        channel.ack(run.last_tag, multiple=True)

    tag = await channel.consume("q", on_deliveries)
    await until(lambda: len(bodies) == 100)
    assert bodies == [b"%d" % i for i in range(100)]
    await channel.cancel(tag)
    await channel.close()
    await channel.close()
    with pytest.raises(ChannelFault, match="closed by its owner"):
        await channel.get("q")


async def test_deliveries_that_come_with_the_consume_ok_are_not_lost(node: AmqpNode) -> None:
    channel = await (await node.client()).channel()
    await channel.declare_queue("q")
    channel.publish([message(b"x")])
    got: list[DeliverRun] = []
    await channel.consume("q", got.append)
    await until(lambda: len(got) == 1)
    channel.nack(got[0].last_tag, requeue=True)
    await until(lambda: len(got) == 2)
    assert got[1].redelivered == [True]
    channel.nacks(got[1].tags, requeue=False)
    await channel.close()


async def test_a_consumer_is_told_that_its_queue_is_gone(node: AmqpNode) -> None:
    channel = await (await node.client()).channel()
    await channel.declare_queue("q")
    cancelled: list[str] = []
    tag = await channel.consume("q", print, when_cancelled=cancelled.append)
    await channel.delete_queue("q")
    await until(lambda: cancelled == [tag])


async def test_messages_carry_time_and_expiry_when_the_client_has_a_clock(node: AmqpNode) -> None:
    client = await AmqpClient.connect(node.uri(), elapsed_ms=lambda: 1234)
    channel = await client.channel()
    await channel.declare_queue("q")
    channel.publish([message(b"x")])
    got = await channel.get("q")
    assert got is not None
    assert got[0].published_at_ms == 1234
    assert await channel.get("q") is None
    await client.close()


async def test_the_password_is_never_shown(node: AmqpNode) -> None:
    with pytest.raises(LoginRefused) as caught:
        await AmqpClient.connect(node.uri("guest:secret"))
    assert caught.value.code == 403
    assert "secret" not in f"{caught.value!r} {caught.value}"
    with pytest.raises(ConfigError):
        await AmqpClient.connect("http://guest:secret@127.0.0.1")


async def test_nobody_listening_is_an_os_error(unused_tcp_port: int) -> None:
    with pytest.raises(OSError, match=r"refused|failed"):
        await AmqpClient.connect(f"amqp://127.0.0.1:{unused_tcp_port}")


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with served_by(None) as uri:
        with pytest.raises(TimeoutError):
            await AmqpClient.connect(uri + "?connection_timeout=20")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ([], ConnectionLost),
        ([frame(spec.Start())], LoginRefused),
        ([frame(spec.Start()) + frame(spec.Close(403, "ACCESS_REFUSED - no"))], LoginRefused),
        ([frame(spec.Start()) + frame(spec.Close(530, "NOT_ALLOWED - no"))], ConnectionFault),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], ConnectionFault),
        ([PROTOCOL_HEADER], ConnectionFault),
        ([frame(spec.Tune(1, 2, 3))], ConnectionFault),
    ],
)
async def test_what_ends_a_login_is_told_apart(said: list[bytes], error: type[Exception]) -> None:
    async with served_by(said) as uri:
        with pytest.raises(error):
            await AmqpClient.connect(uri)


async def test_a_lost_connection_ends_all_that_is_awaited(node: AmqpNode) -> None:
    client = await node.client()
    channel = await client.channel()
    closed: list[AmqpError] = []
    client.when_closed = closed.append
    [connection] = node.broker.connections.values()
    waiting = asyncio.create_task(channel.declare_queue("q"))
    await asyncio.sleep(0)
    connection.abort()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionLost):
        await waiting
    with pytest.raises(ConnectionLost):
        await client.channel()
    with pytest.raises(ConnectionLost):
        channel.publish([message(b"x")])
    assert len(closed) == 1
    await client.close()


async def test_closing_tells_nobody_and_fails_what_is_still_awaited(node: AmqpNode) -> None:
    client = await node.client()
    channel = await client.channel()
    told: list[AmqpError] = []
    client.when_closed = told.append
    await client.close()
    await client.close()
    assert told == []
    with pytest.raises(ConnectionLost, match="closed by its owner"):
        await channel.declare_queue("q")
    with pytest.raises(ConnectionLost, match="closed by its owner"):
        await client.channel()


async def test_blocked_and_unblocked_are_told(node: AmqpNode) -> None:
    client = await node.client()
    told: list[str | None] = []
    client.when_blocked = told.append
    client.on_bytes(frame(spec.Blocked("low on disk")))
    assert client.blocked_reason == "low on disk"
    client.on_bytes(frame(spec.Unblocked()))
    assert told == ["low on disk", None]


async def test_an_answer_that_is_not_due_ends_the_connection(
    node: AmqpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CLOSE_TIMEOUT_S", 0.01)
    client = await node.client()
    channel = await client.channel()
    client.on_bytes(frame(spec.QueueDeclareOk("q"), channel.number))
    assert isinstance(channel.error, ConnectionFault)
    assert channel.error.code == 503


async def test_nacked_publishes_are_told_apart(node: AmqpNode) -> None:
    channel = await (await node.client()).channel()
    await channel.confirm_select()
    reports: list[tuple[Ranges, Ranges]] = []
    channel.on_confirm = lambda acked, nacked, _: reports.append((acked, nacked))
    channel.unconfirmed.publish(5)
    ack, nack = spec.BasicAck(2, True), spec.BasicNack(4, True)
    channel.client.on_bytes(frame(ack, 1) + frame(nack, 1))
    assert reports == [([(1, 2)], [(3, 4)])]


async def test_heartbeats_go_out_and_a_silent_server_is_lost(node: AmqpNode) -> None:
    client = await node.client(node.uri(query="?heartbeat=60"))
    [connection] = node.broker.connections.values()
    received = connection.bytes_received  # type: ignore[attr-defined]
    client.last_sent -= 31
    client._beat()
    await until(lambda: connection.bytes_received == received + len(HEARTBEAT_FRAME))  # type: ignore[attr-defined]
    lost: list[AmqpError] = []
    client.when_closed = lost.append
    client.last_received -= 121
    client._beat()
    assert "missed heartbeats" in str(lost[0])


async def test_a_writable_client_tells_when_it_takes_more(node: AmqpNode) -> None:
    client = await node.client()
    told: list[bool] = []
    client.when_writable = lambda: told.append(True)
    client.pause_writing()
    assert not client.writable
    client.resume_writing()
    assert told == [True]


async def test_tls_that_fails_is_an_os_error(node: AmqpNode) -> None:
    with pytest.raises(ssl.SSLError):
        await AmqpClient.connect(node.uri().replace("amqp:", "amqps:"))
