"""Publishers of the torture that are held still see what they have sent through."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge.torture.amqp import AmqpPublisher
from edge.torture.ledger import Ledger
from edge.torture.mqtt import MqttPublisher
from tests.helpers.brokers import until
from tests.helpers.leveret import LeveretInProcess

Publisher = AmqpPublisher | MqttPublisher


class Forwarder:
    """A port that leads to the node, and whose answers can be withheld and whose connections cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.withholds = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers = []

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node_reader, node_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, node_writer]
        self.connections += 1
        for task in (
            asyncio.create_task(self._copy(reader, node_writer, is_answer=False)),
            asyncio.create_task(self._copy(node_reader, writer, is_answer=True)),
        ):
            self._tasks.add(task)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool
    ) -> None:
        while data := await reader.read(65_536):
            if not (is_answer and self.withholds):
                writer.write(data)


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
async def test_a_held_publisher_connects_again_and_has_the_rest_confirmed(
    edge_node: LeveretInProcess, rng: random.Random, protocol: str
) -> None:
    ledger = Ledger()
    link = Forwarder(edge_node.ports.amqp if protocol == "amqp" else edge_node.ports.mqtt)
    async with link.listening() as port:
        publisher: Publisher = (
            AmqpPublisher(ledger, "p", port, "amq.topic", "t", rng)
            if protocol == "amqp"
            else MqttPublisher(ledger, "p", port, "t", 1, rng)
        )
        running = asyncio.create_task(publisher.run())
        try:
            publisher.go_on()
            await until(lambda: ledger.confirmed["p"])
            link.withholds = True
            await until(lambda: ledger.sent["p"] > len(ledger.confirmed["p"]))
            publisher.hold()
            # The turn in which it publishes ends.
            await asyncio.sleep(0.02)
            sent = ledger.sent["p"]
            link.cut()
            link.withholds = False
            await until(lambda: len(ledger.confirmed["p"]) == sent)
            assert link.connections == 2
            assert ledger.sent["p"] == sent
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
