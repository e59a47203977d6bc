"""AMQP 0-9-1 loads from pre-encoded frames on a raw socket; each verifies every message."""

import socket
import struct
import time
from typing import Final

from tests.bench.numbered import NUMBER_BYTES, LoadError, body, copies, explain

CHUNK_MESSAGES: Final = 200
RECEIVE_BYTES: Final = 1 << 18
FRAME_MAX: Final = 131072
TIMEOUT_S: Final = 120.0
"""Longest silence of a broker; RabbitMQ pauses for seconds when its memory alarm goes off."""
_ACK_BYTES: Final = 21
_CONSUMER: Final = "bench"


def short(text: str) -> bytes:
    """A short string."""
    return bytes((len(text),)) + text.encode()


def _frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(class_id: int, method_id: int, arguments: bytes, channel: int = 1) -> bytes:
    """A method frame."""
    return _frame(1, struct.pack(">HH", class_id, method_id) + arguments, channel)


def _content(size: int, delivery_mode: int) -> bytes:
    """Header frame and body frames of a message."""
    header = _frame(2, struct.pack(">HHQHB", 60, 0, size, 0x1000, delivery_mode))
    payload, step = body(size), FRAME_MAX - 8
    return header + b"".join([_frame(3, payload[i : i + step]) for i in range(0, size, step)])


def publish_frames(
    exchange: str, routing_key: str, size: int, delivery_mode: int = 2, *, mandatory: bool = False
) -> tuple[bytes, int]:
    """The frames of one message, and where its number stands in them."""
    bits = b"\x01" if mandatory else b"\x00"
    publish = method(60, 40, b"\0\0" + short(exchange) + short(routing_key) + bits)
    # 7 bytes lead the body frame, after a header frame of 23.
    return publish + _content(size, delivery_mode), len(publish) + 23 + 7


def handshake(heartbeat_s: int = 0) -> list[bytes]:
    """What a client sends until channel 1 is open, each after the answer to the one before."""
    plain = short("PLAIN") + struct.pack(">I", 12) + b"\0guest\0guest" + short("en_US")
    tune_ok = struct.pack(">HIH", 2047, FRAME_MAX, heartbeat_s)
    return [
        b"AMQP\x00\x00\x09\x01",
        method(10, 11, struct.pack(">I", 0) + plain, 0),
        method(10, 31, tune_ok, 0) + method(10, 40, short("/") + b"\0\0", 0),
        method(20, 10, b"\0"),
    ]


class Amqp:
    """The least client that can be driven from frames made beforehand."""

    def __init__(self, port: int, heartbeat_s: int = 0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        for data, answer in zip(
            handshake(heartbeat_s), ((10, 10), (10, 30), (10, 41), (20, 11)), strict=True
        ):
            self.socket.sendall(data)
            self.wait_method(*answer)

    def take(self) -> bytes:
        """What has come and was not looked at yet."""
        found, self._buffer = bytes(self._buffer), bytearray()
        return found

    def receive(self) -> bytes:
        """The next bytes; raises LoadError at the end of the connection and after long silence."""
        try:
            chunk = self.socket.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise LoadError(f"the broker said nothing for {TIMEOUT_S:g} s") from error
        if not chunk:
            raise LoadError("the broker closed the connection")
        return chunk

    def wait_method(self, class_id: int, method_id: int) -> bytes:
        """The arguments of the next such method; raises LoadError when the broker closes instead."""
        buffer = self._buffer
        while True:
            while len(buffer) < 7 or len(buffer) < 8 + int.from_bytes(buffer[3:7], "big"):
                buffer += self.receive()
            size = int.from_bytes(buffer[3:7], "big")
            kind, payload = buffer[0], bytes(buffer[7 : 7 + size])
            del buffer[: size + 8]
            if kind == 1:
                found = struct.unpack_from(">HH", payload)
                if found == (class_id, method_id):
                    return payload[4:]
                if found in ((10, 50), (20, 40)):
                    raise LoadError(f"closed by the broker: {payload[4:]!r}")

    def call(self, class_id: int, method_id: int, arguments: bytes) -> bytes:
        """Send a method and wait for the one that answers it."""
        self.socket.sendall(method(class_id, method_id, arguments))
        return self.wait_method(class_id, method_id + 1)

    def declare(self, queue: str, *, passive: bool = False) -> int:
        """A durable queue; returns how many messages are ready in it."""
        flags = b"\x01" if passive else b"\x02"
        answer = self.call(50, 10, b"\0\0" + short(queue) + flags + b"\0\0\0\0")
        return int(struct.unpack_from(">I", answer, 1 + len(queue))[0])

    def bind(self, queue: str, exchange: str, binding_key: str) -> None:
        names = short(queue) + short(exchange) + short(binding_key)
        self.call(50, 20, b"\0\0" + names + b"\0" + b"\0\0\0\0")

    def delete(self, queue: str) -> None:
        self.call(50, 40, b"\0\0" + short(queue) + b"\0")

    def confirm_select(self) -> None:
        self.call(85, 10, b"\0")

    def consume(self, queue: str, prefetch: int) -> None:
        self.call(60, 10, struct.pack(">IHB", 0, prefetch, 0))
        self.call(60, 20, b"\0\0" + short(queue) + short(_CONSUMER) + b"\0" + b"\0\0\0\0")

    def acknowledge(self, delivery_tag: int) -> None:
        """All deliveries up to this one."""
        self.socket.sendall(method(60, 80, struct.pack(">QB", delivery_tag, 1)))

    def close(self) -> None:
        self.socket.close()


class Confirms:
    """Counts a channel's publisher confirms from the bytes that bring them."""

    def __init__(self) -> None:
        #: All up to here are confirmed.
        self.low = 0
        self._above: set[int] = set()
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Raises LoadError for anything but a basic.ack, and for one that confirms something twice."""
        data = self._rest + data
        whole = len(data) // _ACK_BYTES * _ACK_BYTES
        self._rest = data[whole:]
        for kind, channel, size, class_id, method_id, tag, multiple, end in struct.iter_unpack(
            ">BHIHHQBB", data[:whole]
        ):
            if (kind, channel, size, class_id, method_id, end) != (1, 1, 13, 60, 80, 0xCE):
                raise LoadError(f"frame of type {kind}, method {class_id}.{method_id} instead of a confirm")
            if tag <= self.low or tag in self._above:
                raise LoadError(f"publish {tag} was confirmed twice")
            if multiple:
                self.low = tag
                self._above = {other for other in self._above if other > tag}
            else:
                self._above.add(tag)
            while self.low + 1 in self._above:
                self.low += 1
                self._above.discard(self.low)


def fill(
    port: int,
    queue: str,
    count: int,
    window: int = 2000,
    *,
    size: int = 100,
    first: int = 0,
    mode: int = 2,
    mandatory: bool = False,
) -> None:
    """Publish numbered messages to a queue, at most ``window`` unconfirmed, until all are confirmed."""
    client = Amqp(port)
    client.declare(queue)
    client.confirm_select()
    template, at = publish_frames("", queue, size, mode, mandatory=mandatory)
    confirms = Confirms()
    step = min(CHUNK_MESSAGES, max(1, window // 10))
    sent = 0
    while confirms.low < count:
        while sent < count and sent - confirms.low + min(step, count - sent) <= window:
            number = min(step, count - sent)
            numbers = range(first + sent, first + sent + number)
            client.socket.sendall(copies(template, number, (at, NUMBER_BYTES, numbers)))
            sent += number
        confirms.feed(client.receive())
    client.close()


def delivery_frames(exchange: str, routing_key: str, size: int, delivery_mode: int = 2) -> tuple[bytes, int]:
    """The frames of one delivery to our consumer, and where its number stands; its tag stands at ``TAG_AT``."""
    deliver = method(
        60, 60, short(_CONSUMER) + struct.pack(">QB", 0, 0) + short(exchange) + short(routing_key)
    )
    return deliver + _content(size, delivery_mode), len(deliver) + 23 + 7


TAG_AT: Final = 11 + 1 + len(_CONSUMER)


def receive_numbered(
    client: Amqp,
    template: bytes,
    at: int,
    count: int,
    *,
    first: int = 0,
    ack_every: int = 200,
    times: list[float] | None = None,
) -> None:
    """Take ``count`` deliveries, numbered from ``first`` in order, and acknowledge them.

    ``times`` gets the time at which each was there.
    """
    stride = len(template)
    received = acknowledged = 0
    rest = client.take()
    while received < count:
        data = rest + client.receive()
        whole = len(data) // stride
        rest = data[whole * stride :]
        if not whole:
            continue
        numbers = range(first + received, first + received + whole)
        tags = range(received + 1, received + 1 + whole)
        expected = copies(template, whole, (TAG_AT, 8, tags), (at, NUMBER_BYTES, numbers))
        found = bytearray(data[: whole * stride])
        # Whether it was delivered before is the broker's word; it changes nothing of what has come.
        found[TAG_AT + 8 :: stride] = bytes(whole)
        if found != expected:
            raise LoadError(explain(found, expected, stride, at))
        received += whole
        if times is not None:
            times += [time.perf_counter()] * whole
        if received - acknowledged >= ack_every or received == count:
            client.acknowledge(received)
            acknowledged = received
    if received > count or rest:
        raise LoadError(f"more than the {count} messages that were sent have come")


def drain(
    port: int,
    queue: str,
    count: int,
    prefetch: int = 1000,
    *,
    size: int = 100,
    first: int = 0,
    ack_every: int = 200,
    mode: int = 2,
) -> None:
    """Consume and acknowledge all ``count`` messages of a queue; it must be empty then."""
    client = Amqp(port)
    client.consume(queue, prefetch)
    template, at = delivery_frames("", queue, size, mode)
    receive_numbered(client, template, at, count, first=first, ack_every=ack_every)
    # A passive declaration is answered after the acknowledgements before it.
    left = client.declare(queue, passive=True)
    if left:
        raise LoadError(f"{left} messages are left in the queue")
    client.close()
