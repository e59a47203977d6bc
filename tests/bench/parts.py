"""From a profiler's stacks to shares, by part of the node and by function.

A stack's frames are Python functions, ``Queue.append (edge/core/queue.py:75)``, and functions of C between and above
them, ``sqlite3_step (libsqlite3.so.0.8.6)``. What is compiled by mypyc has C frames that tell its name.
"""

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_PARTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "decode",
        (
            "edge/amqp091/inbound.py",
            "edge/amqp091/connection.py",
            "edge/amqp091/server_machine.py",
            "edge/amqp091/client_machine.py",
            "edge/core/properties.py",
            "edge/wire.py",
            "mqtt/codec.py",
            "mqtt/decode.py",
            "mqtt/fields.py",
            "mqtt/connection.py",
        ),
    ),
    (
        "encode",
        (
            "edge/amqp091/outbound.py",
            "edge/amqp091/client_channel.py",
            "edge/amqp091/spec/",
            "mqtt/encode.py",
            "Link.",
        ),
    ),
    (
        "route",
        (
            "edge/core/vhost.py",
            "edge/core/exchange.py",
            "edge/core/topic.py",
            "SessionQueue.",
            "mqtt/filters.py",
        ),
    ),
    ("page in", ("edge/store/reader.py", "edge/store/pages.py", "Queue._extend_window", "Queue.paged_in")),
    (
        "queue",
        ("edge/core/", "edge/broker.py", "edge/backpressure.py", "edge/deadlines.py", "mqtt/inflight.py"),
    ),
    ("store", ("edge/store/",)),
    ("hop to SQLite", ("aiosqlite/", "concurrent/")),
    ("socket", ("WireProtocol._flush",)),
    ("connection", ("edge/amqp091/", "mqtt/", "edge/auth/", "edge/net/", "edge/stats.py")),
    ("link", ("shovel/", "federation/", "edge/workers.py")),
    ("event loop", ("asyncio/", "uvloop/", "edge/clock.py")),
    ("import", ("<frozen importlib", "importlib/", "<module>", "dataclasses.py")),
)
"""A part and what its functions' files or names begin with; the first that fits, from the innermost frame out."""
_LIBRARIES: Final = {"libsqlite3": "SQLite", "libz": "store"}
_SOCKET_CALLS: Final = {"read", "write", "writev", "send", "recv", "sendmsg", "recvmsg"}
_WAITS: Final = ("pthread_cond_", "PyThread_acquire_lock", "sem_wait", "sem_clockwait", "epoll_", "fdatasync")
"""C functions below which a thread waits: for the interpreter's lock, for work, for a socket, for the disk."""
_COMPILED: Final = re.compile(r"CPyDef_(\w+) \(leveret__mypyc")
"""What mypyc calls a function: module, class and name, with three underscores between them."""
_WRAPPED: Final = re.compile(r"(.*?) \((.*?)(?::\d+)?\)$")


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of a stack."""

    name: str
    file: str
    """Of Python; of C the shared object, or the source where that is known."""

    @property
    def is_python(self) -> bool:
        """Whether it is a function of Python, compiled or not."""
        return self.file.endswith((".py", ">"))

    def __str__(self) -> str:
        return f"{self.name} ({self.file})"


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames from the outermost in, and how often they were seen so."""

    frames: tuple[Frame, ...]
    count: int

    @property
    def is_waiting(self) -> bool:
        """Whether the thread slept, so that no processor worked for it."""
        last = self.frames[-1]
        if last.name.startswith(_WAITS):
            return True
        # A wait inside of libc has no name, as Debian strips it; one that is called by libc itself is a wait.
        callers = [frame for frame in self.frames[-3:-1] if not frame.is_python]
        return last.name.startswith("0x") and any([frame.name.startswith(_WAITS) for frame in callers])

    @property
    def function(self) -> str:
        """The innermost function of Python; the outermost one of C where there is none."""
        return str(next((frame for frame in reversed(self.frames) if frame.is_python), self.frames[0]))

    @property
    def part(self) -> str:
        """Whose code, or C that it called, was running."""
        if self.frames[-1].name in _SOCKET_CALLS and not any(
            ["sqlite" in frame.file for frame in self.frames]
        ):
            return "socket"
        for frame in reversed(self.frames):
            if not frame.is_python:
                library = _LIBRARIES.get(frame.file.partition(".")[0])
                if library is None:
                    continue
                return library
            for part, beginnings in _PARTS:
                if frame.file.startswith(beginnings) or frame.name.startswith(beginnings):
                    return part
        return "other"


def _compiled_files() -> dict[str, str]:
    """Files of the modules that are compiled, by the last part of their name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules = table["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return {Path(module).stem: module for module in modules}


_COMPILED_FILES: Final = _compiled_files()


def _frame(text: str) -> Frame:
    if compiled := _COMPILED.match(text):
        *modules, name = re.split("___(?=_?[^_])", compiled[1])
        while modules:
            module = modules.pop(0)
            if module in _COMPILED_FILES:
                return Frame(".".join([*modules, name]), _COMPILED_FILES[module])
    parts = _WRAPPED.match(text)
    return Frame(parts[1], parts[2]) if parts else Frame(text, "")


def parse(folded: str) -> list[Stack]:
    """The stacks of py-spy's raw format, in which a thread comes first; those that wait are left out."""
    stacks = []
    for line in folded.splitlines():
        text, _, count = line.rpartition(" ")
        frames = text.split(";")[1:]
        if frames:
            stacks.append(Stack(tuple([_frame(frame) for frame in frames]), int(count)))
    return [stack for stack in stacks if not stack.is_waiting]


def shares(counts: Counter[str]) -> dict[str, float]:
    """Each as a part of the whole, the largest first."""
    whole = sum(counts.values())
    return {name: count / whole for name, count in counts.most_common()}


def by_part(stacks: list[Stack]) -> dict[str, float]:
    """Shares of the parts of the node."""
    counts: Counter[str] = Counter()
    for stack in stacks:
        counts[stack.part] += stack.count
    return shares(counts)


def by_function(stacks: list[Stack]) -> dict[str, float]:
    """Shares of the functions of Python, C that they call included."""
    counts: Counter[str] = Counter()
    for stack in stacks:
        counts[stack.function] += stack.count
    return shares(counts)
