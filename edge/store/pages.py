"""The store's file as pages, read without SQLite: what is left when SQLite gives up at the first bad page.

File format: https://www.sqlite.org/fileformat2.html; numbers of its sections are cited. Every b-tree page is looked at
for itself, so a bad page costs what is on it and nothing else. A row is believed by its CRC, not by its place.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

PAGE_BYTES: Final = 4096
"""Of every store, see ``edge.store.schema``; not taken from the header, which may be what is bad."""
MAGIC: Final = b"SQLite format 3\0"
WAL_HEADER: Final = struct.Struct(">8I")
FRAME_HEADER: Final = struct.Struct(">6I")
FRAME_BYTES: Final = FRAME_HEADER.size + PAGE_BYTES
TABLE_LEAF: Final = 0x0D
INDEX_LEAF: Final = 0x0A
INDEX_INTERIOR: Final = 0x02
_WORDS: Final = PAGE_BYTES // 4 + 2

Value = int | float | bytes | str | None
_LITTLE: Final = struct.Struct(f"<{_WORDS}I")
_BIG: Final = struct.Struct(f">{_WORDS}I")


class WalHeader(NamedTuple):
    """The head of a write-ahead log (section 4.1)."""

    is_big_endian: bool
    salts: tuple[int, int]
    checksum: tuple[int, int]


class Frame(NamedTuple):
    """A page in the write-ahead log (section 4.1)."""

    page: int
    pages_after_commit: int
    """Size of the database when this frame ends a transaction, else 0."""
    checksum: tuple[int, int]
    offset: int
    """Of the page's bytes."""


def read_wal_header(wal: BinaryIO) -> WalHeader | None:
    """None when there is no sound header."""
    wal.seek(0)
    raw = wal.read(WAL_HEADER.size)
    if len(raw) < WAL_HEADER.size:
        return None
    magic, _version, page_bytes, _sequence, *rest = WAL_HEADER.unpack(raw)
    if magic & ~1 != 0x377F0682 or page_bytes != PAGE_BYTES:
        return None
    words = struct.unpack(">6I" if magic & 1 else "<6I", raw[:24])
    if _checksum(words, (0, 0)) != (rest[2], rest[3]):
        return None
    return WalHeader(bool(magic & 1), (rest[0], rest[1]), (rest[2], rest[3]))


def frames(wal: BinaryIO, header: WalHeader, skip: int = 0) -> Iterator[Frame]:
    """Frames of the log's present turn behind the first ``skip``, sound or not; older ones have other salts."""
    offset = WAL_HEADER.size + skip * FRAME_BYTES
    while True:
        wal.seek(offset)
        raw = wal.read(FRAME_HEADER.size)
        if len(raw) < FRAME_HEADER.size:
            return
        page, after, salt_1, salt_2, sum_1, sum_2 = FRAME_HEADER.unpack(raw)
        if (salt_1, salt_2) != header.salts:
            return
        yield Frame(page, after, (sum_1, sum_2), offset + FRAME_HEADER.size)
        offset += FRAME_BYTES


def _checksum(words: tuple[int, ...], seed: tuple[int, int]) -> tuple[int, int]:
    """Section 4.2."""
    first, second = seed
    for i in range(0, len(words), 2):
        first = (first + words[i] + second) & 0xFFFFFFFF
        second = (second + words[i + 1] + first) & 0xFFFFFFFF
    return first, second


def sound_frames(wal: BinaryIO) -> dict[int, int]:
    """Page -> offset of its newest bytes in the log.

    SQLite ends at the first bad frame. Here each frame is judged by the checksum that stands in the one before it, so
    a bad one costs itself, and the one behind it when the checksum itself is bad. Frames behind the last commit are
    left out.
    """
    header = read_wal_header(wal)
    found: dict[int, int] = {}
    if header is None:
        return found
    unpack = _BIG.unpack if header.is_big_endian else _LITTLE.unpack
    seed = header.checksum
    uncommitted: dict[int, int] = {}
    for frame in frames(wal, header):
        if _sound_bytes(wal, seed, frame, unpack):
            uncommitted[frame.page] = frame.offset
            if frame.pages_after_commit:
                found |= uncommitted
                uncommitted = {}
        seed = frame.checksum
    return found


def torn_commits(wal: BinaryIO) -> int:
    """Transactions behind the first bad frame, which SQLite ignores. A power cut tears one, a bad card more."""
    header = read_wal_header(wal)
    if header is None:
        return 0
    unpack = _BIG.unpack if header.is_big_endian else _LITTLE.unpack
    seed, is_sound, torn = header.checksum, True, 0
    for frame in frames(wal, header):
        is_sound = is_sound and bool(_sound_bytes(wal, seed, frame, unpack))
        torn += not is_sound and frame.pages_after_commit > 0
        seed = frame.checksum
    return torn


def newest_page(wal: BinaryIO, number: int) -> tuple[bytes, int]:
    """A page as the log's last sound transaction has it, empty if it has none; and how many frames there are.

    Reads the heads of all frames, but the bytes of few: what a power cut has torn is at the end.
    """
    header = read_wal_header(wal)
    if header is None:
        return b"", 0
    unpack = _BIG.unpack if header.is_big_endian else _LITTLE.unpack
    seed, count = header.checksum, 0
    #: (seed, frame) of the page's frames, and of the frame that ends the transaction of each.
    open_ones: list[tuple[tuple[int, int], Frame]] = []
    ended: list[tuple[tuple[tuple[int, int], Frame], tuple[tuple[int, int], Frame]]] = []
    for frame in frames(wal, header):
        count += 1
        if frame.page == number:
            open_ones = [(seed, frame)]
        if frame.pages_after_commit:
            ended += [(one, (seed, frame)) for one in open_ones]
            open_ones = []
        seed = frame.checksum
    for one, last in reversed(ended):
        if _sound_bytes(wal, *last, unpack) and (page := _sound_bytes(wal, *one, unpack)):
            return page, count
    return b"", count


def _sound_bytes(
    wal: BinaryIO, seed: tuple[int, int], frame: Frame, unpack: Callable[[bytes], tuple[int, ...]]
) -> bytes:
    """The page in a frame, empty when its checksum, which goes on from ``seed``, is not right."""
    wal.seek(frame.offset - FRAME_HEADER.size)
    head = wal.read(FRAME_HEADER.size)[:8]
    page = wal.read(PAGE_BYTES)
    if len(page) < PAGE_BYTES or _checksum(unpack(head + page), seed) != frame.checksum:
        return b""
    return page


class Pages:
    """A database file with its write-ahead log over it. Raises OSError when they cannot be read at all."""

    def __init__(self, path: Path, wal_path: Path) -> None:
        self._file = path.open("rb")
        self._wal = wal_path.open("rb") if wal_path.exists() else None
        self._in_wal = sound_frames(self._wal) if self._wal is not None else {}
        in_file = -(-os.fstat(self._file.fileno()).st_size // PAGE_BYTES)
        self.count = max([in_file, *self._in_wal])
        first = self.page(1)
        #: What the header says, where there is one.
        self.declared_count = int.from_bytes(first[28:32], "big") if first[:16] == MAGIC else 0
        self.free = self._free_pages(first)
        #: Pages that should hold rows and do not.
        self.bad_pages = 0

    def close(self) -> None:
        self._file.close()
        if self._wal is not None:
            self._wal.close()

    def page(self, number: int) -> bytes:
        """The newest bytes of a page; short or empty when the file ends before it."""
        offset = self._in_wal.get(number)
        if offset is not None and self._wal is not None:
            self._wal.seek(offset)
            return self._wal.read(PAGE_BYTES)
        self._file.seek((number - 1) * PAGE_BYTES)
        try:
            return self._file.read(PAGE_BYTES)
        except OSError:
            # A sector that the card does not give out any more (EIO).
            return b""

    def _free_pages(self, first: bytes) -> set[int]:
        """Pages of the freelist (section 1.5): they still look like what they were."""
        found: set[int] = set()
        trunk = int.from_bytes(first[32:36], "big") if first[:16] == MAGIC else 0
        while 1 < trunk <= self.count and trunk not in found:
            found.add(trunk)
            page = self.page(trunk)
            leaves = min(int.from_bytes(page[4:8], "big"), (PAGE_BYTES - 8) // 4)
            found.update(int.from_bytes(page[8 + 4 * i : 12 + 4 * i], "big") for i in range(leaves))
            trunk = int.from_bytes(page[:4], "big")
        return found

    def rows(self) -> Iterator[list[Value]]:
        """Every row of every page, the rowid in place of the column that stands for it, in no order.

        Rows may be nonsense: whoever asks knows them by their CRC.
        """
        for number in range(2, self.count + 1):
            if number in self.free:
                continue
            page = self.page(number)
            kind = page[0] if page else 0xFF
            if kind == 0 and page != bytes(len(page)):
                # An overflow page: it begins with the number of the next one.
                continue
            if kind in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR, 0x05):
                yield from self._cells(page, kind)
                # One bit makes an interior page of a leaf.
                if kind in (0x05, INDEX_INTERIOR):
                    yield from self._cells(page, TABLE_LEAF if kind == 0x05 else INDEX_LEAF)
            else:
                self.bad_pages += 1
                yield from self._cells(page, TABLE_LEAF)
                yield from self._cells(page, INDEX_LEAF)

    def _cells(self, page: bytes, kind: int) -> Iterator[list[Value]]:
        """Rows of a page, taken for one of ``kind`` (section 1.6)."""
        if len(page) < PAGE_BYTES or kind == 0x05:
            return
        head = 12 if kind == INDEX_INTERIOR else 8
        count = min(int.from_bytes(page[3:5], "big"), (PAGE_BYTES - head) // 2)
        for i in range(count):
            at = int.from_bytes(page[head + 2 * i : head + 2 * i + 2], "big")
            if head + 2 * count <= at < PAGE_BYTES - 3:
                row = self._cell(page, at, kind)
                if row is not None:
                    yield row

    def _cell(self, page: bytes, at: int, kind: int) -> list[Value] | None:
        if kind == INDEX_INTERIOR:
            at += 4
        size, at = varint(page, at)
        rowid = None
        if kind == TABLE_LEAF:
            rowid, at = varint(page, at)
        if size > self.count * PAGE_BYTES:
            return None
        payload = self._payload(page, at, size, kind)
        row = decode_row(payload)
        if row and rowid is not None and row[0] is None:
            row[0] = rowid - (1 << 64) if rowid >> 63 else rowid
        return row

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        """Local bytes and those of the overflow pages (section 1.6); shorter when the chain is broken."""
        local_max = PAGE_BYTES - 35 if kind == TABLE_LEAF else (PAGE_BYTES - 12) * 64 // 255 - 23
        if size <= local_max:
            return page[at : at + size]
        local_min = (PAGE_BYTES - 12) * 32 // 255 - 23
        local = local_min + (size - local_min) % (PAGE_BYTES - 4)
        if local > local_max:
            local = local_min
        parts = [page[at : at + local]]
        left = size - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0 and 1 < following <= self.count:
            overflow = self.page(following)
            parts.append(overflow[4 : 4 + left])
            left -= PAGE_BYTES - 4
            following = int.from_bytes(overflow[:4], "big")
        return b"".join(parts)


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """SQLite's own variable-length integers (section 1.6): big-endian, nine bytes at most. Ends with the bytes."""
    value = 0
    for i in range(at, min(at + 8, len(raw))):
        value = value << 7 | raw[i] & 0x7F
        if raw[i] < 0x80:
            return value, i + 1
    if at + 8 < len(raw):
        return value << 8 | raw[at + 8], at + 9
    return value, len(raw)


def decode_row(payload: bytes) -> list[Value] | None:
    """The columns of a record (section 2.1); None when it is none."""
    end, at = varint(payload, 0)
    if not 1 < end <= min(len(payload), 64):
        return None
    types: list[int] = []
    while at < end:
        serial, at = varint(payload, at)
        types.append(serial)
    row: list[Value] = []
    for serial in types:
        size = _SIZES[serial] if serial < 12 else (serial - 12) // 2
        # Perhaps less than that, where a chain of overflow pages is broken; what came before it is still of use.
        raw = payload[end : end + size]
        end += size
        row.append(_value(serial, raw))
    return row


_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)


def _value(serial: int, raw: bytes) -> Value:
    if serial == 0 or serial in (10, 11):
        return None
    if serial <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if serial == 7:
        # Of no column of ours.
        return 0.0
    if serial in (8, 9):
        return serial - 8
    return raw if serial % 2 == 0 else raw.decode(errors="replace")
