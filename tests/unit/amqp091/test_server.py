"""The server on a real broker and a real socket: connections, publishing, consuming, settling."""

import asyncio
import logging

import msgspec
import pytest

from edge.amqp091 import server as server_module
from edge.amqp091 import spec
from edge.amqp091.constants import HEARTBEAT_FRAME, PROTOCOL_HEADER
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import ChannelFault, ConnectionFault
from edge.amqp091.events import ConnectionClosed, MethodReceived
from edge.amqp091.server import AmqpServerProtocol
from edge.auth.topics import TopicPermission
from edge.auth.users import Permission
from tests.unit.amqp091.conftest import (
    AmqpNode,
    assert_closed_with,
    confirmed,
    message,
    until,
    with_queue,
)
from tests.wire.amqp_frames import CHANNEL_FAULTS, FAULTS

# faults


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_answered_logged_once_and_disturbs_nobody_else(
    node: AmqpNode, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames, code, _ = FAULTS[name]
    other = await with_queue(node)
    peer = await node.peer()
    address = "{}:{}".format(*peer.writer.get_extra_info("sockname"))
    with caplog.at_level(logging.WARNING):
        peer.writer.write(bytes.fromhex(frames))
        closed = await peer.event()
        assert isinstance(closed, ConnectionClosed)
        assert closed.code == code
        assert await peer.end() == b""
    [record] = caplog.records
    assert record.name == "edge.amqp091.server"
    assert address in record.getMessage()
    assert str(code) in record.getMessage()
    other.publish(message(b"x"))
    await confirmed(other, 1)
    assert len(node.broker.connections) == 1


@pytest.mark.parametrize("name", CHANNEL_FAULTS)
async def test_a_channel_fault_leaves_the_connection_and_its_other_channels(
    node: AmqpNode, name: str
) -> None:
    frames, code = CHANNEL_FAULTS[name]
    peer = await node.peer(channels=2)
    if code == 406 and "largest" in name:
        node.broker.connections[next(iter(node.broker.connections))].machine.body_bytes_max = 1000  # type: ignore[attr-defined]
    peer.writer.write(bytes.fromhex(frames))
    closed = await peer.method()
    assert isinstance(closed, spec.ChannelClose)
    assert closed.reply_code == code
    peer.send(spec.ChannelCloseOk())
    assert await peer.call(spec.BasicQos(), channel=2) == spec.BasicQosOk()


@pytest.mark.parametrize("header", [b"AMQP\x00\x01\x00\x00", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_wrong_protocol_header_gets_ours_and_a_closed_socket(
    node: AmqpNode, header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(header)
    assert await reader.read() == PROTOCOL_HEADER
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "no AMQP 0-9-1 protocol header" in record.getMessage()
    writer.close()
    await writer.wait_closed()


async def test_a_peer_that_says_nothing_is_dropped(node: AmqpNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT_S", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_bad_login_is_told_to_clients_that_know_how(
    node: AmqpNode, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError) as caught:
        await node.peer(Credentials(password="wrong"))
    assert "ConnectionClosed" in str(caught.value)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "login refused: user 'guest'" in record.getMessage()
    assert "wrong'" not in record.getMessage()
    assert not node.broker.connections


async def test_a_bad_login_of_an_older_client_ends_in_a_closed_socket(
    node: AmqpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 0.01)
    credentials = Credentials(password="wrong", properties={"capabilities": {}})
    with pytest.raises((AssertionError, ConnectionError), match=r"closed|reset"):
        await node.peer(credentials)


@pytest.mark.parametrize(
    ("vhost", "text"), [("nowhere", "vhost nowhere not found"), ("mine", "refused for user")]
)
async def test_a_vhost_that_is_missing_or_not_granted_is_530(node: AmqpNode, vhost: str, text: str) -> None:
    node.broker.add_vhost("mine")
    with pytest.raises(ConnectionFault, match=text) as caught:
        await node.client(node.uri(query=f"/{vhost}"))
    assert caught.value.code == 530


async def test_a_user_sees_and_does_what_was_granted(node: AmqpNode) -> None:
    node.broker.set_user("drone", "secret", [])
    node.broker.set_permission(Permission("drone", "/", "^drone-", "^(drone-.*|amq\\.default)$", "^drone-"))
    client = await node.client(node.uri("drone:secret"))
    channel = await client.channel()
    await channel.declare_queue("drone-7")
    channel.publish([message(b"x", "drone-7")])
    await channel.purge_queue("drone-7")
    refused = [
        ("configure", lambda c: c.declare_queue("other")),
        ("configure", lambda c: c.declare_exchange("other", "fanout")),
        ("read", lambda c: c.bind_queue("drone-7", "amq.topic", "#")),
        ("configure", lambda c: c.delete_queue("other")),
        ("configure", lambda c: c.delete_exchange("amq.topic")),
        ("write", lambda c: c.bind_exchange("amq.fanout", "drone-x")),
        ("read", lambda c: c.get("other")),
    ]
    for permission, operation in refused:
        channel = await client.channel()
        with pytest.raises(ChannelFault, match=f"{permission} access to") as caught:
            await operation(channel)
        assert caught.value.code == 403


async def test_a_topic_exchange_takes_the_keys_that_the_user_may_write(node: AmqpNode) -> None:
    """RabbitMQ, "Topic Authorisation": checked for topic exchanges alone, each message by its key."""
    node.broker.set_topic_permission(TopicPermission("guest", "/", "amq.topic", r"^{username}\.", ".*"))
    node.broker.set_topic_permission(TopicPermission("guest", "/", "amq.direct", "^none$", "^none$"))
    peer = await with_queue(node)
    await peer.call(spec.QueueBind(queue="q", exchange="amq.topic", routing_key="#"))
    await peer.call(spec.QueueBind(queue="q", exchange="amq.direct", routing_key="other"))
    peer.publish(message(b"1", "other", "amq.direct"))
    peer.publish(
        message(b"2", "guest.a", "amq.topic"),
        message(b"3", "other.a", "amq.topic"),
        message(b"4", "guest.a", "amq.topic"),
    )
    while not isinstance(event := await peer.event(), MethodReceived):
        pass
    assert_closed_with(event.method, 403, "write access to topic 'other.a' in exchange 'amq.topic'")
    queue = node.broker.vhosts["/"].queues["q"]
    assert [entry[1].body for entry in queue.ready] == [b"1", b"2"], "what stands before it was published"


async def test_a_topic_exchange_is_bound_by_the_keys_that_the_user_may_read(node: AmqpNode) -> None:
    node.broker.set_topic_permission(TopicPermission("guest", "/", "amq.topic", "", r"^own\."))
    client = await node.client()
    channel = await client.channel()
    await channel.declare_queue("q")
    await channel.bind_queue("q", "amq.topic", "own.#")
    await channel.unbind_queue("q", "amq.topic", "own.#")
    await channel.bind_exchange("amq.fanout", "amq.topic", "own.*")
    for operation in (
        lambda c: c.bind_queue("q", "amq.topic", "#"),
        lambda c: c.unbind_queue("q", "amq.topic", "#"),
        lambda c: c.bind_exchange("amq.fanout", "amq.topic", "other"),
    ):
        channel = await client.channel()
        with pytest.raises(
            ChannelFault, match=r"read access to topic '.*' in exchange 'amq\.topic'"
        ) as caught:
            await operation(channel)
        assert caught.value.code == 403


async def test_a_publish_without_write_permission_is_403(node: AmqpNode) -> None:
    node.broker.set_user("reader", "secret", [])
    node.broker.set_permission(Permission("reader", "/", "", "", ".*"))
    peer = await node.peer(Credentials("reader", "secret"))
    peer.publish(message(b"x"))
    assert_closed_with(await peer.method(), 403, "write access to exchange 'amq.default'")


# the connection


async def test_server_properties_are_what_clients_look_for(node: AmqpNode) -> None:
    client = await node.client(node.uri())
    assert client.server_properties["cluster_name"] == "edge-1"
    assert client.server_properties["product"] == "RabbitMQ"
    for name in ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "leveret.sequence"):
        assert client.capabilities[name] is True


async def test_a_connection_is_listed_as_rabbitmq_lists_it(node: AmqpNode) -> None:
    client = await node.client(node.uri(), connection_name="reports")
    await client.channel()
    [connection] = node.broker.connections.values()
    row = connection.details()
    assert row["name"] == f"127.0.0.1:{row['peer_port']} -> 127.0.0.1:{node.port}"
    assert row["user_provided_name"] == row["client_properties"]["connection_name"] == "reports"
    wanted = {"user": "guest", "vhost": "/", "channels": 1, "protocol": "AMQP 0-9-1", "state": "running"}
    assert wanted.items() <= row.items()
    assert (row["host"], row["peer_host"], row["port"]) == ("127.0.0.1", "127.0.0.1", node.port)
    msgspec.json.encode(row)
    await client.close()
    await until(lambda: not node.broker.connections)


async def test_shutting_down_tells_the_client_320(node: AmqpNode) -> None:
    client = await node.client(node.uri())
    closed = asyncio.get_running_loop().create_future()
    client.when_closed = closed.set_result
    [connection] = node.broker.connections.values()
    connection.shut_down("the node is stopping")
    error = await closed
    assert (error.code, error.text) == (320, "CONNECTION_FORCED - the node is stopping")
    assert not node.broker.connections


async def test_what_waits_for_the_disk_when_the_connection_is_shut_down_is_not_answered(
    node: AmqpNode,
) -> None:
    peer = await node.peer()
    [connection] = node.broker.connections.values()
    peer.send(spec.QueueDeclare(queue="q", durable=True), spec.QueueDeclare(queue="second", durable=True))
    await until(lambda: "q" in node.broker.vhosts["/"].queues)
    connection.shut_down("the node is stopping")
    closed = await peer.event()
    while isinstance(closed, MethodReceived):
        # The answer was on its way already
        closed = await peer.event()
    assert isinstance(closed, ConnectionClosed)
    assert closed.code == 320
    assert await peer.end() == b""


async def test_heartbeats_go_both_ways_and_two_missed_end_the_connection(
    node: AmqpNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await node.peer(Credentials(heartbeat_s=60))
    [connection] = node.broker.connections.values()
    assert isinstance(connection, AmqpServerProtocol)
    connection.last_sent -= 31
    connection._beat()
    assert await peer.reader.readexactly(8) == HEARTBEAT_FRAME
    connection.last_received -= 121
    connection.pause_input("test")
    connection._beat()
    connection.resume_input("test")
    assert connection.transport is not None
    assert not connection.transport.is_closing()
    connection.last_received -= 121
    connection._beat()
    assert "missed heartbeats" in caplog.text
    assert await peer.end() == b""
    await until(lambda: not node.broker.connections)
