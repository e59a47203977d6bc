"""RabbitMQ's six tutorials with pika, unchanged against RabbitMQ and against a node of ours."""

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

WAIT_S = 10.0


@pytest.fixture(params=["leveret", "rabbitmq"])
def uri(request: pytest.FixtureRequest) -> str:
    """Where the broker is that the tutorial runs against."""
    server: Any = request.getfixturevalue(request.param)
    return str(server.uri())


@pytest.fixture
def connect(uri: str) -> Iterator[Callable[[], BlockingConnection]]:
    """``connect()`` opens one more connection, as each program of a tutorial has its own."""
    made: list[BlockingConnection] = []

    def connect() -> BlockingConnection:
        made.append(pika.BlockingConnection(pika.URLParameters(uri)))
        return made[-1]

    yield connect
    for connection in made:
        if connection.is_open:
            connection.close()


Connect = Callable[[], BlockingConnection]


def work_until(done: Callable[[], bool], *connections: BlockingConnection) -> None:
    """Let the connections work until it is done, or the time is over; what comes ends the wait of one."""
    deadline = time.monotonic() + WAIT_S
    while not done() and time.monotonic() < deadline:
        for connection in connections:
            connection.process_data_events(time_limit=0.05)


class Inbox:
    """What a consumer's callback got."""

    def __init__(self, connection: BlockingConnection) -> None:
        self.connection = connection
        self.got: list[tuple[str, bytes]] = []

    def callback(self, channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        self.got.append((method.routing_key, body))

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        """Wait until so much has come, and a little for what should not come."""
        work_until(lambda: len(self.got) >= count, self.connection)
        self.connection.process_data_events(time_limit=0.1)
        return self.got


def unique(name: str) -> str:
    """RabbitMQ is shared by all tests of a run."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_one_hello_world(connect: Connect) -> None:
    queue = unique("hello")
    sender = connect().channel()
    sender.queue_declare(queue=queue)
    sender.basic_publish(exchange="", routing_key=queue, body="Hello World!")
    connection = connect()
    receiver = connection.channel()
    receiver.queue_declare(queue=queue)
    inbox = Inbox(connection)
    receiver.basic_consume(queue=queue, on_message_callback=inbox.callback, auto_ack=True)
    assert inbox.wait(1) == [(queue, b"Hello World!")]


class Worker:
    """The worker of tutorial two: one task at a time, acknowledged when it is done."""

    def __init__(self, connection: BlockingConnection, queue: str) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.channel.queue_declare(queue=queue, durable=True)
        self.channel.basic_qos(prefetch_count=1)
        self.channel.basic_consume(queue=queue, on_message_callback=self.callback)
        self.open_task: int | None = None
        self.tasks: list[bytes] = []
        self.redelivered: list[bool] = []

    def callback(self, channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        assert self.open_task is None, "a second task before the first was acknowledged"
        self.open_task = method.delivery_tag
        self.tasks.append(body)
        self.redelivered.append(method.redelivered)

    def take(self) -> bytes:
        work_until(lambda: self.open_task is not None, self.connection)
        assert self.open_task is not None, "no task came"
        return self.tasks[-1]

    def finish(self) -> None:
        assert self.open_task is not None
        self.channel.basic_ack(delivery_tag=self.open_task)
        self.open_task = None


def test_two_work_queues(connect: Connect) -> None:
    queue = unique("task_queue")
    channel = connect().channel()
    channel.queue_declare(queue=queue, durable=True)
    for i in range(4):
        channel.basic_publish(
            exchange="",
            routing_key=queue,
            body=f"task {i}",
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
    first, second = Worker(connect(), queue), Worker(connect(), queue)
    taken = {first.take(), second.take()}
    assert taken == {b"task 0", b"task 1"}
    second.finish()
    assert second.take() == b"task 2"
    second.finish()
    assert second.take() == b"task 3"
    second.finish()
    # The first worker dies with its task: it goes to the other one, marked as redelivered.
    lost = first.tasks[-1]
    first.connection.close()
    assert second.take() == lost
    assert second.redelivered[-1] is True
    second.finish()
    second.connection.process_data_events(time_limit=0.1)
    answer = channel.queue_declare(queue=queue, durable=True, passive=True)
    assert answer.method.message_count == 0
    channel.queue_delete(queue)


def test_three_publish_subscribe(connect: Connect) -> None:
    exchange = unique("logs")
    inboxes = []
    for _ in range(2):
        connection = connect()
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type="fanout")
        queue = channel.queue_declare(queue="", exclusive=True).method.queue
        channel.queue_bind(exchange=exchange, queue=queue)
        inboxes.append(Inbox(connection))
        channel.basic_consume(queue=queue, on_message_callback=inboxes[-1].callback, auto_ack=True)
    emitter = connect().channel()
    emitter.exchange_declare(exchange=exchange, exchange_type="fanout")
    emitter.basic_publish(exchange=exchange, routing_key="", body="info: Hello World!")
    for inbox in inboxes:
        assert inbox.wait(1) == [("", b"info: Hello World!")]
    emitter.exchange_delete(exchange)


def test_four_routing(connect: Connect) -> None:
    exchange = unique("direct_logs")
    inboxes = []
    for severities in (["error"], ["info", "warning", "error"]):
        connection = connect()
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type="direct")
        queue = channel.queue_declare(queue="", exclusive=True).method.queue
        for severity in severities:
            channel.queue_bind(exchange=exchange, queue=queue, routing_key=severity)
        inboxes.append(Inbox(connection))
        channel.basic_consume(queue=queue, on_message_callback=inboxes[-1].callback, auto_ack=True)
    emitter = connect().channel()
    for severity in ("debug", "info", "error"):
        emitter.basic_publish(exchange=exchange, routing_key=severity, body=severity.upper())
    assert inboxes[0].wait(1) == [("error", b"ERROR")]
    assert inboxes[1].wait(2) == [("info", b"INFO"), ("error", b"ERROR")]
    emitter.exchange_delete(exchange)


@pytest.mark.parametrize(
    ("binding_keys", "received"),
    [
        (["#"], ["kern.critical", "kern.info.disk", "cron.critical", "critical"]),
        (["kern.*"], ["kern.critical"]),
        (["*.critical"], ["kern.critical", "cron.critical"]),
        (["kern.*", "*.critical"], ["kern.critical", "cron.critical"]),
        (["kern.#"], ["kern.critical", "kern.info.disk"]),
    ],
)
def test_five_topics(connect: Connect, binding_keys: list[str], received: list[str]) -> None:
    exchange = unique("topic_logs")
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange=exchange, exchange_type="topic")
    queue = channel.queue_declare("", exclusive=True).method.queue
    for binding_key in binding_keys:
        channel.queue_bind(exchange=exchange, queue=queue, routing_key=binding_key)
    inbox = Inbox(connection)
    channel.basic_consume(queue=queue, on_message_callback=inbox.callback, auto_ack=True)
    emitter = connect().channel()
    for key in ("kern.critical", "kern.info.disk", "cron.critical", "critical"):
        emitter.basic_publish(exchange=exchange, routing_key=key, body=key)
    assert inbox.wait(len(received)) == [(key, key.encode()) for key in received]
    emitter.exchange_delete(exchange)


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def serve_rpc(channel: BlockingChannel, queue: str) -> None:
    """The server of tutorial six."""

    def on_request(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        channel.basic_publish(
            exchange="",
            routing_key=properties.reply_to,
            properties=pika.BasicProperties(correlation_id=properties.correlation_id),
            body=str(fib(int(body))),
        )
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel.queue_declare(queue=queue)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue=queue, on_message_callback=on_request)


@pytest.mark.parametrize("reply_to", ["a callback queue", "amq.rabbitmq.reply-to"])
def test_six_remote_procedure_call(connect: Connect, reply_to: str) -> None:
    queue = unique("rpc_queue")
    server_connection, client_connection = connect(), connect()
    serve_rpc(server_connection.channel(), queue)
    channel = client_connection.channel()
    if reply_to == "a callback queue":
        reply_to = channel.queue_declare(queue="", exclusive=True).method.queue
    answers: dict[str, bytes] = {}

    def on_response(channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        answers[properties.correlation_id] = body

    channel.basic_consume(queue=reply_to, on_message_callback=on_response, auto_ack=True)
    for n, result in ((2, b"1"), (10, b"55"), (12, b"144")):
        correlation_id = str(uuid.uuid4())
        channel.basic_publish(
            exchange="",
            routing_key=queue,
            properties=pika.BasicProperties(reply_to=reply_to, correlation_id=correlation_id),
            body=str(n),
        )
        work_until(partial(answers.__contains__, correlation_id), server_connection, client_connection)
        assert answers[correlation_id] == result
    channel.queue_delete(queue)


def test_seven_publisher_confirms(connect: Connect) -> None:
    queue = unique("confirmed")
    channel = connect().channel()
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    for i in range(20):
        channel.basic_publish("", queue, str(i), pika.BasicProperties(delivery_mode=2), mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", unique("nowhere"), "x", mandatory=True)
    assert channel.queue_declare(queue, durable=True, passive=True).method.message_count == 20
    channel.queue_delete(queue)
