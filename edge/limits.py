"""Limits that operators set: connections and queues of a vhost, connections and channels of a user (RabbitMQ, "Virtual
Hosts", "Per-User Limits"). Whoever has none pays a look into an empty dict."""

from typing import Final

from edge.auth.users import User
from edge.broker import Broker
from edge.core.errors import NotAllowed
from edge.core.vhost import VHost

MAX_CONNECTIONS: Final = "max-connections"
MAX_CHANNELS: Final = "max-channels"


def check_connections(broker: Broker, user: User, vhost: VHost) -> None:
    """Raises NotAllowed when one connection more is too many."""
    limit = vhost.limits.get(MAX_CONNECTIONS, -1)
    if limit >= 0 and _connections(broker, "vhost", vhost.name) >= limit:
        raise NotAllowed(
            f"access to vhost '{vhost.name}' refused for user '{user.name}': connection limit ({limit}) is reached"
        )
    limit = user.limits.get(MAX_CONNECTIONS, -1)
    if limit >= 0 and _connections(broker, "user", user.name) >= limit:
        raise NotAllowed(
            f"Connection refused for user '{user.name}': user connection limit ({limit}) is reached"
        )


def check_channels(broker: Broker, user: User) -> None:
    """Raises NotAllowed when one channel more is too many."""
    limit = user.limits.get(MAX_CHANNELS, -1)
    if limit < 0:
        return
    rows = [connection.details() for connection in broker.connections.values()]
    if sum([row.get("channels", 0) for row in rows if row["user"] == user.name]) >= limit:
        raise NotAllowed(
            f"number of channels opened for user '{user.name}' has reached the maximum allowed user limit of ({limit})"
        )


def _connections(broker: Broker, key: str, name: str) -> int:
    return sum([connection.details()[key] == name for connection in broker.connections.values()])
