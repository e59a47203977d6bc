"""A power cut while a store is made: nothing was there that could be lost, and nothing is reported."""

# ruff: noqa: ASYNC240  # a test's own loop may wait for a small file

import shutil
from pathlib import Path

import pytest

from edge.store.pages import PAGE_BYTES
from edge.store.store import FILE_NAME
from tests.helpers.brokers import crash, start, stop


@pytest.mark.parametrize("size", [512, PAGE_BYTES - 512, PAGE_BYTES])
async def test_a_first_write_of_which_no_byte_reached_the_disk_leaves_a_new_store(
    tmp_path: Path, size: int
) -> None:
    (tmp_path / FILE_NAME).write_bytes(bytes(size))
    broker = await start(tmp_path)
    assert not broker.store.was_rolled_back
    broker.declare_queue(broker.vhosts["/"], "q")
    await stop(broker)
    assert not list(tmp_path.glob("*quarantined*"))
    again = await start(tmp_path)
    assert "q" in again.vhosts["/"].queues
    await stop(again)


async def test_a_store_whose_first_page_is_only_in_its_log_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    broker = await start(tmp_path / "live")
    broker.declare_queue(broker.vhosts["/"], "q")
    await broker.store.committed()
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "live", copy)
    await crash(broker)
    (copy / FILE_NAME).write_bytes(bytes(PAGE_BYTES))
    again = await start(copy)
    assert "q" in again.vhosts["/"].queues
    await stop(again)
