"""How a cost grows with what there is more of: ``make bench BENCH_ARGS="--what fanout,sizes"``.

Each measurement yields lines of numbers; what they are of and whether they should stay flat is said in
docs/performance.md. Leveret alone, its plain build unless the compiled one is asked for; all messages are verified.
"""

import resource
import selectors
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.bench import amqp, mqtt
from tests.bench import budgets as b
from tests.bench.backlog import first_answer_s
from tests.bench.contenders import LEVERET, Leveret
from tests.bench.numbered import NUMBER_BYTES, LoadError, copies
from tests.bench.samples import Results, measure
from tests.bench.usage import usage
from tests.bench.works import run_loads
from tests.helpers.leveret import LeveretProcess

Line = dict[str, float | str]
Make = Callable[[str], Leveret]
"""Makes a started node in a directory of that name."""

SMALL: Final = ("prlimit", "--data=268435456", "taskset", "--cpu-list", "0")
"""One core, and 256 MB of memory that a process can write to."""


def _cpu(node: Leveret, count: int, load: Callable[..., object], *arguments: Any, **options: Any) -> Line:
    """Rate and CPU of a load of so many messages."""
    sample = measure("", LEVERET, 0, node, count, partial(load, *arguments, **options))
    assert sample.rate is not None
    assert sample.cpu_us is not None
    return {"msg/s": sample.rate, "us CPU a message": sample.cpu_us}


def latency(make: Make, full: bool) -> Iterator[Line]:
    """MQTT QoS 1 from publish to arrival at a subscriber, in ms, at parts of the top rate."""
    node = make("latency")
    count = 100_000
    top = _cpu(node, count, mqtt.live, node.ports.mqtt, "latency", count, 1)["msg/s"]
    assert isinstance(top, float)
    for part in (0.01, 0.5, 0.9):
        rate = top * part
        number = max(2_000, min(count, int(rate * 3)))
        spans = sorted(paced(node.ports.mqtt, f"latency/{part}", number, rate))
        at = {"p50 ms": 0.5, "p99 ms": 0.99, "p99.9 ms": 0.999}
        yield {
            "of the top rate": f"{part:.0%}",
            "msg/s": rate,
            **{name: spans[int(len(spans) * place)] * 1000 for name, place in at.items()},
        }
    node.stop()


def paced(port: int, topic: str, count: int, rate: float) -> list[float]:
    """Seconds that each message took, published at QoS 1 at a steady rate."""
    subscriber = mqtt.Mqtt(port, "paced-in")
    subscriber.subscribe(topic, 1)
    receiver = mqtt.Receiver(subscriber, topic, 1)
    receiver.times = []
    background = mqtt.Background(receiver, count)
    publisher = mqtt.Mqtt(port, "paced-out")
    acks = threading.Thread(target=publisher.exactly, args=(count * 4,), daemon=True)
    acks.start()
    template, id_at, at = mqtt.publish_packet(topic, 1, 100)
    sent_at: list[float] = []
    begin = time.perf_counter()
    while (sent := len(sent_at)) < count:
        now = time.perf_counter()
        number = min(int((now - begin) * rate) + 1, count) - sent
        if number <= 0:
            time.sleep(min(0.001, 1 / rate))
            continue
        columns = (
            (id_at, 2, mqtt.packet_ids(sent, number)),
            (at, NUMBER_BYTES, range(sent, sent + number)),
        )
        publisher.socket.sendall(copies(template, number, *columns))
        sent_at += [now] * number
    background.end()
    acks.join()
    publisher.close()
    subscriber.close()
    return [there - sent for there, sent in zip(receiver.times, sent_at, strict=True)]


def fanout(make: Make, full: bool) -> Iterator[Line]:
    """One publisher at QoS 0, more and more subscribers."""
    node = make("fanout")
    for subscribers in (1, 10, 100, 1000):
        count = max(200, 200_000 // subscribers)
        receivers = subscribed(node.ports.mqtt, subscribers)
        line = _cpu(node, count * subscribers, publish_to_all, node.ports.mqtt, receivers, count)
        yield {
            "subscribers": subscribers,
            "deliveries/s": line["msg/s"],
            "us CPU a delivery": line["us CPU a message"],
        }
        for receiver in receivers:
            receiver.client.close()
    node.stop()


def subscribed(port: int, subscribers: int) -> list[mqtt.Receiver]:
    """So many subscribers of one topic at QoS 0."""
    receivers: list[mqtt.Receiver] = []
    for i in range(subscribers):
        client = mqtt.Mqtt(port, f"fanout-{i}")
        client.subscribe("fanout", 0)
        receivers.append(mqtt.Receiver(client, "fanout", 0))
    return receivers


def publish_to_all(port: int, receivers: list[mqtt.Receiver], count: int) -> None:
    """Publish to that topic, and let every subscriber take all of it."""
    sender = threading.Thread(target=_publish_qos0, args=(port, count), daemon=True)
    sender.start()
    receive_each(receivers, count)
    sender.join()


def _publish_qos0(port: int, count: int) -> None:
    for client in mqtt.publish_qos0(port, "fanout", count):
        client.close()


def receive_each(receivers: list[mqtt.Receiver], count: int) -> None:
    """Let every receiver take ``count`` messages."""
    with selectors.DefaultSelector() as selector:
        for receiver in receivers:
            selector.register(receiver.client.socket, selectors.EVENT_READ, receiver)
        left = len(receivers)
        while left:
            ready = selector.select(mqtt.TIMEOUT_S)
            if not ready:
                raise LoadError(f"{left} of {len(receivers)} subscribers have not got everything")
            for key, _ in ready:
                key.data.receive()
                if key.data.received >= count:
                    selector.unregister(key.fileobj)
                    left -= 1


def fanin(make: Make, full: bool) -> Iterator[Line]:
    """More and more publishers at QoS 1 with window 20, into one offline session."""
    node = make("fanin")
    count = 200_000
    for publishers in (1, 10, 100, 1000):
        mqtt.offline_session(node.ports.mqtt, "fanin", "fanin")

        yield {
            "publishers": publishers,
            **_cpu(node, count, _publish_from, node.ports.mqtt, count, publishers),
        }
        mqtt.drain(node.ports.mqtt, "fanin", "fanin", count, publishers=publishers)
    node.stop()


def _publish_from(port: int, count: int, publishers: int) -> None:
    for client in mqtt.publish_qos1(port, "fanin", count, 20, publishers=publishers):
        client.close()


def topics(make: Make, full: bool) -> Iterator[Line]:
    """A topic exchange with more and more bindings; each message has another routing key and fits one of them."""
    node = make("topics")
    client = amqp.Amqp(node.ports.amqp)
    client.declare("topics")
    bound = 0
    for bindings in (100, 1_000, 10_000, 100_000):
        for i in range(bound, bindings):
            names = amqp.short("topics") + amqp.short("amq.topic") + amqp.short(f"devices.d{i:06}.*.report")
            client.socket.sendall(amqp.method(50, 20, b"\0\0" + names + b"\1" + b"\0\0\0\0"))
        client.declare("topics")
        bound = bindings
        for other in (False, True):
            keys = [f"devices.d{i * 7919 % bindings if other else 0:06}.s1.report" for i in range(20_000)]
            line = _cpu(node, len(keys), publish_keys, node.ports.amqp, keys)
            amqp_drained(node, "topics", len(keys))
            yield {"bindings": bindings, "keys": "another each" if other else "one", **line}
    client.close()
    node.stop()


def publish_keys(port: int, keys: list[str]) -> None:
    """Publish a numbered message to each routing key, and wait for the confirms."""
    client = amqp.Amqp(port)
    client.confirm_select()
    confirms = amqp.Confirms()
    frames = []
    for number, key in enumerate(keys):
        template, at = amqp.publish_frames("amq.topic", key, 100)
        frames.append(template[:at] + struct.pack(">Q", number) + template[at + NUMBER_BYTES :])
    for start in range(0, len(frames), amqp.CHUNK_MESSAGES):
        client.socket.sendall(b"".join(frames[start : start + amqp.CHUNK_MESSAGES]))
        while confirms.low < start - 2_000:
            confirms.feed(client.receive())
    while confirms.low < len(frames):
        confirms.feed(client.receive())
    client.close()


def amqp_drained(node: LeveretProcess, queue: str, count: int) -> None:
    """Empty a queue; its count says whether all were routed."""
    client = amqp.Amqp(node.ports.amqp)
    found = client.declare(queue, passive=True)
    client.call(50, 30, b"\0\0" + amqp.short(queue) + b"\0")
    client.close()
    if found != count:
        raise LoadError(f"{found} of {count} messages were routed to the queue")


def sizes(make: Make, full: bool) -> Iterator[Line]:
    """AMQP, persistent and confirmed, then drained, by size of the body."""
    node = make("sizes")
    for size in (16, 100, 1_000, 10_000, 100_000, 1_000_000):
        count = max(100, min(100_000, 100_000_000 // size))
        window = max(10, min(2_000, 16_000_000 // size))
        before = usage(node.pid).written_bytes
        fill = _cpu(node, count, amqp.fill, node.ports.amqp, "sizes", count, window, size=size)
        written = usage(node.pid).written_bytes - before
        drain = _cpu(node, count, amqp.drain, node.ports.amqp, "sizes", count, size=size)
        rate = fill["msg/s"]
        assert isinstance(rate, float)
        yield {
            "bytes": size,
            "fill msg/s": rate,
            "fill MB/s": rate * size / 1e6,
            "us CPU to fill": fill["us CPU a message"],
            "B on disk over the body": written / count - size,
            "drain msg/s": drain["msg/s"],
            "us CPU to drain": drain["us CPU a message"],
        }
    node.stop()


def backlog(make: Make, full: bool) -> Iterator[Line]:
    """A queue that gets longer: memory, the way back after SIGKILL, and the drain."""
    for count in (1_000, 10_000, 100_000, 1_000_000, *((5_000_000,) if full else ())):
        node = make(f"backlog-{count}")
        fill = _cpu(node, count, amqp.fill, node.ports.amqp, "backlog", count)
        resident = usage(node.pid).resident_bytes
        node.kill()
        begin = time.perf_counter()
        node.launch()
        back_s = first_answer_s(node.ports.amqp, "backlog", count, begin)
        drain = _cpu(node, count, amqp.drain, node.ports.amqp, "backlog", count)
        yield {
            "messages": count,
            "fill msg/s": fill["msg/s"],
            "MB": resident / 1e6,
            "s after SIGKILL": back_s,
            "drain msg/s": drain["msg/s"],
            "us CPU to drain": drain["us CPU a message"],
        }
        node.stop()


def connections(make: Make, full: bool) -> Iterator[Line]:
    """MQTT clients that are subscribed and idle, and a load beside them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    node = make("connections")
    clients: list[mqtt.Mqtt] = []
    for number in (1, 10, 100, 1_000, 10_000):
        if number + 100 > most:
            yield {"connections": number, "MB": f"not run: at most {most} open files here"}
            break
        begin, before = time.perf_counter(), len(clients)
        for i in range(before, number):
            clients.append(mqtt.Mqtt(node.ports.mqtt, f"idle-{i}", keep_alive_s=600))
            clients[-1].subscribe(f"idle/{i}", 1)
        opened = (number - before) / (time.perf_counter() - begin)
        resident = usage(node.pid).resident_bytes
        sleeps = usage(node.pid).sleeps
        time.sleep(2)
        wakes = (usage(node.pid).sleeps - sleeps) / 2
        load = _cpu(node, 100_000, mqtt.live, node.ports.mqtt, "beside", 100_000, 1)
        yield {"connections": number, "opened/s": opened, "MB": resident / 1e6, "idle wakes/s": wakes, **load}
    for client in clients:
        client.close()
    node.stop()


def small(make: Make, full: bool) -> Iterator[Line]:
    """Everything of the main table on one core and 256 MB, and what of them was used at most."""
    node = make("small")
    results = Results()
    run_loads(results, LEVERET, 0, node, 0.5)
    for failure in results.failures:
        raise LoadError(f"{failure.work}: {failure.error}")
    amqp.fill(node.ports.amqp, "small", 500_000)
    status = Path(f"/proc/{node.pid}/status").read_text()
    peak_mb = int(status.partition("\nVmHWM:")[2].split()[0]) / 1000
    amqp.drain(node.ports.amqp, "small", 500_000)
    for row in results.rows():
        if row["work"] != b.IDLE:
            yield {
                "work": row["work"],
                "msg/s": row["rate"],
                "us CPU a message": row["cpu_us"],
                "MB": row["rss_mb"],
            }
    yield {"work": "500,000 waiting, peak", "msg/s": "", "us CPU a message": "", "MB": peak_mb}
    node.stop()


def energy(make: Make, full: bool) -> Iterator[Line]:
    """CPU seconds a million messages, in and out again, and how often an idle node wakes."""
    node = make("energy")
    sleeps = usage(node.pid).sleeps
    time.sleep(5)
    wakes = (usage(node.pid).sleeps - sleeps) / 5
    yield {"what": "idle, wakes a second", "number": wakes}
    count = 200_000
    spans: list[float] = []
    for _ in range(3):
        before = usage(node.pid).cpu_s
        amqp.fill(node.ports.amqp, "energy", count)
        amqp.drain(node.ports.amqp, "energy", count)
        spans.append((usage(node.pid).cpu_s - before) / count * 1e6)
    yield {"what": "AMQP in and out, CPU s a million", "number": statistics.median(spans)}
    spans.clear()
    for _ in range(3):
        before = usage(node.pid).cpu_s
        mqtt.live(node.ports.mqtt, "energy", count, 1)
        spans.append((usage(node.pid).cpu_s - before) / count * 1e6)
    yield {"what": "MQTT QoS 1 live, CPU s a million", "number": statistics.median(spans)}
    node.stop()


MEASUREMENTS: Final[dict[str, Callable[[Make, bool], Iterator[Line]]]] = {
    "latency": latency,
    "fanout": fanout,
    "fanin": fanin,
    "topics": topics,
    "sizes": sizes,
    "backlog": backlog,
    "connections": connections,
    "energy": energy,
    "small": small,
}


def run(names: list[str], base: Path, *, compiled: bool, full: bool) -> dict[str, list[Line]]:
    """The lines of each measurement. Raises LoadError when a message was lost, doubled or reordered."""
    found: dict[str, list[Line]] = {}
    started: list[Leveret] = []

    for name in names:

        def make(directory: str, name: str = name) -> Leveret:
            prefix = SMALL if name == "small" else ()
            node = Leveret(base / directory, compiled=compiled, prefix=prefix)
            started.append(node)
            node.start()
            return node

        try:
            found[name] = list(MEASUREMENTS[name](make, full))
        finally:
            for node in started:
                node.stop()
            started.clear()
    return found
