"""The fixtures of real servers work: each answers its own protocol, and a link can be cut and restored."""

import socket
from collections.abc import Callable

import paho.mqtt.client as paho
import pika
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.helpers.mosquitto import Mosquitto
from tests.helpers.ports import answers, wait_until
from tests.helpers.rabbitmq import RabbitMQ
from tests.helpers.toxiproxy import Link

# MQTT 3.1.1, clean session, keep alive 10 s, client identifier "a"
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01a"
CONNACK = b"\x20\x02\x00\x00"


def test_rabbitmq_takes_a_message_and_gives_it_back(rabbitmq: RabbitMQ) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.uri())) as connection:
        channel = connection.channel()
        channel.queue_declare("smoke", durable=True)
        channel.basic_publish("", "smoke", b"hello")
        wait_until(lambda: channel.queue_declare("smoke", passive=True).method.message_count == 1)
        assert channel.basic_get("smoke", auto_ack=True)[2] == b"hello"
        channel.queue_delete("smoke")


def test_rabbitmqctl_talks_to_the_node_of_the_fixture(rabbitmq: RabbitMQ) -> None:
    assert "guest" in rabbitmq.ctl("list_users")


def test_mosquitto_carries_a_message_between_two_clients(mosquitto: Mosquitto) -> None:
    received: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _userdata, message: received.append(bytes(message.payload))
    client.on_connect = lambda client, *_: client.subscribe("smoke/#", qos=1)
    client.on_subscribe = lambda client, *_: client.publish("smoke/a", b"hello", qos=1)
    client.connect("127.0.0.1", mosquitto.mqtt_port)
    client.loop_start()
    try:
        wait_until(lambda: received == [b"hello"], what="the message to come back")
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_link_can_be_cut_and_restored(mosquitto: Mosquitto, make_link: Callable[[int], Link]) -> None:
    link = make_link(mosquitto.mqtt_port)
    assert answers(link.port)
    link.cut()
    assert not answers(link.port)
    link.restore()
    assert answers(link.port)


def test_toxics_come_and_go(mosquitto: Mosquitto, make_link: Callable[[int], Link]) -> None:
    link = make_link(mosquitto.mqtt_port)
    link.add("latency", latency=50, jitter=10)
    link.add("limit_data", stream="upstream", bytes=4)
    assert set(link.proxy.toxics()) == {"latency_downstream", "limit_data_upstream"}
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as torn:
        torn.sendall(CONNECT)
        assert torn.recv(100) == b"", "the link should have closed after four bytes"
    link.heal()
    assert link.proxy.toxics() == {}
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as whole:
        whole.sendall(CONNECT)
        assert whole.recv(100) == CONNACK


def test_a_server_that_is_killed_comes_back_on_its_port(mosquitto: Mosquitto) -> None:
    mosquitto.kill()
    assert not mosquitto.running
    assert not answers(mosquitto.mqtt_port)
    mosquitto.start()
    assert answers(mosquitto.mqtt_port)


def test_a_server_that_cannot_start_says_why(mosquitto: Mosquitto) -> None:
    config = mosquitto.directory / "mosquitto.conf"
    mosquitto.stop()
    config.write_text("no_such_option 1\n")
    with pytest.raises(AssertionError, match="no_such_option"):
        mosquitto.start()
