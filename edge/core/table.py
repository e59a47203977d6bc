"""AMQP 0-9-1 field tables: message headers and the arguments of declarations, bindings and consumers.

The types are those of RabbitMQ's parser (``rabbit_binary_parser``), which differ from the specification's section
4.2.1 in ``s`` (a 16-bit integer, not a short string). Integer and float widths survive decoding and encoding, because
peers look at them: RabbitMQ refuses a federation exchange whose ``x-max-hops`` is not a ``l``.

===========  ==========================================================================
in a table   in Python
===========  ==========================================================================
t            bool
l (and L)    int
b B s u I i  Int8, UInt8, Int16, UInt16, Int32, UInt32: subclasses of int that keep the width
d, f         float, Float32
D            Decimal
S            str; bytes that are not UTF-8 become surrogates and come back as they were
x            bytes
T            Timestamp: int, seconds since 1970
A, F, V      list, dict, None
===========  ==========================================================================
"""

from struct import Struct
from struct import error as StructError
from typing import Final

from edge.core.table_types import (
    Decimal,
    Float32,
    Int8,
    Int16,
    Int32,
    Timestamp,
    UInt8,
    UInt16,
    UInt32,
)
from edge.wire import U32, U32_MAX

__all__ = [
    "DEPTH_MAX",
    "TABLE_BYTES_MAX",
    "Decimal",
    "Float32",
    "Int8",
    "Int16",
    "Int32",
    "Table",
    "TableError",
    "Timestamp",
    "UInt8",
    "UInt16",
    "UInt32",
    "decode_table",
    "encode_table",
    "is_text",
    "skip_table",
    "to_plain",
    "type_name",
]

DEPTH_MAX: Final = 32
"""Nesting of tables and arrays. Dead-lettering and federation need 3; the stack must not depend on a peer."""
TABLE_BYTES_MAX: Final = 1 << 20
"""Of one encoded table. A table travels in one frame, so a peer's cannot be longer than frame_max (128 KiB)."""
NAME_BYTES_MAX: Final = 255

Table = dict[str, object]


class TableError(ValueError):
    """The bytes are no table, or the value has no place in one."""


_INT8: Final = Struct(">b")
_INT16: Final = Struct(">h")
_UINT16: Final = Struct(">H")
_INT32: Final = Struct(">i")
_INT64: Final = Struct(">q")
_UINT64: Final = Struct(">Q")
_FLOAT32: Final = Struct(">f")
_FLOAT64: Final = Struct(">d")
_DECIMAL: Final = Struct(">BI")

_TRUE: Final = ord("t")
_INT8_TYPE: Final = ord("b")
_UINT8_TYPE: Final = ord("B")
_INT16_TYPE: Final = ord("s")
_UINT16_TYPE: Final = ord("u")
_INT32_TYPE: Final = ord("I")
_UINT32_TYPE: Final = ord("i")
_INT64_TYPE: Final = ord("l")
_INT64_OTHER_TYPE: Final = ord("L")
_FLOAT32_TYPE: Final = ord("f")
_FLOAT64_TYPE: Final = ord("d")
_DECIMAL_TYPE: Final = ord("D")
_STRING_TYPE: Final = ord("S")
_BYTES_TYPE: Final = ord("x")
_TIMESTAMP_TYPE: Final = ord("T")
_ARRAY_TYPE: Final = ord("A")
_TABLE_TYPE: Final = ord("F")
_VOID_TYPE: Final = ord("V")

_SURROGATE_MIN: Final = 0xD800
_SURROGATE_MAX: Final = 0xDFFF

_WIDTHS: Final = {
    _TRUE: 1,
    _INT8_TYPE: 1,
    _UINT8_TYPE: 1,
    _INT16_TYPE: 2,
    _UINT16_TYPE: 2,
    _INT32_TYPE: 4,
    _UINT32_TYPE: 4,
    _INT64_TYPE: 8,
    _INT64_OTHER_TYPE: 8,
    _FLOAT32_TYPE: 4,
    _FLOAT64_TYPE: 8,
    _DECIMAL_TYPE: 5,
    _TIMESTAMP_TYPE: 8,
    _VOID_TYPE: 0,
}
"""Bytes of a value after its type octet; the other types begin with a length."""


def decode_table(encoded: bytes, pos: int, depth: int = 0) -> tuple[Table, int]:
    """Decode the table at ``pos``, its length first; return it and the position after it. Raises TableError."""
    pos, end = _extent(encoded, pos, len(encoded), depth)
    table: Table = {}
    while pos < end:
        name, pos = _decode_name(encoded, pos, end)
        table[name], pos = _decode_value(encoded, pos, end, depth)
    return table, pos


def skip_table(encoded: bytes, pos: int, depth: int = 0) -> int:
    """Return the position after the table at ``pos``. Raises TableError wherever ``decode_table`` would."""
    pos, end = _extent(encoded, pos, len(encoded), depth)
    widths = _WIDTHS
    try:
        while pos < end:
            pos += 1 + encoded[pos]
            kind = encoded[pos]
            width = widths.get(kind)
            if width is not None:
                pos += 1 + width
            elif kind == _STRING_TYPE:
                pos += 5 + int.from_bytes(encoded[pos + 1 : pos + 5], "big")
            else:
                pos = _skip_value(encoded, pos, end, depth)
    except IndexError as error:
        raise TableError("a field runs over the end of its table") from error
    if pos != end:
        raise TableError("a field runs over the end of its table")
    return pos


def encode_table(table: Table, depth: int = 0) -> bytes:
    """Encode a table with its length in front. Raises TableError for what has no place in one."""
    if depth > DEPTH_MAX:
        raise TableError(f"tables nest deeper than {DEPTH_MAX}")
    parts: list[bytes] = []
    for name, value in table.items():
        encoded_name = _to_bytes(name)
        if len(encoded_name) > NAME_BYTES_MAX:
            raise TableError(f"field name {name[:40]!r}... is longer than {NAME_BYTES_MAX} bytes")
        parts.append(bytes((len(encoded_name),)))
        parts.append(encoded_name)
        parts.append(_encode_value(value, depth))
    return _with_length(b"".join(parts))


def to_plain(value: object) -> object:
    """Return ``value`` as JSON can show it: plain numbers, strings, lists and dicts."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(to_plain(name)): to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return str(value)


def type_name(value: object) -> str:
    """The type of a decoded value in RabbitMQ's words (``rabbit_binary_parser``), as its errors name it."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def is_text(value: object) -> bool:
    """Whether every string inside is Unicode text, so that it can be stored and shown; decoding lets any bytes pass."""
    if isinstance(value, str):
        return value.isascii() or not any(
            [_SURROGATE_MIN <= ord(character) <= _SURROGATE_MAX for character in value]
        )
    if isinstance(value, dict):
        return all([is_text(name) and is_text(item) for name, item in value.items()])
    if isinstance(value, list):
        return all([is_text(item) for item in value])
    return True


def _extent(encoded: bytes, pos: int, limit: int, depth: int) -> tuple[int, int]:
    """Read a 32-bit length at ``pos``; return where its bytes begin and end."""
    if depth > DEPTH_MAX:
        raise TableError(f"tables nest deeper than {DEPTH_MAX}")
    if pos + 4 > limit:
        raise TableError("a length is cut off")
    start = pos + 4
    end = start + int.from_bytes(encoded[pos:start], "big")
    if end > limit:
        raise TableError("a value runs over the end of its table")
    return start, end


def _decode_name(encoded: bytes, pos: int, end: int) -> tuple[str, int]:
    stop = pos + 1 + encoded[pos]
    if stop >= end:
        raise TableError("a field runs over the end of its table")
    return encoded[pos + 1 : stop].decode("utf-8", "surrogateescape"), stop


def _decode_value(encoded: bytes, pos: int, end: int, depth: int) -> tuple[object, int]:
    """Decode the value at ``pos``, its type octet first."""
    kind = encoded[pos]
    pos += 1
    width = _WIDTHS.get(kind)
    if width is not None:
        if pos + width > end:
            raise TableError("a value runs over the end of its table")
        return _decode_scalar(encoded, pos, kind), pos + width
    if kind == _TABLE_TYPE:
        _extent(encoded, pos, end, depth + 1)
        return decode_table(encoded, pos, depth + 1)
    start, stop = _extent(encoded, pos, end, depth + 1)
    if kind == _STRING_TYPE:
        return encoded[start:stop].decode("utf-8", "surrogateescape"), stop
    if kind == _BYTES_TYPE:
        return encoded[start:stop], stop
    if kind != _ARRAY_TYPE:
        raise TableError(f"unknown field type {chr(kind)!r}")
    items: list[object] = []
    while start < stop:
        item, start = _decode_value(encoded, start, stop, depth + 1)
        items.append(item)
    return items, stop


def _decode_scalar(encoded: bytes, pos: int, kind: int) -> object:
    """Decode a value of fixed width; the caller has checked that it is there."""
    if kind == _TRUE:
        return encoded[pos] != 0
    if kind in (_INT64_TYPE, _INT64_OTHER_TYPE):
        return _INT64.unpack_from(encoded, pos)[0]
    if kind == _INT32_TYPE:
        return Int32(_INT32.unpack_from(encoded, pos)[0])
    if kind == _TIMESTAMP_TYPE:
        return Timestamp(_UINT64.unpack_from(encoded, pos)[0])
    if kind == _FLOAT64_TYPE:
        return _FLOAT64.unpack_from(encoded, pos)[0]
    if kind == _VOID_TYPE:
        return None
    if kind == _INT8_TYPE:
        return Int8(_INT8.unpack_from(encoded, pos)[0])
    if kind == _UINT8_TYPE:
        return UInt8(encoded[pos])
    if kind == _INT16_TYPE:
        return Int16(_INT16.unpack_from(encoded, pos)[0])
    if kind == _UINT16_TYPE:
        return UInt16(_UINT16.unpack_from(encoded, pos)[0])
    if kind == _UINT32_TYPE:
        return UInt32(U32.unpack_from(encoded, pos)[0])
    if kind == _FLOAT32_TYPE:
        return Float32(_FLOAT32.unpack_from(encoded, pos)[0])
    scale, unscaled = _DECIMAL.unpack_from(encoded, pos)
    return Decimal(scale, unscaled)


def _skip_value(encoded: bytes, pos: int, end: int, depth: int) -> int:
    kind = encoded[pos]
    pos += 1
    width = _WIDTHS.get(kind)
    if width is not None:
        if pos + width > end:
            raise TableError("a value runs over the end of its table")
        return pos + width
    start, stop = _extent(encoded, pos, end, depth + 1)
    if kind == _TABLE_TYPE:
        return skip_table(encoded, pos, depth + 1)
    if kind == _ARRAY_TYPE:
        while start < stop:
            start = _skip_value(encoded, start, stop, depth + 1)
    elif kind != _STRING_TYPE and kind != _BYTES_TYPE:
        raise TableError(f"unknown field type {chr(kind)!r}")
    return stop


def _encode_value(value: object, depth: int) -> bytes:
    """Encode a value with its type octet in front."""
    if isinstance(value, str):
        return b"S" + _with_length(_to_bytes(value))
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    # By type and not by isinstance: compiled code takes what it knows to be an int for a plain one.
    form = _NUMBER_FORMATS.get(type(value))
    if form is not None:
        return _encode_number(value, form[0], form[1])
    if value is None:
        return b"V"
    if isinstance(value, dict):
        return b"F" + encode_table(value, depth + 1)
    if isinstance(value, (list, tuple)):
        if depth >= DEPTH_MAX:
            raise TableError(f"tables nest deeper than {DEPTH_MAX}")
        return b"A" + _with_length(b"".join([_encode_value(item, depth + 1) for item in value]))
    if isinstance(value, bytes):
        return b"x" + _with_length(value)
    if isinstance(value, Decimal):
        return b"D" + _DECIMAL.pack(value.scale, value.unscaled)
    raise TableError(f"a {type(value).__name__} has no place in a table")


_NUMBER_FORMATS: Final[dict[type, tuple[bytes, Struct]]] = {
    int: (b"l", _INT64),
    Int32: (b"I", _INT32),
    Timestamp: (b"T", _UINT64),
    float: (b"d", _FLOAT64),
    Float32: (b"f", _FLOAT32),
    Int16: (b"s", _INT16),
    Int8: (b"b", _INT8),
    UInt8: (b"B", Struct(">B")),
    UInt16: (b"u", _UINT16),
    UInt32: (b"i", U32),
}


_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "long",
    Int8: "byte",
    UInt8: "unsignedbyte",
    Int16: "short",
    UInt16: "unsignedshort",
    Int32: "signedint",
    UInt32: "unsignedint",
    Timestamp: "timestamp",
    float: "double",
    Float32: "float",
    Decimal: "decimal",
    str: "longstr",
    bytes: "binary",
    list: "array",
    dict: "table",
    type(None): "void",
}


def _encode_number(value: object, kind: bytes, form: Struct) -> bytes:
    try:
        return kind + form.pack(value)
    except (StructError, OverflowError) as error:
        raise TableError(f"{value!r} does not fit type '{kind.decode()}'") from error


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TableError(f"{text[:40]!r} is no Unicode text") from error


def _with_length(encoded: bytes) -> bytes:
    if len(encoded) > min(TABLE_BYTES_MAX, U32_MAX):
        raise TableError(f"a table of {len(encoded)} bytes is over the limit of {TABLE_BYTES_MAX}")
    return U32.pack(len(encoded)) + encoded
