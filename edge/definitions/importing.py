"""Brings a definitions file into the broker.

Import only adds: exchanges, queues and bindings that are there stay as they are; users, permissions, policies,
parameters and limits take the file's values. Items come in RabbitMQ's order; what came before a mistake stays.
"""

import logging
import re
from typing import Final

from edge.auth.topics import TopicPermission
from edge.auth.users import Permission, User
from edge.broker import Broker
from edge.core.errors import BrokerError, ConfigError, NotFound
from edge.core.names import CLASSIC, DEFAULT_EXCHANGE, MQTT_QUEUE_PREFIX, QUORUM, is_reserved
from edge.core.policy import Policy
from edge.definitions.document import Definitions, Document, PolicyItem, operator_policy
from edge.parameters import Parameter
from edge.policy_keys import unheeded_keys, unknown_keys

logger = logging.getLogger("edge.definitions")

OPERATOR_POLICY: Final = "operator_policy"
VHOST_LIMITS: Final = "vhost-limits"
NOT_IMPORTED: Final = ("cluster_name", "internal_cluster_id", "cluster_tags")
"""Global parameters that are of the broker which wrote the file."""


def import_definitions(broker: Broker, definitions: Definitions) -> list[str]:
    """Bring a file into the broker; return what was left out, logged as warnings too.

    Raises ConfigError for an item that refers to what is not there, or that cannot be.
    """
    run = _Import(broker, definitions)
    try:
        run.all()
    except BrokerError as error:
        raise ConfigError(f"{definitions.where}: {error.text}") from error
    except re.error as error:
        raise ConfigError(
            f"{definitions.where}: topic permission: not a regular expression: {error}"
        ) from error
    return run.warnings


class _Import:
    def __init__(self, broker: Broker, definitions: Definitions) -> None:
        self.broker = broker
        self.where = definitions.where
        self.document: Document = definitions.document
        self.warnings: list[str] = []
        for text in definitions.warnings:
            self._warn(text)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        logger.warning("%s: %s", self.where, text)

    def all(self) -> None:
        document, broker = self.document, self.broker
        self._users_and_vhosts()
        for grant in document.permissions:
            broker.set_permission(
                Permission(grant.user, grant.vhost, grant.configure, grant.write, grant.read)
            )
        self._exchanges()
        for topic in document.topic_permissions:
            broker.set_topic_permission(
                TopicPermission(topic.user, topic.vhost, topic.exchange, topic.write, topic.read)
            )
        for item in document.global_parameters:
            if item.name not in NOT_IMPORTED:
                broker.parameters.put_global(item.name, item.value)
        broker.set_policy(*[self._policy(item) for item in document.policies])
        self._parameters()
        left_out = self._queues()
        self._bindings(left_out)

    def _users_and_vhosts(self) -> None:
        for user in self.document.users:
            if user.password:
                self.broker.set_user(user.name, user.password, user.tag_list())
                made = self.broker.auth.users[user.name]
                made.limits = user.limits
                self.broker.put_user(made)
            else:
                self.broker.put_user(
                    User(user.name, user.password_hash, user.hashing_algorithm, user.tag_list(), user.limits)
                )
        for item in self.document.vhosts:
            vhost = self.broker.add_vhost(item.name)
            limits, metadata = item.all_limits(), item.all_metadata()
            if limits or metadata:
                self.broker.set_vhost(vhost, limits=limits or None, metadata=metadata or None)

    def _exchanges(self) -> None:
        for item in self.document.exchanges:
            vhost = self.broker.vhost(item.vhost)
            if is_reserved(item.name) or item.name == DEFAULT_EXCHANGE:
                self._warn(f"exchange '{item.name}' is the node's own and left out")
            elif item.name not in vhost.exchanges:
                self.broker.declare_exchange(
                    vhost,
                    item.name,
                    item.type,
                    durable=item.durable,
                    auto_delete=item.auto_delete,
                    internal=item.internal,
                    arguments=item.arguments,
                )

    def _policy(self, item: PolicyItem) -> Policy:
        unknown, unheeded = unknown_keys(item.definition), unheeded_keys(item.definition)
        if unknown or unheeded:
            # Of a fleet's one file, a node may need but a part: that is no reason not to start.
            ignored = ", ".join([*unknown, *unheeded])
            self._warn(f"policy '{item.name}': {ignored} have no effect here")
        definition = {key: value for key, value in item.definition.items() if key not in unknown}
        return Policy(
            item.vhost, item.name, item.pattern, definition, apply_to=item.apply_to, priority=item.priority
        )

    def _parameters(self) -> None:
        for item in self.document.parameters:
            vhost = self.broker.vhost(item.vhost)
            if item.component == OPERATOR_POLICY:
                self.broker.set_policy(operator_policy(item, self.where))
            elif item.component == VHOST_LIMITS:
                self.broker.set_vhost(vhost, limits=dict(item.value))
            else:
                self.broker.parameters.put(Parameter(item.vhost, item.component, item.name, item.value))

    def _queues(self) -> set[tuple[str, str]]:
        """Declare them; return which were left out."""
        left_out: set[tuple[str, str]] = set()
        for item in self.document.queues:
            vhost = self.broker.vhost(item.vhost)
            arguments = item.all_arguments()
            reason = _not_imported(item.name, arguments)
            if reason:
                self._warn(f"queue '{item.name}' {reason} and is left out")
                left_out.add((item.vhost, item.name))
            elif item.name not in vhost.queues:
                self.broker.declare_queue(
                    vhost,
                    item.name,
                    durable=item.durable,
                    auto_delete=item.auto_delete,
                    arguments=arguments,
                )
        return left_out

    def _bindings(self, left_out: set[tuple[str, str]]) -> None:
        for item in self.document.bindings:
            is_to_exchange = item.destination_type == "exchange"
            if item.source == DEFAULT_EXCHANGE:
                continue
            if not is_to_exchange and (item.vhost, item.destination) in left_out:
                continue
            vhost = self.broker.vhost(item.vhost)
            try:
                self.broker.bind(
                    vhost,
                    item.source,
                    item.destination,
                    item.routing_key,
                    item.arguments,
                    to_exchange=is_to_exchange,
                )
            except NotFound as error:
                # RabbitMQ exports bindings of internal exchanges, and not the exchanges.
                self._warn(f"binding from '{item.source}' to '{item.destination}' is left out: {error.text}")


def _not_imported(name: str, arguments: dict[str, object]) -> str:
    """Why a queue is left out with its bindings, "" when it is not."""
    kind = arguments.get("x-queue-type", CLASSIC)
    if kind not in (CLASSIC, QUORUM):
        return f"is a {kind}"
    if is_reserved(name) or not name:
        return "has a generated name"
    if name.startswith(MQTT_QUEUE_PREFIX):
        # A plain queue by this name would stand in the way of the session that its client makes when it comes.
        return "is an MQTT session's"
    return ""
