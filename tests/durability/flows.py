"""The flows of MQTT's QoS 2 as clients know them, compared with what a node has kept of them.

A client that comes back after a power cut goes on where it was (MQTT section 4.4): what it publishes again must not be
taken twice, and what it gets again must be told from what is new. Both rest on packet identifiers.
"""

from typing import TYPE_CHECKING

from mqtt.inflight import packet_id_of
from tests.durability.bodies import Key
from tests.durability.found import Found

if TYPE_CHECKING:
    from tests.durability.ledger import Place

NODE = "a"
"""The node of the MQTT workload."""

SENT, RECEIVED, RELEASING, COMPLETE = "sent", "received", "releasing", "complete"
"""Of a publish to the node: sent; PUBREC came; PUBREL may be out; PUBCOMP came."""
GOT, RECORDING, RELEASED, COMPLETING = "got", "recording", "released", "completing"
"""Of a delivery: came; PUBREC may be out; PUBREL came; PUBCOMP may be out."""


class Inbound:
    """Publishes at QoS 2 to the node."""

    def __init__(self) -> None:
        self._flows: dict[tuple[str, int], tuple[str, Key]] = {}

    def sent(self, client: str, packet_id: int, key: Key) -> None:
        self._flows[client, packet_id] = SENT, key

    def step(self, client: str, packet_id: int, step: str) -> None:
        self._flows[client, packet_id] = step, self._flows[client, packet_id][1]

    def check(self, nodes: dict[str, Found], places_of: "dict[Key, list[Place]]") -> list[str]:
        problems: list[str] = []
        sessions = nodes[NODE].sessions if NODE in nodes else {}
        open_ids: dict[str, set[int]] = {}
        for (client, packet_id), (state, key) in self._flows.items():
            session = sessions.get(client)
            received = session.received if session is not None else set()
            if state != COMPLETE:
                open_ids.setdefault(client, set()).add(packet_id)
            if state == RECEIVED and packet_id not in received:
                problems.append(f"{client} has PUBREC for {packet_id}, the node has forgotten it")
            if state != SENT:
                continue
            for place in places_of[key]:
                ((node, queue_name),) = place.queues
                queue = nodes[node].queues.get(queue_name)
                is_there = queue is not None and queue.sequence_of(key) is not None
                if key in place.taking:
                    # It may have been delivered, and settled, without ever having been on the disk.
                    is_wrong = packet_id not in received and (place.is_exact or is_there)
                else:
                    is_wrong = is_there != (packet_id in received)
                if is_wrong:
                    problems.append(
                        f"{client} sends {key} again by {packet_id}: in {queue_name} {is_there},"
                        f" id known {packet_id in received}"
                    )
        for client in {client for client, _ in self._flows} & set(sessions):
            unknown = sessions[client].received - open_ids.get(client, set())
            if unknown:
                problems.append(f"{client}: ids {sorted(unknown)} are released, the node keeps them")
        return problems


class Outbound:
    """Deliveries at QoS 2 to a client."""

    def __init__(self) -> None:
        self.flows: dict[tuple[str, int], tuple[str, Key]] = {}

    def got(self, client: str, packet_id: int, key: Key) -> None:
        known = self.flows.get((client, packet_id))
        if known is None or known[1] != key:
            self.flows[client, packet_id] = GOT, key

    def step(self, client: str, packet_id: int, step: str) -> None:
        self.flows[client, packet_id] = step, self.flows[client, packet_id][1]

    def check(self, nodes: dict[str, Found]) -> list[str]:
        problems: list[str] = []
        open_ids: dict[str, set[int]] = {}
        for (client, packet_id), (state, key) in self.flows.items():
            session = nodes[NODE].sessions.get(client)
            queue = nodes[NODE].queues.get(session.queue) if session is not None else None
            if session is None or queue is None:
                problems.append(f"{client} is in the middle of a flow, its session is gone")
                continue
            sequence = queue.sequence_of(key)
            if sequence is not None and packet_id_of(sequence) != packet_id:
                problems.append(f"{client} knows {key} by {packet_id}, the node by {packet_id_of(sequence)}")
            if state != GOT:
                open_ids.setdefault(client, set()).add(packet_id)
            is_released = packet_id in session.released
            expected = {
                GOT: sequence is not None and not is_released,
                RECORDING: (sequence is not None) != is_released,
                RELEASED: sequence is None and is_released,
                COMPLETING: sequence is None,
            }
            if not expected[state]:
                problems.append(
                    f"{client} has {key} by {packet_id} as {state}: in the queue {sequence is not None},"
                    f" released {is_released}"
                )
        for client, session in nodes[NODE].sessions.items() if NODE in nodes else ():
            unknown = session.released - open_ids.get(client, set())
            if unknown:
                problems.append(f"{client}: PUBREL is due for {sorted(unknown)}, of which it knows nothing")
        return problems
