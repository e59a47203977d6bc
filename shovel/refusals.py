"""What a destination has refused: offered again with growing pauses, then parked, while the rest flows.

A refusal counts against a message's budget when it is for what the message is (too large, not allowed), or when
others got through since it was first refused. As long as a destination refuses everything, the destination and not
the message is at fault (a full queue, bindings not made yet): nothing is parked, and the shovel waits, its pauses
capped.

What is refused for want of room (basic.nack) holds back everything behind it, so that the order of the queue is kept
when a full queue takes messages again one by one.
"""

from dataclasses import dataclass
from typing import Final, final

from edge.core.consumer import Entry
from edge.retry import refusal_delay_s

BUDGET: Final = 5
"""Refusals of one message before it is parked: about 10 s by the pauses."""
DELAY_BASE_S: Final = 0.5
DELAY_MAX_S: Final = 60.0
SET_ASIDE_MAX: Final = 1024
"""Refused messages that are kept aside while others flow; with more the destination refuses too much to go on."""
KNOWN_FOR_S: Final = 60.0
"""How long a routing key that led nowhere is believed to: meanwhile its messages are parked without a second try, or a
stream that nobody has bound to would hold up all others."""
KNOWN_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a destination did not take a message."""

    reason: str
    #: For what the message is: it would be refused by an idle destination too.
    of_message: bool = False
    #: It need not be offered again: it cannot be sent at all, or exceeds a limit that the destination has stated.
    is_final: bool = False
    #: For want of room: whatever comes behind it would be refused or overtake it.
    of_room: bool = False
    #: It was routed nowhere.
    of_route: bool = False


@final
class Refused:
    """One refused message."""

    __slots__ = ("entry", "refusal", "waiting")

    def __init__(self, entry: Entry, refusal: Refusal) -> None:
        self.entry = entry
        self.refusal = refusal
        #: False while it is offered again, in flight.
        self.waiting = True


@final
class Refusals:
    """The refused messages of one shovel by their sequence."""

    def __init__(self, budget: int = BUDGET, delay_base_s: float = DELAY_BASE_S) -> None:
        self.budget = budget
        self.delay_base_s = delay_base_s
        self.aside: dict[int, Refused] = {}
        #: How many of them are offered again, in flight.
        self.offered = 0
        #: Refusals that counted, by sequence; kept over reconnects, where the sequence still means the same message.
        self.counts: dict[int, int] = {}
        #: Rounds of offering in a row between which nothing at all was taken.
        self.rounds = 0
        self._of_room = 0
        self._offer_size = 1
        self._confirmed = 0
        self._confirmed_at_due = 0
        self._confirmed_at_first: dict[int, int] = {}
        #: Exchange and routing key that led nowhere -> until when that is believed.
        self._known: dict[tuple[str, str], float] = {}

    @property
    def holds(self) -> bool:
        """Whether nothing new may be published for now."""
        return self._of_room > 0 or len(self.aside) > SET_ASIDE_MAX

    @property
    def is_waiting(self) -> bool:
        """Whether something waits to be offered again."""
        return len(self.aside) > self.offered

    @property
    def goes_on(self) -> bool:
        """Whether all that was offered again was taken, for want of room no more: the next may follow at once."""
        return self._of_room > 0 and not self.offered

    @property
    def reason(self) -> str:
        """Why the destination refuses, "" when it does not."""
        return next((refused.refusal.reason for refused in self.aside.values()), "")

    def confirmed(self, entries: list[Entry]) -> None:
        """Messages got through."""
        self._confirmed += len(entries)
        if not self.counts:
            return
        offered = self.offered
        for sequence, _, _ in entries:
            if sequence in self.counts:
                self.forget(sequence)
        if offered and not self.offered:
            self._offer_size *= 2

    def refused(self, entries: list[Entry], refusal: Refusal, now_s: float) -> list[Entry]:
        """Note refused messages; return those that are to be parked, in order."""
        spent: list[Entry] = []
        for entry in entries:
            sequence, message, _ = entry
            route = (message.exchange, message.routing_key)
            since = self._confirmed_at_first.setdefault(sequence, self._confirmed)
            count = self.counts.get(sequence, 0)
            if refusal.of_message or self._confirmed > since or not count:
                count += 1
            self._remove(sequence)
            if count > self.budget or refusal.is_final:
                self._learn(route, refusal, now_s)
            elif not (refusal.of_route and self._known.get(route, 0.0) > now_s):
                self.counts[sequence] = count
                self._set_aside(entry, refusal)
                continue
            self.forget(sequence)
            spent.append(entry)
        return spent

    def due(self) -> list[Entry]:
        """What is to be offered again now, in order.

        For want of room that is one message, then two, four and so on while all are taken: a full queue that is read
        slowly takes few, and would take them out of order. For the same reason nothing follows those that are not yet
        answered: the destination might take the later one only.
        """
        if self._of_room and self.offered:
            return []
        self.rounds = self.rounds + 1 if self._confirmed == self._confirmed_at_due else 0
        self._confirmed_at_due = self._confirmed
        again = sorted([refused.entry for refused in self.aside.values() if refused.waiting])
        if self._of_room:
            again = again[: self._offer_size]
        for entry in again:
            self.aside[entry[0]].waiting = False
        self.offered += len(again)
        return again

    def delay_s(self) -> float:
        """How long to wait before ``due``."""
        counts = [self.counts[sequence] for sequence, refused in self.aside.items() if refused.waiting]
        return refusal_delay_s(max(self.rounds, min(counts, default=1)), self.delay_base_s, DELAY_MAX_S)

    def forget(self, sequence: int) -> None:
        """The message got through, or is parked."""
        self._remove(sequence)
        self.counts.pop(sequence, None)
        self._confirmed_at_first.pop(sequence, None)

    def clear(self) -> list[Entry]:
        """Give back all that waits, in order: the connection is gone. Budgets stay."""
        left = sorted([refused.entry for refused in self.aside.values() if refused.waiting])
        self.aside = {}
        self.offered = self._of_room = 0
        return left

    def _set_aside(self, entry: Entry, refusal: Refusal) -> None:
        self.aside[entry[0]] = Refused(entry, refusal)
        if refusal.of_room:
            self._of_room += 1
            self._offer_size = 1

    def _remove(self, sequence: int) -> None:
        refused = self.aside.pop(sequence, None)
        if refused is not None:
            self.offered -= not refused.waiting
            self._of_room -= refused.refusal.of_room

    def _learn(self, route: tuple[str, str], refusal: Refusal, now_s: float) -> None:
        if refusal.of_route:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[route] = now_s + KNOWN_FOR_S
