"""Type x-recent-history: a fanout that tells a new destination what was published last (RabbitMQ's plugin)."""

from collections import deque
from typing import Final

from edge.core.binding import Binding
from edge.core.errors import PreconditionFailed
from edge.core.exchanges.fanout import FanoutExchange
from edge.core.message import Message, amqp_properties
from edge.core.properties import header

LENGTH: Final = "x-recent-history-length"
NO_STORE: Final = "x-recent-history-no-store"
LENGTH_DEFAULT: Final = 20
BYTES_MAX: Final = 4 * 1024 * 1024
"""Bodies that an exchange remembers, whatever its length: as many as a queue's window."""


class RecentHistoryExchange(FanoutExchange):
    """Remembers messages in RAM, as RabbitMQ's plugin does: a restart forgets them, those in queues stay."""

    type = "x-recent-history"
    by_key = False

    def new_index(self) -> None:
        self._history: deque[Message] = deque()
        self._history_bytes = 0

    def check_arguments(self) -> None:
        super().check_arguments()
        length = self.arguments.get(LENGTH, LENGTH_DEFAULT)
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            shown = f'<<"{length}">>' if isinstance(length, str) else str(length).lower()
            raise PreconditionFailed(f"Invalid argument {shown}, '{LENGTH}' must be a positive integer")
        self._length = length

    def matching(self, message: Message) -> list[Binding]:
        if header(amqp_properties(message), NO_STORE) is not True:
            self._remember(message)
        return super().matching(message)

    def _remember(self, message: Message) -> None:
        history = self._history
        history.append(message)
        self._history_bytes += len(message.body)
        while len(history) > self._length or (self._history_bytes > BYTES_MAX and len(history) > 1):
            self._history_bytes -= len(history.popleft().body)

    def remembered(self) -> list[Message]:
        return list(self._history)
