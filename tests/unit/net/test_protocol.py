"""The asyncio side of a connection: over a transport of the test's own, and over real sockets."""

import asyncio
import socket

import pytest

from edge.net import protocol as protocol_module
from edge.net.protocol import WRITE_HIGH_BYTES, WRITE_LOW_BYTES, WireProtocol, address_text, is_loopback
from tests.helpers.brokers import turn, until


class Transport(asyncio.Transport):
    """Keeps what is written; the test says when it is full."""

    def __init__(self, peer: object = ("127.0.0.1", 5555)) -> None:
        super().__init__()
        self.peer = peer
        self.written: list[bytes] = []
        self.is_reading_now = True
        self.is_closed = self.is_aborted = False
        self.limits = (0, 0)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.peer if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high or 0, low or 0)

    def pause_reading(self) -> None:
        self.is_reading_now = False

    def resume_reading(self) -> None:
        self.is_reading_now = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True


class Recorder(WireProtocol):
    """Notes what happens."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.received = b""

    def on_connected(self) -> None:
        self.events.append("connected")

    def on_bytes(self, data: bytes) -> None:
        self.received += data

    def on_writable(self) -> None:
        self.events.append("writable")

    def on_closed(self, exc: Exception | None) -> None:
        self.events.append(f"closed {exc}")


@pytest.fixture
async def transport() -> Transport:
    return Transport()


@pytest.fixture
async def protocol(transport: Transport) -> Recorder:
    made = Recorder()
    made.connection_made(transport)
    return made


class TestWriting:
    async def test_what_is_written_in_one_turn_leaves_in_one_write(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        for part in (b"a", b"b", b"c"):
            protocol.write(part)
        assert transport.written == []
        await turn()
        protocol.write(b"d")
        await turn()
        assert transport.written == [b"abc", b"d"]
        assert protocol.bytes_sent == 4

    async def test_the_limits_of_the_transport_are_set(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        assert transport.limits == (WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        assert (protocol.events, protocol.peer) == (["connected"], "127.0.0.1:5555")

    async def test_a_full_transport_is_not_writable_until_it_has_drained(self, protocol: Recorder) -> None:
        protocol.pause_writing()
        assert not protocol.writable
        protocol.write(b"x")
        await turn()
        assert not protocol.writable
        protocol.resume_writing()
        assert protocol.writable
        assert protocol.events == ["connected", "writable"]

    async def test_too_much_in_one_turn_stops_deliveries_before_the_transport_sees_it(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        protocol.write(bytes(WRITE_HIGH_BYTES))
        assert protocol.writable
        protocol.write(b"x")
        assert not protocol.writable
        await turn()
        assert protocol.writable
        assert protocol.events == ["connected", "writable"]
        assert [len(data) for data in transport.written] == [WRITE_HIGH_BYTES + 1]

    async def test_too_much_in_one_turn_into_a_transport_that_is_then_full_stays_unwritable(
        self, protocol: Recorder, transport: Transport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "write", lambda data: protocol.pause_writing())
        protocol.write(bytes(WRITE_HIGH_BYTES + 1))
        await turn()
        assert not protocol.writable
        protocol.write(bytes(WRITE_HIGH_BYTES + 1))
        protocol.resume_writing()
        assert not protocol.writable, "the next turn's bytes wait already"

    async def test_what_is_written_to_a_closed_connection_goes_nowhere(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        transport.close()
        protocol.write(b"x")
        await turn()
        assert transport.written == []
        protocol.resume_writing()
        assert protocol.events == ["connected"]

    async def test_before_the_connection_is_made_nothing_breaks(self) -> None:
        protocol = WireProtocol()
        protocol.write(b"x")
        await turn()
        protocol.close_after_flush()
        protocol.abort()
        protocol.on_connected()
        protocol.on_writable()
        protocol.on_closed(None)
        with pytest.raises(NotImplementedError):
            protocol.on_bytes(b"")


class TestClosing:
    async def test_what_is_written_is_sent_before_the_close(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        protocol.write(b"goodbye")
        protocol.close_after_flush()
        assert (transport.written, transport.is_closed, protocol.writable) == ([b"goodbye"], True, False)
        protocol.connection_lost(None)
        await turn()

    async def test_a_peer_that_does_not_read_its_goodbye_is_cut_off(
        self, protocol: Recorder, transport: Transport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol_module, "CLOSE_TIMEOUT_S", 0.01)
        protocol.close_after_flush()
        protocol.close_after_flush()
        assert not transport.is_aborted
        await until(lambda: transport.is_aborted)

    async def test_a_peer_that_does_is_not(
        self, protocol: Recorder, transport: Transport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol_module, "CLOSE_TIMEOUT_S", 0.01)
        protocol.close_after_flush()
        protocol.connection_lost(None)
        await asyncio.sleep(0.03)
        assert not transport.is_aborted

    async def test_an_abort_sends_nothing_more(self, protocol: Recorder, transport: Transport) -> None:
        protocol.write(b"x")
        protocol.abort()
        await turn()
        assert (transport.written, transport.is_aborted) == ([], True)

    async def test_the_end_is_told_once(self, protocol: Recorder) -> None:
        protocol.connection_lost(OSError("reset"))
        protocol.connection_lost(None)
        assert protocol.events == ["connected", "closed reset"]
        assert protocol.is_closed


class TestReading:
    async def test_bytes_and_their_time_are_noted(self, protocol: Recorder) -> None:
        protocol.last_received = 0.0
        protocol.data_received(b"abc")
        assert (protocol.received, protocol.bytes_received) == (b"abc", 3)
        assert protocol.last_received > 0

    async def test_input_is_held_until_every_reason_is_gone(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        protocol.pause_input("disk")
        protocol.pause_input("disk")
        protocol.pause_input("commit")
        assert not transport.is_reading_now
        protocol.resume_input("disk")
        assert not transport.is_reading_now
        protocol.resume_input("disk")
        protocol.resume_input("commit")
        assert transport.is_reading_now

    async def test_a_closed_connection_is_neither_held_nor_resumed(
        self, protocol: Recorder, transport: Transport
    ) -> None:
        transport.close()
        protocol.pause_input("disk")
        assert transport.is_reading_now
        transport.is_reading_now = False
        protocol.resume_input("disk")
        assert not transport.is_reading_now


async def test_over_a_real_socket_a_slow_reader_stops_writing_and_nothing_is_lost() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, protocol = await loop.create_connection(Recorder, sock=ours)
    sent = 0
    while protocol.writable and sent < 50_000_000:
        protocol.write(bytes(100_000))
        sent += 100_000
        await asyncio.sleep(0)
    assert sent < 50_000_000
    assert protocol.peer == "local"
    read = 0
    while read < sent:
        read += len(await loop.sock_recv(theirs, 1 << 20))
    await until(lambda: protocol.writable)
    assert protocol.events == ["connected", "writable"]
    protocol.abort()
    await until(lambda: protocol.is_closed)
    theirs.close()


async def test_over_tcp_small_writes_do_not_wait_for_more() -> None:
    loop = asyncio.get_running_loop()
    made: list[Recorder] = []

    def accept() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    _, client = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
    client.write(b"hello")
    await until(lambda: made and made[0].received == b"hello")
    assert client.transport is not None
    raw = client.transport.get_extra_info("socket")
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert made[0].peer.startswith("127.0.0.1:")
    made[0].write(b"bye")
    made[0].close_after_flush()
    await until(lambda: client.is_closed and made[0].is_closed)
    assert client.received == b"bye"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("address", "text", "loopback"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5", True),
        (("127.8.9.1", 5), "127.8.9.1:5", True),
        (("10.0.0.1", 5), "10.0.0.1:5", False),
        (("::1", 5, 0, 0), "[::1]:5", True),
        (("::ffff:127.0.0.1", 5, 0, 0), "[::ffff:127.0.0.1]:5", True),
        (("fe80::1", 5, 0, 0), "[fe80::1]:5", False),
        ("/run/leveret.sock", "/run/leveret.sock", True),
        ("", "local", True),
        (None, "local", True),
    ],
)
def test_addresses_are_shown_and_judged(address: object, text: str, loopback: bool) -> None:
    assert address_text(address) == text
    assert is_loopback(address) is loopback
