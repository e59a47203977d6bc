"""Many copies of one frame with running numbers in them, made at the speed of a copy, and compared as fast.

A load that costs the machine much would measure itself. So frames are not encoded one by one: a template is copied and
the columns of bytes that differ are written by slices with a stride. What a broker delivers is told the same way, by
comparing it with what it should have sent, byte for byte: nothing lost, nothing twice, nothing out of order.
"""

import sys
from array import array
from collections.abc import Iterable
from typing import Final

NUMBER_BYTES: Final = 8
"""Of the number at the start of every body."""


class LoadError(Exception):
    """The broker did not do what the load counts on: it lost, doubled, reordered or refused something."""


def write_numbers(block: bytearray, stride: int, at: int, numbers: Iterable[int], width: int) -> None:
    """Write each number, big-endian in ``width`` bytes, ``at`` bytes into each frame of ``stride`` bytes."""
    values = array("Q", numbers)
    if sys.byteorder == "little":
        values.byteswap()
    raw = values.tobytes()
    for column in range(width):
        block[at + column :: stride] = raw[8 - width + column :: 8]


def copies(template: bytes, count: int, *columns: tuple[int, int, Iterable[int]]) -> bytearray:
    """``count`` copies of a frame; a column is where its number stands, its width and the numbers."""
    block = bytearray(template * count)
    for at, width, numbers in columns:
        write_numbers(block, len(template), at, numbers, width)
    return block


def body(size: int) -> bytes:
    """A message's body: room for its number, then filling."""
    if size < NUMBER_BYTES:
        raise ValueError(f"a body has at least {NUMBER_BYTES} bytes for its number")
    return bytes(NUMBER_BYTES) + b"x" * (size - NUMBER_BYTES)


def explain(found: bytes | bytearray, expected: bytes | bytearray, stride: int, at: int) -> str:
    """Say which message is not the one that should have come."""
    for start in range(0, len(expected), stride):
        if found[start : start + stride] != expected[start : start + stride]:
            wanted, got = (
                int.from_bytes(bytes(part[start + at : start + at + NUMBER_BYTES]), "big")
                for part in (expected, found)
            )
            if wanted != got:
                return f"message {got} came where {wanted} was due"
            return f"message {wanted} came in other bytes than it was sent"
    return "nothing differs"
