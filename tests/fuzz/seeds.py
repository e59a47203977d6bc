"""What the fuzzer starts from: every named frame and packet, written by the codec itself or standing in tests/wire."""

from edge.amqp091 import spec
from edge.amqp091.constants import PROTOCOL_HEADER
from edge.amqp091.outbound import encode_method
from edge.core.table import Table, encode_table
from mqtt import constants as c
from tests.wire.amqp_frames import CHANNEL_FAULTS, CONTENTS, FAULTS, METHODS
from tests.wire.amqp_handshakes import LOGIN, TUNE
from tests.wire.mqtt_packets import BAD_CONNECTS, BAD_PACKETS, PUBLISHES, WELL_FORMED

VERSION_BITS = {0: 0, c.V31: 1, c.V311: 2, c.V5: 3}


def _amqp_frames() -> list[bytes]:
    return [
        *[encode_method(channel, spec.encode_arguments(method)) for method, channel, _ in METHODS.values()],
        *[bytes.fromhex(case[3]) for case in CONTENTS.values()],
        *[bytes.fromhex(frames) for frames, _, _ in FAULTS.values()],
        *[bytes.fromhex(frames) for frames, _ in CHANNEL_FAULTS.values()],
    ]


def _amqp_values() -> list[bytes]:
    methods = [b"M" + spec.encode_arguments(method) for method, _, _ in METHODS.values()]
    properties = [b"P" + case[1] for case in CONTENTS.values()]
    tables = [
        b"T" + encode_table(value)
        for method, _, _ in METHODS.values()
        for value in [getattr(method, name) for name in method.__struct_fields__]
        if isinstance(value, dict)
    ]
    return [*methods, *properties, *tables, b"T" + encode_table(EVERY_TYPE)]


EVERY_TYPE: Table = {
    "void": None,
    "bool": True,
    "long": 1 << 40,
    "text": "x",
    "double": 1.5,
    "bytes": b"\xff",
    "list": [1, "a", [None]],
    "table": {"inner": {"deeper": False}},
}


SHAKEN = b"".join(
    [
        *[encode_method(0, spec.encode_arguments(method)) for method in (LOGIN, TUNE, spec.Open())],
        encode_method(1, spec.encode_arguments(spec.ChannelOpen())),
    ]
)
"""A client's handshake behind the protocol header, and a channel."""


def _mqtt() -> list[tuple[int, bytes]]:
    """Version and packet."""
    return [
        *[(case.version, case.raw) for case in WELL_FORMED],
        *[(version, raw) for version, raw in PUBLISHES.values()],
        *[(case.version, case.raw) for case in (*BAD_PACKETS, *BAD_CONNECTS)],
    ]


def seeds(target: str) -> list[bytes]:
    """The inputs that a target's corpus begins with."""
    if target == "amqp-values":
        return _amqp_values()
    if target == "amqp-cuts":
        frames = _amqp_frames()
        return [kind + b"\x04" + frame for frame in frames for kind in (b"s", b"o")] + [
            *[b"n\x04" + PROTOCOL_HEADER, b"n\x04AMQP\0\0\x09\x02"],
            *[kind + b"\x04" + frame for frame in frames[:12] for kind in (b"h", b"c")],
        ]
    if target == "amqp-server":
        # In small pieces, because a client waits for the answers of a handshake.
        return [b"h\x08" + SHAKEN, *[b"s\0" + frames for frames in _amqp_frames()]]
    packets = _mqtt()
    connects = [raw for _, raw in packets if raw[:1] == b"\x10"]
    versions = [bytes((VERSION_BITS[version], 3)) + raw for version, raw in packets]
    if target == "mqtt-cuts":
        return versions
    clients = [bytes((VERSION_BITS[version] | 4, 0)) + raw for version, raw in packets if version]
    # A CONNECT with what may follow it in the same write
    return (
        versions + clients + [b"\0\0" + connect + PUBLISHES["v5 publish of QoS 0"][1] for connect in connects]
    )
