"""A server as a child process: started in a process group of its own, waited for, killed or stopped by its id."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Every server that runs, for the log excerpts in the report of a failed test.
RUNNING: dict[int, "ServerProcess"] = {}


class ServerProcess:
    """One server and its log file; it can be started again after ``kill`` or ``stop``, on the same data and ports.

    Subclasses say in ``ready`` when the server answers.
    """

    name = "server"
    start_timeout_s = 30.0
    stop_timeout_s = 10.0

    def __init__(
        self, directory: Path, arguments: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / f"{self.name}.log"
        self._arguments = list(arguments)
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where this run's lines begin in the log

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        """Whether the server answers; a subclass looks at its ports."""
        return True

    def start(self) -> None:
        """Start the server and return once it answers; AssertionError with the end of its log when it does not."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert not self.running, f"{self.name} is running already"
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self._arguments,
                env=self._env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        RUNNING[self._process.pid] = self

    def wait_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while not self.ready():
            if not self.running:
                status = self._reap()
                raise AssertionError(
                    f"{self.name} ended with status {status} at its start:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not answer in {self.start_timeout_s:g} s:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, as a power cut would; nothing is flushed."""
        if self._process is not None:
            self._signal_group(signal.SIGKILL)
            self._reap()

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL after ``stop_timeout_s``; returns the exit status, None when it was not running."""
        if self._process is None:
            return None
        self.send_signal(signal.SIGTERM)
        status = self.wait(self.stop_timeout_s)
        if status is None:
            self._signal_group(signal.SIGKILL)
        return self._reap()

    def wait(self, timeout_s: float) -> int | None:
        """The exit status once the process has ended, None while it runs on after the time."""
        assert self._process is not None, f"{self.name} was not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def restart(self) -> None:
        """Stop in order, then start on the same data and ports."""
        self.stop()
        self.start()

    def send_signal(self, number: int) -> None:
        """Send a signal to the server's process alone."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(number)

    def log_text(self) -> str:
        """What the server printed since it was last started."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def rss_bytes(self) -> int:
        """Resident memory of the server's process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.pid, number)

    def _reap(self) -> int:
        """Collect the process, and what is left of its group, and forget it."""
        assert self._process is not None
        process, self._process = self._process, None
        status = process.wait()
        RUNNING.pop(process.pid, None)
        with contextlib.suppress(ProcessLookupError):  # the usual case: no child outlived it
            os.killpg(process.pid, signal.SIGKILL)
        return status


def running_logs() -> Iterator[tuple[str, str]]:
    """Name and log tail of every running server, for the report of a failed test."""
    for server in RUNNING.values():
        yield f"{server.name} (pid {server.pid}, {server.log_path})", server.log_tail()
