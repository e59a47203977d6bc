"""What the user of a connection may do in its vhost: the checks that its channels make of every operation."""

from typing import final

from edge.amqp091 import spec
from edge.amqp091.constants import NOT_ALLOWED
from edge.amqp091.errors import ConnectionFault
from edge.auth.topics import TopicRule
from edge.auth.users import Auth, User
from edge.broker import Broker
from edge.core.errors import NotAllowed, NotFound
from edge.core.vhost import VHost
from edge.limits import check_connections


def open_vhost(broker: Broker, user: User, name: str) -> VHost:
    """The vhost that a user asks for by connection.open. Raises ConnectionFault 530."""
    try:
        vhost = broker.vhost(name)
        broker.auth.check_vhost(user, name)
        check_connections(broker, user, vhost)
    except NotFound as error:
        raise ConnectionFault(NOT_ALLOWED, f"vhost {name} not found", spec.Open.ID) from error
    except NotAllowed as error:
        raise ConnectionFault(NOT_ALLOWED, error.text, spec.Open.ID) from error
    return vhost


@final
class ConnectionAccess:
    """One user in one vhost; kinds of resources are "queue" and "exchange"."""

    __slots__ = ("_auth", "_user", "_vhost")

    def __init__(self, auth: Auth, user: User, vhost: VHost) -> None:
        self._auth = auth
        self._user = user
        self._vhost = vhost

    def check(self, permission: str, kind: str, resource: str) -> None:
        """Raises AccessRefused."""
        self._auth.check(self._user, self._vhost.name, permission, resource, kind)

    def check_any(self, kind: str, resource: str) -> None:
        """For passive declarations: raises AccessRefused when the user has none of the three permissions."""
        self._auth.check_any(self._user, self._vhost.name, resource, kind)

    def topic_rule(self, exchange: str) -> TopicRule | None:
        """Which keys of a topic exchange the user may use; None: all, as of any other exchange."""
        rule = self._auth.topics.rule(self._user.name, self._vhost.name, exchange)
        if rule is None:
            return None
        found = self._vhost.exchanges.get(exchange)
        return rule if found is not None and found.type == "topic" else None
