"""The broker and the HTTP listener of the management tests, and commands run against them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from click.testing import CliRunner, Result

from edge.cli.main import main
from tests.unit.management.conftest import Client, broker, client

__all__ = ["broker", "client"]

Leveret = Callable[..., Awaitable[Result]]


@pytest.fixture
def leveret_command(client: Client) -> Leveret:
    """``await leveret_command("status", "--format", "json")`` against the node of ``broker``."""
    environ = {"LEVERET_URL": f"http://127.0.0.1:{client.port}"}

    async def run(*arguments: str, **more: str) -> Result:
        # In a thread: the command waits for the node, which lives in this test's event loop.
        return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env={**environ, **more})

    return run
