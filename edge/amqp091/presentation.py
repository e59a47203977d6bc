"""How the server presents itself to clients, and its connections to operators."""

from typing import TYPE_CHECKING, Any, Final

from edge import __version__
from edge.broker import Broker
from edge.core.table import Table, to_plain

if TYPE_CHECKING:
    from edge.amqp091.server import AmqpServerProtocol

COMPATIBLE_VERSION: Final = "3.13.7"
"""RabbitMQ's, whose behaviour we keep. Clients branch on product and version: kombu takes basic.qos to mean what the
specification says, not what RabbitMQ does, unless it sees ``RabbitMQ`` 3.3 or later."""
CAPABILITIES: Final = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
    "leveret.sequence",
)


def server_properties(broker: Broker) -> Table:
    """What connection.start tells of this node; see COMPATIBLE_VERSION."""
    return {
        "product": "RabbitMQ",
        "version": COMPATIBLE_VERSION,
        "platform": f"Leveret {__version__}",
        "copyright": "The Leveret authors",
        "information": "Leveret, a message broker for the edge; compatible with RabbitMQ's AMQP 0-9-1",
        "cluster_name": broker.name,
        "capabilities": dict.fromkeys(CAPABILITIES, True),
    }


def connection_details(connection: "AmqpServerProtocol") -> dict[str, Any]:
    """A row of ``GET /api/connections``, as RabbitMQ shapes it."""
    assert connection.transport is not None
    machine = connection.machine
    client_properties = to_plain(machine.client_properties)
    assert isinstance(client_properties, dict)
    host, _, port = connection.peer.rpartition(":")
    own_host, _, own_port = connection.name.rpartition(" -> ")[2].rpartition(":")
    return {
        "name": connection.name,
        "node": connection.broker.name,
        "type": "network",
        "protocol": "AMQP 0-9-1",
        "user": connection.user.name if connection.user else "",
        "vhost": connection.vhost.name if connection.vhost else "",
        "state": "blocked" if connection.is_blocked else "running",
        "connected_at": connection.connected_at_ms,
        "client_properties": client_properties,
        "user_provided_name": client_properties.get("connection_name", ""),
        "channels": len(connection.channels),
        "channel_max": machine.channel_max,
        "frame_max": machine.frame_max,
        "timeout": machine.heartbeat_s,
        "auth_mechanism": machine.mechanism,
        "peer_host": host,
        "peer_port": int(port or 0),
        "host": own_host,
        "port": int(own_port or 0),
        "recv_oct": connection.bytes_received,
        "send_oct": connection.bytes_sent,
        "ssl": connection.transport.get_extra_info("ssl_object") is not None,
    }
