"""What a node writes is counted, and told by the kernel."""

import os
from pathlib import Path

from edge.store.wear import Wear, written_bytes
from tests.helpers.brokers import numbered, start, stop


def test_the_kernel_counts_what_a_process_writes(tmp_path: Path) -> None:
    before = written_bytes()
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    assert written_bytes() - before >= 1 << 20


def test_a_process_that_is_gone_has_written_nothing() -> None:
    assert written_bytes(2**22 + 1) == 0


def test_without_messages_there_is_no_number_of_bytes_a_message() -> None:
    assert Wear().details()["bytes_per_message"] is None


async def test_messages_count_once_for_each_queue_and_when_they_are_written(tmp_path: Path) -> None:
    broker = await start(tmp_path)
    vhost = broker.vhosts["/"]
    for name in ("a", "b"):
        broker.declare_queue(vhost, name)
        broker.bind(vhost, "amq.fanout", name, "")
    await broker.store.committed()
    before = broker.store.wear.details()
    broker.publish(vhost, "amq.fanout", numbered(10))
    assert broker.store.wear.details()["messages_written"] == before["messages_written"] == 0
    await broker.store.committed()
    after = broker.store.wear.details()
    assert after["messages_written"] == 20
    assert after["commits"] == int(before["commits"] or 0) + 1
    assert after["bytes_per_message"] is not None
    await stop(broker)
