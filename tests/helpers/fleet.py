"""A fleet of real clients that number their messages, and the account of what arrived upstream."""

import asyncio
import threading
from collections.abc import Callable

import aio_pika
import aiomqtt
import paho.mqtt.client as paho
import pika
from pika.adapters.blocking_connection import BlockingChannel

from edge.demo.ledger import Device, Ledger
from edge.demo.mqtt_client import MqttClient

TOPIC = "fleet/{}/report"
ROUTING_KEY = "fleet.{}.report"
EXCHANGE = "amq.topic"
RETRY_S = 0.1
MQTT_ERRORS = (aiomqtt.MqttError, OSError, TimeoutError)
AMQP_ERRORS = (aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError)
"""RuntimeError: aiormq raises it for a write to a transport that has just gone."""


def body(device: Device, number: int) -> bytes:
    return f"{device.name}:{number}".encode().ljust(100, b".")


class Fleet:
    """``mqtt`` devices at QoS 1 and ``amqp`` publishers with confirms; each sends ``each`` messages, one after another.

    A publisher sends a message again until it is confirmed, so order per publisher is what it means to say.
    """

    def __init__(self, mqtt: int, amqp: int, each: int, interval_s: float) -> None:
        self.ledger = Ledger()
        self.each = each
        self.interval_s = interval_s
        self._mqtt = [self.ledger.device(f"mqtt-{i}") for i in range(mqtt)]
        self._amqp = [self.ledger.device(f"amqp-{i}") for i in range(amqp)]

    async def publish(self, mqtt_port: int, amqp_uri: str) -> None:
        """Until every message is confirmed, whatever befalls the node."""
        async with asyncio.TaskGroup() as group:
            for device in self._mqtt:
                group.create_task(
                    self._fly(device, lambda d=device: self._publish_mqtt(d, mqtt_port), MQTT_ERRORS)
                )
            for device in self._amqp:
                group.create_task(
                    self._fly(device, lambda d=device: self._publish_amqp(d, amqp_uri), AMQP_ERRORS)
                )

    async def _fly(self, device: Device, session, errors: tuple[type[Exception], ...]) -> None:
        while len(device.confirmed) < self.each:
            try:
                await session()
            except errors:
                await asyncio.sleep(RETRY_S)

    async def _publish_mqtt(self, device: Device, port: int) -> None:
        async with MqttClient("127.0.0.1", port, identifier=device.name, timeout=3) as client:
            while (number := len(device.confirmed)) < self.each:
                device.sent = number + 1
                await client.publish(TOPIC.format(device.name), body(device, number), qos=1)
                device.confirmed.add(number)
                await asyncio.sleep(self.interval_s)

    async def _publish_amqp(self, device: Device, uri: str) -> None:
        connection = await aio_pika.connect(uri, timeout=3)
        try:
            channel = await connection.channel(publisher_confirms=True)
            exchange = await channel.get_exchange(EXCHANGE, ensure=False)
            while (number := len(device.confirmed)) < self.each:
                device.sent = number + 1
                message = aio_pika.Message(
                    body(device, number), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
                )
                await exchange.publish(message, ROUTING_KEY.format(device.name), timeout=3)
                device.confirmed.add(number)
                await asyncio.sleep(self.interval_s)
        finally:
            await connection.close()

    def arrive(self, payload: bytes) -> None:
        """Note what arrived upstream."""
        name, _, number = payload.rstrip(b".").decode().partition(":")
        self.ledger.device(name).arrive(int(number))

    async def all_arrived(self, timeout_s: float) -> None:
        """Wait until everything that was confirmed is upstream; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self.ledger.complete:  # noqa: ASYNC110 -- arrivals are noted by another thread
                await asyncio.sleep(0.05)

    def check(self) -> None:
        """Nothing lost, and order per publisher apart from duplicates."""
        ledger = self.ledger
        counts = {name: ledger.total(name) for name in ("sent", "confirmed", "arrived", "lost", "duplicates")}
        print(counts)
        assert ledger.total("lost") == 0, counts
        assert ledger.total("out_of_order") == 0, {d.name: d.out_of_order for d in ledger.devices.values()}


class AmqpReceiver:
    """Consumes a queue upstream with pika, in a thread of its own, past the link."""

    def __init__(self, uri: str, queue: str, arrive: Callable[[bytes], None]) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(uri))
        self._channel: BlockingChannel = self._connection.channel()
        self._channel.queue_declare(queue, durable=True)
        self._channel.basic_qos(prefetch_count=500)

        def on_message(channel: BlockingChannel, method, _properties, payload: bytes) -> None:
            arrive(payload)
            channel.basic_ack(method.delivery_tag)

        self._channel.basic_consume(queue, on_message)
        self._thread = threading.Thread(target=self._channel.start_consuming, name="receiver")
        self._thread.start()

    def close(self) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join()
        self._connection.close()


class MqttReceiver:
    """Subscribes upstream with paho at QoS 1, past the link."""

    def __init__(self, port: int, topic_filter: str, arrive: Callable[[bytes], None]) -> None:
        subscribed = threading.Event()
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="receiver", clean_session=False
        )
        self._client.on_message = lambda _client, _data, message: arrive(message.payload)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(topic_filter, qos=1)
        assert subscribed.wait(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
