"""Who a client is and where it may work: the user and vhost of a CONNECT."""

from edge.auth.users import Auth, User
from edge.broker import Broker
from edge.core.errors import AccessRefused, AuthenticationFailed, NotAllowed, NotFound
from edge.core.names import DEFAULT_VHOST
from edge.core.vhost import VHost
from edge.limits import check_connections
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.constants import NO_EXPIRY_S, TOPIC_EXCHANGE, V5
from mqtt.decode import check_client_id
from mqtt.filters import routing_key_of
from mqtt.packets import Connect
from mqtt.reasons import ConnectRefused
from mqtt.session import queue_name_of

QUEUE_NAME_BYTES_MAX = 255
"""A queue's name is a short string on the AMQP wire, and a session's holds the client identifier."""


def log_in(broker: Broker, connect: Connect, peer_is_loopback: bool) -> tuple[User, VHost]:
    """The user and the vhost of a client. Raises ConnectRefused."""
    check_client_id(connect)
    if p.AUTHENTICATION_METHOD in connect.properties:
        raise ConnectRefused(r.BAD_AUTHENTICATION_METHOD, "enhanced authentication is not supported")
    if len(queue_name_of(connect.client_id).encode()) > QUEUE_NAME_BYTES_MAX:
        raise ConnectRefused(
            r.CLIENT_IDENTIFIER_NOT_VALID, "client identifier is too long for a queue's name"
        )
    vhost_name = DEFAULT_VHOST
    auth = broker.auth
    try:
        if connect.username is None and connect.password is None:
            user = auth.anonymous(peer_is_loopback)
        else:
            vhost_name, username = _split_username(connect.username or "")
            password = (connect.password or b"").decode("utf-8", "replace")
            user = auth.authenticate(username, password, peer_is_loopback)
        vhost = broker.vhost(vhost_name)
        auth.check_vhost(user, vhost_name)
        check_connections(broker, user, vhost)
    except AuthenticationFailed as failed:
        raise ConnectRefused(r.BAD_USER_NAME_OR_PASSWORD, failed.text) from failed
    except (NotAllowed, NotFound) as refused:
        raise ConnectRefused(r.NOT_AUTHORIZED, refused.text) from refused
    will = connect.will
    if will is not None and not may_use_topic(auth, user, vhost, "write", will.topic, connect.client_id):
        raise ConnectRefused(r.NOT_AUTHORIZED, f"user '{user.name}' may not publish its will")
    return user, vhost


def may(auth: Auth, user: User, vhost: VHost, permission: str, resource: str) -> bool:
    """Whether the user has the permission on the exchange or queue."""
    try:
        auth.check(user, vhost.name, permission, resource)
    except AccessRefused:
        return False
    return True


def may_use_topic(auth: Auth, user: User, vhost: VHost, permission: str, topic: str, client_id: str) -> bool:
    """Whether the user may publish to a topic name (``write``) or subscribe to a topic filter (``read``)."""
    if not may(auth, user, vhost, permission, TOPIC_EXCHANGE):
        return False
    rule = auth.topics.rule(user.name, vhost.name, TOPIC_EXCHANGE)
    return rule is None or rule.allows(permission, routing_key_of(topic), client_id)


def _split_username(username: str) -> tuple[str, str]:
    """`vhost:user`, split at the last colon, as in RabbitMQ's MQTT plugin."""
    vhost, colon, user = username.rpartition(":")
    return (vhost, user) if colon else (DEFAULT_VHOST, username)


def session_expiry_s(connect: Connect, longest_s: int = NO_EXPIRY_S) -> int:
    """How long the session outlives its connection; of MQTT 3 for ever, or not at all with a clean session."""
    if connect.version != V5:
        return 0 if connect.clean_start else longest_s
    expiry_s = connect.properties.get(p.SESSION_EXPIRY_INTERVAL, 0)
    assert isinstance(expiry_s, int)
    return min(expiry_s, longest_s)
