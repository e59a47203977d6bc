"""Drivers of the client libraries, each built once and started once a run for each broker."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.interop.amqp.scene import Scene
from tests.interop.harness import BUILT, ClientLibrary, Drivers

HERE = Path(__file__).parent

PYTHON_TYPES = frozenset({"bytes", "timestamp", "decimal"})
WIDE_TYPES = PYTHON_TYPES | {"int8", "int16", "int32", "int64", "float", "double"}

KOMBU = {"nack": "has no `basic.nack`", "internal": "declares no internal exchanges"}
NO_TX = "has no transactions"


def python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.interop.amqp.python.{module}")


CLIENTS = {
    "pika": ClientLibrary(python("pika_driver"), PYTHON_TYPES),
    "kombu": ClientLibrary(python("kombu_driver"), PYTHON_TYPES, lacks=KOMBU),
    "aio-pika": ClientLibrary(
        python("aio_pika_driver"),
        frozenset({"timestamp", "decimal", "float"}),
        lacks={
            "expiration_text": "takes an expiration as a number",
            "any_name": "takes no names but of `a-z A-Z 0-9 - _ . : @ # , / +` and blanks",
            "tx_after_confirms": "refuses by itself to begin a transaction on a confirming channel",
            "plain_return": "looks for the confirm of a message that comes back, and shows no other",
        },
    ),
    "amqp091-go": ClientLibrary((str(BUILT / "go" / "driver"),), WIDE_TYPES | {"uint8"}),
    "amqplib": ClientLibrary(
        ("node", str(HERE / "node" / "driver.js")),
        WIDE_TYPES | {"uint8", "uint16", "uint32"},
        lacks={"tx": NO_TX, "tx_after_confirms": NO_TX, "prefetch_size": "has no prefetch in bytes"},
        modules=BUILT / "node" / "node_modules",
    ),
    "java": ClientLibrary(("java", "-cp", f"{BUILT}/java/lib/*:{BUILT}/java/classes", "Driver"), WIDE_TYPES),
}


@pytest.fixture(scope="session")
def interop_leveret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeveretProcess]:
    """One node for all scenarios, as there is one RabbitMQ."""
    node = LeveretProcess(tmp_path_factory.mktemp("interop") / "node")
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers[Scene]]:
    drivers = Drivers(tmp_path_factory.mktemp("drivers"), CLIENTS, Scene)
    yield drivers
    drivers.close()
