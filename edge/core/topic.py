"""Binding keys of topic exchanges, found by a trie.

Words are parted by dots; ``*`` stands for one word and ``#`` for none or more (AMQP 0-9-1, section 3.1.3.3).
"""

from typing import Final, Generic, TypeVar

T = TypeVar("T")

WORDS_MAX: Final = 256
"""Dots at which a key is parted. A short string of 255 bytes has at most 255; the bound is for keys from elsewhere,
because the matcher recurses a level a word."""


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[T, int] = {}


class TopicTrie(Generic[T]):
    """Maps binding keys to values; ``match`` finds each value once, in the order in which nodes are met."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, binding_key: str, value: T) -> None:
        """Bind ``value``; the same pair may be added more than once and must be removed as often."""
        node = self._root
        for word in _words(binding_key):
            child = node.children.get(word)
            if child is None:
                child = node.children[word] = _Node()
            node = child
        node.values[value] = node.values.get(value, 0) + 1

    def remove(self, binding_key: str, value: T) -> None:
        """Undo one ``add``; raises KeyError when the pair is not there."""
        path: list[tuple[_Node[T], str]] = []
        node = self._root
        for word in _words(binding_key):
            path.append((node, word))
            node = node.children[word]
        node.values[value] -= 1
        if not node.values[value]:
            del node.values[value]
        for parent, word in reversed(path):
            child = parent.children[word]
            if child.children or child.values:
                break
            del parent.children[word]

    def match(self, routing_key: str) -> list[T]:
        """Return the distinct values whose binding key matches."""
        found: dict[T, int] = {}
        self._collect(self._root, _words(routing_key), 0, found, {})
        return list(found)

    def _collect(
        self, node: _Node[T], words: list[str], i: int, found: dict[T, int], seen: dict[int, int]
    ) -> None:
        children = node.children
        tail = children.get("#")
        if tail is not None:
            if not tail.children:
                found.update(tail.values)
            else:
                # Several "#" on one path reach the same place in many ways: once is enough.
                done_from = seen.get(id(tail), len(words) + 1)
                if i < done_from:
                    seen[id(tail)] = i
                    for j in range(i, done_from):
                        self._collect(tail, words, j, found, seen)
        if i == len(words):
            found.update(node.values)
            return
        child = children.get(words[i])
        if child is not None:
            self._collect(child, words, i + 1, found, seen)
        star = children.get("*")
        if star is not None:
            self._collect(star, words, i + 1, found, seen)


def _words(key: str) -> list[str]:
    # An empty key has no words (RabbitMQ, rabbit_db_topic_exchange:split_topic_key): "*" does not match it.
    return key.split(".", WORDS_MAX) if key else []
