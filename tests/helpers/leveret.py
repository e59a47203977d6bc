"""A Leveret node for the tests: as a child process that can be killed, or inside the test's own event loop."""

import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config import load
from tests.helpers.ports import answers, free_port
from tests.helpers.process import ServerProcess

if TYPE_CHECKING:
    from edge.node import Node


class Ports:
    """The three ports of a node on loopback, and the URIs that lead to them."""

    def __init__(self) -> None:
        self.amqp = free_port()
        self.mqtt = free_port()
        self.http = free_port()

    def uri(self, vhost: str = "/", port: int | None = None) -> str:
        """AMQP URI; another port for one that goes through a proxy."""
        return f"amqp://guest:guest@127.0.0.1:{port or self.amqp}/{urllib.parse.quote(vhost, safe='')}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


def write_config(directory: Path, name: str, ports: Ports, extra: str = "") -> Path:
    """Write a node's leveret.toml; ``extra`` is appended: further sections, [[shovel]] tables and so on."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "leveret.toml"
    path.write_text(
        f'[node]\nname = "{name}"\ndata_dir = "data"\n\n'
        "[listeners]\n"
        f'amqp = "127.0.0.1:{ports.amqp}"\n'
        f'mqtt = "127.0.0.1:{ports.mqtt}"\n'
        f'http = "127.0.0.1:{ports.http}"\n\n'
        f"{extra}"
    )
    return path


class LeveretProcess(ServerProcess):
    """``leveret run`` as a child process. ``kill()`` is SIGKILL; ``start()`` after it finds the same data and ports.

    ``configure(extra)`` rewrites the rest of its configuration, for the next start.
    """

    name = "leveret"
    start_timeout_s = 20.0

    def __init__(
        self, directory: Path, extra: str = "", name: str = "edge", ports: Ports | None = None
    ) -> None:
        self.node_name = name
        self.ports = ports or Ports()
        self.config_path = write_config(directory, name, self.ports, extra)
        arguments = [sys.executable, "-m", "edge", "run", "--config", str(self.config_path)]
        # -m finds the checkout whatever the working directory is; asyncio's debug mode would slow the node.
        super().__init__(
            directory, arguments, {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONASYNCIODEBUG": ""}
        )

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    def configure(self, extra: str) -> None:
        write_config(self.directory, self.node_name, self.ports, extra)

    def ready(self) -> bool:
        return all(answers(port) for port in (self.ports.amqp, self.ports.mqtt, self.ports.http))

    def uri(self, vhost: str = "/", port: int | None = None) -> str:
        return self.ports.uri(vhost, port)


class LeveretInProcess:
    """A node in the test's event loop: ``node.broker`` can be looked at, time passes as the test lets it.

    ``async with LeveretInProcess(tmp_path) as edge: ... edge.node.broker ...``
    """

    def __init__(
        self, directory: Path, extra: str = "", name: str = "edge", ports: Ports | None = None
    ) -> None:
        self.ports = ports or Ports()
        self.directory = directory
        self.config = load(write_config(directory, name, self.ports, extra), environ={})
        self.node: Node

    async def start(self) -> None:
        # Imported here: a test of a real server's fixture should not need the whole node.
        from edge.node import Node

        self.node = Node(self.config)
        await self.node.start()

    async def stop(self) -> None:
        await self.node.stop()

    async def __aenter__(self) -> "LeveretInProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def uri(self, vhost: str = "/", port: int | None = None) -> str:
        return self.ports.uri(vhost, port)
