"""Headers and binding arguments by which federated brokers tell where a message or a binding has been.

As RabbitMQ's rabbit_federation_exchange_link and rabbit_federation_util have them, with the same field types.
"""

from typing import Any, Final

from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.properties import (
    decode_properties,
    encode_properties,
    header,
)
from edge.core.table import Int16

RECEIVED_FROM: Final = "x-received-from"
BOUND_FROM: Final = "x-bound-from"
EDITED_MAX: Final = 256
"""Property lists whose edited form is remembered; most publishers repeat a few."""


class Stamp:
    """Marks received messages with where they came from, and tells which have gone round already."""

    def __init__(
        self,
        *,
        uri: str,
        exchange: str,
        upstream_cluster: str,
        upstream_vhost: str,
        cluster: str,
        vhost: str,
        max_hops: int,
        trust_user_id: bool,
    ) -> None:
        #: ``exchange`` is the downstream's; ``cluster-name`` is left out when the upstream does not tell its name.
        self._entry: dict[str, Any] = {"uri": uri, "exchange": exchange}
        self._rest: dict[str, Any] = {"vhost": upstream_vhost}
        if upstream_cluster:
            self._rest = {"cluster-name": upstream_cluster, **self._rest}
        self._here = (cluster, vhost)
        self._exchange = exchange
        self._max_hops = max_hops
        self._trust_user_id = trust_user_id
        self._edited: dict[tuple[bytes, bool], bytes | None] = {}

    def received(self, message: Message, redelivered: bool) -> Message | None:
        """The message as it is published here; None when it has been here before or has no hop left."""
        properties = self._edit(message, redelivered)
        if properties is None:
            return None
        return Message(
            self._exchange,
            message.routing_key,
            properties,
            message.body,
            FORM_AMQP091,
            message.flags,
            message.published_at_ms,
            message.expires_at_ms,
            message.priority,
        )

    def _edit(self, message: Message, redelivered: bool) -> bytes | None:
        encoded = amqp_properties(message)
        key = (encoded, redelivered)
        if key in self._edited:
            return self._edited[key]
        edited = None
        if should_forward(encoded, self._max_hops, *self._here):
            properties = decode_properties(encoded)
            table = dict(properties.headers or {})
            before = table.get(RECEIVED_FROM)
            entry = {**self._entry, "redelivered": redelivered, **self._rest}
            table[RECEIVED_FROM] = [entry, *(before if isinstance(before, list) else [])]
            properties.headers = table
            if not self._trust_user_id:
                properties.user_id = None
            edited = encode_properties(properties)
        if len(self._edited) >= EDITED_MAX:
            self._edited.clear()
        self._edited[key] = edited
        return edited


def should_forward(properties: bytes, max_hops: int, cluster: str, vhost: str) -> bool:
    """Whether a message may come to ``cluster``: not more than ``max_hops`` links long, and not here before."""
    received = header(properties, RECEIVED_FROM)
    if not isinstance(received, list):
        return True
    return len(received) < max_hops and not any(
        isinstance(entry, dict) and (entry.get("cluster-name"), entry.get("vhost")) == (cluster, vhost)
        for entry in received
    )


def bound_from(
    arguments: dict[str, Any],
    *,
    max_hops: int,
    exchange: str,
    cluster: str,
    vhost: str,
    upstream_cluster: str,
    upstream_vhost: str,
) -> dict[str, Any] | None:
    """A binding's arguments as it is made at the upstream; None when it must not be.

    ``exchange`` is "<vhost>:<exchange> <A or B>". Hops count down from ``max_hops``; a binding never goes back to where
    it has come from.
    """
    before = arguments.get(BOUND_FROM)
    entries = before if isinstance(before, list) else []
    hops = max_hops
    if entries:
        last = entries[0].get("hops") if isinstance(entries[0], dict) else None
        hops = min(last - 1, max_hops) if isinstance(last, int) else 0
        if any(
            isinstance(entry, dict)
            and (entry.get("cluster-name"), entry.get("vhost")) == (upstream_cluster, upstream_vhost)
            for entry in entries
        ):
            hops = 0
    if hops <= 0:
        return None
    entry = {"cluster-name": cluster, "vhost": vhost, "exchange": exchange, "hops": Int16(hops)}
    return {**arguments, BOUND_FROM: [entry, *entries]}
