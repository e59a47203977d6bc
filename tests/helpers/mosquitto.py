"""A real Mosquitto from the system's packages: no passwords, nothing on disk, no limit on its queues."""

import os
import shutil
from pathlib import Path

from tests.helpers.ports import answers, free_port
from tests.helpers.process import ServerProcess


def program() -> str:
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "Mosquitto is not installed; run: make test-setup"
    return found


class Mosquitto(ServerProcess):
    """One Mosquitto on loopback; ``extra_config`` takes further lines of mosquitto.conf."""

    name = "mosquitto"

    def __init__(self, directory: Path, extra_config: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.mqtt_port = free_port()
        config = directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.mqtt_port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "persistence false\n"
            "log_dest stderr\n"
            # Its defaults drop what exceeds 1000 queued or 20 unacknowledged messages of a client.
            "max_queued_messages 0\n"
            "max_queued_bytes 0\n"
            "max_inflight_messages 0\n"
            f"{extra_config}"
        )
        # Started by root it would change to a user who may not read this directory.
        user = "user root\n" if os.getuid() == 0 else ""
        config.write_text(config.read_text() + user)
        super().__init__(directory, [program(), "-c", str(config)])

    def ready(self) -> bool:
        return answers(self.mqtt_port)

    def uri(self, port: int | None = None) -> str:
        return f"mqtt://127.0.0.1:{port or self.mqtt_port}"
