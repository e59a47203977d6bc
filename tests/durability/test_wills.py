"""Wills over a SIGKILL of the node: the connections ended with it, and nobody else can say so."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mqtt import constants as c
from mqtt.encode import encode_connect, encode_subscribe
from mqtt.packets import Connect, Subscribe, Subscription, Will
from tests.helpers.leveret import LeveretProcess


@pytest.fixture
def connected(leveret: LeveretProcess) -> Iterator[Callable[[Connect], socket.socket]]:
    """Makes clients that have their CONNACK."""
    with ExitStack() as stack:

        def make(connect: Connect) -> socket.socket:
            client = socket.create_connection(("127.0.0.1", leveret.ports.mqtt), timeout=10)
            stack.enter_context(client)
            client.sendall(encode_connect(connect))
            assert read(client, 4)[3] == 0
            return client

        yield make


def read(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        assert part, f"closed after {data!r}"
        data += part
    return data


def test_the_will_of_a_connected_client_is_published_after_a_kill(
    leveret: LeveretProcess, connected: Callable[[Connect], socket.socket]
) -> None:
    """MQTT-3.1.2-8 of 3.1.1: once the CONNACK is there the will is stored, whatever befalls the node."""
    listener = connected(Connect(c.V311, "listener", clean_start=False))
    listener.sendall(encode_subscribe(Subscribe(1, [Subscription("w", 1)]), c.V311))
    assert read(listener, 5) == b"\x90\x03\0\x01\x01"
    connected(Connect(c.V311, "device", will=Will("w", b"gone", 1)))
    leveret.kill()
    leveret.start()
    listener = connected(Connect(c.V311, "listener", clean_start=False))
    assert read(listener, 11)[2:] == b"\0\x01w\0\x01gone"
    listener.sendall(b"\x40\x02\0\x01\xe0\0")
    assert listener.recv(1) == b""
    # This CONNACK comes after the commit that holds the acknowledgement.
    connected(Connect(c.V311, "listener", clean_start=False))
    leveret.kill()
    leveret.start()
    listener = connected(Connect(c.V311, "listener", clean_start=False))
    listener.sendall(b"\xc0\0")
    assert read(listener, 2) == b"\xd0\0", "and only once"
