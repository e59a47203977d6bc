"""The HTTP listener starts, names a port that is taken, and stops."""

import socket

import pytest

from edge.broker import Broker
from edge.core.errors import StartupError
from edge.management.server import ManagementServer
from edge.settings import Address
from tests.helpers.ports import answers, free_port


async def test_a_port_that_is_taken_is_named(broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = (
            rf"listeners\.http: cannot listen on 127\.0\.0\.1:{port}: Address already in use; another program"
        )
        with pytest.raises(StartupError, match=expected):
            await ManagementServer(broker, [Address("127.0.0.1", port)], []).start()


async def test_it_tells_the_port_that_the_system_chose_and_is_gone_after_stop(broker: Broker) -> None:
    server = ManagementServer(broker, [Address("127.0.0.1", 0), Address("127.0.0.1", free_port())], [])
    first, second = await server.start()
    assert first.port != 0
    assert answers(first.port)
    assert answers(second.port)
    await server.stop()
    assert not answers(first.port)
