"""What a scenario works with: clients of one library at one broker, in the words of MQTT."""

import itertools
from typing import Any

from tests.interop import harness
from tests.interop.harness import Stage
from tests.interop.mqtt.client import Driver, Json

SESSION_EXPIRY_S = 300
V5 = "MQTT 5"
"""Marks scenarios of what MQTT 3.1.1 does not have."""


def shown(event: Json) -> Json:
    return {name: event[name] for name in ("topic", "body", "qos", "retain", "properties")}


class Client:
    def __init__(self, driver: Driver, name: str, client_id: str) -> None:
        self._driver = driver
        self.name = name
        self.present = False
        self.came_at = 0.0
        """When the last message came, by ``time.monotonic()``."""
        self._is_open = True
        self._mark = f"mark/{client_id}"
        self._marks = itertools.count(1)

    def subscribe(self, *filters: str, qos: int = 1, **options: Json) -> Json:
        """The codes granted."""
        return self._driver.call("subscribe", client=self.name, filters=filters, qos=qos, options=options)

    def unsubscribe(self, topic_filter: str) -> None:
        self._driver.call("unsubscribe", client=self.name, filter=topic_filter)

    def publish(
        self,
        topic: str,
        body: str = "",
        *,
        qos: int = 1,
        retain: bool = False,
        count: int | None = None,
        size: int | None = None,
        wait: bool = True,
        **properties: Json,
    ) -> None:
        """Once or ``count`` times; does not ``wait`` for the broker if told so."""
        fields = {"topic": topic, "body": body, "qos": qos, "retain": retain, "count": count, "size": size}
        self._driver.call("publish", client=self.name, properties=properties, wait=wait, **fields)

    def disconnect(self, code: int = 0, expiry: int | None = None) -> None:
        """``code``, and an ``expiry`` in seconds in the place of that of the connect, are for MQTT 5."""
        self._driver.call("disconnect", client=self.name, code=code, expiry=expiry)
        self._is_open = False

    def drop(self) -> None:
        """Cut the connection without a word."""
        self._driver.call("drop", client=self.name)
        self._is_open = False

    def resume(self) -> None:
        """Connect again after a ``drop``, and wait until what was published before is acknowledged."""
        self.present = self._driver.call("resume", client=self.name)
        self._is_open = True

    def close(self) -> None:
        if self._is_open:
            self.disconnect()

    def message(self, **match: Json) -> Json:
        """The next message; AssertionError when none comes."""
        while True:
            event = self._driver.event("message", client=self.name, **match)
            assert event is not None, f"no message at {self.name} {match}"
            # A mark comes again to a session that was left before it was acknowledged.
            if event["topic"] != self._mark:
                self.came_at = self._driver.came_at
                return shown(event)

    def delivery(self) -> Json:
        """The body of the next message, and whether it is marked as one that has been sent before."""
        event = self._driver.event("message", client=self.name)
        assert event is not None, f"no message at {self.name}"
        return [event["body"], event["dup"]]

    def bodies(self, count: int) -> list[str]:
        return [self.message()["body"] for _ in range(count)]

    def messages(self) -> list[Json]:
        """All messages that are on their way: they come before a mark that is sent now, by the QoS with the longest
        way."""
        self.subscribe(self._mark, qos=2)
        mark, found = f"{self.name} {next(self._marks)}", []
        self.publish(self._mark, mark, qos=2)
        while True:
            event = self._driver.event("message", client=self.name)
            assert event is not None, f"no {mark} at {self.name}"
            if event["topic"] != self._mark:
                found.append(shown(event))
            elif event["body"] == mark:
                return found

    def assert_nothing(self) -> None:
        assert (found := self.messages()) == [], f"{found} came unasked"

    def closed(self) -> Json:
        """Wait until the broker has closed the connection by itself; the code."""
        event = self._driver.event("closed", client=self.name)
        assert event is not None, f"{self.name} is still open"
        self._is_open = False
        return event["code"]


class Scene(harness.Scene):
    """Clients of one library at one broker."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.v5 = V5 not in stage.library.lacks
        self._numbers = itertools.count(1)
        self._clients: list[Client] = []

    def connect(
        self,
        client_id: str | None = None,
        *,
        persistent: bool = False,
        expiry_s: int | None = None,
        password: str = "guest",
        will: Json = None,
        acknowledge: bool = True,
    ) -> Client:
        """A client, of a session that ends with it unless it is ``persistent``, or has an ``expiry_s`` by MQTT 5."""
        expiry = expiry_s if expiry_s is not None else SESSION_EXPIRY_S if persistent else 0
        driver = self.stage.driver
        name = self.name(f"client-{next(self._numbers)}")
        client = Client(driver, name, client_id or name)
        client.present = driver.call(
            "connect",
            client=name,
            uri=self.stage.uri,
            client_id=client_id or name,
            clean=not persistent,
            expiry=expiry,
            username="guest",
            password=password,
            will=will,
            acknowledge=acknowledge,
        )
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


def will(
    topic: str, body: str, *, qos: int = 1, retain: bool = False, delay_s: int = 0, **properties: Json
) -> Json:
    fields: dict[str, Any] = {"topic": topic, "body": body, "qos": qos, "retain": retain}
    return {**fields, "delay": delay_s, "properties": properties}
