"""Users, their permissions, and the checks that every operation passes (RabbitMQ, "Access Control")."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from edge.auth.passwords import MD5, SHA256, hash_password, verify_password
from edge.auth.topics import TopicRules
from edge.core.errors import AccessRefused, AuthenticationFailed, NotAllowed

LOOPBACK_USERS: Final = frozenset({"guest"})
"""Users that may come from this machine only (RabbitMQ's ``loopback_users``)."""
DECISIONS_MAX: Final = 4096
"""Permission checks remembered; a check is a regular expression over a name, and most names come again."""

KIND_USER: Final = "user"
KIND_PERMISSION: Final = "permission"


class User(msgspec.Struct):
    """One user, in the words of RabbitMQ's definitions."""

    name: str
    password_hash: str
    hashing_algorithm: str = SHA256
    tags: list[str] = []
    limits: dict[str, int] = {}
    """"max-connections", "max-channels"; negative or missing: no limit."""


NOBODY: Final = User("", hash_password("nobody"))
"""Checked in place of a user that does not exist, so that the time a login takes does not tell who does."""


class Permission(msgspec.Struct):
    """What a user may do in a vhost: regular expressions over the names of exchanges and queues; empty: nothing."""

    user: str
    vhost: str
    configure: str
    write: str
    read: str


class Auth:
    """All users and permissions of the node. Changes are written by the broker."""

    def __init__(self, anonymous_user: str = "guest") -> None:
        self.users: dict[str, User] = {}
        self.permissions: dict[tuple[str, str], Permission] = {}
        self.topics = TopicRules()
        #: called with a user whose password was kept as MD5, hashed anew at a login; set by the broker
        self.on_rehashed: Callable[[User], None] | None = None
        self._anonymous_user = anonymous_user
        self._decide = lru_cache(DECISIONS_MAX)(self._match)

    def anonymous_user(self) -> str | None:
        """The user that MQTT clients without credentials log in as; None: they may not."""
        return self._anonymous_user or None

    def set_user(self, name: str, password: str, tags: list[str]) -> User:
        """Make or change a user."""
        user = self.users[name] = User(name, hash_password(password), tags=tags)
        return user

    def set_permission(self, permission: Permission) -> None:
        """Grant; raises re.error when an expression is none."""
        for pattern in (permission.configure, permission.write, permission.read):
            re.compile(pattern)
        self.permissions[permission.user, permission.vhost] = permission
        self._decide.cache_clear()

    def remove_user(self, name: str) -> None:
        self.users.pop(name, None)
        self.permissions = {key: value for key, value in self.permissions.items() if key[0] != name}
        self.topics.remove(name, None)
        self._decide.cache_clear()

    # -- checks ----------------------------------------------------------------------------------------------------

    def authenticate(self, username: str, password: str, peer_is_loopback: bool) -> User:
        """Raises AuthenticationFailed; the text says why for the log, a peer should only see that it failed."""
        user = self.users.get(username, NOBODY)
        is_right = verify_password(password, user.password_hash, user.hashing_algorithm)
        if user is NOBODY or not is_right:
            raise AuthenticationFailed(f"user '{username}': wrong name or password")
        if not password:
            raise AuthenticationFailed(f"user '{username}': a blank password is not taken")
        self.check_origin(username, peer_is_loopback)
        if user.hashing_algorithm == MD5 and self.on_rehashed is not None:
            user = msgspec.structs.replace(
                user, password_hash=hash_password(password), hashing_algorithm=SHA256
            )
            self.on_rehashed(user)
        return user

    def anonymous(self, peer_is_loopback: bool) -> User:
        """The user of a client without credentials. Raises AuthenticationFailed when there is none."""
        user = self.users.get(self._anonymous_user)
        if user is None:
            raise AuthenticationFailed("no credentials were given and mqtt.anonymous_user is off or unknown")
        self.check_origin(user.name, peer_is_loopback)
        return user

    def check_origin(self, username: str, peer_is_loopback: bool) -> None:
        """Raises AuthenticationFailed when the user may come from this machine only and does not."""
        if username in LOOPBACK_USERS and not peer_is_loopback:
            raise AuthenticationFailed(f"user '{username}' can only connect from this machine")

    def check_vhost(self, user: User, vhost: str) -> None:
        """Raises NotAllowed when the user has no permissions in the vhost."""
        if (user.name, vhost) not in self.permissions:
            raise NotAllowed(f"access to vhost '{vhost}' refused for user '{user.name}'")

    def check(self, user: User, vhost: str, permission: str, resource: str, kind: str = "resource") -> None:
        """Check ``configure``, ``write`` or ``read`` on a queue or an exchange. Raises AccessRefused."""
        resource = resource or "amq.default"
        if not self._decide(user.name, vhost, permission, resource):
            raise AccessRefused(
                f"{permission} access to {kind} '{resource}' in vhost '{vhost}' refused for user '{user.name}'"
            )

    def check_any(self, user: User, vhost: str, resource: str, kind: str) -> None:
        """Check that the user has one permission at least. Raises AccessRefused."""
        for permission in ("read", "write"):
            if self._decide(user.name, vhost, permission, resource or "amq.default"):
                return
        self.check(user, vhost, "configure", resource, kind)

    def _match(self, username: str, vhost: str, permission: str, resource: str) -> bool:
        granted = self.permissions.get((username, vhost))
        if granted is None:
            return False
        pattern = {"configure": granted.configure, "write": granted.write, "read": granted.read}[permission]
        # An empty expression grants nothing, as in RabbitMQ, though it would match everything.
        return bool(pattern) and re.search(pattern, resource) is not None
