"""What a node owes its clients at any instant, from the marks of a workload, and the comparison with what is there.

A workload marks what it is about to do before it does it, and what it was told after it was told. Between the two
everything may have happened or not; after it only what was told may be found.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.durability.bodies import Key
from tests.durability.flows import Inbound, Outbound
from tests.durability.found import Found, FoundQueue

THERE, GONE, MAYBE = "there", "gone", "maybe"


@dataclass
class Place:
    """A queue, or the queues that a message passes through; with what was sent there."""

    queues: list[tuple[str, str]]
    """(node, queue name)."""
    sent: set[Key] = field(default_factory=set)
    confirmed: set[Key] = field(default_factory=set)
    taking: set[Key] = field(default_factory=set)
    """An acknowledgement may be under way."""
    taken: set[Key] = field(default_factory=set)
    """The acknowledgement is on the disk."""
    is_purging: bool = False
    repeats: bool = False
    """A message may come twice: at least once is what was promised."""
    is_exact: bool = False
    """Nothing is delivered from it before it is on the disk."""
    is_moved: bool = False
    """A message is in one of the queues and never in two; in the first one in order."""
    is_promised: bool = True
    """A confirm means that it is on the disk: not in a queue of class volatile."""


class Ledger:
    """Follows the marks; `check` tells what is wrong with a disk."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        #: (node, kind, name) of a declared thing -> its state.
        self.things: dict[tuple[str, str, str], str] = {}
        #: Topic -> bodies that it may retain; b"" for none.
        self.retained: dict[str, list[bytes]] = {}
        #: Places of two queues between which each message goes exactly once.
        self.exactly_once: list[str] = []
        self.inbound = Inbound()
        self.outbound = Outbound()
        self._places_of: dict[Key, list[Place]] = {}

    @property
    def confirmed(self) -> int:
        """How many messages the node has promised to keep, once for every queue."""
        return sum(len(place.confirmed) for place in self.places.values())

    def apply(self, mark: dict[str, Any]) -> None:
        """Take the next mark."""
        getattr(self, "_on_" + mark.pop("event"))(**mark)

    # -- messages --------------------------------------------------------------------------------------------------

    def _on_place(
        self,
        name: str,
        queues: list[tuple[str, str]],
        repeats: bool = False,
        is_exact: bool = False,
        is_moved: bool = False,
        is_promised: bool = True,
    ) -> None:
        place = Place(
            [(node, queue) for node, queue in queues],
            repeats=repeats,
            is_exact=is_exact,
            is_moved=is_moved,
            is_promised=is_promised,
        )
        self.places.setdefault(name, place)

    def _on_send(self, publisher: str, numbers: list[int], places: list[str]) -> None:
        found = [self.places[place] for place in places]
        for number in numbers:
            key = publisher, number
            self._places_of[key] = found
            for place in found:
                place.sent.add(key)
                if place.is_purging:
                    place.taking.add(key)

    def _on_confirm(self, publisher: str, numbers: list[int]) -> None:
        for number in numbers:
            for place in self._places_of[publisher, number]:
                if place.is_promised:
                    place.confirmed.add((publisher, number))

    def _on_take(self, place: str, keys: list[list[Any]]) -> None:
        self.places[place].taking |= {(publisher, number) for publisher, number in keys}

    def _on_taken(self, place: str, keys: list[list[Any]]) -> None:
        self.places[place].taken |= {(publisher, number) for publisher, number in keys}

    def _on_purge(self, place: str) -> None:
        self.places[place].is_purging = True
        self.places[place].taking |= self.places[place].sent

    def _on_purged(self, place: str) -> None:
        self.places[place].is_purging = False

    # -- declarations ----------------------------------------------------------------------------------------------

    def _on_declare(self, thing: list[str]) -> None:
        self.things[_thing(thing)] = MAYBE

    def _on_declared(self, thing: list[str]) -> None:
        self.things[_thing(thing)] = THERE

    def _on_delete(self, thing: list[str]) -> None:
        self.things[_thing(thing)] = MAYBE

    def _on_deleted(self, thing: list[str]) -> None:
        self.things[_thing(thing)] = GONE

    def _on_retain(self, topic: str, body: str) -> None:
        self.retained.setdefault(topic, [b""]).append(body.encode())

    def _on_retained(self, topic: str, body: str) -> None:
        bodies = self.retained[topic]
        del bodies[: bodies.index(body.encode())]

    # -- flows of QoS 2, see flows.py --------------------------------------------------------------------------------

    def _on_in_sent(self, client: str, packet_id: int, publisher: str, number: int) -> None:
        self.inbound.sent(client, packet_id, (publisher, number))

    def _on_in_step(self, client: str, packet_id: int, step: str) -> None:
        self.inbound.step(client, packet_id, step)

    def _on_out_got(self, client: str, packet_id: int, publisher: str, number: int) -> None:
        self.outbound.got(client, packet_id, (publisher, number))

    def _on_out_step(self, client: str, packet_id: int, step: str) -> None:
        self.outbound.step(client, packet_id, step)

    def _on_exactly_once(self, place: str) -> None:
        self.exactly_once.append(place)

    def _on_ready(self) -> None:
        """The workload has set up, and what an earlier one was doing is over."""
        for place in self.places.values():
            place.is_purging = False

    # -- comparing -------------------------------------------------------------------------------------------------

    def check(self, nodes: dict[str, Found]) -> list[str]:
        """What is wrong; nothing for a node that keeps its word."""
        problems = [f"{node} reports {loss}" for node, found in nodes.items() for loss in found.losses]
        for name, place in self.places.items():
            self._check_place(name, place, nodes, problems)
        for (node, kind, name), state in self.things.items():
            is_there = name in nodes[node].things[kind]
            if (state == THERE and not is_there) or (state == GONE and is_there):
                problems.append(f"{kind} '{name}' of {node} is {'there' if is_there else 'not there'}")
        for topic, bodies in self.retained.items():
            kept = next(iter(nodes.values())).retained.get(topic, b"")
            if kept not in bodies:
                problems.append(f"topic '{topic}' retains {kept!r}, not one of {bodies!r}")
        for name in self.exactly_once:
            problems += self._check_exactly_once(name, nodes)
        problems += self.inbound.check(nodes, self._places_of)
        problems += self.outbound.check(nodes)
        return problems

    def _check_exactly_once(self, name: str, nodes: dict[str, Found]) -> list[str]:
        """What the first queue still has is in the second one if, and only if, its sequence is noted as taken."""
        (source, source_queue), (target, target_queue) = self.places[name].queues
        sending, receiving = nodes[source].queues.get(source_queue), nodes[target].queues.get(target_queue)
        if sending is None or receiving is None:
            return []
        problems = []
        for key, sequence in sending.sequences.items():
            is_taken = any(sequence in progress.taken for progress in nodes[target].progress)
            if is_taken != (receiving.sequence_of(key) is not None):
                problems.append(f"{name}: {key} is noted as taken: {is_taken}, and is there: {not is_taken}")
        return problems

    def _check_place(self, name: str, place: Place, nodes: dict[str, Found], problems: list[str]) -> None:
        present: set[Key] = set()
        for node, queue_name in place.queues:
            queue = nodes[node].queues.get(queue_name)
            if queue is not None:
                has_order = not place.is_moved or (node, queue_name) == place.queues[0]
                problems += check_queue(f"queue '{queue_name}' of {node}", queue, place, has_order)
                if place.is_moved and (twice := present & set(queue.keys())):
                    problems.append(f"{name} has messages in two queues: {sorted(twice)[:5]}")
                present.update(queue.keys())
        lost = place.confirmed - place.taking - present
        if lost:
            problems.append(f"{name} has lost {len(lost)} confirmed: {sorted(lost)[:5]}")
        newest: dict[str, int] = {}
        for publisher, number in present:
            newest[publisher] = max(number, newest.get(publisher, -1))
        for key in place.sent - place.taking - present - lost:
            if key[1] < newest.get(key[0], -1):
                problems.append(f"{name} has a hole at {key}, though later ones are there")


def check_queue(where: str, queue: FoundQueue, place: Place, has_order: bool = True) -> list[str]:
    """What is wrong with the messages of one queue, taken alone."""
    problems = [f"{where}: {error}" for error in queue.errors]
    newest: dict[str, int] = {}
    keys = queue.keys()
    if queue.repeated and not place.repeats:
        problems.append(f"{where} has messages twice: {queue.repeated[:5]}")
    for publisher, number in keys:
        if has_order and number < newest.get(publisher, -1):
            problems.append(f"{where} has {publisher} {number} after {newest[publisher]}")
        newest[publisher] = number
    for what, strange in (
        ("that nobody sent", set(keys) - place.sent),
        ("that were settled", set(keys) & place.taken),
    ):
        if strange:
            problems.append(f"{where} has messages {what}: {sorted(strange)[:5]}")
    return problems


def _thing(thing: list[str]) -> tuple[str, str, str]:
    node, kind, name = thing
    return node, kind, name
