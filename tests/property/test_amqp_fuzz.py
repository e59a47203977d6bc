"""Whatever bytes come, a machine reports events and at most one fault, raises nothing, and keeps no more than a frame.

Fed whole and cut to pieces, it reports the same.
"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.amqp091 import spec
from edge.amqp091.connection import Machine
from edge.amqp091.constants import FRAME_MAX, PROTOCOL_HEADER
from edge.amqp091.events import Event, Fault
from edge.amqp091.outbound import encode_method
from tests.helpers.amqp import ConnectionPair
from tests.helpers.decoded import flat_events
from tests.wire.amqp_frames import CHANNEL_FAULTS, CONTENTS, FAULTS, METHODS

FRAMES = [bytes.fromhex(case[2]) for case in METHODS.values()]
FRAMES += [bytes.fromhex(case[3]) for case in CONTENTS.values()]
FRAMES += [bytes.fromhex(frames) for frames, _, _ in FAULTS.values()]
FRAMES += [bytes.fromhex(frames) for frames, _ in CHANNEL_FAULTS.values()]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Frames of all kinds in any order, some of them damaged."""
    parts = draw(st.lists(st.sampled_from(FRAMES), min_size=1, max_size=12))
    stream = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(0, 3))):
        stream[draw(st.integers(0, len(stream) - 1))] = draw(st.integers(0, 255))
    return bytes(stream)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TABLE = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | TEXT | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "b": st.booleans(),
    "B": st.integers(0, 255),
    "H": st.integers(0, 65_535),
    "I": st.integers(0, (1 << 32) - 1),
    "Q": st.integers(0, 5) | st.integers(0, (1 << 64) - 1),
    "s": TEXT,
    "S": st.binary(max_size=40),
    "T": TABLE,
}
"""What a field of each wire type may hold."""


@st.composite
def any_methods(draw: st.DrawFn) -> bytes:
    """Well-formed frames of any method of either side, on any channel, with any arguments; one byte may be wrong."""
    stream = bytearray()
    for kind in draw(st.lists(st.sampled_from(list(spec.METHODS.values())), min_size=1, max_size=6)):
        method = kind(*[draw(FIELDS[letter]) for letter in kind.WIRE])
        stream += encode_method(draw(st.integers(0, 2)), spec.encode_arguments(method))
    if draw(st.booleans()):
        stream[draw(st.integers(0, len(stream) - 1))] = draw(st.integers(0, 255))
    return bytes(stream)


def feed(machine: Machine, stream: bytes, cuts: list[int]) -> list[object]:
    events: list[Event] = []
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, stop in pairwise(bounds):
        events += machine.receive(stream[start:stop], 1000)
        assert sum(len(part) for part in machine._held) <= FRAME_MAX
    faults = [event for event in events if isinstance(event, Fault) and event.channel == 0]
    assert len(faults) <= 1
    return flat_events(events)


@settings(max_examples=400, deadline=None)
@given(streams(), st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_any_bytes_are_reported_the_same_whole_and_in_pieces(
    stream: bytes, cuts: list[int], client: bool
) -> None:
    machines = [
        pair.client if client else pair.server for pair in (ConnectionPair().open(), ConnectionPair().open())
    ]
    assert feed(machines[0], stream, []) == feed(machines[1], stream, cuts)


@settings(max_examples=400, deadline=None)
@given(any_methods(), st.booleans(), st.booleans())
def test_any_method_is_reported_the_same_whole_and_byte_by_byte(
    stream: bytes, client: bool, is_open: bool
) -> None:
    pairs = [ConnectionPair(), ConnectionPair()]
    if is_open:
        pairs = [pair.open(2) for pair in pairs]
    machines = [pair.client if client else pair.server for pair in pairs]
    if not is_open and not client:
        for machine in machines:
            machine.receive(PROTOCOL_HEADER)
    assert feed(machines[0], stream, []) == feed(machines[1], stream, list(range(len(stream))))


@pytest.mark.parametrize("frame", FRAMES, ids=[frame[:24].hex() for frame in FRAMES])
def test_a_truncated_frame_waits_for_its_rest_or_is_a_fault(frame: bytes) -> None:
    for end in range(len(frame)):
        for machine in (ConnectionPair().open().server, ConnectionPair().open().client):
            feed(machine, frame[:end], [])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_garbage_is_a_fault_and_nothing_else(stream: bytes, cuts: list[int]) -> None:
    feed(ConnectionPair().server, stream, cuts)
    feed(ConnectionPair().client, stream, cuts)
    feed(ConnectionPair().open().server, stream, cuts)
