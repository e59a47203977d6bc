"""What becomes of what is published: confirms, returns, transactions, carbon copies."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused


@scenario()
def confirms(s: Scene) -> Json:
    """200 persistent messages are all confirmed and all there."""
    channel, queue = s.channel(confirm=True), s.name("confirms")
    channel.queue(queue, durable=True)
    assert channel.publish(queue, "one of many", count=200, delivery_mode=2) is True
    left = channel.counted(queue, passive=True)[1]
    channel.delete_queue(queue)
    return left


@scenario()
def confirm_of_an_unroutable_message(s: Scene) -> Json:
    """What is routed nowhere is confirmed, without mandatory."""
    return s.channel(confirm=True).publish(s.name("nowhere"), "lost")


@scenario()
def mandatory_return(s: Scene) -> Json:
    """A mandatory message that is routed nowhere comes back whole, and is confirmed."""
    channel, nowhere = s.channel(confirm=True), s.name("nowhere")
    properties: Json = {"message_id": "m-1", "headers": {"a": 1}}
    assert channel.publish(nowhere, "back", mandatory=True, **properties) is True
    returned = channel.event("returned")
    assert returned["body"] == "back"
    assert returned["properties"]["headers"] == {"a": 1}
    queue = channel.queue(exclusive=True)
    assert channel.publish(queue, "arrives", mandatory=True) is True
    assert channel.got(queue)["body"] == "arrives"
    return s.plain([returned[name] for name in ("code", "exchange", "key", "properties")])


@scenario("plain_return")
def mandatory_return_without_confirms(s: Scene) -> Json:
    """A plain channel gets mandatory messages back too."""
    channel, exchange = s.channel(), s.name("mandatory")
    channel.exchange(exchange, "topic", auto_delete=True)
    queue = channel.queue(exclusive=True)
    channel.bind(queue, exchange, "a.*")
    channel.publish("b.1", "back", exchange=exchange, mandatory=True)
    channel.publish("a.1", "there", exchange=exchange, mandatory=True)
    returned = channel.event("returned")
    assert channel.got(queue)["body"] == "there"
    return s.plain([returned[name] for name in ("code", "exchange", "key", "body")])


@scenario()
def reject_publish(s: Scene) -> Json:
    """A full queue with overflow reject-publish has its publisher nacked."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    answers = [channel.publish(queue, str(number)) for number in range(4)]
    assert answers == [True, True, False, False]
    return channel.drain(queue)


@scenario("tx")
def tx_commit(s: Scene) -> Json:
    """A transaction's messages and acknowledgements take effect with tx.commit."""
    channel, other = s.channel(), s.channel()
    queue, second = channel.queue(exclusive=True), channel.queue(exclusive=True)
    channel.publish(queue, "first")
    message = channel.got(queue, no_ack=False)
    channel.call("tx_select")
    channel.publish(second, "a")
    channel.publish(second, "b")
    channel.ack(message)
    assert other.get(second) is None
    channel.call("tx_commit")
    assert other.drain(second) == ["a", "b"]
    channel.call("close_channel")
    return other.counted(queue, passive=True)[1:]


@scenario("tx")
def tx_rollback(s: Scene) -> Json:
    """tx.rollback drops the messages and the acknowledgements since the last commit."""
    channel, other = s.channel(), s.channel()
    queue, second = channel.queue(exclusive=True), channel.queue(exclusive=True)
    channel.publish(queue, "first")
    message = channel.got(queue, no_ack=False)
    channel.call("tx_select")
    channel.publish(second, "dropped")
    channel.ack(message)
    channel.call("tx_rollback")
    channel.publish(second, "kept")
    channel.call("tx_commit")
    assert other.drain(second) == ["kept"]
    channel.ack(message)
    channel.call("tx_commit")
    channel.call("close_channel")
    return other.counted(queue, passive=True)[1:]


@scenario("tx_after_confirms")
def tx_and_confirms_exclude_each_other(s: Scene) -> Json:
    """A confirming channel cannot become transactional: 406."""
    return refused(s.channel(confirm=True).call, "tx_select")


@scenario()
def carbon_copies(s: Scene) -> Json:
    """CC and BCC are further routing keys; only CC shows."""
    channel = s.channel()
    to, cc, bcc = (channel.queue(s.name(word), exclusive=True) for word in ("to", "cc", "bcc"))
    channel.publish(to, "copied", headers={"CC": [cc], "BCC": [bcc], "other": 1})
    got = [channel.got(queue) for queue in (to, cc, bcc)]
    assert [message["body"] for message in got] == ["copied"] * 3
    return s.plain([[message["key"], message["properties"]["headers"]] for message in got])


@scenario()
def user_id(s: Scene) -> Json:
    """user_id must be the user of the connection: 406 otherwise."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    channel.publish(queue, "mine", user_id="guest")
    user = channel.got(queue)["properties"]["user_id"]
    channel.publish(queue, "forged", user_id="somebody")
    return [user, channel.closed()]


@scenario()
def publish_to_a_missing_exchange(s: Scene) -> Json:
    """Publishing to an exchange that is not there closes the channel by 404; the connection goes on."""
    channel = s.channel()
    channel.publish("key", "lost", exchange=s.name("missing"))
    code = channel.closed()
    queue = s.channel().queue(exclusive=True)
    assert queue.startswith("amq.gen-")
    return code


@scenario()
def confirmed_publish_to_a_missing_exchange(s: Scene) -> Json:
    """A publisher with confirms to an exchange that is not there is refused by 404; the connection goes on."""
    observed = refused(s.channel(confirm=True).publish, "key", "lost", exchange=s.name("missing"))
    queue = s.channel().queue(exclusive=True)
    assert queue.startswith("amq.gen-")
    return observed


@scenario("internal")
def publish_to_an_internal_exchange(s: Scene) -> Json:
    """An internal exchange takes nothing from publishers: 403."""
    channel = s.channel()
    exchange = channel.exchange(s.name("internal"), "fanout", internal=True)
    channel.publish("key", "lost", exchange=exchange)
    code = channel.closed()
    s.channel().delete_exchange(exchange)
    return code
