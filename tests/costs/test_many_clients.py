"""Ten thousand MQTT clients on one node, and a thousand that all come back at once."""

import json
import resource
import selectors
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.bench.mqtt import Mqtt, connect_packet, publish_packet, subscribe_packet
from tests.bench.usage import usage
from tests.helpers.leveret import LeveretProcess

IDLE_CLIENTS = 10_000
IDLE_MAX_BYTES = 250_000_000
BATCH = 200
"""Connections that are opened before their answers are read; half of the node's backlog of connections."""
FILES = 11_000
FILES_AT_START = 1_024
"""What a shell or a unit of systemd gives as the soft limit; a node raises its own."""
RETURNING = 1_000
WAITING = 10
"""Messages at QoS 1 in each session of those that return."""
RETURN_MAX_S = 5.0
"""Twenty times what it takes on two cores."""
COMMITS_MAX = RETURNING
"""All settle what they got: by far fewer commits than clients, because those of a moment share one."""


@pytest.fixture
def node(make_leveret: Callable[..., LeveretProcess]) -> Iterator[LeveretProcess]:
    """A node that was started with the usual limit of open files, in a test that may open many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= FILES, (
        f"this test opens {FILES} sockets and may open {hard}; raise the hard limit (ulimit -Hn)"
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_AT_START, hard))
    node: LeveretProcess = make_leveret()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield node
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk, f"the node closed the connection after {data!r}"
        data += chunk
    return data


def connect_all(port: int, count: int) -> list[socket.socket]:
    """Clients with a subscription each; CONNECT and SUBSCRIBE in one segment."""
    made = []
    for first in range(0, count, BATCH):
        batch = range(first, min(count, first + BATCH))
        socks = [socket.create_connection(("127.0.0.1", port), timeout=30.0) for _ in batch]
        for number, sock in zip(batch, socks, strict=True):
            sock.sendall(
                connect_packet(f"idle-{number}", keep_alive_s=600) + subscribe_packet(f"to/{number}", 0)
            )
        for sock in socks:
            assert exactly(sock, 9) == b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"
        made += socks
    return made


def test_ten_thousand_idle_clients_take_less_than_250_megabytes(node: LeveretProcess) -> None:
    clients = connect_all(node.ports.mqtt, IDLE_CLIENTS)
    assert usage(node.pid).resident_bytes < IDLE_MAX_BYTES
    # They are all there: the last and the first are served.
    for number in (0, IDLE_CLIENTS - 1):
        clients[0].sendall(publish_packet(f"to/{number}", 0, 100)[0])
        assert exactly(clients[number], 1) == b"\x30"
    for sock in clients:
        sock.close()


def commits(node: LeveretProcess) -> int:
    request = urllib.request.Request(
        f"{node.ports.http_url}/api/overview", headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
    )
    with urllib.request.urlopen(request, timeout=30.0) as response:
        return int(json.load(response)["store"]["commits"])


def test_a_thousand_sessions_that_return_at_once_are_all_served(node: LeveretProcess) -> None:
    port = node.ports.mqtt
    for number in range(RETURNING):
        client = Mqtt(port, f"back-{number}", clean=False)
        client.subscribe("news", 1)
        client.close()
    publisher = Mqtt(port, "publisher")
    for number in range(1, WAITING + 1):
        packet, id_at, _ = publish_packet("news", 1, 100)
        publisher.socket.sendall(packet[:id_at] + number.to_bytes(2, "big") + packet[id_at + 2 :])
        assert publisher.exactly(4)[0] == 0x40
    publisher.close()
    packet_bytes = len(packet)
    before = commits(node)
    begin = time.monotonic()
    socks = [socket.create_connection(("127.0.0.1", port), timeout=30.0) for _ in range(RETURNING)]
    selector = selectors.DefaultSelector()
    got = {}
    for number, sock in enumerate(socks):
        sock.sendall(connect_packet(f"back-{number}", clean=False, keep_alive_s=600))
        selector.register(sock, selectors.EVENT_READ, sock)
        got[sock] = bytearray()
    while selector.get_map():
        ready = selector.select(timeout=30.0)
        assert ready, "the node is silent"
        for key, _ in ready:
            sock = key.data
            chunk = sock.recv(65536)
            assert chunk, "the node closed a connection"
            data = got[sock]
            data += chunk
            if len(data) == 4 + WAITING * packet_bytes:
                assert data[:4] == b"\x20\x02\x01\x00"
                runs = [data[at : at + packet_bytes] for at in range(4, len(data), packet_bytes)]
                sock.sendall(b"".join([b"\x40\x02" + bytes(run[id_at : id_at + 2]) for run in runs]))
                selector.unregister(sock)
    took_s = time.monotonic() - begin
    for sock in socks:
        sock.sendall(b"\xc0\x00")
        assert exactly(sock, 2) == b"\xd0\x00"
        sock.close()
    assert took_s < RETURN_MAX_S
    assert commits(node) - before < COMMITS_MAX
