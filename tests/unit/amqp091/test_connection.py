"""The machine of one connection, in both roles: states, faults, closing."""

import pytest

from edge.amqp091 import spec
from edge.amqp091.channel import CLOSING
from edge.amqp091.connection import CLOSED, CLOSING_CONNECTION, RUNNING
from edge.amqp091.errors import ChannelFault, ConnectionFault
from edge.amqp091.events import ConnectionClosed, Event, Fault, MethodReceived, PublishRun
from edge.amqp091.outbound import PublishEncoder
from edge.core.message import Message
from edge.core.properties import (
    BasicProperties,
    decode_properties,
    encode_properties,
)
from tests.helpers.amqp import ConnectionPair
from tests.wire.amqp_frames import CHANNEL_FAULTS, FAULTS, METHODS

PUBLISH = PublishEncoder(1, 4096).encode([Message("", "q", b"\0\0", b"hello")])
HEARTBEAT = bytes.fromhex("0800000000000000ce"[:14] + "ce")
SENT_BY_CLIENT = [
    name
    for name, (method, channel, _) in METHODS.items()
    if method.SENDER & spec.CLIENT
    and channel
    and name not in ("channel_open", "basic_ack", "channel_close_ok")
]


def faults(events: list[Event]) -> list[int]:
    return [event.error.code for event in events if isinstance(event, Fault)]


@pytest.mark.parametrize("piece_bytes", [0, 1])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_connection_after_what_came_before_it(name: str, piece_bytes: int) -> None:
    frames, code, _ = FAULTS[name]
    pair = ConnectionPair().open()
    pair.piece_bytes = piece_bytes
    pair.client.send_bytes(PUBLISH + bytes.fromhex(frames) + PUBLISH)
    pair.run()
    first, fault = pair.server_events
    assert isinstance(first, PublishRun)
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, ConnectionFault)
    assert fault.error.code == code
    assert pair.server.state == CLOSING_CONNECTION
    pair.server.close_connection(fault.error)
    assert b"\x00\x0a\x00\x32" in pair.server.take_output()
    pair.server.close_connection(fault.error)
    assert pair.server.take_output() == b""


@pytest.mark.parametrize("piece_bytes", [0, 1])
@pytest.mark.parametrize("name", CHANNEL_FAULTS)
def test_a_channel_fault_ends_the_channel_and_no_other(name: str, piece_bytes: int) -> None:
    frames, code = CHANNEL_FAULTS[name]
    pair = ConnectionPair().open(channels=2)
    pair.piece_bytes = piece_bytes
    other = PublishEncoder(2, 4096).encode([Message("", "q", b"\0\0", b"hello")])
    pair.client.send_bytes(PUBLISH + bytes.fromhex(frames) + PUBLISH + other)
    pair.run()
    first, fault, second = pair.server_events
    assert isinstance(first, PublishRun)
    assert isinstance(second, PublishRun)
    assert second.channel == 2
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, ChannelFault)
    assert (fault.error.code, fault.error.channel) == (code, 1)
    pair.server.close_channel(fault.error)
    pair.run()
    [closed] = pair.client_events
    assert isinstance(closed, MethodReceived)
    assert isinstance(closed.method, spec.ChannelClose)
    assert (closed.method.reply_code, closed.method.class_id, closed.method.method_id) == (code, 60, 40)
    pair.client.send(1, spec.ChannelCloseOk())
    pair.run()
    assert 1 not in pair.server.channels
    assert pair.client.open_channel() == 1
    pair.run()
    assert pair.server.state == RUNNING


@pytest.mark.parametrize("name", SENT_BY_CLIENT)
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_methods_are_reported_with_their_channel(name: str, piece_bytes: int) -> None:
    method, channel, frame = METHODS[name]
    pair = ConnectionPair().open()
    pair.piece_bytes = piece_bytes
    pair.client.send_bytes(bytes.fromhex(frame))
    pair.run()
    [event] = pair.server_events
    assert isinstance(event, MethodReceived)
    assert (event.channel, event.method) == (channel, method)


@pytest.mark.parametrize("name", SENT_BY_CLIENT)
def test_every_truncation_of_a_method_just_waits_for_more(name: str) -> None:
    frame = bytes.fromhex(METHODS[name][2])
    for length in range(len(frame)):
        pair = ConnectionPair().open()
        assert pair.server.receive(frame[:length]) == []
        assert len(pair.server.receive(frame[length:])) == 1


def test_heartbeats_are_no_events() -> None:
    pair = ConnectionPair().open()
    assert pair.server.receive(bytes.fromhex("08000000000000ce") * 3) == []


def test_a_fault_on_a_channel_that_is_closing_is_ignored() -> None:
    pair = ConnectionPair().open()
    error = ChannelFault(1, 404, "no exchange")
    pair.server.close_channel(error)
    pair.server.close_channel(error)
    assert pair.server.take_output().count(b"\x00\x14\x00\x28") == 1
    assert pair.server.channels[1].state == CLOSING
    assert pair.server.receive(PUBLISH + bytes.fromhex(METHODS["basic_nack"][2])) == []


def test_closes_of_both_sides_may_cross() -> None:
    """Section 1.5.2.5: a close that crosses ours is answered, and the answer to ours is then of no channel."""
    pair = ConnectionPair().open()
    pair.server.close_channel(ChannelFault(1, 404, "no exchange"))
    pair.client.close_channel(ChannelFault(1, 200, "Goodbye"))
    pair.run()
    assert pair.server.state == pair.client.state == RUNNING
    assert not pair.server.channels
    assert not pair.client.channels
    pair.client.send(1, spec.ChannelCloseOk())
    pair.run()
    assert faults(pair.server_events) == []


def test_what_the_peer_has_closed_is_not_closed_again() -> None:
    pair = ConnectionPair().open()
    pair.client.close_channel(ChannelFault(1, 200, "Goodbye"))
    pair.run()
    pair.server.close_channel(ChannelFault(1, 404, "too late"))
    assert pair.server.take_output() == b""


@pytest.mark.parametrize("closer", ["client", "server"])
def test_connection_close_is_answered_and_ends_both_sides(closer: str) -> None:
    pair = ConnectionPair().open()
    machine = pair.client if closer == "client" else pair.server
    machine.close_connection(ConnectionFault(320, "bye", spec.QueueDeclare.ID))
    assert machine.receive(PUBLISH) == []
    pair.run()
    assert pair.client.state == pair.server.state == CLOSED
    [told], [answered] = (
        (pair.server_events, pair.client_events)
        if closer == "client"
        else (pair.client_events, pair.server_events)
    )
    assert isinstance(told, ConnectionClosed)
    assert isinstance(answered, ConnectionClosed)
    assert (told.code, told.text, told.method) == (320, "CONNECTION_FORCED - bye", spec.QueueDeclare.ID)
    assert answered.code == 0
    assert pair.server.receive(PUBLISH) == []


def test_a_connection_that_lost_its_framing_hears_nothing_but_the_answer_to_its_close() -> None:
    pair = ConnectionPair().open()
    assert faults(pair.server.receive(b"\xff" * 20)) == [501]
    assert pair.server.receive(PUBLISH + bytes.fromhex(METHODS["connection_close_ok"][2])) == []
    pair.server.close_connection(ConnectionFault(501, "lost"))
    [closed] = pair.server.receive(bytes.fromhex(METHODS["connection_close_ok"][2]))
    assert isinstance(closed, ConnectionClosed)
    assert pair.server.state == CLOSED


def test_after_another_fault_the_answer_to_our_close_is_still_heard() -> None:
    pair = ConnectionPair().open()
    close_ok = bytes.fromhex(METHODS["connection_close_ok"][2])
    events = pair.server.receive(bytes.fromhex(FAULTS["a heartbeat on a channel"][0]) + PUBLISH + close_ok)
    assert faults(events) == [505]
    assert isinstance(events[-1], ConnectionClosed)


def test_unfinished_messages_of_all_channels_are_bounded() -> None:
    pair = ConnectionPair(body_bytes_max=10_000).open(channels=6)
    chunks = b""
    for channel in range(1, 7):
        frames = PublishEncoder(channel, 131_072).encode([Message("", "q", b"\0\0", b"x" * 9_000)])
        # the announced size is larger than the body that comes
        chunks += frames.replace((9_000).to_bytes(8, "big"), (9_500).to_bytes(8, "big"))
    assert faults(pair.server.receive(chunks)) == [506]


def test_finished_messages_do_not_count_as_unfinished() -> None:
    pair = ConnectionPair(body_bytes_max=10_000).open()
    message = Message("", "q", b"\0\0", b"x" * 9_000)
    for _ in range(20):
        [run] = pair.server.receive(PublishEncoder(1, 4096).encode([message]))
        assert isinstance(run, PublishRun)
    assert pair.server.assembly_bytes == 0


def test_a_users_own_user_id_passes() -> None:
    pair = ConnectionPair().open()
    properties = encode_properties(BasicProperties(user_id="guest"))
    pair.client.send_bytes(PublishEncoder(1, 4096).encode([Message("", "q", properties, b"x")] * 2))
    pair.run()
    [run] = pair.server_events
    assert isinstance(run, PublishRun)
    assert len(run.messages) == 2


def test_direct_reply_to_is_filled_in_and_other_names_are_not() -> None:
    pair = ConnectionPair().open()
    pair.server.channels[1].reply_key = "amq.gen-1"
    for asked, got in (("amq.rabbitmq.reply-to", "amq.gen-1"), ("answers", "answers")):
        properties = encode_properties(
            BasicProperties(reply_to=asked, correlation_id="amq.rabbitmq.reply-to")
        )
        [run] = pair.server.receive(PublishEncoder(1, 4096).encode([Message("", "q", properties, b"x")]))
        assert isinstance(run, PublishRun)
        assert decode_properties(run.messages[0].properties).reply_to == got


def test_long_reply_texts_are_cut_to_a_short_string() -> None:
    error = ConnectionFault(541, "é" * 300)
    assert len(error.reply_text.encode()) <= 255
    assert error.reply_text.startswith("INTERNAL_ERROR - é")
    assert str(ConnectionFault(541, "INTERNAL_ERROR - once")) == "541 INTERNAL_ERROR - once"
