"""What Leveret is held to, work by work, and whether a run reached it."""

from dataclasses import dataclass
from typing import Final

from tests.bench.contenders import LEVERET, LEVERET_COMPILED, MOSQUITTO, RABBITMQ
from tests.bench.samples import Results

AMQP_FILL: Final = "AMQP persistent, confirmed"
AMQP_DRAIN: Final = "AMQP drain, acknowledged"
QOS0_LIVE: Final = "MQTT QoS 0 live"
QOS1_LIVE: Final = "MQTT QoS 1 live"
OFFLINE: Final = "MQTT QoS 1 into an offline session"
OFFLINE_DRAIN: Final = "MQTT QoS 1 out of that session"
OFFLINE_20: Final = "MQTT QoS 1 offline, window 20"
OFFLINE_20_BY_20: Final = "MQTT QoS 1 offline, window 20, 20 publishers"
SHOVEL: Final = "shovel to RabbitMQ"
RAW: Final = "raw load into RabbitMQ"
LINK: Final = "link to a broker of the same kind"
IDLE: Final = "memory, idle"
WAITING: Final = "memory, 1,000,000 waiting"
RESTART: Final = "SIGKILL to first answer"

QUOTED: Final = {
    "Mosquitto 2.1 on SQLite": 7_500.0,
    "bare sketch": 153_118.0,
}
"""Messages a second of peers that are not run here, from another 2-core machine: Mosquitto 2.1.2 with its SQLite
plugin, sync=full and flush_period 0; and a sketch of an AMQP broker that can do nothing but be filled."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One line of the table."""

    work: str
    metric: str
    plain: float
    """A ratio to the peer's median, or without a peer the number itself."""
    peer: str = ""
    compiled: float | None = None
    """When the compiled build has a budget of its own."""
    peer_work: str = ""
    """When the peer's number is of another work."""

    @property
    def is_floor(self) -> bool:
        """Rates are to be at least so much, everything else at most."""
        return self.metric == "rate"

    def peer_value(self, results: Results) -> float | None:
        if self.peer in QUOTED:
            return QUOTED[self.peer]
        return results.median(self.peer_work or self.work, self.peer, self.metric)

    def limit(self, build: str) -> float:
        return self.compiled if self.compiled is not None and build == LEVERET_COMPILED else self.plain

    def measured(self, results: Results, build: str) -> float | None:
        """The ratio, or the number where there is no peer; None when either was not measured."""
        own = results.median(self.work, build, self.metric)
        if not self.peer or own is None:
            return own
        peer = self.peer_value(results)
        return own / peer if peer else None

    def reached(self, results: Results, build: str) -> bool | None:
        value = self.measured(results, build)
        if value is None:
            return None
        return value >= self.limit(build) if self.is_floor else value <= self.limit(build)


BUDGETS: Final = (
    Budget(OFFLINE, "rate", 1.5, MOSQUITTO),
    Budget(OFFLINE, "cpu_us", 1.0, MOSQUITTO),
    Budget(OFFLINE, "rate", 10, RABBITMQ),
    Budget(QOS1_LIVE, "rate", 1.5, MOSQUITTO),
    Budget(QOS0_LIVE, "rate", 0.7, MOSQUITTO, compiled=1.0),
    Budget(OFFLINE_20, "rate", 2, "Mosquitto 2.1 on SQLite"),
    Budget(OFFLINE_20_BY_20, "rate", 5, "Mosquitto 2.1 on SQLite"),
    Budget(AMQP_FILL, "rate", 6, RABBITMQ),
    Budget(AMQP_FILL, "rate", 0.5, "bare sketch"),
    Budget(AMQP_DRAIN, "rate", 6, RABBITMQ),
    Budget(SHOVEL, "rate", 1.5, RABBITMQ),
    Budget(SHOVEL, "rate", 0.95, RABBITMQ, peer_work=RAW),
    Budget(LINK, "rate", 2, MOSQUITTO),
    Budget(IDLE, "rss_mb", 45),
    Budget(WAITING, "rss_mb", 80),
    Budget(RESTART, "seconds", 1),
    Budget(AMQP_FILL, "disk_b", 350),
)
BUILDS: Final = (LEVERET, LEVERET_COMPILED)


def missed(results: Results) -> list[str]:
    """What was measured and not reached, in words; the plain build counts, and the compiled where it has a number."""
    found: list[str] = []
    for budget in BUDGETS:
        for build in BUILDS:
            if build == LEVERET_COMPILED and budget.compiled is None:
                continue
            if budget.reached(results, build) is False:
                value = budget.measured(results, build) or 0.0
                bound = "at least" if budget.is_floor else "at most"
                against = f" against {budget.peer}" if budget.peer else ""
                found.append(
                    f"{budget.work}, {budget.metric}{against}: {value:.2f} by {build},"
                    f" {bound} {budget.limit(build):g} wanted"
                )
    return found
