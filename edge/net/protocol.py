"""The asyncio side that all wire protocols share: reading, coalesced writing, back-pressure."""

import asyncio
import fcntl
import math
import socket
import sys
import termios
from collections.abc import Callable
from typing import Final, cast

WRITE_HIGH_BYTES: Final = 256 * 1024
"""Unsent bytes after which nothing more is delivered to a connection: more than the delay-bandwidth product of
20 Mbit/s at 100 ms, little enough for hundreds of slow readers."""
WRITE_LOW_BYTES: Final = 64 * 1024
CLOSE_TIMEOUT_S: Final = 5.0
"""How long a closed connection may take to read what it was sent last; then it is aborted."""


class WireProtocol(asyncio.Protocol):
    """One connection, of either role.

    What is written in one turn of the loop leaves in one ``send``. A subclass overrides the ``on_`` methods.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.peer = "?"
        #: Whether the peer takes more; consumers report no capacity while it does not.
        self.writable = True
        #: ``loop.time()`` of the last bytes in and out, for heartbeats and keep-alive.
        self.last_received = self.last_sent = self.loop.time()
        self.bytes_received = 0
        self.bytes_sent = 0
        self.transport: asyncio.Transport | None = None
        self.is_closed = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._is_transport_full = False
        self._close_timer: asyncio.TimerHandle | None = None
        self._input_held: set[str] = set()

    # -- for subclasses --------------------------------------------------------------------------------------------

    def on_connected(self) -> None:
        """The connection is made."""

    def on_bytes(self, data: bytes) -> None:
        """The peer sent ``data``."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """The peer takes more again."""

    def on_closed(self, exc: Exception | None) -> None:
        """The connection is gone; called once."""

    # -- timers ----------------------------------------------------------------------------------------------------

    def call_coarsely(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back after ``delay_s``, up to a second earlier when it is that long: on a whole second of the loop.

        All connections of a node share these seconds, so an idle node wakes once a second at most, not once a timer.
        """
        when = self.loop.time() + delay_s
        return self.loop.call_at(math.floor(when) if delay_s >= 1 else when, callback)

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send with whatever else is written in this turn of the loop."""
        out = self._out
        if not out:
            self.loop.call_soon(self._flush)
        out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > WRITE_HIGH_BYTES:
            # Many queues may deliver in one turn of the loop, before the transport sees any of it.
            self.writable = False

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        self._out_bytes = 0
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self.last_sent = self.loop.time()
        self.bytes_sent += len(data)
        transport.write(data)
        if not self.writable and not self._is_transport_full:
            self.writable = True
            self.on_writable()

    def close_after_flush(self) -> None:
        """Send what is written and close; nothing more is delivered meanwhile."""
        self._flush()
        self.writable = False
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.close()
            self._close_timer = self.loop.call_later(CLOSE_TIMEOUT_S, transport.abort)

    def abort(self) -> None:
        """Close at once; what is not sent yet is lost."""
        self._out = []
        self._out_bytes = 0
        if self.transport is not None:
            self.transport.abort()

    def bytes_across(self) -> int:
        """Bytes that the peer's host has acknowledged so far: progress that is seen before any answer comes."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return self.bytes_sent
        waiting = transport.get_write_buffer_size()
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            waiting += int.from_bytes(fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return self.bytes_sent - waiting

    # -- reading ---------------------------------------------------------------------------------------------------

    def pause_input(self, reason: str) -> None:
        """Stop reading until each reason is resumed."""
        if not self._input_held and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._input_held.add(reason)

    def resume_input(self, reason: str) -> None:
        """Undo ``pause_input`` for this reason."""
        if reason not in self._input_held:
            return
        self._input_held.discard(reason)
        if not self._input_held and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- asyncio ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports do not inherit from asyncio's.
        self.transport = transport = cast(asyncio.Transport, transport)
        self.peer = address_text(transport.get_extra_info("peername"))
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self.on_connected()

    def data_received(self, data: bytes) -> None:
        self.last_received = self.loop.time()
        self.bytes_received += len(data)
        self.on_bytes(data)

    def pause_writing(self) -> None:
        self._is_transport_full = True
        self.writable = False

    def resume_writing(self) -> None:
        self._is_transport_full = False
        if self._out_bytes <= WRITE_HIGH_BYTES and not self._is_ending():
            self.writable = True
            self.on_writable()

    def _is_ending(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._out = []
        self._out_bytes = 0
        if self._close_timer is not None:
            self._close_timer.cancel()
        self.on_closed(exc)


def address_text(address: object) -> str:
    """``host:port`` of a socket address, IPv6 in brackets."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(address or "local")


def is_loopback(address: object) -> bool:
    """Whether a socket address is of this machine: 127.0.0.0/8, ::1 or a Unix socket."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
