"""The registry of a vhost, and publishing to it."""

import pytest

from edge.core.errors import AccessRefused, NotFound, PreconditionFailed
from edge.core.exchanges import TYPES
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties, headers
from edge.core.queue import Queue
from edge.core.vhost import VHost
from tests.helpers.brokers import FakeHost, message


@pytest.fixture
def vhost() -> VHost:
    made = VHost("/")
    for i, name in enumerate("ab"):
        made.add_queue(Queue(FakeHost(), "/", name, i + 1))
    made.add_queue(Queue(FakeHost(), "/", "t", 3, durable=False))
    return made


def bodies(queue: Queue) -> list[bytes]:
    return [entry[1].body for entry in queue.ready]


def test_what_is_not_there_is_not_found_by_name_and_vhost(vhost: VHost) -> None:
    with pytest.raises(NotFound, match="no exchange 'x' in vhost '/'"):
        vhost.exchange("x")
    with pytest.raises(NotFound, match="no queue 'x' in vhost '/'"):
        vhost.queue("x")
    with pytest.raises(NotFound):
        vhost.publish("x", [message()])


def test_the_default_exchange_routes_to_the_queue_of_the_name(vhost: VHost) -> None:
    result = vhost.publish("", [message("a"), message("nowhere"), message("b"), message("a")])
    assert [len(vhost.queue(name).ready) for name in "ab"] == [2, 1]
    assert [m.routing_key for m in result.unrouted] == ["nowhere"]
    assert result.durable
    vhost.add_queue(Queue(FakeHost(), "/", "nowhere", 9))
    assert not vhost.publish("", [message("nowhere")]).unrouted


def test_a_confirm_waits_for_the_disk_only_when_a_durable_queue_took_a_message(vhost: VHost) -> None:
    assert not vhost.publish("", [message("t")]).durable
    assert not vhost.publish("", [message("nowhere")]).durable
    assert vhost.publish("", [message("t"), message("a"), message("t")]).durable


def test_a_run_with_changing_routes_keeps_its_order_in_each_queue(vhost: VHost) -> None:
    vhost.publish("", [message("ab"[i % 3 // 2], b"%d" % i) for i in range(9)])
    assert bodies(vhost.queue("a")) == [b"0", b"1", b"3", b"4", b"6", b"7"]
    assert bodies(vhost.queue("b")) == [b"2", b"5", b"8"]


def test_results_of_different_runs_share_nothing(vhost: VHost) -> None:
    assert vhost.publish("", [message("nowhere")]).unrouted
    assert not vhost.publish("", [message("a")]).unrouted


def test_an_internal_exchange_takes_nothing_from_publishers(vhost: VHost) -> None:
    vhost.add_exchange(TYPES["fanout"]("/", "inner", internal=True))
    with pytest.raises(AccessRefused, match="internal exchange 'inner'"):
        vhost.publish("inner", [message()])


def test_one_message_is_shared_by_all_queues_that_hold_it(vhost: VHost) -> None:
    for name in "ab":
        vhost.bind(vhost.exchange("amq.fanout"), vhost.queue(name), "", {})
    vhost.publish("amq.fanout", [message()])
    assert vhost.queue("a").ready[0][1] is vhost.queue("b").ready[0][1]


def copied(key: str, body: bytes, **headers: object) -> Message:
    return message(key, body, properties=encode_properties(BasicProperties(headers=headers)))


def test_what_a_link_brings_goes_by_cc_and_bcc_too_each_queue_once_and_in_order(vhost: VHost) -> None:
    given = [
        message("a", b"0"),
        copied("a", b"1", CC=["b", "a", 7], BCC=["t"], h="kept"),
        copied("nowhere", b"2", BCC=["b"]),
        message("a", b"3"),
    ]
    result = vhost.forward("", given)
    assert result.unrouted == []
    assert bodies(vhost.queue("a")) == [b"0", b"1", b"3"]
    assert bodies(vhost.queue("b")) == [b"1", b"2"]
    assert bodies(vhost.queue("t")) == [b"1"]
    assert headers(vhost.queue("t").ready[0][1].properties) == {"CC": ["b", "a", 7], "h": "kept"}
    assert "BCC" in headers(given[1].properties), "what may be offered again keeps its keys"


def test_a_link_is_told_of_its_own_messages_what_became_of_them(vhost: VHost) -> None:
    full = Queue(FakeHost(), "/", "full", 9, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    vhost.add_queue(full)
    lost, refused = copied("nowhere", b"", BCC=["nowhere"]), copied("nowhere", b"", BCC=["full"])
    result = vhost.forward("", [lost, copied("a", b"", BCC=["b"]), refused])
    assert [id(one) for one in result.unrouted] == [id(lost)]
    assert [id(one) for one in result.rejected] == [id(refused)]
    with pytest.raises(NotFound):
        vhost.forward("x", [lost])


def test_a_cc_that_is_no_list_has_no_keys(vhost: VHost) -> None:
    vhost.forward("", [copied("a", b"1", CC="b")])
    assert [bodies(vhost.queue(name)) for name in "ab"] == [[b"1"], []]


def test_binding_twice_is_one_binding_and_other_arguments_are_another(vhost: VHost) -> None:
    source, target = vhost.exchange("amq.direct"), vhost.queue("a")
    assert vhost.bind(source, target, "k", {}) is not None
    assert vhost.bind(source, target, "k", {}) is None
    assert vhost.bind(source, target, "k", {"n": 1}) is not None
    assert len(vhost.bindings_to(target)) == len(list(vhost.bindings())) == 2


def test_the_default_exchange_cannot_be_bound(vhost: VHost) -> None:
    default, other = vhost.exchange(""), vhost.exchange("amq.direct")
    for source, destination in ((default, vhost.queue("a")), (default, other), (other, default)):
        with pytest.raises(AccessRefused, match="default exchange"):
            vhost.bind(source, destination, "k", {})


def test_a_removed_queue_takes_its_bindings_along_and_gets_nothing_more(vhost: VHost) -> None:
    target = vhost.queue("a")
    vhost.bind(vhost.exchange("amq.fanout"), target, "", {})
    vhost.publish("amq.fanout", [message()])
    vhost.publish("", [message("a")])
    assert len(vhost.remove_queue(target)) == 1
    assert vhost.publish("amq.fanout", [message()]).unrouted
    assert vhost.publish("", [message("a")]).unrouted
    assert len(target.ready) == 2


def test_a_removed_exchange_takes_along_the_bindings_of_both_sides(vhost: VHost) -> None:
    middle = TYPES["fanout"]("/", "middle")
    vhost.add_exchange(middle)
    vhost.bind(vhost.exchange("amq.fanout"), middle, "", {})
    vhost.bind(middle, vhost.queue("a"), "", {})
    vhost.bind(middle, middle, "", {})
    assert not vhost.publish("amq.fanout", [message()]).unrouted
    with pytest.raises(PreconditionFailed, match="in use"):
        vhost.remove_exchange(middle, if_unused=True)
    assert len(vhost.remove_exchange(middle)) == 3
    assert list(vhost.bindings()) == []
    assert vhost.publish("amq.fanout", [message()]).unrouted


def test_predeclared_exchanges_stay(vhost: VHost) -> None:
    for name in ("", "amq.topic"):
        with pytest.raises(AccessRefused, match="not allowed"):
            vhost.remove_exchange(vhost.exchange(name))
