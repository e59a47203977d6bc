"""Retained messages: the last one of each topic, found by filter without a look at the others.

A node keeps them in RAM as well as in its store, so both their number and their bytes are bounded.
"""

from typing import final

from edge.core.message import Message
from mqtt.constants import RETAINED_BYTES_MAX, RETAINED_MESSAGES_MAX
from mqtt.filters import topic_of


@final
class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


@final
class Retained:
    """The retained messages of one vhost, in RAM; the service keeps them in the store as well."""

    __slots__ = ("_root", "bytes_max", "message_bytes", "messages", "messages_max", "visited")

    def __init__(
        self, messages_max: int = RETAINED_MESSAGES_MAX, bytes_max: int = RETAINED_BYTES_MAX
    ) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self._root = _Node()
        self.messages = 0
        #: Of routing keys, properties and bodies.
        self.message_bytes = 0
        #: Nodes of the trie that the last look-up has met.
        self.visited = 0

    def is_roomy(self, messages: list[Message]) -> bool:
        """Whether all of a run may be retained, whatever is retained for its topics now: without a look-up."""
        size = sum([_size(message) for message in messages])
        return (
            self.messages + len(messages) <= self.messages_max and self.message_bytes + size <= self.bytes_max
        )

    def has_room(self, message: Message) -> bool:
        """Whether the message may be retained; to drop what a topic retains is always possible."""
        if not message.body:
            return True
        old = self._find(message.routing_key)
        messages = self.messages + (old is None)
        size = self.message_bytes + _size(message) - (0 if old is None else _size(old))
        return messages <= self.messages_max and size <= self.bytes_max

    def _find(self, routing_key: str) -> Message | None:
        node = self._root
        for level in topic_of(routing_key).split("/"):
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.message

    def set(self, message: Message) -> None:
        """Retain a message, or, if its body is empty, drop what its topic retains [MQTT-3.3.1-6]."""
        if not message.body:
            self.remove(message.routing_key)
            return
        node = self._root
        for level in topic_of(message.routing_key).split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        if node.message is None:
            self.messages += 1
        else:
            self.message_bytes -= _size(node.message)
        node.message = message
        self.message_bytes += _size(message)

    def remove(self, routing_key: str) -> bool:
        """Drop what a topic retains; False if there is nothing."""
        path: list[tuple[_Node, str]] = []
        node = self._root
        for level in topic_of(routing_key).split("/"):
            child = node.children.get(level)
            if child is None:
                return False
            path.append((node, level))
            node = child
        if node.message is None:
            return False
        self.messages -= 1
        self.message_bytes -= _size(node.message)
        node.message = None
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.children or child.message is not None:
                break
            del parent.children[level]
        return True

    def match(self, topic_filter: str) -> list[Message]:
        """Retained messages whose topic matches, `$`-topics only by a filter that names them [MQTT-4.7.2-1]."""
        levels = topic_filter.split("/")
        found: list[Message] = []
        pending = [(self._root, 0)]
        visited = 0
        while pending:
            node, i = pending.pop()
            visited += 1
            level = levels[i] if i < len(levels) else ""
            # "a/#" matches "a" as well (section 4.7.1.2).
            if node.message is not None and (i == len(levels) or level == "#"):
                found.append(node.message)
            if level in ("+", "#"):
                down = i if level == "#" else i + 1
                shown = node is not self._root
                pending += [
                    (child, down) for name, child in node.children.items() if shown or name[:1] != "$"
                ]
            elif i < len(levels) and (named := node.children.get(level)) is not None:
                pending.append((named, i + 1))
        self.visited = visited
        return found


def _size(message: Message) -> int:
    return len(message.routing_key) + len(message.properties) + len(message.body)
