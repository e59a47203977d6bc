"""The client of the simulated devices, over connections that break."""

import asyncio
import gc
from typing import Any

import aiomqtt
import pytest

from edge.demo.mqtt_client import MqttClient

CONNACK = b"\x20\x02\x00\x00"


async def test_a_connection_that_breaks_under_a_publish_is_the_publishers_error_and_no_other() -> None:
    """aiomqtt itself leaves a second one in a future, and asyncio logs that when nobody has read it."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

    async def accept_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(accept_and_hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = MqttClient("127.0.0.1", port, identifier="c", timeout=0.5)
    with pytest.raises(aiomqtt.MqttError):
        async with client:
            await client.publish("t", b"x", qos=1)
    server.close()
    await server.wait_closed()
    del client
    gc.collect()
    assert logged == []
