"""Declarations on a server's channel: exchange.* and queue.*. Answered when they are on the disk."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from edge.amqp091 import spec
from edge.amqp091.constants import NOT_IMPLEMENTED
from edge.amqp091.errors import ConnectionFault
from edge.core.errors import AccessRefused, PreconditionFailed
from edge.core.names import DEFAULT_EXCHANGE, GENERATED_PREFIX, QUORUM, is_reserved
from edge.core.properties import DIRECT_REPLY_QUEUE
from edge.core.queue import Queue

if TYPE_CHECKING:
    from edge.amqp091.server_channel import ServerChannel


def handle(channel: "ServerChannel", method: spec.Method) -> bool:
    """Carry out ``method`` if it is one of ours; return whether it was. Raises BrokerError."""
    handler = _HANDLERS.get(type(method))
    if handler is None:
        return False
    handler(channel, method)
    return True


def _answer(channel: "ServerChannel", method: Any, answer: spec.Method) -> None:
    """Answer once everything accepted so far is on the disk; nothing that came later is looked at before that."""
    if not getattr(method, "no_wait", False):
        channel.connection.wait_for_commit(lambda: channel.reply(answer))


def _exchange_declare(channel: "ServerChannel", method: spec.ExchangeDeclare) -> None:
    name = method.exchange
    _refuse_default(name)
    if method.passive:
        channel.connection.access.check_any("exchange", name)
        channel.vhost.exchange(name)
        if not method.no_wait:
            channel.reply(spec.ExchangeDeclareOk())
        return
    channel.connection.access.check("configure", "exchange", name)
    alternate = method.arguments.get("alternate-exchange")
    if isinstance(alternate, str) and name not in channel.vhost.exchanges:
        channel.connection.access.check("read", "exchange", name)
        channel.connection.access.check("write", "exchange", alternate)
    channel.broker.declare_exchange(
        channel.vhost,
        name,
        method.type,
        durable=method.durable,
        auto_delete=method.auto_delete,
        internal=method.internal,
        arguments=method.arguments,
    )
    _answer(channel, method, spec.ExchangeDeclareOk())


def _exchange_delete(channel: "ServerChannel", method: spec.ExchangeDelete) -> None:
    _refuse_default(method.exchange)
    channel.connection.access.check("configure", "exchange", method.exchange)
    channel.broker.delete_exchange(channel.vhost, method.exchange, method.if_unused)
    _answer(channel, method, spec.ExchangeDeleteOk())


def _exchange_bind(channel: "ServerChannel", method: spec.ExchangeBind) -> None:
    _check_bind(channel, method.destination, method.source, method.routing_key)
    channel.broker.bind(
        channel.vhost,
        method.source,
        method.destination,
        method.routing_key,
        method.arguments,
        to_exchange=True,
    )
    _answer(channel, method, spec.ExchangeBindOk())


def _exchange_unbind(channel: "ServerChannel", method: spec.ExchangeUnbind) -> None:
    _check_bind(channel, method.destination, method.source, method.routing_key)
    channel.broker.unbind(
        channel.vhost,
        method.source,
        method.destination,
        method.routing_key,
        method.arguments,
        to_exchange=True,
    )
    _answer(channel, method, spec.ExchangeUnbindOk())


def _queue_declare(channel: "ServerChannel", method: spec.QueueDeclare) -> None:
    if method.queue.startswith(DIRECT_REPLY_QUEUE):
        # Whatever is asked for, it is whether someone waits for the reply (RabbitMQ, "Direct Reply-to").
        if method.queue != DIRECT_REPLY_QUEUE:
            channel.vhost.queue(method.queue)
        if not method.no_wait:
            channel.reply(spec.QueueDeclareOk(method.queue, 0, 1))
        return
    if method.passive:
        # An empty name is no shortcut here: it is looked for.
        channel.connection.access.check_any("queue", method.queue)
        queue = channel.broker.find_queue(channel.vhost, method.queue, channel.connection)
        channel.last_queue = queue.name
        if not method.no_wait:
            channel.reply(_declared(queue))
        return
    _check_name(method)
    channel.connection.access.check("configure", "queue", method.queue or GENERATED_PREFIX)
    dead_letter_exchange = method.arguments.get("x-dead-letter-exchange")
    if isinstance(dead_letter_exchange, str) and method.queue not in channel.vhost.queues:
        channel.connection.access.check("read", "queue", method.queue or GENERATED_PREFIX)
        channel.connection.access.check("write", "exchange", dead_letter_exchange)
    queue = channel.broker.declare_queue(
        channel.vhost,
        method.queue,
        durable=method.durable,
        exclusive=method.exclusive,
        auto_delete=method.auto_delete,
        arguments=method.arguments,
        owner=channel.connection,
    )
    channel.last_queue = queue.name
    _answer(channel, method, _declared(queue))


def _check_name(method: spec.QueueDeclare) -> None:
    """Raises AccessRefused for a reserved name, whether it is there or not; PreconditionFailed for one to make up."""
    if is_reserved(method.queue):
        raise AccessRefused(f"queue name '{method.queue}' contains reserved prefix 'amq.*'")
    if not method.queue and method.arguments.get("x-queue-type") == QUORUM:
        raise PreconditionFailed("Cannot declare a server-named queue for type rabbit_quorum_queue")


def _declared(queue: Queue) -> spec.QueueDeclareOk:
    return spec.QueueDeclareOk(queue.name, queue.messages_ready, queue.consumer_count)


def _queue_bind(channel: "ServerChannel", method: spec.QueueBind) -> None:
    name = channel.queue_name(method.queue, "write")
    # An empty routing key with an empty queue name means the queue's name (section 1.7.2.3.5)
    key = name if not method.queue and not method.routing_key else method.routing_key
    _check_source(channel, method.exchange, key)
    # Whether the exchange is there, then the queue, and only then whose it is, as RabbitMQ looks.
    source = channel.vhost.exchange(method.exchange)
    channel.broker.find_queue(channel.vhost, name, channel.connection)
    channel.broker.bind(channel.vhost, source.name, name, key, method.arguments)
    _answer(channel, method, spec.QueueBindOk())


def _queue_unbind(channel: "ServerChannel", method: spec.QueueUnbind) -> None:
    name = channel.queue_name(method.queue, "write")
    _check_source(channel, method.exchange, method.routing_key)
    if channel.broker.is_bound(channel.vhost, method.exchange, name, method.routing_key, method.arguments):
        # What is not bound is unbound, whether the ends are there and whose the queue is or not
        # (``rabbit_binding:remove``).
        channel.broker.find_queue(channel.vhost, name, channel.connection)
        channel.broker.unbind(channel.vhost, method.exchange, name, method.routing_key, method.arguments)
    _answer(channel, method, spec.QueueUnbindOk())


def _queue_purge(channel: "ServerChannel", method: spec.QueuePurge) -> None:
    queue = channel.find_queue(method.queue, "read")
    _answer(channel, method, spec.QueuePurgeOk(queue.purge()))


def _queue_delete(channel: "ServerChannel", method: spec.QueueDelete) -> None:
    name = channel.queue_name(method.queue, "configure")
    count = 0
    if name in channel.vhost.queues:
        # Deleting what is not there is no error (RabbitMQ, "queue.delete")
        queue = channel.broker.find_queue(channel.vhost, name, channel.connection)
        _refuse_condition(queue, method)
        count = channel.broker.delete_queue(channel.vhost, queue, method.if_unused, method.if_empty)
    _answer(channel, method, spec.QueueDeleteOk(count))


def _refuse_condition(queue: Queue, method: spec.QueueDelete) -> None:
    """RabbitMQ cannot tell both of a quorum queue (``rabbit_quorum_queue:delete``). Raises ConnectionFault 540."""
    if queue.type == QUORUM and (method.if_unused or method.if_empty):
        text = (
            f"cannot delete queue '{queue.name}' in vhost '{queue.vhost}'. queue.delete operations with"
            f" {'if-unused' if method.if_unused else 'if-empty'} flag set are not supported by quorum queues"
        )
        raise ConnectionFault(NOT_IMPLEMENTED, text, method.ID)


def _check_bind(channel: "ServerChannel", destination: str, source: str, key: str) -> None:
    channel.connection.access.check("write", "exchange", destination)
    _refuse_default(destination)
    _check_source(channel, source, key)


def _check_source(channel: "ServerChannel", source: str, key: str) -> None:
    _refuse_default(source)
    channel.connection.access.check("read", "exchange", source)
    rule = channel.connection.access.topic_rule(source)
    if rule is not None:
        rule.check("read", key)


def _refuse_default(name: str) -> None:
    if name == DEFAULT_EXCHANGE:
        raise AccessRefused("operation not permitted on the default exchange")


_HANDLERS: Final[dict[type[spec.Method], Callable[["ServerChannel", Any], None]]] = {
    spec.ExchangeDeclare: _exchange_declare,
    spec.ExchangeDelete: _exchange_delete,
    spec.ExchangeBind: _exchange_bind,
    spec.ExchangeUnbind: _exchange_unbind,
    spec.QueueDeclare: _queue_declare,
    spec.QueueBind: _queue_bind,
    spec.QueueUnbind: _queue_unbind,
    spec.QueuePurge: _queue_purge,
    spec.QueueDelete: _queue_delete,
}
