"""Connections: what a broker says of itself, whom it refuses, how many channels it takes."""

from tests.interop.amqp.client import Json
from tests.interop.amqp.scenarios.registry import scenario
from tests.interop.amqp.scene import Scene, refused

CHANNELS = 100


@scenario()
def capabilities(s: Scene) -> Json:
    """The broker says what it is and what it can, as clients look it up."""
    server = s.connection.server
    assert server["product"] == "RabbitMQ"
    own = {name for name in server["capabilities"] if name.startswith("leveret.")}
    return {name: value for name, value in server["capabilities"].items() if name not in own}


@scenario()
def wrong_password(s: Scene) -> Json:
    """A wrong password is refused by 403."""
    return refused(s.connect, s.uri.replace("guest:guest", "guest:wrong"))


@scenario()
def wrong_vhost(s: Scene) -> Json:
    """A vhost that is not there is refused by 530."""
    return refused(s.connect, s.uri.rpartition("/")[0] + "/missing")


@scenario()
def many_channels(s: Scene) -> Json:
    """100 channels of one connection work side by side."""
    queue = s.channel().queue(s.name("shared"), exclusive=True)
    channels = [s.channel() for _ in range(CHANNELS)]
    for channel in channels:
        channel.publish(queue, "m")
    listener = s.channel()
    listener.consume(queue, no_ack=True)
    return len(listener.bodies(CHANNELS))


@scenario()
def close_and_open_again(s: Scene) -> Json:
    """Channels and connections close in order, and what they held comes again."""
    connection = s.connect()
    channel, queue = connection.channel(), s.name("held")
    channel.queue(queue)
    channel.publish(queue, "held")
    channel.got(queue, no_ack=False)
    channel.call("close_channel")
    channel = connection.channel()
    channel.got(queue, no_ack=False)
    connection.close()
    channel = s.connect().channel()
    message = channel.got(queue)
    channel.delete_queue(queue)
    return message["redelivered"]
