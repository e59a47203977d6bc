"""A client library in a process of its own, driven by lines of JSON, so that each scenario is written once for all.

A request is ``{"op": ..., ...}``; a driver answers each in turn by ``{"answer": ...}``, or by ``{"error": {"scope",
"code", "text"}}`` when the broker refused it. In between it says by ``{"event": ..., ...}`` what has come by itself.
Which operations and events there are is told by ``amqp.client`` and ``mqtt.client``.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Json = Any
ANSWER_WAIT_S = 15.0


class Refused(Exception):
    """The broker has refused what was asked, by closing ``scope`` or by an answer of its own."""

    def __init__(self, scope: str, code: int, text: str) -> None:
        super().__init__(f"{scope} {code} {text}")
        self.scope = scope
        self.code = code
        self.text = text


class Driver:
    """The process; ``call`` asks it for one operation, ``event`` waits for what comes by itself.

    ``came_at`` is when the last event that ``event`` has told came, by ``time.monotonic()``."""

    def __init__(self, command: Sequence[str], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._log = log
        self._answers: queue.Queue[Json] = queue.Queue()
        self._events: list[tuple[float, Json]] = []
        self.came_at = 0.0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"lines of {command[-1]}")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            if "event" in line:
                with self._changed:
                    self._events.append((time.monotonic(), line))
                    self._changed.notify_all()
            else:
                self._answers.put(line)
        self._answers.put(None)

    def call(self, op: str, **fields: Json) -> Json:
        """The answer; Refused when the broker did not want it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._answers.get(timeout=ANSWER_WAIT_S)
        assert line is not None, f"the driver has ended at {op}:\n{self._log.read_text()[-4000:]}"
        if "error" in line:
            raise Refused(**line["error"])
        return line["answer"]

    def event(self, kind: str, wait_s: float = 10.0, **match: Json) -> Json:
        """The next event of this kind with these fields, taken out; None when none comes within the time."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                for index, (came_at, event) in enumerate(self._events):
                    if event["event"] == kind and all(event[name] == match[name] for name in match):
                        self.came_at = came_at
                        return self._events.pop(index)[1]
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    return None

    def reset(self) -> None:
        """Close all that is open, and forget its events."""
        self.call("reset")
        with self._changed:
            self._events.clear()

    def kill(self) -> None:
        """SIGKILL: the connection ends without a word."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
