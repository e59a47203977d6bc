"""A broker over a store of its own, without sockets: started, stopped, and killed as by SIGKILL."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import aiosqlite

from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.core.consumer import Consumer, Entry
from edge.core.host import QueueHost
from edge.core.message import PERSISTENT, Message
from edge.core.priority_queue import PriorityQueue
from edge.core.queue import Queue
from edge.store.group import encode_batches
from edge.store.store import FILE_NAME, Store


class ManualClock(Clock):
    """Elapsed time that the test moves."""

    def __init__(self, now_ms: int = 1_000) -> None:
        super().__init__()
        self.now_ms = now_ms

    def elapsed_ms(self) -> int:
        return self.now_ms


def stop_threads() -> None:
    """End the threads of stores that a failed test has left open, or the test run would wait for them for ever."""
    for thread in threading.enumerate():
        if getattr(thread, "_target", None) is aiosqlite.core._connection_worker_thread:
            (work,) = thread._args  # type: ignore[attr-defined]
            work.put_nowait((None, lambda: aiosqlite.core._STOP_RUNNING_SENTINEL))


async def start(directory: Path, clock: Clock | None = None) -> Broker:
    store = Store(directory)
    await store.open()
    broker = Broker("edge", store, clock or Clock(), Auth())
    await broker.recover()
    return broker


async def stop(broker: Broker) -> None:
    """As a node stops."""
    broker.save_clock()
    await broker.close()
    await broker.store.close()


async def crash(broker: Broker) -> None:
    """Drop everything that is not committed. A commit that is under way may come through or not, as in life."""
    broker._is_closing = True
    reads = list(broker._page_ins.values())
    for task in [broker.store._writer, *reads]:
        assert task is not None
        task.cancel()
    await asyncio.gather(broker.store._writer, *reads, return_exceptions=True)  # type: ignore[arg-type]
    broker.deadlines.close()
    broker.dead_room.close()
    await _let_go_as_killed(broker.store)
    await asyncio.sleep(0)


async def _let_go_as_killed(store: Store) -> None:
    """Close the store, but leave its files as they were: closing would check the log in and delete it."""
    # A commit that is under way ends first.
    await store._connections.writing.execute_fetchall("SELECT 1")
    file, log = store.directory / FILE_NAME, store.directory / f"{FILE_NAME}-wal"
    kept = [(path, path.read_bytes()) for path in (file, log) if path.exists()]
    await store._let_go()
    for path, content in kept:
        path.write_bytes(content)


class Taker(Consumer):
    """Takes up to ``prefetch`` entries; ``held`` is what it has not settled."""

    __slots__ = ("held", "is_cancelled", "prefetch", "received")

    def __init__(self, queue: Queue, prefetch: int = 1_000_000, **options: bool | int) -> None:
        super().__init__("taker", queue, **options)  # type: ignore[arg-type]
        self.prefetch = prefetch
        self.held: list[Entry] = []
        self.received: list[Entry] = []
        self.is_cancelled = False

    @property
    def bodies(self) -> list[bytes]:
        return [entry[1].body for entry in self.received]

    @property
    def sequences(self) -> list[int]:
        return [entry[0] for entry in self.received]

    def capacity(self) -> int:
        return self.prefetch - len(self.held)

    def deliver(self, entries: list[Entry]) -> None:
        assert 0 < len(entries) <= self.capacity()
        self.received += entries
        if not self.no_ack:
            self.held += entries

    def cancelled(self) -> None:
        self.is_cancelled = True

    def settle(self, count: int) -> None:
        """Acknowledge the oldest ``count``."""
        entries, self.held = self.held[:count], self.held[count:]
        self.queue.settle(entries)
        self.queue.wake()

    def requeue(self, count: int | None = None) -> None:
        """Give back the oldest ``count``, or all."""
        entries = self.held[:count]
        self.held = self.held[len(entries) :]
        self.queue.requeue(entries)


class FakeHost(QueueHost):
    """Does what a queue asks at once and on the test's thread; ``disk`` is what was committed."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.asked: Counter[str] = Counter()
        self.pending_bytes = 0
        self.dead: list[tuple[list[Entry], str]] = []
        self.expiry_ms = 0
        self.unused_ms = 0
        self.lost: list[tuple[int, int]] = []
        self.disk: dict[int, Message] = {}

    def schedule_dispatch(self, queue: Queue) -> None:
        self.asked["dispatch"] += 1

    def new_lane(self, queue: PriorityQueue, priority: int) -> int:
        lane_id = queue.lane_ids[priority] = 100 + priority
        return lane_id

    def schedule_commit(self, queue: Queue, size: int = 0) -> None:
        self.asked["commit"] += 1
        self.pending_bytes += size

    def schedule_page_in(self, queue: Queue) -> None:
        if queue.needs_disk():
            self.asked["page_in"] += 1

    def schedule_expiry(self, queue: Queue, at_ms: int) -> None:
        self.expiry_ms = at_ms

    def schedule_unused(self, queue: Queue, at_ms: int) -> None:
        self.unused_ms = at_ms

    def may_dead_letter(self, queue: Queue, entries: Iterable[Entry], count: int) -> int:
        return count

    def dead_letter(self, queue: Queue, entries: list[Entry], reason: str) -> None:
        self.dead.append((entries, reason))

    def messages_lost(self, queue: Queue, ranges: list[tuple[int, int]]) -> None:
        self.lost += ranges

    def elapsed_ms(self) -> int:
        return self.now_ms

    def commit(self, queue: Queue) -> list[int]:
        """Commit as the store does; return the sequences that were written."""
        state = queue.take()
        encode_batches(state)
        for sequence, message, _ in state.entries:
            self.disk[sequence] = message
        queue.committed(state)
        return [entry[0] for entry in state.entries]

    def page_in(self, queue: Queue, count: int = 10) -> None:
        """Hand over the next page of ``count``."""
        first, end = queue.page_sequence, min(queue.page_sequence + count, queue.committed_sequence)
        queue.paged_in([(i, self.disk[i], 0) for i in range(first, end) if i in self.disk], first, end)


def message(
    routing_key: str = "q",
    body: bytes = b"",
    *,
    properties: bytes = b"\x00\x00",
    expires_at_ms: int = 0,
    exchange: str = "",
) -> Message:
    return Message(exchange, routing_key, properties, body, flags=PERSISTENT, expires_at_ms=expires_at_ms)


def numbered(count: int, start: int = 0, *, size: int = 8, routing_key: str = "q") -> list[Message]:
    """Messages whose bodies are their numbers."""
    return [message(routing_key, b"%0*d" % (size, i)) for i in range(start, start + count)]


async def turn(times: int = 3) -> None:
    """Let the loop run what is scheduled."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until ``condition()`` is true."""
    for _ in range(int(timeout_s * 1000)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"not within {timeout_s} s")
