"""What publishers were promised and what consumers have got, kept outside of the node that is killed."""

from dataclasses import dataclass
from typing import Final

BODY_BYTES: Final = 100


def body_of(publisher: str, number: int) -> bytes:
    """A message's body: who it is, and filling."""
    return f"{publisher} {number} ".encode().ljust(BODY_BYTES, b".")


class Arrivals:
    """What one consumer has got, restarts included."""

    def __init__(self, name: str, publishers: tuple[str, ...], *, exactly_once: tuple[str, ...] = ()) -> None:
        self.name = name
        #: Whose messages go to it.
        self.publishers = publishers
        #: Whose messages must come to it once, however often the node is killed (QoS 2 from end to end).
        self.exactly_once = exactly_once
        self.arrived: dict[str, set[int]] = {publisher: set() for publisher in publishers}
        self.duplicates: dict[str, int] = dict.fromkeys(publishers, 0)
        self.out_of_order = 0
        self.damaged = 0
        self._newest: dict[str, int] = dict.fromkeys(publishers, 0)

    def arrive(self, body: bytes) -> None:
        """Note an arrival; what should have come before the newest of its publisher is out of order."""
        publisher, _, rest = body.decode(errors="replace").partition(" ")
        number_text = rest.partition(" ")[0]
        if (
            publisher not in self.arrived
            or not number_text.isdecimal()
            or body != body_of(publisher, int(number_text))
        ):
            self.damaged += 1
            return
        number = int(number_text)
        arrived = self.arrived[publisher]
        if number in arrived:
            self.duplicates[publisher] += 1
            return
        arrived.add(number)
        if number < self._newest[publisher]:
            self.out_of_order += 1
        else:
            self._newest[publisher] = number


class Ledger:
    """All accounts of a run; messages of a publisher are numbered from 1."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.confirmed: dict[str, set[int]] = {}
        self.consumers: list[Arrivals] = []
        #: Sessions that a node has promised to keep and did not know any more.
        self.sessions_lost = 0

    def publisher(self, name: str) -> None:
        self.sent[name] = 0
        self.confirmed[name] = set()

    def send(self, publisher: str) -> int:
        """The number of the publisher's next message."""
        self.sent[publisher] += 1
        return self.sent[publisher]

    @property
    def acked(self) -> int:
        """Messages that were confirmed."""
        return sum([len(numbers) for numbers in self.confirmed.values()])

    @property
    def backlog(self) -> int:
        """Of the consumer that is most behind."""
        return max([sum(self._missing(one).values()) for one in self.consumers], default=0)

    def _missing(self, consumer: Arrivals) -> dict[str, int]:
        return {
            publisher: len(self.confirmed[publisher]) - len(consumer.arrived[publisher])
            for publisher in consumer.publishers
        }

    def lost(self, consumer: Arrivals) -> int:
        """Confirmed, and never arrived."""
        return sum([len(self.confirmed[one] - consumer.arrived[one]) for one in consumer.publishers])

    @property
    def is_complete(self) -> bool:
        """Everything that was sent is confirmed and has arrived."""
        return all(len(self.confirmed[name]) == count for name, count in self.sent.items()) and not any(
            self.lost(one) for one in self.consumers
        )


@dataclass
class Report:
    """The end of a run, under the keys of the command's JSON output."""

    seconds: float
    kills: int
    acked: int
    lost: int
    sessions_lost: int
    duplicates: int
    duplicates_of_qos2: int
    out_of_order: int
    damaged: int
    bytes_written: int
    bytes_per_message: float
    recovery_ms_median: float
    recovery_ms_max: float

    @property
    def is_good(self) -> bool:
        """Whether the node has kept its word; duplicates of what is sent at least once are no breach."""
        return not (
            self.lost or self.sessions_lost or self.duplicates_of_qos2 or self.out_of_order or self.damaged
        )
