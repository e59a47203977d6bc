"""What is said of a listener that cannot be opened: which, where, why, and what to do about this cause."""

import asyncio
import errno
import socket

import pytest

from edge.net.listening import listen_error


async def failure(host: str, port: int) -> OSError:
    """What asyncio raises."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the errno is what the test is about
        await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port)
    return caught.value


async def test_each_cause_has_its_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = listen_error("amqp", f"127.0.0.1:{port}", await failure("127.0.0.1", port))
    assert taken.text == (
        f"listeners.amqp: cannot listen on 127.0.0.1:{port}: Address already in use;"
        " another program listens there: stop it, or set another port"
    )
    # TEST-NET-3 of RFC 5737: nobody's address.
    elsewhere = listen_error("mqtt", "203.0.113.1:1883", await failure("203.0.113.1", 1883))
    assert elsewhere.text.startswith("listeners.mqtt: cannot listen on 203.0.113.1:1883: Cannot assign")
    unknown = listen_error("mqtt", "no.invalid:1883", await failure("no.invalid", 1883))
    for error in (elsewhere, unknown):
        assert "it must be an address of this machine" in error.text


def test_ports_that_need_a_privilege_are_explained() -> None:
    """Which root, who may run the tests, has."""
    error = listen_error("http", "0.0.0.0:80", OSError(errno.EACCES, "Permission denied"))
    assert "0.0.0.0:80: Permission denied; ports below 1024 are for root" in error.text
