"""Exchanges of all types route as RabbitMQ's do."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused


@scenario()
def fanout(s: Scene) -> Json:
    """A fanout exchange copies to every queue, whatever the key."""
    channel = s.channel()
    exchange = channel.exchange(s.name("logs"), "fanout", auto_delete=True)
    queues = [channel.queue(exclusive=True) for _ in range(2)]
    for queue in queues:
        channel.bind(queue, exchange)
        channel.consume(queue, no_ack=True)
    channel.publish("any", "to all", exchange=exchange)
    deliveries = [channel.delivery() for _ in queues]
    assert [delivery["body"] for delivery in deliveries] == ["to all"] * 2
    return s.plain([[delivery["exchange"], delivery["key"]] for delivery in deliveries])


@scenario()
def direct(s: Scene) -> Json:
    """A direct exchange routes by the whole key; a queue may be bound by several."""
    channel = s.channel()
    exchange = channel.exchange(s.name("direct"), auto_delete=True)
    one, both = channel.queue(exclusive=True), channel.queue(exclusive=True)
    channel.bind(one, exchange, "error")
    channel.bind(both, exchange, "error")
    channel.bind(both, exchange, "info")
    channel.bind(both, exchange, "info")
    for key in ("error", "info", "debug", "err", "error"):
        channel.publish(key, key, exchange=exchange)
    channel.unbind(both, exchange, "error")
    channel.publish("error", "after", exchange=exchange)
    return [channel.drain(one), channel.drain(both)]


@scenario()
def topic(s: Scene) -> Json:
    """A topic exchange matches * and #."""
    channel = s.channel()
    exchange = channel.exchange(s.name("topic"), "topic", auto_delete=True)
    keys = ("#", "*.orange.*", "lazy.#", "*.*.rabbit", "#.end", "a.#.z", "", "*")
    queues = {key: channel.queue(exclusive=True) for key in keys}
    for key, queue in queues.items():
        channel.bind(queue, exchange, key)
    for key in (
        "quick.orange.rabbit",
        "lazy.brown.fox",
        "lazy",
        "a.z",
        "a.b.c.z",
        "the.end",
        "end",
        "",
        ".",
        "one",
    ):
        channel.publish(key, key, exchange=exchange)
    return {key: channel.drain(queue) for key, queue in queues.items()}


@scenario()
def headers(s: Scene) -> Json:
    """A headers exchange matches all or any of the binding's arguments, x- ones left out."""
    channel = s.channel()
    exchange = channel.exchange(s.name("headers"), "headers", auto_delete=True)
    bindings: dict[str, Json] = {
        "all": {"x-match": "all", "format": "pdf", "copies": 2},
        "any": {"x-match": "any", "format": "pdf", "copies": 2},
        "default": {"format": "pdf", "urgent": True},
        "x": {"x-match": "all", "x-ignored": "yes", "format": "zip"},
        "none": {},
    }
    queues = {name: channel.queue(exclusive=True) for name in bindings}
    for name, queue in queues.items():
        channel.bind(queue, exchange, "", bindings[name])
    sent: dict[str, Json] = {
        "both": {"format": "pdf", "copies": 2},
        "one": {"format": "pdf", "copies": 3},
        "neither": {"format": "doc"},
        "urgent": {"format": "pdf", "urgent": True, "more": "x"},
        "zip": {"format": "zip"},
    }
    for body, table in sent.items():
        channel.publish("", body, exchange=exchange, headers=table)
    channel.publish("", "no headers", exchange=exchange)
    return {name: channel.drain(queue) for name, queue in queues.items()}


@scenario()
def headers_with_x(s: Scene) -> Json:
    """x-match all-with-x and any-with-x look at x- headers too."""
    channel = s.channel()
    exchange = channel.exchange(s.name("headers"), "headers", auto_delete=True)
    queues = {kind: channel.queue(exclusive=True) for kind in ("all-with-x", "any-with-x")}
    for kind, queue in queues.items():
        channel.bind(queue, exchange, "", {"x-match": kind, "x-shard": 1, "format": "pdf"})
    for body, table in {
        "both": {"x-shard": 1, "format": "pdf"},
        "x": {"x-shard": 1},
        "f": {"format": "pdf"},
    }.items():
        channel.publish("", body, exchange=exchange, headers=table)
    return {kind: channel.drain(queue) for kind, queue in queues.items()}


@scenario()
def alternate_exchange(s: Scene) -> Json:
    """What an exchange cannot route goes to its alternate exchange, and is not returned."""
    channel = s.channel(confirm=True)
    unrouted = channel.exchange(s.name("unrouted"), "fanout", auto_delete=True)
    exchange = channel.exchange(s.name("main"), arguments={"alternate-exchange": unrouted}, auto_delete=True)
    rest, known = channel.queue(exclusive=True), channel.queue(exclusive=True)
    channel.bind(rest, unrouted)
    channel.bind(known, exchange, "known")
    for key in ("known", "unknown"):
        assert channel.publish(key, key, exchange=exchange, mandatory=True) is True
    message = channel.got(rest)
    return s.plain([channel.drain(known), message["exchange"], message["key"], message["body"]])


@scenario()
def bindings_between_exchanges(s: Scene) -> Json:
    """Exchanges bind to exchanges; a message comes once to a queue, however many ways lead to it."""
    channel = s.channel()
    source = channel.exchange(s.name("source"), "topic", auto_delete=True)
    middle = channel.exchange(s.name("middle"), "fanout", durable=True)
    queue = channel.queue(exclusive=True)
    channel.bind(queue, middle)
    channel.bind(queue, source, "a.#")
    channel.bind_exchange(middle, source, "*.b")
    for key in ("a.b", "x.b", "x.c"):
        channel.publish(key, key, exchange=source)
    before = channel.drain(queue)
    channel.unbind_exchange(middle, source, "*.b")
    channel.publish("x.b", "after", exchange=source)
    after = channel.drain(queue)
    channel.delete_exchange(middle)
    assert after == []
    return before


@scenario()
def auto_delete_exchange(s: Scene) -> Json:
    """An auto-delete exchange goes with its last binding."""
    channel = s.channel()
    exchange = channel.exchange(s.name("short"), "fanout", auto_delete=True)
    queues = [channel.queue(exclusive=True) for _ in range(2)]
    for queue in queues:
        channel.bind(queue, exchange)
    channel.unbind(queues[0], exchange)
    channel.exchange(exchange, "fanout", passive=True)
    channel.delete_queue(queues[1])
    return refused(channel.exchange, exchange, "fanout", passive=True)


@scenario()
def predeclared_exchanges(s: Scene) -> Json:
    """The amq.* exchanges are there, of their types."""
    channel = s.channel()
    kinds = {"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers"}
    for exchange, kind in {**kinds, "amq.match": "headers"}.items():
        channel.exchange(exchange, kind, durable=True)
        channel.exchange(exchange, kind, passive=True)
    queue = channel.queue(exclusive=True)
    channel.bind(queue, "amq.topic", "interop.#")
    channel.publish("interop.a", "by amq.topic", exchange="amq.topic")
    return channel.got(queue)["exchange"]


@scenario()
def delete_exchange(s: Scene) -> Json:
    """An exchange in use is not deleted by if-unused (406); a missing one is deleted without a word."""
    channel = s.channel()
    exchange = channel.exchange(s.name("used"), "fanout")
    queue = channel.queue(exclusive=True)
    channel.bind(queue, exchange)
    in_use = refused(channel.delete_exchange, exchange, if_unused=True)
    channel = s.channel()
    channel.delete_exchange(exchange)
    channel.delete_exchange(exchange)
    return in_use
