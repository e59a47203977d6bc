"""The keys of a ``[[federation-upstream]]``: RabbitMQ's, unchanged (rabbit_federation_upstream), and what they name.

What RabbitMQ's documentation says of a key holds here. ``reconnect-delay`` is the base of a growing, jittered backoff
(1 s when it is not given). Nothing at the upstream is ever deleted because a link is restarted
(``resource-cleanup-mode = "never"``); an ``expires`` bounds how long an upstream keeps messages for us.
"""

from dataclasses import dataclass
from typing import Any, Final

from edge.core.names import DEFAULT_VHOST
from edge.tables import BOOLEAN, INTEGER, NUMBER, TEXT, TEXTS, Key, Table, check_table
from edge.uris import Uri, parse_uris
from edge.workers import RECONNECT_DELAY_S

ON_CONFIRM: Final = "on-confirm"
ON_PUBLISH: Final = "on-publish"
NO_ACK: Final = "no-ack"

INTERNAL_PURPOSE: Final = "x-internal-purpose"

KEYS: Final = (
    Key("name", (TEXT,), required=True),
    Key("vhost", (TEXT,), default=DEFAULT_VHOST),
    Key("uri", (TEXT, TEXTS), required=True, help="a list is tried in turn"),
    Key("exchange", (TEXT,), help="the upstream's exchange; the same name when not given"),
    Key("max-hops", (INTEGER,), default=1, minimum=1, maximum=32_767),
    Key("prefetch-count", (INTEGER,), default=1000, minimum=1, maximum=65_535),
    Key(
        "reconnect-delay", (NUMBER,), minimum=0, maximum=86_400, help="s; base of the backoff, 0: never again"
    ),
    Key("ack-mode", (TEXT,), default=ON_CONFIRM, choices=(ON_CONFIRM, ON_PUBLISH, NO_ACK)),
    Key("trust-user-id", (BOOLEAN,), default=False),
    Key("expires", (INTEGER,), minimum=1, help="ms without us after which the upstream drops our queue"),
    Key("message-ttl", (INTEGER,), minimum=0, help="ms that the upstream keeps messages for us"),
    Key("queue-type", (TEXT,), default="classic", choices=("classic", "quorum")),
    Key("bind-nowait", (BOOLEAN,), default=False, help="accepted; bindings are always pipelined"),
    Key("channel-use-mode", (TEXT,), default="multiple", choices=("multiple",)),
    Key("resource-cleanup-mode", (TEXT,), default="never", choices=("never",)),
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One checked ``[[federation-upstream]]``."""

    name: str
    vhost: str
    uris: tuple[Uri, ...]
    exchange: str | None
    max_hops: int
    prefetch_count: int
    reconnect_delay_s: float
    ack_mode: str
    trust_user_id: bool
    expires_ms: int | None
    message_ttl_ms: int | None
    queue_type: str

    def queue_arguments(self) -> dict[str, Any]:
        """Of the upstream's queue that keeps messages for us."""
        arguments: dict[str, Any] = {INTERNAL_PURPOSE: "federation", "x-queue-type": self.queue_type}
        if self.expires_ms is not None:
            arguments["x-expires"] = self.expires_ms
        if self.message_ttl_ms is not None:
            arguments["x-message-ttl"] = self.message_ttl_ms
        return arguments


def read_upstream(table: Table) -> Upstream:
    """Check one table. Raises ConfigError that names file, table, key and what is wrong."""
    values: dict[str, Any] = check_table(table, KEYS)
    delay_s = values["reconnect-delay"]
    return Upstream(
        values["name"],
        values["vhost"],
        parse_uris(f"{table.where}: uri", values["uri"]),
        values["exchange"],
        values["max-hops"],
        values["prefetch-count"],
        RECONNECT_DELAY_S if delay_s is None else float(delay_s),
        values["ack-mode"],
        values["trust-user-id"],
        values["expires"],
        values["message-ttl"],
        values["queue-type"],
    )


def queue_name(exchange: str, upstream_exchange: str, vhost: str, upstream_vhost: str, cluster: str) -> str:
    """The upstream's queue for us, named as RabbitMQ names it."""
    suffix = ""
    if vhost != upstream_vhost:
        suffix = f":{vhost}:{exchange}"
    elif exchange != upstream_exchange:
        suffix = f":{exchange}"
    return f"federation: {upstream_exchange} -> {cluster}{suffix}"
