"""``-D PACKET NAME VALUE`` of ``leveret publish`` and ``subscribe``: properties of MQTT 5, as mosquitto names them."""

from collections.abc import Iterator
from typing import Any, Final

import click
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PACKETS: Final = {
    "connect": PacketTypes.CONNECT,
    "disconnect": PacketTypes.DISCONNECT,
    "publish": PacketTypes.PUBLISH,
    "subscribe": PacketTypes.SUBSCRIBE,
    "unsubscribe": PacketTypes.UNSUBSCRIBE,
    "will": PacketTypes.WILLMESSAGE,
}
BINARY: Final = frozenset({"correlation-data"})
NUMBERS: Final = frozenset(
    {
        "maximum-packet-size",
        "message-expiry-interval",
        "payload-format-indicator",
        "receive-maximum",
        "request-problem-information",
        "request-response-information",
        "session-expiry-interval",
        "subscription-identifier",
        "topic-alias",
        "topic-alias-maximum",
        "will-delay-interval",
    }
)
TEXTS: Final = frozenset({"content-type", "response-topic"})


class PropertyCommand(click.Command):
    """``-D PACKET NAME VALUE``, of a user property ``-D PACKET user-property NAME VALUE``: click's options take
    always as many values. The function finds ``Properties`` by packet in ``ctx.obj``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest: list[str] = []
        found: dict[str, Any] = {}
        words = iter(args)
        for word in words:
            if word in ("-D", "--property"):
                self._take(found, words, ctx)
            else:
                rest.append(word)
        ctx.obj = found
        return super().parse_args(ctx, rest)

    @staticmethod
    def _take(found: dict[str, Any], words: Iterator[str], ctx: click.Context) -> None:
        packet, name = next(words, ""), next(words, "")
        values = [
            value for value in (next(words, None) for _ in range(1 + (name == "user-property"))) if value
        ]
        if packet not in PACKETS or len(values) != 1 + (name == "user-property"):
            raise click.UsageError(
                f"-D wants a packet ({', '.join(PACKETS)}), a property and its value, or for user-property a name and"
                " a value",
                ctx,
            )
        properties = found.setdefault(packet, Properties(PACKETS[packet]))
        try:
            if name == "user-property":
                properties.UserProperty = (values[0], values[1])
            elif name in NUMBERS | TEXTS | BINARY:
                value = int(values[0]) if name in NUMBERS else values[0]
                # paho calls them by the names of the specification.
                attribute = "".join([part.capitalize() for part in name.split("-")])
                setattr(properties, attribute, values[0].encode() if name in BINARY else value)
            else:
                known = ", ".join(sorted(NUMBERS | TEXTS | BINARY))
                raise click.UsageError(f"-D does not know {name!r}; it knows user-property, {known}", ctx)
        except (MQTTException, ValueError) as error:
            raise click.UsageError(f"-D {packet} {name} {values[0]}: {error}", ctx) from error
