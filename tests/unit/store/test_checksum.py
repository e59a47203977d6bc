"""A CRC tells one flipped bit anywhere in a row, and a row that is not in its place."""

import random

from edge.store.checksum import batch_crc, cursor_crc, record_crc


def test_every_bit_of_a_batch_counts(rng: random.Random) -> None:
    data = rng.randbytes(50)
    good = batch_crc(7 << 40, 3, 4, 5, data)
    for bit in range(len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        assert batch_crc(7 << 40, 3, 4, 5, bytes(bad)) != good
    for column in range(4):
        for bit in range(60):
            row = [7 << 40, 3, 4, 5]
            row[column] ^= 1 << bit
            assert batch_crc(row[0], row[1], row[2], row[3], data) != good


def test_every_column_of_a_cursor_counts() -> None:
    row = (1, 100, 50, b"\x90", 50, 400, 60)
    good = cursor_crc(row)
    for column in (0, 1, 2, 4, 5, 6):
        changed = list(row)
        changed[column] += 1  # type: ignore[operator]
        assert cursor_crc(tuple(changed)) != good  # type: ignore[arg-type]
    assert cursor_crc((*row[:3], b"\x91", *row[4:])) != good


def test_key_and_value_of_a_record_do_not_run_into_each_other() -> None:
    assert len({record_crc("ab", "c", b"d"), record_crc("a", "bc", b"d"), record_crc("ab", "cd", b"")}) == 3
