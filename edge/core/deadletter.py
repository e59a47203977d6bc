"""Dead-lettering: what a rejected or expired message carries on (RabbitMQ, "Dead Letter Exchanges")."""

from typing import TYPE_CHECKING

import msgspec

from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.policy import setting
from edge.core.properties import decode_properties, encode_properties, header
from edge.core.table import Timestamp

if TYPE_CHECKING:
    from edge.core.queue import Queue


def dead_letter_target(queue: "Queue") -> str | None:
    """Name of the queue's dead-letter exchange, "" for the default exchange; None when it has none."""
    target = setting(queue, "dead-letter-exchange")
    return target if isinstance(target, str) else None


def dead_lettered(queue: "Queue", target: str, message: Message, reason: str, now_unix_ms: int) -> Message:
    """The message as it is published to ``target``.

    x-death tells where it died, of what, and how often: newest death first, one table a queue and reason. The
    per-message TTL is taken off, or it would expire again.
    """
    properties = decode_properties(amqp_properties(message))
    headers = dict(properties.headers or {})
    deaths = headers.get("x-death")
    entries = [entry for entry in deaths if isinstance(entry, dict)] if isinstance(deaths, list) else []
    mine = next((e for e in entries if e.get("queue") == queue.name and e.get("reason") == reason), None)
    if mine is None:
        mine = {
            "count": 0,
            "reason": reason,
            "queue": queue.name,
            "time": Timestamp(now_unix_ms // 1000),
            "exchange": message.exchange,
            "routing-keys": routing_keys(message),
        }
        if properties.expiration is not None:
            mine["original-expiration"] = properties.expiration
    count = mine["count"]
    mine = {**mine, "count": int(count) + 1 if isinstance(count, int) else 1}
    others = [e for e in entries if not (e.get("queue") == queue.name and e.get("reason") == reason)]
    death = {"exchange": message.exchange, "queue": queue.name, "reason": reason}
    if "x-death" not in headers:
        headers |= {f"x-first-death-{name}": value for name, value in death.items()}
    headers |= {f"x-last-death-{name}": value for name, value in death.items()}
    headers["x-death"] = [mine, *others]
    routing_key = setting(queue, "dead-letter-routing-key")
    if isinstance(routing_key, str):
        headers.pop("CC", None)
    properties.headers = headers
    properties.expiration = None
    return msgspec.structs.replace(
        message,
        exchange=target,
        routing_key=routing_key if isinstance(routing_key, str) else message.routing_key,
        properties=encode_properties(properties),
        form=FORM_AMQP091,
        expires_at_ms=0,
    )


def routing_keys(message: Message) -> list[str]:
    """Its routing key and those of its carbon copies (RabbitMQ, "Sender-selected Distribution")."""
    copies = header(amqp_properties(message), "CC")
    if not isinstance(copies, list):
        return [message.routing_key]
    return [message.routing_key, *[key for key in copies if isinstance(key, str)]]


def is_cycle(queue_name: str, message: Message) -> bool:
    """Whether a dead-lettered message has been in the queue before and no client has rejected it since.

    Such a message goes round by itself, so it is dropped (``rabbit_dead_letter:is_cycle``). An x-death entry that
    cannot be read was put there by a client, and then the circle is not all the broker's own doing.
    """
    deaths = header(message.properties, "x-death")
    for death in deaths if isinstance(deaths, list) else []:
        if not isinstance(death, dict) or death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue_name:
            return True
    return False
