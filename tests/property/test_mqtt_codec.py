"""Whatever bytes come, in whatever pieces, the MQTT decoder returns the same packets and the same fault."""

from hypothesis import given
from hypothesis import strategies as st

from mqtt import constants as c
from tests.helpers.decoded import decoded_mqtt
from tests.wire.mqtt_packets import BAD_PACKETS, PUBLISHES, WELL_FORMED


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    return [stream[places[i] : places[i + 1]] for i in range(len(places) - 1)]


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
