"""Type fanout (AMQP 0-9-1, section 3.1.3.2)."""

from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.core.message import Message


class FanoutExchange(Exchange):
    """Every binding, whatever its key."""

    type = "fanout"

    def matching(self, message: Message) -> list[Binding]:
        return list(self.bindings.values())
