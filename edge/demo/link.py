"""A link that can be cut, throttled and restored: a TCP forwarder on loopback."""

import asyncio
import contextlib
from typing import Final

CHUNK_BYTES: Final = 4096
"""Read at once: small enough that a throttled link moves evenly."""
THROTTLED_BYTES_PER_S: Final = 48 * 1024
THROTTLED_LATENCY_S: Final = 0.15


class Link:
    """Forwards connections from its own port to ``target``; both directions share the state of the link."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: "up", "throttled" or "cut"
        self.state = "up"
        self.bytes_forwarded = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self.state = "cut"
        for writer in self._writers:
            writer.transport.abort()

    def throttle(self) -> None:
        """Let bytes through slowly and late."""
        self.state = "throttled"

    def restore(self) -> None:
        self.state = "up"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.state == "cut":
                writer.transport.abort()
                return
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            # A broken connection is what a link is for; what it costs is the nodes' business.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        pair = (writer, up_writer)
        self._writers.update(pair)
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        finally:
            for each in pair:
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self.state == "throttled":
                await asyncio.sleep(THROTTLED_LATENCY_S / 10 + len(chunk) / THROTTLED_BYTES_PER_S)
            writer.write(chunk)
            self.bytes_forwarded += len(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
