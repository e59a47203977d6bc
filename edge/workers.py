"""Workers: what shovels and federation links have in common.

A worker makes one attempt after the other, for ever, with backoff between them; a supervisor runs each in a task of
its own, so that one bad link touches no other, and looks at all of them once a second. State comes from progress, not
from whether a socket is open: a link that is up and gets nothing across is ``stalled``, and later made anew.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Hashable
from typing import Any, ClassVar, Final

from tenacity import RetryCallState

from edge.broker import Broker
from edge.core.errors import ConfigError, EdgeError
from edge.log import redact
from edge.retry import link_retry

logger = logging.getLogger("edge.workers")

STARTING: Final = "starting"
RUNNING: Final = "running"
TERMINATED: Final = "terminated"
"""RabbitMQ's three states of a shovel; clients of its API know no other."""

TICK_S: Final = 1.0
STALLED_S: Final = 15.0
"""Without any progress while something is unconfirmed, a link counts as stalled."""
GIVE_UP_S: Final = 60.0
"""And is closed and made anew. Heartbeats notice a dead peer before; this is for one that lives and does nothing."""
RATE_WEIGHT: Final = 0.2
"""Of the last second in the shown rate: half of it is of the last three seconds."""
CLOSE_S: Final = 1.0
"""What a polite end of a connection may last: a node has 5 s to stop, whatever its links lead to."""
RECONNECT_DELAY_S: Final = 1.0
"""Base of the backoff when ``reconnect-delay`` is not given; RabbitMQ waits 5 s each time, without growth or jitter."""


class LinkError(EdgeError):
    """The link does not work now; it is tried again."""


class Worker:
    """One link: its state, its counts, and the attempts to keep it up."""

    kind: ClassVar[str] = "link"

    def __init__(
        self, broker: Broker, vhost: str, name: str, reconnect_delay_s: float = RECONNECT_DELAY_S
    ) -> None:
        self.broker = broker
        self.vhost = vhost
        self.name = name
        #: 0: one failure is final (RabbitMQ, "reconnect-delay").
        self.reconnect_delay_s = reconnect_delay_s
        # State, for the status
        self.state = STARTING
        self.changed_at_ms = self.broker.clock.unix_ms()
        self.last_error = ""
        self.reconnects = 0
        #: Whether this attempt has come closer to its end, so that the next one need not wait long.
        self.starts_anew = False
        # Counts
        self.forwarded = 0
        self.rate = 0.0
        self._counted = 0
        self._progress_mark: Hashable = None
        self._progress_at_s = time.monotonic()
        self._failed: asyncio.Future[None] | None = None

    # -- for subclasses --------------------------------------------------------------------------------------------

    async def attempt(self) -> None:
        """Bring the link up, set the state to running, and await ``self.broken()``.

        Raises what went wrong; ConfigError is final. Must leave nothing behind, however it ends.
        """
        raise NotImplementedError

    def progress_mark(self) -> Hashable:
        """Something that changes whenever the link gets anything across; None while there is nothing to do."""
        return None

    def backlog(self) -> int:
        """Messages that wait for the link, in flight included."""
        return 0

    def finer_state(self) -> str:
        """What a running link does right now, unless it is stalled: "running", "flow", "blocked", ..."""
        return RUNNING

    def details(self) -> dict[str, Any]:
        """A row of the HTTP API."""
        raise NotImplementedError

    # -- attempts --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the link up until cancelled; returns only after a final error."""
        base_s = self.reconnect_delay_s or RECONNECT_DELAY_S
        try:
            async for attempt in link_retry(base_s, self._report):
                with attempt:
                    await self._one_attempt(attempt.retry_state)
        except ConfigError as error:
            self._terminate(error)

    async def _one_attempt(self, state: RetryCallState) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        forwarded = self.forwarded
        self.starts_anew = False
        try:
            await self.attempt()
        except Exception as error:
            if not self.reconnect_delay_s:
                raise ConfigError(f"{error} (reconnect-delay is 0)") from error
            raise
        finally:
            if not self._failed.cancel() and not self._failed.cancelled():
                self._failed.exception()  # seen, if the attempt ended by another error
            if self.starts_anew or self.forwarded != forwarded:
                state.attempt_number = 1

    async def broken(self) -> None:
        """Wait until ``fail`` is called and raise its error."""
        assert self._failed is not None
        await self._failed

    def fail(self, error: Exception) -> None:
        """End this attempt; the first error counts."""
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    @property
    def has_failed(self) -> bool:
        """Whether this attempt is over."""
        return self._failed is None or self._failed.done()

    def set_state(self, state: str) -> None:
        """Change the state, noting when."""
        if state != self.state:
            self.state = state
            self.changed_at_ms = self.broker.clock.unix_ms()
        if state == RUNNING:
            self._progress_at_s = time.monotonic()

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        assert error is not None
        self.set_state(STARTING)
        self.reconnects += 1
        self.last_error = error_text(error)
        expected = isinstance(error, EdgeError | OSError | TimeoutError)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "%s '%s' in vhost '%s': %s; next attempt in %.1f s",
            self.kind,
            self.name,
            self.vhost,
            self.last_error,
            state.upcoming_sleep,
            exc_info=None if expected else error,
        )

    def _terminate(self, error: ConfigError) -> None:
        self.last_error = error_text(error)
        self.set_state(TERMINATED)
        logger.error("%s '%s' in vhost '%s' ends: %s", self.kind, self.name, self.vhost, self.last_error)

    # -- progress --------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Once a second: work out the rate, and look whether anything gets across."""
        forwarded, self._counted = self.forwarded - self._counted, self.forwarded
        self.rate += RATE_WEIGHT * (forwarded / TICK_S - self.rate)
        mark = self.progress_mark()
        if mark is None or mark != self._progress_mark:
            self._progress_mark = mark
            self._progress_at_s = now_s
        elif self.state == RUNNING and now_s - self._progress_at_s > GIVE_UP_S:
            self.fail(LinkError(f"nothing got across for {GIVE_UP_S:.0f} s"))

    @property
    def shown_state(self) -> str:
        """The finer state: ``stalled`` when the link is up and gets nothing across."""
        if self.state != RUNNING:
            return self.state
        if time.monotonic() - self._progress_at_s > STALLED_S:
            return "stalled"
        return self.finer_state()

    def eta_s(self) -> int | None:
        """Seconds until the backlog is across at the present rate; None when that cannot be told."""
        backlog = self.backlog()
        if not backlog:
            return 0
        return round(backlog / self.rate) if self.rate >= 0.01 else None

    @property
    def timestamp(self) -> str:
        """When the state changed, local time, as RabbitMQ writes it (the hour not padded)."""
        at = time.localtime(self.changed_at_ms / 1000)
        return (
            f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d} {at.tm_hour}:{at.tm_min:02d}:{at.tm_sec:02d}"
        )


class Supervisor:
    """Runs workers by name and shows their status."""

    def __init__(self, broker: Broker, source_name: str) -> None:
        self.broker = broker
        self.workers: dict[Hashable, Worker] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        #: Workers that were told to end and have not yet, with their keys.
        self._ending: dict[asyncio.Task[None], Hashable] = {}
        self._watch: asyncio.Task[None] | None = None
        broker.status_sources[source_name] = self.rows

    def rows(self) -> list[dict[str, Any]]:
        """What the HTTP API lists."""
        return [worker.details() for worker in self.workers.values()]

    def start(self) -> None:
        """Start watching; workers run as they are added."""
        self._watch = asyncio.create_task(self._watch_workers(), name=f"{type(self).__name__} watch")

    async def stop(self) -> None:
        """End all workers; what they had in flight goes back to where it came from."""
        tasks = list(self._tasks.values())
        if self._watch is not None:
            tasks.append(self._watch)
        self._tasks = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ending, return_exceptions=True)

    def add(self, key: Hashable, worker: Worker) -> None:
        """Start a worker; one that had the key before has let go of both ends by then."""
        self.workers[key] = worker
        ending = [task for task, its_key in self._ending.items() if its_key == key]
        task = asyncio.create_task(_run_after(worker, ending), name=f"{worker.kind} {worker.name}")
        task.add_done_callback(_report_bug)
        self._tasks[key] = task

    def discard(self, key: Hashable) -> asyncio.Task[None] | None:
        """Tell a worker to end and forget it; returns its task."""
        self.workers.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            self._ending[task] = key
            task.add_done_callback(lambda done: self._ending.pop(done, None))
        return task

    async def remove(self, key: Hashable) -> None:
        """End a worker and forget it."""
        task = self.discard(key)
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def restart(self, key: Hashable) -> None:
        """End a worker's attempt and begin anew, also after a final error."""
        worker = self.workers[key]
        await self.remove(key)
        worker.set_state(STARTING)
        self.add(key, worker)

    async def _watch_workers(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            for worker in self.workers.values():
                worker.tick(now_s)


async def _run_after(worker: Worker, ending: list[asyncio.Task[None]]) -> None:
    if ending:
        await asyncio.wait(ending)
    await worker.run()


def _report_bug(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("task '%s' has died", task.get_name(), exc_info=error)


async def close_soon(closing: Awaitable[object]) -> None:
    """Await the end of a connection, but not for long; whoever closes aborts it when it is cancelled."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await closing
    except TimeoutError:
        logger.info("a peer did not answer the end of its connection within %.0f s", CLOSE_S)


def error_text(error: BaseException) -> str:
    """What a person reads: never empty, never with a URI's password."""
    if isinstance(error, TimeoutError) and not str(error):
        return "timed out"
    return redact(str(error)) or type(error).__name__
