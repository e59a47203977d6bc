"""Type topic (AMQP 0-9-1, section 3.1.3.3)."""

from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.core.message import Message
from edge.core.topic import TopicTrie


class TopicExchange(Exchange):
    """Binding keys are patterns over words parted by dots."""

    type = "topic"

    def new_index(self) -> None:
        self._trie: TopicTrie[Binding] = TopicTrie()

    def add(self, binding: Binding) -> None:
        super().add(binding)
        self._trie.add(binding.routing_key, binding)

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        self._trie.remove(binding.routing_key, binding)

    def matching(self, message: Message) -> list[Binding]:
        return self._trie.match(message.routing_key)
