"""Exactly once between Leverets: which messages of an upstream's queue have been taken.

The upstream numbers its deliveries by the message's place in its queue, which a crash does not change; the downstream
keeps the numbers that it has taken in the same transaction as the messages themselves. So what the upstream sends again
is told from what is new, whatever was lost between the two.
"""

from typing import Final

import msgspec

from edge.broker import Broker
from edge.core.settled import Settled

KIND: Final = "federation-progress"
RANGES_MAX: Final = 4096
"""Ranges that are remembered above the watermark. Each gap is a message that expired at the upstream, or that is still
on its way; the lowest of so many is older than any prefetch, and is taken as expired."""


class Progress:
    """The taken sequences of one origin, which is the consumer tag ``seq-<node id>-<queue id>``."""

    def __init__(self, broker: Broker, origin: str, taken: Settled) -> None:
        self._broker = broker
        self.origin = origin
        self.taken = taken

    @classmethod
    async def load(cls, broker: Broker, origin: str) -> "Progress":
        saved = (await broker.store.records(KIND)).get(origin)
        if saved is None:
            return cls(broker, origin, Settled())
        low, ranges = msgspec.msgpack.decode(saved, type=tuple[int, list[tuple[int, int]]])
        return cls(broker, origin, Settled(low, ranges))

    def go_back(self, sequence: int) -> None:
        """The upstream's store is older than what was taken from it: from ``sequence`` on it numbers anew."""
        taken = self.taken
        ranges = [(start, min(end, sequence)) for start, end in taken.ranges() if start < sequence]
        self.taken = Settled(min(taken.low, sequence), ranges)

    def take(self, sequences: list[int]) -> None:
        """Note sequences as taken, with the next commit: to be called in the loop turn that publishes them."""
        taken = self.taken
        taken.add_sorted(sorted(set(sequences)))
        if len(taken.starts) > RANGES_MAX:
            taken.add(taken.low, taken.ends[0])
        value = msgspec.msgpack.encode((taken.low, taken.ranges()))
        self._broker.store.put(KIND, self.origin, value, with_messages=True)
