"""Which publishes of a channel are to be confirmed, and the acks and nacks that say so. Server role."""

from typing import final

from edge.amqp091 import spec
from edge.amqp091.outbound import encode_method
from edge.core.message import Message
from edge.stats import Stats


@final
class PublishNumbers:
    """Publishes since confirm.select, from 1 up (RabbitMQ, "Publisher Confirms")."""

    __slots__ = ("_channel", "_confirmed", "_refused", "_stats", "last")

    def __init__(self, channel: int, stats: Stats) -> None:
        self._channel = channel
        self._stats = stats
        #: of the last publish
        self.last = 0
        self._confirmed = 0
        #: of publishes that a full queue did not take, not answered yet, ascending
        self._refused: list[int] = []

    def count(self, messages: list[Message], rejected: list[Message]) -> int:
        """Number a run of publishes; return the last number."""
        if rejected:
            refused = {id(message) for message in rejected}
            numbers = enumerate(messages, self.last + 1)
            self._refused += [number for number, message in numbers if id(message) in refused]
        self.last += len(messages)
        return self.last

    def encode(self, last: int) -> bytes:
        """One basic.ack for all publishes up to ``last`` that are not confirmed yet; refused ones part it by nacks."""
        refused = self._refused
        if not refused or refused[0] > last:
            return self._encode_ack(last)
        out: list[bytes] = []
        taken = 0
        while taken < len(refused) and refused[taken] <= last:
            first = end = refused[taken]
            while taken < len(refused) and refused[taken] == end and end <= last:
                taken += 1
                end += 1
            if first - 1 > self._confirmed:
                out.append(self._encode_ack(first - 1))
            nack = spec.BasicNack(end - 1, end - first > 1, False)
            out.append(encode_method(self._channel, spec.encode_arguments(nack)))
            self._confirmed = end - 1
        del refused[:taken]
        if last > self._confirmed:
            out.append(self._encode_ack(last))
        return b"".join(out)

    def _encode_ack(self, last: int) -> bytes:
        count = last - self._confirmed
        self._confirmed = last
        self._stats.confirm += count
        return encode_method(self._channel, spec.encode_arguments(spec.BasicAck(last, count > 1)))
