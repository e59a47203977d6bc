"""The keys of a ``[[shovel]]``: RabbitMQ's dynamic shovels, unchanged, and what Leveret adds for MQTT.

What RabbitMQ's documentation says of a key holds here (rabbit_shovel_parameters, rabbit_amqp091_shovel); the
differences are better behaviour under the same keys: ``reconnect-delay`` is the base of a growing, jittered backoff
(1 s when it is not given), without ``src-prefetch-count`` the window adapts to the link, and a source that is an
exchange is buffered in a durable queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.core.errors import ConfigError
from edge.core.names import DEFAULT_VHOST, MQTT_EXCHANGE
from edge.core.properties import BasicProperties, PropertiesError, encode_properties
from edge.core.table import TableError, encode_table
from edge.tables import BOOLEAN, INTEGER, NUMBER, TABLE, TEXT, TEXTS, Key, Table, check_table, unknown_key
from edge.uris import Uri, parse_uris
from edge.workers import RECONNECT_DELAY_S
from mqtt.filters import is_valid_filter, routing_key_of

ON_CONFIRM: Final = "on-confirm"
ON_PUBLISH: Final = "on-publish"
NO_ACK: Final = "no-ack"

AMQP091: Final = "amqp091"
LOCAL: Final = "local"
MQTT: Final = "mqtt"
PROTOCOLS: Final = (AMQP091, LOCAL, MQTT)

KEYS: Final = (
    Key("name", (TEXT,), required=True),
    Key("vhost", (TEXT,), default=DEFAULT_VHOST, help="where the shovel and its local queues live"),
    Key("ack-mode", (TEXT,), default=ON_CONFIRM, choices=(ON_CONFIRM, ON_PUBLISH, NO_ACK)),
    Key(
        "reconnect-delay", (NUMBER,), minimum=0, maximum=86_400, help="s; base of the backoff, 0: never again"
    ),
    Key("src-protocol", (TEXT,), choices=PROTOCOLS),
    Key("src-uri", (TEXT, TEXTS), help="amqp:// without a host is this node"),
    Key("src-queue", (TEXT,)),
    Key("src-queue-args", (TABLE,), help="used when the queue must be declared"),
    Key("src-exchange", (TEXT,)),
    Key("src-exchange-key", (TEXT,), default=""),
    Key("src-topic", (TEXT,), help="MQTT topic filter of this node"),
    Key("src-prefetch-count", (INTEGER,), minimum=1, maximum=65_535, aliases=("prefetch-count",)),
    Key("src-consumer-args", (TABLE,)),
    Key("src-consumer-name", (TEXT,), default=""),
    Key("src-delete-after", (TEXT, INTEGER), default="never", aliases=("delete-after",)),
    Key("src-predeclared", (BOOLEAN,), default=False),
    Key("dest-protocol", (TEXT,), choices=PROTOCOLS),
    Key("dest-uri", (TEXT, TEXTS), required=True, help="a list is tried in turn"),
    Key("dest-queue", (TEXT,)),
    Key("dest-queue-args", (TABLE,), help="used when the queue must be declared"),
    Key("dest-exchange", (TEXT,)),
    Key("dest-exchange-key", (TEXT,)),
    Key("dest-topic", (TEXT,), help="MQTT: ending in / it goes before the topic, else it replaces it"),
    Key("dest-publish-properties", (TABLE,), aliases=("publish-properties",)),
    Key("dest-add-forward-headers", (BOOLEAN,), default=False, aliases=("add-forward-headers",)),
    Key("dest-add-timestamp-header", (BOOLEAN,), default=False, aliases=("add-timestamp-header",)),
    Key("dest-predeclared", (BOOLEAN,), default=False),
)

_PROPERTY_NAMES: Final = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where messages are taken from; exactly one of ``queue``, ``exchange`` and ``topic`` is set."""

    protocol: str
    uris: tuple[Uri, ...]
    queue: str | None
    exchange: str | None
    #: Binding key; of a topic the converted filter.
    exchange_key: str
    topic: str | None
    queue_arguments: dict[str, Any]
    consumer_arguments: dict[str, Any]
    consumer_name: str
    #: None: the window adapts.
    prefetch_count: int | None
    predeclared: bool

    @property
    def is_local(self) -> bool:
        return self.uris[0].is_local


@dataclass(frozen=True, slots=True)
class DestinationConfig:
    """Where messages go; with neither queue, exchange nor topic to where they were published first."""

    protocol: str
    uris: tuple[Uri, ...]
    queue: str | None
    exchange: str | None
    exchange_key: str | None
    topic: str | None
    queue_arguments: dict[str, Any]
    publish_properties: dict[str, Any]
    add_forward_headers: bool
    add_timestamp_header: bool
    predeclared: bool


@dataclass(frozen=True, slots=True)
class ShovelConfig:
    """One checked ``[[shovel]]``."""

    where: str
    name: str
    vhost: str
    source: SourceConfig
    destination: DestinationConfig
    ack_mode: str
    reconnect_delay_s: float


def read_shovel(table: Table) -> ShovelConfig:
    """Check one table. Raises ConfigError that names file, table, key and what is wrong."""
    values = check_table(table, KEYS)
    where = table.where
    if values["src-delete-after"] != "never":
        raise ConfigError(
            f"{where}: src-delete-after: only 'never' is supported; a shovel does not end by itself"
        )
    delay_s = values["reconnect-delay"]
    return ShovelConfig(
        where,
        str(values["name"]),
        str(values["vhost"]),
        _source(where, values),
        _destination(where, values),
        str(values["ack-mode"]),
        float(delay_s) if isinstance(delay_s, int | float) else RECONNECT_DELAY_S,
    )


def _source(where: str, values: Mapping[str, Any]) -> SourceConfig:
    topic = values["src-topic"]
    protocol = values["src-protocol"] or (MQTT if topic is not None else AMQP091)
    uris = _source_uris(where, values["src-uri"], protocol)
    _one_of(where, values, ("src-topic",) if protocol == MQTT else ("src-queue", "src-exchange"))
    _none_of(where, values, ("src-queue", "src-exchange") if protocol == MQTT else ("src-topic",), protocol)
    if values["src-exchange"] == "":
        raise ConfigError(
            f"{where}: src-exchange: nothing can be bound to the default exchange; use src-queue"
        )
    if topic is not None and not is_valid_filter(topic):
        raise ConfigError(f"{where}: src-topic: {topic!r} is no MQTT topic filter")
    key = values["src-exchange-key"] if topic is None else routing_key_of(topic)
    return SourceConfig(
        protocol,
        uris,
        values["src-queue"],
        values["src-exchange"] if topic is None else MQTT_EXCHANGE,
        key,
        topic,
        _arguments(where, values, "src-queue-args"),
        _arguments(where, values, "src-consumer-args"),
        values["src-consumer-name"],
        values["src-prefetch-count"],
        values["src-predeclared"],
    )


def _source_uris(where: str, value: object, protocol: str) -> tuple[Uri, ...]:
    key = f"{where}: src-uri"
    if value is None:
        if protocol == AMQP091:
            raise ConfigError(f"{key}: missing; it must be text or a list of text, amqp:// for this node")
        value = "amqp://"
    uris = parse_uris(key, value, ("amqp", "mqtt") if protocol == MQTT else ("amqp",))
    if len({uri.is_local for uri in uris}) > 1:
        raise ConfigError(f"{key}: names both this node and others")
    if protocol != AMQP091 and not uris[0].is_local:
        raise ConfigError(f"{key}: with src-protocol {protocol} it can only be this node: amqp://")
    return uris


def _destination(where: str, values: Mapping[str, Any]) -> DestinationConfig:
    key = f"{where}: dest-uri"
    uris = parse_uris(key, values["dest-uri"], ("amqp", "mqtt"))
    if len({(uri.protocol, uri.is_local) for uri in uris}) > 1:
        raise ConfigError(f"{key}: all URIs of a list must be of one protocol, and all or none of this node")
    protocol = values["dest-protocol"] or (MQTT if uris[0].protocol == "mqtt" else AMQP091)
    if (protocol == MQTT) != (uris[0].protocol == "mqtt"):
        raise ConfigError(f"{key}: does not fit dest-protocol {protocol}")
    if uris[0].is_local and protocol == MQTT:
        raise ConfigError(f"{key}: has no host; this node is amqp:// with dest-exchange amq.topic")
    if protocol == LOCAL and not uris[0].is_local:
        raise ConfigError(f"{key}: with dest-protocol local it can only be this node: amqp://")
    amqp_only = ("dest-queue", "dest-exchange", "dest-exchange-key", "dest-publish-properties")
    _none_of(where, values, amqp_only if protocol == MQTT else ("dest-topic",), protocol)
    for name in ("dest-add-forward-headers", "dest-add-timestamp-header"):
        if protocol == MQTT and values[name]:
            raise ConfigError(f"{where}: {name}: has no meaning with protocol {protocol}")
    if values["dest-queue"] is not None and values["dest-exchange"] is not None:
        raise ConfigError(f"{where}: dest-queue: cannot stand beside dest-exchange; keep one of them")
    return DestinationConfig(
        protocol,
        uris,
        values["dest-queue"],
        values["dest-exchange"],
        values["dest-exchange-key"],
        values["dest-topic"],
        _arguments(where, values, "dest-queue-args"),
        _publish_properties(where, values["dest-publish-properties"] or {}),
        values["dest-add-forward-headers"],
        values["dest-add-timestamp-header"],
        values["dest-predeclared"],
    )


def _one_of(where: str, values: Mapping[str, Any], names: tuple[str, ...]) -> None:
    given = [name for name in names if values[name] is not None]
    if not given:
        raise ConfigError(f"{where}: {' or '.join(names)}: missing")
    if len(given) > 1:
        raise ConfigError(f"{where}: {given[0]}: cannot stand beside {given[1]}; keep one of them")


def _none_of(where: str, values: Mapping[str, Any], names: tuple[str, ...], protocol: str) -> None:
    for name in names:
        if values[name] is not None:
            raise ConfigError(f"{where}: {name}: has no meaning with protocol {protocol}")


def _arguments(where: str, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    arguments: dict[str, Any] = values[name] or {}
    try:
        encode_table(arguments)
    except TableError as error:
        raise ConfigError(f"{where}: {name}: {error}") from error
    return arguments


def _publish_properties(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in _PROPERTY_NAMES:
            raise unknown_key(f"{where}: dest-publish-properties", name, _PROPERTY_NAMES)
    try:
        encode_properties(BasicProperties(**given))
    except PropertiesError as error:
        raise ConfigError(f"{where}: dest-publish-properties: {error}") from error
    return dict(given)
