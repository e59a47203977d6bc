"""Takes an export into a node's store: each message once, however often the file is imported.

What has been taken is kept with the messages in one transaction, by the node and the queue that they come from; so an
import that was interrupted goes on where it was.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from edge.broker import Broker
from edge.core.errors import BrokerError
from edge.core.message import Message
from edge.core.names import PREDECLARED
from edge.core.queue import Queue
from edge.core.settled import Settled
from edge.store import records
from edge.store.portable import BindingLine, ExchangeLine, Line, MessageLine, QueueLine, VHostLine
from edge.store.store import encode

logger = logging.getLogger("edge.importing")

KIND: Final = "import-progress"
LINES_AT_ONCE: Final = 500
"""Lines between two looks at how much waits for the disk."""


class Importer:
    """One import; ``imported`` and ``known`` count messages, ``refused`` tells what the node does not take."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.imported = 0
        self.known = 0
        self.refused: list[str] = []
        self._taken: dict[str, Settled] = {}

    async def run(self, source: Iterator[Line]) -> None:
        """Import everything and wait until it is on the disk. Raises StoreError of a line that is none."""
        saved = await self.broker.store.records(KIND)
        for origin, value in saved.items():
            low, ranges = msgspec.msgpack.decode(value, type=tuple[int, list[tuple[int, int]]])
            self._taken[origin] = Settled(low, ranges)
        while chunk := list(islice(source, LINES_AT_ONCE)):
            self._take(chunk)
            # One chunk at a time: the group that commits it holds its progress, and RAM holds no more than it.
            await self.broker.store.committed()

    def _take(self, chunk: list[Line]) -> None:
        changed: set[str] = set()
        runs: dict[Queue, list[Message]] = {}
        for line in chunk:
            if isinstance(line, MessageLine):
                self._take_message(line, runs, changed)
            else:
                self._declare(line)
        for queue, messages in runs.items():
            # Not as a session's queue would: what is at most once has been dropped where it was published.
            Queue.enqueue(queue, messages)
            self.imported += len(messages)
        for origin in changed:
            taken = self._taken[origin]
            self.broker.store.put(KIND, origin, encode((taken.low, taken.ranges())), with_messages=True)

    def _take_message(self, line: MessageLine, runs: dict[Queue, list[Message]], changed: set[str]) -> None:
        origin = f"{line.node}/{line.queue_id}"
        taken = self._taken.setdefault(origin, Settled())
        if line.sequence in taken:
            self.known += 1
            return
        queue = self.broker.vhost(line.vhost).queues.get(line.queue)
        if queue is None:
            self._refuse(
                f"queue '{line.queue}' in vhost '{line.vhost}' is not there: its messages are left out"
            )
            return
        taken.add(line.sequence, line.sequence + 1)
        changed.add(origin)
        now_ms = self.broker.elapsed_ms()
        runs.setdefault(queue, []).append(
            Message(
                line.exchange,
                line.routing_key,
                line.properties,
                line.body,
                line.form,
                line.flags,
                now_ms,
                now_ms + line.expires_in_ms if line.expires_in_ms else 0,
                line.priority,
            )
        )

    def _declare(self, line: Line) -> None:
        try:
            if isinstance(line, VHostLine):
                self.broker.add_vhost(line.name)
            elif isinstance(line, ExchangeLine) and line.name not in PREDECLARED:
                self.broker.declare_exchange(
                    self.broker.vhost(line.vhost),
                    line.name,
                    line.kind,
                    auto_delete=line.auto_delete,
                    internal=line.internal,
                    arguments=records.arguments_of(line.arguments),
                )
            elif isinstance(line, QueueLine):
                self._declare_queue(line)
            elif isinstance(line, BindingLine):
                self.broker.bind(
                    self.broker.vhost(line.vhost),
                    line.source,
                    line.destination,
                    line.routing_key,
                    records.arguments_of(line.arguments),
                    to_exchange=line.destination_type == "exchange",
                )
        except BrokerError as error:
            self._refuse(error.text)

    def _declare_queue(self, line: QueueLine) -> None:
        vhost = self.broker.vhost(line.vhost)
        if line.name not in vhost.queues:
            self.broker.declare_queue(
                vhost,
                line.name,
                auto_delete=line.auto_delete,
                arguments=records.arguments_of(line.arguments),
                kind=line.kind,
            )

    def _refuse(self, text: str) -> None:
        if text not in self.refused:
            self.refused.append(text)
