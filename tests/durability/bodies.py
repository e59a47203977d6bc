"""Messages that tell who they are and whether they are whole."""

import zlib

Key = tuple[str, int]
"""Publisher, and its number of the message."""

SIZES = (20, 100, 100, 300, 1500)


def body_of(publisher: str, number: int) -> bytes:
    """A message's body: who it is, and filling that shows a wrong byte."""
    head = f"{publisher} {number} "
    size = SIZES[zlib.crc32(head.encode()) % len(SIZES)]
    return (head * (size // len(head) + 1)).encode()[: max(size, len(head))]


def key_of(body: bytes) -> Key:
    """Raises ValueError for a body that is none."""
    publisher, number, _ = body.decode().split(" ", 2)
    if body_of(publisher, int(number)) != body:
        raise ValueError(f"the body of {publisher} {number} is damaged")
    return publisher, int(number)
