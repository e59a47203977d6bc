"""Basic properties of AMQP 0-9-1 (section 4.2.6.1): the property flags and list of a content header.

Messages carry them undecoded. ``peek`` reads the three that the broker acts on and checks the whole list, so that no
consumer ever gets a list that it cannot parse; everything else decodes on demand.
"""

from typing import Final, final

import msgspec

from edge.core.message import PERSISTENT
from edge.core.table import Table, TableError, decode_table, encode_table, skip_table
from edge.wire import U16, U64, U64_MAX

NO_PROPERTIES: Final = b"\x00\x00"

CONTENT_TYPE: Final = 1 << 15
CONTENT_ENCODING: Final = 1 << 14
HEADERS: Final = 1 << 13
DELIVERY_MODE: Final = 1 << 12
PRIORITY: Final = 1 << 11
CORRELATION_ID: Final = 1 << 10
REPLY_TO: Final = 1 << 9
EXPIRATION: Final = 1 << 8
MESSAGE_ID: Final = 1 << 7
TIMESTAMP: Final = 1 << 6
TYPE: Final = 1 << 5
USER_ID: Final = 1 << 4
APP_ID: Final = 1 << 3
CLUSTER_ID: Final = 1 << 2
_UNKNOWN_FLAGS: Final = 3
"""Bit 0 announces a second flag word and bit 1 a fifteenth property; the basic class has neither."""

MARK_USER_ID: Final = 1
"""``peek`` saw a user_id, which must be the publisher's own (RabbitMQ, "validated user-id")."""
MARK_DIRECT_REPLY: Final = 2
"""``peek`` saw the pseudo queue ``amq.rabbitmq.reply-to``, perhaps as reply_to."""
MARK_CARBON_COPY: Final = 4
"""``peek`` saw what may be a CC or BCC header."""
CC_FIELD: Final = b"\x02CC"
BCC_FIELD: Final = b"\x03BCC"
"""Their names as they stand in a table; other fields may hold the same bytes."""
MARK_MALFORMED: Final = 8
"""``peek`` saw what is no property list, or an expiration that is none; ``check`` raises what is wrong."""

DIRECT_REPLY_QUEUE: Final = "amq.rabbitmq.reply-to"
_DIRECT_REPLY_FIELD: Final = bytes((len(DIRECT_REPLY_QUEUE),)) + DIRECT_REPLY_QUEUE.encode()

EXPIRATION_MS_MAX: Final = (1 << 32) - 1
"""RabbitMQ's bound of a TTL (``rabbit_misc:check_expiry``): 32 bits of milliseconds."""
NO_EXPIRATION: Final = -1

Peek = tuple[int, int, int, int]
"""Message flags, expiration in ms or NO_EXPIRATION, priority, marks."""
_MALFORMED: Final = (0, NO_EXPIRATION, 0, MARK_MALFORMED)


class PropertiesError(ValueError):
    """The bytes are no property list, or a value has no place in one."""


class ExpirationError(PropertiesError):
    """``expiration`` is no count of milliseconds: refuses the message, not the frame."""


class BasicProperties(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All fourteen, decoded; None where the flag is not set."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Table | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


_SHORT: Final = 0
_TABLE: Final = 1
_OCTET: Final = 2
_LONGLONG: Final = 3

_FIELDS: Final = (
    ("content_type", CONTENT_TYPE, _SHORT),
    ("content_encoding", CONTENT_ENCODING, _SHORT),
    ("headers", HEADERS, _TABLE),
    ("delivery_mode", DELIVERY_MODE, _OCTET),
    ("priority", PRIORITY, _OCTET),
    ("correlation_id", CORRELATION_ID, _SHORT),
    ("reply_to", REPLY_TO, _SHORT),
    ("expiration", EXPIRATION, _SHORT),
    ("message_id", MESSAGE_ID, _SHORT),
    ("timestamp", TIMESTAMP, _LONGLONG),
    ("type", TYPE, _SHORT),
    ("user_id", USER_ID, _SHORT),
    ("app_id", APP_ID, _SHORT),
    ("cluster_id", CLUSTER_ID, _SHORT),
)


def decode_properties(encoded: bytes) -> BasicProperties:
    """Decode a property list. Raises PropertiesError."""
    properties = BasicProperties()
    if not encoded:
        return properties
    try:
        flags = _flags(encoded)
        pos = 2
        for name, flag, kind in _FIELDS:
            if flags & flag:
                value, pos = _decode_field(encoded, pos, kind)
                setattr(properties, name, value)
    except (IndexError, TableError) as error:
        raise PropertiesError(f"malformed properties: {error}") from error
    if pos != len(encoded):
        raise PropertiesError("malformed properties: the list does not end where the frame does")
    return properties


def encode_properties(properties: BasicProperties) -> bytes:
    """Encode a property list. Raises PropertiesError for a value out of range."""
    flags = 0
    parts: list[bytes] = []
    for name, flag, kind in _FIELDS:
        value = getattr(properties, name)
        if value is not None:
            flags |= flag
            parts.append(_encode_field(name, value, kind))
    return U16.pack(flags) + b"".join(parts)


def headers(encoded: bytes) -> Table:
    """Return the headers; empty when there are none. Decodes nothing else. Raises PropertiesError."""
    bounds = _headers_bounds(encoded)
    return decode_table(encoded, bounds[0])[0] if bounds[1] > bounds[0] else {}


def header(encoded: bytes, name: str) -> object:
    """Return one header, None when it is not there. Costs no decoding when its name does not occur at all."""
    if name.encode() not in encoded:
        return None
    return headers(encoded).get(name)


def replace_headers(encoded: bytes, table: Table) -> bytes:
    """Return the list with ``table`` as headers, without any when it is empty; other properties byte for byte."""
    start, stop = _headers_bounds(encoded)
    flags = _flags(encoded) if encoded else 0
    block = encode_table(table) if table else b""
    flags = flags | HEADERS if table else flags & ~HEADERS
    return b"".join((U16.pack(flags), encoded[2:start], block, encoded[stop:]))


def set_header(encoded: bytes, name: str, value: object) -> bytes:
    """Return the list with one header set."""
    table = headers(encoded)
    table[name] = value
    return replace_headers(encoded, table)


def _flags(encoded: bytes) -> int:
    flags = encoded[0] << 8 | encoded[1]
    if flags & _UNKNOWN_FLAGS:
        raise PropertiesError("malformed properties: a flag of no basic property is set")
    return flags


def _headers_bounds(encoded: bytes) -> tuple[int, int]:
    """Where the headers' table begins and ends; an empty range where it would be."""
    if not encoded:
        return 2, 2
    try:
        flags = _flags(encoded)
        pos = 2
        if flags & CONTENT_TYPE:
            pos += 1 + encoded[pos]
        if flags & CONTENT_ENCODING:
            pos += 1 + encoded[pos]
        if not flags & HEADERS:
            return pos, pos
        return pos, skip_table(encoded, pos)
    except (IndexError, TableError) as error:
        raise PropertiesError(f"malformed properties: {error}") from error


def _decode_field(encoded: bytes, pos: int, kind: int) -> tuple[object, int]:
    if kind == _SHORT:
        stop = pos + 1 + encoded[pos]
        return encoded[pos + 1 : stop].decode("utf-8", "surrogateescape"), stop
    if kind == _TABLE:
        return decode_table(encoded, pos)
    if kind == _OCTET:
        return encoded[pos], pos + 1
    return int.from_bytes(encoded[pos : pos + 8], "big"), pos + 8


def _encode_field(name: str, value: object, kind: int) -> bytes:
    if kind == _SHORT and isinstance(value, str):
        encoded = value.encode("utf-8", "surrogateescape")
        if len(encoded) <= 255:
            return bytes((len(encoded),)) + encoded
        raise PropertiesError(f"{name} is longer than 255 bytes")
    if kind == _TABLE and isinstance(value, dict):
        return encode_table(value)
    if kind == _OCTET and isinstance(value, int) and 0 <= value <= 255:
        return bytes((value,))
    if kind == _LONGLONG and isinstance(value, int) and 0 <= value <= U64_MAX:
        return U64.pack(value)
    raise PropertiesError(f"{name} cannot be {value!r}")


@final
class PropertyReader:
    """Reads what the broker acts on from property lists, remembering the last ones: most publishers repeat a few.

    One per connection. Bounded to ``ENTRIES_MAX`` lists and as many header tables of at most ``ENTRY_BYTES_MAX``,
    32 KiB together, because a publisher that sets message_id or timestamp never repeats one.
    """

    __slots__ = ("_lists", "_tables")

    ENTRIES_MAX: Final = 64
    ENTRY_BYTES_MAX: Final = 256

    def __init__(self) -> None:
        self._lists: dict[bytes, Peek] = {}
        self._tables: set[bytes] = set()

    def peek(self, encoded: bytes) -> Peek:
        """Return what the list says, having checked all of it. Never raises: see MARK_MALFORMED."""
        found = self._lists.get(encoded)
        if found is not None:
            return found
        try:
            found = self.check(encoded)
        except PropertiesError:
            return _MALFORMED
        if len(encoded) <= self.ENTRY_BYTES_MAX:
            if len(self._lists) >= self.ENTRIES_MAX:
                self._lists.clear()
            self._lists[encoded] = found
        return found

    def check(self, encoded: bytes) -> Peek:
        """Return what the list says. Raises PropertiesError, ExpirationError."""
        try:
            return self._read(encoded)
        except (IndexError, TableError) as error:
            raise PropertiesError(f"malformed properties: {error}") from error

    def _read(self, encoded: bytes) -> Peek:
        """Walk the list in the order of its flags (section 4.2.6.1)."""
        flags = _flags(encoded)
        pos = 2
        message_flags = priority = marks = 0
        ttl_ms = NO_EXPIRATION
        if flags & CONTENT_TYPE:
            pos += 1 + encoded[pos]
        if flags & CONTENT_ENCODING:
            pos += 1 + encoded[pos]
        if flags & HEADERS:
            stop = pos + 4 + int.from_bytes(encoded[pos : pos + 4], "big")
            marks = self._check_table(encoded[pos:stop])
            pos = stop
        if flags & DELIVERY_MODE:
            if encoded[pos] == 2:
                message_flags = PERSISTENT
            pos += 1
        if flags & PRIORITY:
            priority = encoded[pos]
            pos += 1
        if flags & (CORRELATION_ID | REPLY_TO):
            pos = _skip_shorts(encoded, pos, flags, CORRELATION_ID, REPLY_TO)
            if flags & REPLY_TO and _DIRECT_REPLY_FIELD in encoded:
                marks |= MARK_DIRECT_REPLY
        if flags & EXPIRATION:
            stop = pos + 1 + encoded[pos]
            ttl_ms = _expiration_ms(encoded[pos + 1 : stop])
            pos = stop
        if flags & (MESSAGE_ID | TIMESTAMP | TYPE | USER_ID | APP_ID | CLUSTER_ID):
            pos = _skip_shorts(encoded, pos, flags, MESSAGE_ID, 0)
            if flags & TIMESTAMP:
                pos += 8
            pos = _skip_shorts(encoded, pos, flags, TYPE, USER_ID)
            pos = _skip_shorts(encoded, pos, flags, APP_ID, CLUSTER_ID)
            if flags & USER_ID:
                marks |= MARK_USER_ID
        if pos != len(encoded):
            raise PropertiesError("malformed properties: the list does not end where the frame does")
        return message_flags, ttl_ms, priority, marks

    def _check_table(self, block: bytes) -> int:
        """Check a table of headers, length in front; return its marks."""
        if block not in self._tables:
            if skip_table(block, 0) != len(block):
                raise PropertiesError("malformed properties: headers of a wrong length")
            if len(block) <= self.ENTRY_BYTES_MAX:
                if len(self._tables) >= self.ENTRIES_MAX:
                    self._tables.clear()
                self._tables.add(block)
        return MARK_CARBON_COPY if CC_FIELD in block or BCC_FIELD in block else 0


def _skip_shorts(encoded: bytes, pos: int, flags: int, first: int, second: int) -> int:
    if flags & first:
        pos += 1 + encoded[pos]
    if flags & second:
        pos += 1 + encoded[pos]
    return pos


def _expiration_ms(text: bytes) -> int:
    """RabbitMQ takes digits only (``rabbit_basic:parse_expiration``); channel error 406 otherwise."""
    shown = text[:40].decode("utf-8", "replace")
    if not text.isdigit():
        is_negative = text[:1] == b"-" and text[1:].isdigit()
        reason = f"{{value_negative,{shown}}}" if is_negative else "no_integer"
        raise ExpirationError(f"invalid expiration '{shown}': {reason}")
    ttl_ms = int(text) if len(text) <= 10 else EXPIRATION_MS_MAX + 1
    if ttl_ms > EXPIRATION_MS_MAX:
        raise ExpirationError(f"invalid expiration '{shown}': larger than {EXPIRATION_MS_MAX}")
    return ttl_ms
