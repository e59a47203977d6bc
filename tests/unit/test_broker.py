"""The broker's face: what protocols call, with a store behind it."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.auth.topics import TopicPermission
from edge.auth.users import Permission
from edge.broker import Broker
from edge.clock import Clock
from edge.core import queue as queue_module
from edge.core.consumer import Entry
from edge.core.errors import AccessRefused, NotFound, PreconditionFailed, ResourceLocked
from edge.core.host import QueueHost
from edge.core.policy import Policy
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.store.connections import CLEAN_STOP
from edge.store.reader import Reader
from edge.store.store import FILE_NAME
from tests.helpers.brokers import ManualClock, Taker, crash, numbered, start, stop, turn, until


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


class TestStart:
    async def test_a_new_node_has_vhost_guest_and_an_id_that_stays(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        node_id = broker.node_id
        assert list(broker.vhosts) == ["/"]
        broker.auth.authenticate("guest", "guest", peer_is_loopback=True)
        broker.auth.check(broker.auth.users["guest"], "/", "configure", "anything")
        await crash(broker)
        broker = await start(tmp_path)
        assert broker.node_id == node_id
        broker.auth.authenticate("guest", "guest", peer_is_loopback=True)
        assert broker.vhost("/") is broker.vhosts["/"]
        with pytest.raises(NotFound, match="vhost 'x' not found"):
            broker.vhost("x")
        await stop(broker)

    async def test_a_node_killed_at_any_commit_of_its_first_start_is_whole_at_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = Reader.records
        copies: list[Path] = []

        async def slow(reader: Reader, kind: str) -> dict[str, bytes]:
            # Whatever was put before this read gets a commit of its own, and a kill leaves what is on disk now.
            await asyncio.sleep(0.02)
            copies.append(tmp_path / f"killed {len(copies)}")
            copies[-1].mkdir()
            source = sqlite3.connect(tmp_path / "node" / FILE_NAME)
            target = sqlite3.connect(copies[-1] / FILE_NAME)
            source.backup(target)
            source.close()
            target.close()
            return await records(reader, kind)

        with monkeypatch.context() as slowed:
            slowed.setattr(Reader, "records", slow)
            await stop(await start(tmp_path / "node"))
        assert len(copies) > 5
        for directory in copies:
            broker = await start(directory)
            assert "guest" in broker.auth.users
            assert ("guest", "/") in broker.auth.permissions
            await stop(broker)

    async def test_users_and_permissions_survive(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        broker.set_user("drone", "secret", ["monitoring"])
        broker.set_permission(Permission("drone", "/", "^d", "", ".*"))
        with pytest.raises(NotFound, match="user 'nobody'"):
            broker.set_permission(Permission("nobody", "/", "", "", ""))
        with pytest.raises(NotFound, match="vhost 'x'"):
            broker.set_permission(Permission("drone", "x", "", "", ""))
        with pytest.raises(re.error):
            broker.set_permission(Permission("drone", "/", "(", "", ""))
        await stop(broker)
        broker = await start(tmp_path)
        user = broker.auth.authenticate("drone", "secret", peer_is_loopback=False)
        assert user.tags == ["monitoring"]
        broker.auth.check(user, "/", "configure", "d1")
        with pytest.raises(AccessRefused):
            broker.auth.check(user, "/", "write", "d1")
        await stop(broker)

    async def test_topic_permissions_survive_and_go(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        for exchange in ("amq.topic", "reports"):
            broker.set_topic_permission(TopicPermission("guest", "/", exchange, "^w", "^r"))
        with pytest.raises(NotFound, match="user 'nobody'"):
            broker.set_topic_permission(TopicPermission("nobody", "/", "amq.topic", "", ""))
        with pytest.raises(NotFound, match="vhost 'x'"):
            broker.set_topic_permission(TopicPermission("guest", "x", "amq.topic", "", ""))
        await stop(broker)
        broker = await start(tmp_path)
        assert {one.exchange for one in broker.auth.topics.permissions()} == {"amq.topic", "reports"}
        broker.clear_topic_permissions("guest", "/", "reports")
        await stop(broker)
        broker = await start(tmp_path)
        assert [one.exchange for one in broker.auth.topics.permissions()] == ["amq.topic"]
        broker.clear_topic_permissions("guest")
        await stop(broker)
        broker = await start(tmp_path)
        assert broker.auth.topics.permissions() == []
        await stop(broker)

    async def test_elapsed_time_goes_on_through_a_crash(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        before = broker.clock.elapsed_ms()
        await asyncio.sleep(0.02)
        await crash(broker)
        again = await start(tmp_path, Clock())
        assert before + 20 <= again.clock.elapsed_ms() <= before + 10_000
        await stop(again)


class TestRedelivered:
    async def flags_after(self, tmp_path: Path, *, cleanly: bool, restarts: int = 1) -> list[int]:
        """Ten messages, three of them delivered and given back; the redelivered flags after a restart."""
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(10))
        await broker.store.committed()
        taker = Taker(queue, 3)
        broker.consume(taker)
        await turn()
        broker.cancel(taker)
        taker.requeue()
        await (stop(broker) if cleanly else crash(broker))
        for _ in range(restarts - 1):
            await stop(await start(tmp_path))
        broker = await start(tmp_path)
        taker = Taker(broker.vhosts["/"].queues["q"])
        broker.consume(taker)
        await until(lambda: len(taker.held) == 10)
        await stop(broker)
        return [entry[2] for entry in taker.received]

    async def test_after_a_clean_stop_only_what_was_delivered_is_marked(self, tmp_path: Path) -> None:
        assert await self.flags_after(tmp_path, cleanly=True) == [1, 1, 1] + [0] * 7

    async def test_after_a_crash_everything_is_marked(self, tmp_path: Path) -> None:
        assert await self.flags_after(tmp_path, cleanly=False) == [1] * 10

    async def test_a_clean_stop_after_a_crash_takes_no_mark_away(self, tmp_path: Path) -> None:
        assert await self.flags_after(tmp_path, cleanly=False, restarts=3) == [1] * 10

    async def test_a_start_that_fails_takes_no_mark_away(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        await stop(broker)
        broker = await start(tmp_path)
        await crash(broker)
        store = broker.store.__class__(tmp_path)
        await store.open()
        half = Broker("edge", store, Clock(), broker.auth)
        await half.close()
        await store.close()
        broker = await start(tmp_path)
        assert not broker.store._stopped_cleanly
        assert (await broker.store.records(CLEAN_STOP[0]))[CLEAN_STOP[1]] == b"0"
        await stop(broker)


class TestQueues:
    async def test_an_auto_delete_queue_goes_with_its_last_consumer(
        self, broker: Broker, vhost: VHost
    ) -> None:
        queue = broker.declare_queue(vhost, "q", auto_delete=True)
        first, second = Taker(queue), Taker(queue)
        broker.consume(first)
        broker.consume(second)
        broker.cancel(first)
        assert vhost.queues["q"] is queue
        broker.cancel(second)
        assert "q" not in vhost.queues
        assert not second.is_cancelled, "it has cancelled itself"
        broker.cancel(second)

    async def test_an_auto_delete_queue_without_consumers_stays(self, broker: Broker, vhost: VHost) -> None:
        broker.declare_queue(vhost, "q", auto_delete=True)
        await broker.store.committed()
        assert "q" in vhost.queues

    async def test_deleting_a_queue_cancels_its_consumers(self, broker: Broker, vhost: VHost) -> None:
        queue = broker.declare_queue(vhost, "q")
        taker = Taker(queue)
        broker.consume(taker)
        with pytest.raises(PreconditionFailed, match="in use"):
            broker.delete_queue(vhost, queue, if_unused=True)
        broker.publish(vhost, "", numbered(3))
        with pytest.raises(PreconditionFailed, match="not empty"):
            broker.delete_queue(vhost, queue, if_empty=True)
        assert broker.delete_queue(vhost, queue) == 3
        assert taker.is_cancelled
        await turn()
        assert not taker.received

    async def test_exclusive_queues_belong_to_their_connection_and_go_with_it(
        self, broker: Broker, vhost: VHost
    ) -> None:
        mine, other = object(), object()
        queue = broker.declare_queue(vhost, "x", exclusive=True, owner=mine)
        assert broker.find_queue(vhost, "x", mine) is queue
        for refused in (other, None):
            with pytest.raises(ResourceLocked, match="locked queue 'x' in vhost '/'"):
                broker.find_queue(vhost, "x", refused)
            with pytest.raises(ResourceLocked):
                broker.declare_queue(vhost, "x", exclusive=True, owner=refused)
        assert broker.declare_queue(vhost, "x", durable=True, exclusive=True, owner=mine) is queue
        taker = Taker(queue)
        broker.consume(taker)
        broker.declare_queue(vhost, "gone", exclusive=True, owner=mine)
        broker.delete_queue(vhost, vhost.queue("gone"))
        broker.connection_closed(other)
        broker.connection_closed(mine)
        assert not vhost.queues
        assert taker.is_cancelled
        broker.connection_closed(mine)

    async def test_a_queue_that_is_not_there_is_not_found(self, broker: Broker, vhost: VHost) -> None:
        with pytest.raises(NotFound, match="no queue 'x' in vhost '/'"):
            broker.find_queue(vhost, "x")

    async def test_policies_are_found_for_queues_and_exchanges(self, broker: Broker, vhost: VHost) -> None:
        policy = Policy("/", "p", "^q", {}, apply_to="queues")
        broker.set_policy(policy)
        queue = broker.declare_queue(vhost, "q")
        assert broker.policy_for(queue) is policy
        assert broker.policy_for(vhost.exchange("amq.topic")) is None


class TestDispatch:
    async def test_a_message_leaves_in_the_loop_turn_in_which_it_came(
        self, broker: Broker, vhost: VHost
    ) -> None:
        taker = Taker(broker.declare_queue(vhost, "q"))
        broker.consume(taker)
        await turn()
        broker.publish(vhost, "", numbered(1))
        await asyncio.sleep(0)
        assert len(taker.received) == 1
        assert broker.stats.publish == 1

    async def test_a_fault_of_one_consumer_keeps_no_other_queue_from_delivering(
        self, broker: Broker, vhost: VHost
    ) -> None:
        class Faulty(Taker):
            def deliver(self, entries: list[Entry]) -> None:
                raise RuntimeError("a fault")

        faults: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(str(context["exception"]))
        )
        takers = [(Faulty if name == "b" else Taker)(broker.declare_queue(vhost, name)) for name in "abc"]
        for taker in takers:
            broker.consume(taker)
        await turn()
        for name in "abc":
            broker.publish(vhost, "", numbered(1, routing_key=name))
        await turn()
        assert faults == ["a fault"]
        assert [len(taker.received) for taker in takers] == [1, 0, 1]

    async def test_once_closing_nothing_is_delivered(self, broker: Broker, vhost: VHost) -> None:
        taker = Taker(broker.declare_queue(vhost, "q"))
        broker.consume(taker)
        await broker.close()
        broker.publish(vhost, "", numbered(1))
        await turn()
        assert not taker.received


class TestCopies:
    async def test_a_message_to_many_queues_survives_in_each_until_each_has_settled_it(
        self, tmp_path: Path
    ) -> None:
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        for i in range(50):
            broker.declare_queue(vhost, f"q{i}")
            broker.bind(vhost, "amq.fanout", f"q{i}", "")
        broker.publish(vhost, "amq.fanout", numbered(3))
        for i in range(0, 50, 2):
            vhost.queues[f"q{i}"].purge()
        await broker.store.committed()
        await crash(broker)
        broker = await start(tmp_path)
        counts = [broker.vhosts["/"].queues[f"q{i}"].messages for i in range(50)]
        assert counts == [0, 3] * 25
        await stop(broker)

    async def test_what_a_spilled_transient_queue_left_on_disk_is_cleared_at_the_next_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue_module, "WINDOW_MESSAGES", 10)
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        queue = broker.declare_queue(vhost, "t", durable=False)
        for start_at in (0, 20):
            broker.publish(vhost, "", numbered(20, start_at, routing_key="t"))
        await broker.store.committed()
        assert await broker.store.reader.queue_ids() == {queue.id}
        await crash(broker)
        broker = await start(tmp_path)
        assert not broker.vhosts["/"].queues
        await broker.store.committed()
        assert await broker.store.reader.queue_ids() == set()
        again = broker.declare_queue(broker.vhosts["/"], "t", durable=False)
        assert again.id > queue.id
        await stop(broker)


async def test_a_host_must_do_all_that_a_queue_asks() -> None:
    host = QueueHost()
    queue = Queue(host, "/", "q", 1)
    for call in (
        lambda: host.schedule_dispatch(queue),
        lambda: host.schedule_commit(queue),
        lambda: host.schedule_page_in(queue),
        lambda: host.schedule_expiry(queue, 1),
        lambda: host.schedule_unused(queue, 1),
        lambda: host.messages_lost(queue, []),
        lambda: host.dead_letter(queue, [], "expired"),
        lambda: host.elapsed_ms(),
    ):
        with pytest.raises(NotImplementedError):
            call()
