"""The client of shovels and tests, against the node's own server."""

import asyncio

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, Message
from mqtt import constants as c
from mqtt import reasons as r
from mqtt.client import MqttClient, MqttClientHandler, connect
from mqtt.limits import MqttLimits
from mqtt.packets import Subscription
from mqtt.reasons import ConnectionLost, ConnectRefused
from tests.helpers.mqtt_node import MqttNode


class Recorder(MqttClientHandler):
    """Notes what it is told; acknowledges at once."""

    def __init__(self) -> None:
        self.confirmed: list[int] = []
        self.refused: dict[int, int] = {}
        self.messages: list[Message] = []
        self.error: Exception | None = None
        self.client: MqttClient | None = None
        self._changed = asyncio.Event()

    def on_confirmed(self, numbers: list[int], refused: dict[int, int]) -> None:
        self.confirmed += numbers
        self.refused |= refused
        self._changed.set()

    def on_messages(self, messages: list[Message], packet_ids: list[int]) -> None:
        self.messages += messages
        if self.client is not None:
            self.client.acknowledge(packet_ids)
        self._changed.set()

    def on_closed(self, error: Exception) -> None:
        self.error = error
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until so many things were told."""
        async with asyncio.timeout(10):
            while len(self.confirmed) + len(self.refused) + len(self.messages) + bool(self.error) < count:
                self._changed.clear()
                await self._changed.wait()


def messages(count: int, key: str = "t", qos: int = 1) -> list[Message]:
    flags = (PERSISTENT if qos else 0) | (QOS2 if qos == 2 else 0)
    return [Message("", key, b"", b"%d" % i, FORM_MQTT, flags) for i in range(count)]


async def open_client(node: MqttNode, client_id: str, **options: object) -> tuple[MqttClient, Recorder]:
    recorder = Recorder()
    recorder.client = await connect("127.0.0.1", node.port, client_id, recorder, **options)  # type: ignore[arg-type]
    return recorder.client, recorder


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_run_is_published_confirmed_and_received(node: MqttNode, version: int, qos: int) -> None:
    receiver, received = await open_client(node, "r", version=version)
    assert await receiver.subscribe([Subscription("t", 2)]) == [2]
    sender, sent = await open_client(node, "s", version=version)
    assert sender.publish(messages(1_000, qos=qos), qos) == 1
    assert sender.publish(messages(1_000, qos=qos), qos) == 1_001
    await sent.until(2_000)
    assert sorted(sent.confirmed) == list(range(1, 2_001))
    await received.until(2_000)
    assert [m.body for m in received.messages] == [b"%d" % i for i in range(1_000)] * 2
    assert sender.unconfirmed == 0
    await sender.close()
    await receiver.close()
    assert sent.error is None


async def test_qos_0_is_not_confirmed(node: MqttNode) -> None:
    receiver, received = await open_client(node, "r")
    await receiver.subscribe([Subscription("t", 1)])
    receiver.publish(messages(10), 0)
    await received.until(10)
    assert received.confirmed == []
    assert receiver.unconfirmed == 0
    await receiver.close()


async def test_the_servers_receive_maximum_is_kept(node: MqttNode) -> None:
    """MQTT-3.3.4-7: the server would disconnect us."""
    node.service.limits = MqttLimits(receive_max=5)
    receiver, _ = await open_client(node, "r")
    await receiver.subscribe([Subscription("t", 1)])
    sender, sent = await open_client(node, "s")
    sender.publish(messages(12))
    sender.publish(messages(300))
    assert sender.unconfirmed == 312
    await sent.until(312)
    assert sent.confirmed == list(range(1, 313))
    assert sent.error is None


async def test_identifiers_go_round(node: MqttNode) -> None:
    receiver, _ = await open_client(node, "r", clean_start=False, version=c.V311)
    await receiver.subscribe([Subscription("t", 1)])
    sender, sent = await open_client(node, "s", version=c.V311)
    for _ in range(14):
        sender.publish(messages(5_000))
    await sent.until(70_000)
    assert sent.confirmed == list(range(1, 70_001))


async def test_what_cannot_be_sent_is_refused_by_number(node: MqttNode) -> None:
    node.service.limits = MqttLimits(packet_bytes_max=1_000)
    receiver, received = await open_client(node, "r")
    await receiver.subscribe([Subscription("#", 1)])
    bad_topic = Message("", "a.*", b"", b"", FORM_MQTT, PERSISTENT)
    too_large = Message("", "t", b"", bytes(2_000), FORM_MQTT, PERSISTENT)
    receiver.publish([*messages(1), bad_topic, too_large, *messages(1)])
    await received.until(6)
    assert received.confirmed == [1, 4]
    assert received.refused == {2: r.TOPIC_NAME_INVALID, 3: r.PACKET_TOO_LARGE}


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_message_that_nobody_takes_is_refused(node: MqttNode, qos: int) -> None:
    sender, sent = await open_client(node, "s")
    sender.publish(messages(2, qos=qos), qos)
    await sent.until(2)
    assert sent.refused == {1: r.NO_MATCHING_SUBSCRIBERS, 2: r.NO_MATCHING_SUBSCRIBERS}


@pytest.mark.parametrize("version", [c.V311, c.V5])
async def test_a_refused_login_says_why_and_hides_the_password(node: MqttNode, version: int) -> None:
    with pytest.raises(ConnectRefused) as caught:
        await open_client(node, "s", username="guest", password="secret-word", version=version)
    assert caught.value.reason == r.BAD_USER_NAME_OR_PASSWORD
    assert "secret-word" not in str(caught.value)


async def test_a_refused_subscription_has_its_reason(node: MqttNode) -> None:
    client, _ = await open_client(node, "s")
    assert await client.subscribe([Subscription("a/#/b", 1)]) == [r.TOPIC_FILTER_INVALID]


async def test_the_end_of_the_connection_is_told_with_the_servers_reason(node: MqttNode) -> None:
    _, told = await open_client(node, "s")
    await node.client("s", c.V5)
    await told.until(1)
    assert isinstance(told.error, ConnectionLost)
    assert told.error.reason == r.SESSION_TAKEN_OVER


async def test_a_silent_server_is_given_up() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x02\0\0")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    recorder = Recorder()
    await connect("127.0.0.1", port, "s", recorder, version=c.V311, keep_alive_s=1)
    await recorder.until(1)
    assert isinstance(recorder.error, ConnectionLost)
    assert recorder.error.reason == r.KEEP_ALIVE_TIMEOUT
    server.close()
    await asyncio.sleep(0.02)


async def test_a_server_that_never_answers_times_out() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        await connect("127.0.0.1", port, "s", Recorder(), timeout_s=0.1)
    server.close()
    await asyncio.sleep(0.02)


async def test_an_idle_client_keeps_the_connection_alive(node: MqttNode) -> None:
    _, told = await open_client(node, "s", keep_alive_s=1)
    await asyncio.sleep(2.2)
    assert told.error is None


async def test_unacknowledged_messages_come_again(node: MqttNode) -> None:
    holding, held = await open_client(node, "r", clean_start=False, session_expiry_s=100)
    held.client = None
    await holding.subscribe([Subscription("t", 1)])
    sender, sent = await open_client(node, "s")
    sender.publish(messages(5))
    await sent.until(5)
    await held.until(5)
    await holding.close()
    again, received = await open_client(node, "r", clean_start=False, session_expiry_s=100)
    assert again.session_present
    await received.until(5)
    assert [m.body for m in received.messages] == [b"0", b"1", b"2", b"3", b"4"]
