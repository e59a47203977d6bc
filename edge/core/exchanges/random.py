"""Types x-random and x-local-random: each message to one of the bindings (RabbitMQ, "Random Exchange")."""

import random

from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.core.message import Message


class RandomExchange(Exchange):
    """One binding, by chance, whatever its key."""

    type = "x-random"
    by_key = False

    def new_index(self) -> None:
        self._choices: list[Binding] = []

    def add(self, binding: Binding) -> None:
        super().add(binding)
        self._choices = list(self.bindings.values())

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        self._choices = list(self.bindings.values())

    def matching(self, message: Message) -> list[Binding]:
        return [random.choice(self._choices)] if self._choices else []  # noqa: S311  # no secret


class LocalRandomExchange(RandomExchange):
    """The same among queues of this node; all are."""

    type = "x-local-random"
