"""``leveret store``: verify, inspect, export and import of a data directory without its node."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli.main import main
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties
from edge.store.store import FILE_NAME
from tests.helpers.brokers import Taker, message, numbered, start, stop, turn, until
from tests.helpers.leveret import LeveretProcess
from tests.helpers.read_only import read_only, read_only_works

PROPERTIES = encode_properties(
    BasicProperties(content_type="text/plain", headers={"site": "north", "raw": b"\x01"})
)


def leveret(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["store", *[str(argument) for argument in arguments]])


async def make(directory: Path) -> Path:
    """2,000 messages in 'reports', of which 0 to 99 and 500 are settled; one in 'alarms', by way of 'fleet'."""
    broker = await start(directory)
    vhost = broker.vhosts["/"]
    queue = broker.declare_queue(vhost, "reports")
    broker.declare_queue(vhost, "alarms", arguments={"x-message-ttl": 60_000})
    broker.declare_exchange(vhost, "fleet", "topic")
    broker.bind(vhost, "fleet", "alarms", "#.alarm")
    broker.publish(vhost, "", numbered(2000, routing_key="reports"))
    broker.publish(
        vhost, "fleet", [message("a.alarm", b"\xff\x00binary", properties=PROPERTIES, exchange="fleet")]
    )
    await broker.store.committed()
    taker = Taker(queue, prefetch=501)
    broker.consume(taker)
    await turn(5)
    entries, taker.held = taker.held, []
    queue.settle([entry for entry in entries if entry[0] < 100 or entry[0] == 500])
    queue.requeue([entry for entry in entries if entry[0] >= 100 and entry[0] != 500])
    broker.cancel(taker)
    await broker.store.committed()
    await stop(broker)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return asyncio.run(make(tmp_path / "data"))


def snapshot(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def numbers_in(directory: Path, name: str = "reports") -> list[int]:
    async def drain() -> list[int]:
        broker = await start(directory)
        queue = broker.vhosts["/"].queues[name]
        taker = Taker(queue, no_ack=True)
        broker.consume(taker)
        await until(lambda: not queue.messages)
        await stop(broker)
        return [int(body) for body in taker.bodies]

    return asyncio.run(drain())


LEFT = [n for n in range(100, 2000) if n != 500]


class TestVerify:
    def test_a_sound_store_is_ok(self, store: Path) -> None:
        before = snapshot(store)
        done = leveret("verify", "--data-dir", store)
        assert (done.exit_code, done.output) == (0, f"{store / FILE_NAME}: ok, 1900 messages\n")
        assert snapshot(store) == before

    def test_a_damaged_one_is_told_by_exit_status_and_by_what_is_lost(self, store: Path) -> None:
        file = store / FILE_NAME
        raw = bytearray(file.read_bytes())
        raw[raw.index(b"00000700")] ^= 1
        file.write_bytes(raw)
        done = leveret("verify", "--data-dir", store, "--format", "json")
        assert done.exit_code == 1
        report = json.loads(done.output)
        assert not report["ok"]
        where = "messages of queue 'reports' in vhost '/' cannot be read"
        assert report["lost"] == [
            f"{where}, 400 messages, sequences 100 to 499",
            f"{where}, 523 messages, sequences 501 to 1023",
        ]
        assert file.read_bytes() == raw

    def test_a_bad_header_is_named_and_nothing_is_lost(self, store: Path) -> None:
        file = store / FILE_NAME
        file.write_bytes(b"X" + file.read_bytes()[1:])
        done = leveret("verify", "--data-dir", store)
        assert (done.exit_code, done.output.splitlines()[1:]) == (1, ["damaged: its header is damaged"])

    def test_a_store_whose_log_is_gone_though_its_node_was_killed_is_told(
        self, make_leveret: Callable[..., LeveretProcess]
    ) -> None:
        node = make_leveret()
        node.kill()
        assert leveret("verify", "--data-dir", node.data_dir).exit_code == 0
        (node.data_dir / f"{FILE_NAME}-wal").unlink()
        done = leveret("verify", "--data-dir", node.data_dir)
        assert done.exit_code == 1
        assert "damaged: the write-ahead log is missing: what was committed since" in done.output

    def test_without_a_store_it_says_where_it_looked(self, tmp_path: Path) -> None:
        done = leveret("verify", "--data-dir", tmp_path)
        assert (done.exit_code, done.output) == (
            1,
            f"Error: {tmp_path / FILE_NAME}: there is no store; name its directory by --data-dir or --config\n",
        )

    def test_a_running_node_is_named_by_its_process(
        self, make_leveret: Callable[..., LeveretProcess]
    ) -> None:
        node = make_leveret()
        for command in (["verify"], ["inspect"], ["export", "-"]):
            done = leveret(*command, "--data-dir", node.data_dir)
            assert done.exit_code == 1
            assert f"is in use by a running node, process id {node.pid}; stop it first" in done.output

    def test_the_directory_is_found_by_the_configuration(self, store: Path) -> None:
        path = store.parent / "leveret.toml"
        path.write_text('[node]\ndata_dir = "data"\n')
        assert leveret("verify", "--config", path).exit_code == 0
        path.write_text("[nod]\n")
        assert leveret("verify", "--config", path).exit_code == 2


class TestInspect:
    def test_queues_are_shown_with_counts_and_sizes(self, store: Path) -> None:
        rows = json.loads(leveret("inspect", "--data-dir", store, "--format", "json").output)
        assert rows[1] == {
            "vhost": "/",
            "name": "reports",
            "id": 1,
            "kind": "classic",
            "messages": 1899,
            "message_bytes": 1899 * 8,
            "first": 100,
            "last": 1999,
            "batches": 2,
        }
        assert (rows[0]["name"], rows[0]["messages"]) == ("alarms", 1)

    def test_single_messages_are_shown_from_a_sequence_on(self, store: Path) -> None:
        done = leveret(
            "inspect", "reports", "--data-dir", store, "--from", "499", "--limit", "2", "--format", "json"
        )
        rows = json.loads(done.output)
        assert [(row["sequence"], row["body"]) for row in rows] == [(499, "00000499"), (501, "00000501")]
        assert rows[0]["flags"] == "persistent"

    def test_properties_are_decoded_and_bodies_that_are_no_text_are_hex(self, store: Path) -> None:
        (row,) = json.loads(leveret("inspect", "alarms", "--data-dir", store, "--format", "json").output)
        assert row["body"] == "0xff0062696e617279"
        assert row["properties"]["content_type"] == "text/plain"
        assert row["properties"]["headers"]["site"] == "north"
        assert (row["exchange"], row["routing_key"]) == ("fleet", "a.alarm")
        table = leveret("inspect", "alarms", "--data-dir", store).output
        assert "0xff0062696e617279" in table

    def test_an_unknown_queue_is_named(self, store: Path) -> None:
        done = leveret("inspect", "nowhere", "--data-dir", store)
        assert (done.exit_code, done.output) == (1, "Error: no queue 'nowhere' in vhost '/'\n")

    def test_of_a_damaged_store_it_shows_what_can_be_salvaged(self, store: Path) -> None:
        file = store / FILE_NAME
        file.write_bytes(b"X" + file.read_bytes()[1:])
        done = CliRunner().invoke(main, ["store", "inspect", "--data-dir", str(store)])
        assert "damaged: its header is damaged; this is what can be salvaged" in done.stderr
        assert "reports" in done.stdout


class TestExportAndImport:
    def test_everything_comes_into_another_node_once(self, store: Path, tmp_path: Path) -> None:
        file, other = tmp_path / "card.jsonl", tmp_path / "other"
        before = snapshot(store)
        done = leveret("export", file, "--data-dir", store)
        assert (done.exit_code, done.output) == (0, "1900 messages of 2 queues\n")
        assert snapshot(store) == before
        done = leveret("import", file, "--data-dir", other)
        assert (done.exit_code, done.output) == (0, "1900 messages imported, 0 were there already\n")
        done = leveret("import", file, "--data-dir", other)
        assert (done.exit_code, done.output) == (0, "0 messages imported, 1900 were there already\n")
        (alarm,) = json.loads(leveret("inspect", "alarms", "--data-dir", other, "--format", "json").output)
        assert alarm["properties"]["headers"]["site"] == "north"
        assert numbers_in(other) == LEFT
        again = leveret("import", file, "--data-dir", other)
        assert "1900 were there already" in again.output, "drained meanwhile, and not taken again"

    def test_what_was_exported_later_adds_what_is_new(self, store: Path, tmp_path: Path) -> None:
        first, second, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl", tmp_path / "other"
        assert leveret("export", first, "--data-dir", store).exit_code == 0

        async def more() -> None:
            broker = await start(store)
            broker.publish(broker.vhosts["/"], "", numbered(5, 2000, routing_key="reports"))
            await broker.store.committed()
            await stop(broker)

        asyncio.run(more())
        assert leveret("export", second, "--data-dir", store).exit_code == 0
        assert leveret("import", first, "--data-dir", other).exit_code == 0
        assert leveret("import", second, "--data-dir", other).output.startswith(
            "5 messages imported, 1900 were"
        )
        assert numbers_in(other) == [*LEFT, *range(2000, 2005)]

    def test_a_line_that_is_none_is_named_and_what_came_before_it_stays(
        self, store: Path, tmp_path: Path
    ) -> None:
        file, other = tmp_path / "card.jsonl", tmp_path / "other"
        leveret("export", file, "--data-dir", store)
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:1500]) + b"{}\n")
        done = leveret("import", file, "--data-dir", other)
        assert done.exit_code == 1
        assert "line 1501 is not an export's" in done.output
        file.write_bytes(b"".join(lines))
        assert leveret("import", file, "--data-dir", other).exit_code == 0
        assert numbers_in(other) == LEFT

    def test_what_is_no_export_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "x"
        file.write_text('{"type": "vhost", "name": "/"}\n')
        done = leveret("import", file, "--data-dir", tmp_path / "other")
        assert (done.exit_code, done.output) == (1, f"Error: {file}: line 1 is not an export's first line\n")

    def test_an_export_of_a_later_form_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "x"
        file.write_text('{"type": "leveret-export", "format": 2, "node": "n"}\n')
        done = leveret("import", file, "--data-dir", tmp_path / "other")
        assert "the export has format 2, this Leveret reads up to 1" in done.output

    def test_a_queue_that_is_another_here_is_refused_by_name(self, store: Path, tmp_path: Path) -> None:
        file, other = tmp_path / "card.jsonl", tmp_path / "other"
        leveret("export", file, "--data-dir", store)

        async def declare() -> None:
            broker = await start(other)
            broker.declare_exchange(broker.vhosts["/"], "fleet", "direct")
            await broker.store.committed()
            await stop(broker)

        asyncio.run(declare())
        done = leveret("import", file, "--data-dir", other)
        assert done.exit_code == 1
        assert "refused: inequivalent arg 'type' for exchange 'fleet' in vhost '/'" in done.output
        assert numbers_in(other) == LEFT

    def test_a_quarantined_store_is_exported_by_its_name(self, store: Path, tmp_path: Path) -> None:
        bad = store / f"{FILE_NAME}.quarantined-1"
        raw = (store / FILE_NAME).read_bytes()
        (store / FILE_NAME).rename(bad)
        bad.write_bytes(b"X" + raw[1:])
        done = leveret("export", "-", "--data-dir", store, "--file", bad)
        assert done.exit_code == 0
        assert "damaged: its header is damaged" in done.output
        assert '"sequence":1999' in done.output


def test_an_exported_message_says_what_is_left_of_its_life(tmp_path: Path) -> None:
    async def expiring() -> None:
        broker = await start(tmp_path / "a")
        broker.declare_queue(broker.vhosts["/"], "q")
        at_ms = broker.elapsed_ms() + 60_000
        broker.publish(broker.vhosts["/"], "", [Message("", "q", b"\0\0", b"x", expires_at_ms=at_ms)])
        await broker.store.committed()
        await stop(broker)

    asyncio.run(expiring())
    leveret("export", tmp_path / "x", "--data-dir", tmp_path / "a")
    line = json.loads((tmp_path / "x").read_text().splitlines()[-1])
    assert 50_000 < line["expires_in_ms"] <= 60_000


if read_only_works():

    def test_a_store_with_a_log_is_read_from_a_read_only_card(
        make_leveret: Callable[..., LeveretProcess],
    ) -> None:
        node = make_leveret()
        node.kill()
        assert (node.data_dir / f"{FILE_NAME}-wal").stat().st_size
        with read_only(node.data_dir):
            before = snapshot(node.data_dir)
            assert leveret("verify", "--data-dir", node.data_dir).exit_code == 0
            assert leveret("inspect", "--data-dir", node.data_dir).exit_code == 0
            assert snapshot(node.data_dir) == before
