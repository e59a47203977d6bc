"""The node that is tortured: `leveret run` as a child process, killed and started again on the same data."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from edge.core.errors import EdgeError
from edge.demo.nodes import free_ports
from edge.store.wear import written_bytes

START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.005


class ChildFailed(EdgeError):
    """The node did not start, or has ended by itself."""


class Child:
    """One node with data, configuration and log in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.amqp_port, self.mqtt_port = free_ports(2)
        #: Of all its lives together.
        self.bytes_written = 0
        self.recovery_ms: list[float] = []
        self._process: asyncio.subprocess.Process | None = None
        self._config = directory / "leveret.toml"
        self._config.write_text(
            f'[node]\nname = "torture"\ndata_dir = "{directory / "data"}"\n[listeners]\nhttp = ""\n'
            f'amqp = "127.0.0.1:{self.amqp_port}"\nmqtt = "127.0.0.1:{self.mqtt_port}"\n'
        )

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start and wait until it answers. Raises ChildFailed."""
        begin = time.monotonic()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEVERET_")}
        with (self.directory / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge", "run", "--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        while not await self._answers():
            if self._process.returncode is not None or time.monotonic() > begin + START_TIMEOUT_S:
                raise ChildFailed(f"the node does not start; the end of its log:\n{self._log_tail()}")
            await asyncio.sleep(POLL_S)
        self.recovery_ms.append((time.monotonic() - begin) * 1000)

    async def _answers(self) -> bool:
        """It listens for MQTT last, so then it is all there."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.mqtt_port)
        except OSError:
            return False
        writer.close()
        return True

    def _log_tail(self) -> str:
        return (self.directory / "node.log").read_text(errors="replace")[-2000:]

    async def kill(self) -> None:
        """SIGKILL. Raises ChildFailed if it had ended before that."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is not None:
            raise ChildFailed(
                f"the node ended by itself with status {process.returncode}; the end of its log:\n{self._log_tail()}"
            )
        self.bytes_written += written_bytes(process.pid)
        process.send_signal(number)
        await process.wait()
