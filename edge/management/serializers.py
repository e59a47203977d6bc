"""One function per entity: how the HTTP API shows it, in the keys of RabbitMQ's.

What clients of RabbitMQ's API cannot do without is always there; what a node of one process has no counterpart for
(Erlang processes, message stores) is left out, except where clients fail without it.
"""

import os
import resource
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

from edge import __version__
from edge.auth.users import User
from edge.broker import Broker
from edge.core.binding import Binding
from edge.core.consumer import Consumer
from edge.core.exchange import Exchange
from edge.core.exchanges import TYPES
from edge.core.names import PREDECLARED
from edge.core.queue import Queue
from edge.core.table import to_plain
from edge.core.vhost import VHost
from edge.settings import Address

COMPATIBLE_VERSION: Final = "3.13.7"
"""The RabbitMQ whose API this follows: clients choose by it what they ask for."""

Row = dict[str, Any]
STARTED_AT_S: Final = time.monotonic()


def node(broker: Broker) -> Row:
    """A row of /api/nodes."""
    disk = os.statvfs(broker.store.directory)
    space = broker.store.space
    return {
        "name": broker.name,
        "type": "disc",
        "running": True,
        "uptime": int((time.monotonic() - STARTED_AT_S) * 1000),
        "os_pid": str(os.getpid()),
        "mem_used": _resident_bytes(),
        "mem_limit": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "mem_alarm": False,
        "disk_free": disk.f_bavail * disk.f_frsize,
        "disk_free_limit": space.free_min_bytes,
        "disk_free_alarm": space.is_low,
        "fd_used": len(os.listdir("/proc/self/fd")),
        "fd_total": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "sockets_used": len(broker.connections),
        "sockets_total": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "proc_used": 1,
        "proc_total": 1,
        "run_queue": 0,
        "processors": os.cpu_count() or 1,
        "partitions": [],
        "rates_mode": "basic",
        "being_drained": False,
        "enabled_plugins": [],
        "applications": [],
        "rabbitmq_version": COMPATIBLE_VERSION,
        "erlang_version": "",
        "db_dir": str(broker.store.directory),
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def overview(broker: Broker, listening: list[tuple[str, Address]]) -> Row:
    """The part of /api/overview that does not count."""
    return {
        "management_version": COMPATIBLE_VERSION,
        "rates_mode": "basic",
        "product_name": "Leveret",
        "product_version": __version__,
        "rabbitmq_version": COMPATIBLE_VERSION,
        "erlang_version": "",
        "erlang_full_version": "",
        "cluster_name": broker.name,
        "node": broker.name,
        "disable_stats": False,
        "enable_queue_totals": False,
        "default_queue_type": "classic",
        "statistics_db_event_queue": 0,
        "exchange_types": [
            {"name": name, "description": _summary(kind), "enabled": True} for name, kind in TYPES.items()
        ],
        "listeners": [
            {
                "node": broker.name,
                "protocol": protocol,
                "ip_address": address.host,
                "port": address.port,
                "socket_opts": {},
            }
            for protocol, address in listening
        ],
        "contexts": [],
        "churn_rates": {},
        # RabbitMQ has no such key: what the node's device has to bear, and what is wrong with it.
        "store": {**broker.store.wear.details(), **store(broker)},
    }


def store(broker: Broker) -> Row:
    """What room there is, what a bad device has cost, and what voids the promise of a confirm on this one."""
    space = broker.store.space
    return {
        "bytes_used": space.used_bytes,
        "bytes_max": space.bytes_max,
        "bytes_reusable": space.reusable_bytes,
        "bytes_reserved": space.reserve.bytes,
        "messages_lost": broker.store.losses.messages,
        "losses": [
            {
                "text": loss.text(),
                "vhost": loss.vhost,
                "queue": loss.queue,
                "first": loss.first if loss.count else None,
                "last": loss.last if loss.count else None,
                "messages": loss.count,
                "file": loss.file,
                "timestamp": loss.unix_ms,
            }
            for loss in broker.store.losses.entries
        ],
        "warnings": broker.store.warnings,
    }


def _summary(kind: type[Exchange]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def counters(broker: Broker) -> dict[str, int]:
    """The counters of ``message_stats``."""
    return {name: getattr(broker.stats, name) for name in broker.stats.__slots__}


def queue_totals(vhosts: list[VHost]) -> dict[str, int]:
    queues = [queue for vhost in vhosts for queue in vhost.queues.values()]
    ready = sum(queue.messages_ready for queue in queues)
    unacknowledged = sum(queue.messages_unacknowledged for queue in queues)
    return {
        "messages": ready + unacknowledged,
        "messages_ready": ready,
        "messages_unacknowledged": unacknowledged,
    }


def object_totals(broker: Broker, vhosts: list[VHost], connections: list[Row]) -> dict[str, int]:
    queues = [queue for vhost in vhosts for queue in vhost.queues.values()]
    return {
        "connections": len(connections),
        "channels": sum(int(connection.get("channels", 0)) for connection in connections),
        "exchanges": sum(len(vhost.exchanges) for vhost in vhosts),
        "queues": len(queues),
        "consumers": sum(queue.consumer_count for queue in queues),
    }


def user(who: User) -> Row:
    return {"name": who.name, "tags": who.tags}


def vhost(broker: Broker, entity: VHost) -> Row:
    return {
        "name": entity.name,
        "description": entity.metadata.get("description", ""),
        "tags": entity.metadata.get("tags", []),
        "metadata": {"description": "", "tags": [], **entity.metadata},
        "default_queue_type": entity.metadata.get("default_queue_type", "classic"),
        "tracing": False,
        "cluster_state": {broker.name: "running"},
        **queue_totals([entity]),
    }


def queue(broker: Broker, entity: Queue) -> Row:
    return {
        "name": entity.name,
        "vhost": entity.vhost,
        "type": entity.type,
        "durable": entity.durable,
        "auto_delete": entity.auto_delete,
        "exclusive": entity.exclusive,
        "arguments": to_plain(entity.arguments),
        "node": broker.name,
        "state": "running",
        "messages": entity.messages,
        "messages_ready": entity.messages_ready,
        "messages_unacknowledged": entity.messages_unacknowledged,
        "message_bytes": entity.message_bytes,
        "consumers": entity.consumer_count,
        "durability": entity.durability,
        "dropped": entity.dropped,
        "dead_lettered": entity.dead_lettered,
        **_policies(broker, entity),
    }


def _policies(broker: Broker, entity: Queue | Exchange) -> Row:
    own, cap = broker.policies.of(entity), broker.policies.of(entity, operator=True)
    return {
        "policy": None if own is None else own.name,
        "operator_policy": None if cap is None else cap.name,
        "effective_policy_definition": entity.policy,
    }


def consumer(entity: Consumer) -> Row:
    """A row of ``consumer_details`` of one queue."""
    return {
        "consumer_tag": entity.tag,
        "queue": {"name": entity.queue.name, "vhost": entity.queue.vhost},
        "ack_required": not entity.no_ack,
        "exclusive": entity.exclusive,
        "active": entity.queue.is_active(entity),
        "arguments": to_plain(entity.arguments),
    }


def exchange(broker: Broker, entity: Exchange) -> Row:
    return {
        "name": entity.name,
        "vhost": entity.vhost,
        "type": entity.type,
        "durable": entity.durable,
        "auto_delete": entity.auto_delete,
        "internal": entity.internal,
        "arguments": to_plain(entity.arguments),
        "user_who_performed_action": "rmq-internal" if entity.name in PREDECLARED else "",
        **_policies(broker, entity),
    }


def binding(entity: Binding) -> Row:
    return {
        "source": entity.source.name,
        "vhost": entity.source.vhost,
        "destination": entity.destination.name,
        "destination_type": entity.destination_type,
        "routing_key": entity.routing_key,
        "arguments": to_plain(entity.arguments),
        "properties_key": quote_plus(entity.properties_key),
    }


def default_binding(entity: Queue) -> Row:
    """The default exchange's binding to a queue, which is nowhere kept: it follows from the queue's name."""
    return {
        "source": "",
        "vhost": entity.vhost,
        "destination": entity.name,
        "destination_type": "queue",
        "routing_key": entity.name,
        "arguments": {},
        "properties_key": quote_plus(entity.name),
    }
