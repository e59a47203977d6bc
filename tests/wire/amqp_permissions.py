"""Which permission each operation needs, as data: the names say what the user ``limited`` may do with them.

``perm.q.cw`` is a queue that it may configure and write; c, w and r stand in this order. Needs are RabbitMQ's.
"""

from dataclasses import dataclass

from edge.amqp091 import spec
from tests.wire.amqp_refusals import publish

USER = "limited"
CONFIGURE = r"^perm\.[qx]\.c"
WRITE = r"^perm\.[qx]\.c?w"
READ = r"^perm\.[qx]\.c?w?r"
RIGHTS = ("n", "c", "w", "r", "cw", "cr", "wr", "cwr")


def queue(rights: str) -> str:
    return f"perm.q.{rights}"


def exchange(rights: str) -> str:
    return f"perm.x.{rights}"


@dataclass(frozen=True, slots=True)
class Access:
    """An operation and, when it is refused, the permission that is missing and what on; None: it is allowed."""

    operation: spec.Method | bytes
    refused: tuple[str, str, str] | None = None
    older_allows: bool = False
    """RabbitMQ 3 asked for no permission here."""


def _queue_declare(name: str, **arguments: object) -> spec.Method:
    return spec.QueueDeclare(queue=name, auto_delete=True, arguments=arguments)


def _exchange_declare(name: str, **arguments: object) -> spec.Method:
    return spec.ExchangeDeclare(exchange=name, type="fanout", auto_delete=True, arguments=arguments)


def _refused_queue(permission: str, rights: str) -> tuple[str, str, str]:
    return permission, "queue", queue(rights)


def _refused_exchange(permission: str, rights: str) -> tuple[str, str, str]:
    return permission, "exchange", exchange(rights)


DLX = "x-dead-letter-exchange"
ALTERNATE = "alternate-exchange"
KEYED = {"destination": exchange("w"), "source": exchange("r")}

ACCESS: dict[str, Access] = {
    "queue.declare needs configure": Access(_queue_declare("perm.q.c.new")),
    "queue.declare without it": Access(_queue_declare(queue("wr")), _refused_queue("configure", "wr")),
    "queue.declare of a name to be made up": Access(
        spec.QueueDeclare(exclusive=True), ("configure", "queue", "amq.gen-")
    ),
    "queue.declare with a dead-letter exchange needs read on the queue and write on the exchange": Access(
        _queue_declare("perm.q.cr.new", **{DLX: exchange("w")})
    ),
    "queue.declare with a dead-letter exchange and no read on the queue": Access(
        _queue_declare("perm.q.cw.new", **{DLX: exchange("w")}), ("read", "queue", "perm.q.cw.new")
    ),
    "queue.declare with a dead-letter exchange and no write on it": Access(
        _queue_declare("perm.q.cr.other", **{DLX: exchange("cr")}), _refused_exchange("write", "cr")
    ),
    "queue.delete needs configure": Access(spec.QueueDelete(queue="perm.q.c.gone")),
    "queue.delete without it": Access(spec.QueueDelete(queue=queue("wr")), _refused_queue("configure", "wr")),
    "queue.purge needs read": Access(spec.QueuePurge(queue=queue("r"))),
    "queue.purge without it": Access(spec.QueuePurge(queue=queue("cw")), _refused_queue("read", "cw")),
    "queue.bind needs write on the queue and read on the exchange": Access(
        spec.QueueBind(queue=queue("w"), exchange=exchange("r"))
    ),
    "queue.bind without write": Access(
        spec.QueueBind(queue=queue("cr"), exchange=exchange("r")), _refused_queue("write", "cr")
    ),
    "queue.bind without read": Access(
        spec.QueueBind(queue=queue("w"), exchange=exchange("cw")), _refused_exchange("read", "cw")
    ),
    "queue.unbind needs the same": Access(spec.QueueUnbind(queue=queue("w"), exchange=exchange("r"))),
    "queue.unbind without write": Access(
        spec.QueueUnbind(queue=queue("cr"), exchange=exchange("r")), _refused_queue("write", "cr")
    ),
    "queue.unbind without read": Access(
        spec.QueueUnbind(queue=queue("w"), exchange=exchange("cw")), _refused_exchange("read", "cw")
    ),
    "exchange.declare needs configure": Access(_exchange_declare("perm.x.c.new")),
    "exchange.declare without it": Access(
        _exchange_declare(exchange("wr")), _refused_exchange("configure", "wr")
    ),
    "exchange.declare with an alternate exchange needs read on it and write on the other": Access(
        _exchange_declare("perm.x.cr.new", **{ALTERNATE: exchange("w")})
    ),
    "exchange.declare with an alternate exchange and no read": Access(
        _exchange_declare("perm.x.cw.new", **{ALTERNATE: exchange("w")}),
        ("read", "exchange", "perm.x.cw.new"),
    ),
    "exchange.declare with an alternate exchange and no write on it": Access(
        _exchange_declare("perm.x.cr.other", **{ALTERNATE: exchange("r")}), _refused_exchange("write", "r")
    ),
    "exchange.delete needs configure": Access(spec.ExchangeDelete(exchange="perm.x.c.gone")),
    "exchange.delete without it": Access(
        spec.ExchangeDelete(exchange=exchange("wr")), _refused_exchange("configure", "wr")
    ),
    "exchange.bind needs write on the destination and read on the source": Access(spec.ExchangeBind(**KEYED)),  # type: ignore[arg-type]
    "exchange.bind without write": Access(
        spec.ExchangeBind(destination=exchange("cr"), source=exchange("r")), _refused_exchange("write", "cr")
    ),
    "exchange.bind without read": Access(
        spec.ExchangeBind(destination=exchange("w"), source=exchange("cw")), _refused_exchange("read", "cw")
    ),
    "exchange.unbind needs the same": Access(spec.ExchangeUnbind(**KEYED)),  # type: ignore[arg-type]
    "exchange.unbind without write": Access(
        spec.ExchangeUnbind(destination=exchange("cr"), source=exchange("r")),
        _refused_exchange("write", "cr"),
    ),
    "exchange.unbind without read": Access(
        spec.ExchangeUnbind(destination=exchange("w"), source=exchange("cw")), _refused_exchange("read", "cw")
    ),
    "basic.publish needs write": Access(publish(exchange("w"))),
    "basic.publish without it": Access(publish(exchange("cr")), _refused_exchange("write", "cr")),
    "basic.publish to the default exchange": Access(
        publish("", queue("cwr")), ("write", "exchange", "amq.default")
    ),
    "basic.consume needs read": Access(spec.BasicConsume(queue=queue("r"))),
    "basic.consume without it": Access(spec.BasicConsume(queue=queue("cw")), _refused_queue("read", "cw")),
    "basic.get needs read": Access(spec.BasicGet(queue=queue("r"))),
    "basic.get without it": Access(spec.BasicGet(queue=queue("cw")), _refused_queue("read", "cw")),
    "direct replies need nothing": Access(spec.BasicConsume(queue="amq.rabbitmq.reply-to", no_ack=True)),
    "a passive queue.declare needs any permission": Access(spec.QueueDeclare(queue=queue("r"), passive=True)),
    "a passive queue.declare without any": Access(
        spec.QueueDeclare(queue=queue("n"), passive=True), _refused_queue("configure", "n"), older_allows=True
    ),
    "a passive exchange.declare without any": Access(
        spec.ExchangeDeclare(exchange=exchange("n"), passive=True),
        _refused_exchange("configure", "n"),
        older_allows=True,
    ),
    "a passive exchange.declare needs any permission": Access(
        spec.ExchangeDeclare(exchange=exchange("r"), passive=True)
    ),
}
