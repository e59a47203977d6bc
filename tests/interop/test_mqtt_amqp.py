"""MQTT to AMQP and back through one node, with paho-mqtt and pika."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pika
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pika.adapters.blocking_connection import BlockingChannel

from tests.helpers.leveret import LeveretProcess
from tests.interop.test_mqtt_paho import WAIT_S, PahoClient, make_client

__all__ = ["make_client"]


@pytest.fixture
def channel(leveret: LeveretProcess) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(leveret.uri()))
    yield connection.channel()
    connection.close()


def get(channel: BlockingChannel, queue: str) -> tuple[Any, pika.BasicProperties, bytes]:
    """The next message of a queue."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None and properties is not None and body is not None:
            return method, properties, body
        time.sleep(0.01)
    raise AssertionError(f"nothing in '{queue}'")


def bound_queue(channel: BlockingChannel, key: str) -> str:
    queue: str = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", key)
    return queue


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
@pytest.mark.parametrize(("qos", "delivery_mode"), [(0, 1), (1, 2), (2, 2)])
def test_what_a_device_publishes_an_amqp_queue_receives(
    leveret: LeveretProcess,
    channel: BlockingChannel,
    make_client: Callable[..., PahoClient],
    version: int,
    qos: int,
    delivery_mode: int,
) -> None:
    queue = bound_queue(channel, "fleet.*.temp")
    device = make_client("d", version)
    device.connect(leveret.ports.mqtt)
    for i in range(20):
        device.publish("fleet/7/temp", b"%d" % i, qos=qos)
    for i in range(20):
        method, properties, body = get(channel, queue)
        assert (body, method.routing_key, method.exchange) == (b"%d" % i, "fleet.7.temp", "amq.topic")
        assert properties.delivery_mode == delivery_mode


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
@pytest.mark.parametrize(("delivery_mode", "qos"), [(None, 0), (1, 0), (2, 1)])
def test_what_a_service_publishes_a_device_receives(
    leveret: LeveretProcess,
    channel: BlockingChannel,
    make_client: Callable[..., PahoClient],
    version: int,
    delivery_mode: int | None,
    qos: int,
) -> None:
    device = make_client("d", version)
    device.connect(leveret.ports.mqtt)
    device.subscribe("cmd/#", qos=2)
    properties = pika.BasicProperties(delivery_mode=delivery_mode)
    for i in range(20):
        channel.basic_publish("amq.topic", "cmd.7.go", b"%d" % i, properties)
    received = device.received(20)
    assert [message.payload for message in received] == [b"%d" % i for i in range(20)]
    assert {(message.topic, message.qos, bool(message.retain)) for message in received} == {
        ("cmd/7/go", qos, False)
    }


def test_dots_in_topics_come_back_as_they_were(
    leveret: LeveretProcess, channel: BlockingChannel, make_client: Callable[..., PahoClient]
) -> None:
    """Unlike RabbitMQ, which cannot tell `sensor.1/x` from `sensor/1/x` on the way back."""
    queue = bound_queue(channel, "#")
    device = make_client("d")
    device.connect(leveret.ports.mqtt)
    device.subscribe("back/#")
    device.publish("sensor.1/x", b"1", qos=1)
    method, _, _ = get(channel, queue)
    assert method.routing_key == "sensor/1.x"
    channel.basic_publish("amq.topic", "back.sensor/1.x", b"2")
    assert device.received(1)[0].topic == "back/sensor.1/x"


def test_a_service_collects_for_an_offline_device_and_sees_its_queue(
    leveret: LeveretProcess, channel: BlockingChannel, make_client: Callable[..., PahoClient]
) -> None:
    device = make_client("d", clean_session=False)
    device.connect(leveret.ports.mqtt)
    device.subscribe("cmd/+", qos=1)
    device.close()
    channel.confirm_delivery()
    for i in range(10):
        channel.basic_publish(
            "amq.topic", "cmd.x", b"%d" % i, pika.BasicProperties(delivery_mode=2), mandatory=True
        )
    declared = channel.queue_declare("mqtt-subscription-dqos1", passive=True)
    assert declared.method.message_count == 10
    again = make_client("d", clean_session=False)
    assert again.connect(leveret.ports.mqtt)
    assert [message.payload for message in again.received(10)] == [b"%d" % i for i in range(10)]


def test_properties_cross_both_ways_in_a_dialogue(
    leveret: LeveretProcess, channel: BlockingChannel, make_client: Callable[..., PahoClient]
) -> None:
    """A request by MQTT 5 with a response topic, answered by a service on AMQP."""
    queue = bound_queue(channel, "request.#")
    device = make_client("d", paho.MQTTv5)
    device.connect(leveret.ports.mqtt)
    device.subscribe("answers/d", qos=1)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/d"
    properties.CorrelationData = b"q-1"
    properties.ContentType = "application/json"
    properties.UserProperty = [("unit", "C")]
    properties.MessageExpiryInterval = 60
    device.publish("request/temp", b"{}", qos=1, properties=properties)

    _, request, body = get(channel, queue)
    assert body == b"{}"
    assert request.content_type == "application/json"
    assert request.correlation_id == "q-1"
    assert request.expiration == "60000"
    assert request.headers == {"unit": "C", "x-reply-to-topic": "answers.d"}

    answer = pika.BasicProperties(
        content_type="text/plain",
        correlation_id=request.correlation_id,
        delivery_mode=2,
        headers={"status": 200, "ok": True},
    )
    channel.basic_publish("amq.topic", request.headers["x-reply-to-topic"], b"21", answer)
    got = device.received(1)[0]
    assert (got.topic, got.payload) == ("answers/d", b"21")
    assert got.properties is not None
    assert got.properties.CorrelationData == b"q-1"
    assert got.properties.ContentType == "text/plain"
    assert got.properties.UserProperty == [("status", "200"), ("ok", "true")]
