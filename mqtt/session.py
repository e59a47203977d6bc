"""The MQTT session: subscriptions, what they grant, and what outlives a connection.

Knows no broker: the service declares and binds for it. Nothing of the subscriptions is stored per message: at delivery
the session looks up what they grant for the message's topic.
"""

from typing import TYPE_CHECKING, Final, final

import msgspec

from edge.core.message import PERSISTENT, QOS2, RETAIN
from edge.core.names import MQTT_QUEUE_PREFIX
from edge.core.topic import TopicTrie
from mqtt.constants import NO_EXPIRY_S, SYS_KEY_PREFIX, TOPIC_CACHED_BYTES_MAX
from mqtt.fields import varint
from mqtt.filters import SHARE_PREFIX, WireCache, hides_dollar, routing_key_of
from mqtt.inflight import Inflight
from mqtt.packets import Subscription
from mqtt.properties import SUBSCRIPTION_IDENTIFIER

if TYPE_CHECKING:
    from mqtt.delivery import Link, SessionQueue

FROM_RETAINED: Final = 16
"""Message flag: a copy of a retained message for a new subscription, which shows RETAIN [MQTT-3.3.1-8]."""
GRANTS_MAX: Final = 1_024
"""Topics per session whose grant is remembered; about 200 KB, for sessions that see that many."""


def queue_name_of(client_id: str) -> str:
    """RabbitMQ's name for the QoS 1 queue of a client's session."""
    return f"{MQTT_QUEUE_PREFIX}{client_id}qos1"


def _first_bytes(qos_max: int, retain_as_published: bool) -> tuple[int, ...]:
    """The first byte of a PUBLISH by message flags: PERSISTENT, QOS2, RETAIN, and FROM_RETAINED moved to 8."""
    firsts: list[int] = []
    for flags in range(16):
        qos = 2 if flags & QOS2 else 1 if flags & PERSISTENT else 0
        retain = flags & 8 or (flags & RETAIN and retain_as_published)
        firsts.append(0x30 | min(qos, qos_max) << 1 | (1 if retain else 0))
    return tuple(firsts)


_FIRSTS: Final = {(qos, rap): _first_bytes(qos, rap) for qos in (0, 1, 2) for rap in (False, True)}


@final
class Grant:
    """What a session's subscriptions say of one topic."""

    __slots__ = ("extra", "field", "firsts", "is_announcing", "is_hidden", "is_plain", "no_local", "qos")

    def __init__(
        self, qos: int, is_hidden: bool, no_local: bool, rap: bool, field: bytes, extra: bytes
    ) -> None:
        self.qos = qos
        #: Not for this session, though a binding brought it: `$`-topics, keys that are no topic name.
        self.is_hidden = is_hidden
        self.no_local = no_local
        self.firsts = _FIRSTS[qos, rap]
        #: Topic name with its length; two zero bytes once an alias stands for it.
        self.field = field
        #: Subscription identifiers and topic alias, encoded (MQTT 5).
        self.extra = extra
        #: A QoS 0 delivery has the same bytes as that of any other session with a plain grant.
        self.is_plain = not extra and not rap
        #: The next delivery sets the topic alias that is in `extra`.
        self.is_announcing = False


def grant_of(matching: list[Subscription], field: bytes, is_bridge: bool) -> Grant:
    """The grant of subscriptions that match a topic: the highest QoS, all identifiers [MQTT-3.3.4-2]."""
    if not matching or not field:
        return Grant(0, True, False, False, field, b"")
    qos = max([one.qos for one in matching])
    no_local = is_bridge or all([one.no_local for one in matching])
    retain_as_published = is_bridge or any([one.retain_as_published for one in matching])
    identifiers = [one.identifier for one in matching if one.identifier]
    extra = b"".join([bytes((SUBSCRIPTION_IDENTIFIER,)) + varint(one) for one in identifiers])
    return Grant(qos, False, no_local, retain_as_published, field, extra)


class SessionRecord(msgspec.Struct, array_like=True):
    """What the store keeps of a session; the will is not kept."""

    vhost: str
    client_id: str
    username: str
    expiry_s: int
    disconnected_at_ms: int
    """Elapsed time; 0 while connected."""
    subscriptions: list[Subscription]
    is_bridge: bool = False


@final
class Session:
    """A client's state by (vhost, client id)."""

    __slots__ = (
        "_trie",
        "cache",
        "client_id",
        "disconnected_at_ms",
        "expiry_s",
        "grants",
        "inflight",
        "is_bridge",
        "is_stored",
        "link",
        "qos0_dropped",
        "queue",
        "subscriptions",
        "username",
        "vhost",
    )

    def __init__(self, vhost: str, client_id: str, cache: WireCache) -> None:
        # As long as the session lives
        self.vhost = vhost
        self.client_id = client_id
        self.cache = cache
        self.username = ""
        self.expiry_s = 0
        self.disconnected_at_ms = 0
        self.is_bridge = False
        #: The store has records of it.
        self.is_stored = False
        self.subscriptions: dict[str, Subscription] = {}
        self._trie: TopicTrie[Subscription] = TopicTrie()
        self.inflight = Inflight()
        self.queue: SessionQueue | None = None
        self.qos0_dropped = 0
        # As long as the connection lives
        self.link: Link | None = None
        self.grants: dict[str, Grant] = {}

    @property
    def is_persistent(self) -> bool:
        """The session outlives its connection."""
        return self.expiry_s > 0

    @property
    def queue_name(self) -> str:
        """The name of the session's one queue."""
        return queue_name_of(self.client_id)

    def expires_at_ms(self) -> int | None:
        """Elapsed time at which a disconnected session ends; None: never."""
        if self.expiry_s >= NO_EXPIRY_S:
            return None
        return self.disconnected_at_ms + self.expiry_s * 1000

    def subscribe(self, subscription: Subscription) -> bool:
        """Add or replace a subscription [MQTT-3.8.4-3]; True if its filter is new."""
        old = self.subscriptions.get(subscription.filter)
        key = routing_key_of(subscription.filter)
        if old is not None:
            self._trie.remove(key, old)
        self.subscriptions[subscription.filter] = subscription
        self._trie.add(key, subscription)
        self.grants.clear()
        return old is None

    def unsubscribe(self, topic_filter: str) -> bool:
        """Remove a subscription; False if there is none."""
        old = self.subscriptions.pop(topic_filter, None)
        if old is None:
            return False
        self._trie.remove(routing_key_of(topic_filter), old)
        self.grants.clear()
        return True

    def own_filters(self) -> list[str]:
        """The filters that the session's own queue is bound by: all that are not shared."""
        return [one for one in self.subscriptions if not one.startswith(SHARE_PREFIX)]

    def max_qos(self) -> int:
        """The highest QoS of any subscription."""
        return max((one.qos for one in self.subscriptions.values()), default=0)

    def grant(self, routing_key: str) -> Grant:
        """What the subscriptions grant for a routing key, remembered until they change."""
        grant = self._work_out(routing_key)
        if len(routing_key) <= TOPIC_CACHED_BYTES_MAX:
            if len(self.grants) >= GRANTS_MAX:
                self.grants.clear()
            self.grants[routing_key] = grant
        return grant

    def _work_out(self, routing_key: str) -> Grant:
        field = self.cache.field(routing_key)
        matching = self._trie.match(routing_key)
        if not matching:
            # Unsubscribed since, or put into the queue by other means than a subscription: deliver what is there.
            is_hidden = not field or routing_key.startswith(SYS_KEY_PREFIX)
            return Grant(2, is_hidden, False, False, field, b"")
        if field[2:3] == b"$":
            matching = [one for one in matching if not hides_dollar(one.filter)]
        grant = grant_of(matching, field, self.is_bridge)
        if routing_key.startswith(SYS_KEY_PREFIX):
            # What the queue brings of these was published by AMQP; the node sends its own past the queue.
            grant.is_hidden = True
        return grant

    def record(self) -> SessionRecord:
        """What to store of the session."""
        return SessionRecord(
            self.vhost,
            self.client_id,
            self.username,
            self.expiry_s,
            self.disconnected_at_ms,
            list(self.subscriptions.values()),
            self.is_bridge,
        )

    def restore(self, record: SessionRecord) -> None:
        """Take over what was stored."""
        self.is_stored = True
        self.username = record.username
        self.expiry_s = record.expiry_s
        self.disconnected_at_ms = record.disconnected_at_ms
        self.is_bridge = record.is_bridge
        for subscription in record.subscriptions:
            if subscription.filter.startswith(SHARE_PREFIX):
                self.subscriptions[subscription.filter] = subscription
            else:
                self.subscribe(subscription)
