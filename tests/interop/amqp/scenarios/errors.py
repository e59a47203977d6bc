"""What is refused, by which code, and that the rest goes on."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused


@scenario()
def passive_declare_of_what_is_missing(s: Scene) -> Json:
    """A passive declare of a missing queue or exchange closes the channel by 404; the connection goes on."""
    bystander = s.channel()
    queue = bystander.queue(exclusive=True)
    observed = [
        refused(s.channel().queue, s.name("missing"), passive=True),
        refused(s.channel().exchange, s.name("missing"), passive=True),
    ]
    bystander.publish(queue, "goes on")
    assert bystander.got(queue)["body"] == "goes on"
    return observed


@scenario()
def precondition_failed(s: Scene) -> Json:
    """Declaring again with other flags or arguments is refused by 406."""
    channel = s.channel()
    queue = channel.queue(s.name("fixed"), auto_delete=True, arguments={"x-max-length": 5})
    exchange = channel.exchange(s.name("fixed"), "topic", auto_delete=True)
    observed = {
        "durable": refused(s.channel().queue, queue, durable=True, arguments={"x-max-length": 5}),
        "argument": refused(s.channel().queue, queue, auto_delete=True, arguments={"x-max-length": 6}),
        "no argument": refused(s.channel().queue, queue, auto_delete=True),
        "type": refused(s.channel().exchange, exchange, "fanout", auto_delete=True),
        "exchange's durable": refused(
            s.channel().exchange, exchange, "topic", durable=True, auto_delete=True
        ),
    }
    channel.delete_queue(queue)
    channel.delete_exchange(exchange)
    return observed


@scenario()
def bad_arguments(s: Scene) -> Json:
    """Arguments of a wrong type or value are refused by 406."""
    bad: dict[str, Json] = {
        "x-message-ttl": -1,
        "x-expires": 0,
        "x-max-length": "many",
        "x-overflow": "spill",
        "x-max-priority": 300,
        "x-dead-letter-exchange": 7,
        "x-queue-type": "heap",
        "x-single-active-consumer": "yes",
    }
    return {
        name: refused(s.channel().queue, s.name("bad"), arguments={name: value})
        for name, value in bad.items()
    }


@scenario("expiration_text")
def bad_expiration(s: Scene) -> Json:
    """An expiration that is no number is refused by 406."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    channel.publish(queue, "m", expiration="soon")
    return channel.closed()


@scenario()
def reserved_names(s: Scene) -> Json:
    """Names that begin with amq. are the broker's, and the default exchange is nobody's: 403."""
    return {
        "queue": refused(s.channel().queue, "amq.mine", exclusive=True),
        "exchange": refused(s.channel().exchange, "amq.mine"),
        "delete": refused(s.channel().delete_exchange, "amq.topic"),
    }


@scenario()
def missing_ends_of_bindings(s: Scene) -> Json:
    """Binding to or from what is not there is refused by 404."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    return {
        "exchange": refused(s.channel().bind, queue, s.name("missing")),
        "queue": refused(s.channel().bind, s.name("missing"), "amq.fanout"),
        "destination": refused(s.channel().bind_exchange, s.name("missing"), "amq.fanout"),
        "source": refused(s.channel().bind_exchange, "amq.fanout", s.name("missing")),
    }


@scenario()
def missing_queues(s: Scene) -> Json:
    """Consuming, getting and purging from what is not there is refused by 404."""
    return {
        "consume": refused(s.channel().consume, s.name("missing")),
        "get": refused(s.channel().get, s.name("missing")),
        "purge": refused(s.channel().purge, s.name("missing")),
    }


@scenario()
def unknown_delivery_tag(s: Scene) -> Json:
    """Settling what was not delivered, or twice, closes the channel by 406, and what it held comes again."""
    channel = s.channel()
    queue = channel.queue(s.name("tags"), exclusive=True)
    channel.publish(queue, "m", count=2)
    settled, held = channel.got(queue, no_ack=False), channel.got(queue, no_ack=False)
    channel.ack(settled)
    channel.call("ack", delivery=held["delivery"] + 10, multiple=False)
    code = channel.closed()
    message = s.channel().got(queue)
    return [code, message["redelivered"]]


@scenario("prefetch_size")
def prefetch_size(s: Scene) -> Json:
    """A prefetch in bytes is not implemented: 540 ends the connection, and no other."""
    other = s.connect()
    channel = other.channel()
    observed = refused(channel.qos, 1, size=1000)
    assert s.channel().queue(exclusive=True).startswith("amq.gen-")
    return observed


@scenario()
def other_channels_go_on(s: Scene) -> Json:
    """A channel that is closed for a fault takes no other channel with it, nor its consumers."""
    listener, faulty = s.channel(), s.channel()
    queue = listener.queue(s.name("listened"), exclusive=True)
    listener.consume(queue, no_ack=True)
    refused(faulty.queue, s.name("missing"), passive=True)
    s.channel().publish(queue, "goes on")
    return listener.bodies(1)
