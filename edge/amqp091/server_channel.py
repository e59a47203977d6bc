"""One channel of the server: publishing and confirms, consuming and settling. Topology is in ``server_topology``."""

import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge.amqp091 import server_topology, spec
from edge.amqp091.constants import (
    NO_ROUTE,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
)
from edge.amqp091.errors import ChannelFault, ConnectionFault
from edge.amqp091.events import AckRun, PublishRun
from edge.amqp091.outbound import cut_short, encode_content
from edge.amqp091.server_confirms import PublishNumbers
from edge.amqp091.server_consumer import UNACKED_MAX, AmqpConsumer, Source, Unacked
from edge.amqp091.server_tx import Transaction
from edge.core.consumer import Entry
from edge.core.errors import NotFound
from edge.core.message import MANDATORY, Message
from edge.core.names import QUORUM
from edge.core.properties import DIRECT_REPLY_QUEUE
from edge.core.queue import Queue
from edge.core.queue_arguments import check_consumer_arguments
from edge.core.vhost import PublishResult, VHost

if TYPE_CHECKING:
    from edge.amqp091.server import AmqpServerProtocol

SEQUENCE_ARGUMENT: Final = "x-leveret-sequence"
CONSUMERS_MAX: Final = 10_000
"""Of a connection: each takes 2 KB, so 20 MB."""


class ServerChannel:
    """An open channel; ends by ``close``, which gives back what is not settled."""

    def __init__(self, connection: "AmqpServerProtocol", number: int, vhost: VHost) -> None:
        self.connection = connection
        self.broker = connection.broker
        self.number = number
        self.vhost = vhost
        self.is_closed = False
        #: the queue that an empty name means (section 1.7.2.1: "the last declared queue on the channel")
        self.last_queue = ""
        # publishing
        #: since confirm.select
        self.confirms: PublishNumbers | None = None
        #: runs whose commit is awaited: nothing later may be confirmed before them
        self.held_runs = 0
        #: since tx.select
        self.transaction: Transaction | None = None
        # consuming
        self.consumers: dict[str, AmqpConsumer] = {}
        self.unacked = Unacked(number)
        self.next_tag = 1
        #: for each new consumer (basic.qos global=false), and for all of the channel together (global=true)
        self.prefetch_count = 0
        self.prefetch_count_shared = 0
        #: whose turn it is to use the shared prefetch
        self._turn = 0

    def handle(self, method: spec.Method) -> None:
        """Carry out a method. Raises AmqpError, BrokerError."""
        if server_topology.handle(self, method):
            return
        handler = _HANDLERS.get(type(method))
        if handler is None:
            raise ConnectionFault(NOT_IMPLEMENTED, f"{type(method).__name__} is not implemented", method.ID)
        handler(self, method)

    def reply(self, method: spec.Method) -> None:
        self.connection.machine.send(self.number, method)

    def close(self) -> None:
        """Stop consuming and put back what is not settled; for all ways in which a channel ends."""
        self.is_closed = True
        for consumer in list(self.consumers.values()):
            consumer.active = False
            if not consumer.queue.deleted:
                self.broker.cancel(consumer)
        self.consumers.clear()
        # All of a queue at once, whichever consumer it went to: only then does the queue drop what is too much.
        unsettled: dict[Queue, list[Entry]] = {}
        for source, entries in self.unacked.take_all():
            unsettled.setdefault(source.queue, []).extend(entries)
        for queue, entries in unsettled.items():
            if not queue.deleted:
                queue.requeue(entries)

    def find_queue(self, name: str, permission: str) -> Queue:
        """The queue of this name, or the last declared one for "". Raises BrokerError."""
        return self.broker.find_queue(self.vhost, self.queue_name(name, permission), self.connection)

    def queue_name(self, name: str, permission: str) -> str:
        """The name, or that of the last declared queue for "", whether it is there or not. Raises BrokerError."""
        name = self.expand_name(name)
        self.connection.access.check(permission, "queue", name)
        return name

    def expand_name(self, name: str) -> str:
        """The name, or that of the last declared queue for "". Raises NotFound."""
        if not name and not self.last_queue:
            raise NotFound("no previously declared queue")
        return name or self.last_queue

    # publishing

    def check_target(self, exchange: str) -> None:
        """Raises BrokerError when nothing may be published to the exchange."""
        self.connection.access.check("write", "exchange", exchange)
        self.vhost.target(exchange)

    def publish(self, run: PublishRun) -> None:
        """Publish a run, return what is mandatory and found no queue, and confirm when it is on the disk."""
        self.connection.access.check("write", "exchange", run.exchange)
        rule = self.connection.access.topic_rule(run.exchange)
        if rule is None:
            self._publish(run.exchange, run.messages, run.copies)
            return
        for i, message in enumerate(run.messages):
            for key in (message.routing_key, *run.copies):
                if not rule.allows("write", key):
                    # What stands before it was published before it.
                    self._publish(run.exchange, run.messages[:i])
                    rule.check("write", key)
        self._publish(run.exchange, run.messages, run.copies)

    def _publish(self, exchange: str, messages: list[Message], copies: tuple[str, ...] = ()) -> None:
        if copies or self.transaction is not None:
            routed = self.vhost.routed(exchange, messages, copies)
            if self.transaction is not None:
                self.transaction.publish(routed)
                return
            result = self.broker.deliver_routed(self.vhost, routed, self.connection)
        else:
            result = self.broker.publish(self.vhost, exchange, messages, self.connection)
        if result.unrouted:
            self.return_unrouted(result)
        if self.confirms is None:
            return
        last = self.confirms.count(messages, result.rejected)
        if result.durable or self.held_runs:
            self.held_runs += 1
            self.broker.after_commit(partial(self._on_commit, last))
        else:
            self.connection.confirm(self, last)

    def _on_commit(self, last: int) -> None:
        self.held_runs -= 1
        if not self.is_closed:
            self.connection.confirm(self, last)

    def return_unrouted(self, result: PublishResult) -> None:
        machine = self.connection.machine
        for message in result.unrouted:
            if message.flags & MANDATORY:
                self.reply(spec.BasicReturn(NO_ROUTE, "NO_ROUTE", message.exchange, message.routing_key))
                machine.send_bytes(encode_content(self.number, message, machine.frame_max))
                self.broker.stats.return_unroutable += 1

    def confirm_select(self, method: spec.ConfirmSelect) -> None:
        if self.transaction is not None:
            raise self.fault(PRECONDITION_FAILED, "cannot switch from tx to confirm mode", method)
        if self.confirms is None:
            self.confirms = PublishNumbers(self.number, self.broker.stats)
        if not method.no_wait:
            self.reply(spec.ConfirmSelectOk())

    def tx_select(self, method: spec.TxSelect) -> None:
        if self.confirms is not None:
            raise self.fault(PRECONDITION_FAILED, "cannot switch from confirm to tx mode", method)
        if self.transaction is None:
            self.transaction = Transaction(self)
        self.reply(spec.TxSelectOk())

    def tx_end(self, method: spec.TxCommit | spec.TxRollback) -> None:
        if self.transaction is None:
            raise self.fault(PRECONDITION_FAILED, "channel is not transactional", method)
        if isinstance(method, spec.TxCommit):
            self.transaction.commit()
        else:
            self.transaction.rollback()

    # consuming

    def qos(self, method: spec.BasicQos) -> None:
        if method.prefetch_size:
            raise ConnectionFault(NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})", method.ID)
        if method.global_:
            self.prefetch_count_shared = method.prefetch_count
            self.wake()
        else:
            self.prefetch_count = method.prefetch_count
        self.reply(spec.BasicQosOk())

    def consume(self, method: spec.BasicConsume) -> None:
        self.expand_name(method.queue)
        if method.consumer_tag in self.consumers:
            text = f"attempt to reuse consumer tag '{method.consumer_tag}'"
            raise ConnectionFault(NOT_ALLOWED, text, method.ID)
        if method.queue == DIRECT_REPLY_QUEUE:
            queue = self._declare_reply_queue(method)
        else:
            queue = self.find_queue(method.queue, "read")
        if sum([len(channel.consumers) for channel in self.connection.channels.values()]) >= CONSUMERS_MAX:
            text = f"reached maximum ({CONSUMERS_MAX}) of consumers per connection"
            raise ConnectionFault(NOT_ALLOWED, text, method.ID)
        check_consumer_arguments(self.vhost.name, queue.name, method.arguments)
        sequenced = bool(method.arguments.get(SEQUENCE_ARGUMENT)) and not method.consumer_tag
        if any(consumer.sequenced for consumer in self.consumers.values()) or (
            sequenced and self.next_tag > 1
        ):
            raise self.fault(PRECONDITION_FAILED, f"{SEQUENCE_ARGUMENT} needs a channel of its own", method)
        if sequenced:
            tag = f"seq-{self.broker.node_id}-{queue.id}"
        else:
            tag = method.consumer_tag or "amq.ctag-" + secrets.token_urlsafe(16)
        consumer = AmqpConsumer(
            self,
            tag,
            queue,
            no_ack=method.no_ack and not sequenced,
            exclusive=method.exclusive,
            arguments=method.arguments,
            sequenced=sequenced,
        )
        self.broker.consume(consumer)
        self.consumers[tag] = consumer
        self.unacked.add(consumer)
        if not method.no_wait:
            self.reply(spec.BasicConsumeOk(tag))

    def _declare_reply_queue(self, method: spec.BasicConsume) -> Queue:
        """Direct reply-to: the requester consumes from a queue of its own, whose name takes the place of reply_to."""
        state = self.connection.machine.channels.get(self.number)
        if not method.no_ack or state is None or state.reply_key:
            text = "reply consumer cannot acknowledge" if not method.no_ack else "reply consumer already set"
            raise self.fault(PRECONDITION_FAILED, text, method)
        queue = self.broker.declare_queue(
            self.vhost,
            "",
            durable=False,
            exclusive=True,
            auto_delete=True,
            owner=self.connection,
            prefix=f"{DIRECT_REPLY_QUEUE}.",
        )
        state.reply_key = queue.name
        return queue

    def _forget_reply_queue(self, queue: Queue) -> None:
        state = self.connection.machine.channels.get(self.number)
        if state is not None and state.reply_key == queue.name:
            state.reply_key = ""

    def cancel(self, method: spec.BasicCancel) -> None:
        consumer = self.consumers.pop(method.consumer_tag, None)
        if consumer is not None:
            consumer.active = False
            self.broker.cancel(consumer)
            self._forget_reply_queue(consumer.queue)
        if not method.no_wait:
            self.reply(spec.BasicCancelOk(method.consumer_tag))

    def on_consumer_cancelled(self, consumer: AmqpConsumer) -> None:
        """The queue is gone; tell the client if it wants to know (RabbitMQ, "Consumer Cancel Notification")."""
        consumer.active = False
        if self.consumers.pop(consumer.tag, None) is not None and not self.is_closed:
            self.connection.notify_cancelled(self.number, consumer.tag)

    def get(self, method: spec.BasicGet) -> None:
        if any(consumer.sequenced for consumer in self.consumers.values()):
            raise self.fault(PRECONDITION_FAILED, f"{SEQUENCE_ARGUMENT} needs a channel of its own", method)
        if not method.no_ack and self.unacked.count() >= UNACKED_MAX:
            text = f"{UNACKED_MAX} deliveries are unacknowledged; acknowledge some before the next basic.get"
            raise self.fault(PRECONDITION_FAILED, text, method)
        queue = self.find_queue(method.queue, "read")
        if queue.type == QUORUM and queue.arguments.get("x-single-active-consumer") is True:
            text = (
                f"cannot obtain access to locked queue '{queue.name}' in vhost '{queue.vhost}'. basic.get operations"
                " are not supported by quorum queues with single active consumer"
            )
            raise self.fault(RESOURCE_LOCKED, text, method)
        self._get(queue, method.no_ack)

    def _get(self, queue: Queue, no_ack: bool) -> None:
        entry = None if queue.deleted else queue.pop(no_ack)
        if entry is not None:
            self._send_gotten(queue, entry, no_ack)
        elif queue.messages_ready and not queue.deleted and not queue.head().is_held:
            self.connection.wait_for_page(queue, partial(self._get, queue, no_ack))
        else:
            self.reply(spec.BasicGetEmpty())

    def _send_gotten(self, queue: Queue, entry: Entry, no_ack: bool) -> None:
        _, message, count = entry
        tag = self.next_tag
        self.next_tag += 1
        if not no_ack:
            self.unacked.gotten(queue).unacked[tag] = entry
        key = cut_short(message.routing_key)
        self.reply(spec.BasicGetOk(tag, count > 0, message.exchange, key, queue.messages_ready))
        machine = self.connection.machine
        machine.send_bytes(encode_content(self.number, message, machine.frame_max))
        self.broker.stats.get += 1

    # settling

    def ack(self, run: AckRun) -> None:
        if self.transaction is not None:
            self.transaction.settle(run.tags, spec.BasicAck.ID, multiple=run.multiple, ack=True)
            return
        if run.multiple:
            taken: Iterable[tuple[Source, list[Entry]]] = self.unacked.take_through(
                run.tags[0], spec.BasicAck.ID
            )
        else:
            taken = self.unacked.take(run.tags, spec.BasicAck.ID)
        self.settle(taken)

    def settle(self, taken: Iterable[tuple[Source, list[Entry]]]) -> None:
        for source, entries in taken:
            self.broker.stats.ack += len(entries)
            if not source.queue.deleted:
                source.queue.settle(entries)
                source.queue.wake()
        if self.prefetch_count_shared:
            self.wake()

    def nack(self, method: spec.BasicNack | spec.BasicReject) -> None:
        tag = method.delivery_tag
        multiple = isinstance(method, spec.BasicNack) and method.multiple
        if self.transaction is not None:
            self.transaction.settle([tag], method.ID, multiple=multiple, requeue=method.requeue)
        elif multiple:
            self.refuse(self.unacked.take_through(tag, method.ID), method.requeue)
        else:
            self.refuse(self.unacked.take([tag], method.ID), method.requeue)

    def recover(self, method: spec.BasicRecover | spec.BasicRecoverAsync) -> None:
        if not method.requeue:
            raise ConnectionFault(NOT_IMPLEMENTED, "requeue=false", method.ID)
        if self.transaction is not None:
            self.transaction.recover()
        else:
            self.refuse(self.unacked.take_all(), requeue=True)
        if isinstance(method, spec.BasicRecover):
            self.reply(spec.BasicRecoverOk())

    def refuse(self, taken: Iterable[tuple[Source, list[Entry]]], requeue: bool) -> None:
        for source, entries in taken:
            queue = source.queue
            if queue.deleted:
                continue
            if requeue:
                queue.requeue(entries)
            else:
                queue.reject(entries)
            queue.wake()
        if self.prefetch_count_shared:
            self.wake()

    def shared_room(self, consumer: AmqpConsumer) -> int:
        """What a prefetch of the whole channel leaves to this consumer: all there is when it is its turn, else 0.

        Queues ask their consumers before they deliver to any of them, so that two must not count on the same room.
        """
        consumers = list(self.consumers.values())
        for i in range(len(consumers)):
            taker = consumers[(self._turn + i) % len(consumers)]
            if taker is consumer or (taker.queue.ready and not taker.no_ack and taker.own_room() > 0):
                return self.prefetch_count_shared - self.unacked.count() if taker is consumer else 0
        return 0

    @property
    def is_shared_full(self) -> bool:
        """Whether a prefetch of the whole channel is used up."""
        return 0 < self.prefetch_count_shared <= self.unacked.count()

    def pass_turn(self) -> None:
        """A consumer has used the shared room."""
        self._turn += 1
        self.wake()

    def wake(self) -> None:
        """Every consumer may have room again."""
        for consumer in self.consumers.values():
            consumer.queue.wake()

    # the rest

    def flow(self, method: spec.ChannelFlow) -> None:
        if not method.active:
            raise ConnectionFault(NOT_IMPLEMENTED, "active=false", method.ID)
        self.reply(spec.ChannelFlowOk(True))

    def access_request(self, method: spec.AccessRequest) -> None:
        """Of AMQP 0-8; RabbitMQ answers with ticket 1 and goes by permissions."""
        self.reply(spec.AccessRequestOk(1))

    def fault(self, code: int, text: str, method: spec.Method) -> ChannelFault:
        return ChannelFault(self.number, code, text, method.ID)


_HANDLERS: Final[dict[type[spec.Method], Callable[[ServerChannel, Any], None]]] = {
    spec.ConfirmSelect: ServerChannel.confirm_select,
    spec.BasicQos: ServerChannel.qos,
    spec.BasicConsume: ServerChannel.consume,
    spec.BasicCancel: ServerChannel.cancel,
    spec.BasicGet: ServerChannel.get,
    spec.BasicNack: ServerChannel.nack,
    spec.BasicReject: ServerChannel.nack,
    spec.BasicRecover: ServerChannel.recover,
    spec.BasicRecoverAsync: ServerChannel.recover,
    spec.TxSelect: ServerChannel.tx_select,
    spec.TxCommit: ServerChannel.tx_end,
    spec.TxRollback: ServerChannel.tx_end,
    spec.ChannelFlow: ServerChannel.flow,
    spec.AccessRequest: ServerChannel.access_request,
}
