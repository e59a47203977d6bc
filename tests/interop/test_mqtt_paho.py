"""paho-mqtt, the client that most of the field runs, against a node: versions 3.1, 3.1.1 and 5, all QoS."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.helpers.leveret import LeveretProcess

WAIT_S = 10.0
VERSIONS = [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5]


class PahoClient:
    """A paho client in its own thread, and what it has been told."""

    def __init__(self, client_id: str, version: int, **options: Any) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.connacks: list[tuple[bool, int]] = []
        self.disconnects: list[int] = []
        self._changed = threading.Condition()
        if version != paho.MQTTv5:
            options.setdefault("clean_session", True)
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **options
        )
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect

    def _tell(self, into: list[Any], what: object) -> None:
        with self._changed:
            into.append(what)
            self._changed.notify_all()

    def _on_connect(
        self, _client: object, _data: object, flags: Any, reason: Any, _properties: object
    ) -> None:
        self._tell(self.connacks, (flags.session_present, reason.value))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._tell(self.messages, message)

    def _on_disconnect(
        self, _client: object, _data: object, _flags: Any, reason: Any, _props: object
    ) -> None:
        self._tell(self.disconnects, reason.value)

    def wait(self, done: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(done, WAIT_S)

    def connect(self, port: int, **options: Any) -> bool:
        """Connect; returns whether the session was present."""
        self.client.connect("127.0.0.1", port, **options)
        self.client.loop_start()
        self.wait(lambda: bool(self.connacks))
        present, reason = self.connacks[-1]
        assert reason == 0
        return present

    def subscribe(self, topic: str, **options: Any) -> None:
        done = threading.Event()
        self.client.on_subscribe = lambda *_: done.set()
        self.client.subscribe(topic, **options)
        assert done.wait(WAIT_S)

    def publish(self, topic: str, body: bytes, **options: Any) -> None:
        info = self.client.publish(topic, body, **options)
        info.wait_for_publish(WAIT_S)
        assert info.is_published()

    def received(self, count: int) -> list[paho.MQTTMessage]:
        self.wait(lambda: len(self.messages) >= count)
        return self.messages

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def make_client() -> Iterator[Callable[..., PahoClient]]:
    made: list[PahoClient] = []

    def make(client_id: str, version: int = paho.MQTTv311, **options: Any) -> PahoClient:
        made.append(PahoClient(client_id, version, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_in_order(
    leveret: LeveretProcess, make_client: Callable[..., PahoClient], version: int, qos: int
) -> None:
    subscriber, publisher = make_client("s", version), make_client("p", version)
    subscriber.connect(leveret.ports.mqtt)
    publisher.connect(leveret.ports.mqtt)
    subscriber.subscribe("a/+", qos=qos)
    for i in range(200):
        publisher.client.publish("a/b", b"%d" % i, qos=qos)
    received = subscriber.received(200)
    assert [message.payload for message in received] == [b"%d" % i for i in range(200)]
    assert {message.qos for message in received} == {qos}
    assert {message.topic for message in received} == {"a/b"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_persistent_session_survives_a_kill_of_the_node(
    leveret: LeveretProcess, make_client: Callable[..., PahoClient], version: int
) -> None:
    options: dict[str, Any] = {}
    connect: dict[str, Any] = {}
    if version == paho.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        connect = {"clean_start": False, "properties": properties}
    else:
        options = {"clean_session": False}
    first = make_client("s", version, **options)
    assert not first.connect(leveret.ports.mqtt, **connect)
    first.subscribe("t", qos=2)
    first.close()
    publisher = make_client("p", version)
    publisher.connect(leveret.ports.mqtt)
    for i in range(100):
        publisher.publish("t", b"%d" % i, qos=1 + i % 2)
    publisher.close()
    leveret.kill()
    leveret.start()
    again = make_client("s", version, **options)
    present = again.connect(leveret.ports.mqtt, **connect)
    assert present or version == paho.MQTTv31
    received = again.received(100)
    # The library hands a QoS 2 message over at PUBREL, so the two QoS are in order each by itself.
    for qos in (1, 2):
        bodies = [message.payload for message in received if message.qos == qos]
        assert bodies == [b"%d" % i for i in range(qos - 1, 100, 2)]
    time.sleep(0.1)
    assert len(again.messages) == 100


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_messages_and_wills(
    leveret: LeveretProcess, make_client: Callable[..., PahoClient], version: int
) -> None:
    dying = make_client("d", version)
    dying.client.will_set("status/d", b"gone", qos=1, retain=True)
    dying.connect(leveret.ports.mqtt)
    dying.publish("status/d", b"here", qos=1, retain=True)
    watcher = make_client("w", version)
    watcher.connect(leveret.ports.mqtt)
    watcher.subscribe("status/#", qos=1)
    (here,) = watcher.received(1)
    assert (here.payload, bool(here.retain)) == (b"here", True)
    sock = dying.client.socket()
    assert sock is not None
    dying.client.loop_stop()
    sock.close()
    gone = watcher.received(2)[1]
    assert (gone.payload, bool(gone.retain)) == (b"gone", False)


def test_version_5_properties_pass_through(
    leveret: LeveretProcess, make_client: Callable[..., PahoClient]
) -> None:
    subscriber, publisher = make_client("s", paho.MQTTv5), make_client("p", paho.MQTTv5)
    subscriber.connect(leveret.ports.mqtt)
    publisher.connect(leveret.ports.mqtt)
    options = Properties(PacketTypes.SUBSCRIBE)
    options.SubscriptionIdentifier = 42
    subscriber.subscribe("t", options=SubscribeOptions(qos=1), properties=options)
    properties = Properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 60
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "reply"
    properties.CorrelationData = b"\x00\x01"
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    publisher.publish("t", b"x", qos=1, properties=properties)
    got = subscriber.received(1)[0].properties
    assert got is not None
    assert got.PayloadFormatIndicator == 1
    assert got.MessageExpiryInterval in (59, 60)
    assert got.ContentType == "text/plain"
    assert got.ResponseTopic == "reply"
    assert got.CorrelationData == b"\x00\x01"
    assert got.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")]
    assert got.SubscriptionIdentifier == [42]


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
def test_a_wrong_password_is_refused(
    leveret: LeveretProcess, make_client: Callable[..., PahoClient], version: int
) -> None:
    client = make_client("c", version)
    client.client.username_pw_set("guest", "wrong")
    client.client.connect("127.0.0.1", leveret.ports.mqtt)
    client.client.loop_start()
    client.wait(lambda: bool(client.connacks))
    # The library translates 3.1.1's code 4 to version 5's reason.
    assert client.connacks[0][1] == 0x86
