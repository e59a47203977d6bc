"""URIs of peers: ``amqp``, ``amqps``, ``mqtt`` and ``mqtts``, with RabbitMQ's rules and query parameters.

A ``Uri`` shows itself without credentials, so that it may stand in logs, status and errors as it is. Without a host
it means this node (RabbitMQ, "URI specification" and "URI query parameters").
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from edge.core.errors import ConfigError
from edge.core.names import DEFAULT_VHOST
from edge.tables import closest

PORTS: Final = {"amqp": 5672, "amqps": 5671, "mqtt": 1883, "mqtts": 8883}

HEARTBEAT_S: Final = 10
"""RabbitMQ's default for its own clients: a link that went silent is noticed in 20 s."""
CONNECT_TIMEOUT_S: Final = 30.0
"""One attempt, from the TCP handshake to the open connection; RabbitMQ waits 60 s."""

_TLS_KEYS: Final = (
    "cacertfile",
    "certfile",
    "keyfile",
    "password",
    "verify",
    "server_name_indication",
    "fail_if_no_peer_cert",
)
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "amqp": ("heartbeat", "connection_timeout"),
    "mqtt": ("keepalive", "connection_timeout", "client_id", "version"),
}


@dataclass(frozen=True, slots=True)
class Uri:
    """One parsed URI. ``str()`` and ``repr()`` leave user and password out."""

    scheme: str
    host: str
    port: int
    vhost: str = DEFAULT_VHOST
    #: Whether the URI names the vhost; a shovel or link may have another default.
    names_vhost: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    #: AMQP heartbeat or MQTT keep-alive, seconds; 0: none.
    heartbeat_s: int = HEARTBEAT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    client_id: str = ""
    #: MQTT protocol level: 5, or 4 for 3.1.1.
    mqtt_version: int = 5
    server_name: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether it means this node."""
        return not self.host

    @property
    def protocol(self) -> str:
        """ "amqp" or "mqtt"."""
        return self.scheme.removesuffix("s")

    def __str__(self) -> str:
        if not self.host:
            return f"{self.scheme}://"
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = ""
        if self.vhost != DEFAULT_VHOST:
            path = "/" + quote(self.vhost, safe="")
        return f"{self.scheme}://{host}:{self.port}{path}"


def parse_uri(where: str, text: str, protocols: tuple[str, ...] = ("amqp",)) -> Uri:
    """Parse one URI. Raises ConfigError that begins with ``where`` and never shows credentials."""
    split = _split(where, text)
    names_vhost = bool(split.path) and split.scheme.startswith("amqp")
    scheme = split.scheme
    protocol = scheme.removesuffix("s")
    if scheme not in PORTS or protocol not in protocols:
        known = [name for name in PORTS if name.removesuffix("s") in protocols]
        raise ConfigError(f"{where}: scheme must be one of {', '.join(known)}, not {scheme or 'missing'!r}")
    host = unquote(split.hostname or "")
    query = _query(where, split.query, protocol, scheme.endswith("s") and bool(host))
    return Uri(
        scheme,
        host,
        _port(where, split) or PORTS[scheme],
        # A path of "/" alone is the vhost with the empty name (RabbitMQ, "URI specification").
        vhost=unquote(split.path[1:]) if names_vhost else DEFAULT_VHOST,
        names_vhost=names_vhost,
        username=None if split.username is None else unquote(split.username),
        password=None if split.password is None else unquote(split.password),
        heartbeat_s=_number(where, query, "keepalive" if protocol == "mqtt" else "heartbeat", HEARTBEAT_S),
        connect_timeout_s=_number(where, query, "connection_timeout", int(CONNECT_TIMEOUT_S * 1000)) / 1000,
        client_id=query.get("client_id", ""),
        mqtt_version=_version(where, query),
        server_name=query.get("server_name_indication", ""),
        tls=_tls_context(where, query) if scheme.endswith("s") and host else None,
    )


def parse_uris(where: str, value: object, protocols: tuple[str, ...] = ("amqp",)) -> tuple[Uri, ...]:
    """Parse a URI or a list of them. Raises ConfigError, also for an empty list."""
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
    if not texts:
        raise ConfigError(f"{where}: must be a URI or a list of at least one")
    return tuple(parse_uri(where, str(text), protocols) for text in texts)


def _split(where: str, text: str) -> SplitResult:
    try:
        if "://" in text:
            return urlsplit(text)
    except ValueError:
        pass  # The library's own text shows the URI, and so its password.
    raise ConfigError(f"{where}: not a URI; write scheme://user:password@host:port/vhost")


def _port(where: str, split: SplitResult) -> int | None:
    try:
        return split.port
    except ValueError:
        raise ConfigError(f"{where}: the port must be a number up to 65535") from None


def _query(where: str, text: str, protocol: str, is_tls: bool) -> dict[str, str]:
    known = (*_KEYS[protocol], *_TLS_KEYS) if is_tls else _KEYS[protocol]
    query: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known:
            raise ConfigError(
                f"{where}: {name}: unknown query parameter; the closest known one is {closest(name, known)}"
            )
        query[name] = value
    return query


def _number(where: str, query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name)
    if value is None:
        return default
    if not value.isdecimal() or int(value) > 86_400_000:
        raise ConfigError(f"{where}: {name}: must be a whole number, not {value!r}")
    return int(value)


def _version(where: str, query: Mapping[str, str]) -> int:
    version = query.get("version", "5")
    if version not in ("5", "3.1.1"):
        raise ConfigError(f"{where}: version: must be 5 or 3.1.1, not {version!r}")
    return 5 if version == "5" else 4


def _tls_context(where: str, query: Mapping[str, str]) -> ssl.SSLContext:
    """The system's certificates unless ``cacertfile`` names others; peers are verified unless ``verify_none`` says."""
    verify = query.get("verify", "verify_peer")
    if verify not in ("verify_peer", "verify_none"):
        raise ConfigError(f"{where}: verify: must be verify_peer or verify_none, not {verify!r}")
    try:
        context = ssl.create_default_context(cafile=query.get("cacertfile"))
        if "certfile" in query:
            context.load_cert_chain(query["certfile"], query.get("keyfile"), query.get("password", ""))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{where}: cacertfile, certfile or keyfile: {error}") from error
    if verify == "verify_none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif query.get("server_name_indication") == "disable":
        context.check_hostname = False
    return context
