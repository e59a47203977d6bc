"""Types x-consistent-hash and x-modulus-hash: equal keys go to the same queue.

RabbitMQ's plugins spread keys over the same number of queues, by other hashes: which queue a key goes to differs.
"""

import hashlib
import math
import re
from typing import Final

from edge.core.binding import Binding
from edge.core.errors import PreconditionFailed
from edge.core.exchange import ROUTES_MAX, Exchange
from edge.core.message import Message, amqp_properties
from edge.core.properties import decode_properties, header
from edge.core.table import to_plain

WEIGHT: Final = re.compile(r"[+-]?[0-9]{1,255}")
HASH_PROPERTIES: Final = ("correlation_id", "message_id", "timestamp")


class ModulusHashExchange(Exchange):
    """The routing key's hash picks one of the bindings (RabbitMQ's sharding plugin)."""

    type = "x-modulus-hash"

    def new_index(self) -> None:
        self._in_order: list[Binding] = []

    def add(self, binding: Binding) -> None:
        super().add(binding)
        # By name, so that a key goes to the same queue after a restart.
        self._in_order = [self.bindings[key] for key in sorted(self.bindings)]

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        self._in_order = [self.bindings[key] for key in sorted(self.bindings)]

    def matching(self, message: Message) -> list[Binding]:
        if not self._in_order:
            return []
        return [self._in_order[_hash(b"", message.routing_key.encode()) % len(self._in_order)]]


class ConsistentHashExchange(Exchange):
    """A hash of the routing key, of a header or of a property picks one binding; its binding key is its weight.

    Weighted rendezvous hashing: a binding that comes or goes moves no more keys than it has, and the order in which
    bindings were made plays no part. Of several bindings to one destination the first counts, as in RabbitMQ.
    """

    type = "x-consistent-hash"

    def new_index(self) -> None:
        #: destination type and name -> seed, weight, binding
        self._weights: dict[tuple[str, str], tuple[bytes, int, Binding]] = {}
        #: Digests of what was hashed lately, and where it goes: a header may be as long as a frame.
        self._picked: dict[bytes, Binding] = {}

    def check_arguments(self) -> None:
        super().check_arguments()
        by_header, by_property = self.arguments.get("hash-header"), self.arguments.get("hash-property")
        if by_header is not None and by_property is not None:
            raise PreconditionFailed("hash-header and hash-property are mutually exclusive")
        if by_property is not None and by_property not in HASH_PROPERTIES:
            raise PreconditionFailed(f"Unsupported property: {by_property}")
        if by_header is not None and not isinstance(by_header, str):
            raise PreconditionFailed("hash-header must be the name of a header")
        self.by_key = by_header is None and by_property is None

    def check_binding(self, routing_key: str, arguments: dict[str, object]) -> None:
        if not WEIGHT.fullmatch(routing_key):
            raise PreconditionFailed(f'The binding key must be an integer: <<"{routing_key}">>')
        if int(routing_key) < 1:
            raise PreconditionFailed("The binding key must be greater than 0")

    def add(self, binding: Binding) -> None:
        super().add(binding)
        self._weigh()

    def remove(self, binding: Binding) -> None:
        super().remove(binding)
        self._weigh()

    def _weigh(self) -> None:
        self._picked.clear()
        self._weights.clear()
        for key, binding in self.bindings.items():
            place = key[:2]
            if place not in self._weights:
                seed = hashlib.blake2b("/".join(place).encode(), digest_size=16).digest()
                self._weights[place] = seed, int(binding.routing_key), binding

    def matching(self, message: Message) -> list[Binding]:
        if not self._weights:
            return []
        key = hashlib.blake2b(self._key(message), digest_size=16).digest()
        found = self._picked.get(key)
        if found is None:
            if len(self._picked) >= ROUTES_MAX:
                self._picked.clear()
            found = self._picked[key] = max(self._weights.values(), key=lambda each: _score(each, key))[2]
        return [found]

    def _key(self, message: Message) -> bytes:
        if self.by_key:
            return message.routing_key.encode()
        name = self.arguments.get("hash-header")
        if isinstance(name, str):
            value = header(amqp_properties(message), name)
        else:
            value = getattr(decode_properties(amqp_properties(message)), str(self.arguments["hash-property"]))
        # A message without it goes where all others without it go.
        return repr(to_plain(value)).encode()


def _hash(seed: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, key=seed).digest(), "big")


def _score(candidate: tuple[bytes, int, Binding], key: bytes) -> float:
    # Between 0 and 1, never one of them.
    part = (_hash(candidate[0], key) + 1) / ((1 << 64) + 2)
    return -candidate[1] / math.log(part)
