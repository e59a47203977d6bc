"""Consumers: prefetch, acknowledgements, priorities, cancellation."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused


@scenario()
def work_queue(s: Scene) -> Json:
    """Tasks go to the worker that is free, one at a time with prefetch 1."""
    channel = s.channel()
    queue = channel.queue(s.name("tasks"), exclusive=True)
    workers = [s.channel(), s.channel()]
    for worker in workers:
        worker.qos(1)
        worker.consume(queue)
    for number in range(6):
        channel.publish(queue, str(number))
    slow, fast = [(worker, worker.delivery()) for worker in workers]
    taken = sorted([slow[1]["body"], fast[1]["body"]])
    worker, task = fast
    for _ in range(4):
        worker.ack(task)
        task = worker.delivery()
        taken.append(task["body"])
    worker.ack(task)
    slow[0].assert_nothing()
    slow[0].ack(slow[1])
    assert taken == ["0", "1", "2", "3", "4", "5"]
    return taken


@scenario()
def killed_worker(s: Scene) -> Json:
    """The task of a worker that was killed goes to another one, marked redelivered."""
    channel, queue = s.channel(), s.name("tasks")
    channel.queue(queue, durable=True)
    process, worker = s.second()
    worker.qos(1)
    worker.consume(queue)
    channel.publish(queue, "long task", delivery_mode=2)
    first = worker.delivery()
    channel.consume(queue)
    process.kill()
    second = channel.delivery()
    channel.ack(second)
    channel.delete_queue(queue)
    assert [first["body"], second["body"]] == ["long task"] * 2
    return [first["redelivered"], second["redelivered"]]


@scenario()
def prefetch_of_each_consumer(s: Scene) -> Json:
    """Prefetch counts for each consumer by itself; acknowledging makes room."""
    channel = s.channel()
    queues = [channel.queue(exclusive=True) for _ in range(2)]
    channel.qos(2)
    tags = [channel.consume(queue) for queue in queues]
    for queue in queues:
        channel.publish(queue, "m", count=5)
    deliveries = [channel.delivery(tag=tag) for tag in tags for _ in range(2)]
    channel.assert_nothing()
    channel.ack(deliveries[0])
    assert channel.delivery()["tag"] == tags[0]
    channel.assert_nothing()
    return len(deliveries)


@scenario()
def prefetch_of_the_channel(s: Scene) -> Json:
    """A global prefetch is shared by the consumers of a channel."""
    channel = s.channel()
    queues = [channel.queue(exclusive=True) for _ in range(2)]
    channel.qos(3, shared=True)
    for queue in queues:
        channel.consume(queue)
        channel.publish(queue, "m", count=5)
    deliveries = [channel.delivery() for _ in range(3)]
    channel.assert_nothing()
    channel.ack(deliveries[-1], multiple=True)
    for _ in range(3):
        channel.delivery()
    channel.assert_nothing()
    return len(deliveries)


@scenario()
def acknowledge_many(s: Scene) -> Json:
    """multiple settles all up to the delivery tag; what is left comes again, in its order."""
    channel = s.channel()
    queue = channel.queue(s.name("many"), auto_delete=True)
    keeper = s.channel()
    keeper.qos(1)
    for number in range(6):
        channel.publish(queue, str(number))
    channel.consume(queue)
    deliveries = [channel.delivery() for _ in range(6)]
    channel.ack(deliveries[2], multiple=True)
    channel.ack(deliveries[4])
    keeper.consume(queue)
    channel.call("close_channel")
    left = []
    for _ in range(2):
        delivery = keeper.delivery()
        keeper.ack(delivery)
        left.append([delivery["body"], delivery["redelivered"]])
    return left


@scenario("nack")
def requeue(s: Scene) -> Json:
    """nack and reject with requeue put a message back to its place, marked redelivered."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    for number in range(4):
        channel.publish(queue, str(number))
    got = [channel.got(queue, no_ack=False) for _ in range(3)]
    channel.nack(got[1], multiple=True)
    channel.reject(got[2], requeue=True)
    again = [channel.got(queue) for _ in range(4)]
    return [[message["body"], message["redelivered"]] for message in again]


@scenario("nack")
def drop(s: Scene) -> Json:
    """nack and reject without requeue drop the message."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    for number in range(4):
        channel.publish(queue, str(number))
    got = [channel.got(queue, no_ack=False) for _ in range(3)]
    channel.reject(got[0], requeue=False)
    channel.nack(got[2], multiple=True, requeue=False)
    return channel.drain(queue)


@scenario()
def recover(s: Scene) -> Json:
    """basic.recover brings all that the channel has not settled again."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    for number in range(2):
        channel.publish(queue, str(number))
    channel.consume(queue)
    first = channel.bodies(2)
    channel.call("recover")
    again = [channel.delivery() for _ in range(2)]
    assert first == [message["body"] for message in again]
    return [message["redelivered"] for message in again]


@scenario()
def no_ack(s: Scene) -> Json:
    """A consumer without acknowledgements leaves nothing behind."""
    channel = s.channel()
    queue = channel.queue(s.name("no-ack"), exclusive=True)
    channel.publish(queue, "m", count=50)
    channel.consume(queue, no_ack=True)
    bodies = channel.bodies(50)
    channel.call("close_channel")
    assert bodies == ["m"] * 50
    return s.channel().counted(queue, passive=True)[1:]


@scenario()
def get(s: Scene) -> Json:
    """basic.get says how many are left, and nothing of an empty queue."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True)
    assert channel.get(queue) is None
    channel.publish(queue, "m", count=3)
    messages = [channel.get(queue) for _ in range(3)]
    assert channel.get(queue) is None
    return [[message["left"], message["redelivered"]] for message in messages]


@scenario()
def cancel(s: Scene) -> Json:
    """A cancelled consumer gets no more; what it holds it may still acknowledge."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    tag = channel.consume(queue, s.name("mine"))
    channel.publish(queue, "before")
    held = channel.delivery()
    channel.cancel(tag)
    channel.publish(queue, "after")
    channel.assert_nothing()
    channel.ack(held)
    assert channel.got(queue)["body"] == "after"
    channel.cancel(channel.consume(queue, s.name("mine")))
    return s.plain(tag)


@scenario()
def consumer_cancel_notification(s: Scene) -> Json:
    """Deleting a queue tells its consumers; their channel goes on."""
    channel, other = s.channel(), s.channel()
    queue = other.queue(s.name("going"))
    tag = channel.consume(queue, "listener")
    assert other.counted(queue, passive=True)[2] == 1
    other.delete_queue(queue)
    cancelled = channel.event("cancelled")
    assert cancelled["tag"] == tag
    again = channel.queue(exclusive=True)
    channel.consume(again, "listener", no_ack=True)
    channel.publish(again, "still here")
    return channel.delivery()["body"]


@scenario()
def exclusive_consumer(s: Scene) -> Json:
    """A queue with an exclusive consumer takes no other: 403."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    tag = channel.consume(queue, exclusive=True)
    other = refused(s.channel().consume, queue)
    channel.cancel(tag)
    channel.consume(queue)
    return [other, refused(s.channel().consume, queue, exclusive=True)]


@scenario()
def consumer_priority(s: Scene) -> Json:
    """The consumer of the higher x-priority is served first, until its prefetch is full."""
    channel, low, high = s.channel(), s.channel(), s.channel()
    queue = channel.queue(s.name("priorities"), exclusive=True)
    for consumer, priority in ((low, -1), (high, 10)):
        consumer.qos(2)
        consumer.consume(queue, x_priority=priority)
    for number in range(3):
        channel.publish(queue, str(number))
    served = [high.bodies(2), low.bodies(1)]
    low.assert_nothing()
    return served


@scenario()
def single_active_consumer(s: Scene) -> Json:
    """Of several consumers one is served; when it goes, the next takes over."""
    channel, first, second = s.channel(), s.channel(), s.channel()
    queue = channel.queue(s.name("single"), arguments={"x-single-active-consumer": True}, exclusive=True)
    tag = first.consume(queue, "first", no_ack=True)
    second.consume(queue, "second", no_ack=True)
    channel.publish(queue, "m", count=4)
    assert first.bodies(4) == ["m"] * 4
    second.assert_nothing()
    first.cancel(tag)
    channel.publish(queue, "after")
    return second.bodies(1)


@scenario()
def rounds(s: Scene) -> Json:
    """Consumers of one queue are served in turn."""
    channel = s.channel()
    queue = channel.queue(s.name("turns"), exclusive=True)
    consumers = [s.channel() for _ in range(3)]
    for consumer in consumers:
        consumer.consume(queue, no_ack=True)
    for number in range(9):
        channel.publish(queue, str(number))
    served = [consumer.bodies(3) for consumer in consumers]
    assert sorted(body for bodies in served for body in bodies) == [str(number) for number in range(9)]
    return [len(bodies) for bodies in served]
