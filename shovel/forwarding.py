"""How a message looks to the destination: where it is published to, and what the shovel's keys set or add."""

from typing import Any, Final

from edge.core.consumer import Entry
from edge.core.message import FORM_AMQP091, FORM_MQTT, MANDATORY, QOS2, Message, amqp_properties
from edge.core.properties import decode_properties, encode_properties
from mqtt.convert import mqtt_properties
from mqtt.filters import routing_key_of
from shovel.config import DestinationConfig, ShovelConfig, SourceConfig

FORWARD_HEADER: Final = "x-shovelled"
TIMESTAMP_HEADER: Final = "x-shovelled-timestamp"

EDITED_MAX: Final = 256
"""Property lists whose edited form is remembered; most publishers repeat a few."""
_USER_ID_BIT: Final = 0x10
"""In the second octet of the property flags."""


class Forwarder:
    """Rewrites the messages of one shovel for one of its destinations."""

    def __init__(self, config: ShovelConfig, node_name: str, dest_uri: str, username: str | None) -> None:
        destination = config.destination
        self._exchange = destination.exchange
        self._routing_key = destination.exchange_key
        if destination.queue is not None:
            self._exchange, self._routing_key = "", destination.queue
        self._overrides = destination.publish_properties
        self._forward_entry = (
            _forward_entry(config, node_name, dest_uri) if destination.add_forward_headers else None
        )
        self._adds_timestamp = destination.add_timestamp_header
        self._username = username or ""
        self._edits = bool(self._overrides or self._forward_entry or self._adds_timestamp)
        self._edited: dict[tuple[int, bytes], bytes] = {}
        self._edited_at_s = 0

    def messages(self, entries: list[Entry], unix_ms: int) -> list[Message]:
        """The entries' messages as they are published, mandatory."""
        exchange, routing_key = self._exchange, self._routing_key
        edits = self._edits
        if self._adds_timestamp and unix_ms // 1000 != self._edited_at_s:
            self._edited_at_s = unix_ms // 1000
            self._edited.clear()
        out: list[Message] = []
        for _, message, _ in entries:
            properties, form = message.properties, message.form
            if edits or (form == FORM_AMQP091 and len(properties) > 1 and properties[1] & _USER_ID_BIT):
                properties, form = self._edit(message), FORM_AMQP091
            out.append(
                Message(
                    message.exchange if exchange is None else exchange,
                    message.routing_key if routing_key is None else routing_key,
                    properties,
                    message.body,
                    form,
                    message.flags | MANDATORY,
                    message.published_at_ms,
                    message.expires_at_ms,
                    message.priority,
                )
            )
        return out

    def _edit(self, message: Message) -> bytes:
        key = (message.form, message.properties)
        found = self._edited.get(key)
        if found is not None:
            return found
        properties = decode_properties(amqp_properties(message))
        # Another user's name would be refused (406): only its own connection may state it, and that ends here.
        if properties.user_id not in (None, self._username):
            properties.user_id = None
        for name, value in self._overrides.items():
            setattr(properties, name, value)
        headers = dict(properties.headers or {})
        if self._forward_entry is not None:
            before = headers.get(FORWARD_HEADER)
            headers[FORWARD_HEADER] = [self._forward_entry, *(before if isinstance(before, list) else [])]
        if self._adds_timestamp:
            headers[TIMESTAMP_HEADER] = self._edited_at_s
        properties.headers = headers or None
        edited = encode_properties(properties)
        if message.expires_at_ms == 0 or message.form == FORM_AMQP091:
            # An MQTT message's expiry is beside its properties: it must not be remembered with them.
            if len(self._edited) >= EDITED_MAX:
                self._edited.clear()
            self._edited[key] = edited
        return edited


class TopicForwarder:
    """The same for a destination that speaks MQTT: only the topic may change."""

    def __init__(self, destination: DestinationConfig) -> None:
        topic = destination.topic or ""
        self._prefix = routing_key_of(topic) if topic.endswith("/") else ""
        self._replacement = None if not topic or topic.endswith("/") else routing_key_of(topic)

    def messages(self, entries: list[Entry]) -> list[Message]:
        """The entries' messages as they are published; QoS 2 becomes 1."""
        prefix, replacement = self._prefix, self._replacement
        return [
            Message(
                message.exchange,
                prefix + message.routing_key if replacement is None else replacement,
                message.properties if message.form == FORM_MQTT else mqtt_properties(message),
                message.body,
                FORM_MQTT,
                message.flags & ~QOS2,
                message.published_at_ms,
                message.expires_at_ms,
                message.priority,
            )
            for _, message, _ in entries
        ]


def _forward_entry(config: ShovelConfig, node_name: str, dest_uri: str) -> dict[str, Any]:
    """RabbitMQ's table: every value text, URIs without credentials, then the ends that are set."""
    source, destination = config.source, config.destination
    entry = {
        "shovelled-by": node_name,
        "shovel-type": "dynamic",
        "shovel-name": config.name,
        "shovel-vhost": config.vhost,
        "src-uri": str(source.uris[0]),
        "dest-uri": dest_uri,
        **source_keys(source),
    }
    return entry | {
        key: value
        for key, value in (
            ("dest-exchange", destination.exchange),
            ("dest-exchange-key", destination.exchange_key),
            ("dest-queue", destination.queue),
        )
        if value is not None
    }


def source_keys(source: SourceConfig) -> dict[str, str]:
    """Which source it is, in RabbitMQ's keys."""
    if source.queue is not None:
        return {"src-queue": source.queue}
    return {"src-exchange": source.exchange or "", "src-exchange-key": source.exchange_key}
