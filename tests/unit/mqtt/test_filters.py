"""Topic names and filters, and the mapping to routing keys that loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt.constants import TOPIC_CACHE_MAX
from mqtt.filters import (
    WireCache,
    check_topic_name,
    is_valid_filter,
    routing_key_of,
    split_share,
    topic_of,
)
from mqtt.reasons import PeerError


@pytest.mark.parametrize(
    ("topic", "key"),
    [("a/b", "a.b"), ("a.b/c", "a/b.c"), ("/a", ".a"), ("a//b", "a..b"), ("+/a/#", "*.a.#"), ("*/x", "+.x")],
)
def test_the_mapping_swaps_separators_and_wildcards(topic: str, key: str) -> None:
    assert routing_key_of(topic) == key
    assert topic_of(key) == topic


@given(st.text())
def test_the_mapping_is_its_own_inverse(topic: str) -> None:
    assert topic_of(routing_key_of(topic)) == topic


@pytest.mark.parametrize("topic", ["a", "/", "a/b c/d", "$SYS/x", "a*b", "/".join("x" * 128)])
def test_a_good_topic_name_passes(topic: str) -> None:
    check_topic_name(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "/".join("x" * 129)])
def test_a_bad_topic_name_is_refused(topic: str) -> None:
    with pytest.raises(PeerError):
        check_topic_name(topic)


@pytest.mark.parametrize("topic_filter", ["a", "+", "#", "a/+/b/#", "/", "+/+", "a b"])
def test_a_good_filter_passes(topic_filter: str) -> None:
    assert is_valid_filter(topic_filter)


def test_a_share_is_taken_apart() -> None:
    """MQTT-4.8.2-1, MQTT-4.8.2-2."""
    assert split_share("a/b") == ("", "a/b")
    assert split_share("$share/group/a/#") == ("group", "a/#")
    for bad in ("$share/", "$share/g", "$share//a", "$share/g+/a", "$share/#/a"):
        with pytest.raises(PeerError):
            split_share(bad)


@pytest.mark.parametrize("key", ["", "a.*", "*", "a.#", "a\0b", "x" * 70_000])
def test_a_key_that_no_topic_can_stand_for_has_no_field(key: str) -> None:
    assert WireCache().field(key) == b""


def test_the_cache_knows_both_ways_and_stays_bounded() -> None:
    cache = WireCache()
    assert cache.key(b"a/b") == "a.b"
    assert cache.field("a.b") == b"\0\x03a/b"
    for i in range(TOPIC_CACHE_MAX * 2):
        cache.key(b"%d" % i)
        cache.field(f"{i}")
    assert len(cache.keys) <= TOPIC_CACHE_MAX
    assert len(cache.fields) <= TOPIC_CACHE_MAX
    assert cache.key(b"a/b") == "a.b"
