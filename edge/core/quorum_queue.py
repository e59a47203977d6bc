"""A queue of type quorum on a node that is alone (RabbitMQ, "Quorum Queues"): what its clients see of it.

Every durable queue is on the disk before a confirm; what a quorum queue has more is that it counts deliveries.
"""

from typing import ClassVar, Final, final

import msgspec

from edge.core.consumer import Entry
from edge.core.errors import ResourceLocked
from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.policy import delivery_limit
from edge.core.properties import header, headers, replace_headers, set_header
from edge.core.queue import Queue

DELIVERY_COUNT: Final = "x-delivery-count"
DELIVERY_LIMIT: Final = "delivery_limit"
"""Why a message was dead-lettered: RabbitMQ's word in x-death."""


@final
class QuorumQueue(Queue):
    """Says in a header how often a message came back, and lets go of one that does so too often."""

    kind: ClassVar[str] = "quorum"
    # RabbitMQ takes exclusive consumers of quorum queues for any other.
    heeds_exclusive: ClassVar[bool] = False

    def requeue(self, entries: list[Entry]) -> None:
        limit = delivery_limit(self)
        if limit is not None:
            spent = [entry for entry in entries if entry[2] >= limit]
            if spent:
                entries = [entry for entry in entries if entry[2] < limit]
                self.settle(spent)
                self.bury(spent, DELIVERY_LIMIT)
        super().requeue(
            [(sequence, counted(message, times + 1), times) for sequence, message, times in entries]
        )

    def came_back(self) -> None:
        """Other than in a classic queue consumers come before the limit (RabbitMQ, ``rabbit_fifo:checkout``)."""
        if self.limits is not None:
            self.dispatch()

    def bury(self, entries: list[Entry], reason: str) -> None:
        super().bury([(entry[0], without_count(entry[1]), entry[2]) for entry in entries], reason)

    def pop(self, no_ack: bool) -> Entry | None:
        if self.arguments.get("x-single-active-consumer") is True:
            raise ResourceLocked(
                f"cannot obtain access to locked queue '{self.name}' in vhost '{self.vhost}'. basic.get operations"
                " are not supported by quorum queues with single active consumer"
            )
        entry = super().pop(no_ack)
        if entry is None or entry[2]:
            return entry
        # RabbitMQ gives the count 0 in basic.get-ok, but none in a first basic.deliver.
        return entry[0], counted(entry[1], 0), entry[2]


def counted(message: Message, times: int) -> Message:
    """The message as it is delivered again, in this queue only."""
    properties = set_header(amqp_properties(message), DELIVERY_COUNT, times)
    return msgspec.structs.replace(message, properties=properties, form=FORM_AMQP091)


def without_count(message: Message) -> Message:
    """The message as it leaves the queue for another."""
    if header(amqp_properties(message), DELIVERY_COUNT) is None:
        return message
    table = headers(message.properties)
    del table[DELIVERY_COUNT]
    return msgspec.structs.replace(message, properties=replace_headers(message.properties, table))
