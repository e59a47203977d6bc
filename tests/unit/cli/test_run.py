"""``leveret run``: exit statuses, signals, and what it prints."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pika
import pytest
from click.testing import CliRunner

from edge.cli import run as run_module
from edge.cli.main import main
from edge.cli.run import Run
from edge.config import load
from edge.core.errors import StartupError
from tests.helpers.leveret import LeveretProcess, Ports, write_config
from tests.helpers.ports import wait_until

Make = Callable[..., LeveretProcess]


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge", "run", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environ},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_it_prints_a_line_for_every_listener_and_the_data_directory(leveret: LeveretProcess) -> None:
    wait_until(lambda: "data in" in leveret.log_text())
    ports = leveret.ports
    # What the start-up check finds depends on the machine, and stands in log lines.
    lines = [line for line in leveret.log_text().splitlines() if " edge.node " not in line]
    assert lines[:4] == [
        f"amqp listens on 127.0.0.1:{ports.amqp}",
        f"mqtt listens on 127.0.0.1:{ports.mqtt}",
        f"http listens on 127.0.0.1:{ports.http}",
        f"data in {leveret.data_dir}",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(leveret: LeveretProcess, number: signal.Signals) -> None:
    leveret.send_signal(number)
    assert leveret.wait(5) == 0
    assert "stopped" in leveret.log_text()


def test_a_second_signal_stops_it_at_once(leveret: LeveretProcess) -> None:
    leveret.send_signal(signal.SIGSTOP)
    leveret.send_signal(signal.SIGTERM)
    leveret.send_signal(signal.SIGINT)
    leveret.send_signal(signal.SIGCONT)
    assert leveret.wait(5) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert "stopped" not in leveret.log_text()


def test_what_was_confirmed_survives_sigkill(leveret: LeveretProcess) -> None:
    with pika.BlockingConnection(pika.URLParameters(leveret.uri())) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"hello", pika.BasicProperties(delivery_mode=2))
    leveret.kill()
    leveret.start()
    with pika.BlockingConnection(pika.URLParameters(leveret.uri())) as connection:
        assert connection.channel().basic_get("q", auto_ack=True)[2] == b"hello"


def test_a_data_directory_in_use_is_named_with_the_process_that_uses_it(leveret: LeveretProcess) -> None:
    done = run("--config", str(leveret.config_path), cwd=leveret.directory)
    assert done.returncode == 1
    assert (
        f"data directory {leveret.data_dir} is in use by a running node, process id {leveret.pid}"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    ports = Ports()
    with socket.create_server(("127.0.0.1", ports.mqtt)):
        done = run("--config", str(write_config(tmp_path, "edge", ports)), cwd=tmp_path)
    assert done.returncode == 1
    assert f"127.0.0.1:{ports.mqtt}" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("leveret: listeners.mqtt: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[node]\nnmae = "x"\n', "[node]: nmae: unknown key; the closest known key is name"),
        (
            "[listeners]\namqp = 5672\n",
            "[listeners] amqp: must be text or a list of text, not 5672 (integer)",
        ),
        ('[[shovel]]\nname = "s"\nsrc-queue = "q"\n', "[[shovel]] s: dest-uri: missing"),
        (
            '[[federation-upstream]]\nname = "u"\nurl = "x"\n',
            "url: unknown key; the closest known key is uri",
        ),
        ('[definitions]\nfile = "nowhere.json"\n', "nowhere.json: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_in_the_configuration_is_wrong_usage(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "leveret.toml").write_text(text)
    done = run("--config", "leveret.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_the_configuration_may_be_named_by_the_environment(tmp_path: Path) -> None:
    done = run(cwd=tmp_path, LEVERET_CONFIG="nowhere.toml")
    assert (done.returncode, done.stderr) == (
        2,
        "leveret: nowhere.toml: cannot be read: No such file or directory\n",
    )


def test_sighup_takes_over_the_log_level_and_names_what_must_wait(leveret: LeveretProcess) -> None:
    leveret.configure('[log]\nlevel = "debug"\n[mqtt]\nanonymous_user = ""\n')
    leveret.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in leveret.log_text())
    assert "[mqtt] anonymous_user has changed; it takes effect at the next start" in leveret.log_text()


def test_sighup_with_a_mistake_in_the_file_changes_nothing(leveret: LeveretProcess) -> None:
    leveret.configure("[log]\nlevle = 1\n")
    leveret.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded: " in leveret.log_text())
    assert "levle: unknown key; the closest known key is level" in leveret.log_text()
    assert leveret.running


async def test_a_stop_during_the_start_takes_effect_after_it(tmp_path: Path) -> None:
    runner = Run(load(write_config(tmp_path, "edge", Ports()), {}))
    runner._stop.set()
    assert await runner.serve() == 0


async def test_a_failed_start_is_raised(tmp_path: Path) -> None:
    ports = Ports()
    with socket.create_server(("127.0.0.1", ports.amqp)):
        runner = Run(load(write_config(tmp_path, "edge", ports), {}))
        with pytest.raises(StartupError):
            await runner.serve()


async def test_a_node_that_has_failed_ends_with_status_1(tmp_path: Path) -> None:
    runner = Run(load(write_config(tmp_path, "edge", Ports()), {}))
    runner._node.failed.set()
    assert await runner.serve() == 1


async def test_a_node_that_does_not_stop_in_time_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(run_module, "_leave", left.append)
    monkeypatch.setattr(run_module, "STOP_TIMEOUT_S", 0)
    runner = Run(load(write_config(tmp_path, "edge", Ports()), {}))
    asyncio.get_running_loop().call_later(0.1, runner._on_stop_signal, signal.SIGTERM)
    assert await runner.serve() == 0
    assert left == [0]


def test_a_mistake_ends_with_status_2_before_anything_is_opened(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "--config", str(tmp_path / "nowhere.toml")])
    assert result.exit_code == 2
    assert "cannot be read" in result.output


async def test_a_reload_takes_over_what_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[str] = []
    monkeypatch.setattr("edge.log.set_level", levels.append)
    caplog.set_level("INFO", "edge.run")
    ports = Ports()
    runner = Run(load(write_config(tmp_path, "edge", ports), {}))
    write_config(tmp_path, "edge", ports, '[log]\nlevel = "debug"\n[[shovel]]\nname = "s"\n')
    runner._reload()
    assert levels == ["debug"]
    assert [record.getMessage() for record in caplog.records] == [
        "shovels have changed; they take effect at the next start",
        "reloaded",
    ]
    write_config(tmp_path, "edge", ports, "[log")
    runner._reload()
    assert caplog.records[-1].getMessage().startswith("not reloaded: ")
