"""An export: a store's definitions and messages as lines of JSON, for a laptop that reads a crashed drone's card.

The first line tells whose it is and of which form. Then come definitions (vhost, exchange, queue, binding), and
messages, queue by queue in order. Bytes are in base64. A message is known by
node, queue id and sequence, so that importing it a second time changes nothing.
"""

import sqlite3
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from edge.core.errors import StoreError
from edge.core.message import Message
from edge.store import inspect, records

FORMAT: Final = 1
LINE_BYTES_MAX: Final = 512 * 1024 * 1024
"""A longer line is none of an export's."""


class Header(msgspec.Struct, tag_field="type", tag="leveret-export", kw_only=True):
    """The first line."""

    format: int = FORMAT
    node: str
    """The node's id (not its name, which may change)."""


class VHostLine(msgspec.Struct, tag_field="type", tag="vhost"):
    name: str


class ExchangeLine(msgspec.Struct, tag_field="type", tag="exchange"):
    vhost: str
    name: str
    kind: str
    auto_delete: bool
    internal: bool
    arguments: bytes
    """An AMQP field table, as in ``edge.store.records``."""


class QueueLine(msgspec.Struct, tag_field="type", tag="queue"):
    vhost: str
    name: str
    queue_id: int
    kind: str
    auto_delete: bool
    arguments: bytes
    messages: int


class BindingLine(msgspec.Struct, tag_field="type", tag="binding"):
    vhost: str
    source: str
    destination_type: str
    destination: str
    routing_key: str
    arguments: bytes


class MessageLine(msgspec.Struct, tag_field="type", tag="message", omit_defaults=True):
    """A message; ``properties`` in the encoding that ``form`` names (``edge.core.message``)."""

    node: str
    vhost: str
    queue: str
    queue_id: int
    sequence: int
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    form: int = 0
    flags: int = 0
    priority: int = 0
    expires_in_ms: int | None = None
    """What was left of its life when the node last noted its clock."""


Line = Header | VHostLine | ExchangeLine | QueueLine | BindingLine | MessageLine


class Exported(NamedTuple):
    """What an export holds."""

    queues: int
    messages: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def export(connection: sqlite3.Connection, out: BinaryIO) -> Exported:
    """Write all there is, in constant memory. Raises OSError."""
    node = _record(connection, "node", "id").decode()
    saved = _record(connection, "node", "clock")
    now_ms = msgspec.msgpack.decode(saved)[0] if saved else 0
    queues = count = 0
    for line in _definitions(connection, node):
        queues += isinstance(line, QueueLine)
        out.write(_encoder.encode(line) + b"\n")
    for queue in inspect.stored_queues(connection):
        for sequence, message in inspect.messages(connection, queue):
            out.write(_encoder.encode(_message_line(node, queue.record, sequence, message, now_ms)) + b"\n")
            count += 1
    return Exported(queues, count)


def _definitions(connection: sqlite3.Connection, node: str) -> Iterator[Line]:
    yield Header(node=node)
    for key, _ in _records(connection, records.VHOST):
        yield VHostLine(key)
    for _, value in _records(connection, records.EXCHANGE):
        exchange = msgspec.msgpack.decode(value, type=records.ExchangeRecord)
        yield ExchangeLine(*msgspec.structs.astuple(exchange))
    lines: dict[tuple[str, str], QueueLine] = {}
    for queue in inspect.stored_queues(connection):
        record = queue.record
        line = QueueLine(
            record.vhost, record.name, record.id, record.kind, record.auto_delete, record.arguments, 0
        )
        # Of a queue with priorities there are several parts.
        lines.setdefault((record.vhost, record.name), line).messages += queue.state.messages
    yield from lines.values()
    for _, value in _records(connection, records.BINDING):
        binding = msgspec.msgpack.decode(value, type=records.BindingRecord)
        yield BindingLine(*msgspec.structs.astuple(binding))


def _message_line(
    node: str, queue: records.QueueRecord, sequence: int, message: Message, now_ms: int
) -> MessageLine:
    left_ms = max(1, message.expires_at_ms - now_ms) if message.expires_at_ms else None
    return MessageLine(
        node,
        queue.vhost,
        queue.name,
        queue.id,
        sequence,
        message.exchange,
        message.routing_key,
        message.properties,
        message.body,
        message.form,
        message.flags,
        message.priority,
        left_ms,
    )


def _record(connection: sqlite3.Connection, kind: str, key: str) -> bytes:
    return dict(_records(connection, kind)).get(key, b"")


def _records(connection: sqlite3.Connection, kind: str) -> list[tuple[str, bytes]]:
    return connection.execute("SELECT key, value FROM record WHERE kind = ? ORDER BY key", (kind,)).fetchall()


def lines(source: BinaryIO) -> Iterator[Line]:
    """The lines of an export. Raises StoreError that names the line which is none."""
    number = 0
    while line := source.readline(LINE_BYTES_MAX):
        number += 1
        try:
            decoded = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"line {number} is not an export's: {error}") from error
        if number == 1 and not isinstance(decoded, Header):
            raise StoreError("line 1 is not an export's first line")
        if isinstance(decoded, Header) and decoded.format > FORMAT:
            raise StoreError(f"the export has format {decoded.format}, this Leveret reads up to {FORMAT}")
        yield decoded
