"""The brokers that are measured, each with the settings that are fair to it.

Leveret has its defaults: WAL, synchronous=FULL, a confirm after the commit. RabbitMQ has its defaults too, but for two
schedulers that do not spin while idle (kinder to its CPU column) and no alarm for little free disk. Mosquitto keeps
its queues in RAM, as it does by default between two autosaves; its limits on them are lifted, or it would drop
messages, and it sends without delay (``set_tcp_nodelay``), as the others do. amqtt has its defaults with anonymous
clients. All listen on loopback, and one runs at a time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.ports import answers, free_port
from tests.helpers.process import ServerProcess
from tests.helpers.rabbitmq import RabbitMQ

ROOT: Final = Path(__file__).parents[2]
COMPILED: Final = ROOT / "build" / "compiled"
"""Where ``make compiled`` puts the compiled build."""

LEVERET: Final = "leveret"
LEVERET_COMPILED: Final = "leveret-compiled"
RABBITMQ: Final = "rabbitmq"
MOSQUITTO: Final = "mosquitto"
AMQTT: Final = "amqtt"
NAMES: Final = (LEVERET, LEVERET_COMPILED, MOSQUITTO, RABBITMQ, AMQTT)


class Leveret(LeveretProcess):
    """A node of the plain or of the compiled build."""

    def __init__(
        self, directory: Path, extra: str = "", *, compiled: bool = False, prefix: Sequence[str] = ()
    ):
        super().__init__(directory, extra)
        self._env["PYTHONPATH"] = str(COMPILED if compiled else ROOT)
        self.run_under(*prefix)

    def run_under(self, *prefix: str) -> None:
        """Start it by another program from the next start on."""
        self._arguments = [*prefix, *self._arguments]


class BenchRabbitMQ(RabbitMQ):
    """A RabbitMQ with the shovel and MQTT plugins."""

    def __init__(self, directory: Path) -> None:
        self.mqtt_port = free_port()
        config = f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.mqtt_port}\nmqtt.allow_anonymous = true\n"
        super().__init__(directory, ("rabbitmq_mqtt", "rabbitmq_shovel"), config)

    def stop(self) -> int | None:
        """Without its clean shutdown, which nothing here measures; its home and port mapper go too."""
        self.close()
        return None


class Amqtt(ServerProcess):
    """amqtt, a broker in Python."""

    name = "amqtt"

    def __init__(self, directory: Path) -> None:
        self.mqtt_port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "amqtt.yaml"
        config.write_text(
            "listeners:\n"
            "  default:\n"
            "    type: tcp\n"
            f"    bind: 127.0.0.1:{self.mqtt_port}\n"
            "plugins:\n"
            "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
            "    allow_anonymous: true\n"
        )
        program = Path(sys.executable).with_name("amqtt")
        super().__init__(directory, [str(program), "-c", str(config)])

    def ready(self) -> bool:
        return answers(self.mqtt_port)


def make(name: str, directory: Path) -> ServerProcess:
    """A broker of that name, not started."""
    if name == RABBITMQ:
        return BenchRabbitMQ(directory)
    if name == MOSQUITTO:
        return Mosquitto(directory, "set_tcp_nodelay true\n")
    if name == AMQTT:
        return Amqtt(directory)
    return Leveret(directory, compiled=name == LEVERET_COMPILED)
