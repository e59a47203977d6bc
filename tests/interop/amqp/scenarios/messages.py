"""Messages come as they were sent."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused

LARGE_BYTES = 5_000_000

PROPERTIES: Json = {
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "c-1",
    "reply_to": "replies",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": {"$type": "timestamp", "value": 1_700_000_000},
    "type": "report",
    "user_id": "guest",
    "app_id": "interop",
}

TABLE = {
    "string": "text",
    "empty": "",
    "unicode": "Grüße, 世界",
    "true": True,
    "false": False,
    "small": 7,
    "negative": -129,
    "large": 2**31 - 1,
    "long": 2**40 + 1,
    "nothing": None,
    "list": ["a", 1, False, ["nested"], {"in": "list"}],
    "table": {"deep": {"deeper": {"deepest": 1}}, "list": []},
    "empty table": {},
}
TYPED = {
    "bytes": "AAH/gA==",
    "timestamp": 1_700_000_000,
    "decimal": "12.34",
    "int8": -7,
    "uint8": 200,
    "int16": -300,
    "uint16": 60_000,
    "int32": -70_000,
    "uint32": 4_000_000_000,
    "int64": 2**53 + 2,
    "float": 0.25,
    "double": 0.1,
}


@scenario()
def hello(s: Scene) -> Json:
    """A message goes through the default exchange to a consumer that acknowledges it."""
    channel, hello = s.channel(), s.name("hello")
    channel.queue(hello)
    channel.publish(hello, "Hello World!")
    tag = channel.consume(hello)
    delivery = channel.delivery()
    channel.ack(delivery)
    channel.cancel(tag)
    assert delivery["body"] == "Hello World!"
    assert delivery["tag"] == tag
    assert channel.delete_queue(hello) in (0, None)
    return s.plain([delivery["exchange"], delivery["key"], delivery["delivery"], delivery["redelivered"]])


@scenario()
def properties(s: Scene) -> Json:
    """Every property arrives as it was sent."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    channel.publish(queue, "all", **PROPERTIES)
    channel.publish(queue, "none")
    all_of_them, none = channel.got(queue), channel.got(queue)
    sent = all_of_them["properties"]
    sent.pop("headers", None)  # some clients always send a table
    assert sent == PROPERTIES
    assert none["body"] == "none"
    # aio-pika gives each message an id of its own.
    return sorted(none["properties"])


@scenario()
def header_types(s: Scene) -> Json:
    """Headers of every type that the client can write arrive with type and value."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    typed = {name: {"$type": name, "value": value} for name, value in TYPED.items() if name in s.types}
    table = {**TABLE, **typed}
    channel.publish(queue, "headers", headers=table)
    back = channel.got(queue)["properties"]["headers"]
    assert {name: back.get(name) for name in TABLE} == TABLE
    # A client that reads integers without their width shows the number alone.
    for name, value in typed.items():
        assert back[name] in (value, value["value"]), f"{name} came back as {back[name]}"
    return back


@scenario()
def arrays_and_tables_nest(s: Scene) -> Json:
    """Tables and arrays nest ten deep in a header."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    value: Json = "innermost"
    for _ in range(5):
        value = {"in": [value]}
    channel.publish(queue, headers={"nested": value})
    assert channel.got(queue)["properties"]["headers"] == {"nested": value}
    return None


@scenario()
def large_message(s: Scene) -> Json:
    """A body of 5 MB is split over frames, both ways."""
    channel = s.channel(confirm=True)
    queue = channel.queue(exclusive=True)
    channel.consume(queue)
    assert channel.publish(queue, size=LARGE_BYTES) is True
    delivery = channel.delivery()
    assert delivery["body"]["size"] == LARGE_BYTES
    channel.ack(delivery)
    return delivery["body"]


@scenario()
def empty_message(s: Scene) -> Json:
    """A message without a body arrives, by delivery and by get."""
    channel = s.channel()
    queue = channel.queue(exclusive=True)
    channel.publish(queue)
    assert channel.got(queue)["body"] == ""
    channel.consume(queue, no_ack=True)
    channel.publish(queue)
    return channel.delivery()["body"]


@scenario("any_name")
def unicode_names(s: Scene) -> Json:
    """Queues, exchanges, keys and consumer tags may be of any script."""
    channel = s.channel()
    exchange = channel.exchange(s.name("δρομολόγηση"), auto_delete=True)
    queue = channel.queue(s.name("очередь-🐇"), exclusive=True)
    channel.bind(queue, exchange, "ключ ☂")
    tag = channel.consume(queue, "消費者", no_ack=True)
    channel.publish("ключ ☂", "Grüße 🐇", exchange=exchange)
    delivery = channel.delivery(tag=tag)
    assert delivery["body"] == "Grüße 🐇"
    return s.plain([delivery[name] for name in ("exchange", "key", "tag")])


@scenario()
def rpc(s: Scene) -> Json:
    """A request names its reply queue, the answer carries its correlation id."""
    requester, responder = s.channel(), s.connect().channel()
    work = responder.queue(s.name("rpc"), auto_delete=True)
    responder.qos(1)
    responder.consume(work)
    replies = requester.queue(exclusive=True)
    requester.consume(replies, no_ack=True)
    for number in range(3):
        requester.publish(work, str(number), reply_to=replies, correlation_id=f"id-{number}")
    for _ in range(3):
        request = responder.delivery()
        properties = request["properties"]
        correlation_id = properties["correlation_id"]
        responder.publish(
            properties["reply_to"], str(int(request["body"]) ** 2), correlation_id=correlation_id
        )
        responder.ack(request)
    answers = [requester.delivery() for _ in range(3)]
    assert [answer["body"] for answer in answers] == ["0", "1", "4"]
    return [answer["properties"]["correlation_id"] for answer in answers]


@scenario()
def direct_reply_to(s: Scene) -> Json:
    """Answers come by amq.rabbitmq.reply-to, without a reply queue."""
    requester, responder = s.channel(), s.connect().channel()
    work = responder.queue(s.name("direct-rpc"), auto_delete=True)
    responder.consume(work, no_ack=True)
    requester.consume("amq.rabbitmq.reply-to", no_ack=True)
    requester.publish(work, "ping", reply_to="amq.rabbitmq.reply-to", correlation_id="1")
    request = responder.delivery()
    address = request["properties"]["reply_to"]
    assert address.startswith("amq.rabbitmq.reply-to.")
    responder.publish(address, "pong", correlation_id="1", message_id="m-1")
    answer = requester.delivery()
    assert answer["body"] == "pong"
    refusal = refused(s.channel().consume, "amq.rabbitmq.reply-to", no_ack=False)
    return [answer["exchange"], answer["properties"], refusal]


@scenario("any_name")
def direct_reply_to_declare(s: Scene) -> Json:
    """A passive declare tells whether an address of direct reply-to has its requester yet."""
    requester, responder = s.connect().channel(), s.channel()
    work = responder.queue(s.name("direct-rpc"), auto_delete=True)
    responder.consume(work, no_ack=True)
    requester.consume("amq.rabbitmq.reply-to", no_ack=True)
    requester.publish(work, "ping", reply_to="amq.rabbitmq.reply-to")
    address = responder.delivery()["properties"]["reply_to"]
    return responder.counted(address, passive=True)[1:]
