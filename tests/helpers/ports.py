"""Free TCP ports on loopback, and waiting for one to answer."""

import os
import random
import socket
import time
from collections.abc import Callable

# Below the kernel's range for outgoing connections (32768 and up on Linux): a port taken from that range could be
# given to a client's connection between our look and the server's bind.
PORT_FIRST, PORT_LAST = 20_000, 32_000

# Seeded by the process and not by the tests' seed, so that two test runs on one machine walk different ports.
_random = random.Random(os.getpid() ^ time.time_ns())
_given: set[int] = set()


def free_port() -> int:
    """A TCP port that nothing listens on; never the same one twice in a process."""
    for _ in range(1000):
        port = _random.randint(PORT_FIRST, PORT_LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no free port between {PORT_FIRST} and {PORT_LAST}")


def answers(port: int, timeout_s: float = 1.0) -> bool:
    """Whether something accepts a connection on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s):
            return True
    except OSError:
        return False


def wait_until(
    condition: Callable[[], object],
    timeout_s: float = 10.0,
    what: str = "the condition",
    poll_s: float = 0.02,
) -> None:
    """Return once ``condition()`` is true; AssertionError naming ``what`` when it is not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(poll_s)
