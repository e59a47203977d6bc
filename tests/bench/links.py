"""How fast a backlog goes upstream: shovels and bridges, each to a broker that keeps what it is sent.

A link is timed at its far end, from the first messages that are there to the last: its start and its connection do
not count. Every message that has arrived is read and verified afterwards.
"""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import amqp, mqtt
from tests.bench import budgets as b
from tests.bench.contenders import LEVERET_COMPILED, MOSQUITTO, RABBITMQ, BenchRabbitMQ, Leveret
from tests.bench.numbered import LoadError
from tests.bench.samples import Results, Sample, measure
from tests.bench.usage import usage
from tests.bench.works import attempt
from tests.helpers.mosquitto import Mosquitto

PREFETCH: Final = 1000
"""RabbitMQ's default for a shovel; Leveret's own is a window that adapts to the link."""
TO_RABBITMQ: Final = 250_000
"""Ten seconds and more of each shovel: RabbitMQ's gets slower with the backlog, which one of 100,000 does not show."""
TO_OWN_KIND: Final = 200_000
TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.02
_TOPIC: Final = "bench/bridge"


def arrival(port: int, queue: str, count: int, pid: int, sample: Callable[..., Sample]) -> Sample:
    """Watch a queue until ``count`` messages are in it; ``pid`` is who sends them."""
    client = amqp.Amqp(port)
    client.declare(queue)
    deadline = time.monotonic() + TIMEOUT_S
    first = found = 0
    begin, before = time.perf_counter(), usage(pid)
    while found < count:
        found = client.declare(queue, passive=True)
        if found and not first:
            first, begin, before = found, time.perf_counter(), usage(pid)
            if first > count // 2:
                raise LoadError(f"{first} of {count} messages were there at the first look: too few to time")
        if time.monotonic() > deadline:
            raise LoadError(f"{found} of {count} messages arrived in {TIMEOUT_S:g} s")
        time.sleep(_POLL_S)
    seconds, after = time.perf_counter() - begin, usage(pid)
    client.close()
    if found > count:
        raise LoadError(f"{found} messages arrived, {count} were sent")
    carried = count - first
    return sample(
        messages=count,
        rate=carried / seconds,
        cpu_us=(after.cpu_s - before.cpu_s) / carried * 1e6,
        rss_mb=after.resident_bytes / 1e6,
        disk_b=(after.written_bytes - before.written_bytes) / carried,
        seconds=seconds,
    )


def named(work: str, broker: str, number: int) -> Callable[..., Sample]:
    return lambda **values: Sample(work, broker, number, **values)


def shovel_table(dest_port: int, queue: str, dest_queue: str) -> str:
    """A [[shovel]] of a Leveret."""
    return (
        f'[[shovel]]\nname = "bench"\nsrc-uri = "amqp://"\nsrc-queue = "{queue}"\n'
        f'dest-uri = "amqp://guest:guest@127.0.0.1:{dest_port}"\ndest-queue = "{dest_queue}"\n'
    )


def from_leveret(
    results: Results, work: str, build: str, number: int, directory: Path, port: int, count: int
) -> None:
    """Fill a node, give it a shovel to the broker on ``port``, and time that."""
    queue, dest_queue = "bench-out", f"bench-in-{build}-{number}"
    node = Leveret(directory, compiled=build == LEVERET_COMPILED)
    node.start()
    try:

        def run() -> Sample:
            amqp.fill(node.ports.amqp, queue, count)
            node.stop()
            node.configure(shovel_table(port, queue, dest_queue))
            node.start()
            sample = arrival(port, dest_queue, count, node.pid, named(work, build, number))
            amqp.drain(port, dest_queue, count)
            return sample

        attempt(results, work, build, number, run)
    finally:
        node.stop()


def to_rabbitmq(
    results: Results, rabbitmq: BenchRabbitMQ, builds: list[str], number: int, base: Path, scale: float
) -> None:
    """A raw load, RabbitMQ's own shovel, and each build's, into the same RabbitMQ.

    The raw load is mandatory as a shovel's messages are, which RabbitMQ takes a tenth slower than others.
    """
    count = max(2000, int(TO_RABBITMQ * scale) // 1000 * 1000)
    port = rabbitmq.amqp_port

    def raw() -> Sample:
        load = lambda: amqp.fill(port, "bench-own", count, PREFETCH, mandatory=True)  # noqa: E731
        return measure(b.RAW, RABBITMQ, number, rabbitmq, count, load)

    def own() -> Sample:
        uri = f"amqp://guest:guest@127.0.0.1:{port}"
        definition = {
            "src-protocol": "amqp091",
            "src-uri": uri,
            "src-queue": "bench-own",
            "src-prefetch-count": PREFETCH,
            "dest-protocol": "amqp091",
            "dest-uri": uri,
            "dest-queue": "bench-in",
            "ack-mode": "on-confirm",
        }
        rabbitmq.ctl("set_parameter", "shovel", "bench", json.dumps(definition))
        sample = arrival(port, "bench-in", count, rabbitmq.pid, named(b.SHOVEL, RABBITMQ, number))
        amqp.drain(port, "bench-in", count)
        rabbitmq.ctl("clear_parameter", "shovel", "bench")
        return sample

    _ = attempt(results, b.RAW, RABBITMQ, number, raw) and attempt(results, b.SHOVEL, RABBITMQ, number, own)
    for build in builds:
        from_leveret(results, b.SHOVEL, build, number, base / f"shovel-{build}-{number}", port, count)


def to_leveret(results: Results, build: str, number: int, base: Path, scale: float) -> None:
    """From node to node."""
    count = max(2000, int(TO_OWN_KIND * scale) // 1000 * 1000)
    upstream = Leveret(base / f"upstream-{build}-{number}", compiled=build == LEVERET_COMPILED)
    upstream.start()
    try:
        directory = base / f"link-{build}-{number}"
        from_leveret(results, b.LINK, build, number, directory, upstream.ports.amqp, count)
    finally:
        upstream.stop()


def bridge(results: Results, number: int, base: Path, scale: float) -> None:
    """Mosquitto's bridge at QoS 1, filled while the far end is down; a subscriber there counts what arrives."""
    count = max(2000, int(TO_OWN_KIND * scale) // 1000 * 1000)
    far = Mosquitto(base / f"bridge-far-{number}", "set_tcp_nodelay true\n")
    near = Mosquitto(
        base / f"bridge-near-{number}",
        "set_tcp_nodelay true\n"
        f"connection bench\naddress 127.0.0.1:{far.mqtt_port}\ntopic {_TOPIC} out 1\n"
        "cleansession false\nrestart_timeout 1\nbridge_max_packet_size 0\n",
    )
    near.start()

    def run() -> Sample:
        for client in mqtt.publish_qos1(near.mqtt_port, _TOPIC, count):
            client.close()
        # The bridge must not connect before somebody listens at the far end.
        near.send_signal(signal.SIGSTOP)
        far.start()
        receiver = mqtt.Receiver(mqtt.Mqtt(far.mqtt_port, "bench-far"), _TOPIC, 1)
        receiver.client.subscribe(_TOPIC, 1)
        before = usage(near.pid)
        near.send_signal(signal.SIGCONT)
        receiver.receive()
        first, begin = receiver.received, time.perf_counter()
        receiver.receive_all(count)
        seconds, after = time.perf_counter() - begin, usage(near.pid)
        receiver.client.close()
        return Sample(
            b.LINK,
            MOSQUITTO,
            number,
            count,
            rate=(count - first) / seconds,
            cpu_us=(after.cpu_s - before.cpu_s) / count * 1e6,
            rss_mb=after.resident_bytes / 1e6,
            disk_b=(after.written_bytes - before.written_bytes) / count,
            seconds=seconds,
        )

    try:
        attempt(results, b.LINK, MOSQUITTO, number, run)
    finally:
        near.send_signal(signal.SIGCONT)
        near.kill()
        far.stop()
