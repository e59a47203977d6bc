"""The handshake of both machines (section 2.2.4), wired to each other and against faulty peers."""

import pytest

from edge.amqp091 import spec
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.connection import RUNNING
from edge.amqp091.constants import PROTOCOL_HEADER
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import BadProtocolHeader
from edge.amqp091.events import Event, Fault, LoginRequested, Opened, OpenRequested
from edge.amqp091.outbound import encode_method
from edge.amqp091.server_machine import ServerMachine
from edge.core.table import encode_table
from tests.helpers.amqp import ConnectionPair


def method_frame(method: spec.Method, channel: int = 0) -> bytes:
    return encode_method(channel, spec.encode_arguments(method))


def fault_of(events: list[Event]) -> int:
    [fault] = events
    assert isinstance(fault, Fault)
    return fault.error.code


def started() -> ServerMachine:
    server = ServerMachine({})
    assert server.receive(PROTOCOL_HEADER) == []
    server.take_output()
    return server


@pytest.mark.parametrize("piece_bytes", [0, 1, 7])
def test_two_machines_shake_hands_however_the_bytes_are_cut(piece_bytes: int) -> None:
    pair = ConnectionPair(Credentials("u", "p", "vhost", {"product": "test"}), piece_bytes)
    pair.run()
    login, opening = pair.server_events
    assert isinstance(login, LoginRequested)
    assert (login.mechanism, login.username, login.password) == ("PLAIN", "u", "p")
    assert login.client_properties["product"] == "test"
    assert isinstance(opening, OpenRequested)
    assert opening.vhost == "vhost"
    assert [type(event) for event in pair.client_events] == [Opened]
    assert pair.client.state == pair.server.state == RUNNING
    assert pair.client.capabilities == {"basic.nack": True}
    assert (pair.client.vhost, pair.server.vhost) == ("vhost", "vhost")


def test_the_smaller_of_both_limits_holds() -> None:
    credentials = Credentials(channel_max=100, frame_max=200_000, heartbeat_s=5)
    pair = ConnectionPair(credentials, channel_max=50, frame_max=8192, heartbeat_s=60).open()
    for machine in (pair.client, pair.server):
        assert (machine.channel_max, machine.frame_max, machine.heartbeat_s) == (50, 8192, 5)


def test_a_client_that_wants_no_heartbeats_gets_none() -> None:
    assert ConnectionPair(Credentials(heartbeat_s=0)).open().server.heartbeat_s == 0


@pytest.mark.parametrize(
    "header",
    [b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00", b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00\x01"],
)
@pytest.mark.parametrize("piece_bytes", [8, 1])
def test_another_protocol_is_answered_with_our_header(header: bytes, piece_bytes: int) -> None:
    """Section 4.2.2: "the server MUST send a valid protocol header and then close the socket"."""
    server = ServerMachine({})
    events: list[Event] = []
    for start in range(0, 8, piece_bytes):
        events += server.receive(header[start : start + piece_bytes])
    [fault] = events
    assert isinstance(fault, Fault)
    assert isinstance(fault.error, BadProtocolHeader)
    server.close_connection(fault.error)
    assert server.take_output() == PROTOCOL_HEADER


def test_an_amqplain_login_is_a_table_without_its_length() -> None:
    table = encode_table({"LOGIN": "u", "PASSWORD": "secret"})[4:]
    [login] = started().receive(method_frame(spec.StartOk({}, "AMQPLAIN", table)))
    assert isinstance(login, LoginRequested)
    assert (login.username, login.password) == ("u", "secret")


@pytest.mark.parametrize(
    ("mechanism", "response", "code"),
    [
        ("EXTERNAL", b"", 503),
        ("PLAIN", b"no separators", 502),
        ("PLAIN", b"\0u\0p\0more", 502),
        ("AMQPLAIN", b"\x05LOGIN", 502),
        ("AMQPLAIN", encode_table({"LOGIN": "u"})[4:], 502),
        ("AMQPLAIN", encode_table({"LOGIN": "u", "PASSWORD": 5})[4:], 502),
    ],
)
def test_a_login_that_cannot_be_read_is_refused_without_showing_it(
    mechanism: str, response: bytes, code: int
) -> None:
    events = started().receive(method_frame(spec.StartOk({}, mechanism, response)))
    assert fault_of(events) == code
    assert isinstance(events[0], Fault)
    assert "separators" not in events[0].error.text


@pytest.mark.parametrize(
    "answer",
    [
        spec.TuneOk(2048, 131_072, 60),
        spec.TuneOk(0, 131_072, 60),
        spec.TuneOk(2047, 131_073, 60),
        spec.TuneOk(2047, 0, 60),
        spec.TuneOk(2047, 4095, 60),
    ],
)
def test_limits_beyond_what_was_offered_are_not_allowed(answer: spec.TuneOk) -> None:
    server = started()
    server.receive(method_frame(spec.StartOk({}, "PLAIN", b"\0u\0p")))
    server.accept_login("u")
    assert fault_of(server.receive(method_frame(answer))) == 530


@pytest.mark.parametrize(
    "method",
    [spec.Open(), spec.TuneOk(10, 8192, 0), spec.QueueDeclareOk(), spec.SecureOk(), spec.Blocked("x")],
)
def test_a_step_that_is_not_due_is_a_fault(method: spec.Method) -> None:
    assert fault_of(started().receive(method_frame(method))) in (501, 503, 504)


def test_content_before_the_handshake_is_over_is_a_fault() -> None:
    assert fault_of(started().receive(bytes.fromhex("0300010000000568656c6c6fce"))) == 505


def test_frames_before_the_login_are_small() -> None:
    """An unknown peer cannot make the node keep more than 8 KiB."""
    assert fault_of(started().receive(bytes.fromhex("010000ffff0000"))) == 501


def test_channels_may_be_opened_right_behind_connection_open() -> None:
    server = started()
    server.receive(method_frame(spec.StartOk({}, "PLAIN", b"\0u\0p")))
    server.accept_login("u")
    events = server.receive(
        method_frame(spec.TuneOk(10, 8192, 0))
        + method_frame(spec.Open("/"))
        + method_frame(spec.ChannelOpen(), 1)
    )
    assert len(events) == 2
    assert 1 in server.channels


def test_a_server_without_plain_login_is_a_fault() -> None:
    client = ClientMachine(Credentials())
    assert fault_of(client.receive(method_frame(spec.Start(mechanisms=b"EXTERNAL")))) == 503


def test_a_server_that_skips_a_step_is_a_fault() -> None:
    client = ClientMachine(Credentials())
    assert client.is_logging_in is False
    assert fault_of(client.receive(method_frame(spec.Tune(1, 2, 3)))) == 503


def test_a_client_has_as_many_channels_as_were_agreed() -> None:
    pair = ConnectionPair(channel_max=2).open(channels=2)
    with pytest.raises(Exception, match="all 2 channels are open"):
        pair.client.open_channel()


def test_credentials_do_not_show_the_password() -> None:
    assert "secret" not in repr(Credentials("u", "secret"))
