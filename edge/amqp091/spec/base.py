"""The codec of methods: one class a method, its wire types beside its fields.

``WIRE`` has one letter a field: B octet, H short, I long, Q long long, b bit, s short string, S long string (bytes),
T table (sections 2.3.5.1 and 4.2.5). Only cold methods pass here; publish, deliver and ack have loops of their own.
"""

from typing import ClassVar, Final, TypeVar

import msgspec

from edge.amqp091.constants import FRAME_ERROR
from edge.amqp091.errors import ConnectionFault
from edge.core.table import TableError, decode_table, encode_table, is_text
from edge.wire import U16, U32, U64

CLIENT: Final = 1
SERVER: Final = 2
BOTH: Final = 3


class Method(msgspec.Struct):
    """Base of all methods."""

    ID: ClassVar[int] = 0
    """Class id << 16 | method id."""
    WIRE: ClassVar[str] = ""
    SENDER: ClassVar[int] = BOTH
    """Which role may send it."""
    CONTENT: ClassVar[bool] = False
    """A content header and body follow."""


M = TypeVar("M", bound=Method)


def decode_method(kind: type[M], payload: bytes) -> M:
    """Decode the arguments of a method frame. ``payload`` includes class and method id. Raises ConnectionFault 501."""
    values: list[object] = []
    pos = 4
    bit = 0
    try:
        for letter in kind.WIRE:
            if letter == "b":
                values.append(bool(payload[pos - (bit > 0)] >> bit & 1))
                pos += bit == 0
                bit = (bit + 1) & 7
                continue
            bit = 0
            value, pos = _decode_field(letter, payload, pos)
            values.append(value)
    except (IndexError, ValueError) as error:
        raise ConnectionFault(FRAME_ERROR, f"malformed {kind.__name__}: {error}", kind.ID) from error
    if pos != len(payload):
        raise ConnectionFault(FRAME_ERROR, f"malformed {kind.__name__}: wrong length", kind.ID)
    return kind(*values)


def encode_arguments(method: Method) -> bytes:
    """Encode class id, method id and arguments: the payload of a method frame. Raises ValueError."""
    parts = [U32.pack(method.ID)]
    bits = bit = 0
    for letter, name in zip(method.WIRE, method.__struct_fields__, strict=True):
        value = getattr(method, name)
        if letter == "b":
            bits |= bool(value) << bit
            bit += 1
            if bit < 8:
                continue
        if bit:
            parts.append(bytes((bits,)))
            bits = bit = 0
        if letter != "b":
            parts.append(_encode_field(letter, value))
    if bit:
        parts.append(bytes((bits,)))
    return b"".join(parts)


def _decode_field(letter: str, payload: bytes, pos: int) -> tuple[object, int]:
    if letter == "s":
        stop = pos + 1 + payload[pos]
        return _slice(payload, pos + 1, stop).decode(), stop
    if letter == "T":
        table, stop = decode_table(payload, pos)
        if not is_text(table):
            raise TableError("a string in the table is not UTF-8")
        return table, stop
    if letter == "S":
        start = pos + 4
        stop = start + int.from_bytes(_slice(payload, pos, start), "big")
        return _slice(payload, start, stop), stop
    stop = pos + _INT_BYTES[letter]
    return int.from_bytes(_slice(payload, pos, stop), "big"), stop


def _slice(payload: bytes, start: int, stop: int) -> bytes:
    if stop > len(payload):
        raise IndexError("cut off")
    return payload[start:stop]


_INT_BYTES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}


def encode_short_string(text: str) -> bytes:
    """Encode a short string. Raises ValueError over 255 bytes."""
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"{text[:40]!r}... is longer than 255 bytes")
    return bytes((len(encoded),)) + encoded


def _encode_field(letter: str, value: object) -> bytes:
    if letter == "s" and isinstance(value, str):
        return encode_short_string(value)
    if letter == "S" and isinstance(value, bytes):
        return U32.pack(len(value)) + value
    if letter == "T" and isinstance(value, dict):
        return encode_table(value)
    if isinstance(value, int):
        if letter == "H":
            return U16.pack(value)
        if letter == "I":
            return U32.pack(value)
        if letter == "Q":
            return U64.pack(value)
        return bytes((value,))
    raise ValueError(f"{value!r} cannot be encoded as {letter!r}")
