"""Topic matching: AMQP 0-9-1, section 3.1.3.3, and a plain matcher to compare with."""

import random
import time

import pytest

from edge.core.topic import TopicTrie


@pytest.mark.parametrize(
    ("pattern", "key", "is_match"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("*", "", False),
        ("", "", True),
        ("", "a", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#.a", "a", True),
        ("#.a", "b.c.a", True),
        ("#.a", "b.a.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a..c", True),
        ("a.*.c", "a.c", False),
        ("#.#", "", True),
        ("#.#", "a", True),
        ("#.*.#", "", False),
        ("#.*.#", "a", True),
        ("*.#", "a", True),
        ("a.#.b.#.c", "a.b.c", True),
        ("a.#.b.#.c", "a.x.b.y.z.c", True),
        ("a.#.b.#.c", "a.c.b", False),
        ("a.#.*", "a", False),
        ("a.#.*", "a.b", True),
        (".", ".", True),
        ("*.*", ".", True),
        ("*stock.#", "*stock.a", True),
        ("a.b*", "a.bc", False),
    ],
)
def test_a_pattern_matches_as_the_specification_says(pattern: str, key: str, is_match: bool) -> None:
    trie: TopicTrie[str] = TopicTrie()
    trie.add(pattern, "x")
    assert trie.match(key) == (["x"] if is_match else [])


def matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(matches(pattern[1:], words[i:]) for i in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and matches(pattern[1:], words[1:])


@pytest.mark.parametrize("round_", range(40))
def test_it_finds_what_a_plain_matcher_finds(rng: random.Random, round_: int) -> None:
    def words_of(text: str) -> list[str]:
        return text.split(".") if text else []

    trie: TopicTrie[int] = TopicTrie()
    bound: dict[int, str] = {}
    for value in range(40):
        pattern = ".".join(rng.choices(["a", "b", "", "*", "#"], k=rng.randrange(6)))
        trie.add(pattern, value)
        bound[value] = pattern
    for value in rng.sample(range(40), 15):
        trie.remove(bound.pop(value), value)
    for _ in range(60):
        key = ".".join(rng.choices(["a", "b", "c", ""], k=rng.randrange(7)))
        expected = {value for value, pattern in bound.items() if matches(words_of(pattern), words_of(key))}
        found = trie.match(key)
        assert len(found) == len(set(found))
        assert set(found) == expected, key


def test_a_pair_added_twice_stays_until_it_is_removed_twice() -> None:
    trie: TopicTrie[str] = TopicTrie()
    trie.add("a.b", "x")
    trie.add("a.b", "x")
    trie.remove("a.b", "x")
    assert trie.match("a.b") == ["x"]
    trie.remove("a.b", "x")
    assert trie.match("a.b") == []


def test_removing_leaves_no_empty_nodes_and_no_others_touched() -> None:
    trie: TopicTrie[str] = TopicTrie()
    trie.add("a.b.c", "deep")
    trie.add("a", "shallow")
    trie.remove("a.b.c", "deep")
    assert trie._root.children["a"].children == {}
    assert trie.match("a") == ["shallow"]
    with pytest.raises(KeyError):
        trie.remove("a.b.c", "deep")


def test_patterns_made_to_be_slow_are_not() -> None:
    trie: TopicTrie[int] = TopicTrie()
    trie.add(".".join(["#", "a"] * 60), 1)
    trie.add(".".join(["#", "*"] * 60), 2)
    trie.add(".".join(["*"] * 128), 3)
    began = time.perf_counter()
    assert trie.match(".".join(["a"] * 128)) == [1, 2, 3]
    assert trie.match(".".join(["b"] * 127)) == [2]
    assert time.perf_counter() - began < 2.0


def test_the_longest_key_of_a_short_string_does_not_exhaust_the_stack() -> None:
    trie: TopicTrie[int] = TopicTrie()
    trie.add("#." * 127 + "a", 1)
    trie.add("." * 255, 2)
    assert trie.match("." * 254 + "a") == [1]
    assert trie.match("." * 255) == [2]


def test_parts_beyond_the_bound_are_one_word() -> None:
    trie: TopicTrie[int] = TopicTrie()
    trie.add("a." * 400 + "b", 1)
    assert trie.match("a." * 400 + "b") == [1]
    assert trie.match("a." * 400 + "c") == []
