"""Counts what a message costs the event loop's thread, without sockets and clocks: ``python -m tests.costs.count``.

Prints JSON: bytecodes and function calls a message for each load, and what a waiting message takes in RAM. Chunks of a
fixed size are fed to the real protocols over a real broker and store, so the counts are the same on every machine, and
differ a little between versions of Python. In a process of its own, because the interpreter has one trace function,
and coverage wants it too.
"""

import asyncio
import gc
import json
import struct
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from edge.amqp091.server import AmqpServerProtocol
from edge.broker import Broker
from edge.core.queue import WINDOW_MESSAGES
from mqtt.server import MqttServerProtocol
from mqtt.service import MqttService
from tests.bench import amqp, mqtt
from tests.bench.numbered import copies
from tests.helpers import brokers

CHUNK: Final = 400
"""Messages a chunk: 52 kB of AMQP, what one read of a busy socket brings."""
CHUNKS: Final = 10
MESSAGES: Final = CHUNK * CHUNKS
SIZE: Final = 100
AMQP_ANY_SIZE: Final = "amqp fill, any size"
MQTT_ANY_SIZE: Final = "mqtt qos 1 offline, any size"
SUBSCRIBERS: Final = 50
FANOUT: Final = f"mqtt qos 0 to {SUBSCRIBERS}"
assert MESSAGES <= WINDOW_MESSAGES, "else pages are read by another thread, at times of its own"

Feed = Callable[[bytes], None]


class Transport(asyncio.Transport):
    """Takes what is written; its peer is on loopback."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += len(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever unsent."""

    def pause_reading(self) -> None:
        """What waits for a commit is fed after it."""

    def resume_reading(self) -> None:
        """Likewise."""

    def is_closing(self) -> bool:
        return False


class Meter:
    """Counts what a load costs a message."""

    async def run(self, load: str, broker: Broker, feed: Feed, chunks: list[bytes]) -> dict[str, float]:
        """Feed each chunk after the commit of the one before."""
        for chunk in chunks:
            feed(chunk)
            await committed(broker)
        return {}


class BytecodeMeter(Meter):
    """Counts the bytecodes and Python calls of this thread."""

    def __init__(self) -> None:
        self.bytecodes = 0
        self.calls = 0

    def _trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "opcode":
            self.bytecodes += 1
        elif event == "call":
            self.calls += 1
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self._trace

    async def run(self, load: str, broker: Broker, feed: Feed, chunks: list[bytes]) -> dict[str, float]:
        self.bytecodes = self.calls = 0
        for chunk in chunks:
            sys.settrace(self._trace)
            feed(chunk)
            await committed(broker)
            sys.settrace(None)
        return {"bytecodes": round(self.bytecodes / MESSAGES, 1), "calls": round(self.calls / MESSAGES, 2)}


async def committed(broker: Broker) -> None:
    """Wait until all so far is on disk, and what then is to be done has been."""
    done = asyncio.get_running_loop().create_future()
    broker.after_commit(lambda: done.set_result(None))
    await done
    await brokers.turn()


def numbered(template: bytes, at: int, id_at: int = 0) -> list[bytes]:
    """The chunks of a load."""
    chunks: list[bytes] = []
    for first in range(0, MESSAGES, CHUNK):
        ids = [(id_at, 2, mqtt.packet_ids(first, CHUNK))] if id_at else []
        chunks.append(bytes(copies(template, CHUNK, (at, 8, range(first, first + CHUNK)), *ids)))
    return chunks


def of_any_size(frames: Callable[[int, int], bytes]) -> list[bytes]:
    """The chunks of a load whose bodies have from ``SIZE`` to four times as much; ``frames`` makes each message."""
    chunk = b"".join([frames(number, SIZE + number * 7 % (3 * SIZE)) for number in range(1, CHUNK + 1)])
    return [chunk] * CHUNKS


async def amqp_connection(broker: Broker) -> AmqpServerProtocol:
    """A connection with channel 1 open."""
    protocol = AmqpServerProtocol(broker)
    protocol.connection_made(Transport())
    for data in amqp.handshake():
        protocol.data_received(data)
        await brokers.turn()
    return protocol


async def count_amqp(broker: Broker, meter: Meter) -> dict[str, dict[str, float]]:
    """Fill a durable queue with confirms, then drain it with acknowledgements."""
    publisher = await amqp_connection(broker)
    publisher.data_received(amqp.method(50, 10, b"\0\0" + amqp.short("costs") + b"\x02" + b"\0\0\0\0"))
    publisher.data_received(amqp.method(85, 10, b"\0"))
    await committed(broker)
    template, at = amqp.publish_frames("", "costs", SIZE)
    fill = await meter.run("amqp fill", broker, publisher.data_received, numbered(template, at))
    queue = broker.vhosts["/"].queues["costs"]
    assert queue.messages == MESSAGES
    consumer = await amqp_connection(broker)
    consumer.data_received(amqp.method(60, 10, struct.pack(">IHB", 0, CHUNK, 0)))
    names = amqp.short("costs") + amqp.short("bench")
    consume = amqp.method(60, 20, b"\0\0" + names + b"\0" + b"\0\0\0\0")
    # The first chunk of deliveries answers basic.consume, each other the acknowledgement of the one before.
    acks = [amqp.method(60, 80, struct.pack(">QB", tag, 1)) for tag in range(CHUNK, MESSAGES + 1, CHUNK)]
    drain = await meter.run("amqp drain", broker, consumer.data_received, [consume, *acks])
    assert queue.messages == 0
    consumer.connection_lost(None)
    chunks = of_any_size(lambda _, size: amqp.publish_frames("", "costs", size)[0])
    varied = await meter.run(AMQP_ANY_SIZE, broker, publisher.data_received, chunks)
    assert queue.messages == MESSAGES
    return {"amqp fill": fill, "amqp drain": drain, AMQP_ANY_SIZE: varied}


async def mqtt_connection(
    service: MqttService, client_id: str, topic: str = "", qos: int = 0, *, clean: bool = True
) -> MqttServerProtocol:
    """A client that has been let in, subscribed to ``topic`` if there is one."""
    protocol = MqttServerProtocol(service)
    protocol.connection_made(Transport())
    protocol.data_received(mqtt.connect_packet(client_id, clean=clean))
    await committed(service.broker)
    if topic:
        protocol.data_received(mqtt.subscribe_packet(topic, qos))
        await committed(service.broker)
    return protocol


async def count_mqtt(broker: Broker, meter: Meter) -> dict[str, dict[str, float]]:
    """Live at QoS 0 and 1, then at QoS 1 into a session whose client is away, then QoS 0 to many."""
    service = MqttService(broker)
    await service.recover()
    found: dict[str, dict[str, float]] = {}
    publisher = await mqtt_connection(service, "publisher")
    feed: Feed = publisher.data_received
    for qos in (0, 1):
        subscriber = await mqtt_connection(service, f"live-{qos}", f"live/{qos}", qos)
        template, id_at, at = mqtt.publish_packet(f"live/{qos}", qos, SIZE)
        chunks = numbered(template, at, id_at)
        if qos:
            # Each chunk is followed by the PUBACKs of what it has brought the subscriber.
            firsts = range(0, MESSAGES, CHUNK)
            acks = [copies(b"\x40\x02\0\0", CHUNK, (2, 2, mqtt.packet_ids(n, CHUNK))) for n in firsts]
            chunks = [each for pair in zip(chunks, map(bytes, acks), strict=True) for each in pair]
            feed = _alternate(publisher.data_received, subscriber.data_received)
        load = f"mqtt qos {qos} live"
        found[load] = await meter.run(load, broker, feed, chunks)
        transport = subscriber.transport
        assert isinstance(transport, Transport)
        assert transport.sent >= MESSAGES * len(template), "not everything was delivered"
    away = await mqtt_connection(service, "away", "away", 1, clean=False)
    away.connection_lost(None)
    for i in range(SUBSCRIBERS):
        await mqtt_connection(service, f"one-of-many-{i}", "many")
    for load, topic, qos in (("mqtt qos 1 offline", "away", 1), (FANOUT, "many", 0)):
        template, id_at, at = mqtt.publish_packet(topic, qos, SIZE)
        chunks = numbered(template, at, id_at)
        found[load] = await meter.run(load, broker, publisher.data_received, chunks)
    chunks = of_any_size(_publish)
    found[MQTT_ANY_SIZE] = await meter.run(MQTT_ANY_SIZE, broker, publisher.data_received, chunks)
    return found


def _publish(packet_id: int, size: int) -> bytes:
    packet, id_at, _ = mqtt.publish_packet("away", 1, size)
    return packet[:id_at] + packet_id.to_bytes(2, "big") + packet[id_at + 2 :]


def _alternate(first: Feed, second: Feed) -> Feed:
    feeds = [first, second]

    def feed(chunk: bytes) -> None:
        feeds[0](chunk)
        feeds.reverse()

    return feed


async def count_waiting(broker: Broker) -> dict[str, float]:
    """What a message that waits in a queue's window takes in RAM, and how many objects the collector sees of it."""
    publisher = await amqp_connection(broker)
    publisher.data_received(amqp.method(50, 10, b"\0\0" + amqp.short("waiting") + b"\x02" + b"\0\0\0\0"))
    await committed(broker)
    template, at = amqp.publish_frames("", "waiting", SIZE)
    chunks = numbered(template, at)
    gc.collect()
    tracked = len(gc.get_objects())
    tracemalloc.start()
    for chunk in chunks:
        publisher.data_received(chunk)
        await committed(broker)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    objects = len(gc.get_objects()) - tracked
    return {"bytes": round(size / MESSAGES), "objects": round(objects / MESSAGES, 2)}


async def count(meter: Meter) -> dict[str, dict[str, float]]:
    """All loads, on one broker with a store of its own."""
    with tempfile.TemporaryDirectory(prefix="leveret-costs-") as directory:
        broker = await brokers.start(Path(directory))
        try:
            return {**await count_amqp(broker, meter), **await count_mqtt(broker, meter)}
        finally:
            await brokers.stop(broker)


async def count_memory() -> dict[str, dict[str, float]]:
    """Likewise, of a message that waits."""
    with tempfile.TemporaryDirectory(prefix="leveret-costs-") as directory:
        broker = await brokers.start(Path(directory))
        try:
            return {"waiting": await count_waiting(broker)}
        finally:
            await brokers.stop(broker)


async def main() -> None:
    found = {**await count(BytecodeMeter()), **await count_memory()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
