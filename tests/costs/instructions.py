"""Counts the instructions that a message costs, C included, by callgrind: ``python -m tests.costs.instructions``.

Runs itself under valgrind with the loads of `tests.costs.count`, and prints JSON: instructions a message, by thread.
What the kernel does is not in them, nor are sockets, which the loads do without.
"""

import asyncio
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.broker import Broker
from tests.costs.count import MESSAGES, Feed, Meter, count

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = Path(__file__).with_name("callgrind.c")
_OUTPUT: Final = "callgrind.out"


class InstructionMeter(Meter):
    """Lets callgrind count while a load runs, and write what it counted under the load's name."""

    def __init__(self, library: Path) -> None:
        requests = ctypes.CDLL(str(library))
        self._begin: Callable[[], object] = requests.begin
        self._end: Callable[[bytes], object] = requests.end

    async def run(self, load: str, broker: Broker, feed: Feed, chunks: list[bytes]) -> dict[str, float]:
        # Its connection is the way to SQLite's thread.
        sqlite = broker.store._connections.writing
        self._begin()
        await sqlite._execute(self._begin)
        await super().run(load, broker, feed, chunks)
        await sqlite._execute(self._end, load.encode())
        self._end(load.encode())
        return {}


def counted(directory: Path) -> dict[str, dict[str, int]]:
    """Instructions a message by load and thread."""
    found: dict[str, dict[str, int]] = {}
    for path in directory.glob(f"{_OUTPUT}*"):
        text = path.read_text()
        label = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        thread = re.search(r"^thread: (\d+)$", text, re.MULTILINE)
        total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
        if label and thread and total:
            name = "event loop" if thread[1] == "1" else "SQLite"
            found.setdefault(label[1], {})[name] = round(int(total[1]) / MESSAGES)
    return found


def measure() -> dict[str, dict[str, int]]:
    """Run the loads under callgrind."""
    with tempfile.TemporaryDirectory(prefix="leveret-callgrind-") as name:
        directory = Path(name)
        library = directory / "callgrind.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        options = [
            "--instr-atstart=no",
            "--separate-threads=yes",
            f"--callgrind-out-file={directory / _OUTPUT}",
        ]
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                *options,
                sys.executable,
                "-m",
                "tests.costs.instructions",
                library,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PYTHONASYNCIODEBUG": ""},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"callgrind failed:\n{done.stderr}")
        return counted(directory)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(count(InstructionMeter(Path(sys.argv[1]))))
    else:
        sys.stdout.write(json.dumps(measure()) + "\n")
