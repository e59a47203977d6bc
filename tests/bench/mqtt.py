"""MQTT 3.1.1 loads from pre-encoded packets on raw sockets; each verifies every message."""

import selectors
import socket
import struct
import threading
import time
from functools import partial
from typing import Final

from tests.bench.numbered import NUMBER_BYTES, LoadError, body, copies, explain

CHUNK_MESSAGES: Final = 200
RECEIVE_BYTES: Final = 1 << 18
TIMEOUT_S: Final = 60.0
IDS: Final = 50_000
"""Packet identifiers run from 1 to this and begin again; far more than any window."""
SENDER_SHIFT: Final = 48
"""A body's number has its publisher above these bits."""
_WITHOUT_DUP: Final = bytes([first & 0xF7 for first in range(256)])


def _remaining(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(encoded)


def _packet(first: int, payload: bytes) -> bytes:
    return bytes((first,)) + _remaining(len(payload)) + payload


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def connect_packet(client_id: str, *, clean: bool = True, keep_alive_s: int = 0) -> bytes:
    """CONNECT of MQTT 3.1.1."""
    flags = b"\x02" if clean else b"\x00"
    return _packet(
        0x10, _string("MQTT") + b"\x04" + flags + struct.pack(">H", keep_alive_s) + _string(client_id)
    )


def subscribe_packet(topic: str, qos: int) -> bytes:
    """SUBSCRIBE with packet identifier 1."""
    return _packet(0x82, b"\0\x01" + _string(topic) + bytes((qos,)))


def publish_packet(topic: str, qos: int, size: int) -> tuple[bytes, int, int]:
    """A PUBLISH, where its packet identifier stands (0: it has none), and where its number does."""
    packet = _packet(0x30 | qos << 1, _string(topic) + (b"\0\0" if qos else b"") + body(size))
    at = len(packet) - size
    return packet, at - 2 if qos else 0, at


def packet_ids(first: int, count: int) -> list[int]:
    """Of the publishes from the ``first``, counted from 0."""
    return [number % IDS + 1 for number in range(first, first + count)]


class Mqtt:
    """The least client."""

    def __init__(self, port: int, client_id: str, *, clean: bool = True, keep_alive_s: int = 0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(connect_packet(client_id, clean=clean, keep_alive_s=keep_alive_s))
        if self.exactly(4)[3] != 0:
            raise LoadError("CONNACK refused")

    def receive(self) -> bytes:
        """The next bytes; raises LoadError at the end of the connection and after long silence."""
        try:
            chunk = self.socket.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise LoadError(f"the broker said nothing for {TIMEOUT_S:g} s") from error
        if not chunk:
            raise LoadError("the broker closed the connection")
        return chunk

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise LoadError("the broker closed the connection")
            data += chunk
        return data

    def subscribe(self, topic: str, qos: int) -> None:
        self.socket.sendall(subscribe_packet(topic, qos))
        if self.exactly(5)[4] != qos:
            raise LoadError("SUBACK refused")

    def ping(self) -> None:
        """Wait until the broker has read all that was sent before."""
        self.socket.sendall(b"\xc0\x00")
        self.exactly(2)

    def close(self) -> None:
        self.socket.sendall(b"\xe0\x00")
        self.socket.close()


class Publisher:
    """One client that sends numbered messages at QoS 1 with so many unacknowledged."""

    def __init__(self, port: int, topic: str, count: int, window: int, *, sender: int = 0, size: int = 100):
        self.client = Mqtt(port, f"bench-publisher-{sender}")
        self.count = count
        self.window = window
        self.acked = 0
        self._sent = 0
        self._base = sender << SENDER_SHIFT
        self._step = min(CHUNK_MESSAGES, max(1, window // 5))
        self._template, self._id_at, self._at = publish_packet(topic, 1, size)
        self._rest = b""

    def send(self) -> None:
        """Send what the window has room for."""
        while self._sent < self.count:
            room = min(self.window - (self._sent - self.acked), self.count - self._sent)
            if room < min(self._step, self.count - self._sent):
                return
            number = min(room, CHUNK_MESSAGES)
            start = self._base + self._sent
            columns = (
                (self._id_at, 2, packet_ids(self._sent, number)),
                (self._at, NUMBER_BYTES, range(start, start + number)),
            )
            self.client.socket.sendall(copies(self._template, number, *columns))
            self._sent += number

    def on_readable(self) -> None:
        """Count PUBACKs, which come in the order of the PUBLISHes [MQTT-4.6.0-2]."""
        data = self._rest + self.client.receive()
        whole = len(data) // 4
        self._rest = data[whole * 4 :]
        expected = copies(b"\x40\x02\0\0", whole, (2, 2, packet_ids(self.acked, whole)))
        if data[: whole * 4] != expected:
            raise LoadError(f"after {self.acked} PUBACKs something else has come than the next ones")
        self.acked += whole


def publish_qos1(
    port: int, topic: str, count: int, window: int = 1000, *, publishers: int = 1, size: int = 100
) -> list[Mqtt]:
    """Publish ``count`` messages in all, at most ``window`` of each publisher unacknowledged, until all are.

    Returns the publishers, still connected: amqtt drops what it has not passed on yet of one who leaves.
    """
    share = count // publishers
    senders = [Publisher(port, topic, share, window, sender=i, size=size) for i in range(publishers)]
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.client.socket, selectors.EVENT_READ, sender)
            sender.send()
        left = publishers
        while left:
            ready = selector.select(TIMEOUT_S)
            if not ready:
                raise LoadError(f"no PUBACK for {TIMEOUT_S:g} s")
            for key, _ in ready:
                sender = key.data
                sender.on_readable()
                sender.send()
                if sender.acked >= share:
                    selector.unregister(sender.client.socket)
                    left -= 1
    return [sender.client for sender in senders]


def publish_qos0(port: int, topic: str, count: int, size: int = 100) -> list[Mqtt]:
    """Publish, and wait until the broker has read it all; returns the publisher as ``publish_qos1`` does."""
    client = Mqtt(port, "bench-publisher")
    template, _, at = publish_packet(topic, 0, size)
    for start in range(0, count, CHUNK_MESSAGES):
        number = min(CHUNK_MESSAGES, count - start)
        client.socket.sendall(copies(template, number, (at, NUMBER_BYTES, range(start, start + number))))
    client.ping()
    return [client]


class Receiver:
    """Takes numbered messages from one subscriber, acknowledges and verifies them."""

    def __init__(self, client: Mqtt, topic: str, qos: int, *, size: int = 100, publishers: int = 1) -> None:
        self.client = client
        self.received = 0
        #: When each message was there, if asked for.
        self.times: list[float] | None = None
        self._template, self._id_at, self._at = publish_packet(topic, qos, size)
        self._next = [0] * publishers
        self._rest = b""

    def receive(self) -> None:
        """Take what has come."""
        data = self._rest + self.client.receive()
        stride = len(self._template)
        whole = len(data) // stride
        self._rest = data[whole * stride :]
        if not whole:
            return
        found = bytearray(data[: whole * stride])
        if self._id_at:
            self._acknowledge(found, whole, stride)
        if len(self._next) == 1:
            numbers = list(range(self.received, self.received + whole))
        else:
            numbers = self._numbers(found, whole, stride)
        expected = copies(self._template, whole, (self._at, NUMBER_BYTES, numbers))
        if found != expected:
            raise LoadError(explain(found, expected, stride, self._at))
        self.received += whole
        if self.times is not None:
            self.times += [time.perf_counter()] * whole

    def _acknowledge(self, found: bytearray, whole: int, stride: int) -> None:
        """Send PUBACKs, and blank out what the broker chooses: packet identifiers and DUP."""
        high, low = found[self._id_at :: stride], found[self._id_at + 1 :: stride]
        acks = bytearray(b"\x40\x02\0\0" * whole)
        acks[2::4], acks[3::4] = high, low
        self.client.socket.sendall(acks)
        found[self._id_at :: stride] = found[self._id_at + 1 :: stride] = bytes(whole)
        found[0::stride] = found[0::stride].translate(_WITHOUT_DUP)

    def _numbers(self, found: bytearray, whole: int, stride: int) -> list[int]:
        """What is due from each publisher, in the order in which the publishers come."""
        due = self._next
        numbers: list[int] = []
        high, low = found[self._at :: stride], found[self._at + 1 :: stride]
        for sender in [a << 8 | b for a, b in zip(high, low, strict=True)]:
            if sender >= len(due):
                raise LoadError(f"a message of publisher {sender}, which does not exist")
            numbers.append(sender << SENDER_SHIFT | due[sender])
            due[sender] += 1
        return numbers

    def receive_all(self, count: int) -> None:
        """Take exactly ``count`` messages."""
        while self.received < count:
            self.receive()
        if self.received > count or self._rest:
            raise LoadError(f"more than the {count} messages that were sent have come")
        if len(set(self._next)) > 1:
            raise LoadError(f"of the publishers came {self._next} messages")


class Background(threading.Thread):
    """Runs the receiving side; ``end`` raises what it raised."""

    def __init__(self, receiver: Receiver, count: int) -> None:
        super().__init__(daemon=True)
        self._receiver = receiver
        self._count = count
        self._error: LoadError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._receiver.receive_all(self._count)
        except LoadError as error:
            self._error = error

    def end(self) -> None:
        self.join(TIMEOUT_S)
        if self.is_alive():
            raise LoadError(f"of {self._count} messages only {self._receiver.received} arrived")
        if self._error is not None:
            raise self._error


def live(port: int, topic: str, count: int, qos: int, *, size: int = 100, window: int = 1000) -> None:
    """One publisher, one live subscriber."""
    subscriber = Mqtt(port, "bench-live")
    subscriber.subscribe(topic, qos)
    background = Background(Receiver(subscriber, topic, qos, size=size), count)
    send = partial(publish_qos1, window=window) if qos else publish_qos0
    publishers = send(port, topic, count, size=size)
    background.end()
    for publisher in publishers:
        publisher.close()
    subscriber.ping()
    subscriber.close()


def offline_session(port: int, client_id: str, topic: str) -> None:
    """Leave a persistent session behind that takes ``topic`` at QoS 1."""
    client = Mqtt(port, client_id, clean=False)
    client.subscribe(topic, 1)
    client.close()
    # The broker notes the end of a connection when it reads it.
    time.sleep(0.2)


def drain(port: int, client_id: str, topic: str, count: int, *, publishers: int = 1, size: int = 100) -> None:
    """Take over the session, receive what waits, and end the session."""
    client = Mqtt(port, client_id, clean=False)
    Receiver(client, topic, 1, size=size, publishers=publishers).receive_all(count)
    client.close()
    Mqtt(port, client_id, clean=True).close()
