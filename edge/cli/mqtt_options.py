"""mosquitto's options for a connection, of ``leveret publish`` and ``subscribe``."""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import unquote

import aiomqtt
import click
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.cli import mqtt_tls
from edge.cli.mqtt_client import Target

P = ParamSpec("P")
R = TypeVar("R")

PORT: Final = 1883
"""Of MQTT, registered with IANA."""
NEVER_EXPIRES: Final = 0xFFFF_FFFF
VERSIONS: Final = {
    **dict.fromkeys(("31", "mqttv31"), aiomqtt.ProtocolVersion.V31),
    **dict.fromkeys(("311", "mqttv311"), aiomqtt.ProtocolVersion.V311),
    **dict.fromkeys(("5", "mqttv5"), aiomqtt.ProtocolVersion.V5),
}
URL: Final = re.compile(
    r"(?P<scheme>mqtts?)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<host>\[[^]/]+\]|[^:@/]+)(?::(?P<port>\d{1,5}))?/(?P<topic>.+)",
    re.DOTALL,
)
"""A topic stands as it is: # and %2F are of the topic there. User and password are percent-encoded."""


class Expiry(click.IntRange):
    """Seconds, or that a session does not expire, which mosquitto spells in three ways."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(-1, NEVER_EXPIRES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        seconds = -1 if value == "∞" else super().convert(value, param, ctx)
        return NEVER_EXPIRES if seconds == -1 else int(seconds)


OPTIONS: Final = (
    click.option("-h", "--host", metavar="HOST", help="Name or address of the broker.  [default: localhost]"),
    click.option(
        "-p", "--port", type=click.IntRange(1, 65535), help="Of the broker.  [default: 1883, with TLS 8883]"
    ),
    click.option("--unix", metavar="PATH", help="A Unix domain socket instead."),
    click.option(
        "-L",
        "--url",
        metavar="URL",
        help="Instead of -h, -p, -u, -P and -t: mqtt(s)://[user[:password]@]host[:port]/topic.",
    ),
    click.option("-A", "bind_address", metavar="ADDRESS", default="", help="Local address to connect from."),
    click.option("--nodelay", "no_delay", is_flag=True, help="Switch Nagle's algorithm off."),
    click.option(
        "-i", "--id", "client_id", metavar="ID", help="Client identifier.  [default: the broker assigns one]"
    ),
    click.option("-I", "--id-prefix", metavar="PREFIX", help="Client identifier: this and the process id."),
    click.option("-u", "--username", metavar="USER", help="May name the vhost: vhost:user."),
    click.option(
        "-P",
        "--pw",
        "password",
        metavar="PASSWORD",
        envvar="LEVERET_PASSWORD",
        show_envvar=True,
        help="Of the user.",
    ),
    click.option(
        "-V",
        "--protocol-version",
        type=click.Choice(list(VERSIONS)),
        help="31, 311 or 5; mqttv5 and so on too.  [default: 311, or 5 with -D or -x]",
        metavar="VERSION",
    ),
    click.option(
        "-k",
        "--keepalive",
        type=click.IntRange(5, 65535),
        default=60,
        show_default=True,
        metavar="SECONDS",
        help="A silent broker is noticed within about twice that.",
    ),
    click.option("-c", "--disable-clean-session", is_flag=True, help="Keep the session; needs -i."),
    click.option(
        "-x",
        "--session-expiry-interval",
        "expiry_s",
        type=Expiry(),
        metavar="SECONDS",
        help="How long the session outlives the connection; -1 or ∞: for ever.  [default: 0, with -c for ever]",
    ),
    click.option("--will-topic", metavar="TOPIC", help="What the broker publishes when this client is lost."),
    click.option("--will-payload", metavar="TEXT", default="", help="Of the will.  [default: empty]"),
    click.option("--will-qos", type=click.IntRange(0, 2), default=0, show_default=True, help="Of the will."),
    click.option("--will-retain", is_flag=True, help="The broker keeps the will for later subscribers."),
    *mqtt_tls.OPTIONS,
    click.option("-d", "--debug", is_flag=True, help="Show the packets on stderr."),
    click.option("--quiet", is_flag=True, help="No errors and warnings on stderr."),
)
NAMES: Final = (
    *(
        "host",
        "port",
        "unix",
        "url",
        "bind_address",
        "no_delay",
        "client_id",
        "id_prefix",
        "username",
        "password",
    ),
    *("protocol_version", "keepalive", "disable_clean_session", "expiry_s"),
    *("will_topic", "will_payload", "will_qos", "will_retain", "debug", "quiet"),
    *mqtt_tls.NAMES,
)


def connection_options(command: Callable[Concatenate[Target, P], R]) -> Callable[P, R]:
    """mosquitto's options for a connection; the function gets a ``Target`` as its first argument.

    The topic of -L is a further keyword, ``url_topic``.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {name: kwargs.pop(name) for name in NAMES}
        kwargs["url_topic"] = _take_url(given)
        try:
            return command(_target(given), *args, **kwargs)
        except click.UsageError:
            raise
        except click.ClickException as error:
            if given["quiet"]:
                sys.exit(error.exit_code)
            raise

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _take_url(given: dict[str, Any]) -> str | None:
    """Spread -L over the options it stands for; returns its topic. Raises click.UsageError, without the password."""
    given["is_tls"] = False
    if given["url"] is None:
        return None
    match = URL.fullmatch(given["url"])
    if match is None or not 1 <= int(match["port"] or 1) <= 65535:
        raise click.UsageError("-L wants mqtt(s)://[user[:password]@]host[:port]/topic")
    for name, option in (("host", "-h"), ("port", "-p"), ("unix", "--unix"), ("username", "-u")):
        if given[name] is not None:
            raise click.UsageError(f"-L says what {option} says; leave one of them out")
    given["host"] = match["host"].strip("[]")
    given["port"] = match["port"] and int(match["port"])
    given["is_tls"] = match["scheme"] == "mqtts"
    if match["user"]:
        given["username"] = unquote(match["user"])
    if match["password"] is not None:
        given["password"] = unquote(match["password"])
    return match["topic"]


def _target(given: dict[str, Any]) -> Target:
    by_packet = click.get_current_context().obj
    expiry_s, keeps = given["expiry_s"], given["disable_clean_session"]
    is_of_v5 = bool(by_packet) or expiry_s is not None
    version = VERSIONS[given["protocol_version"] or ("5" if is_of_v5 else "311")]
    if is_of_v5 and version is not aiomqtt.ProtocolVersion.V5:
        raise click.UsageError("-D and -x are of MQTT 5; leave -V out, or say -V 5")
    if keeps and not given["client_id"]:
        raise click.UsageError("-c keeps the session of a client identifier; say which by -i")
    properties = by_packet.get("connect", Properties(PacketTypes.CONNECT))
    if expiry_s is not None or keeps:
        # Who keeps a session and does not say for how long keeps it for ever, as with MQTT 3.
        properties.SessionExpiryInterval = NEVER_EXPIRES if expiry_s is None else expiry_s
    tls = mqtt_tls.tls_context(given, is_wanted=given["is_tls"])
    return Target(
        **_place(given, mqtt_tls.PORT if tls else PORT),
        client_id=_client_id(given),
        username=given["username"],
        # From the environment, for a client without a user.
        password=given["password"] if given["username"] else None,
        version=version,
        keepalive=given["keepalive"],
        clean=not keeps,
        will=_will(given, by_packet.get("will")),
        properties=properties,
        goodbye=by_packet.get("disconnect"),
        tls=tls,
        **{name: given[name] for name in ("bind_address", "no_delay", "debug", "quiet")},
    )


def _place(given: dict[str, Any], default_port: int) -> dict[str, Any]:
    if given["unix"] is None:
        return {
            "host": given["host"] or "localhost",
            "port": given["port"] or default_port,
            "transport": "tcp",
        }
    for name, option in (("host", "-h"), ("port", "-p")):
        if given[name] is not None:
            raise click.UsageError(f"--unix is instead of {option}; leave one of them out")
    return {"host": given["unix"], "port": default_port, "transport": "unix"}


def _client_id(given: dict[str, Any]) -> str | None:
    client_id: str | None = given["client_id"]
    if given["id_prefix"] is None:
        return client_id
    if client_id is not None:
        raise click.UsageError("-i and -I both say the client identifier; leave one of them out")
    return f"{given['id_prefix']}{os.getpid()}"


def _will(given: dict[str, Any], properties: Any) -> aiomqtt.Will | None:
    if given["will_topic"] is None:
        if given["will_payload"] or given["will_qos"] or given["will_retain"] or properties:
            raise click.UsageError("a will needs --will-topic")
        return None
    return aiomqtt.Will(
        given["will_topic"], given["will_payload"], given["will_qos"], given["will_retain"], properties
    )
