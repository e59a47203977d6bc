"""What tells bindings apart."""

from edge.core.binding import Binding, arguments_key
from edge.core.exchanges.fanout import FanoutExchange
from edge.core.queue import Queue
from tests.helpers.brokers import FakeHost


def binding(routing_key: str, arguments: dict[str, object]) -> Binding:
    return Binding(FanoutExchange("/", "e"), Queue(FakeHost(), "/", "q", 1), "queue", routing_key, arguments)


def test_argument_tables_are_equal_whatever_the_order_of_their_keys() -> None:
    one = {"a": 1, "b": {"x": [1, {"p": 1, "q": 2}], "y": 2}}
    other = {"b": {"y": 2, "x": [1, {"q": 2, "p": 1}]}, "a": 1}
    assert arguments_key(one) == arguments_key(other)
    assert arguments_key({}) == ""


def test_argument_tables_that_differ_in_a_value_or_its_type_are_not_equal() -> None:
    keys = [arguments_key({"a": value}) for value in (1, 2, True, "1", 1.0, None, [1], {"1": 1}, b"1")]
    assert len(set(keys)) == len(keys)


def test_the_properties_key_is_the_routing_key_and_a_digest_of_arguments() -> None:
    assert binding("k", {}).properties_key == "k"
    assert binding("", {}).properties_key == "~"
    with_arguments = binding("k", {"x-match": "any"}).properties_key
    assert with_arguments.startswith("k~")
    assert with_arguments != binding("k", {"x-match": "all"}).properties_key


def test_bindings_of_different_keys_or_arguments_have_different_keys() -> None:
    keys = {binding(key, arguments).key for key in ("", "k") for arguments in ({}, {"a": 1})}  # type: ignore[arg-type]
    assert len(keys) == 4
