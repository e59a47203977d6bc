"""``leveret store torture`` runs on a device without a compiler and tells what it found."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import main
from edge.torture import run
from edge.torture.ledger import Ledger


def test_it_reports_acknowledged_and_lost_messages_bytes_and_recovery(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["store", "torture", "--seconds", "3", "--directory", str(tmp_path), "--format", "json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["kills"] > 0
    assert report["acked"] > 0
    assert (report["lost"], report["sessions_lost"], report["damaged"]) == (0, 0, 0)
    assert report["bytes_written"] > 0
    assert report["recovery_ms_max"] >= report["recovery_ms_median"] > 0
    assert list(tmp_path.iterdir()) == [], "the data of a good run is removed"


def test_it_says_what_a_sigkill_does_not_show(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["store", "torture", "--seconds", "1", "--directory", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for words in (
        "lost",
        "duplicated",
        "a message",
        "recovery",
        "SIGKILL leaves the page cache alone",
        "make torture",
    ):
        assert words in result.output


def test_a_loss_is_exit_status_1_and_leaves_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Ledger):
        """Holds a message confirmed that no node has ever seen."""

        def publisher(self, name: str) -> None:
            super().publisher(name)
            self.sent[name] = 1
            self.confirmed[name] = {1}

    monkeypatch.setattr(run, "Ledger", Forgetful)
    monkeypatch.setattr(run, "DRAIN_STILL_S", 0.5)
    result = CliRunner().invoke(main, ["store", "torture", "--seconds", "1", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    (kept,) = tmp_path.iterdir()
    assert f"data and log are kept in {kept.resolve()}" in result.output
    assert (kept / "node.log").exists()


def test_a_node_that_does_not_start_is_an_error_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.torture.child.sys.executable", "/bin/false")
    result = CliRunner().invoke(main, ["store", "torture", "--seconds", "1", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert "the node does not start" in result.output
