"""A destination that is this node itself: ``amqp://`` without a host."""

import asyncio
from typing import Final

from edge.broker import Broker
from edge.core.consumer import Entry
from edge.core.errors import BrokerError
from edge.core.message import Message
from edge.core.vhost import VHost
from edge.uris import Uri
from edge.workers import LinkError
from shovel.config import ShovelConfig
from shovel.destination import Destination, Feedback, to_ranges
from shovel.forwarding import Forwarder
from shovel.refusals import Refusal
from shovel.window import Ranges

ROOM: Final = 1024
FULL: Final = Refusal("the queue is full (reject-publish)", of_room=True)
UNROUTABLE: Final = Refusal("312 NO_ROUTE - no queue takes it", of_route=True)


class LocalDestination(Destination):
    """Publishes into the node, obeying its limits as any publisher does, and confirms after the commit."""

    def __init__(self, broker: Broker, config: ShovelConfig, uri: Uri) -> None:
        self._broker = broker
        self._config = config
        self._vhost_name = uri.vhost if uri.names_vhost else config.vhost
        self._forwarder = Forwarder(config, broker.name, str(uri), None)
        self._vhost: VHost | None = None
        self._feedback: Feedback | None = None
        self._waits_for_relief = False

    async def open(self, feedback: Feedback) -> None:
        destination = self._config.destination
        try:
            vhost = self._vhost = self._broker.vhost(self._vhost_name)
            if destination.queue is not None and destination.queue not in vhost.queues:
                if destination.predeclared:
                    self._broker.find_queue(vhost, destination.queue)
                self._broker.declare_queue(vhost, destination.queue, arguments=destination.queue_arguments)
            if destination.exchange is not None:
                vhost.exchange(destination.exchange)
        except BrokerError as error:
            raise LinkError(error.text) from error
        self._feedback = feedback

    def room(self) -> int:
        broker = self._broker
        if not broker.congested and not broker.is_full:
            return ROOM
        if not self._waits_for_relief:
            self._waits_for_relief = True
            if broker.is_full:
                self.blocked = "low on disk"
                broker.when_roomy(self, self._relieved)
            else:
                broker.when_relieved(self._relieved)
        return 0

    def _relieved(self) -> None:
        self._waits_for_relief = False
        self.blocked = ""
        if self._feedback is not None:
            self._feedback.has_room()

    def publish(self, number: int, entries: list[Entry]) -> None:
        assert self._vhost is not None
        messages = self._forwarder.messages(entries, self._broker.clock.unix_ms())
        start = 0
        for end in range(1, len(messages) + 1):
            if end == len(messages) or messages[end].exchange != messages[start].exchange:
                self._publish_run(self._vhost, number + start, messages[start:end])
                start = end

    def _publish_run(self, vhost: VHost, number: int, run: list[Message]) -> None:
        ranges = [(number, number + len(run) - 1)]
        try:
            result = self._broker.forward(vhost, run[0].exchange, run)
        except BrokerError as error:
            self._refuse_later(ranges, Refusal(error.text, of_route=True))
            return
        for refused, refusal in ((result.unrouted, UNROUTABLE), (result.rejected, FULL)):
            if refused:
                lost = {id(message) for message in refused}
                numbers = [number + at for at, message in enumerate(run) if id(message) in lost]
                self._refuse_later(to_ranges(numbers), refusal)
        if result.unrouted or result.rejected:
            lost = {id(message) for message in (*result.unrouted, *result.rejected)}
            ranges = to_ranges([number + at for at, message in enumerate(run) if id(message) not in lost])
        if ranges and result.durable:
            self._broker.after_commit(lambda: self._confirm(ranges))
        elif ranges:
            asyncio.get_running_loop().call_soon(self._confirm, ranges)

    def _confirm(self, ranges: Ranges) -> None:
        if self._feedback is not None:
            self._feedback.confirmed(ranges)

    def _refuse_later(self, ranges: Ranges, refusal: Refusal) -> None:
        # Not before ``publish`` has returned: the worker has to finish noting the run first.
        asyncio.get_running_loop().call_soon(self._refuse, ranges, refusal)

    def _refuse(self, ranges: Ranges, refusal: Refusal) -> None:
        if self._feedback is not None:
            self._feedback.refused(ranges, refusal)

    async def close(self) -> None:
        self._feedback = None
        self._broker.forget_waiting(self)
