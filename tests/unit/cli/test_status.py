"""``leveret status`` shows node, queues, shovels and links; its JSON keys are stable."""

import json
import os

import pytest

from edge.broker import Broker
from edge.cli import status
from edge.core.message import Message
from tests.unit.cli.conftest import Leveret

SHOVEL = {
    "name": "reports",
    "vhost": "/",
    "state": "running",
    "src_uri": "amqp://",
    "dest_uri": "amqp://base",
    "blocked_status": "stalled",
}
LINK = {"vhost": "/", "type": "exchange", "exchange": "fleet", "upstream": "base", "status": "error"}


async def test_it_shows_what_a_person_looks_for(leveret_command: Leveret, broker: Broker) -> None:
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "reports")
    broker.publish(vhost, "", [Message("", "reports", b"", b"hello")] * 12)
    broker.status_sources["shovels"] = lambda: [SHOVEL]
    broker.status_sources["federation-links"] = lambda: [LINK]
    result = await leveret_command("status")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith(f"edge-1  Leveret 0.1.0, process {os.getpid()}, up ")
    assert "listens on 127.0.0.1:5672 (amqp)" in lines
    assert "messages 12  messages_ready 12  messages_unacknowledged 0" in result.output
    for title in ("queues:", "shovels:", "federation links:"):
        assert title in lines
    assert ["/", "reports", "running", "stalled", "amqp://", "amqp://base"] in [
        line.split() for line in lines
    ]
    assert "last_error" not in result.output, "a column that no row fills is left out"


async def test_its_json_has_these_keys(leveret_command: Leveret, broker: Broker) -> None:
    broker.declare_queue(broker.vhost("/"), "reports")
    report = json.loads((await leveret_command("status", "--format", "json")).output)
    assert list(report) == ["node", "store", "listeners", "totals", "queues", "shovels", "federation_links"]
    assert tuple(report["node"]) == status.NODE_KEYS
    assert tuple(report["store"]) == status.STORE_KEYS
    assert tuple(report["queues"][0]) == status.QUEUE_KEYS
    assert report["shovels"] == []
    assert report["totals"]["queues"] == 1


async def test_it_shows_what_the_device_has_to_bear(leveret_command: Leveret, broker: Broker) -> None:
    def line_of(output: str) -> str:
        (line,) = [line for line in output.splitlines() if line.startswith("written ")]
        return line

    assert line_of((await leveret_command("status")).output).endswith("commits")
    broker.declare_queue(broker.vhost("/"), "reports")
    broker.publish(broker.vhost("/"), "", [Message("", "reports", b"", b"hello")] * 12)
    await broker.store.committed()
    line = line_of((await leveret_command("status")).output)
    assert ", 12 messages, " in line
    assert line.endswith(" bytes a message")


async def test_what_was_lost_and_what_is_wrong_with_the_disk_stands_above_the_queues(
    leveret_command: Leveret, broker: Broker
) -> None:
    broker.store.messages_lost(broker.declare_queue(broker.vhost("/"), "q"), [(5, 15)], 1)
    broker.store.warnings.append("/data is on tmpfs")
    lines = (await leveret_command("status")).output.splitlines()
    assert "LOST: messages of queue 'q' in vhost '/' cannot be read, 10 messages, sequences 5 to 14" in lines
    assert "warning: /data is on tmpfs" in lines
    report = json.loads((await leveret_command("status", "--format", "json")).output)
    assert report["store"]["messages_lost"] == 10


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(59_999, "59 s"), (61_000, "1 min 1 s"), (7_380_000, "2 h 3 min"), (90_000_000, "1 d 1 h")],
)
def test_durations_are_shown_by_their_two_largest_units(milliseconds: int, shown: str) -> None:
    assert status._duration(milliseconds) == shown
