"""aiomqtt's client, as the simulated devices use it."""

import asyncio
from typing import Self

import aiomqtt


class MqttClient(aiomqtt.Client):
    """Says nothing of its own when its connection breaks: whoever publishes or iterates next meets the error.

    aiomqtt (2.5) leaves it unread in a future when nobody does, and asyncio logs that as an error of the program.
    """

    async def __aenter__(self) -> Self:
        # Before and after: a connection that is gone as soon as it is there leaves one future and waits on another.
        self._disconnected.add_done_callback(_read)
        await super().__aenter__()
        self._disconnected.add_done_callback(_read)
        return self


def _read(disconnected: asyncio.Future[None]) -> None:
    if not disconnected.cancelled():
        disconnected.exception()
