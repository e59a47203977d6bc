"""The definitions file of RabbitMQ: what is in it, and what may be wrong with it ("Definition Export and Import").

Keys that nobody knows are no mistake: files come from other versions and from brokers with other plugins. They are
told as warnings.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.auth.passwords import ALGORITHMS, MD5, SHA256
from edge.core.errors import ConfigError
from edge.core.policy import Policy
from edge.policy_keys import check_definition, unknown_keys

MD5_VERSIONS: Final = re.compile(r"3\.[0-5]\.")
"""RabbitMQs that hashed passwords with MD5, and did not say so in their files."""


class UserItem(msgspec.Struct):
    """``password`` or ``password_hash``; neither: the user cannot log in by password."""

    name: str
    password_hash: str = ""
    password: str = ""
    hashing_algorithm: str = ""
    tags: list[str] | str = []
    limits: dict[str, int] = {}
    administrator: bool = False

    def tag_list(self) -> list[str]:
        """Its tags, as older files give them too: parted by commas, or as one flag."""
        tags = self.tags if isinstance(self.tags, list) else [tag.strip() for tag in self.tags.split(",")]
        return [tag for tag in tags if tag] + ["administrator"] * self.administrator


class VHostItem(msgspec.Struct):
    name: str
    limits: dict[str, int] | list[tuple[str, int]] = []
    metadata: dict[str, Any] = {}
    description: str | None = None
    tags: list[str] | str | None = None
    default_queue_type: str | None = None
    tracing: bool = False

    def all_limits(self) -> dict[str, int]:
        """RabbitMQ writes an object or a list of pairs."""
        return dict(self.limits)

    def all_metadata(self) -> dict[str, object]:
        """``metadata``, with what older files have beside it."""
        tags = self.tags.split(",") if isinstance(self.tags, str) else self.tags
        beside = {
            "description": self.description,
            "tags": tags,
            "default_queue_type": self.default_queue_type,
        }
        found = {**{name: value for name, value in beside.items() if value is not None}, **self.metadata}
        return {name: value for name, value in found.items() if value not in ("", [], "undefined")}


class PermissionItem(msgspec.Struct):
    user: str
    configure: str
    write: str
    read: str
    vhost: str = ""


class TopicPermissionItem(msgspec.Struct):
    user: str
    exchange: str
    write: str
    read: str
    vhost: str = ""


class ExchangeItem(msgspec.Struct):
    name: str
    type: str
    vhost: str = ""
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = {}


class QueueItem(msgspec.Struct):
    name: str
    vhost: str = ""
    type: str = ""
    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, Any] = {}

    def all_arguments(self) -> dict[str, Any]:
        """RabbitMQ 4 says the type beside the arguments."""
        if self.type in ("", "classic") or "x-queue-type" in self.arguments:
            return self.arguments
        return {**self.arguments, "x-queue-type": self.type}


class BindingItem(msgspec.Struct):
    source: str
    destination: str
    destination_type: str
    vhost: str = ""
    routing_key: str = ""
    arguments: dict[str, Any] = {}


class PolicyItem(msgspec.Struct):
    name: str
    pattern: str
    definition: dict[str, Any]
    vhost: str = ""
    apply_to: str = msgspec.field(name="apply-to", default="all")
    priority: int = 0


class OperatorPolicyValue(msgspec.Struct):
    """The value of a parameter of component ``operator_policy``."""

    pattern: str
    definition: dict[str, Any]
    apply_to: str = msgspec.field(name="apply-to", default="all")
    priority: int = 0


class ParameterItem(msgspec.Struct):
    """``value`` is an object for a shovel and an upstream, a list for an upstream set."""

    component: str
    name: str
    value: Any
    vhost: str = ""


class GlobalParameterItem(msgspec.Struct):
    name: str
    value: Any


class Document(msgspec.Struct):
    """The file."""

    rabbit_version: str = ""
    rabbitmq_version: str = ""
    rabbitmq_definition_format: str = ""
    product_name: str = ""
    product_version: str = ""
    original_cluster_name: str = ""
    original_vhost_name: str = ""
    explanation: str = ""
    description: str = ""
    metadata: dict[str, Any] = {}
    limits: Any = None
    default_queue_type: str = ""
    users: list[UserItem] = []
    vhosts: list[VHostItem] = []
    permissions: list[PermissionItem] = []
    topic_permissions: list[TopicPermissionItem] = []
    parameters: list[ParameterItem] = []
    global_parameters: list[GlobalParameterItem] = []
    policies: list[PolicyItem] = []
    exchanges: list[ExchangeItem] = []
    queues: list[QueueItem] = []
    bindings: list[BindingItem] = []


OF_A_VHOST: Final = ("parameters", "policies", "exchanges", "queues", "bindings")
"""Sections that the file of one vhost has."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """A file that was read and holds together; ``where`` is for the texts of errors."""

    where: str
    document: Document
    warnings: tuple[str, ...] = ()


def read_definitions(path: Path) -> Definitions:
    """Read a file. Raises ConfigError naming the file and the item that is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"[definitions] file: {path}: cannot be read: {error.strerror}") from error
    return parse_definitions(data, str(path))


def parse_definitions(data: bytes, where: str, vhost: str | None = None) -> Definitions:
    """Parse a file's content; with ``vhost`` everything goes into that one. Raises ConfigError."""
    try:
        # Some tools save it with a byte order mark.
        raw = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
        document = msgspec.convert(raw, Document)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{where}: {error}") from error
    if vhost is not None:
        document = Document(**{name: getattr(document, name) for name in OF_A_VHOST})
    for name in ("permissions", "topic_permissions", *OF_A_VHOST):
        for item in getattr(document, name):
            item.vhost = item.vhost if vhost is None else vhost
            if not item.vhost:
                raise ConfigError(
                    f"{where}: {name}: '{getattr(item, 'name', '')}' has no vhost; is this the export of one vhost?"
                    " Then say into which (leveret definitions import --vhost)"
                )
    _check_users(document, where)
    _check_patterns(document, where)
    return Definitions(where, document, tuple(_unknown(raw)))


def _check_users(document: Document, where: str) -> None:
    version = document.rabbitmq_version or document.rabbit_version
    default = MD5 if MD5_VERSIONS.match(version) else SHA256
    for user in document.users:
        user.hashing_algorithm = user.hashing_algorithm or default
        if user.hashing_algorithm not in ALGORITHMS:
            raise ConfigError(
                f"{where}: user '{user.name}': unknown hashing_algorithm '{user.hashing_algorithm}'"
            )
        if user.password and user.password_hash:
            raise ConfigError(f"{where}: user '{user.name}' has both password and password_hash")


def _check_patterns(document: Document, where: str) -> None:
    for item in document.policies:
        _check_expression(where, f"policy '{item.name}': pattern", item.pattern)
        unknown = unknown_keys(item.definition)
        known = {key: value for key, value in item.definition.items() if key not in unknown}
        check_definition(f"{where}: policy '{item.name}'", known)
    for grant in document.permissions:
        for expression in (grant.configure, grant.write, grant.read):
            _check_expression(where, f"permission of '{grant.user}'", expression)
    for parameter in document.parameters:
        what = f"{where}: {parameter.component} '{parameter.name}'"
        if parameter.component in ("shovel", "federation-upstream") and not isinstance(parameter.value, dict):
            raise ConfigError(f"{what}: value must be an object")
        if parameter.component == "operator_policy":
            policy = operator_policy(parameter, what)
            _check_expression(what, "pattern", policy.pattern)


def operator_policy(item: ParameterItem, where: str) -> Policy:
    """The operator policy that a parameter holds. Raises ConfigError."""
    try:
        value = msgspec.convert(item.value, OperatorPolicyValue)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{where}: {error}") from error
    check_definition(where, value.definition, operator=True)
    return Policy(
        item.vhost,
        item.name,
        value.pattern,
        value.definition,
        apply_to=value.apply_to,
        priority=value.priority,
        operator=True,
    )


def _check_expression(where: str, what: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{where}: {what}: not a regular expression: {error}") from error


def _unknown(raw: dict[str, Any]) -> list[str]:
    """Keys that nothing reads, by section."""
    found = [f"'{name}' is not known and left out" for name in raw if name not in Document.__struct_fields__]
    for field in msgspec.structs.fields(Document):
        items = raw.get(field.name)
        item_type = getattr(field.type, "__args__", (None,))[0]
        if not isinstance(items, list) or not isinstance(item_type, type):
            continue
        if issubclass(item_type, msgspec.Struct):
            known = {each.encode_name for each in msgspec.structs.fields(item_type)}
            extra = sorted({key for item in items for key in item if key not in known})
            found += [f"{field.name}: '{key}' is not known and left out" for key in extra]
    return found
