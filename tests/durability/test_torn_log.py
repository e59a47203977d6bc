"""A power cut tears the transaction that is being written; the node takes it for that, and for nothing worse."""

import shutil
from pathlib import Path

import pytest

from edge.store.pages import FRAME_HEADER, MAGIC, PAGE_BYTES, frames, newest_page, read_wal_header
from edge.store.store import FILE_NAME
from tests.durability.found import look
from tests.helpers.brokers import crash, numbered, start

COUNT = 200


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """What a node leaves that is killed with everything in its log."""
    directory = tmp_path / "running"
    broker = await start(directory)
    broker.declare_queue(broker.vhosts["/"], "q")
    for message in numbered(COUNT):
        broker.publish(broker.vhosts["/"], "", [message])
        await broker.store.committed()
    left = tmp_path / "left"
    shutil.copytree(directory, left, ignore=shutil.ignore_patterns("*-shm"))
    await crash(broker)
    return left


def tear(directory: Path, *torn: tuple[int, int, bytes]) -> None:
    """Append frames whose checksum is wrong: (page, pages after commit, what has come of the page's bytes)."""
    with (directory / f"{FILE_NAME}-wal").open("r+b") as wal:
        header = read_wal_header(wal)
        assert header is not None
        *_, last = frames(wal, header)
        wal.seek(last.offset + PAGE_BYTES)
        for page, after, content in torn:
            wal.write(FRAME_HEADER.pack(page, after, *header.salts, 1, 2) + content)


HALF = MAGIC + bytes(500)
FIRST_SECTOR = (MAGIC + b"x" * 496).ljust(PAGE_BYTES, b"\0")


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param([(1, 0, FIRST_SECTOR)], id="first page, before the end of the transaction"),
        pytest.param([(1, 40, FIRST_SECTOR)], id="first page, at the end of the transaction"),
        pytest.param([(1, 0, FIRST_SECTOR), (9, 40, bytes(PAGE_BYTES))], id="all frames"),
        pytest.param([(1, 40, HALF)], id="the file ends in the page"),
        pytest.param([(1, 40, b"")], id="the file ends behind the frame's head"),
        pytest.param([], id="nothing"),
    ],
)
async def test_a_torn_transaction_costs_nothing_that_was_confirmed(
    crashed: Path, torn: list[tuple[int, int, bytes]]
) -> None:
    tear(crashed, *torn)
    with (crashed / f"{FILE_NAME}-wal").open("rb") as wal:
        page, count = newest_page(wal, 1)
    assert page[: len(FIRST_SECTOR)] != FIRST_SECTOR
    assert count >= COUNT + len(torn)
    found = await look(crashed)
    assert found.losses == []
    assert found.counts["q"] == COUNT
