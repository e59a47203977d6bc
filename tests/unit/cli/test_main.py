"""The program: unknown commands are wrong usage with a hint, and help lists what there is."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edge import __version__, wire
from edge.cli.main import COMMANDS, main

BUILD = "plain Python" if str(wire.__file__).endswith(".py") else "compiled"
VERSION = f"leveret, version {__version__} ({BUILD})\n"


def test_it_tells_its_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == VERSION


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stats", "Did you mean 'status'?"), ("zzz", f"Known commands: {', '.join(sorted(COMMANDS))}.")],
)
def test_an_unknown_command_is_wrong_usage_with_a_hint(name: str, hint: str) -> None:
    result = CliRunner().invoke(main, [name])
    assert result.exit_code == 2
    assert f"No such command '{name}'. {hint}" in result.output


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.output


def test_python_dash_m_edge_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--version"], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == VERSION


def test_output_that_finds_no_room_is_a_failure_without_a_traceback() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge", "store", "verify", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (1, "Error: cannot write the output: No space left on device\n")
