"""Type direct (AMQP 0-9-1, section 3.1.3.1)."""

from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.core.message import Message


class DirectExchange(Exchange):
    """Routing key equals binding key."""

    type = "direct"

    def new_index(self) -> None:
        self._by_key: dict[str, dict[Binding, None]] = {}

    def add(self, binding: Binding) -> None:
        super().add(binding)
        self._by_key.setdefault(binding.routing_key, {})[binding] = None

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        same_key = self._by_key[binding.routing_key]
        del same_key[binding]
        if not same_key:
            del self._by_key[binding.routing_key]

    def matching(self, message: Message) -> list[Binding]:
        return list(self._by_key.get(message.routing_key, ()))
