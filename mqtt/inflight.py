"""Packet identifiers in use between a session and its client, both ways.

An outbound identifier follows from the message's sequence in the session's queue, so it means the same message after
a crash without ever having been written down. What must be written are the two sets of QoS 2: identifiers whose
message is settled but whose PUBREL is not answered yet, and identifiers that came in and were not released yet.
"""

from typing import Final, final

import msgspec

from edge.core.consumer import Entry
from edge.core.queue import Queue
from mqtt.constants import PACKET_ID_MAX


class Qos2Record(msgspec.Struct, array_like=True):
    """What the store keeps of a session's QoS 2 flows."""

    released: list[int]
    received: list[int]


WINDOW_MAX: Final = 2_048
"""Messages on their way to a client that sets no receive maximum: a gateway's worth at 100 ms and 20 k/s, under
1 MB of entries in RAM."""


def packet_id_of(sequence: int) -> int:
    """The packet identifier of a message by its sequence in the session's queue."""
    return sequence % PACKET_ID_MAX + 1


@final
class Inflight:
    """Outbound messages that wait for their acknowledgement, by packet identifier, and the sets of QoS 2."""

    __slots__ = ("_foreign", "qos1", "qos2", "received", "released", "shared", "window")

    def __init__(self) -> None:
        self.window = WINDOW_MAX
        # Both in the order of delivery, so the first one is the oldest.
        self.qos1: dict[int, Entry] = {}
        self.qos2: dict[int, Entry] = {}
        #: PUBREC came and PUBCOMP did not: packet id -> sequence, in the order in which PUBREL goes out.
        self.released: dict[int, int] = {}
        #: Messages of shared subscriptions: packet id -> their queue, the entry, its QoS.
        self.shared: dict[int, tuple[Queue, Entry, int]] = {}
        #: Packet ids that do not follow from sequences of the session's queue, until they are free again.
        self._foreign: set[int] = set()
        #: Packet ids of the client's QoS 2 publishes that it has not released.
        self.received: set[int] = set()

    def __len__(self) -> int:
        return len(self.qos1) + len(self.qos2) + len(self.released) + len(self.shared)

    def room(self, next_sequence: int) -> int:
        """How many messages from `next_sequence` on may be sent: within the window, and onto free identifiers."""
        room = self.window - len(self)
        if room > 0:
            for oldest in self._oldest():
                # Sequences a whole round of identifiers apart share one.
                room = min(room, oldest + PACKET_ID_MAX - next_sequence)
            for packet_id in self._foreign:
                room = min(room, (packet_id - 1 - next_sequence) % PACKET_ID_MAX)
        return room

    def _oldest(self) -> list[int]:
        oldest: list[int] = []
        for entry in self.qos1.values():
            oldest.append(entry[0])
            break
        for entry in self.qos2.values():
            oldest.append(entry[0])
            break
        for packet_id, sequence in self.released.items():
            if packet_id not in self._foreign:
                oldest.append(sequence)
                break
        return oldest

    def acknowledged(self, packet_ids: list[int]) -> list[Entry]:
        """PUBACK: the entries to settle; identifiers that are not in use are passed over."""
        qos1 = self.qos1
        return [qos1.pop(packet_id) for packet_id in packet_ids if packet_id in qos1]

    def release(self, packet_id: int) -> Entry | None:
        """PUBREC: the entry to settle, its identifier now waits for PUBCOMP; None if it is not in use.

        Of shared subscriptions the entry is settled here.
        """
        if packet_id in self.shared:
            self.settle_shared([packet_id], is_release=True)
            return None
        entry = self.qos2.pop(packet_id, None)
        if entry is not None:
            self.released[packet_id] = entry[0]
        return entry

    def refuse(self, packet_id: int) -> Entry | None:
        """PUBREC with an error: the entry to settle, the flow is over (section 4.3.3)."""
        if packet_id in self.shared:
            self.settle_shared([packet_id], is_release=False)
            return None
        return self.qos2.pop(packet_id, None)

    def completed(self, packet_ids: list[int]) -> None:
        """PUBCOMP: the identifiers are free."""
        for packet_id in packet_ids:
            self.released.pop(packet_id, None)
            self._foreign.discard(packet_id)

    # -- shared subscriptions --------------------------------------------------------------------------------------

    def take_shared(self, queue: Queue, entry: Entry, qos: int, next_sequence: int) -> int:
        """An identifier for a message of a shared queue: half a round ahead of those of the session's own queue."""
        packet_id = (next_sequence + PACKET_ID_MAX // 2) % PACKET_ID_MAX + 1
        while (
            packet_id in self.shared
            or packet_id in self.released
            or packet_id in self.qos1
            or packet_id in self.qos2
        ):
            packet_id = packet_id % PACKET_ID_MAX + 1
        self.shared[packet_id] = (queue, entry, qos)
        self._foreign.add(packet_id)
        return packet_id

    def settle_shared(self, packet_ids: list[int], is_release: bool) -> None:
        """PUBACK or PUBREC: settle what came from shared queues; after PUBREC the identifier waits for PUBCOMP."""
        for packet_id in packet_ids:
            if packet_id in self.shared:
                queue, entry, _qos = self.shared.pop(packet_id)
                if not queue.deleted:
                    queue.settle([entry])
                if is_release:
                    self.released[packet_id] = packet_id - 1
                else:
                    self._foreign.discard(packet_id)

    def take_back_shared(self, is_over: bool) -> None:
        """The connection is gone: QoS 1 may go to another subscriber, QoS 2 waits for this one [MQTT-4.8.2-5].

        With the session over what it had of QoS 2 is dropped: nobody else may get it [MQTT-4.8.2-6].
        """
        for packet_id, (queue, entry, qos) in list(self.shared.items()):
            if qos == 2 and not is_over:
                continue
            del self.shared[packet_id]
            self._foreign.discard(packet_id)
            if queue.deleted:
                continue
            if qos == 2:
                queue.settle([entry])
            else:
                queue.requeue([entry])

    def take_back(self) -> list[Entry]:
        """The connection is gone: all entries that were not acknowledged, to be requeued.

        What was sent at QoS 2 does not expire any more [MQTT-4.3.3-7].
        """
        entries = list(self.qos1.values())
        for sequence, message, times in self.qos2.values():
            if message.expires_at_ms:
                message = msgspec.structs.replace(message, expires_at_ms=0)
            entries.append((sequence, message, times))
        self.qos1 = {}
        self.qos2 = {}
        return entries

    def record(self) -> Qos2Record | None:
        """What to store; None when there is nothing."""
        if not self.released and not self.received:
            return None
        return Qos2Record(list(self.released), sorted(self.received))

    def restore(self, record: Qos2Record, next_sequence: int) -> None:
        """Take over what was stored; sequences of released identifiers lie in the round before `next_sequence`."""
        newest = next_sequence - 1
        for packet_id in record.released:
            back = (newest % PACKET_ID_MAX - (packet_id - 1)) % PACKET_ID_MAX
            self.released[packet_id] = newest - back
        self.received = set(record.received)
