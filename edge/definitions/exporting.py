"""Writes what a node holds as a definitions file, in RabbitMQ's format: it imports into RabbitMQ as well.

Left out are what nobody declared (predeclared exchanges, the default exchange's bindings) and what goes with a client
(exclusive queues, MQTT sessions).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from edge.broker import Broker
from edge.core.exchange import Exchange
from edge.core.names import DEFAULT_EXCHANGE, is_reserved
from edge.core.policy import Policy
from edge.core.queue_base import QueueBase
from edge.core.table import to_plain
from edge.core.vhost import VHost
from edge.definitions.importing import OPERATOR_POLICY, VHOST_LIMITS

Row = dict[str, Any]


def export_definitions(broker: Broker, version: str) -> Row:
    """Everything of a node; ``version`` is the RabbitMQ that it presents itself as."""
    vhosts = list(broker.vhosts.values())
    return {
        **_versions(version),
        "rabbitmq_definition_format": "cluster",
        "original_cluster_name": broker.name,
        "explanation": f"Definitions of cluster '{broker.name}'",
        "users": [
            {
                "name": user.name,
                "password_hash": user.password_hash,
                "hashing_algorithm": user.hashing_algorithm,
                "tags": user.tags,
                "limits": user.limits,
            }
            for user in broker.auth.users.values()
        ],
        "vhosts": [_vhost(vhost) for vhost in vhosts],
        "permissions": [
            {
                "user": grant.user,
                "vhost": grant.vhost,
                "configure": grant.configure,
                "write": grant.write,
                "read": grant.read,
            }
            for grant in broker.auth.permissions.values()
        ],
        "topic_permissions": [
            {
                "user": rule.user,
                "vhost": rule.vhost,
                "exchange": rule.exchange,
                "write": rule.write,
                "read": rule.read,
            }
            for rule in broker.auth.topics.permissions()
        ],
        "global_parameters": [
            {"name": name, "value": value} for name, value in broker.parameters.globals.items()
        ],
        **_objects(broker, vhosts),
    }


def export_vhost(broker: Broker, vhost: VHost, version: str) -> Row:
    """One vhost, without users; its items do not say the vhost, so that it can be imported into any."""
    objects = _objects(broker, [vhost])
    for rows in objects.values():
        for row in rows:
            del row["vhost"]
    return {
        **_versions(version),
        "rabbitmq_definition_format": "single_virtual_host",
        "original_vhost_name": vhost.name,
        "explanation": f"Definitions of virtual host '{vhost.name}'",
        "metadata": vhost.metadata,
        "description": vhost.metadata.get("description", ""),
        "limits": vhost.limits,
        **objects,
    }


def _versions(version: str) -> Row:
    return {
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
    }


def _vhost(vhost: VHost) -> Row:
    row: Row = {"name": vhost.name}
    return {**row, "metadata": vhost.metadata} if vhost.metadata else row


def _objects(broker: Broker, vhosts: list[VHost]) -> dict[str, list[Row]]:
    names = {vhost.name for vhost in vhosts}
    return {
        "parameters": _parameters(broker, vhosts),
        "policies": [
            {"vhost": policy.vhost, "name": policy.name, **_policy(policy)}
            for policy in broker.policies.list()
            if policy.vhost in names
        ],
        "queues": [_queue(queue) for vhost in vhosts for queue in _declared_queues(vhost)],
        "exchanges": [
            _exchange(exchange)
            for vhost in vhosts
            for exchange in vhost.exchanges.values()
            if exchange.name != DEFAULT_EXCHANGE and not is_reserved(exchange.name)
        ],
        "bindings": [row for vhost in vhosts for row in _bindings(vhost)],
    }


def _parameters(broker: Broker, vhosts: list[VHost]) -> list[Row]:
    names = {vhost.name for vhost in vhosts}
    rows = [
        {
            "vhost": parameter.vhost,
            "component": parameter.component,
            "name": parameter.name,
            "value": parameter.value,
        }
        for parameter in broker.parameters.list()
        if parameter.vhost in names
    ]
    rows += [
        {"vhost": policy.vhost, "component": OPERATOR_POLICY, "name": policy.name, "value": _policy(policy)}
        for policy in broker.policies.list(operator=True)
        if policy.vhost in names
    ]
    rows += [
        {"vhost": vhost.name, "component": VHOST_LIMITS, "name": "limits", "value": vhost.limits}
        for vhost in vhosts
        if vhost.limits
    ]
    return rows


def _policy(policy: Policy) -> Row:
    return {
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }


def _declared_queues(vhost: VHost) -> Iterable[QueueBase]:
    return [
        queue
        for queue in vhost.queues.values()
        if not (queue.exclusive or is_reserved(queue.name) or queue.kind.startswith("mqtt"))
    ]


def _queue(queue: QueueBase) -> Row:
    return {
        "name": queue.name,
        "vhost": queue.vhost,
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "arguments": _plain(queue.arguments),
    }


def _exchange(exchange: Exchange) -> Row:
    return {
        "name": exchange.name,
        "vhost": exchange.vhost,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": _plain(exchange.arguments),
    }


def _bindings(vhost: VHost) -> Iterable[Row]:
    queues = {queue.name for queue in _declared_queues(vhost)}
    for binding in vhost.bindings():
        if binding.destination_type == "exchange" or binding.destination.name in queues:
            yield {
                "source": binding.source.name,
                "vhost": vhost.name,
                "destination": binding.destination.name,
                "destination_type": binding.destination_type,
                "routing_key": binding.routing_key,
                "arguments": _plain(binding.arguments),
            }


def _plain(arguments: Mapping[str, object]) -> Row:
    found = to_plain(dict(arguments))
    assert isinstance(found, dict)
    return found
