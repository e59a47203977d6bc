"""A CRC-32 for every row: what a card has changed by itself is told from what was written.

SQLite checks the shape of its pages, not what lies in them: of a store filled with messages, a flipped bit hits the
inside of a blob nine times in ten. A CRC covers the whole row, its place included, and costs 0.3 us a kilobyte.
"""

import struct
import zlib
from typing import Final

_INTEGERS: Final = struct.Struct("<4q")


def batch_crc(batch: int, span: int, messages: int, message_bytes: int, data: bytes) -> int:
    """Of a row of ``batch``."""
    return zlib.crc32(data, zlib.crc32(_INTEGERS.pack(batch, span, messages, message_bytes)))


def cursor_crc(row: tuple[int, int, int, bytes, int, int, int]) -> int:
    """Of a row of ``cursor``, all columns but the CRC itself."""
    queue_id, next_sequence, low, ranges, messages, message_bytes, delivered = row
    head = zlib.crc32(_INTEGERS.pack(queue_id, next_sequence, low, messages))
    return zlib.crc32(ranges, zlib.crc32(_INTEGERS.pack(message_bytes, delivered, 0, 0), head))


def record_crc(kind: str, key: str, value: bytes) -> int:
    """Of a row of ``record``."""
    return zlib.crc32(value, zlib.crc32(f"{kind}\0{key}\0".encode()))
