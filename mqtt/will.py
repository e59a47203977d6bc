"""Wills: what is published when a connection ends without DISCONNECT, perhaps some time after it."""

from collections.abc import Callable
from functools import partial
from typing import Final, final

import msgspec

from edge.broker import Broker
from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, RETAIN, Message
from edge.store.store import encode
from mqtt.constants import TOPIC_EXCHANGE
from mqtt.filters import routing_key_of
from mqtt.packets import Will
from mqtt.session import Session

KIND_WILL: Final = "mqtt-will"
RETRY_MS: Final = 1000
"""Until a will that is due is tried again, when there was no room for it on the disk."""


def will_message(will: Will, now_ms: int) -> Message:
    """The message of a will, published at elapsed time `now_ms`."""
    flags = PERSISTENT if will.qos else 0
    if will.qos == 2:
        flags |= QOS2
    if will.retain:
        flags |= RETAIN
    expires_at_ms = now_ms + will.expires_ms if will.expires_ms else 0
    key = routing_key_of(will.topic)
    return Message(
        TOPIC_EXCHANGE, key, will.properties, will.payload, FORM_MQTT, flags, now_ms, expires_at_ms
    )


class WillRecord(msgspec.Struct, array_like=True):
    """What the store keeps of a will from the CONNECT on."""

    will: Will
    due_ms: int = 0
    """Elapsed time at which it is published; 0: its client is connected."""


@final
class Wills:
    """The wills of connected clients, and those whose delay runs.

    All are kept in the store [MQTT-3.1.2-7]. A delay counts elapsed time: after a restart a will is published when it
    would have been. The connections of a node that was killed ended with it, so wills that had not begun to wait do so
    at its next start (MQTT 5 section 3.1.2.5: a server that fails may defer wills until it restarts).

    When the disk has no room a will waits as if it were delayed, one for each client identifier. It is dropped, and
    counted as ``disk-full``, only when its client connects anew and there is still none.
    """

    def __init__(self, broker: Broker, publish: Callable[[str, Will, Session | None], None]) -> None:
        self._broker = broker
        self._publish = publish
        #: By key, with the elapsed time at which they are due.
        self._pending: dict[str, tuple[Session | None, Will, int]] = {}
        self._left: list[tuple[str, Will]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def keep(self, session: Session, will: Will | None) -> bool:
        """A client is connected: its old will is void, and its new one, if any, is to be kept with the next commit."""
        key = key_of(session)
        if key in self._pending and self._pending[key][2] <= self._broker.elapsed_ms():
            self._end(key, self._publish if self._has_room() else self._count_refused)
        self.cancel(key)
        if will is None:
            return False
        self._broker.store.put(KIND_WILL, key, encode(WillRecord(will)))
        return True

    def forget(self, session: Session) -> None:
        """The client has taken its will back by DISCONNECT [MQTT-3.14.4-3]."""
        self._broker.store.put(KIND_WILL, key_of(session), None)

    def connection_lost(self, session: Session, will: Will) -> None:
        """Publish the will, now or after its delay, which a session that ends cuts short [MQTT-3.1.2-8]."""
        delay_s = will.delay_s if session.is_persistent else 0
        if delay_s or not self._has_room():
            due_ms = self._broker.elapsed_ms() + delay_s * 1000
            self._broker.store.put(KIND_WILL, key_of(session), encode(WillRecord(will, due_ms)))
            self._wait(key_of(session), session, will, due_ms)
        else:
            self._broker.store.put(KIND_WILL, key_of(session), None, with_messages=True)
            self._publish(session.vhost, will, session)

    def restore(self, key: str, session: Session | None, value: bytes) -> None:
        """Go on after a restart: wait on, or begin to, once everything is there to publish to (`resume`)."""
        record = msgspec.msgpack.decode(value, type=WillRecord)
        if session is not None and record.due_ms:
            self._wait(key, session, record.will, record.due_ms)
        elif session is not None and record.will.delay_s:
            due_ms = self._broker.elapsed_ms() + record.will.delay_s * 1000
            self._broker.store.put(KIND_WILL, key, encode(WillRecord(record.will, due_ms)))
            self._wait(key, session, record.will, due_ms)
        else:
            self._left.append((key, record.will))

    def resume(self) -> None:
        """Publish the wills of clients whose connection ended with the node."""
        for key, will in self._left:
            self._pending[key] = None, will, self._broker.elapsed_ms()
            self.flush(key)
        self._left = []

    def _wait(self, key: str, session: Session, will: Will, due_ms: int) -> None:
        self._pending[key] = session, will, due_ms
        self._broker.deadlines.set((KIND_WILL, key), due_ms, partial(self.flush, key))

    def cancel(self, key: str) -> None:
        """The client is back in time: its will is not published [MQTT-3.1.3-9]."""
        self._take(key)

    def flush(self, key: str) -> None:
        """Publish now, if one is pending, or as soon as there is room."""
        if key not in self._pending:
            return
        if self._has_room():
            self._end(key, self._publish)
            return
        session, will, _ = self._pending[key]
        now_ms = self._broker.elapsed_ms()
        self._pending[key] = session, will, now_ms
        self._broker.deadlines.cancel((KIND_WILL, key))
        self._broker.deadlines.set((KIND_WILL, key), now_ms + RETRY_MS, partial(self.flush, key))

    def _has_room(self) -> bool:
        return self._broker.store.own_room_bytes > 0

    def _end(self, key: str, end: Callable[[str, Will, Session | None], None]) -> None:
        taken = self._take(key)
        if taken is not None:
            session, will = taken
            end(key.partition("\0")[0], will, session)

    def _count_refused(self, vhost_name: str, will: Will, _session: Session | None) -> None:
        vhost = self._broker.vhosts.get(vhost_name)
        if vhost is not None:
            vhost.count_refused(TOPIC_EXCHANGE, [will_message(will, self._broker.elapsed_ms())])

    def _take(self, key: str) -> tuple[Session | None, Will] | None:
        taken = self._pending.pop(key, None)
        if taken is None:
            return None
        self._broker.deadlines.cancel((KIND_WILL, key))
        # Not before its message is on the disk.
        self._broker.store.put(KIND_WILL, key, None, with_messages=True)
        return taken[:2]


def key_of(session: Session) -> str:
    """The key of a session's records."""
    return f"{session.vhost}\0{session.client_id}"
