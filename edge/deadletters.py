"""Carries dead letters to where their queues send them (RabbitMQ, "Dead Letter Exchanges")."""

from collections import deque

from edge.clock import Clock
from edge.core.consumer import Entry
from edge.core.deadletter import dead_letter_target, dead_lettered, is_cycle, routing_keys
from edge.core.exchange import Exchange
from edge.core.queue import Queue
from edge.core.vhost import VHost


class DeadLetters:
    """Publishes dead letters in the order in which they died.

    While ``is_held`` they wait for ``publish``: a message reaches all of its queues before what it drives out of
    one of them. What dies of a dead letter waits for it likewise, so that long ways need no stack.
    """

    def __init__(self, vhosts: dict[str, VHost], clock: Clock) -> None:
        self.is_held = False
        self._vhosts = vhosts
        self._clock = clock
        self._waiting: deque[tuple[Queue, Exchange, list[Entry], str]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, queue: Queue, entries: list[Entry], reason: str) -> None:
        """Take entries that left a queue for a reason; lost if it sends them nowhere."""
        target = dead_letter_target(queue)
        exchange = None if target is None else self._vhosts[queue.vhost].exchanges.get(target)
        if exchange is None:
            queue.count_dropped(reason, len(entries))
            return
        self._waiting.append((queue, exchange, entries, reason))
        # A crash must find it in one of the queues: in the old one as long as it is not in the new one.
        for part in queue.parts():
            part.settles_with_others = True
        if not self.is_held:
            self.publish()

    def publish(self) -> None:
        """Publish all that wait."""
        self.is_held = True
        try:
            while self._waiting:
                self._publish(*self._waiting.popleft())
        finally:
            self.is_held = False

    def _publish(self, queue: Queue, exchange: Exchange, entries: list[Entry], reason: str) -> None:
        vhost = self._vhosts[queue.vhost]
        now_ms = self._clock.unix_ms()
        for _, dead, _ in entries:
            message = dead_lettered(queue, exchange.name, dead, reason, now_ms)
            is_taken = False
            # Not by ``vhost.publish``: an internal exchange is as good a target as any.
            for destination in vhost.route_keys(exchange, message, routing_keys(message)):
                if reason == "rejected" or not is_cycle(destination.name, message):
                    destination.enqueue([message])
                    is_taken = is_taken or destination.limits is None or not destination.limits.refused
            counts = queue.dead_lettered if is_taken else queue.dropped
            counts[reason] = counts.get(reason, 0) + 1
