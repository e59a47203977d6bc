"""Topic permissions: which routing keys of a topic exchange a user may publish to or bind by.

As RabbitMQ's (``rabbit_auth_backend_internal:check_topic_access``): where a user has no rule for an exchange, all
is allowed. Unlike there, what takes the place of a variable is quoted: a client that calls itself ``.*`` gets no more
than its own topics.
"""

import re
from typing import Final

import msgspec

from edge.core.errors import AccessRefused

KIND_TOPIC_PERMISSION: Final = "topic-permission"
DECISIONS_MAX: Final = 4096
"""Decisions remembered per rule: a device uses few topics, and a fleet's thousands are a few hundred KB."""
_VARIABLE: Final = re.compile(r"\{(username|vhost|client_id)\}")


class TopicPermission(msgspec.Struct):
    """What a user may do with one topic exchange of a vhost, in the words of RabbitMQ's definitions.

    ``write`` and ``read`` are regular expressions over routing and binding keys; ``{username}``, ``{vhost}`` and, for
    MQTT, ``{client_id}`` stand for the client's own. An empty expression allows nothing but an empty key.
    """

    user: str
    vhost: str
    exchange: str
    write: str
    read: str


class TopicRule:
    """A topic permission in force. A change makes a new rule, so decisions are remembered as long as it lives."""

    __slots__ = ("_decisions", "permission")

    def __init__(self, permission: TopicPermission) -> None:
        self.permission = permission
        self._decisions: dict[tuple[str, str, str], bool] = {}

    def allows(self, permission: str, key: str, client_id: str = "") -> bool:
        """Whether ``write`` or ``read`` holds for a routing or binding key."""
        asked = (permission, key, client_id)
        decision = self._decisions.get(asked)
        if decision is None:
            if len(self._decisions) >= DECISIONS_MAX:
                self._decisions.clear()
            pattern = self._expand(getattr(self.permission, permission), client_id)
            decision = self._decisions[asked] = re.search(pattern, key) is not None
        return decision

    def check(self, permission: str, key: str, client_id: str = "") -> None:
        """Raises AccessRefused."""
        if not self.allows(permission, key, client_id):
            rule = self.permission
            raise AccessRefused(
                f"{permission} access to topic '{key}' in exchange '{rule.exchange}' in vhost '{rule.vhost}'"
                f" refused for user '{rule.user}'"
            )

    def _expand(self, pattern: str, client_id: str) -> str:
        rule = self.permission
        values = {"username": rule.user, "vhost": rule.vhost}
        if client_id:
            values["client_id"] = client_id
        # What has no value stays as it is, as in RabbitMQ.
        expanded = _VARIABLE.sub(
            lambda found: re.escape(values[found[1]]) if found[1] in values else found[0], pattern
        )
        return expanded or "^$"


class TopicRules:
    """All topic permissions of the node, by user and vhost."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], dict[str, TopicRule]] = {}

    def rule(self, user: str, vhost: str, exchange: str) -> TopicRule | None:
        """The rule that holds for a user and an exchange; None: everything is allowed."""
        if not self._rules:
            return None
        return self._rules.get((user, vhost), {}).get(exchange)

    def set(self, permission: TopicPermission) -> None:
        """Add or replace; raises re.error when an expression is none."""
        for pattern in (permission.write, permission.read):
            re.compile(_VARIABLE.sub("", pattern))
        of_user = self._rules.setdefault((permission.user, permission.vhost), {})
        of_user[permission.exchange] = TopicRule(permission)

    def remove(self, user: str, vhost: str | None, exchange: str | None = None) -> list[TopicPermission]:
        """Take back a user's rules, for an exchange or all, in a vhost or all; return what was there."""
        gone = [
            one
            for one in self.permissions()
            if one.user == user and vhost in (None, one.vhost) and exchange in (None, one.exchange)
        ]
        for one in gone:
            of_user = self._rules[one.user, one.vhost]
            del of_user[one.exchange]
            if not of_user:
                del self._rules[one.user, one.vhost]
        return gone

    def permissions(self) -> list[TopicPermission]:
        """All of them, for listings and exports."""
        return [rule.permission for of_user in self._rules.values() for rule in of_user.values()]
