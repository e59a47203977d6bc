"""Exchange types and the way through several exchanges."""

import pytest

from edge.core import exchange as exchange_module
from edge.core.errors import PreconditionFailed
from edge.core.exchange import Exchange
from edge.core.exchanges import TYPES
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties
from edge.core.queue import Queue
from edge.core.vhost import VHost
from tests.helpers.brokers import FakeHost, message


@pytest.fixture
def vhost() -> VHost:
    return VHost("/")


def queue(vhost: VHost, name: str) -> Queue:
    made = Queue(FakeHost(), "/", name, len(vhost.queues) + 1)
    vhost.add_queue(made)
    return made


def exchange(vhost: VHost, name: str, kind: str, **options: object) -> Exchange:
    made = TYPES[kind]("/", name, **options)  # type: ignore[arg-type]
    vhost.add_exchange(made)
    return made


def routed(vhost: VHost, exchange_name: str, sent: Message) -> list[str]:
    """Names of the queues that it goes to, twice the same: looked up, and remembered."""
    first = vhost.route(vhost.exchange(exchange_name), sent)
    assert vhost.route(vhost.exchange(exchange_name), sent) == first
    before = {name: len(q.ready) for name, q in vhost.queues.items()}
    result = vhost.publish(exchange_name, [sent])
    got = [name for name, q in vhost.queues.items() if len(q.ready) > before[name]]
    assert sorted(got) == sorted(q.name for q in first)
    assert bool(result.unrouted) is (not got)
    return sorted(got)


def with_headers(headers: dict[str, object]) -> Message:
    return message(properties=encode_properties(BasicProperties(headers=headers)))


class TestTypes:
    def test_direct_goes_by_equal_keys(self, vhost: VHost) -> None:
        source = exchange(vhost, "e", "direct")
        for name, key in (("a", "k"), ("b", "k"), ("b", "other"), ("c", "K")):
            found = vhost.queues.get(name) or queue(vhost, name)
            vhost.bind(source, found, key, {})
        assert routed(vhost, "e", message("k")) == ["a", "b"]
        assert routed(vhost, "e", message("other")) == ["b"]
        assert routed(vhost, "e", message("none")) == []

    def test_direct_forgets_a_removed_binding(self, vhost: VHost) -> None:
        source, target = exchange(vhost, "e", "direct"), queue(vhost, "a")
        for key in ("k", "l"):
            vhost.bind(source, target, key, {"n": key})
            vhost.bind(source, target, key, {})
        for arguments in ({"n": "k"}, {}):
            binding = vhost.find_binding(source, target, "k", arguments)  # type: ignore[arg-type]
            assert binding is not None
            assert routed(vhost, "e", message("k")) == ["a"]
            vhost.unbind(binding)
        assert routed(vhost, "e", message("k")) == []
        assert routed(vhost, "e", message("l")) == ["a"]

    def test_fanout_goes_everywhere_and_once(self, vhost: VHost) -> None:
        source = exchange(vhost, "e", "fanout")
        for name in ("a", "b"):
            target = queue(vhost, name)
            vhost.bind(source, target, "one", {})
            vhost.bind(source, target, "two", {})
        assert routed(vhost, "e", message("whatever")) == ["a", "b"]

    def test_topic_goes_by_patterns_and_once(self, vhost: VHost) -> None:
        source = exchange(vhost, "e", "topic")
        a, b = queue(vhost, "a"), queue(vhost, "b")
        for target, key in ((a, "x.#"), (a, "#.y"), (b, "*.z")):
            vhost.bind(source, target, key, {})
        assert routed(vhost, "e", message("x.y")) == ["a"]
        assert routed(vhost, "e", message("x.z")) == ["a", "b"]
        binding = vhost.find_binding(source, b, "*.z", {})
        assert binding is not None
        vhost.unbind(binding)
        assert routed(vhost, "e", message("x.z")) == ["a"]

    @pytest.mark.parametrize(
        ("arguments", "headers", "is_match"),
        [
            ({"x-match": "all", "a": 1, "b": "2"}, {"a": 1, "b": "2", "c": 3}, True),
            ({"x-match": "all", "a": 1, "b": "2"}, {"a": 1}, False),
            ({"a": 1, "b": "2"}, {"a": 1}, False),
            ({"x-match": "any", "a": 1, "b": "2"}, {"b": "2"}, True),
            ({"x-match": "any", "a": 1}, {"a": 2}, False),
            ({"x-match": "all"}, {}, True),
            ({"x-match": "any"}, {"a": 1}, False),
            ({"x-match": "all", "x-a": 1}, {}, True),
            ({"x-match": "all-with-x", "x-a": 1}, {}, False),
            ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
            ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
            ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
            ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"b": 2}, True),
            ({"a": None}, {"a": "anything"}, True),
            ({"a": None}, {"b": 1}, False),
            ({"a": True}, {"a": 1}, False),
            ({"a": 1}, {"a": True}, False),
            ({"a": 1}, {"a": "1"}, False),
        ],
    )
    def test_headers_match_all_or_any_and_look_at_x_headers_only_when_asked(
        self, vhost: VHost, arguments: dict[str, object], headers: dict[str, object], is_match: bool
    ) -> None:
        vhost.bind(vhost.exchange("amq.headers"), queue(vhost, "q"), "", arguments)
        assert routed(vhost, "amq.headers", with_headers(headers)) == (["q"] if is_match else [])

    def test_a_match_mode_that_is_none_is_refused(self, vhost: VHost) -> None:
        target = queue(vhost, "q")
        with pytest.raises(PreconditionFailed, match='Invalid x-match field value <<"some">>'):
            vhost.bind(vhost.exchange("amq.headers"), target, "", {"x-match": "some"})
        assert not vhost.bindings_to(target)

    def test_each_exchange_type_is_known_by_its_name(self) -> None:
        assert all(kind.type == name for name, kind in TYPES.items())
        with pytest.raises(NotImplementedError):
            Exchange("/", "e").matching(message())


class TestFederationUpstream:
    """RabbitMQ's ``rabbit_federation_exchange`` filter."""

    def upstream(self, vhost: VHost, hops: object = 2) -> None:
        source = exchange(
            vhost,
            "up",
            "x-federation-upstream",
            arguments={"x-max-hops": hops, "x-downstream-name": "base", "x-downstream-vhost": "/"},
        )
        vhost.bind(source, queue(vhost, "q"), "", {})

    @pytest.mark.parametrize(
        ("received", "passes"),
        [
            (None, True),
            ([], True),
            ([{"cluster-name": "x", "vhost": "/"}], True),
            ([{"cluster-name": "base", "vhost": "/"}], False),
            ([{"cluster-name": "base", "vhost": "other"}], True),
            (["odd"], True),
            ([{"cluster-name": "x"}, {"cluster-name": "y"}], False),
        ],
    )
    def test_only_what_has_not_been_there_and_has_hops_left_passes(
        self, vhost: VHost, received: object, passes: bool
    ) -> None:
        self.upstream(vhost)
        headers = {} if received is None else {"x-received-from": received}
        assert routed(vhost, "up", with_headers(headers)) == (["q"] if passes else [])

    @pytest.mark.parametrize("hops", [None, "1", True])
    def test_without_a_number_of_hops_it_is_refused(self, vhost: VHost, hops: object) -> None:
        with pytest.raises(PreconditionFailed, match="x-max-hops"):
            self.upstream(vhost, hops)


class TestBetweenExchanges:
    def test_circles_of_bindings_end_and_each_queue_gets_a_message_once(self, vhost: VHost) -> None:
        a, b = exchange(vhost, "a", "fanout"), exchange(vhost, "b", "fanout")
        target = queue(vhost, "q")
        vhost.bind(a, b, "", {})
        vhost.bind(b, a, "", {})
        vhost.bind(a, a, "", {})
        vhost.bind(a, target, "", {})
        vhost.bind(b, target, "", {})
        assert routed(vhost, "a", message()) == ["q"]
        assert routed(vhost, "b", message()) == ["q"]

    def test_a_route_through_headers_is_looked_up_for_every_message(self, vhost: VHost) -> None:
        source = exchange(vhost, "e", "fanout")
        vhost.bind(source, vhost.exchange("amq.headers"), "", {})
        vhost.bind(vhost.exchange("amq.headers"), queue(vhost, "q"), "", {"a": 1})
        assert routed(vhost, "e", with_headers({"a": 1})) == ["q"]
        assert routed(vhost, "e", with_headers({"a": 2})) == []

    def test_a_deep_chain_does_not_exhaust_the_stack(self, vhost: VHost) -> None:
        last = exchange(vhost, "0", "fanout")
        vhost.bind(last, queue(vhost, "q"), "", {})
        for i in range(1, 2_000):
            following = exchange(vhost, str(i), "fanout")
            vhost.bind(following, last, "", {})
            last = following
        assert routed(vhost, "1999", message()) == ["q"]


class TestAlternate:
    def test_what_nothing_takes_goes_to_the_alternate_and_on_from_there(self, vhost: VHost) -> None:
        exchange(vhost, "a", "direct", arguments={"alternate-exchange": "b"})
        exchange(vhost, "b", "direct", arguments={"alternate-exchange": "c"})
        last = exchange(vhost, "c", "fanout")
        assert routed(vhost, "a", message("k")) == []
        vhost.bind(last, queue(vhost, "q"), "", {})
        assert routed(vhost, "a", message("k")) == ["q"]
        vhost.bind(vhost.exchange("a"), queue(vhost, "own"), "k", {})
        assert routed(vhost, "a", message("k")) == ["own"]
        assert routed(vhost, "a", message("l")) == ["q"]

    def test_alternates_in_a_circle_end(self, vhost: VHost) -> None:
        exchange(vhost, "a", "direct", arguments={"alternate-exchange": "b"})
        exchange(vhost, "b", "direct", arguments={"alternate-exchange": "a"})
        assert routed(vhost, "a", message("k")) == []

    def test_an_alternate_that_is_not_there_yet_is_used_from_its_declaration_on(self, vhost: VHost) -> None:
        exchange(vhost, "a", "direct", arguments={"alternate-exchange": "b"})
        assert routed(vhost, "a", message("k")) == []
        late = exchange(vhost, "b", "fanout")
        vhost.bind(late, queue(vhost, "q"), "", {})
        assert routed(vhost, "a", message("k")) == ["q"]
        vhost.remove_exchange(late)
        assert routed(vhost, "a", message("k")) == []

    def test_an_exchange_on_the_way_uses_its_own_alternate(self, vhost: VHost) -> None:
        entry = exchange(vhost, "entry", "fanout", arguments={"alternate-exchange": "unused"})
        middle = exchange(vhost, "middle", "direct", arguments={"alternate-exchange": "rest"})
        vhost.bind(entry, middle, "", {})
        vhost.bind(exchange(vhost, "rest", "fanout"), queue(vhost, "q"), "", {})
        vhost.bind(exchange(vhost, "unused", "fanout"), queue(vhost, "never"), "", {})
        assert routed(vhost, "entry", message("k")) == ["q"]


def test_an_exchange_remembers_only_so_many_routes(vhost: VHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "ROUTES_MAX", 10)
    source = exchange(vhost, "e", "topic")
    vhost.bind(source, queue(vhost, "q"), "#", {})
    for i in range(95):
        assert routed(vhost, "e", message(f"k{i}")) == ["q"]
        assert len(source.routes) <= 10


def test_keys_as_long_as_an_mqtt_topic_may_be_are_not_remembered(vhost: VHost) -> None:
    vhost.bind(vhost.exchange("amq.topic"), queue(vhost, "q"), "#", {})
    for key in ("k" * 255, "k" * 256):
        assert routed(vhost, "amq.topic", message(key)) == ["q"]
    assert set(vhost.exchange("amq.topic").routes) == {"k" * 255}
