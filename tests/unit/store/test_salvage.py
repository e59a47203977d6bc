"""What a fresh store has of a damaged one: rows as they are, and what follows from those that are gone."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.broker import Broker
from edge.store.checksum import record_crc
from edge.store.losses import Loss
from edge.store.salvage import Salvage, sort_row
from edge.store.store import FILE_NAME
from tests.helpers.brokers import numbered, start, stop


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    """A stopped node's store with 100 messages in each of two queues."""
    broker = await start(tmp_path / "data")
    vhost = broker.add_vhost("north")
    for name in ("a", "b"):
        broker.declare_queue(vhost, name)
        for i in range(10):
            broker.publish(vhost, "", numbered(10, i * 10, routing_key=name))
            await broker.store.committed()
    await stop(broker)
    return tmp_path / "data" / FILE_NAME


@pytest.fixture
def change(source: Path) -> Callable[..., None]:
    """Runs SQL on the damaged store."""

    def run(sql: str, *values: object) -> None:
        connection = sqlite3.connect(source)
        with connection:
            assert connection.execute(sql, values).rowcount
        connection.close()

    return run


def salvage(source: Path) -> list[Loss]:
    target = source.with_name("fresh")
    found = Salvage(source, source.with_name("none"), target).run()
    os.replace(target, source)
    return found


async def opened(source: Path) -> Broker:
    return await start(source.parent)


async def test_a_sound_store_is_salvaged_whole(source: Path) -> None:
    assert salvage(source) == []
    broker = await opened(source)
    assert [queue.messages for queue in broker.vhosts["north"].queues.values()] == [100, 100]
    assert broker.auth.users.keys() == {"guest"}
    await stop(broker)


async def test_a_queue_whose_record_is_bad_is_found_again_under_its_id(
    source: Path, change: Callable[..., None]
) -> None:
    change("UPDATE record SET crc = crc + 1 WHERE kind = 'queue' AND key = ?", "north\0a")
    assert [loss.text() for loss in salvage(source)] == [
        "the record of queue 'north / a' cannot be read",
        "the name of a queue cannot be read; its messages are in 'recovered-1' in vhost '/'",
    ]
    broker = await opened(source)
    assert broker.vhosts["/"].queues["recovered-1"].messages == 100
    assert broker.vhosts["north"].queues["b"].messages == 100
    fresh = broker.declare_queue(broker.vhosts["/"], "new")
    assert fresh.id > 2
    await stop(broker)


async def test_a_vhost_whose_record_is_bad_follows_from_what_is_in_it(
    source: Path, change: Callable[..., None]
) -> None:
    change("UPDATE record SET crc = crc + 1 WHERE kind = 'vhost' AND key = 'north'")
    salvage(source)
    broker = await opened(source)
    assert broker.vhosts["north"].queues.keys() == {"a", "b"}
    await stop(broker)


async def test_without_the_clocks_record_time_goes_on_from_the_newest_message(
    source: Path, change: Callable[..., None]
) -> None:
    change("UPDATE record SET crc = crc + 1 WHERE kind = 'node' AND key IN ('clock', 'next-queue-id')")
    connection = sqlite3.connect(source)
    (data,) = connection.execute("SELECT data FROM batch ORDER BY id DESC LIMIT 1").fetchone()
    connection.close()
    newest = msgspec.msgpack.decode(data)[0]
    assert len(newest) == 9
    salvage(source)
    broker = await opened(source)
    assert broker.clock.elapsed_ms() >= newest[6]
    assert broker.declare_queue(broker.vhosts["/"], "new").id > 2
    await stop(broker)


@pytest.mark.parametrize(
    "row",
    [
        (),
        (1, 2),
        (None, 1, 2, 3, b"", 4),
        ("node", "id", "text", 5),
        (1, 2, 3, "ranges", 5, 6, 7, 8),
        (1.5, 1, 1, 1, b"", 1),
    ],
)
def test_a_row_of_no_table_is_known(row: tuple[int | str | bytes | float | None, ...]) -> None:
    assert sort_row(row) is None


def test_a_row_is_sound_by_its_crc() -> None:
    row = ("node", "id", b"x", record_crc("node", "id", b"x"))
    found, bad = sort_row(row), sort_row((*row[:3], row[3] ^ 1))
    assert found is not None
    assert found.is_sound
    assert bad is not None
    assert not bad.is_sound
