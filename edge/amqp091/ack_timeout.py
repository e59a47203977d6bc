"""Closes channels whose consumers do not acknowledge (RabbitMQ, "Delivery Acknowledgement Timeout").

A consumer that hangs keeps its messages from all others. Nothing is noted per delivery: now and then each channel's
next delivery tag is, and so how old its oldest unacknowledged delivery is at least.

A consumer's argument ``x-consumer-timeout`` goes before the smaller one of its queue's argument and policy
(``consumer-timeout``), and these before the node's; 0 is none.
"""

import asyncio
from collections import deque
from typing import Final
from weakref import WeakKeyDictionary

from edge.amqp091.constants import PRECONDITION_FAILED
from edge.amqp091.errors import ChannelFault
from edge.amqp091.server import AmqpServerProtocol
from edge.amqp091.server_channel import ServerChannel
from edge.amqp091.server_consumer import AmqpConsumer, Source, source_is_sequenced
from edge.broker import Broker
from edge.core.policy import least

CHECKS: Final = 30
"""Looks within a timeout: a delivery may be a thirtieth of it late."""
CHECK_MAX_S: Final = 60.0


class AckTimeouts:
    """All AMQP channels of a node."""

    def __init__(self, broker: Broker, timeout_ms: int) -> None:
        self._broker = broker
        self._timeout_ms = timeout_ms
        #: (elapsed time, next delivery tag then), as far back as the oldest unacknowledged delivery.
        self._marks: WeakKeyDictionary[ServerChannel, deque[tuple[int, int]]] = WeakKeyDictionary()
        #: The shortest timeout that the last look has come across.
        self._shortest_ms = timeout_ms
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        delay_s = self._shortest_ms / 1000 / CHECKS if self._shortest_ms else CHECK_MAX_S
        self._timer = asyncio.get_running_loop().call_later(min(delay_s, CHECK_MAX_S), self._on_timer)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self.check()
        self.start()

    def check(self) -> None:
        """Close the channels that are overdue, by elapsed time."""
        now_ms = self._broker.elapsed_ms()
        self._shortest_ms = self._timeout_ms
        for connection in list(self._broker.connections.values()):
            if isinstance(connection, AmqpServerProtocol):
                for channel in list(connection.channels.values()):
                    if (timeout_ms := self._overdue_ms(channel, now_ms)) is not None:
                        connection.close_channel(_fault(channel, timeout_ms))

    def _overdue_ms(self, channel: ServerChannel, now_ms: int) -> int | None:
        """The timeout that has passed."""
        waiting: list[tuple[int, int]] = []
        for source in channel.unacked.sources:
            timeout_ms = self._timeout_of(source)
            # Links between Leverets settle what has been committed at the other end, however late.
            if timeout_ms and source.unacked and not source_is_sequenced(source):
                waiting.append((next(iter(source.unacked)), timeout_ms))
                self._shortest_ms = min(self._shortest_ms or timeout_ms, timeout_ms)
        marks = self._marks.setdefault(channel, deque())
        # A delivery was there at a mark if its tag had been given by then.
        oldest = min([tag for tag, _ in waiting], default=None)
        while marks and (oldest is None or marks[0][1] <= oldest):
            marks.popleft()
        if oldest is not None:
            marks.append((now_ms, channel.next_tag))
        for tag, timeout_ms in waiting:
            since_ms = next(at_ms for at_ms, next_tag in marks if next_tag > tag)
            if now_ms - since_ms >= timeout_ms:
                return timeout_ms
        return None

    def _timeout_of(self, source: Source) -> int:
        """In ms; 0 is none."""
        if isinstance(source, AmqpConsumer):
            own = source.arguments.get("x-consumer-timeout")
            if isinstance(own, int):
                return own
        of_queue = least(source.queue, "consumer-timeout")
        return self._timeout_ms if of_queue is None else of_queue


def _fault(channel: ServerChannel, timeout_ms: int) -> ChannelFault:
    text = (
        f"delivery acknowledgement on channel {channel.number} timed out. Timeout value used:"
        f" {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
    return ChannelFault(channel.number, PRECONDITION_FAILED, text)
