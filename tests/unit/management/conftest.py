"""A broker on a real store, its HTTP API on a free port, and a client for it."""

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.management.server import ManagementServer
from edge.settings import Address
from edge.store.store import Store
from tests.helpers.ports import free_port


class Client:
    """``await client.get(path)`` returns status and decoded JSON (None for an empty body)."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str, user: str | None = "guest:guest", method: str = "GET") -> tuple[int, Any]:
        status, _, body = await self.fetch(path, user, method)
        return status, body

    async def put(self, path: str, value: object, user: str = "guest:guest") -> tuple[int, Any]:
        """Send JSON; return status and what comes back."""
        status, _, body = await self.fetch(path, user, "PUT", body=json.dumps(value).encode())
        return status, body

    async def fetch(
        self,
        path: str,
        user: str | None = "guest:guest",
        method: str = "GET",
        authorization: str | None = None,
        body: bytes | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """As ``get``, with the answer's headers; ``authorization`` is sent as it is, instead of the user."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, method=method)
        if authorization is None and user is not None:
            authorization = "Basic " + base64.b64encode(user.encode()).decode()
        if authorization is not None:
            request.add_header("Authorization", authorization)
        return await asyncio.to_thread(_fetch, request)


def _fetch(request: urllib.request.Request) -> tuple[int, dict[str, str], Any]:
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            body = response.read()
            return response.status, dict(response.headers), json.loads(body) if body else None
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
        return error.code, dict(error.headers), json.loads(body) if body else None


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    store = Store(tmp_path)
    await store.open()
    broker = Broker("edge-1", store, Clock(), Auth())
    await broker.recover()
    yield broker
    await broker.close()
    await store.close()


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[Client]:
    port = free_port()
    server = ManagementServer(broker, [Address("127.0.0.1", port)], [("amqp", Address("127.0.0.1", 5672))])
    await server.start()
    yield Client(port)
    await server.stop()
