"""Runs the fuzzer over a target's corpus, and replays what it has kept with every allocation counted."""

import hashlib
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

INPUT_BYTES_MAX: Final = 4096
"""A few frames of any kind; longer ones only slow the search down."""
INPUT_TIMEOUT_S: Final = 10
"""An input that takes longer hangs: the slowest seen takes milliseconds, instrumented."""
RSS_MAX_MB: Final = 512
ALLOCATED_BYTES_MIN: Final = 128 * 1024
ALLOCATED_BYTES_A_BYTE: Final = 256
"""What a target may hold at once: machines and their tables, and the values that a byte of input can ask for.

The dearest byte is an entry of a table: a name of one character and no value, 3 bytes, takes a place in a dict.
"""

_DONE: Final = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+).*?corp: (\d+)", re.MULTILINE)


class Outcome(NamedTuple):
    """What a run of the fuzzer came to."""

    runs: int
    edges: int
    corpus: int


class FoundError(AssertionError):
    """The fuzzer has found an input that breaks a target; the message has its bytes."""


def plant(target: str, corpus: Path) -> None:
    """Add the seeds of a target to its corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (corpus / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed)


def fuzz(target: str, corpus: Path, *, runs: int = 0, seconds: int = 0, seed: int = 0) -> Outcome:
    """Fuzz a target for so many runs or seconds, and replay the corpus. Raises FoundError."""
    plant(target, corpus)
    found = corpus.with_suffix(".found")
    found.mkdir(exist_ok=True)
    limits = [f"-runs={runs}"] if runs else [f"-max_total_time={seconds}"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.child", target, *limits, f"-seed={seed}"),
            *(f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_TIMEOUT_S}", f"-rss_limit_mb={RSS_MAX_MB}"),
            *(f"-artifact_prefix={found}/", str(corpus)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    told = _DONE.findall(done.stderr)
    if done.returncode or not told:
        raise FoundError(
            f"{target}, exit status {done.returncode}; its bytes are in {found}\n{done.stderr[-4000:]}"
        )
    replay(target, corpus)
    return Outcome(*map(int, told[-1]))


def replay(target: str, corpus: Path) -> int:
    """Run all of a corpus with allocations counted; return the most bytes held. Raises FoundError over the bound."""
    most = 0
    tracemalloc.start()
    try:
        for path in sorted(corpus.iterdir()):
            data = path.read_bytes()
            base, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            TARGETS[target](data)
            _, peak = tracemalloc.get_traced_memory()
            most = max(most, peak - base)
            if peak - base > ALLOCATED_BYTES_MIN + ALLOCATED_BYTES_A_BYTE * len(data):
                raise FoundError(f"{target} holds {peak - base} bytes for the {len(data)} of {data!r}")
    finally:
        tracemalloc.stop()
    return most
