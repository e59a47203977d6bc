"""What was observed at a broker, in a form in which two brokers can be compared.

Left out or replaced is only what tells nothing of a broker's behaviour:

- the prefix that makes the names of a sequence its own, and names that the broker has made up (by order of appearance);
- the time in ``x-death``, which is the wall clock's;
- how an error's text shows an array or a table: an Erlang term, or JSON.
"""

import re
from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec

from edge.amqp091 import spec
from edge.amqp091.events import ContentReceived
from edge.core.message import Message
from edge.core.properties import BasicProperties, decode_properties
from edge.core.table import Timestamp, type_name
from tests.differential.peer import Answer, Closed

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]

V = TypeVar("V")

MARK = "~"
"""Stands in operations and observations for the prefix of the sequence's names."""
GENERATED = re.compile(r"amq\.(?:gen|ctag)-[\w-]+")
NESTED = re.compile(r"received (?:the value )?'[\[{].*", re.DOTALL)


@dataclass
class Names:
    """Between the names of a sequence and those that this broker knows."""

    prefix: str
    generated: dict[str, str] = field(default_factory=dict)

    def real(self, value: V) -> V:
        """With the prefix in the place of ``MARK``, in all strings of tables and lists too."""
        replaced: object = value
        if isinstance(value, str):
            replaced = value.replace(MARK, self.prefix)
        elif isinstance(value, list):
            replaced = [self.real(item) for item in value]
        elif isinstance(value, dict):
            replaced = {name: self.real(item) for name, item in value.items()}
        elif isinstance(value, msgspec.Struct):
            replaced = type(value)(
                **{name: self.real(getattr(value, name)) for name in value.__struct_fields__}
            )
        return cast(V, replaced)

    def plain(self, text: str) -> str:
        """The reverse of ``real``."""
        text = NESTED.sub("received ...", text.replace(self.prefix, MARK))
        return GENERATED.sub(self._generated, text)

    def _generated(self, match: re.Match[str]) -> str:
        return self.generated.setdefault(match[0], f"generated-{len(self.generated)}")

    def value(self, value: object) -> Json:
        """A value of a field table, with its type where Python's would not show it."""
        if isinstance(value, str):
            return self.plain(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {
                self.plain(name): "a time"
                if name == "time" and isinstance(item, Timestamp)
                else self.value(item)
                for name, item in value.items()
            }
        return f"{type_name(value)} {value!r}"

    def message(self, message: Message) -> Json:
        properties = decode_properties(message.properties)
        return [
            self.plain(message.exchange),
            self.plain(message.routing_key),
            self.properties(properties),
            message.body.decode(),
        ]

    def properties(self, properties: BasicProperties) -> Json:
        shown: dict[str, Json] = {}
        for name in properties.__struct_fields__:
            value = getattr(properties, name)
            if value is not None:
                shown[name] = self.value(value)
        return shown

    def answer(self, answer: Answer) -> Json:
        """What came back for a method."""
        if isinstance(answer, Closed):
            return self.closed(answer)
        if isinstance(answer, ContentReceived):
            got = answer.method
            assert isinstance(got, spec.BasicGetOk)
            return ["get-ok", got.redelivered, got.message_count, self.message(answer.message)]
        # The tag of a get-ok is told with those of deliveries.
        fields = [self.value(getattr(answer, name)) for name in answer.__struct_fields__]
        return [type(answer).__name__, *fields]

    def closed(self, closed: Closed) -> Json:
        scope = "channel" if closed.channel else "connection"
        return [scope, closed.code, method_name(closed.method), self.plain(closed.text)]


def method_name(ids: int) -> str:
    """The name of a method; none for 0."""
    return spec.METHODS[ids].__name__ if ids else ""
