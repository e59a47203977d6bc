"""The story: reports flow, the link is cut, the edge node is killed, the link comes back thin, then whole."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from edge.amqp091.client import AmqpClient
from edge.demo.fleet import AmqpDrone, Drone, MqttDrone
from edge.demo.ledger import Ledger
from edge.demo.link import Link
from edge.demo.nodes import NodeProcess

MQTT_DRONES: Final = 8
AMQP_DRONES: Final = 4
REPORTS_PER_S: Final = 25.0
DRAIN_TIMEOUT_S: Final = 60.0
QUEUE: Final = "fleet-reports"

Act = tuple[float, str, str]
"""Second of the story, what happens, what the view says."""

STORY: Final[tuple[Act, ...]] = (
    (0.0, "restore", "the link is up, reports flow through"),
    (8.0, "cut", "the link is cut, the edge node buffers"),
    (16.0, "kill", "SIGKILL: the edge node loses its power"),
    (18.0, "start", "the edge node is back, the link is still down"),
    (26.0, "throttle", "the link is back, thin: 48 KB/s and slow to answer"),
    (38.0, "restore", "the link is whole again"),
    (42.0, "land", "the drones land, what is left drains"),
)

logger = logging.getLogger("edge.demo")

SHOVEL: Final = """
[log]
level = "warning"
[[shovel]]
name = "base"
src-uri = "amqp://"
src-exchange = "amq.topic"
src-exchange-key = "fleet.#"
dest-uri = "{uri}"
dest-queue = "{queue}"
reconnect-delay = 1
"""


class Scenario:
    """Owns the nodes, the link, the fleet and the ledger of one run."""

    def __init__(self, directory: Path, upstream_uri: str | None, speed: float) -> None:
        self.directory = directory
        self.upstream_uri = upstream_uri
        self.speed = speed
        self.ledger = Ledger()
        self.caption = "starting"
        self.edge_is_up = False
        self.edge_status: dict[str, Any] = {}
        self.link: Link | None = None
        self.edge: NodeProcess | None = None
        self.upstream: NodeProcess | None = None
        self._drones: list[Drone] = []
        self._arrival = asyncio.Event()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Play the story to its end. Raises DemoError when a node does not start."""
        try:
            await self._play(on_change)
        finally:
            for node in (self.edge, self.upstream):
                if node is not None:
                    await node.stop()
            if self.link is not None:
                await self.link.stop()

    async def _play(self, on_change: Callable[[], None]) -> None:
        edge = await self._build()
        receiver = await self._receive()
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch(edge), name="watch edge")
            drones = [group.create_task(drone.run(), name=drone.device.name) for drone in self._drones]
            begin = asyncio.get_running_loop().time()
            for second, act, caption in STORY:
                await asyncio.sleep(max(0.0, begin + second / self.speed - asyncio.get_running_loop().time()))
                self.caption = caption
                on_change()
                await self._act(act, edge)
            await asyncio.wait(drones)
            await self._drain()
            self.caption = "done"
            on_change()
            watcher.cancel()
        await receiver.close()

    async def _build(self) -> NodeProcess:
        if self.upstream_uri is None:
            self.upstream = NodeProcess(self.directory / "upstream", "base", '[log]\nlevel = "warning"\n')
            await self.upstream.start()
            self.upstream_uri = f"amqp://guest:guest@127.0.0.1:{self.upstream.amqp_port}"
        host, port, through = split_uri(self.upstream_uri)
        self.link = Link(host, port)
        await self.link.start()
        shovel = SHOVEL.format(uri=through(self.link.port), queue=QUEUE)
        edge = self.edge = NodeProcess(self.directory / "edge", "drone-edge", shovel)
        await edge.start()
        self.edge_is_up = True
        for i in range(MQTT_DRONES):
            self._drones.append(MqttDrone(self.ledger.device(f"mqtt-{i}"), edge.mqtt_port, REPORTS_PER_S))
        for i in range(AMQP_DRONES):
            self._drones.append(AmqpDrone(self.ledger.device(f"amqp-{i}"), edge.amqp_port, REPORTS_PER_S))
        return edge

    async def _act(self, act: str, edge: NodeProcess) -> None:
        assert self.link is not None
        if act == "cut":
            self.link.cut()
        elif act == "throttle":
            self.link.throttle()
        elif act == "restore":
            self.link.restore()
        elif act == "kill":
            self.edge_is_up = False
            await edge.kill()
        elif act == "start":
            await edge.start()
            self.edge_is_up = True
        elif act == "land":
            for drone in self._drones:
                drone.stopping = True

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_TIMEOUT_S
        while not self.ledger.complete and loop.time() < deadline:
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), deadline - loop.time())
            except TimeoutError:
                break
        # Duplicates of the last breaks may still be on their way.
        await asyncio.sleep(0.5)

    async def _receive(self) -> AmqpClient:
        """Consume what arrives upstream, past the link."""
        assert self.upstream_uri is not None
        client = await AmqpClient.connect(self.upstream_uri, connection_name="demo base")
        channel = await client.channel()
        await channel.declare_queue(QUEUE, durable=True)

        def on_deliveries(deliveries: Any) -> None:
            for message in deliveries.messages:
                content = json.loads(message.body)
                self.ledger.device(content["device"]).arrive(content["number"])
            self._arrival.set()
            channel.ack(deliveries.last_tag, multiple=True)

        await channel.consume(QUEUE, on_deliveries)
        return client

    async def _watch(self, edge: NodeProcess) -> None:
        while True:
            rows = await edge.get("/api/shovels") if self.edge_is_up else None
            self.edge_status = rows[0] if rows else {}
            await asyncio.sleep(0.25)


def split_uri(uri: str) -> tuple[str, int, Callable[[int], str]]:
    """Host and port of an AMQP URI, and the URI that leads there through a port of this machine."""
    parts = urlsplit(uri)
    host, port = parts.hostname or "127.0.0.1", parts.port or 5672
    userinfo, at, _ = parts.netloc.rpartition("@")

    def through(local_port: int) -> str:
        return parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{local_port}").geturl()

    return host, port, through
