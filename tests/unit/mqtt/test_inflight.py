"""Packet identifiers derived from sequences, and the sets of QoS 2."""

import pytest

from edge.core.consumer import Entry
from edge.core.message import Message
from mqtt.inflight import WINDOW_MAX, Inflight, packet_id_of


def entry(sequence: int) -> Entry:
    return sequence, Message("", "t", b"", b""), 0


def test_identifiers_are_never_zero_and_go_round() -> None:
    assert [packet_id_of(sequence) for sequence in (0, 1, 65_534, 65_535)] == [1, 2, 65_535, 1]


def test_the_window_bounds_what_is_unacknowledged() -> None:
    inflight = Inflight()
    assert inflight.room(0) == WINDOW_MAX
    inflight.window = 3
    inflight.qos1[1] = entry(0)
    inflight.qos2[2] = entry(1)
    assert inflight.room(2) == 1
    assert len(inflight) == 2
    assert inflight.release(2) == entry(1)
    assert inflight.room(2) == 1
    del inflight.released[2]
    assert inflight.room(2) == 2


@pytest.mark.parametrize("kind", ["qos1", "qos2", "released"])
def test_an_identifier_in_use_is_waited_for(kind: str) -> None:
    inflight = Inflight()
    value = 10 if kind == "released" else entry(10)
    getattr(inflight, kind)[packet_id_of(10)] = value
    assert inflight.room(65_535 + 8) == 2
    assert inflight.room(65_535 + 10) == 0


def test_acknowledging_twice_settles_once() -> None:
    inflight = Inflight()
    inflight.qos1[5] = entry(4)
    assert inflight.acknowledged([5, 5, 6]) == [entry(4)]


def test_a_refused_message_frees_its_identifier() -> None:
    inflight = Inflight()
    inflight.qos2[5] = entry(4)
    assert inflight.refuse(5) == entry(4)
    assert inflight.release(5) is None
    assert inflight.released == {}


@pytest.mark.parametrize("next_sequence", [10, 65_535, 65_540, 200_000])
def test_what_is_stored_comes_back(next_sequence: int) -> None:
    inflight = Inflight()
    sequences = [next_sequence - 9, next_sequence - 1]
    for sequence in sequences:
        inflight.qos2[packet_id_of(sequence)] = entry(sequence)
        inflight.release(packet_id_of(sequence))
    inflight.received = {3, 1}
    record = inflight.record()
    assert record is not None
    again = Inflight()
    again.restore(record, next_sequence)
    assert again.released == inflight.released
    assert again.received == {1, 3}
    assert Inflight().record() is None


def test_a_lost_connection_gives_back_what_was_not_acknowledged() -> None:
    inflight = Inflight()
    inflight.qos1[1] = entry(0)
    inflight.qos2[2] = entry(1)
    inflight.released[3] = 2
    assert sorted(inflight.take_back()) == [entry(0), entry(1)]
    assert len(inflight) == 1
