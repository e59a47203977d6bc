"""Topic names and topic filters: what is valid, and how they stand in the broker as routing and binding keys.

The mapping swaps `/` with `.` and `+` with `*`, in names and filters alike, so it is its own inverse and loses
nothing: topic `a.b/c` is routing key `a/b.c`. RabbitMQ replaces one way and cannot tell `a.b` from `a/b`.
"""

from typing import Final, final

from mqtt.constants import SYS_KEY_PREFIX, TOPIC_CACHE_MAX, TOPIC_CACHED_BYTES_MAX, TOPIC_LEVELS_MAX
from mqtt.fields import decode_utf8
from mqtt.reasons import TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID, PeerError

_SWAP: Final = str.maketrans("/.+*", "./*+")
SHARE_PREFIX: Final = "$share/"


def routing_key_of(topic: str) -> str:
    """The routing key of a topic name, or the binding key of a topic filter."""
    return topic.translate(_SWAP)


def topic_of(routing_key: str) -> str:
    """The topic name of a routing key, or the topic filter of a binding key."""
    return routing_key.translate(_SWAP)


def check_topic_name(topic: str) -> None:
    """A name to publish to: at least one character [MQTT-4.7.3-1], no wildcards [MQTT-3.3.2-2], few levels."""
    if not topic:
        raise PeerError(TOPIC_NAME_INVALID, "topic name is empty [MQTT-4.7.3-1]")
    if "+" in topic or "#" in topic:
        raise PeerError(TOPIC_NAME_INVALID, "topic name contains a wildcard [MQTT-3.3.2-2]")
    if topic.count("/") >= TOPIC_LEVELS_MAX:
        raise PeerError(TOPIC_NAME_INVALID, f"topic name has more than {TOPIC_LEVELS_MAX} levels")


def is_valid_filter(topic_filter: str) -> bool:
    """Wildcards stand alone in a level, `#` only in the last [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]."""
    if not topic_filter or topic_filter.count("/") >= TOPIC_LEVELS_MAX:
        return False
    levels = topic_filter.split("/")
    for i, level in enumerate(levels):
        if "#" in level and (level != "#" or i != len(levels) - 1):
            return False
        if "+" in level and level != "+":
            return False
    return True


def split_share(topic_filter: str) -> tuple[str, str]:
    """`(share name, filter)` of `$share/name/filter`, `("", filter)` of any other.

    Raises PeerError for a share name that is empty or has wildcards [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    """
    if not topic_filter.startswith(SHARE_PREFIX):
        return "", topic_filter
    name, slash, rest = topic_filter[len(SHARE_PREFIX) :].partition("/")
    if not name or not slash or "+" in name or "#" in name:
        raise PeerError(TOPIC_FILTER_INVALID, "share name is empty or has a wildcard [MQTT-4.8.2-2]")
    return name, rest


def hides_dollar(topic_filter: str) -> bool:
    """True if the filter starts with a wildcard, which must not match topics starting with `$` [MQTT-4.7.2-1]."""
    return topic_filter[0] in "+#"


@final
class WireCache:
    """Both directions of the topic mapping for the topics in use, and PUBLISH property blocks that came before.

    Shared by all connections of one role in a node. Bounded: a part that is full starts anew, which costs one
    translation a topic.
    """

    __slots__ = ("blocks", "fields", "keys")

    def __init__(self) -> None:
        self.keys: dict[bytes, str] = {}
        """Topic name as it stands in a PUBLISH -> routing key."""
        self.fields: dict[str, bytes] = {}
        """Routing key -> topic name with its two byte length; empty if no topic name can stand for it."""
        self.blocks: dict[bytes, tuple[bytes, int, int]] = {}
        """PUBLISH property block -> what `mqtt.properties.split_publish_properties` makes of it."""

    def key(self, raw: bytes) -> str:
        """The routing key of a topic name's bytes; raises PeerError if it is not a valid topic name."""
        known = self.keys.get(raw)
        if known is not None:
            return known
        topic = decode_utf8(raw)
        check_topic_name(topic)
        key = topic.translate(_SWAP)
        # The server's own topics stay out, so that the decoder looks at each attempt to publish to one.
        if len(raw) <= TOPIC_CACHED_BYTES_MAX and not key.startswith(SYS_KEY_PREFIX):
            if len(self.keys) >= TOPIC_CACHE_MAX:
                self.keys.clear()
            self.keys[raw] = key
        return key

    def field(self, routing_key: str) -> bytes:
        """The topic name field of a routing key; empty if MQTT cannot carry it.

        AMQP keys may be empty, hold wildcards or U+0000, or be over-long as a topic.
        """
        known = self.fields.get(routing_key)
        if known is not None:
            return known
        raw = routing_key.translate(_SWAP).encode("utf-8", "replace")
        field = b""
        if 0 < len(raw) <= 0xFFFF and b"+" not in raw and b"#" not in raw and 0 not in raw:
            field = len(raw).to_bytes(2, "big") + raw
        if len(raw) <= TOPIC_CACHED_BYTES_MAX:
            if len(self.fields) >= TOPIC_CACHE_MAX:
                self.fields.clear()
            self.fields[routing_key] = field
        return field
