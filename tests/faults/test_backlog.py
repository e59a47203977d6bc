"""A backlog of a million: what it costs in RAM, and how soon the node is back with it."""

import time
from collections.abc import Callable

import pika
import pytest

from tests.bench import amqp
from tests.helpers.leveret import LeveretProcess

WAITING = 1_000_000
RSS_BYTES_MAX = 120 * 1000 * 1000
RECOVERY_S_MAX = 2.0


@pytest.mark.timeout(300)
def test_a_million_waiting_messages_need_little_ram_and_no_time_to_recover(
    make_leveret: Callable[..., LeveretProcess],
) -> None:
    node = make_leveret()
    amqp.fill(node.ports.amqp, "backlog", WAITING)
    full = node.rss_bytes()
    node.kill()
    begin = time.monotonic()
    node.start()
    recovery_s = time.monotonic() - begin
    with pika.BlockingConnection(pika.URLParameters(node.uri())) as connection:
        count = connection.channel().queue_declare("backlog", passive=True).method.message_count
    print(f"RSS with {WAITING:,} waiting: {full / 1e6:.0f} MB; answers {recovery_s:.2f} s after SIGKILL")
    assert count == WAITING
    assert full < RSS_BYTES_MAX
    assert recovery_s < RECOVERY_S_MAX
    amqp.drain(node.ports.amqp, "backlog", WAITING)
    assert node.rss_bytes() < RSS_BYTES_MAX
