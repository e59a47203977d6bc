"""A destination that speaks MQTT: Mosquitto, RabbitMQ, or another Leveret."""

from typing import Final

from edge.broker import Broker
from edge.core.consumer import Entry
from edge.core.message import RETAIN
from edge.uris import Uri
from mqtt import constants as c
from mqtt import reasons as r
from mqtt.client import MqttClient, MqttClientHandler, connect
from shovel.config import ON_CONFIRM, ShovelConfig
from shovel.destination import Destination, Feedback, to_ranges
from shovel.forwarding import TopicForwarder
from shovel.refusals import Refusal

_OF_MESSAGE: Final = frozenset(
    (r.PACKET_TOO_LARGE, r.TOPIC_NAME_INVALID, r.PAYLOAD_FORMAT_INVALID, r.NOT_AUTHORIZED, r.MALFORMED_PACKET)
)
"""Reasons that lie in the message: its size, topic or content."""
_FINAL: Final = frozenset((r.PACKET_TOO_LARGE, r.TOPIC_NAME_INVALID))
"""Against what the server has stated at the connection, or against the rules of MQTT."""
_OF_ROOM: Final = frozenset((r.QUOTA_EXCEEDED, r.SERVER_BUSY))


class MqttDestination(Destination, MqttClientHandler):
    """Publishes at QoS 1 (QoS 0 when the shovel does not wait for confirms), within the server's receive maximum."""

    def __init__(self, broker: Broker, config: ShovelConfig, uri: Uri) -> None:
        self._broker = broker
        self._config = config
        self._uri = uri
        self._qos = 1 if config.ack_mode == ON_CONFIRM else 0
        self._forwarder = TopicForwarder(config.destination)
        self._client: MqttClient | None = None
        #: Numbers of messages with RETAIN that are not confirmed.
        self._retained: set[int] = set()
        self._feedback: Feedback | None = None

    async def open(self, feedback: Feedback) -> None:
        uri = self._uri
        self._client = await connect(
            uri.host,
            uri.port,
            uri.client_id or f"shovel-{self._broker.name}-{self._config.name}",
            self,
            version=c.V5 if uri.mqtt_version == c.V5 else c.V311,
            username=uri.username,
            password=uri.password,
            tls=uri.tls,
            server_name=uri.server_name,
            keep_alive_s=uri.heartbeat_s,
            timeout_s=uri.connect_timeout_s,
            clock=self._broker.clock,
        )
        self._feedback = feedback

    def room(self) -> int:
        client = self._client
        if client is None or client.is_closed or not client.writable:
            return 0
        return (
            min(client.machine.peer_receive_max - client.unconfirmed, c.PACKET_ID_MAX - 1)
            if self._qos
            else 1024
        )

    def publish(self, number: int, entries: list[Entry]) -> None:
        assert self._client is not None
        messages = self._forwarder.messages(entries)
        self._retained.update([number + i for i, message in enumerate(messages) if message.flags & RETAIN])
        first = self._client.publish(messages, self._qos)
        assert first == number, "publishes are numbered apart from the window"

    def on_confirmed(self, numbers: list[int], refused: dict[int, int]) -> None:
        if self._feedback is None:
            return
        if self._retained:
            # Nobody subscribes, but the server keeps it for whoever will.
            kept = [
                n
                for n, reason in refused.items()
                if reason == r.NO_MATCHING_SUBSCRIBERS and n in self._retained
            ]
            for number in kept:
                del refused[number]
            self._retained.difference_update(numbers, kept)
            numbers = sorted(numbers + kept)
        if numbers:
            self._feedback.confirmed(to_ranges(numbers))
        for number, reason in refused.items():
            self._feedback.refused([(number, number)], refusal_of(reason))

    def on_writable(self) -> None:
        if self._feedback is not None:
            self._feedback.has_room()

    def on_closed(self, error: Exception) -> None:
        if self._feedback is not None:
            self._feedback.destination_failed(error)

    def bytes_across(self) -> int:
        return self._client.bytes_across() if self._client is not None else 0

    async def close(self) -> None:
        self._feedback = None
        if self._client is not None:
            await self._client.close()
            self._client = None


def refusal_of(reason: int) -> Refusal:
    """What a PUBACK's reason code other than 0 means (MQTT 5, section 3.4.2.1)."""
    text = f"0x{reason:02X} {r.reason_name(reason)}"
    return Refusal(
        text,
        of_message=reason in _OF_MESSAGE,
        is_final=reason in _FINAL,
        of_room=reason in _OF_ROOM,
        of_route=reason == r.NO_MATCHING_SUBSCRIBERS,
    )
