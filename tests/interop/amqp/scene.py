"""What a scenario works with: connections and channels of one client at one broker, in the words of AMQP."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop import harness
from tests.interop.amqp.client import Driver, Json, Refused
from tests.interop.harness import Stage

GOT_WAIT_S = 5.0
NOTHING_WAIT_S = 0.1
"""How long one waits to say that nothing comes."""


class Channel:
    """One channel. Unless asked for, nothing is durable, exclusive, passive or acknowledged by itself."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self.name = name

    def call(self, op: str, **fields: Json) -> Json:
        return self._driver.call(op, channel=self.name, **fields)

    def exchange(self, name: str, kind: str = "direct", **options: Json) -> str:
        flags = {"passive": False, "durable": False, "auto_delete": False, "internal": False, "arguments": {}}
        self.call("exchange_declare", exchange=name, type=kind, **{**flags, **options})
        return name

    def delete_exchange(self, name: str, if_unused: bool = False) -> None:
        self.call("exchange_delete", exchange=name, if_unused=if_unused)

    def queue(self, name: str = "", **options: Json) -> str:
        """Declare a queue; its name."""
        return str(self.counted(name, **options)[0])

    def counted(self, name: str, **options: Json) -> tuple[str, int, int]:
        """Declare a queue; its name, messages and consumers."""
        flags = {
            "passive": False,
            "durable": False,
            "exclusive": False,
            "auto_delete": False,
            "arguments": {},
        }
        name, messages, consumers = self.call("queue_declare", queue=name, **{**flags, **options})
        return name, messages, consumers

    def delete_queue(self, name: str, if_unused: bool = False, if_empty: bool = False) -> Json:
        return self.call("queue_delete", queue=name, if_unused=if_unused, if_empty=if_empty)

    def purge(self, name: str) -> Json:
        return self.call("queue_purge", queue=name)

    def bind(self, queue: str, exchange: str, key: str = "", arguments: Json = None) -> None:
        self.call("queue_bind", queue=queue, exchange=exchange, key=key, arguments=arguments or {})

    def unbind(self, queue: str, exchange: str, key: str = "", arguments: Json = None) -> None:
        self.call("queue_unbind", queue=queue, exchange=exchange, key=key, arguments=arguments or {})

    def bind_exchange(self, destination: str, source: str, key: str = "") -> None:
        self.call("exchange_bind", destination=destination, source=source, key=key, arguments={})

    def unbind_exchange(self, destination: str, source: str, key: str = "") -> None:
        self.call("exchange_unbind", destination=destination, source=source, key=key, arguments={})

    def publish(
        self,
        key: str,
        body: str = "",
        *,
        exchange: str = "",
        mandatory: bool = False,
        count: int = 1,
        size: int | None = None,
        **properties: Json,
    ) -> bool | None:
        """``count`` times; on a confirming channel, whether all were confirmed. ``size``: a body of so many bytes."""
        fields = {"exchange": exchange, "key": key, "body": body, "size": size, "count": count}
        answer = self.call("publish", **fields, mandatory=mandatory, properties=properties)
        assert answer is None or isinstance(answer, bool)
        return answer

    def qos(self, count: int, *, size: int = 0, shared: bool = False) -> None:
        self.call("qos", count=count, size=size, **{"global": shared})

    def consume(
        self, queue: str, tag: str = "", *, no_ack: bool = False, exclusive: bool = False, **arguments: Json
    ) -> str:
        """Start a consumer; its tag. Arguments are written with underscores: ``x_priority=1``."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        fields = {"queue": queue, "tag": tag, "no_ack": no_ack, "exclusive": exclusive, "arguments": given}
        return str(self.call("consume", **fields))

    def cancel(self, tag: str) -> None:
        self.call("cancel", tag=tag)

    def get(self, queue: str, no_ack: bool = True) -> Json:
        return self.call("get", queue=queue, no_ack=no_ack)

    def drain(self, queue: str) -> list[str]:
        """The bodies of all that is in the queue."""
        bodies = []
        while message := self.get(queue):
            bodies.append(message["body"])
        return bodies

    def got(self, queue: str, no_ack: bool = True) -> Json:
        """Get a message that may be on its way yet."""
        deadline = time.monotonic() + GOT_WAIT_S
        while time.monotonic() < deadline:
            if message := self.get(queue, no_ack):
                return message
        raise AssertionError(f"nothing has come to {queue}")

    def ack(self, delivery: Json, *, multiple: bool = False) -> None:
        self.call("ack", delivery=delivery["delivery"], multiple=multiple)

    def nack(self, delivery: Json, *, multiple: bool = False, requeue: bool = True) -> None:
        self.call("nack", delivery=delivery["delivery"], multiple=multiple, requeue=requeue)

    def reject(self, delivery: Json, *, requeue: bool) -> None:
        self.call("reject", delivery=delivery["delivery"], requeue=requeue)

    def event(self, kind: str) -> Json:
        """The next event of this kind on this channel; AssertionError when none comes."""
        event = self._driver.event(kind, channel=self.name)
        assert event is not None, f"no {kind} on {self.name}"
        return event

    def delivery(self, **match: Json) -> Json:
        event = self._driver.event("delivered", channel=self.name, **match)
        assert event is not None, f"no delivery on {self.name} {match}"
        return event

    def bodies(self, count: int, **match: Json) -> list[str]:
        """The bodies of the next deliveries."""
        return [self.delivery(**match)["body"] for _ in range(count)]

    def assert_nothing(self) -> None:
        """No delivery is on its way."""
        event = self._driver.event("delivered", NOTHING_WAIT_S, channel=self.name)
        assert event is None, f"{event} came unasked"

    def closed(self) -> int:
        """Wait until the broker has closed the channel by itself; the code."""
        return int(self.event("channel_closed")["code"])


class Connection:
    def __init__(
        self, driver: Driver, uri: str, names: Iterator[str], heartbeat_s: int | None = None
    ) -> None:
        self._driver = driver
        self._names = names
        self.name = f"connection-{next(names)}"
        self.server = driver.call("connect", connection=self.name, uri=uri, heartbeat=heartbeat_s)

    def channel(self, confirm: bool = False) -> Channel:
        channel = Channel(self._driver, f"channel-{next(self._names)}")
        channel.call("channel", connection=self.name, confirm=confirm)
        return channel

    def close(self) -> None:
        self._driver.call("close", connection=self.name)

    def closed(self) -> int:
        """Wait until the broker has closed the connection by itself; the code."""
        event = self._driver.event("connection_closed", connection=self.name)
        assert event is not None, f"{self.name} is still open"
        return int(event["code"])


class Scene(harness.Scene):
    """One client at one broker. ``second()`` starts a further process of the client, which can be killed."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        # An event of a scenario that is over may come late: it has no channel in the next one.
        self._names = (self.name(str(number)) for number in itertools.count(1))
        self.uri = stage.uri
        self.types = stage.library.types
        self.connection = self.connect()

    def connect(self, uri: str | None = None) -> Connection:
        return Connection(self.stage.driver, uri or self.uri, self._names)

    def channel(self, confirm: bool = False) -> Channel:
        return self.connection.channel(confirm)

    def second(self) -> tuple[Driver, Channel]:
        """A channel in a process of its own."""
        driver = self.stage.start()
        return driver, Connection(driver, self.uri, self._names).channel()

    def close(self) -> None:
        self.stage.driver.reset()


def refused(operation: Callable[..., Any], *arguments: Json, **options: Json) -> tuple[str, int]:
    """What the broker closes for this operation, and the code."""
    with pytest.raises(Refused) as caught:
        operation(*arguments, **options)
    return caught.value.scope, caught.value.code
