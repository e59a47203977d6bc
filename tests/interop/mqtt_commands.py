"""Running ``leveret publish`` and ``subscribe``, mosquitto_pub and mosquitto_sub alike."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from edge.cli.main import main

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
LEVERET = (sys.executable, "-m", "edge")
PUBLISH = {"leveret": (*LEVERET, "publish"), "mosquitto": ("mosquitto_pub",)}
SUBSCRIBE = {"leveret": (*LEVERET, "subscribe"), "mosquitto": ("mosquitto_sub",)}
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"}


def run(command: tuple[str, ...], port: int, *arguments: str, stdin: bytes = b"") -> Any:
    """Run to its end, at a broker on loopback."""
    return execute(*command, "-h", "127.0.0.1", "-p", str(port), *arguments, stdin=stdin)


def execute(*words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run to its end; ours in this process, where it starts at once and its coverage counts, but for standard input."""
    if words[: len(LEVERET)] != LEVERET or stdin:
        return subprocess.run(words, input=stdin, env=ENV, capture_output=True, timeout=WAIT_S)
    result = CliRunner().invoke(main, words[len(LEVERET) :], env={"TZ": "UTC"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout_bytes, result.stderr_bytes)


def keep(port: int, client_id: str, *arguments: str) -> None:
    """A session that stays, so that nobody has to wait for a subscriber to be there."""
    done = run(SUBSCRIBE["leveret"], port, "-c", "-i", client_id, "-q", "2", "-E", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")


def waiting(subscriber: str, port: int, client_id: str, count: int, *arguments: str) -> bytes:
    """What one of the two programs prints of a session."""
    done = run(SUBSCRIBE[subscriber], port, "-c", "-i", client_id, "-q", "2", "-C", str(count), *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return bytes(done.stdout)


def published(port: int, *arguments: str, by: str = "leveret", stdin: bytes = b"") -> None:
    done = run(PUBLISH[by], port, *arguments, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
