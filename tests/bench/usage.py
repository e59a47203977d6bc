"""What a broker uses: CPU, memory and device of a process and all below it, as Linux counts them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the processes."""

    cpu_s: float
    """User and system time since their start."""
    resident_bytes: int
    written_bytes: int
    """``write_bytes`` of /proc/PID/io: pages made dirty on a file system that has a device."""
    sleeps: int
    """Voluntary context switches of all threads: how often one of them went to sleep, so how often one woke up."""


def descendants(root: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def usage(root: int) -> Usage:
    """What the process and its descendants have used so far; one that ends meanwhile does not count."""
    cpu_s, resident, written, sleeps = 0.0, 0, 0, 0
    for pid in descendants(root):
        process = Path(f"/proc/{pid}")
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            cpu_s += (int(stat[11]) + int(stat[12])) / _TICKS_S
            resident += int(stat[21]) * _PAGE_BYTES
            written += _number((process / "io").read_text(), "\nwrite_bytes: ")
            for thread in (process / "task").iterdir():
                sleeps += _number((thread / "status").read_text(), "\nvoluntary_ctxt_switches:")
        except OSError:
            continue
    return Usage(cpu_s, resident, written, sleeps)


def _number(text: str, label: str) -> int:
    return int(text.partition(label)[2].split()[0])
