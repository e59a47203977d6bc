"""What an MQTT 3 client sends while its publishes wait for room on the disk: its version cannot be told no."""

from collections.abc import Callable
from typing import Final, final

from edge.broker import Broker
from edge.net.protocol import WireProtocol
from mqtt import encode
from mqtt.packets import Event, Pingreq

BYTES_MAX: Final = 256 * 1024
"""What is read meanwhile: the usual twenty in flight, of up to 12 KB, and the pings behind them."""
REASON: Final = "full"


@final
class Waiting:
    """The events that wait, in order. Pings are answered: a client that awaits acknowledgements still sends them."""

    def __init__(
        self, broker: Broker, protocol: WireProtocol, process: Callable[[list[Event]], None]
    ) -> None:
        self._broker = broker
        self._protocol = protocol
        self._process = process
        self._events: list[Event] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._events)

    def begin(self, events: list[Event]) -> None:
        """Wait with ``events``, the first of which is a publish."""
        self._bytes = 0
        self.add(events, 0)
        self._broker.when_roomy(self, self._end)

    def add(self, events: list[Event], size: int) -> None:
        """Wait with what has come since, in ``size`` bytes; when that is much, nothing more is read."""
        pings = sum([isinstance(event, Pingreq) for event in events])
        if pings:
            self._protocol.write(encode.PINGRESP * pings)
        self._events += [event for event in events if not isinstance(event, Pingreq)]
        self._bytes += size
        if self._bytes > BYTES_MAX:
            self._protocol.pause_input(REASON)

    def _end(self) -> None:
        self._protocol.last_received = self._protocol.loop.time()
        self._protocol.resume_input(REASON)
        events, self._events = self._events, []
        self._process(events)

    def give_up(self) -> None:
        """The connection is over."""
        self._broker.forget_waiting(self)
        self._events = []
