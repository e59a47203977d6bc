"""A node on a file system of 24 MB that is filled to the last byte: by its publishers, and by somebody else."""

import base64
import contextlib
import json
import os
import queue
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pika
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pika.adapters.blocking_connection import BlockingChannel

from tests.helpers.leveret import LeveretProcess
from tests.helpers.small_disk import fill, small_disk

BODY_BYTES = 40_000
QUOTA_EXCEEDED = 0x97
GUEST = "Basic " + base64.b64encode(b"guest:guest").decode()


@pytest.fixture(params=["tmpfs", "ext4"])
def node(
    make_leveret: Callable[..., LeveretProcess], request: pytest.FixtureRequest
) -> Iterator[LeveretProcess]:
    """One on a small disk; its log is elsewhere."""
    made = make_leveret(start=False)
    with small_disk(made.data_dir, request.param):
        made.start()
        try:
            yield made
        finally:
            made.kill()


def api(node: LeveretProcess, path: str) -> Any:
    request = urllib.request.Request(f"{node.ports.http_url}{path}", headers={"Authorization": GUEST})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def has_alarm(node: LeveretProcess) -> bool:
    return bool(api(node, "/api/nodes")[0]["disk_free_alarm"])


class AmqpPublisher:
    """Publishes numbers with confirms, one after the other, in a thread of its own, until it is stopped."""

    def __init__(self, node: LeveretProcess, to_queue: str = "amqp") -> None:
        self.confirmed: list[int] = []
        self.told: list[str] = []
        self._queue = to_queue
        self._stop = threading.Event()
        parameters = pika.URLParameters(node.uri())
        self._connection = pika.BlockingConnection(parameters)
        # Those of the blocking connection are not called while it waits for a confirm.
        connection = self._connection._impl
        connection.add_on_connection_blocked_callback(lambda _, frame: self.told.append(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda *_: self.told.append("unblocked"))
        self._channel = self._connection.channel()
        self._channel.queue_declare(to_queue, durable=True)
        self._channel.confirm_delivery()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_blocked(self) -> bool:
        return bool(self.told) and self.told[-1] != "unblocked"

    def _run(self) -> None:
        number = 0
        # The node is killed in the middle of it, or the test is over.
        with contextlib.suppress(pika.exceptions.AMQPError):
            while not self._stop.is_set():
                body = b"%d" % number + bytes(BODY_BYTES)
                self._channel.basic_publish("", self._queue, body, pika.BasicProperties(delivery_mode=2))
                self.confirmed.append(number)
                number += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()


class MqttPublisher:
    """The same by MQTT at QoS 1; notes what was refused."""

    def __init__(self, node: LeveretProcess, version: int, topic: str) -> None:
        self.confirmed: list[int] = []
        self.refused: list[int] = []
        self._topic = topic
        self._answers: queue.Queue[int] = queue.Queue()
        self._stop = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"publisher-{version}", protocol=version
        )
        self.client.on_publish = lambda _c, _u, _mid, reason, _p: self._answers.put(reason.value)
        self.client.connect("127.0.0.1", node.ports.mqtt, keepalive=2)
        self.client.loop_start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            self.client.publish(self._topic, b"%d" % number + bytes(BODY_BYTES), qos=1)
            reason = None
            while reason is None and not self._stop.is_set():
                with contextlib.suppress(queue.Empty):
                    reason = self._answers.get(timeout=0.1)
            if reason is not None:
                (self.refused if reason == QUOTA_EXCEEDED else self.confirmed).append(number)
            number += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self.client.disconnect()
        self.client.loop_stop()


def subscribe(node: LeveretProcess, client_id: str) -> None:
    """Make a session that is away and keeps what comes to ``t/#``."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", node.ports.mqtt, clean_start=False, properties=properties)
    client.loop_start()
    client.subscribe("t/#", qos=1)
    assert subscribed.wait(10)
    client.disconnect()
    client.loop_stop()


def drain_mqtt(node: LeveretProcess, client_id: str, count: int) -> dict[str, list[int]]:
    """All that waits for a session, by topic; it has to be at least ``count``."""
    got: dict[str, list[int]] = {}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.on_message = lambda _c, _u, message: got.setdefault(message.topic, []).append(
        int(message.payload.rstrip(b"\0"))
    )
    client.connect("127.0.0.1", node.ports.mqtt, clean_start=False, properties=properties)
    client.loop_start()
    until(lambda: sum(map(len, got.values())) >= count, "the session does not drain")
    client.disconnect()
    client.loop_stop()
    return got


def drain(node: LeveretProcess, from_queue: str, count: int) -> list[int]:
    """Declare the queue as clients do, take ``count`` messages and acknowledge them."""
    connection = pika.BlockingConnection(pika.URLParameters(node.uri()))
    channel: BlockingChannel = connection.channel()
    channel.queue_declare(from_queue, durable=True)
    channel.basic_qos(prefetch_count=10)
    got: list[int] = []
    for method, _, body in channel.consume(from_queue, inactivity_timeout=10):
        assert method is not None, f"{len(got)} of {count} came"
        got.append(int(body.rstrip(b"\0")))
        channel.basic_ack(method.delivery_tag)
        if len(got) >= count:
            break
    channel.cancel()
    connection.close()
    return got


def test_publishers_fill_the_disk_and_all_goes_on_by_itself_when_consumers_have_drained(
    node: LeveretProcess,
) -> None:
    """AMQP is told by connection.blocked, MQTT 5 by reason 0x97, MQTT 3 waits; no byte of a foreign file helps."""
    subscribe(node, "away")
    amqp = AmqpPublisher(node)
    mqtt5, mqtt3 = MqttPublisher(node, paho.MQTTv5, "t/5"), MqttPublisher(node, paho.MQTTv311, "t/3")
    until(lambda: amqp.is_blocked and mqtt5.refused, "nobody is told")
    mqtt5.stop()
    assert amqp.told == ["low on disk"]
    assert has_alarm(node)
    before = len(mqtt3.confirmed)
    foreign = fill(node.data_dir)
    time.sleep(4)
    assert len(mqtt3.confirmed) <= before + 1
    assert mqtt3.client.is_connected(), "its keep-alive has run out twice: it was we who did not read"
    confirmed = len(amqp.confirmed)
    assert os.statvfs(node.data_dir).f_bavail == 0
    # Consumers go on, and what they free within the file is enough, whoever has the rest of the disk.
    got = drain(node, "amqp", confirmed)
    assert got[:confirmed] == amqp.confirmed[:confirmed]
    waiting = len(mqtt3.confirmed) + len(mqtt5.confirmed)
    by_topic = drain_mqtt(node, "away", waiting)
    assert set(mqtt5.confirmed) <= set(by_topic["t/5"])
    until(lambda: not amqp.is_blocked, "publishers stay blocked")
    assert foreign.exists()
    until(lambda: len(amqp.confirmed) > confirmed + 20, "publishes are not confirmed again")
    until(lambda: len(mqtt3.confirmed) > before + 20, "MQTT 3 does not go on")
    foreign.unlink()
    amqp.stop()
    mqtt3.stop()
    rest = drain(node, "amqp", len(amqp.confirmed) - len(got))
    assert sorted({*got, *rest}) == list(range(len(amqp.confirmed)))


def test_somebody_else_fills_the_disk_and_the_node_is_killed_and_starts_on_it(node: LeveretProcess) -> None:
    """No quota helps against that: the reserve does."""
    amqp = AmqpPublisher(node)
    until(lambda: len(amqp.confirmed) > 100, "nothing is confirmed")
    foreign = fill(node.data_dir)
    until(lambda: has_alarm(node), "there is no alarm")
    fill(node.data_dir)
    time.sleep(1)
    node.kill()
    amqp.stop()
    fill(node.data_dir)
    assert os.statvfs(node.data_dir).f_bavail == 0
    node.start()
    assert has_alarm(node)
    confirmed = list(amqp.confirmed)
    got = drain(node, "amqp", len(confirmed))
    assert got[: len(confirmed)] == confirmed
    again = AmqpPublisher(node, "again")
    until(lambda: len(again.confirmed) > 20, "nothing is taken again")
    assert foreign.exists()
    again.stop()
    assert drain(node, "again", len(again.confirmed)) == again.confirmed


def test_a_whole_queue_is_dead_lettered_on_a_full_disk_in_the_room_of_the_reserve(
    node: LeveretProcess,
) -> None:
    """Nobody consumes: what leaves the one queue makes the room for what comes to the other, some at a time."""
    count = 100
    connection = pika.BlockingConnection(pika.URLParameters(node.uri()))
    channel = connection.channel()
    channel.queue_declare("grave", durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "grave", "x-message-ttl": 3000}
    channel.queue_declare("dying", durable=True, arguments=arguments)
    channel.confirm_delivery()
    for number in range(count):
        body = b"%d" % number + bytes(BODY_BYTES)
        channel.basic_publish("", "dying", body, pika.BasicProperties(delivery_mode=2))
    connection.close()
    fill(node.data_dir)
    assert os.statvfs(node.data_dir).f_bavail == 0
    until(lambda: api(node, "/api/queues/%2F/grave")["messages"] == count, "dead letters do not arrive")
    assert api(node, "/api/queues/%2F/dying")["messages"] == 0
    node.kill()
    node.start()
    assert drain(node, "grave", count) == list(range(count))
