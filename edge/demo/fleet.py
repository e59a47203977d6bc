"""Simulated drones: each numbers its reports, sends them at least once and notes what was confirmed."""

import asyncio
import logging
from typing import Final

import aiomqtt

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import Returned
from edge.amqp091.confirms import Ranges
from edge.amqp091.errors import AmqpError
from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from edge.demo.ledger import Device
from edge.demo.mqtt_client import MqttClient

EXCHANGE: Final = "amq.topic"
PERSISTENT_PROPERTIES: Final = encode_properties(BasicProperties(delivery_mode=2))
RECONNECT_S: Final = 0.25
REPORT: Final = '{"device":"%s","number":%d,"lat":47.3769,"lon":8.5417,"alt_m":412.5,"battery":0.83}'

logger = logging.getLogger("edge.demo")


def report(device: Device, number: int) -> bytes:
    """The body of a report, about 100 bytes of JSON."""
    return (REPORT % (device.name, number)).encode()


class Drone:
    """Reports at a steady rate until told to stop, whatever happens to the node."""

    def __init__(self, device: Device, port: int, rate_per_s: float) -> None:
        self.device = device
        self.port = port
        self.interval_s = 1 / rate_per_s
        self.stopping = False

    async def run(self) -> None:
        """Publish, and after a break publish again what was not confirmed."""
        while not self.finished:
            try:
                await self.fly()
            except (aiomqtt.MqttError, AmqpError, OSError, TimeoutError) as error:
                logger.debug("%s: %s", self.device.name, error)
                await asyncio.sleep(RECONNECT_S)

    @property
    def finished(self) -> bool:
        return self.stopping and self.device.sent == len(self.device.confirmed)

    async def fly(self) -> None:
        """One connection's life."""
        raise NotImplementedError


class MqttDrone(Drone):
    """Reports by MQTT at QoS 1, one at a time."""

    async def fly(self) -> None:
        device = self.device
        client = MqttClient("127.0.0.1", self.port, identifier=device.name, timeout=5)
        async with client:
            while not self.finished:
                number = len(device.confirmed)
                device.sent = max(device.sent, number + 1)
                await client.publish(f"fleet/{device.name}/report", report(device, number), qos=1)
                device.confirmed.add(number)
                if not self.stopping:
                    await asyncio.sleep(self.interval_s)


class AmqpDrone(Drone):
    """Reports by AMQP with publisher confirms: a burst each turn, the next one when all of it is confirmed."""

    BURST = 5

    async def fly(self) -> None:
        device = self.device
        client = await AmqpClient.connect(f"amqp://127.0.0.1:{self.port}", connection_name=device.name)
        try:
            channel = await client.channel()
            await channel.confirm_select()
            progress = asyncio.Event()
            lost: list[AmqpError] = []

            def on_confirm(acked: Ranges, _nacked: Ranges, _returned: list[Returned]) -> None:
                for first, last in acked:
                    # Numbers of this connection count from what was confirmed before it.
                    device.confirmed.update(range(offset + first - 1, offset + last))
                progress.set()

            def on_closed(error: AmqpError) -> None:
                lost.append(error)
                progress.set()

            offset = len(device.confirmed)
            channel.on_confirm = on_confirm
            channel.when_closed = on_closed
            while not self.finished:
                first = len(device.confirmed)
                numbers = range(first, device.sent if device.sent > first else first + self.BURST)
                device.sent = numbers.stop
                channel.publish([self._message(number) for number in numbers])
                while len(device.confirmed) < device.sent and not lost:
                    await progress.wait()
                    progress.clear()
                if lost:
                    raise lost[0]
                if not self.stopping:
                    await asyncio.sleep(self.interval_s * self.BURST)
        finally:
            await client.close()

    def _message(self, number: int) -> Message:
        return Message(
            EXCHANGE,
            f"fleet.{self.device.name}.report",
            PERSISTENT_PROPERTIES,
            report(self.device, number),
            flags=PERSISTENT,
        )
