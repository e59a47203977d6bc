"""The exchange types that are RabbitMQ's plugins: x-consistent-hash, x-modulus-hash, x-random, x-recent-history."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge.core.errors import PreconditionFailed
from edge.core.exchanges import TYPES, recent_history
from edge.core.properties import BasicProperties, encode_properties
from edge.core.queue import Queue
from edge.core.table import Int8, Int32
from edge.core.vhost import VHost
from tests.helpers.brokers import FakeHost, message, numbered, start, stop


@pytest.fixture
def vhost() -> VHost:
    return VHost("/")


def exchange(vhost: VHost, kind: str, keys: dict[str, str], **arguments: object) -> None:
    """An exchange "e" and bound queues: name -> binding key; arguments by their names, "_" for "-"."""
    named = {key.replace("_", "-"): value for key, value in arguments.items()}
    made = TYPES[kind]("/", "e", arguments=named)
    vhost.add_exchange(made)
    for name, key in keys.items():
        queue = Queue(FakeHost(), "/", name, len(vhost.queues) + 1)
        vhost.add_queue(queue)
        vhost.bind(made, queue, key, {})


def where(vhost: VHost, *, key: str = "k", **properties: Any) -> str:
    """The one queue that a message goes to."""
    encoded = encode_properties(BasicProperties(**properties))
    (queue,) = vhost.route(vhost.exchange("e"), message(key, properties=encoded))
    return queue.name


class TestConsistentHash:
    def test_keys_are_spread_by_the_weights_of_bindings(self, vhost: VHost) -> None:
        exchange(vhost, "x-consistent-hash", {"a": "1", "b": "3", "c": "1"})
        spread = Counter(where(vhost, key=f"key {i}") for i in range(5_000))
        assert spread["a"] + spread["b"] + spread["c"] == 5_000
        assert 0.5 < spread["b"] / 5_000 < 0.7
        assert 0.15 < spread["a"] / 5_000 < 0.25

    def test_a_binding_that_goes_moves_only_its_own_keys(self, vhost: VHost) -> None:
        exchange(vhost, "x-consistent-hash", {"a": "1", "b": "1", "c": "1"})
        before = {f"key {i}": where(vhost, key=f"key {i}") for i in range(500)}
        gone = vhost.find_binding(vhost.exchange("e"), vhost.queue("b"), "1", {})
        assert gone is not None
        vhost.unbind(gone)
        after = {key: where(vhost, key=key) for key in before}
        assert all(after[key] == name for key, name in before.items() if name != "b")
        assert {after[key] for key, name in before.items() if name == "b"} == {"a", "c"}

    def test_the_same_keys_go_to_the_same_queues_whatever_the_order_of_bindings(self, vhost: VHost) -> None:
        other = VHost("/")
        exchange(vhost, "x-consistent-hash", {"a": "2", "b": "1"})
        exchange(other, "x-consistent-hash", {"b": "1", "a": "2"})
        assert all(where(vhost, key=f"{i}") == where(other, key=f"{i}") for i in range(200))

    def test_of_two_bindings_of_a_queue_the_first_is_its_weight(self, vhost: VHost) -> None:
        exchange(vhost, "x-consistent-hash", {"a": "1", "b": "1"})
        vhost.bind(vhost.exchange("e"), vhost.queue("a"), "1000", {})
        spread = Counter(where(vhost, key=f"{i}") for i in range(1_000))
        assert spread["b"] > 300

    def test_a_header_of_any_width_is_hashed_when_it_is_named(self, vhost: VHost) -> None:
        exchange(vhost, "x-consistent-hash", {"a": "1", "b": "1", "c": "1"}, hash_header="device")
        for i in range(20):
            assert where(vhost, headers={"device": Int8(i)}) == where(vhost, headers={"device": Int32(i)})
        assert {where(vhost, headers={"device": f"{i}"}) for i in range(50)} == {"a", "b", "c"}
        assert where(vhost, key="x") == where(vhost, key="y", headers={"other": 1})

    @pytest.mark.parametrize("name", ["correlation_id", "message_id", "timestamp"])
    def test_a_property_is_hashed_when_it_is_named(self, vhost: VHost, name: str) -> None:
        exchange(vhost, "x-consistent-hash", {"a": "1", "b": "1", "c": "1"}, hash_property=name)
        values: list[Any] = [i if name == "timestamp" else str(i) for i in range(50)]
        assert {where(vhost, **{name: value}) for value in values} == {"a", "b", "c"}
        assert where(vhost, key="x", **{name: values[0]}) == where(vhost, key="y", **{name: values[0]})

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"hash_header": "a", "hash_property": "message_id"}, "are mutually exclusive"),
            ({"hash_property": "app_id"}, "Unsupported property: app_id"),
            ({"hash_header": 5}, "hash-header must be the name of a header"),
        ],
    )
    def test_a_wrong_argument_is_refused(self, vhost: VHost, arguments: dict[str, object], text: str) -> None:
        with pytest.raises(PreconditionFailed, match=text):
            exchange(vhost, "x-consistent-hash", {}, **arguments)

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("x", 'must be an integer: <<"x">>'),
            ("", "must be an integer"),
            ("1_0", "must be an integer"),
            ("0", "must be greater than 0"),
        ],
    )
    def test_a_weight_that_is_none_is_refused(self, vhost: VHost, key: str, text: str) -> None:
        with pytest.raises(PreconditionFailed, match=text):
            exchange(vhost, "x-consistent-hash", {"a": key})

    def test_without_bindings_nothing_is_routed(self, vhost: VHost) -> None:
        exchange(vhost, "x-consistent-hash", {})
        exchange(vhost, "x-modulus-hash", {})
        exchange(vhost, "x-random", {})
        assert vhost.publish("e", numbered(2)).unrouted


def test_modulus_hash_spreads_keys_and_sends_equal_ones_to_the_same_queue(vhost: VHost) -> None:
    exchange(vhost, "x-modulus-hash", {"a": "", "b": "", "c": ""})
    spread = Counter(where(vhost, key=f"key {i}") for i in range(3_000))
    assert min(spread.values()) > 800
    vhost.forget_routes()
    assert where(vhost, key="key 1") == where(vhost, key="key 1")
    vhost.unbind(vhost.bindings_to(vhost.queue("b"))[0])
    assert {where(vhost, key=f"{i}") for i in range(50)} == {"a", "c"}


@pytest.mark.parametrize("kind", ["x-random", "x-local-random"])
def test_random_exchanges_send_each_message_to_one_queue_by_chance(vhost: VHost, kind: str) -> None:
    exchange(vhost, kind, {"a": "x", "b": "y", "c": "z"})
    spread = Counter(where(vhost) for _ in range(900))
    assert min(spread.values()) > 150
    vhost.unbind(vhost.bindings_to(vhost.queue("b"))[0])
    assert {where(vhost) for _ in range(50)} == {"a", "c"}


class TestRecentHistory:
    def bind(self, vhost: VHost, name: str) -> list[bytes]:
        """Bodies that a queue would get on being bound now."""
        return [each.body for each in vhost.exchange("e").remembered()]

    def test_it_remembers_the_last_20_unless_told_another_number(self, vhost: VHost) -> None:
        exchange(vhost, "x-recent-history", {"a": ""})
        vhost.publish("e", numbered(25, size=1))
        assert self.bind(vhost, "b") == [b"%d" % i for i in range(5, 25)]
        exchange(vhost, "x-recent-history", {}, x_recent_history_length=2)
        vhost.publish("e", numbered(5, size=1))
        assert self.bind(vhost, "b") == [b"3", b"4"]

    def test_what_asks_not_to_be_remembered_is_only_passed_on(self, vhost: VHost) -> None:
        exchange(vhost, "x-recent-history", {"a": ""})
        properties = encode_properties(BasicProperties(headers={"x-recent-history-no-store": True}))
        vhost.publish("e", [message(properties=properties, body=b"x"), message(body=b"y")])
        assert self.bind(vhost, "b") == [b"y"]
        assert vhost.queue("a").messages == 2

    def test_large_bodies_bound_its_memory(self, vhost: VHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recent_history, "BYTES_MAX", 30)
        exchange(vhost, "x-recent-history", {"a": ""})
        vhost.publish("e", numbered(10, size=10))
        assert len(self.bind(vhost, "b")) == 3
        vhost.publish("e", numbered(1, size=100))
        assert len(self.bind(vhost, "b")) == 1

    @pytest.mark.parametrize("length", [0, -1, "5", True])
    def test_a_length_that_is_no_positive_number_is_refused(self, vhost: VHost, length: object) -> None:
        with pytest.raises(PreconditionFailed, match="'x-recent-history-length' must be a positive integer"):
            exchange(vhost, "x-recent-history", {}, x_recent_history_length=length)

    async def test_a_new_binding_brings_what_was_published_before_and_a_restart_forgets_it(
        self, tmp_path: Path
    ) -> None:
        broker = await start(tmp_path)
        vhost = broker.vhost("/")
        broker.declare_exchange(vhost, "e", "x-recent-history")
        broker.declare_exchange(vhost, "onward", "fanout")
        broker.publish(vhost, "e", numbered(3))
        for name in ("q", "behind"):
            broker.declare_queue(vhost, name)
        broker.bind(vhost, "onward", "behind", "")
        broker.bind(vhost, "e", "q", "")
        broker.bind(vhost, "e", "onward", "", to_exchange=True)
        assert vhost.queue("q").messages == vhost.queue("behind").messages == 3
        broker.bind(vhost, "e", "q", "")
        assert vhost.queue("q").messages == 3
        await stop(broker)
        again = await start(tmp_path)
        vhost = again.vhost("/")
        again.declare_queue(vhost, "late")
        again.bind(vhost, "e", "late", "")
        assert (vhost.queue("late").messages, vhost.queue("q").messages) == (0, 3)
        await stop(again)


def test_a_headers_exchange_looks_again_when_its_bindings_change(vhost: VHost) -> None:
    exchange(vhost, "headers", {"a": ""})
    assert where(vhost, headers={"x": 1}) == "a"
    vhost.unbind(vhost.bindings_to(vhost.queue("a"))[0])
    encoded = encode_properties(BasicProperties(headers={"x": 1}))
    assert vhost.route(vhost.exchange("e"), message(properties=encoded)) == ()


@pytest.mark.parametrize("kind", ["x-random", "x-recent-history"])
def test_carbon_copies_are_one_message_where_keys_do_not_matter(vhost: VHost, kind: str) -> None:
    exchange(vhost, kind, {"a": "", "b": "", "c": ""})
    found = vhost.route_keys(vhost.exchange("e"), message(), ["x", "y", "z"])
    assert len(found) == (1 if kind == "x-random" else 3)
    assert len(vhost.exchange("e").remembered()) == (0 if kind == "x-random" else 1)
