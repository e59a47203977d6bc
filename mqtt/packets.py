"""Control packets as values, and the runs in which the frequent ones come.

A PUBLISH is no object of its own: what a chunk of input brings becomes one `PublishRun` with a list of Messages, and
acknowledgements become one `AckRun`. The rest are rare enough for an object each.
"""

import msgspec

from edge.core.message import Message
from mqtt.properties import Properties


class PublishRun(msgspec.Struct):
    """Consecutive PUBLISH packets. `packet_ids[i]` is 0 for a message of QoS 0.

    A message's QoS is in its flags (PERSISTENT for 1 and 2, QOS2), RETAIN too.
    """

    messages: list[Message]
    packet_ids: list[int]
    retained: bool = False
    """Some message has RETAIN set."""
    qos2: bool = False
    """Some message is of QoS 2."""
    refused: dict[int, int] = {}
    """What the decoder found that may not be published, by identity of message: the reason code for it."""


class AckRun(msgspec.Struct):
    """Consecutive packets of one kind: PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: int
    packet_ids: list[int]
    reasons: dict[int, int]
    """Reason codes other than 0, by packet id (MQTT 5)."""


class Will(msgspec.Struct):
    """The will of a CONNECT; `properties` is a PUBLISH property block without the will delay."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: bytes = b""
    delay_s: int = 0
    expires_ms: int = 0


class Connect(msgspec.Struct):
    version: int
    client_id: str
    clean_start: bool = True
    keep_alive_s: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = {}
    is_bridge: bool = False
    """Mosquitto's bridge bit: the peer forwards what it gets, so it must not get its own back."""

    def __repr__(self) -> str:
        # Never the password: packets end up in logs and test reports.
        return f"Connect(version={self.version}, client_id={self.client_id!r}, username={self.username!r})"


class Connack(msgspec.Struct):
    session_present: bool = False
    reason: int = 0
    """An MQTT 5 reason code; MQTT 3 return codes are translated."""
    properties: Properties = {}


class Subscription(msgspec.Struct, frozen=True):
    """One topic filter of a SUBSCRIBE with its options (section 3.8.3.1)."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    """Subscription identifier, 0 for none."""


class Subscribe(msgspec.Struct):
    packet_id: int
    subscriptions: list[Subscription]
    properties: Properties = {}


class Suback(msgspec.Struct):
    packet_id: int
    reasons: list[int]
    properties: Properties = {}


class Unsubscribe(msgspec.Struct):
    packet_id: int
    filters: list[str]
    properties: Properties = {}


class Unsuback(msgspec.Struct):
    packet_id: int
    reasons: list[int] = []
    properties: Properties = {}


class Pingreq(msgspec.Struct):
    pass


class Pingresp(msgspec.Struct):
    pass


class Disconnect(msgspec.Struct):
    reason: int = 0
    properties: Properties = {}


class Auth(msgspec.Struct):
    reason: int = 0
    properties: Properties = {}


Packet = (
    Connect | Connack | Subscribe | Suback | Unsubscribe | Unsuback | Pingreq | Pingresp | Disconnect | Auth
)
Event = PublishRun | AckRun | Packet
