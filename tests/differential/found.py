"""Sequences that Leveret once played otherwise than RabbitMQ, as short as they could be made."""

from edge.amqp091 import spec
from edge.core.properties import BasicProperties
from edge.core.table import Table
from tests.differential.operations import Call, Operation, Publish, Settle, SettleTag

NO_PROPERTIES = BasicProperties()


def quorum_queue(arguments: Table) -> spec.QueueDeclare:
    return spec.QueueDeclare(queue="~q", durable=True, arguments={"x-queue-type": "quorum", **arguments})


def limited_queue(arguments: Table) -> spec.QueueDeclare:
    """What does not stay in ~q comes to ~d."""
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "~d"}
    return spec.QueueDeclare(queue="~q", arguments={**dead, **arguments})


FOUND: dict[str, list[Operation]] = {
    "a passive declaration of the default exchange": [
        Call(0, spec.ExchangeDeclare(passive=True)),
    ],
    "unbinding a queue that is not there": [
        Call(0, spec.QueueUnbind(queue="~q", exchange="amq.topic", routing_key="a")),
    ],
    "unbinding another connection's queue that is not bound": [
        Call(2, spec.QueueDeclare(queue="~q", exclusive=True)),
        Call(0, spec.QueueUnbind(queue="~q", exchange="amq.topic", routing_key="a")),
    ],
    "unbinding another connection's queue": [
        Call(2, spec.QueueDeclare(queue="~q", exclusive=True)),
        Call(2, spec.QueueBind(queue="~q", exchange="amq.topic", routing_key="a")),
        Call(0, spec.QueueUnbind(queue="~q", exchange="amq.topic", routing_key="a")),
    ],
    "binding another connection's queue to no exchange": [
        Call(2, spec.QueueDeclare(queue="~q", exclusive=True)),
        Call(0, spec.QueueBind(queue="~q", exchange="~nowhere", routing_key="a")),
    ],
    "binding what is not there to what is not there": [
        Call(0, spec.QueueBind(queue="~q", exchange="~nowhere", routing_key="a")),
        Call(0, spec.ExchangeBind(destination="~nowhere", source="~nowhere-else", routing_key="a")),
    ],
    "what the last message of a queue leaves when it is taken": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", BasicProperties(), count=2),
        Publish(0, "", "~q", BasicProperties(expiration="0"), count=3),
        Call(0, spec.BasicGet(queue="~q")),
        Call(0, spec.BasicGet(queue="~q")),
    ],
    "a passive declaration of no name": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(0, spec.QueueDeclare(passive=True)),
    ],
    "deleting no name before any declaration": [
        Call(0, spec.QueueDelete()),
    ],
    "deleting a queue with nothing but unacknowledged messages if it is empty": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Call(1, spec.BasicConsume(queue="~q", consumer_tag="t")),
        Call(0, spec.QueueDelete(queue="~q", if_empty=True)),
    ],
    "publishing to no exchange what is wrong besides": [
        Publish(0, "~nowhere", "a", BasicProperties(expiration="soon")),
        Publish(0, "~nowhere", "a", BasicProperties(user_id="bob")),
        Publish(0, "~nowhere", "a", BasicProperties(headers={"CC": "a"})),
    ],
    "publishing what is wrong in several ways": [
        Publish(0, "", "a", BasicProperties(expiration="soon", user_id="bob")),
        Publish(0, "", "a", BasicProperties(expiration="soon", headers={"CC": "a"})),
        Publish(0, "", "a", BasicProperties(user_id="bob", headers={"CC": "a"})),
    ],
    "the turns of consumers": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(1, spec.BasicConsume(queue="~q", consumer_tag="t0", no_ack=True)),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t1", no_ack=True)),
        Publish(0, "", "~q", NO_PROPERTIES, count=3),
        Call(2, spec.BasicConsume(queue="~q", consumer_tag="t2", no_ack=True)),
        Publish(0, "", "~q", NO_PROPERTIES, count=5),
    ],
    "the turns of consumers that are full": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(0, spec.BasicQos(0, 1, False)),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0")),
        Call(1, spec.BasicConsume(queue="~q", consumer_tag="t1", no_ack=True)),
        Publish(2, "", "~q", NO_PROPERTIES, count=5),
        Settle(0, "ack", 0),
        Publish(2, "", "~q", NO_PROPERTIES, count=4),
        Settle(0, "ack", 0),
        Publish(2, "", "~q", NO_PROPERTIES),
    ],
    "an expired message behind others": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", NO_PROPERTIES, count=2),
        Publish(0, "", "~q", BasicProperties(expiration="0")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t")),
    ],
    "a message that is requeued to a queue without room": [
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-max-length": 0})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Settle(0, "reject", 0, requeue=True),
    ],
    "a message that is requeued to a queue with priorities and without room": [
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-max-length": 0, "x-max-priority": 1})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Settle(0, "reject", 0, requeue=True),
    ],
    "deleting a quorum queue if it is unused or empty": [
        Call(0, spec.QueueDeclare(queue="~q", durable=True, arguments={"x-queue-type": "quorum"})),
        Call(0, spec.QueueDelete(queue="~q", if_unused=True, if_empty=True)),
        Call(0, spec.QueueDelete(queue="~q", if_empty=True)),
        Call(0, spec.QueueDelete(queue="~q")),
    ],
    "a consumer without acknowledgements when the channel's prefetch is used up": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(0, spec.BasicQos(0, 2, True)),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0")),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t1", no_ack=True)),
        Publish(1, "", "~q", NO_PROPERTIES, count=5),
        Settle(0, "ack", 0),
    ],
    "what a message drives out of one queue into another that it goes to itself": [
        Call(0, spec.ExchangeDeclare(exchange="~x", type="fanout")),
        Call(
            0,
            spec.QueueDeclare(
                queue="~q0",
                arguments={
                    "x-max-length": 1,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": "~q1",
                },
            ),
        ),
        Call(0, spec.QueueDeclare(queue="~q1")),
        Call(0, spec.QueueBind(queue="~q0", exchange="~x")),
        Call(0, spec.QueueBind(queue="~q1", exchange="~x")),
        Publish(0, "~x", "", NO_PROPERTIES),
        Publish(0, "~x", "", NO_PROPERTIES),
    ],
    "acknowledging up to a tag that was never given": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Call(0, spec.BasicGet(queue="~q")),
        SettleTag(0, spec.BasicAck(1_000, True)),
    ],
    "acknowledging up to a tag that is settled": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", NO_PROPERTIES, count=2),
        Call(0, spec.BasicGet(queue="~q")),
        Call(0, spec.BasicGet(queue="~q")),
        SettleTag(0, spec.BasicAck(2, False)),
        SettleTag(0, spec.BasicAck(2, True)),
    ],
    "acknowledging up to a tag that was never given in a transaction": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Publish(0, "", "~q", NO_PROPERTIES),
        Call(0, spec.TxSelect()),
        Call(0, spec.BasicGet(queue="~q")),
        SettleTag(0, spec.BasicAck(1_000, True)),
    ],
    "a consumer tag that is used twice, for a queue that is not there": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t")),
        Call(0, spec.BasicConsume(queue="~nowhere", consumer_tag="t")),
    ],
    "a name that is to be made up for a quorum queue": [
        Call(0, spec.QueueDeclare(durable=True, arguments={"x-queue-type": "quorum"})),
    ],
    "a queue with several wrong arguments": [
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-delivery-limit": 2, "x-message-ttl": "soon"})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-delivery-limit": None})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-dead-letter-exchange": 5, "x-expires": 0})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-max-length": -1, "x-queue-type": "none"})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-max-length": -1, "x-queue-type": "quorum"})),
    ],
    "a quorum queue that is declared again with other arguments": [
        Call(0, quorum_queue({"x-message-ttl": 3_600_000})),
        Call(0, quorum_queue({"x-message-ttl": 3_600_000, "x-max-priority": 5})),
        Call(0, quorum_queue({"x-max-length-bytes": 1})),
        Call(0, quorum_queue({"x-expires": 3_600_000, "x-max-length-bytes": 1})),
        Call(0, quorum_queue({"x-delivery-limit": 1})),
        Call(0, quorum_queue({"x-delivery-limit": 1, "x-single-active-consumer": False})),
    ],
    "exclusive consumers of a quorum queue": [
        Call(0, quorum_queue({})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0", exclusive=True)),
        Call(2, spec.BasicConsume(queue="~q", consumer_tag="t1", exclusive=True)),
        Call(2, spec.BasicConsume(queue="~q", consumer_tag="t2")),
    ],
    "an exclusive consumer of a quorum queue with a single active one": [
        Call(0, quorum_queue({"x-single-active-consumer": True})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0", exclusive=True)),
    ],
    "what comes back to a full quorum queue": [
        Call(0, quorum_queue({"x-max-length": 0})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0")),
        Publish(0, "", "~q", BasicProperties()),
        Settle(0, "nack", 0, requeue=True),
        Settle(0, "nack", 0, requeue=True),
    ],
    "a queue that is declared again with nothing for a value": [
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-message-ttl": 5})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-message-ttl": None})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-expires": None})),
    ],
    "a queue that is declared again with bytes and with tables": [
        Call(0, spec.QueueDeclare(queue="~q")),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-dead-letter-exchange": b"a"})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-dead-letter-exchange": {"a": ["b"]}})),
        Call(0, spec.QueueDeclare(queue="~q", arguments={"x-dead-letter-exchange": ["a"]})),
    ],
    "what is too much and at its end at once": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 0})),
        Publish(0, "", "~q", BasicProperties(expiration="0")),
    ],
    "what ends at once in a queue that rejects what does not fit": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 1, "x-message-ttl": 0, "x-overflow": "reject-publish"})),
        Publish(0, "", "~q", BasicProperties(), count=2),
    ],
    "what is dropped before something that has expired": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 2})),
        Publish(0, "", "~q", BasicProperties()),
        Publish(0, "", "~q", BasicProperties(expiration="0")),
        Publish(0, "", "~q", BasicProperties(), count=2),
    ],
    "what comes back of two consumers to a full queue when their channel ends": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 0})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0")),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t1")),
        Publish(0, "", "~q", BasicProperties(), count=3),
    ],
    "what comes back to a full queue and is over": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 0})),
        Call(0, spec.BasicConsume(queue="~q", consumer_tag="t0")),
        Publish(0, "", "~q", BasicProperties(expiration="0"), count=2),
    ],
    "deaths that a publisher made up": [
        Call(0, spec.QueueDeclare(queue="~d")),
        Call(0, limited_queue({"x-max-length": 0})),
        Publish(0, "", "~q", BasicProperties(headers={"x-death": "none"})),
        Publish(0, "", "~q", BasicProperties(headers={"x-death": []})),
        Publish(0, "", "~q", BasicProperties(headers={"x-death": None})),
        Publish(0, "", "~q", BasicProperties(headers={"x-death": [{"queue": "~a", "count": 7}]})),
        Publish(0, "", "~q", BasicProperties(headers={"x-first-death-queue": "mine"})),
        Publish(0, "", "~q", BasicProperties(headers={"x-death": [], "x-first-death-queue": "mine"})),
    ],
}
