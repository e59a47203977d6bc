"""What queues ask of the broker: pages, expiry and dead letters, with a store behind it."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge import broker as broker_module
from edge.broker import Broker
from edge.clock import SavedClock
from edge.core import queue as queue_module
from edge.core.properties import header
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.store.reader import Reader
from edge.store.store import encode
from tests.helpers.brokers import ManualClock, Taker, crash, message, numbered, start, stop, turn, until


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Broker]:
    made = await start(tmp_path, clock)
    yield made
    await stop(made)


@pytest.fixture
def vhost(broker: Broker) -> VHost:
    return broker.vhosts["/"]


def bodies(queue: Queue) -> list[bytes]:
    return [entry[1].body for entry in queue.ready]


class TestPaging:
    async def test_get_waits_for_the_page_that_holds_the_head(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        broker.declare_queue(broker.vhosts["/"], "q")
        broker.publish(broker.vhosts["/"], "", numbered(3))
        await broker.store.committed()
        await crash(broker)
        broker = await start(tmp_path)
        queue = broker.vhosts["/"].queues["q"]
        assert queue.pop(no_ack=True) is None
        await broker.page_in(queue)
        assert [queue.pop(no_ack=True) is not None for _ in range(4)] == [True, True, True, False]
        await broker.page_in(queue)
        await stop(broker)

    async def test_a_page_that_cannot_be_read_is_read_again_and_nothing_is_lost(
        self, broker: Broker, vhost: VHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
        monkeypatch.setattr(queue_module, "PAGE_IN_BELOW", 5)
        monkeypatch.setattr(broker_module, "PAGE_RETRY_S", 0.01)
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(20))
        broker.publish(vhost, "", numbered(20, 20))
        await broker.store.committed()
        failures = [sqlite3.OperationalError("disk I/O error"), OSError("gone")]
        page = Reader.page

        async def fail(*args: object) -> object:
            if failures:
                raise failures.pop()
            return await page(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(Reader, "page", fail)
        taker = Taker(queue)
        with caplog.at_level(logging.ERROR):
            broker.consume(taker)
            await until(lambda: len(taker.received) == 40)
        assert taker.sequences == list(range(40))
        assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
            "gone",
            "disk I/O error",
        ]

    async def test_a_queue_purged_and_filled_before_its_page_is_read_gives_nothing_twice(
        self, broker: Broker, vhost: VHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
        monkeypatch.setattr(queue_module, "PAGE_IN_BELOW", 5)
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(20))
        broker.publish(vhost, "", numbered(20, 20))
        await broker.store.committed()
        while queue not in broker._page_ins:
            assert queue.pop(no_ack=True) is not None
        queue.purge()
        broker.publish(vhost, "", numbered(15, 40))
        taker = Taker(queue)
        broker.consume(taker)
        await broker.store.committed()
        await until(lambda: len(taker.received) >= 15 and not broker._page_ins)
        await turn()
        assert taker.sequences == list(range(40, 55))

    async def test_a_queue_deleted_while_its_page_is_read_does_no_harm(
        self, broker: Broker, vhost: VHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
        monkeypatch.setattr(queue_module, "PAGE_IN_BELOW", 5)
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(20))
        broker.publish(vhost, "", numbered(20, 20))
        await broker.store.committed()
        taker = Taker(queue)
        broker.consume(taker)
        await turn(2)
        assert broker._page_ins
        broker.delete_queue(vhost, queue)
        await until(lambda: not broker._page_ins)
        await broker.store.committed()
        assert len(taker.received) == 20

    async def test_a_stop_does_not_wait_for_pages(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = await start(tmp_path)
        broker.declare_queue(broker.vhosts["/"], "q")
        broker.publish(broker.vhosts["/"], "", numbered(3))
        await stop(broker)
        broker = await start(tmp_path)

        async def never(*_: object) -> None:
            await asyncio.sleep(3600)

        monkeypatch.setattr(Reader, "page", never)
        broker.consume(Taker(broker.vhosts["/"].queues["q"]))
        await turn()
        assert broker._page_ins
        async with asyncio.timeout(1):
            await stop(broker)


class TestExpiry:
    async def test_messages_nobody_asks_for_expire_into_the_dead_letter_exchange(
        self, broker: Broker, vhost: VHost, clock: ManualClock
    ) -> None:
        waiting = broker.declare_queue(
            vhost,
            "waiting",
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "done"},
        )
        done = broker.declare_queue(vhost, "done")
        broker.publish(vhost, "", [message("waiting", b"1", expires_at_ms=1_010)])
        broker.publish(vhost, "", [message("waiting", b"2", expires_at_ms=1_020)])
        broker.publish(vhost, "", [message("waiting", b"3", expires_at_ms=99_000)])
        await turn()
        assert waiting.messages == 3
        clock.now_ms = 1_030
        await until(lambda: waiting.messages == 1)
        assert bodies(done) == [b"1", b"2"]

    async def test_they_expire_though_the_node_was_started_again_meanwhile(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        broker = await start(tmp_path, clock)
        vhost = broker.vhosts["/"]
        arguments: dict[str, object] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "done"}
        broker.declare_queue(vhost, "waiting", arguments=arguments)
        broker.declare_queue(vhost, "done")
        broker.publish(vhost, "", [message("waiting", b"1", expires_at_ms=1_040)])
        await broker.store.committed()
        await crash(broker)
        broker = await start(tmp_path, clock)
        done = broker.vhosts["/"].queues["done"]
        broker.resume()
        await until(lambda: len(broker.deadlines))
        assert not done.messages
        clock.now_ms = 2_000
        await until(lambda: done.messages)
        await stop(broker)
        assert not len(broker.deadlines)

    async def test_a_deleted_queue_has_no_timer_left(self, broker: Broker, vhost: VHost) -> None:
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", [message("q", expires_at_ms=50_000)])
        await turn()
        assert broker.deadlines.at_ms(queue) == 50_000
        broker.delete_queue(vhost, queue)
        assert not len(broker.deadlines)

    async def test_the_timer_follows_the_head(self, broker: Broker, vhost: VHost) -> None:
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", [message("q", expires_at_ms=50_000), message("q", expires_at_ms=40_000)])
        await turn()
        broker.schedule_dispatch(queue)
        await turn()
        assert broker.deadlines.at_ms(queue) == 50_000
        queue.pop(no_ack=True)
        broker.schedule_dispatch(queue)
        await turn()
        assert broker.deadlines.at_ms(queue) == 40_000

    async def test_a_saved_clock_of_another_boot_lets_no_down_time_count(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        queue = broker.declare_queue(broker.vhosts["/"], "q")
        now = broker.clock.elapsed_ms()
        broker.publish(broker.vhosts["/"], "", [message("q", expires_at_ms=now + 60_000)])
        broker.store.put("node", "clock", encode(SavedClock(now, "another boot", 10**12)))
        await broker.store.committed()
        await crash(broker)
        broker = await start(tmp_path)
        assert now <= broker.clock.elapsed_ms() < now + 10_000
        queue = broker.vhosts["/"].queues["q"]
        await broker.page_in(queue)
        assert queue.pop(no_ack=True) is not None
        await stop(broker)


class TestDeadLetters:
    def bound(self, broker: Broker, vhost: VHost, name: str, target: str, key: str) -> Queue:
        return broker.declare_queue(
            vhost,
            name,
            arguments={"x-dead-letter-exchange": target, "x-dead-letter-routing-key": key},
        )

    async def test_a_rejected_message_and_its_settling_are_one_commit(
        self, broker: Broker, vhost: VHost
    ) -> None:
        queue, dead = self.bound(broker, vhost, "q", "", "dead"), broker.declare_queue(vhost, "dead")
        broker.publish(vhost, "", numbered(1))
        await broker.store.committed()
        entry = queue.pop(no_ack=False)
        assert entry is not None
        before = broker.store.commits
        queue.reject([entry])
        await broker.store.committed()
        assert broker.store.commits == before + 1
        assert (queue.messages, dead.messages) == (0, 1)
        assert header(dead.ready[0][1].properties, "x-first-death-reason") == "rejected"

    async def test_an_internal_exchange_takes_dead_letters(self, broker: Broker, vhost: VHost) -> None:
        broker.declare_exchange(vhost, "dlx", "fanout", internal=True)
        dead = broker.declare_queue(vhost, "dead")
        broker.bind(vhost, "dlx", "dead", "")
        queue = self.bound(broker, vhost, "q", "dlx", "k")
        broker.publish(vhost, "", numbered(1))
        queue.reject([queue.pop(no_ack=False)])  # type: ignore[list-item]
        assert dead.messages == 1

    async def test_a_message_reaches_all_of_its_queues_before_what_it_drives_out_of_one(
        self, broker: Broker, vhost: VHost
    ) -> None:
        arguments: dict[str, object] = {
            "x-max-length": 1,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "q",
        }
        full, queue = (
            broker.declare_queue(vhost, "full", arguments=arguments),
            broker.declare_queue(vhost, "q"),
        )
        for name in ("full", "q"):
            broker.bind(vhost, "amq.fanout", name, "")
        for body in (b"1", b"2"):
            broker.publish(vhost, "amq.fanout", [message(body=body)])
        assert [entry[1].body for entry in full.ready] == [b"2"]
        assert [entry[1].body for entry in queue.ready] == [b"1", b"2", b"1"]

    async def test_a_long_way_of_dead_letters_needs_no_stack(self, broker: Broker, vhost: VHost) -> None:
        length = 300
        for i in range(length):
            arguments: dict[str, object] = {
                "x-max-length": 0,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"q{i + 1}",
            }
            broker.declare_queue(vhost, f"q{i}", arguments=arguments)
        end = broker.declare_queue(vhost, f"q{length}")
        broker.publish(vhost, "", [message("q0")])
        assert end.messages == 1

    @pytest.mark.parametrize("arguments", [{}, {"x-dead-letter-exchange": "gone"}])
    async def test_without_a_dead_letter_exchange_the_message_is_dropped(
        self, broker: Broker, vhost: VHost, arguments: dict[str, object]
    ) -> None:
        queue = broker.declare_queue(vhost, "q", arguments=arguments)
        broker.publish(vhost, "", numbered(1))
        queue.reject([queue.pop(no_ack=False)])  # type: ignore[list-item]
        assert queue.messages == 0

    async def test_a_message_that_goes_round_by_itself_is_dropped(
        self, broker: Broker, vhost: VHost, clock: ManualClock
    ) -> None:
        queue = self.bound(broker, vhost, "q", "", "q")
        broker.publish(vhost, "", [message("q", expires_at_ms=1_010)])
        clock.now_ms = 2_000
        await until(lambda: not queue.messages)
        await turn(10)
        assert not queue.messages

    async def test_a_message_that_is_rejected_each_time_goes_round(
        self, broker: Broker, vhost: VHost
    ) -> None:
        queue = self.bound(broker, vhost, "q", "", "q")
        broker.publish(vhost, "", numbered(1))
        for times in range(1, 4):
            entry = queue.pop(no_ack=False)
            assert entry is not None
            queue.reject([entry])
            deaths = header(queue.ready[0][1].properties, "x-death")
            assert isinstance(deaths, list)
            assert deaths[0]["count"] == times
