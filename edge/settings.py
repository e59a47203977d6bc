"""SETTINGS: every setting of a node in one table, with its type, default, range and help.

A section of the configuration file is one frozen dataclass here; its fields are the keys. The table feeds the
validation of file and environment (``edge.config``), the commented sample ``configs/leveret.toml``, and the tests that
keep the documents complete. Units stand last in the names (``heartbeat_s``, ``message_max_bytes``).
"""

import dataclasses
import socket
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

KIB = 1024
MIB = 1024 * KIB


class Address(NamedTuple):
    """Where a listener listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Listeners = tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of SETTINGS.

    ``type`` is the field's type hint; ``minimum`` and ``maximum`` are inclusive; ``reloadable`` ones follow SIGHUP.
    """

    section: str
    key: str
    type: object
    default: object
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    reloadable: bool

    @property
    def variable(self) -> str:
        """The environment variable that overrides the file."""
        return f"LEVERET_{self.section}_{self.key}".upper()


def setting(
    default: T,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    reloadable: bool = False,
) -> T:
    """A field of a section. The return type is the default's: a type checker sees a plain attribute."""
    row = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices, "reloadable": reloadable}
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """[node]"""

    name: str = setting(
        f"leveret@{socket.gethostname()}",
        "The cluster_name that peers see. Must be unique in a federation, for hops are counted by it.",
    )
    data_dir: Path = setting(Path("leveret-data"), "Directory of the store. One running node per directory.")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]"""

    bytes_max: int = setting(
        0,
        "How many bytes the store may hold before publishers are blocked and only consumers go on; 0: what the disk"
        " has.",
        minimum=0,
    )
    lazy_delay_ms: int = setting(
        200,
        "How long what queues of durability class lazy hold may wait for a commit; confirms wait as long.",
        minimum=1,
        maximum=60_000,
    )
    disk_free_min_bytes: int = setting(
        -1,
        "Publishers are blocked, too, when less is free on the disk. -1: 50,000,000, or a tenth of a smaller disk.",
        minimum=-1,
    )


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """[listeners]"""

    amqp: Listeners = setting((Address("127.0.0.1", 5672),), "AMQP 0-9-1.")
    mqtt: Listeners = setting((Address("127.0.0.1", 1883),), "MQTT 3.1.1 and 5.0.")
    http: Listeners = setting((Address("127.0.0.1", 15672),), "The management API, shaped as RabbitMQ's.")


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """[amqp]"""

    channel_max: int = setting(2047, "Channels that a connection may open.", minimum=1, maximum=65_535)
    frame_max: int = setting(
        128 * KIB,
        "Bytes of a frame that is taken or sent; a table, such as a message's headers, has to fit into one.",
        minimum=8 * KIB,
        maximum=16 * MIB,
    )
    heartbeat_s: int = setting(
        60,
        "Seconds between heartbeats that are offered to clients, who may choose others; 0: none.",
        minimum=0,
        maximum=65_535,
    )
    message_max_bytes: int = setting(
        16 * MIB, "Bytes of a message's body; a larger one is refused.", minimum=1, maximum=512 * MIB
    )

    consumer_timeout_ms: int = setting(
        1_800_000,
        "How long a consumer may hold a delivery unacknowledged before its channel is closed, in powered time; 0: for"
        " ever.",
        minimum=0,
    )
    unacked_max_bytes: int = setting(
        64 * MIB,
        "Unacknowledged bytes of a queue above which a consumer without prefetch gets no more; 0: no bound.",
        minimum=0,
    )


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """[mqtt]"""

    anonymous_user: str = setting(
        "guest",
        'The user that clients without credentials log in as; guest may come from this machine only. "" refuses them.',
    )
    keep_alive_max_s: int = setting(
        65_535,
        "Longest keep-alive: an MQTT 5 client that asks for more, or for none, is told to use this one.",
        minimum=1,
        maximum=65_535,
    )
    session_expiry_max_s: int = setting(
        0,
        "Longest that a session outlives its connection, with all that waits in it; 0: as long as its client wants.",
        minimum=0,
        maximum=0xFFFFFFFF,
    )
    subscriptions_max: int = setting(10_000, "Subscriptions of one session.", minimum=1, maximum=1_000_000)
    receive_max: int = setting(
        8_192, "QoS 1 and 2 publishes that an MQTT 5 client may have unanswered.", minimum=1, maximum=65_535
    )
    packet_bytes_max: int = setting(
        16 * MIB, "Largest packet that a client may send.", minimum=1024, maximum=268_435_460
    )
    topic_alias_max: int = setting(
        16, "Topic aliases that an MQTT 5 client may set; 0: none.", minimum=0, maximum=65_535
    )
    retained_messages_max: int = setting(
        250_000, "Retained messages of one vhost; above it no further topic is retained.", minimum=0
    )
    retained_bytes_max: int = setting(
        64 * MIB, "Topics and bodies of a vhost's retained messages, which are kept in RAM too.", minimum=0
    )
    response_topic: str = setting(
        "",
        "Told to MQTT 5 clients that ask where to await responses: a topic with {client_id} and {username} in it, for"
        ' instance; "": nothing.',
    )
    sys_interval_s: int = setting(
        10, "How often the $SYS topics are sent to those who subscribe to them; 0: there are none.", minimum=0
    )


@dataclass(frozen=True, slots=True)
class DefinitionsSettings:
    """[definitions]"""

    file: Path | None = setting(None, 'A definitions.json in RabbitMQ\'s format, read at start; "" for none.')


@dataclass(frozen=True, slots=True)
class LogSettings:
    """[log]"""

    level: str = setting(
        "info",
        "Least severe level that is written to standard error.",
        choices=("debug", "info", "warning", "error"),
        reloadable=True,
    )


SECTIONS: dict[str, type] = {
    "node": NodeSettings,
    "store": StoreSettings,
    "listeners": ListenerSettings,
    "amqp": AmqpSettings,
    "mqtt": MqttSettings,
    "definitions": DefinitionsSettings,
    "log": LogSettings,
}


def _rows(section: str, settings: type) -> list[Setting]:
    hints = typing.get_type_hints(settings)
    return [
        Setting(section=section, key=row.name, type=hints[row.name], default=row.default, **row.metadata)
        for row in dataclasses.fields(settings)
    ]


SETTINGS: tuple[Setting, ...] = tuple(row for name, cls in SECTIONS.items() for row in _rows(name, cls))
