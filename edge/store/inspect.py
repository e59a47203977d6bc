"""What is in a store: its queues, and single messages of one."""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from edge.core.errors import NotFound
from edge.core.message import MANDATORY, PERSISTENT, QOS2, RETAIN, Message, amqp_properties
from edge.core.properties import PropertiesError, decode_properties
from edge.core.queue_state import RecoveredState
from edge.core.settled import Settled
from edge.store import records
from edge.store.group import whole_queue
from edge.store.reader import READ_BATCHES, read_batch, state_of

BATCHES_AT_ONCE: Final = 16
"""Rows between two reads: 4 MB at most, but for messages that are larger."""
TEXT_BYTES_MAX: Final = 256
"""Of a body that is shown."""
FLAGS: Final = {PERSISTENT: "persistent", QOS2: "qos2", RETAIN: "retain", MANDATORY: "mandatory"}

QUEUE_KEYS: Final = ("vhost", "name", "id", "kind", "messages", "message_bytes", "first", "last", "batches")
MESSAGE_KEYS: Final = ("sequence", "exchange", "routing_key", "flags", "priority", "properties", "body")


class StoredQueue(NamedTuple):
    """A durable queue as the store has it."""

    record: records.QueueRecord
    state: RecoveredState

    @property
    def settled(self) -> Settled:
        return Settled(self.state.settled_low, self.state.settled_ranges)


def stored_queues(connection: sqlite3.Connection) -> list[StoredQueue]:
    """All durable queues, by vhost and name; one with priorities comes once for each, under its own id first."""
    rows = connection.execute(
        "SELECT value FROM record WHERE kind = ? ORDER BY key", (records.QUEUE,)
    ).fetchall()
    found: list[StoredQueue] = []
    for (value,) in rows:
        record = msgspec.msgpack.decode(value, type=records.QueueRecord)
        found += [
            StoredQueue(msgspec.structs.replace(record, id=queue_id), _state(connection, queue_id))
            for queue_id in record.ids()
        ]
    return found


def _state(connection: sqlite3.Connection, queue_id: int) -> RecoveredState:
    start, end = whole_queue(queue_id)
    batch = connection.execute(
        "SELECT id, span, messages, message_bytes FROM batch WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
        (start, end),
    ).fetchone()
    cursor = connection.execute(
        "SELECT next_sequence, low, ranges, messages, message_bytes, delivered_sequence"
        " FROM cursor WHERE queue_id = ?",
        (queue_id,),
    ).fetchone()
    return state_of(queue_id, batch, cursor)


def queue_rows(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """A row a queue, with the keys QUEUE_KEYS."""
    rows: list[dict[str, Any]] = []
    for queue in stored_queues(connection):
        left = queue.settled.unsettled(0, queue.state.next_sequence)
        (batches,) = connection.execute(
            "SELECT count(*) FROM batch WHERE id >= ? AND id < ?", whole_queue(queue.record.id)
        ).fetchone()
        values = (
            queue.record.vhost,
            queue.record.name,
            queue.record.id,
            queue.record.kind or "classic",
            queue.state.messages,
            queue.state.message_bytes,
            left[0][0] if left else None,
            left[-1][1] - 1 if left else None,
            batches,
        )
        rows.append(dict(zip(QUEUE_KEYS, values, strict=True)))
    return rows


def find_queue(connection: sqlite3.Connection, vhost: str, name: str) -> list[StoredQueue]:
    """The queue, or the parts of one with priorities. Raises NotFound."""
    found = [
        queue
        for queue in stored_queues(connection)
        if (queue.record.vhost, queue.record.name) == (vhost, name)
    ]
    if not found:
        raise NotFound(f"no queue '{name}' in vhost '{vhost}'")
    return found


def messages(
    connection: sqlite3.Connection, queue: StoredQueue, first: int = 0
) -> Iterator[tuple[int, Message]]:
    """Sequence and message of what is not settled, from ``first`` on, in constant memory. Bad batches are left out."""
    base, end = whole_queue(queue.record.id)
    settled = queue.settled
    (at,) = connection.execute(
        "SELECT max(id) FROM batch WHERE id >= ? AND id <= ?", (base, base + first)
    ).fetchone()
    at = base + first if at is None else at
    while True:
        ids = connection.execute(
            "SELECT id FROM batch WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (at, end, BATCHES_AT_ONCE)
        ).fetchall()
        if not ids:
            return
        for row in connection.execute(READ_BATCHES, (ids[0][0], ids[-1][0])).fetchall():
            for sequence, message in enumerate(read_batch(row) or (), row[0] - base):
                if message is not None and sequence >= first and sequence not in settled:
                    yield sequence, message
        at = ids[-1][0] + 1


def message_row(sequence: int, message: Message) -> dict[str, Any]:
    """A row with the keys MESSAGE_KEYS."""
    names = [name for flag, name in FLAGS.items() if message.flags & flag]
    values = (
        sequence,
        message.exchange,
        message.routing_key,
        ",".join(names),
        message.priority,
        properties_of(message),
        body_text(message.body),
    )
    return dict(zip(MESSAGE_KEYS, values, strict=True))


def properties_of(message: Message) -> dict[str, Any]:
    """The properties by AMQP's names, ready for JSON."""
    try:
        decoded = decode_properties(amqp_properties(message))
    except (PropertiesError, KeyError):
        return {"undecoded": message.properties.hex()}
    return {
        name: value
        for name, value in msgspec.to_builtins(decoded, enc_hook=str, str_keys=True).items()
        if value is not None
    }


def body_text(body: bytes) -> str:
    """Text as it is, anything else in hex; the first bytes of what is long."""
    shown = body[:TEXT_BYTES_MAX]
    more = f"... ({len(body)} bytes)" if len(body) > len(shown) else ""
    text = shown.decode(errors="replace" if more else "ignore")
    is_text = text.replace("\n", "").replace("\t", "").isprintable() and (more or text.encode() == shown)
    return (text if is_text else "0x" + shown.hex()) + more
