"""What is found on a disk after a power cut: the node's own start, and all that it then holds."""

import asyncio
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.core.consumer import Entry
from edge.core.errors import EdgeError
from edge.core.priority_queue import LANE_SHIFT
from edge.core.queue import Queue
from edge.store.store import FILE_NAME, Store
from federation.progress import KIND as KIND_PROGRESS
from federation.progress import Progress
from mqtt.filters import topic_of
from mqtt.service import MqttService
from tests.durability.bodies import Key, key_of
from tests.helpers.brokers import Taker

START_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 5.0


class FoundQueue:
    """A queue, read to its end as a consumer reads it."""

    def __init__(self, entries: list[Entry], count: int) -> None:
        self.count = len(entries)
        self.errors: list[str] = []
        self.repeated: list[Key] = []
        #: Each message's first sequence, in order.
        self.sequences: dict[Key, int] = {}
        if len(entries) != count:
            self.errors.append(f"counts {count} messages and has {len(entries)}")
        # The higher bits are the priority, of a queue that has any.
        places = [(-(entry[0] >> LANE_SHIFT), entry[0]) for entry in entries]
        if places != sorted(set(places)):
            self.errors.append("is not in the order of its sequences")
        for sequence, message, _ in entries:
            try:
                key = key_of(message.body)
            except ValueError as error:
                self.errors.append(str(error))
                continue
            if key in self.sequences:
                self.repeated.append(key)
            else:
                self.sequences[key] = sequence

    def keys(self) -> list[Key]:
        """The messages in their order."""
        return list(self.sequences)

    def sequence_of(self, key: Key) -> int | None:
        return self.sequences.get(key)


@dataclass
class FoundSession:
    queue: str
    filters: set[str]
    received: set[int]
    released: set[int]


@dataclass
class Found:
    """All that a node has kept."""

    queues: dict[str, FoundQueue]
    #: "queue", "exchange", "binding", "session", "subscription" -> names.
    things: dict[str, set[str]]
    sessions: dict[str, FoundSession]
    retained: dict[str, bytes]
    progress: list[Progress]
    #: What the node itself reports as lost to a bad card.
    losses: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Messages by queue."""
        return {name: queue.count for name, queue in self.queues.items()}


class StartFailed(Exception):
    """The node did not start on what the power cut has left."""


async def look(directory: Path) -> Found:
    """Start a node's broker and MQTT sessions on ``directory``, read everything, stop. Raises StartFailed."""
    store = Store(directory)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await store.open()
            broker = Broker("edge", store, Clock(), Auth())
            mqtt = MqttService(broker)
            await broker.recover()
            await mqtt.recover()
            found = await _gather(broker, mqtt)
            await mqtt.stop()
            await broker.close()
            await store.close()
    except (EdgeError, sqlite3.Error, ValueError, KeyError, TimeoutError) as error:
        await _abandon(store)
        raise StartFailed(f"the node does not start: {error!r}") from error
    _check_integrity(directory)
    return found


async def _abandon(store: Store) -> None:
    """Let go of a store whose writer tries again for ever."""
    if store._writer is not None:
        store._writer.cancel()
        await asyncio.gather(store._writer, return_exceptions=True)
    await store._let_go()


def _check_integrity(directory: Path) -> None:
    connection = sqlite3.connect(directory / FILE_NAME)
    try:
        ((verdict,),) = connection.execute("PRAGMA integrity_check(1)")
    except sqlite3.Error as error:
        verdict = repr(error)
    finally:
        connection.close()
    if verdict != "ok":
        raise StartFailed(f"the store is corrupt: {verdict}")


async def _gather(broker: Broker, mqtt: MqttService) -> Found:
    vhost = broker.vhosts["/"]
    things: dict[str, set[str]] = {
        "queue": set(vhost.queues),
        "exchange": set(vhost.exchanges),
        "binding": {
            f"{exchange.name} {binding.destination.name} {binding.routing_key}"
            for exchange in vhost.exchanges.values()
            for binding in exchange.bindings.values()
        },
        "session": {session.client_id for session in mqtt.sessions.values()},
        "subscription": {
            f"{session.client_id} {one.filter} {one.qos}"
            for session in mqtt.sessions.values()
            for one in session.subscriptions.values()
        },
    }
    sessions = {
        session.client_id: FoundSession(
            session.queue_name,
            set(session.subscriptions),
            set(session.inflight.received),
            set(session.inflight.released),
        )
        for session in mqtt.sessions.values()
    }
    retained = {
        topic_of(message.routing_key): message.body
        for topic_filter in ("#", "$SYS/#")
        for message in mqtt.retained("/").match(topic_filter)
    }
    progress = [await Progress.load(broker, origin) for origin in await broker.store.records(KIND_PROGRESS)]
    queues = {name: await _drain(queue) for name, queue in vhost.queues.items()}
    losses = [loss.text() for loss in broker.store.losses.entries]
    return Found(queues, things, sessions, retained, progress, losses)


async def _drain(queue: Queue) -> FoundQueue:
    """All messages, by a consumer that settles none; its entries go back, so that the next start finds them too."""
    count = queue.messages
    taker = Taker(queue)
    queue.add_consumer(taker)
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while len(taker.received) < count and time.monotonic() < deadline:  # noqa: ASYNC110 -- told to a consumer
        await asyncio.sleep(0)
    queue.remove_consumer(taker)
    entries = list(taker.received)
    taker.requeue()
    return FoundQueue(entries, count)
