"""What a broker refuses, as data: the frames that ask for it, and what RabbitMQ answers.

Reply codes, failing methods and scopes are RabbitMQ's; where its versions differ those of version 4, and ``older`` says
what the releases before answer.
"""

from dataclasses import dataclass

from edge.amqp091 import spec
from edge.amqp091.outbound import encode_content, encode_method
from edge.core.message import Message
from edge.core.properties import BasicProperties, encode_properties

CHANNEL = "channel"
CONNECTION = "connection"
Answer = tuple[str, int, int]
"""Scope, reply code, failing method (class id << 16 | method id; 0: none)."""


def frames(*methods: spec.Method, channel: int = 1) -> bytes:
    return b"".join([encode_method(channel, spec.encode_arguments(method)) for method in methods])


def publish(exchange: str = "", key: str = "none", **properties: object) -> bytes:
    """A basic.publish with its content on channel 1."""
    encoded = encode_properties(BasicProperties(**properties))  # type: ignore[arg-type]
    message = Message(exchange, key, encoded, b"x")
    return frames(spec.BasicPublish(0, exchange, key)) + encode_content(1, message, 4096)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One case. ``before`` is called on channel 1, ``other`` on another connection, method by method.

    ``older`` is what RabbitMQ 3 answers; None: it cannot be asked.
    """

    sent: bytes
    scope: str
    code: int
    method: int
    text: str = ""
    before: tuple[spec.Method, ...] = ()
    other: tuple[spec.Method, ...] = ()
    older: Answer | None = ("", 0, 0)

    @property
    def answer(self) -> Answer:
        return self.scope, self.code, self.method


def _refused(
    method: spec.Method,
    code: int,
    text: str = "",
    before: tuple[spec.Method, ...] = (),
    other: tuple[spec.Method, ...] = (),
    older: Answer | None = ("", 0, 0),
    scope: str = CHANNEL,
) -> Refusal:
    """A method that is refused by itself."""
    return Refusal(frames(method), scope, code, method.ID, text, before, other, older)


def _own(name: str, **arguments: object) -> tuple[spec.Method, ...]:
    """A queue that goes with its connection."""
    return (spec.QueueDeclare(queue=name, exclusive=True, arguments=arguments),)


PUBLISH = spec.BasicPublish.ID
FANOUT = spec.ExchangeDeclare(exchange="refused.fanout", type="fanout", auto_delete=True)

REFUSALS: dict[str, Refusal] = {
    # 404 NOT_FOUND
    "consuming from a queue that is not there": _refused(
        spec.BasicConsume(queue="none"), 404, "no queue 'none' in vhost '/'"
    ),
    "getting from a queue that is not there": _refused(
        spec.BasicGet(queue="none"), 404, "no queue 'none' in vhost '/'"
    ),
    "a passive declaration of no queue": _refused(
        spec.QueueDeclare(queue="none", passive=True), 404, "no queue 'none' in vhost '/'"
    ),
    "a passive declaration of no name": _refused(
        spec.QueueDeclare(passive=True),
        404,
        "no queue '' in vhost '/'",
        before=_own("refused.last"),
    ),
    "a passive declaration of no exchange": _refused(
        spec.ExchangeDeclare(exchange="none", passive=True), 404, "no exchange 'none' in vhost '/'"
    ),
    "publishing to an exchange that is not there": Refusal(
        publish("none"), CHANNEL, 404, PUBLISH, "no exchange 'none' in vhost '/'"
    ),
    "binding a queue that is not there": _refused(
        spec.QueueBind(queue="none", exchange="amq.topic"), 404, "no queue 'none' in vhost '/'"
    ),
    "binding to an exchange that is not there": _refused(
        spec.QueueBind(queue="refused.bound", exchange="none"),
        404,
        "no exchange 'none' in vhost '/'",
        before=_own("refused.bound"),
    ),
    "binding an exchange to one that is not there": _refused(
        spec.ExchangeBind(destination="amq.fanout", source="none"), 404, "no exchange 'none' in vhost '/'"
    ),
    "binding an exchange that is not there": _refused(
        spec.ExchangeBind(destination="none", source="amq.fanout"), 404, "no exchange 'none' in vhost '/'"
    ),
    "purging a queue that is not there": _refused(
        spec.QueuePurge(queue="none"), 404, "no queue 'none' in vhost '/'"
    ),
    "an empty name before any declaration": _refused(
        spec.BasicConsume(queue=""), 404, "no previously declared queue"
    ),
    "deleting no name before any declaration": _refused(
        spec.QueueDelete(queue=""), 404, "no previously declared queue"
    ),
    "a wrong message for an exchange that is not there": Refusal(
        publish("none", expiration="soon"), CHANNEL, 404, PUBLISH, "no exchange 'none' in vhost '/'"
    ),
    # 406 PRECONDITION_FAILED
    "a queue of another durability": _refused(
        spec.QueueDeclare(queue="refused.durable", durable=True, auto_delete=True),
        406,
        "inequivalent arg 'durable' for queue 'refused.durable' in vhost '/': received 'true' but current is"
        " 'false'",
        before=(spec.QueueDeclare(queue="refused.durable", auto_delete=True),),
    ),
    "a queue that deletes itself otherwise": _refused(
        spec.QueueDeclare(queue="refused.auto"),
        406,
        "inequivalent arg 'auto_delete' for queue 'refused.auto' in vhost '/': received 'false' but current is"
        " 'true'",
        before=(spec.QueueDeclare(queue="refused.auto", auto_delete=True),),
    ),
    "a queue of other arguments": _refused(
        spec.QueueDeclare(queue="refused.arguments", exclusive=True, arguments={"x-expires": 60_000}),
        406,
        "inequivalent arg 'x-expires' for queue 'refused.arguments' in vhost '/': received the value '60000' of"
        " type 'long' but current is none",
        before=_own("refused.arguments"),
    ),
    "a quorum queue of several other arguments": _refused(
        spec.QueueDeclare(
            queue="refused.quorum",
            durable=True,
            arguments={"x-queue-type": "quorum", "x-message-ttl": 5, "x-max-length": 5, "x-max-priority": 5},
        ),
        406,
        "inequivalent arg 'x-max-length' for queue 'refused.quorum' in vhost '/'",
        before=(
            spec.QueueDeclare(queue="refused.quorum", durable=True, arguments={"x-queue-type": "quorum"}),
        ),
    ),
    "an argument of a wrong type": _refused(
        spec.QueueDeclare(queue="refused.ttl", arguments={"x-message-ttl": "soon"}),
        406,
        "invalid arg 'x-message-ttl' for queue 'refused.ttl' in vhost '/'",
    ),
    "an argument of a wrong type before one that is not the queue type's": _refused(
        spec.QueueDeclare(queue="refused.ttl", arguments={"x-delivery-limit": 2, "x-message-ttl": "soon"}),
        406,
        "invalid arg 'x-message-ttl' for queue 'refused.ttl' in vhost '/'",
    ),
    "a quorum queue whose name is to be made up": _refused(
        spec.QueueDeclare(durable=True, arguments={"x-queue-type": "quorum"}),
        406,
        "Cannot declare a server-named queue for type rabbit_quorum_queue",
    ),
    "an argument that is negative": _refused(
        spec.QueueDeclare(queue="refused.expires", arguments={"x-expires": -1}),
        406,
        "invalid arg 'x-expires' for queue 'refused.expires' in vhost '/'",
    ),
    "an exchange of another type": _refused(
        spec.ExchangeDeclare(exchange="amq.topic", type="fanout", durable=True),
        406,
        "inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'fanout' but current is"
        " 'topic'",
    ),
    "an exchange of another durability": _refused(
        spec.ExchangeDeclare(exchange="amq.topic", type="topic"),
        406,
        "inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/'",
    ),
    "an exchange that deletes itself otherwise": _refused(
        spec.ExchangeDeclare(exchange="amq.topic", type="topic", durable=True, auto_delete=True),
        406,
        "inequivalent arg 'auto_delete' for exchange 'amq.topic' in vhost '/'",
    ),
    "an exchange that is internal otherwise": _refused(
        spec.ExchangeDeclare(exchange="amq.topic", type="topic", durable=True, internal=True),
        406,
        "inequivalent arg 'internal' for exchange 'amq.topic' in vhost '/'",
    ),
    "an exchange type that does not exist": _refused(
        spec.ExchangeDeclare(exchange="refused.type", type="none"),
        406,
        "invalid exchange type 'none'",
        older=(CONNECTION, 503, spec.ExchangeDeclare.ID),
    ),
    "deleting a queue in use if it is unused": _refused(
        spec.QueueDelete(queue="refused.used", if_unused=True),
        406,
        "queue 'refused.used' in vhost '/' in use",
        before=(*_own("refused.used"), spec.BasicConsume(queue="refused.used")),
    ),
    "deleting a queue with messages if it is empty": Refusal(
        publish("", "refused.full") + frames(spec.QueueDelete(queue="refused.full", if_empty=True)),
        CHANNEL,
        406,
        spec.QueueDelete.ID,
        "queue 'refused.full' in vhost '/' not empty",
        before=_own("refused.full"),
    ),
    "deleting an exchange with bindings if it is unused": _refused(
        spec.ExchangeDelete(exchange=FANOUT.exchange, if_unused=True),
        406,
        "exchange 'refused.fanout' in vhost '/' in use",
        before=(
            FANOUT,
            *_own("refused.fanned"),
            spec.QueueBind(queue="refused.fanned", exchange=FANOUT.exchange),
        ),
    ),
    "acknowledging a tag that was never given": _refused(
        spec.BasicAck(7, False), 406, "unknown delivery tag 7"
    ),
    "acknowledging many up to a tag that was never given": _refused(
        spec.BasicAck(7, True), 406, "unknown delivery tag 7"
    ),
    "acknowledging many up to a tag above those that were given": Refusal(
        publish("", "refused.above")
        + frames(spec.BasicGet(queue="refused.above"), spec.BasicNack(7, True, True)),
        CHANNEL,
        406,
        spec.BasicNack.ID,
        "unknown delivery tag 7",
        before=_own("refused.above"),
    ),
    "acknowledging many in a transaction up to a tag above those that were given": Refusal(
        publish("", "refused.tx")
        + frames(spec.TxSelect(), spec.BasicGet(queue="refused.tx"), spec.BasicAck(7, True)),
        CHANNEL,
        406,
        spec.BasicAck.ID,
        "unknown delivery tag 7",
        before=_own("refused.tx"),
    ),
    "acknowledging tag 0 alone": _refused(spec.BasicAck(0, False), 406, "unknown delivery tag 0"),
    "acknowledging twice": Refusal(
        publish("", "refused.twice")
        + frames(spec.BasicGet(queue="refused.twice"), spec.BasicAck(1, False), spec.BasicAck(1, False)),
        CHANNEL,
        406,
        spec.BasicAck.ID,
        "unknown delivery tag 1",
        before=_own("refused.twice"),
    ),
    "refusing a tag that was never given": _refused(
        spec.BasicNack(7, False, True), 406, "unknown delivery tag 7"
    ),
    "rejecting a tag that was never given": _refused(
        spec.BasicReject(7, True), 406, "unknown delivery tag 7"
    ),
    "transactions on a channel that confirms": _refused(
        spec.TxSelect(), 406, "cannot switch from confirm to tx mode", before=(spec.ConfirmSelect(),)
    ),
    "confirms on a channel with transactions": _refused(
        spec.ConfirmSelect(), 406, "cannot switch from tx to confirm mode", before=(spec.TxSelect(),)
    ),
    "a commit without a transaction": _refused(spec.TxCommit(), 406, "channel is not transactional"),
    "a rollback without a transaction": _refused(spec.TxRollback(), 406, "channel is not transactional"),
    "an expiration that is no number": Refusal(
        publish(expiration="soon"), CHANNEL, 406, PUBLISH, "invalid expiration 'soon': no_integer"
    ),
    "an expiration that is negative": Refusal(
        publish(expiration="-1"), CHANNEL, 406, PUBLISH, "invalid expiration '-1': {value_negative,-1}"
    ),
    "a user_id that is not the user's": Refusal(
        publish(user_id="bob"),
        CHANNEL,
        406,
        PUBLISH,
        "user_id property set to 'bob' but authenticated user was 'guest'",
    ),
    "a wrong user_id before a wrong expiration": Refusal(
        publish(user_id="bob", expiration="soon"), CHANNEL, 406, PUBLISH, "user_id property set to 'bob'"
    ),
    "a CC header that is no list": Refusal(
        publish(headers={"CC": "q"}),
        CHANNEL,
        406,
        PUBLISH,
        'invalid message: {unacceptable_type_in_header,"CC",longstr}',
    ),
    "a BCC header that is no list": Refusal(
        publish(headers={"BCC": 5}),
        CHANNEL,
        406,
        PUBLISH,
        'invalid message: {unacceptable_type_in_header,"BCC",long}',
    ),
    "reply_to the pseudo queue without a consumer on it": Refusal(
        publish(reply_to="amq.rabbitmq.reply-to"),
        CHANNEL,
        406,
        PUBLISH,
        "fast reply consumer does not exist",
    ),
    "direct replies that are acknowledged": _refused(
        spec.BasicConsume(queue="amq.rabbitmq.reply-to"), 406, "reply consumer cannot acknowledge"
    ),
    "two consumers of direct replies": _refused(
        spec.BasicConsume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="second"),
        406,
        "reply consumer already set",
        before=(spec.BasicConsume(queue="amq.rabbitmq.reply-to", no_ack=True),),
    ),
    "a message over the largest size": Refusal(
        frames(spec.BasicPublish()) + bytes.fromhex("0200010000000e003c000000000000010000010000ce"),
        CHANNEL,
        406,
        PUBLISH,
        "message size 16777217 is larger than configured max size 16777216",
        older=None,
    ),
    # 403 ACCESS_REFUSED
    "a queue by a reserved name": _refused(
        spec.QueueDeclare(queue="amq.mine"),
        403,
        "queue name 'amq.mine' contains reserved prefix 'amq.*'",
    ),
    "an exchange by a reserved name": _refused(
        spec.ExchangeDeclare(exchange="amq.mine"),
        403,
        "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    ),
    "publishing to an internal exchange": Refusal(
        publish("refused.internal"),
        CHANNEL,
        403,
        PUBLISH,
        "cannot publish to internal exchange 'refused.internal' in vhost '/'",
        before=(spec.ExchangeDeclare(exchange="refused.internal", type="fanout", internal=True),),
    ),
    "declaring the default exchange": _refused(
        spec.ExchangeDeclare(exchange=""), 403, "operation not permitted on the default exchange"
    ),
    "looking for the default exchange": _refused(
        spec.ExchangeDeclare(exchange="", passive=True),
        403,
        "operation not permitted on the default exchange",
    ),
    "deleting the default exchange": _refused(
        spec.ExchangeDelete(exchange=""), 403, "operation not permitted on the default exchange"
    ),
    "binding a queue to the default exchange": _refused(
        spec.QueueBind(queue="refused.default", exchange=""),
        403,
        "operation not permitted on the default exchange",
        before=_own("refused.default"),
    ),
    "unbinding a queue from the default exchange": _refused(
        spec.QueueUnbind(queue="refused.undefault", exchange=""),
        403,
        "operation not permitted on the default exchange",
        before=_own("refused.undefault"),
    ),
    "binding the default exchange": _refused(
        spec.ExchangeBind(destination="", source="amq.fanout"),
        403,
        "operation not permitted on the default exchange",
    ),
    "deleting a predeclared exchange": _refused(
        spec.ExchangeDelete(exchange="amq.topic"),
        403,
        "deletion of system exchange 'amq.topic' in vhost '/' not allowed",
    ),
    "consuming beside an exclusive consumer": _refused(
        spec.BasicConsume(queue="refused.exclusive", consumer_tag="second"),
        403,
        "queue 'refused.exclusive' in vhost '/' in exclusive use",
        before=(
            *_own("refused.exclusive"),
            spec.BasicConsume(queue="refused.exclusive", consumer_tag="first", exclusive=True),
        ),
    ),
    "an exclusive consumer beside another one": _refused(
        spec.BasicConsume(queue="refused.shared", consumer_tag="second", exclusive=True),
        403,
        "queue 'refused.shared' in vhost '/' in exclusive use",
        before=(*_own("refused.shared"), spec.BasicConsume(queue="refused.shared", consumer_tag="first")),
    ),
    # 530 NOT_ALLOWED
    "a consumer tag used twice": _refused(
        spec.BasicConsume(queue="refused.tag", consumer_tag="tag"),
        530,
        "attempt to reuse consumer tag 'tag'",
        before=(*_own("refused.tag"), spec.BasicConsume(queue="refused.tag", consumer_tag="tag")),
        scope=CONNECTION,
    ),
    "a consumer tag used twice, whatever the queue": _refused(
        spec.BasicConsume(queue="none", consumer_tag="tag"),
        530,
        "attempt to reuse consumer tag 'tag'",
        before=(*_own("refused.tag"), spec.BasicConsume(queue="refused.tag", consumer_tag="tag")),
        scope=CONNECTION,
    ),
    # 540 NOT_IMPLEMENTED
    "immediate": Refusal(
        frames(spec.BasicPublish(immediate=True))
        + publish()[len(frames(spec.BasicPublish(0, "", "none"))) :],
        CONNECTION,
        540,
        PUBLISH,
        "immediate=true",
    ),
    "a prefetch in bytes": _refused(
        spec.BasicQos(prefetch_size=5), 540, "prefetch_size!=0", scope=CONNECTION
    ),
    "recovery without requeueing": _refused(
        spec.BasicRecover(requeue=False), 540, "requeue=false", scope=CONNECTION
    ),
    "recovery without requeueing or answer": _refused(
        spec.BasicRecoverAsync(requeue=False), 540, "requeue=false", scope=CONNECTION
    ),
    "stopping the flow": _refused(spec.ChannelFlow(False), 540, "active=false", scope=CONNECTION),
}

LOCKED = "refused.locked"
REFUSALS |= {
    # 405 RESOURCE_LOCKED
    f"{name} that another connection holds": _refused(
        method,
        405,
        f"cannot obtain exclusive access to locked queue '{LOCKED}' in vhost '/'. It could be originally declared on"
        " another connection or the exclusive property value does not match that of the original declaration.",
        other=_own(LOCKED),
    )
    for name, method in {
        "declaring a queue": spec.QueueDeclare(queue=LOCKED),
        "declaring as one's own a queue": spec.QueueDeclare(queue=LOCKED, exclusive=True),
        "looking for a queue": spec.QueueDeclare(queue=LOCKED, passive=True),
        "binding a queue": spec.QueueBind(queue=LOCKED, exchange="amq.fanout"),
        "consuming from a queue": spec.BasicConsume(queue=LOCKED),
        "getting from a queue": spec.BasicGet(queue=LOCKED),
        "purging a queue": spec.QueuePurge(queue=LOCKED),
        "deleting a queue": spec.QueueDelete(queue=LOCKED),
    }.items()
}
SINGLE: dict[str, object] = {"x-queue-type": "quorum", "x-single-active-consumer": True}
REFUSALS |= {
    "getting from a quorum queue with a single active consumer": _refused(
        spec.BasicGet(queue="refused.single"),
        405,
        "cannot obtain access to locked queue 'refused.single' in vhost '/'. basic.get operations are not supported by"
        " quorum queues with single active consumer",
        before=(spec.QueueDeclare(queue="refused.single", durable=True, arguments=SINGLE),),
    ),
    "declaring one's own queue as everybody's": _refused(
        spec.QueueDeclare(queue="refused.mine"),
        405,
        "cannot obtain exclusive access to locked queue 'refused.mine' in vhost '/'",
        before=_own("refused.mine"),
    ),
    "declaring everybody's queue as one's own": _refused(
        spec.QueueDeclare(queue="refused.ours", exclusive=True),
        405,
        "cannot obtain exclusive access to locked queue 'refused.ours' in vhost '/'",
        before=(spec.QueueDeclare(queue="refused.ours"),),
    ),
}
"""What a peer does that knows the protocol, but not what is there."""
