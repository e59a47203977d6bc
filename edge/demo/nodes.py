"""The demonstration's nodes: `leveret run` as a child process that can be killed."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

START_TIMEOUT_S: Final = 15.0


class DemoError(Exception):
    """The demonstration cannot go on; the text says why."""


class NodeProcess:
    """One node with data, configuration and log in a directory of its own."""

    def __init__(self, directory: Path, name: str, extra: str = "") -> None:
        self.directory = directory
        self.name = name
        self.amqp_port, self.mqtt_port, self.http_port = free_ports(3)
        self._process: asyncio.subprocess.Process | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "leveret.toml"
        self._config.write_text(
            f'[node]\nname = "{name}"\ndata_dir = "{directory / "data"}"\n'
            f'[listeners]\namqp = "127.0.0.1:{self.amqp_port}"\nmqtt = "127.0.0.1:{self.mqtt_port}"\n'
            f'http = "127.0.0.1:{self.http_port}"\n{extra}'
        )

    async def start(self) -> None:
        """Start and wait until it answers. Raises DemoError."""
        with (self.directory / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # -P: a folder "edge" where the user happens to be is not ours.
                *(sys.executable, "-P", "-m", "edge", "run", "--config", str(self._config)),
                env=_environment(),
                stdout=log,
                stderr=log,
            )
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while await self.get("/api/overview") is None:
            if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                tail = (self.directory / "node.log").read_text(errors="replace")[-2000:]
                raise DemoError(f"node {self.name} did not start; the end of its log:\n{tail}")
            await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL: what a power cut leaves of a process."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(number)
            await process.wait()

    async def get(self, path: str) -> Any:
        """A listing of the node's HTTP API; None while it does not answer."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        try:
            with urllib.request.urlopen(request, timeout=2) as response:  # noqa: S310
                return json.load(response)
        except (urllib.error.URLError, OSError, ValueError):
            return None


def _environment() -> dict[str, str]:
    """Without the user's own settings: both nodes would listen on the same ports, in the same directory."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LEVERET_")}


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on; another program could take one before it is used, which its start then says."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def resident_mb(process_id: int | None) -> float:
    """Resident memory of a process in MB; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{process_id}/statm").read_text().split()
    except OSError:
        return 0.0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
