"""Whatever bytes come, in whatever pieces, the MQTT decoder returns the same packets and the same fault."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from mqtt import constants as c
from mqtt.fields import varint
from tests.helpers.decoded import decoded_mqtt
from tests.wire.mqtt_packets import BAD_PACKETS, PUBLISHES, WELL_FORMED


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    return [stream[places[i] : places[i + 1]] for i in range(len(places) - 1)]


class Like(NamedTuple):
    """What may tell a PUBLISH from others to its topic."""

    size: int
    packet_id: bytes
    properties: bytes
    is_padded: bool


def publishes(first: int, model: Like, others: list[Like], lost: int) -> bytes:
    """PUBLISHes to one topic, in a row; of the last packet, ``lost`` bytes are missing."""
    stream = b""
    # The decoder learns the topic from the first, and looks for likeness from the third on.
    for like in [model] * 3 + others:
        body = b"\0\x03a/b" + (like.packet_id if first & 6 else b"") + like.properties + b"x" * like.size
        length = varint(len(body))
        if like.is_padded:
            length = length[:-1] + bytes((length[-1] | 0x80, 0))
        stream += bytes((first,)) + length + body
    return stream[: len(stream) - lost]


sizes = st.sampled_from([0, 5, 121, 122, 200])
blocks = st.sampled_from([b"\0", b"\x02\x01\0"])
likes = st.builds(
    publishes,
    st.sampled_from([0x30, 0x32, 0x34]),
    st.builds(Like, sizes, st.just(b"\0\1"), blocks, st.just(False)),
    st.lists(
        st.builds(
            Like,
            sizes,
            st.sampled_from([b"\0\1", b"\0\2", b"\0\0", b""]),
            blocks | st.sampled_from([b"", b"\x26"]),
            st.booleans(),
        ),
        max_size=3,
    ),
    st.sampled_from([0, 0, 1, 3]),
)
packets = st.sampled_from(
    [case.raw for case in WELL_FORMED if case.raw[0] >> 4 != c.CONNECT]
    + [raw for _, raw in PUBLISHES.values()]
    + [b"\x40\x02\0\x01", b"\x50\x02\0\x01", b"\x62\x02\0\x01", b"\x70\x02\0\x01"]
    + [case.raw for case in BAD_PACKETS]
)
streams = st.one_of(
    st.binary(max_size=200),
    st.lists(packets, max_size=12).map(b"".join),
    st.builds(
        lambda parts, at, byte: bytes(
            [byte if i == at % max(1, len(parts)) else one for i, one in enumerate(parts)]
        ),
        st.lists(packets, max_size=12).map(b"".join),
        st.integers(0, 2000),
        st.integers(0, 255),
    ),
)


@given(st.sampled_from([0, c.V31, c.V311, c.V5]), streams, st.lists(st.integers(0, 5000), max_size=8))
def test_cutting_a_stream_changes_nothing(version: int, stream: bytes, cuts: list[int]) -> None:
    assert decoded_mqtt(version, cut(stream, cuts)) == decoded_mqtt(version, [stream])


@given(st.sampled_from([0, c.V31, c.V311, c.V5]), streams)
def test_a_stream_byte_by_byte_changes_nothing(version: int, stream: bytes) -> None:
    chunks = [stream[i : i + 1] for i in range(len(stream))]
    assert decoded_mqtt(version, chunks) == decoded_mqtt(version, [stream])


@settings(max_examples=500)
@given(st.sampled_from([c.V311, c.V5]), likes)
def test_publishes_that_are_alike_are_read_as_each_one_alone(version: int, stream: bytes) -> None:
    chunks = [stream[i : i + 1] for i in range(len(stream))]
    assert decoded_mqtt(version, chunks) == decoded_mqtt(version, [stream])
