"""``leveret demo``: nothing that was confirmed is lost, to a second node and to a RabbitMQ; it says so and exits 0."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import main
from tests.helpers.ports import free_port
from tests.helpers.rabbitmq import RabbitMQ

COLUMNS = ["sent", "confirmed", "arrived", "lost", "duplicates", "out of order"]


def totals(output: str) -> dict[str, int]:
    """The last row of the table at the end."""
    (row,) = [line for line in output.splitlines() if line.startswith("│ all")]
    return dict(
        zip(COLUMNS, (int(cell.strip().replace(",", "")) for cell in row.split("│")[2:-1]), strict=True)
    )


def test_it_loses_nothing_to_a_second_node(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--speed", "6", "--keep", str(tmp_path)])
    assert result.exit_code == 0, result.output
    counts = totals(result.output)
    assert counts["confirmed"] > 500
    assert counts["arrived"] >= counts["confirmed"]
    assert (counts["lost"], counts["out of order"]) == (0, 0)
    assert "SIGKILL: the edge node loses its power" in result.output


def test_it_loses_nothing_to_a_rabbitmq(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["demo", "--speed", "6", "--upstream", rabbitmq.uri(), "--keep", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert totals(result.output)["lost"] == 0


@pytest.mark.parametrize("uri", ["amqp://guest:secret@127.0.0.1:{port}", "http://127.0.0.1:{port}"])
def test_an_upstream_that_is_not_there_is_a_failure_without_its_password(uri: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["demo", "--speed", "10", "--upstream", uri.format(port=free_port()), "--keep", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "secret" not in result.output
    assert "Traceback" not in result.output
