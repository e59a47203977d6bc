"""Transactions of a channel (class tx, section 1.9; RabbitMQ, "Broker Semantics").

Publishes are routed when they come and delivered at the commit; what is settled stays unacknowledged until then. A
commit takes place within one turn of the loop, so that all of it goes to the disk in one group: a crash leaves all or
nothing. tx.commit-ok leaves when that group is on the disk.
"""

from functools import partial
from typing import TYPE_CHECKING, Final, final

from edge.amqp091 import spec
from edge.amqp091.constants import PRECONDITION_FAILED, RESOURCE_ERROR
from edge.amqp091.errors import ChannelFault, ConnectionFault
from edge.core.queue import ENTRY_BYTES
from edge.core.vhost import PublishResult, Routed

if TYPE_CHECKING:
    from edge.amqp091.server_channel import ServerChannel

UNCOMMITTED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of messages in one transaction, kept in RAM: four of the largest size. RabbitMQ has no bound, but more memory."""


@final
class Transaction:
    """What a channel has published and settled since tx.select, the last commit or the last rollback."""

    __slots__ = ("_bytes", "_channel", "_published", "_settled", "_tags")

    def __init__(self, channel: "ServerChannel") -> None:
        self._channel = channel
        self._reset()

    def _reset(self) -> None:
        self._published: list[Routed] = []
        self._bytes = 0
        #: (delivery tags, whether acknowledged, whether requeued if not), in order
        self._settled: list[tuple[list[int], bool, bool]] = []
        self._tags: set[int] = set()

    def publish(self, routed: list[Routed]) -> None:
        """Keep messages for the commit. Raises ConnectionFault when they are too many."""
        self._published += routed
        self._bytes += sum(
            [len(message.body) + len(message.properties) + ENTRY_BYTES for message, _ in routed]
        )
        if self._bytes > UNCOMMITTED_BYTES_MAX:
            text = f"a transaction of more than {UNCOMMITTED_BYTES_MAX} bytes; commit more often"
            raise ConnectionFault(RESOURCE_ERROR, text, spec.BasicPublish.ID)

    def settle(
        self,
        tags: list[int],
        method: int,
        *,
        multiple: bool = False,
        ack: bool = False,
        requeue: bool = False,
    ) -> None:
        """Keep an ack, nack or reject for the commit. Raises ChannelFault for a tag that is unknown or settled."""
        unacked = self._channel.unacked
        if multiple:
            last = tags[0]
            tags = [tag for tag in unacked.tags_through(last) if tag not in self._tags]
            if last and last not in tags:
                raise unacked.unknown(last, method)
        for tag in tags:
            if tag in self._tags:
                raise unacked.unknown(tag, method)
            unacked.source_of(tag, method)
            self._tags.add(tag)
        self._settled.append((tags, ack, requeue))

    def recover(self) -> None:
        """basic.recover: what is settled in the transaction stays so."""
        unacked = self._channel.unacked
        tags = [tag for tag in unacked.tags_through(0) if tag not in self._tags]
        self._channel.refuse(unacked.take(tags, spec.BasicRecover.ID), requeue=True)

    def commit(self) -> None:
        """Deliver and settle, and answer when it is on the disk."""
        channel = self._channel
        published, settled = self._published, self._settled
        self._reset()
        result = channel.broker.deliver_routed(channel.vhost, published, channel.connection)
        if result.unrouted:
            channel.return_unrouted(result)
        for tags, is_acked, requeue in settled:
            taken = channel.unacked.take(tags, spec.TxCommit.ID)
            if is_acked:
                channel.settle(taken)
            else:
                channel.refuse(taken, requeue)
        channel.connection.wait_for_commit(partial(self._answer, result))

    def _answer(self, result: PublishResult) -> None:
        channel = self._channel
        if result.rejected:
            text = "partial tx completion"
            fault = ChannelFault(channel.number, PRECONDITION_FAILED, text, spec.TxCommit.ID)
            channel.connection.close_channel(fault)
        else:
            channel.reply(spec.TxCommitOk())

    def rollback(self) -> None:
        """Forget all of it; what was settled is unacknowledged again."""
        self._reset()
        self._channel.reply(spec.TxRollbackOk())
