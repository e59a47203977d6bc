"""The budget of bytes that a message may cost the flash it is kept on, as the kernel counts a node's writes."""

from collections.abc import Callable

import pytest

from edge.core.queue import WINDOW_MESSAGES
from edge.store.wear import written_bytes
from tests.bench import amqp, mqtt
from tests.helpers.leveret import LeveretProcess
from tests.helpers.ports import wait_until

COUNT = 100_000
FILL_BYTES_MAX = 350
"""A message of 100 bytes, published in batches and kept: RabbitMQ writes 600."""
DRAIN_BYTES_MAX = 100
"""The same, taken and acknowledged: deleting rows one by one costs 1,000."""


@pytest.fixture
def node(make_leveret: Callable[..., LeveretProcess]) -> LeveretProcess:
    return make_leveret()


def settled_bytes(node: LeveretProcess) -> int:
    """What the node has written once it writes no more: checkpoints and deletions come after the load."""
    before = -1

    def is_still() -> bool:
        nonlocal before
        last, before = before, written_bytes(node.pid)
        return last == before

    wait_until(is_still, what="the node to have written all", poll_s=0.5)
    return before


def test_a_backlog_that_is_filled_and_drained_in_batches_stays_within_the_budget(
    node: LeveretProcess,
) -> None:
    begin = settled_bytes(node)
    amqp.fill(node.ports.amqp, "wear", COUNT)
    filled = settled_bytes(node)
    amqp.drain(node.ports.amqp, "wear", COUNT)
    drained = settled_bytes(node)
    fill, drain = (filled - begin) / COUNT, (drained - filled) / COUNT
    print(f"bytes a message of 100: {fill:.0f} to fill, {drain:.0f} to drain")
    assert begin > 0, "the kernel does not count"
    assert fill <= FILL_BYTES_MAX
    assert drain <= DRAIN_BYTES_MAX


def test_what_goes_to_live_sessions_that_end_with_their_connection_is_not_written(
    node: LeveretProcess,
) -> None:
    # No more at once than a queue keeps in RAM: what a subscriber leaves waiting beyond that is written.
    begin = settled_bytes(node)
    for _ in range(COUNT // WINDOW_MESSAGES):
        mqtt.live(node.ports.mqtt, "wear", WINDOW_MESSAGES, qos=1)
    assert (settled_bytes(node) - begin) / COUNT < 1
