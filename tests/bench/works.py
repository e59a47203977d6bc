"""The main table's works: what each broker is put through in a round."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import amqp, mqtt
from tests.bench import budgets as b
from tests.bench.contenders import (
    AMQTT,
    LEVERET,
    LEVERET_COMPILED,
    MOSQUITTO,
    RABBITMQ,
    Amqtt,
    BenchRabbitMQ,
    Leveret,
)
from tests.bench.numbered import LoadError
from tests.bench.samples import Results, Sample, measure
from tests.bench.usage import usage
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.process import ServerProcess

COUNTS: Final = {
    LEVERET: 200_000,
    LEVERET_COMPILED: 200_000,
    MOSQUITTO: 200_000,
    RABBITMQ: 50_000,
    AMQTT: 5_000,
}
"""Messages a load: each broker works for some seconds, and the quick form stays below ten minutes."""
SETTLE_S: Final = 1.0
"""From a broker's first answer to the look at its idle memory."""
_OFF: Final = "bench/off"
_SESSION: Final = "bench-off"


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured, after what goes before it; port and count are given to each."""

    work: str
    run: Callable[[int, int], object]
    before: Callable[[int, int], object] = lambda port, count: None
    brokers: tuple[str, ...] = ()
    """None named: all that speak the protocol."""


def _offline(window: int, publishers: int = 1) -> Callable[[int, int], None]:
    def run(port: int, count: int) -> None:
        for client in mqtt.publish_qos1(port, _OFF, count, window, publishers=publishers):
            client.close()

    return run


def _session(port: int, count: int) -> None:
    mqtt.offline_session(port, _SESSION, _OFF)


def _drain(publishers: int = 1) -> Callable[[int, int], None]:
    return lambda port, count: mqtt.drain(port, _SESSION, _OFF, count, publishers=publishers)


AMQP_LOADS: Final = (
    Load(b.AMQP_FILL, lambda port, count: amqp.fill(port, "bench", count)),
    Load(b.AMQP_DRAIN, lambda port, count: amqp.drain(port, "bench", count)),
)
_NOT_AMQTT: Final = (LEVERET, LEVERET_COMPILED, MOSQUITTO, RABBITMQ)
_SMALL_WINDOW: Final = (LEVERET, LEVERET_COMPILED, MOSQUITTO)
MQTT_LOADS: Final = (
    Load(b.QOS0_LIVE, lambda port, count: mqtt.live(port, "bench/live0", count, 0)),
    Load(b.QOS1_LIVE, lambda port, count: mqtt.live(port, "bench/live1", count, 1)),
    Load(b.OFFLINE, _offline(1000), _session, _NOT_AMQTT),
    Load(b.OFFLINE_DRAIN, _drain(), brokers=_NOT_AMQTT),
    Load(b.OFFLINE_20, _offline(20), _session, _SMALL_WINDOW),
    Load(f"{b.OFFLINE_20}, out", _drain(), brokers=_SMALL_WINDOW),
    Load(b.OFFLINE_20_BY_20, _offline(20, 20), _session, _SMALL_WINDOW),
    Load(f"{b.OFFLINE_20_BY_20}, out", _drain(20), brokers=_SMALL_WINDOW),
)


def ports(server: ServerProcess) -> tuple[int, int]:
    """AMQP and MQTT; 0 for what it does not speak."""
    if isinstance(server, Leveret):
        return server.ports.amqp, server.ports.mqtt
    if isinstance(server, BenchRabbitMQ):
        return server.amqp_port, server.mqtt_port
    assert isinstance(server, Mosquitto | Amqtt)
    return 0, server.mqtt_port


def attempt(results: Results, work: str, name: str, number: int, run: Callable[[], Sample]) -> bool:
    """Add the sample, or that it failed and why; a failed load spoils what follows it on this broker."""
    try:
        results.add(run())
    except (LoadError, OSError) as error:
        results.add(Sample(work, name, number, error=f"{error}"))
        return False
    return True


def run_loads(results: Results, name: str, number: int, server: ServerProcess, scale: float) -> None:
    """All loads of a round on a broker that has just been started."""
    count = max(2000, int(COUNTS[name] * scale) // 1000 * 1000)
    used = usage(server.pid)
    results.add(Sample(b.IDLE, name, number, rss_mb=used.resident_bytes / 1e6))
    amqp_port, mqtt_port = ports(server)
    loads = [(amqp_port, load) for load in AMQP_LOADS] + [(mqtt_port, load) for load in MQTT_LOADS]
    for port, load in loads:
        if not port or (load.brokers and name not in load.brokers):
            continue

        def once(port: int = port, load: Load = load) -> Sample:
            load.before(port, count)
            return measure(load.work, name, number, server, count, lambda: load.run(port, count))

        if not attempt(results, load.work, name, number, once):
            return


def directory_of(base: Path, name: str, number: int) -> Path:
    return base / f"{name}-{number}"
