"""Queues with priorities (RabbitMQ, "Classic Queues Support Priorities"); see also tests/property."""

from pathlib import Path

import msgspec
import pytest

from edge.broker import Broker
from edge.core import priority_queue
from edge.core.message import Message
from edge.core.priority_queue import LANE_SHIFT, PriorityQueue
from edge.core.queue import Queue
from tests.helpers.brokers import FakeHost, ManualClock, Taker, crash, message, start, stop, until


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def queue(host: FakeHost, highest: int = 5, **arguments: object) -> PriorityQueue:
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return PriorityQueue(host, "/", "q", 1, arguments={"x-max-priority": highest, **named})


def ranked(text: str, expires_at_ms: int = 0) -> list[Message]:
    """Messages by their priorities and names: "0a 5b 9c"."""
    return [
        msgspec.structs.replace(
            message(body=each.encode(), expires_at_ms=expires_at_ms), priority=int(each[0])
        )
        for each in text.split()
    ]


def drain(queue: Queue) -> str:
    got = []
    while (entry := queue.pop(no_ack=True)) is not None:
        got.append(entry[1].body.decode())
    return " ".join(got)


def test_the_highest_comes_first_and_each_in_order(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("0a 5b 1c 5d 0e 1f"))
    assert drain(made) == "5b 5d 1c 1f 0a 0e"


def test_a_priority_above_the_highest_is_the_highest(host: FakeHost) -> None:
    made = queue(host, highest=2)
    made.enqueue(ranked("2a 9b 2c 1d"))
    assert drain(made) == "2a 9b 2c 1d"


def test_consumers_get_them_in_the_same_order_and_give_them_back_to_their_places(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("0a 5b 1c 5d"))
    taker = Taker(made, 3)
    made.add_consumer(taker)
    made.dispatch()
    assert taker.bodies == [b"5b", b"5d", b"1c"]
    assert (made.messages_ready, made.messages_unacknowledged, made.message_bytes_unacknowledged) == (1, 3, 6)
    taker.requeue()
    made.enqueue(ranked("9e"))
    made.remove_consumer(taker)
    assert drain(made) == "5b 5d 9e 1c 0a"
    assert made.messages == made.message_bytes == 0


def test_several_consumers_share_a_lane_before_the_next_one_is_touched(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("0a 0b 5c 5d"))
    one, other = Taker(made, 1), Taker(made, 1)
    made.add_consumer(one)
    made.add_consumer(other)
    made.dispatch()
    assert sorted(one.bodies + other.bodies) == [b"5c", b"5d"]
    one.settle(1)
    other.settle(1)
    made.dispatch()
    assert sorted(one.bodies[1:] + other.bodies[1:]) == [b"0a", b"0b"]


def test_no_two_messages_have_the_same_number(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("0a 5b 5c"))
    taker = Taker(made)
    made.add_consumer(taker)
    made.dispatch()
    assert taker.sequences == [5 << LANE_SHIFT, (5 << LANE_SHIFT) + 1, 0]


def test_what_is_dropped_for_want_of_room_comes_from_the_head_as_in_rabbitmq(host: FakeHost) -> None:
    made = queue(host, max_length=2)
    made.enqueue(ranked("0a 5b 1c"))
    made.dispatch()
    assert [(entries[0][1].body, reason) for entries, reason in host.dead] == [(b"5b", "maxlen")]
    assert drain(made) == "1c 0a"


def test_a_full_queue_refuses_whatever_the_priority(host: FakeHost) -> None:
    made = queue(host, max_length=2, overflow="reject-publish")
    made.enqueue(ranked("0a 1b 5c"))
    assert made.limits is not None
    assert [refused.body for refused in made.limits.refused] == [b"5c"]


def test_what_expires_leaves_from_below_too(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("5a"))
    made.enqueue(ranked("0b", expires_at_ms=host.now_ms + 10))
    made.dispatch()
    assert host.expiry_ms == host.now_ms + 10
    host.now_ms += 10
    made.dispatch()
    assert [(entries[0][1].body, reason) for entries, reason in host.dead] == [(b"0b", "expired")]
    assert (made.messages, drain(made)) == (1, "5a")


def test_a_ttl_of_the_queue_holds_for_all_priorities(host: FakeHost) -> None:
    made = queue(host, message_ttl=10)
    made.enqueue(ranked("0a 5b"))
    host.now_ms += 10
    made.dispatch()
    assert made.messages == 0
    assert sorted(entries[0][1].body for entries, _ in host.dead) == [b"0a", b"5b"]


def test_a_ttl_of_0_reaches_a_consumer_that_waits_however_late_it_was_published(host: FakeHost) -> None:
    made = queue(host, message_ttl=0)
    taker = Taker(made, no_ack=True)
    made.add_consumer(taker)
    host.now_ms += 1000  # since the bytes came, from which a message's own time counts
    made.enqueue(ranked("5a"))
    host.now_ms += 1000
    made.dispatch()
    assert (taker.bodies, made.messages) == ([b"5a"], 0)


def test_a_purge_empties_all_lanes_and_leaves_what_is_held(host: FakeHost) -> None:
    made = queue(host)
    made.enqueue(ranked("0a 5b 1c"))
    held = made.pop(no_ack=False)
    assert held is not None
    assert made.purge() == 2
    assert (made.messages_ready, made.messages_unacknowledged) == (0, 1)
    made.reject([held])
    assert (made.messages, host.dead) == (0, [([held], "rejected")])


def test_a_lane_that_has_outgrown_its_window_needs_the_disk_and_others_do_not(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority_queue, "LANE_WINDOW_MESSAGES", 2)
    made = PriorityQueue(host, "/", "q", 1, durable=False, arguments={"x-max-priority": 5})
    made.enqueue(ranked("5a 5b 5c 0d"))
    assert [made.needs_disk_for(*ranked(text)) for text in ("9x", "0x", "1x")] == [True, False, False]


class TestInTheBroker:
    def declare(self, broker: Broker, **arguments: object) -> PriorityQueue:
        named: dict[str, object] = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        made = broker.declare_queue(broker.vhost("/"), "q", arguments={"x-max-priority": 5, **named})
        assert isinstance(made, PriorityQueue)
        return made

    async def test_confirmed_messages_of_all_priorities_survive_a_crash(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        made = self.declare(broker)
        broker.publish(broker.vhost("/"), "", ranked("0a 5b 1c"))
        first = made.pop(no_ack=True)
        assert first is not None
        await broker.store.committed()
        await crash(broker)
        again = await start(tmp_path)
        found = again.vhost("/").queue("q")
        assert found.messages == 2
        taker = Taker(found)
        again.consume(taker)
        await until(lambda: len(taker.received) == 2)
        assert taker.bodies == [b"1c", b"0a"]
        await stop(again)

    async def test_a_deleted_queue_leaves_nothing_on_the_disk(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        made = self.declare(broker)
        broker.publish(broker.vhost("/"), "", ranked("0a 5b 1c"))
        await broker.store.committed()
        assert len(await broker.store.reader.queue_ids()) == 3
        broker.delete_queue(broker.vhost("/"), made)
        await broker.store.committed()
        assert not await broker.store.reader.queue_ids()
        await stop(broker)

    async def test_dead_letters_name_the_queue_and_are_awaited_after_a_restart(self, tmp_path: Path) -> None:
        clock = ManualClock()
        broker = await start(tmp_path, clock)
        vhost = broker.vhost("/")
        broker.declare_queue(vhost, "grave")
        self.declare(broker, dead_letter_exchange="", dead_letter_routing_key="grave")
        broker.publish(vhost, "", [*ranked("5a"), *ranked("0b", expires_at_ms=clock.now_ms + 10)])
        await stop(broker)
        again = await start(tmp_path, clock)
        again.resume()
        clock.now_ms += 10
        made, grave = again.vhost("/").queue("q"), again.vhost("/").queue("grave")

        def buried() -> int:
            again.deadlines.run_due()
            return grave.messages

        await until(buried)
        assert (made.messages, grave.messages) == (1, 1)
        assert made.dead_lettered == {"expired": 1}
        await stop(again)

    async def test_without_priorities_it_is_a_plain_queue(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        for name, arguments in (("none", {}), ("zero", {"x-max-priority": 0})):
            made = broker.declare_queue(broker.vhost("/"), name, arguments=arguments)  # type: ignore[arg-type]
            assert type(made) is Queue
        await stop(broker)
