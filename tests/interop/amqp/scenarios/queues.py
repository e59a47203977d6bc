"""Queues of all kinds: who may use them, how long they live, how many they hold."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused


@scenario()
def server_named_queue(s: Scene) -> Json:
    """A queue declared without a name gets one: amq.gen-..."""
    channel = s.channel()
    names = [channel.queue(exclusive=True) for _ in range(2)]
    assert len(set(names)) == 2
    assert all(name.startswith("amq.gen-") for name in names)
    channel.publish(names[0], "named by the server")
    return channel.got(names[0])["body"]


@scenario()
def exclusive_queue(s: Scene) -> Json:
    """An exclusive queue is locked to its connection (405), and goes with it (404)."""
    owner = s.connect()
    queue = owner.channel().queue(s.name("mine"), exclusive=True)
    operations = {
        "declare": lambda: refused(s.channel().queue, queue, exclusive=True),
        "passive": lambda: refused(s.channel().queue, queue, passive=True),
        "consume": lambda: refused(s.channel().consume, queue),
        "delete": lambda: refused(s.channel().delete_queue, queue),
    }
    observed = {name: operation() for name, operation in operations.items()}
    owner.close()
    return [observed, refused(s.channel().queue, queue, passive=True)]


@scenario()
def auto_delete_queue(s: Scene) -> Json:
    """An auto-delete queue goes with its last consumer, and not before it had one."""
    channel = s.channel()
    queue = channel.queue(s.name("short"), auto_delete=True)
    channel.publish(queue, "kept")
    tags = [channel.consume(queue, no_ack=True) for _ in range(2)]
    channel.delivery()
    channel.cancel(tags[0])
    channel.queue(queue, passive=True)
    channel.cancel(tags[1])
    return refused(channel.queue, queue, passive=True)


@scenario()
def redeclare(s: Scene) -> Json:
    """Declaring a queue again as it is does nothing, and says what it holds."""
    channel = s.channel(confirm=True)
    options: Json = {"durable": True, "arguments": {"x-max-length": 10, "x-overflow": "drop-head"}}
    queue = channel.queue(s.name("again"), **options)
    channel.publish(queue, "m", count=2)
    channel.consume(queue)
    channel.bodies(2)
    observed = channel.counted(queue, **options)
    channel.delete_queue(queue)
    return s.plain(list(observed))


@scenario()
def purge_and_delete(s: Scene) -> Json:
    """Purging drops what is ready, not what is held; deleting says how many went."""
    channel = s.channel(confirm=True)
    queue = channel.queue(s.name("full"))
    channel.publish(queue, "m", count=5)
    held = channel.got(queue, no_ack=False)
    purged = channel.purge(queue)
    channel.reject(held, requeue=True)
    channel.publish(queue, "m", count=2)
    deleted = channel.delete_queue(queue)
    again = channel.delete_queue(queue)
    return [purged, deleted, again]


@scenario()
def delete_if(s: Scene) -> Json:
    """if-unused and if-empty keep a queue that is in use or holds messages: 406."""
    channel = s.channel(confirm=True)
    queue = channel.queue(s.name("kept"))
    channel.publish(queue, "m")
    not_empty = refused(s.channel().delete_queue, queue, if_empty=True)
    tag = channel.consume(queue)
    in_use = refused(s.channel().delete_queue, queue, if_unused=True)
    channel.cancel(tag)
    channel.delete_queue(queue, if_unused=True)
    return [not_empty, in_use, refused(channel.queue, queue, passive=True)]


@scenario()
def drop_head(s: Scene) -> Json:
    """A queue of x-max-length drops its oldest messages."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True, arguments={"x-max-length": 3})
    for number in range(6):
        channel.publish(queue, str(number))
    return channel.drain(queue)


@scenario()
def drop_head_by_bytes(s: Scene) -> Json:
    """A queue of x-max-length-bytes counts the bodies."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True, arguments={"x-max-length-bytes": 100})
    for number in range(6):
        channel.publish(queue, str(number) * 30)
    return channel.drain(queue)


@scenario()
def priority_queue(s: Scene) -> Json:
    """A queue of x-max-priority gives the highest first, and the oldest of those."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True, arguments={"x-max-priority": 5})
    for number, priority in enumerate((1, 5, 0, 3, 5, 9, 1)):
        channel.publish(queue, f"{number}: {priority}", priority=priority)
    channel.publish(queue, "none")
    return channel.drain(queue)


@scenario()
def durable_queue(s: Scene) -> Json:
    """A durable queue keeps what is in it when its connection ends."""
    other = s.connect()
    channel = other.channel(confirm=True)
    queue = channel.queue(s.name("durable"), durable=True)
    channel.publish(queue, "kept", delivery_mode=2)
    other.close()
    channel = s.channel()
    message = channel.got(queue)
    channel.delete_queue(queue)
    return [message["body"], message["redelivered"]]


@scenario()
def quorum_queue(s: Scene) -> Json:
    """A program that declares quorum queues runs; x-delivery-count counts what was given back."""
    channel = s.channel(confirm=True)
    queue = channel.queue(s.name("quorum"), durable=True, arguments={"x-queue-type": "quorum"})
    channel.publish(queue, "m", delivery_mode=2)
    seen = []
    for _ in range(3):
        message = channel.got(queue, no_ack=False)
        seen.append([message["redelivered"], delivery_count(message)])
        channel.reject(message, requeue=True)
    channel.publish(queue, "m", delivery_mode=2)
    channel.consume(queue)
    for _ in range(2):
        message = channel.delivery()
        seen.append([message["redelivered"], delivery_count(message)])
        channel.ack(message)
    channel.delete_queue(queue)
    return seen


def delivery_count(message: Json) -> Json:
    return message["properties"].get("headers", {}).get("x-delivery-count")


@scenario()
def delivery_limit(s: Scene) -> Json:
    """A quorum queue's message that was given back too often is dead-lettered."""
    channel = s.channel(confirm=True)
    dead = channel.queue(exclusive=True)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    }
    queue = channel.queue(s.name("quorum"), durable=True, arguments=arguments)
    channel.publish(queue, "poison", delivery_mode=2)
    for _ in range(2):
        channel.reject(channel.got(queue, no_ack=False), requeue=True)
    message = channel.got(dead)
    channel.delete_queue(queue)
    death = message["properties"]["headers"]["x-death"][0]
    return s.plain([message["body"], death["reason"], death["count"], death["queue"]])
