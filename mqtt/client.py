"""The MQTT client that shovels and tests use: the node's own machine in the client role.

Made for runs, not for single messages: no task, no future and no callback per message. Publishes are numbered from 1
within a connection, and confirmations name the numbers.
"""

import asyncio
import logging
import ssl
from collections import deque
from typing import Final

from edge.clock import Clock
from edge.core.message import QOS2, Message
from edge.net.protocol import WireProtocol
from mqtt import constants as c
from mqtt import encode
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.connection import Connection
from mqtt.filters import WireCache
from mqtt.packets import (
    AckRun,
    Connack,
    Connect,
    Disconnect,
    Event,
    PublishRun,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from mqtt.reasons import ConnectionLost, ConnectRefused, MqttError

logger = logging.getLogger("mqtt.client")

CLOSE_TIMEOUT_S: Final = 1.0
"""What a server has to close its side after our DISCONNECT."""


class MqttClientHandler:
    """What a user of the client overrides; called from the loop, never from inside a call to the client."""

    def on_confirmed(self, numbers: list[int], refused: dict[int, int]) -> None:
        """Publishes that the server has, by number; `refused` holds reason codes of 0x80 and more by number.

        0x10, no matching subscribers, is in `refused` as well: the server did not keep the message.
        """

    def on_messages(self, messages: list[Message], packet_ids: list[int]) -> None:
        """Messages of our subscriptions; hand the packet ids to `MqttClient.acknowledge` when they are safe."""

    def on_writable(self) -> None:
        """The server reads again: `MqttClient.writable` is True."""

    def on_closed(self, error: Exception) -> None:
        """The connection is gone without `close`. Once."""


class MqttClient(WireProtocol):
    """One connection to a server; made by `connect`."""

    def __init__(self, connect: Connect, handler: MqttClientHandler, clock: Clock) -> None:
        super().__init__()
        # As long as the connection lives
        self.machine = Connection(c.CLIENT, WireCache())
        self.session_present = False
        #: The server's answer: assigned client id, limits.
        self.connack = Connack()
        self._connect = connect
        self._handler = handler
        self._clock = clock
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self._gone: asyncio.Future[None] = self.loop.create_future()
        self._error: Exception | None = None
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None
        # Publishes
        self._next_number = 1
        self._numbers: dict[int, int] = {}  # packet id -> number, of what is not confirmed
        self._waiting: deque[tuple[int, int, Message]] = (
            deque()
        )  # number, QoS, message: over the server's receive maximum
        # Subscriptions
        self._received: set[int] = set()  # packet ids of QoS 2 that the server has not released
        self._qos2: set[int] = set()  # those of them that our user has not acknowledged
        self._requests: dict[int, asyncio.Future[list[int]]] = {}

    # -- life ------------------------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Wait for the CONNACK. Raises ConnectRefused or ConnectionLost."""
        await self._opened

    async def close(self) -> None:
        """DISCONNECT, close, and wait until the connection is gone."""
        self._is_closing = True
        if not self.is_closed and self.transport is not None:
            if self.machine.is_open:
                self.write(self.machine.disconnect(r.SUCCESS))
            self.close_after_flush()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await asyncio.shield(self._gone)
            except TimeoutError:
                self.abort()

    def on_connected(self) -> None:
        self.write(self.machine.connect(self._connect))

    def on_bytes(self, data: bytes) -> None:
        for event in self.machine.receive(data, self._clock.elapsed_ms()):
            self._on_event(event)
        if self.machine.fault is not None and self._error is None:
            self._fail(self.machine.fault)

    def on_writable(self) -> None:
        self._handler.on_writable()

    def on_closed(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        error = self._error or ConnectionLost(
            r.UNSPECIFIED_ERROR, str(exc) if exc else "the server closed the connection"
        )
        if not self._gone.done():
            self._gone.set_result(None)
        for request in self._requests.values():
            if not request.done():
                request.set_exception(error)
        self._requests.clear()
        if not self._opened.done():
            self._opened.set_exception(error)
        elif not self._is_closing:
            self._handler.on_closed(error)

    def _fail(self, error: MqttError) -> None:
        """The server is at fault or has refused us: say so and close."""
        self._error = error
        if self.machine.is_open:
            self.write(self.machine.disconnect(error.reason))
        self.close_after_flush()

    # -- events ----------------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if type(event) is PublishRun:
            self._on_publishes(event)
        elif type(event) is AckRun:
            self._on_acks(event)
        elif isinstance(event, Connack):
            self._on_connack(event)
        elif isinstance(event, Suback):
            request = self._requests.pop(event.packet_id, None)
            if request is not None and not request.done():
                request.set_result(event.reasons)
        elif isinstance(event, Disconnect):
            text = f"the server disconnected: {r.reason_name(event.reason)}{_reason_text(event.properties)}"
            self._error = ConnectionLost(event.reason, text)
            self.close_after_flush()

    def _on_connack(self, connack: Connack) -> None:
        if connack.reason != r.SUCCESS:
            text = f"the server refused the connection{_reason_text(connack.properties)}"
            self._fail(ConnectRefused(connack.reason, text))
            return
        self.connack = connack
        self.session_present = connack.session_present
        if not self._opened.done():
            self._opened.set_result(None)
        if self.machine.keep_alive_s:
            self._timer = self.loop.call_later(self.machine.keep_alive_s / 2, self._keep_alive)

    def _keep_alive(self) -> None:
        """Send PINGREQ when idle; a server that is silent for one and a half intervals is gone [MQTT-3.1.2-21]."""
        now = self.loop.time()
        keep_alive_s = self.machine.keep_alive_s
        if now - self.last_received > keep_alive_s * 1.5:
            self._error = ConnectionLost(
                r.KEEP_ALIVE_TIMEOUT, f"nothing was received for {keep_alive_s * 1.5:g} s"
            )
            self.abort()
            return
        if now - min(self.last_sent, self.last_received) >= keep_alive_s / 2:
            self.write(encode.PINGREQ)
        self._timer = self.loop.call_later(keep_alive_s / 2, self._keep_alive)

    # -- publishing ------------------------------------------------------------------------------------------------

    @property
    def unconfirmed(self) -> int:
        """Publishes of QoS 1 and 2 that the server has not confirmed, those that wait for it included."""
        return len(self._numbers) + len(self._waiting)

    def publish(self, messages: list[Message], qos: int = 1) -> int:
        """Publish in one write and return the number of the first message; the next ones follow it.

        QoS 2 counts only for messages that were published at it. What exceeds the server's receive maximum waits here.
        What cannot be sent is reported to `on_confirmed` as refused: no topic name for the routing key (0x90), too
        large for the server (0x95). At QoS 0 nothing else is reported.
        """
        first = self._next_number
        self._next_number += len(messages)
        if qos == 0:
            self._write_publishes(range(first, self._next_number), [0] * len(messages), messages, 0)
            return first
        room = 0 if self._waiting else max(0, self.machine.peer_receive_max - len(self._numbers))
        now = messages if room >= len(messages) else messages[:room]
        packet_ids = self._take_packet_ids(first, len(now))
        self._write_publishes(
            range(first, first + len(packet_ids)), packet_ids, messages[: len(packet_ids)], qos
        )
        for i in range(len(packet_ids), len(messages)):
            self._waiting.append((first + i, qos, messages[i]))
        return first

    def _take_packet_ids(self, first: int, count: int) -> list[int]:
        """Identifiers for numbers from `first` on, fewer if one is still in use."""
        numbers = self._numbers
        packet_ids: list[int] = []
        for number in range(first, first + count):
            packet_id = (number - 1) % c.PACKET_ID_MAX + 1
            if packet_id in numbers or packet_id in self._requests:
                break
            numbers[packet_id] = number
            packet_ids.append(packet_id)
        return packet_ids

    def _write_publishes(
        self, numbers: range, packet_ids: list[int], messages: list[Message], qos: int
    ) -> None:
        if not messages:
            return
        machine = self.machine
        now_ms = self._clock.elapsed_ms()
        encoded = encode.encode_publishes(machine.version, messages, packet_ids, machine.cache, qos, now_ms)
        limit = machine.peer_packet_bytes_max
        if not all(encoded) or max(map(len, encoded)) > limit:
            refused: dict[int, int] = {}
            for number, packet_id, raw in zip(numbers, packet_ids, encoded, strict=True):
                if not raw or len(raw) > limit:
                    refused[number] = r.PACKET_TOO_LARGE if raw else r.TOPIC_NAME_INVALID
                    self._numbers.pop(packet_id, None)
            encoded = [raw for raw in encoded if 0 < len(raw) <= limit]
            self.loop.call_soon(self._handler.on_confirmed, [], refused)
        self.write(b"".join(encoded))

    def _on_acks(self, run: AckRun) -> None:
        if run.kind == c.PUBREL:
            self._received.difference_update(run.packet_ids)
            self.write(self.machine.acknowledge(c.PUBCOMP, run.packet_ids))
            return
        numbers = self._numbers
        confirmed: list[int] = []
        refused: dict[int, int] = {}
        release: list[int] = []
        for packet_id in run.packet_ids:
            reason = run.reasons.get(packet_id, 0) if run.reasons else 0
            if run.kind == c.PUBREC and reason < 0x80:
                release.append(packet_id)
                if reason and packet_id in numbers:
                    # Nobody took it: the flow goes on, but the message is not confirmed.
                    refused[numbers.pop(packet_id)] = reason
                continue
            number = numbers.pop(packet_id, 0)
            if number and not reason:
                confirmed.append(number)
            elif number and run.kind != c.PUBCOMP:
                refused[number] = reason
        if release:
            self.write(self.machine.acknowledge(c.PUBREL, release))
        if self._waiting:
            self._send_waiting()
        if confirmed or refused:
            self._handler.on_confirmed(confirmed, refused)

    def _send_waiting(self) -> None:
        """Send what waited for room, in order, in one write a QoS."""
        waiting = self._waiting
        while waiting:
            room = self.machine.peer_receive_max - len(self._numbers)
            first, qos, _message = waiting[0]
            count = 0
            for number, one_qos, _message in waiting:
                if count >= room or one_qos != qos or number != first + count:
                    break
                count += 1
            packet_ids = self._take_packet_ids(first, count)
            if not packet_ids:
                return
            messages = [waiting.popleft()[2] for _ in packet_ids]
            self._write_publishes(range(first, first + len(packet_ids)), packet_ids, messages, qos)

    # -- subscribing -----------------------------------------------------------------------------------------------

    async def subscribe(self, subscriptions: list[Subscription]) -> list[int]:
        """Subscribe; the granted QoS or a reason of 0x80 or more for each. Raises ConnectionLost."""
        if self.is_closed:
            raise self._error or ConnectionLost(r.UNSPECIFIED_ERROR, "the connection is closed")
        # Its own identifiers, from the top: publishes take theirs from the bottom, and the two must not meet.
        packet_id = c.PACKET_ID_MAX
        while packet_id in self._requests or packet_id in self._numbers:
            packet_id -= 1
        request = self._requests[packet_id] = self.loop.create_future()
        properties: p.Properties = {}
        if subscriptions[0].identifier and self.machine.version == c.V5:
            properties[p.SUBSCRIPTION_IDENTIFIER] = subscriptions[0].identifier
        subscribe = Subscribe(packet_id, subscriptions, properties)
        self.write(encode.encode_subscribe(subscribe, self.machine.version))
        reasons: list[int] = await request
        return reasons

    def _on_publishes(self, run: PublishRun) -> None:
        messages, packet_ids = run.messages, run.packet_ids
        if run.qos2:
            messages, packet_ids = self._new_ones(run)
        if messages:
            self._handler.on_messages(messages, packet_ids)

    def _new_ones(self, run: PublishRun) -> tuple[list[Message], list[int]]:
        """The run without QoS 2 messages that came before [MQTT-4.3.3-10]; those are acknowledged again."""
        messages: list[Message] = []
        packet_ids: list[int] = []
        for message, packet_id in zip(run.messages, run.packet_ids, strict=True):
            if packet_id and message.flags & QOS2:
                if packet_id in self._received:
                    if packet_id not in self._qos2:
                        self.write(self.machine.acknowledge(c.PUBREC, [packet_id]))
                    continue
                self._received.add(packet_id)
                self._qos2.add(packet_id)
            messages.append(message)
            packet_ids.append(packet_id)
        return messages, packet_ids

    def acknowledge(self, packet_ids: list[int]) -> None:
        """PUBACK or PUBREC messages that were handed to `on_messages`; ids of QoS 0 are passed over."""
        if self.is_closed:
            return
        qos2 = self._qos2
        if qos2:
            received = [packet_id for packet_id in packet_ids if packet_id in qos2]
            qos2.difference_update(received)
            packet_ids = [packet_id for packet_id in packet_ids if packet_id not in self._received]
            if received:
                self.write(self.machine.acknowledge(c.PUBREC, received))
        if 0 in packet_ids:
            packet_ids = [packet_id for packet_id in packet_ids if packet_id]
        if packet_ids:
            self.write(self.machine.acknowledge(c.PUBACK, packet_ids))


def _reason_text(properties: p.Properties) -> str:
    """What the server says beside its reason code, as the end of a sentence."""
    text = properties.get(p.REASON_STRING)
    return f" ({text})" if isinstance(text, str) and text else ""


async def connect(
    host: str,
    port: int,
    client_id: str,
    handler: MqttClientHandler,
    *,
    version: int = c.V5,
    username: str | None = None,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    clean_start: bool = True,
    session_expiry_s: int = 0,
    keep_alive_s: int = 60,
    receive_max: int = 0,
    will: Will | None = None,
    timeout_s: float = 10.0,
    clock: Clock | None = None,
) -> MqttClient:
    """Connect and log in.

    `session_expiry_s` counts for version 5; a session of version 3 without `clean_start` has no end. `receive_max`
    bounds what the server may have unacknowledged (version 5, 0: no bound).
    Raises OSError, TimeoutError, ConnectRefused or ConnectionLost; none of them shows the password.
    """
    properties: p.Properties = {}
    if version == c.V5:
        if session_expiry_s:
            properties[p.SESSION_EXPIRY_INTERVAL] = session_expiry_s
        if receive_max:
            properties[p.RECEIVE_MAXIMUM] = receive_max
    packet = Connect(
        version,
        client_id,
        clean_start,
        keep_alive_s,
        username,
        password.encode() if password is not None else None,
        will,
        properties,
    )
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        _transport, client = await loop.create_connection(
            lambda: MqttClient(packet, handler, clock or Clock()),
            host,
            port,
            ssl=tls,
            server_hostname=(server_name or host) if tls is not None else None,
        )
        try:
            await client.opened()
        except BaseException:
            client.abort()
            raise
    return client
