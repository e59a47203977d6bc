"""What one client and one vhost may use of a node; the reasons stand in `mqtt.constants`."""

from dataclasses import dataclass

from edge.settings import MqttSettings
from mqtt import constants as c


@dataclass(frozen=True, slots=True)
class MqttLimits:
    """Limits and habits of a node's MQTT listener, from [mqtt] of its configuration."""

    connect_timeout_s: float = 10.0
    receive_max: int = c.RECEIVE_MAX
    packet_bytes_max: int = c.PACKET_BYTES_MAX
    topic_alias_max: int = c.TOPIC_ALIAS_MAX
    subscriptions_max: int = c.SUBSCRIPTIONS_MAX
    keep_alive_max_s: int = 0xFFFF
    session_expiry_max_s: int = c.NO_EXPIRY_S
    retained_messages_max: int = c.RETAINED_MESSAGES_MAX
    retained_bytes_max: int = c.RETAINED_BYTES_MAX
    response_topic: str = ""
    sys_interval_s: int = 10

    @classmethod
    def of(cls, mqtt_settings: MqttSettings) -> "MqttLimits":
        """The limits that a configuration sets."""
        return cls(
            receive_max=mqtt_settings.receive_max,
            packet_bytes_max=mqtt_settings.packet_bytes_max,
            topic_alias_max=mqtt_settings.topic_alias_max,
            subscriptions_max=mqtt_settings.subscriptions_max,
            keep_alive_max_s=mqtt_settings.keep_alive_max_s,
            session_expiry_max_s=mqtt_settings.session_expiry_max_s or c.NO_EXPIRY_S,
            retained_messages_max=mqtt_settings.retained_messages_max,
            retained_bytes_max=mqtt_settings.retained_bytes_max,
            response_topic=mqtt_settings.response_topic,
            sys_interval_s=mqtt_settings.sys_interval_s,
        )
