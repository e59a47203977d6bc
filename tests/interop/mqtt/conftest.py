"""Drivers of the client libraries, each started once a run for each broker, and the two brokers."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.interop.harness import BUILT, ClientLibrary, Drivers
from tests.interop.mqtt.scenarios.registry import (
    DISCONNECTS,
    IDENTIFIERS,
    UNACKNOWLEDGED,
    UNACKNOWLEDGED_2,
    V5,
    WILL_PROPERTIES,
)
from tests.interop.mqtt.scene import Scene

HERE = Path(__file__).parent
VERSIONS = ("3.1.1", "5")


def python(module: str, version: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.interop.mqtt.python.{module}", version)


def library(
    version: str,
    command: tuple[str, ...],
    lacks: Mapping[str, str] | None = None,
    modules: Path | None = None,
) -> ClientLibrary:
    lacking = {} if version == "5" else {V5: "MQTT 3.1.1 has no such thing"}
    return ClientLibrary(command, lacks={**lacking, **(lacks or {})}, modules=modules)


NODE_MODULES = BUILT / "mqtt-node" / "node_modules"
NODE = ("node", str(HERE / "node" / "driver.js"))
BY_ITSELF = "acknowledges messages of QoS 2 by itself"
AIOMQTT = {
    DISCONNECTS: "disconnects without a reason code or properties",
    UNACKNOWLEDGED: "acknowledges messages of QoS 1 by itself",
    UNACKNOWLEDGED_2: BY_ITSELF,
}
GOLANG = {
    IDENTIFIERS: "shows one subscription identifier of a message",
    WILL_PROPERTIES: "writes none of a will's properties but the delay and the user's own",
}
CLIENTS = {
    **{
        f"paho-mqtt, {v}": library(v, python("paho_driver", v), {UNACKNOWLEDGED_2: BY_ITSELF})
        for v in VERSIONS
    },
    **{f"aiomqtt, {v}": library(v, python("aiomqtt_driver", v), AIOMQTT) for v in VERSIONS},
    **{f"gmqtt, {v}": library(v, python("gmqtt_driver", v)) for v in VERSIONS},
    "MQTT.js, 3.1.1": library("3.1.1", (*NODE, "3.1.1"), {UNACKNOWLEDGED_2: BY_ITSELF}, NODE_MODULES),
    "MQTT.js, 5": library("5", (*NODE, "5"), modules=NODE_MODULES),
    "paho.golang, 5": library("5", (str(BUILT / "mqtt-go" / "driver"),), GOLANG),
}


@pytest.fixture(scope="session")
def interop_leveret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeveretProcess]:
    """One node for all scenarios, as there is one Mosquitto."""
    node = LeveretProcess(tmp_path_factory.mktemp("interop") / "node")
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def interop_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One Mosquitto for all scenarios, which knows the user guest."""
    directory = tmp_path_factory.mktemp("interop-mosquitto")
    passwords = directory / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "guest", "guest"], check=True)
    # Without no delay it holds a small packet back for 40 ms, until TCP has acknowledged the one before.
    server = Mosquitto(directory, f"password_file {passwords}\nset_tcp_nodelay true\n")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers[Scene]]:
    drivers = Drivers(tmp_path_factory.mktemp("mqtt-drivers"), CLIENTS, Scene)
    yield drivers
    drivers.close()
