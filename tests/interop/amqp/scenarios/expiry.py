"""Messages and queues that live for a time, and where dead messages go."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Channel, Scene, refused


def graveyard(s: Scene, channel: Channel) -> tuple[str, str]:
    """A dead-letter exchange and the queue behind it."""
    exchange = channel.exchange(s.name("dead"), "topic", auto_delete=True)
    queue = channel.queue(s.name("buried"), exclusive=True)
    channel.bind(queue, exchange, "#")
    return exchange, queue


def without_time(s: Scene, message: Json) -> Json:
    """What a dead message says; the time of its death is a time."""
    headers = message["properties"]["headers"]
    for death in headers["x-death"]:
        assert death.pop("time")["$type"] == "timestamp"
    # RabbitMQ 3.12 and later add the last death; the first one they all have.
    headers = {name: value for name, value in headers.items() if not name.startswith("x-last-death")}
    return s.plain({**message, "delivery": 0, "properties": {**message["properties"], "headers": headers}})


@scenario()
def dead_letter_of_a_rejected_message(s: Scene) -> Json:
    """A rejected message goes to the dead-letter exchange, with x-death."""
    channel = s.channel()
    exchange, buried = graveyard(s, channel)
    queue = channel.queue(s.name("work"), exclusive=True, arguments={"x-dead-letter-exchange": exchange})
    channel.publish(queue, "bad", message_id="m-1", headers={"own": "header"})
    channel.reject(channel.got(queue, no_ack=False), requeue=False)
    return without_time(s, channel.got(buried))


@scenario()
def dead_letter_of_an_expired_message(s: Scene) -> Json:
    """An expired message goes to the dead-letter exchange without its expiration, which x-death keeps."""
    channel = s.channel()
    exchange, buried = graveyard(s, channel)
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "expired.key"}
    queue = channel.queue(s.name("waiting"), exclusive=True, arguments=arguments)
    channel.consume(buried, no_ack=True)
    channel.publish(queue, "late", expiration="30", message_id="m-1")
    return {**without_time(s, channel.delivery()), "tag": ""}


@scenario()
def dead_letter_of_an_overflow(s: Scene) -> Json:
    """The head that a full queue drops goes to the dead-letter exchange."""
    channel = s.channel(confirm=True)
    exchange, buried = graveyard(s, channel)
    arguments = {"x-dead-letter-exchange": exchange, "x-max-length": 1}
    queue = channel.queue(s.name("short"), exclusive=True, arguments=arguments)
    for body in ("first", "second"):
        channel.publish(queue, body, message_id=body)
    assert channel.got(queue)["body"] == "second"
    return without_time(s, channel.got(buried))


@scenario()
def dead_letters_count(s: Scene) -> Json:
    """A message that dies again of the same in the same queue is counted in x-death."""
    channel = s.channel()
    retry, work = s.name("retry"), s.name("work")
    to_work = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 20}
    channel.queue(retry, exclusive=True, arguments=to_work)
    to_retry = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry}
    channel.queue(work, exclusive=True, arguments=to_retry)
    channel.consume(work)
    channel.publish(work, "try")
    for _ in range(2):
        channel.reject(channel.delivery(), requeue=False)
    message = channel.delivery()
    channel.ack(message)
    deaths = message["properties"]["headers"]["x-death"]
    return s.plain([[death[key] for key in ("queue", "reason", "count", "exchange")] for death in deaths])


@scenario()
def message_expiration(s: Scene) -> Json:
    """A message with an expiration is gone after it; others stay."""
    channel = s.channel()
    queue, witness = channel.queue(exclusive=True), channel.queue(exclusive=True, arguments={})
    arguments = {"x-message-ttl": 60, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": witness}
    clock = channel.queue(exclusive=True, arguments=arguments)
    channel.consume(witness, no_ack=True)
    channel.publish(queue, "short", expiration="30")
    channel.publish(queue, "long", expiration="60000")
    channel.publish(clock, "60 ms")
    channel.delivery()
    return channel.drain(queue)


@scenario()
def queue_ttl(s: Scene) -> Json:
    """x-message-ttl is for all of a queue's messages; the shorter of it and the expiration counts."""
    channel = s.channel()
    buried = channel.queue(exclusive=True)
    arguments = {"x-message-ttl": 40, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": buried}
    queue = channel.queue(exclusive=True, arguments=arguments)
    channel.consume(buried, no_ack=True)
    channel.publish(queue, "short", expiration="10")
    channel.publish(queue, "own", expiration="60000")
    channel.publish(queue, "none")
    return channel.bodies(3)


@scenario()
def ttl_of_zero(s: Scene) -> Json:
    """x-message-ttl 0 delivers at once or never."""
    channel = s.channel(confirm=True)
    queue = channel.queue(s.name("now"), exclusive=True, arguments={"x-message-ttl": 0})
    channel.publish(queue, "never")
    assert channel.get(queue) is None
    channel.consume(queue, no_ack=True)
    channel.publish(queue, "at once")
    return channel.bodies(1)


@scenario()
def queue_expires(s: Scene) -> Json:
    """x-expires deletes a queue that nobody uses."""
    channel = s.channel()
    queue = channel.queue(s.name("unused"), arguments={"x-expires": 50})
    buried = channel.queue(exclusive=True)
    arguments = {"x-message-ttl": 300, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": buried}
    clock = channel.queue(exclusive=True, arguments=arguments)
    channel.consume(buried, no_ack=True)
    channel.publish(clock, "300 ms")
    channel.delivery()
    return refused(channel.queue, queue, passive=True)
