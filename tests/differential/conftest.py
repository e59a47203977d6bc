"""The two brokers of the differential test, and the line about it at the end of a run."""

from collections.abc import Iterator

import pytest

from tests.differential.duel import Duel
from tests.helpers.leveret import LeveretProcess
from tests.helpers.rabbitmq import RabbitMQ

_DUELS: list[Duel] = []


@pytest.fixture(scope="package")
def duel(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duel]:
    node = LeveretProcess(tmp_path_factory.mktemp("leveret"))
    node.start()
    duel = Duel(node.ports.amqp, rabbitmq.amqp_port)
    _DUELS.append(duel)
    yield duel
    duel.close()
    node.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for duel in _DUELS:
        terminalreporter.write_line(
            f"Leveret and RabbitMQ were compared by {duel.sequences} sequences of {duel.operations} operations;"
            f" {duel.looked_again} looked different until played with more patience"
        )
