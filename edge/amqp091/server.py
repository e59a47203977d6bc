"""The server: one AMQP 0-9-1 connection between the machine and the broker.

Events are handled strictly in order. A declaration is answered only when it is on the disk; until then what follows it
waits and the socket is not read. Whatever one read yields is handled in one go and answered in one write.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from edge.amqp091 import spec
from edge.amqp091.access import ConnectionAccess, open_vhost
from edge.amqp091.constants import (
    ACCESS_REFUSED,
    CONNECTION_FORCED,
    HEARTBEAT_FRAME,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
)
from edge.amqp091.errors import AmqpError, BadProtocolHeader, ChannelFault, ConnectionFault, LoginRefused
from edge.amqp091.events import (
    AckRun,
    ConnectionClosed,
    Event,
    Fault,
    LoginRequested,
    MethodReceived,
    OpenRequested,
    PublishRun,
)
from edge.amqp091.presentation import connection_details, server_properties
from edge.amqp091.server_channel import ServerChannel
from edge.amqp091.server_machine import ServerMachine
from edge.auth.users import User
from edge.broker import Broker
from edge.core.errors import (
    AccessRefused,
    AuthenticationFailed,
    BrokerError,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.limits import check_channels
from edge.net.protocol import WRITE_HIGH_BYTES, WireProtocol, address_text, is_loopback
from edge.settings import AmqpSettings

logger = logging.getLogger("edge.amqp091.server")

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""RabbitMQ's default."""
CLOSE_TIMEOUT_S: Final = 3.0
"""How long a peer has to answer connection.close, or finds silence after a refused login."""
LOW_ON_DISK: Final = "low on disk"
"""RabbitMQ's reason of connection.blocked."""
DELIVERY_BYTES_MAX: Final = WRITE_HIGH_BYTES
"""Of deliveries to a connection in one turn of the loop: what the transport takes before it stops us anyway."""

DEFAULTS: Final = AmqpSettings()

_REPLY_CODES: Final[dict[type[BrokerError], int]] = {
    NotFound: NOT_FOUND,
    PreconditionFailed: PRECONDITION_FAILED,
    AccessRefused: ACCESS_REFUSED,
    ResourceLocked: RESOURCE_LOCKED,
}
REFUSALS: Final = (NotFound, PreconditionFailed, AccessRefused, ResourceLocked)
"""What ends a channel; NotAllowed ends the connection."""


class AmqpServerProtocol(WireProtocol):
    """One connection. In ``broker.connections`` from connection.open-ok until it is gone."""

    def __init__(self, broker: Broker, amqp: AmqpSettings = DEFAULTS) -> None:
        super().__init__()
        # for the life of the connection
        self.broker = broker
        self.machine = ServerMachine(
            server_properties(broker),
            channel_max=amqp.channel_max,
            frame_max=amqp.frame_max,
            heartbeat_s=amqp.heartbeat_s,
            body_bytes_max=amqp.message_max_bytes,
        )
        self.unacked_max_bytes = amqp.unacked_max_bytes
        self.name = ""
        self.user: User | None = None
        self.vhost: VHost | None = None
        #: from connection.open on
        self.access: ConnectionAccess
        self.channels: dict[int, ServerChannel] = {}
        self.connected_at_ms = broker.clock.unix_ms()
        #: in ``broker.connections``, under ``name``
        self.is_registered = False
        self._timer: asyncio.TimerHandle | None = None
        # events that wait for a declaration to be on the disk
        self._events: deque[Event] = deque()
        self._is_waiting = False
        #: channels with confirms to send, and up to which number
        self._confirms: dict[ServerChannel, int] = {}
        self._waits_for_relief = False
        self.has_published = False
        #: a publish waits until the disk has room
        self.is_blocked = False
        # of this turn of the loop
        self._turn_bytes = 0

    # transport

    def on_connected(self) -> None:
        assert self.transport is not None
        self.name = f"{self.peer} -> {address_text(self.transport.get_extra_info('sockname'))}"
        self._timer = self.loop.call_later(HANDSHAKE_TIMEOUT_S, self._on_handshake_timeout)

    def on_bytes(self, data: bytes) -> None:
        self._events.extend(self.machine.receive(data, self.broker.elapsed_ms()))
        if not self._is_waiting:
            self._handle_events()

    def on_writable(self) -> None:
        self._wake_consumers()

    def on_closed(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._events.clear()
        if self.is_registered:
            logger.info("%s: connection closed%s", self.name, f": {exc}" if exc else "")
        self._release()

    def flush(self) -> None:
        """Write what the machine has to send."""
        output = self.machine.take_output()
        if output:
            self.write(output)

    def shut_down(self, reason: str) -> None:
        """Close with 320: the node stops or an operator asked."""
        self._end(ConnectionFault(CONNECTION_FORCED, reason), logging.INFO)
        self.flush()

    # events

    def _handle_events(self) -> None:
        events = self._events
        is_publishing = False
        while events and not self._is_waiting:
            if isinstance(events[0], PublishRun):
                if self.broker.is_full:
                    self._block()
                    break
                is_publishing = self.has_published = True
            event = events.popleft()
            try:
                self._handle(event)
            except ChannelFault as error:
                self._end_channel(error)
            except ConnectionFault as error:
                self._end(error)
            except NotAllowed as error:
                self._end(ConnectionFault(NOT_ALLOWED, error.text))
            except REFUSALS as error:
                code = _REPLY_CODES[type(error)]
                method = event.method.ID if isinstance(event, MethodReceived) else spec.BasicPublish.ID
                self._end_channel(ChannelFault(event.channel, code, error.text, method))
            except Exception:  # ours: it ends this connection, as in RabbitMQ, and no other one
                logger.exception("%s: cannot handle %s", self.name, type(event).__name__)
                self._end(ConnectionFault(INTERNAL_ERROR, "see the log of the broker"))
        self.flush()
        if is_publishing and self.broker.congested and not self._waits_for_relief:
            self._waits_for_relief = True
            self.pause_input("congested")
            self.broker.when_relieved(self._on_relieved)

    def _handle(self, event: Event) -> None:
        channel = self.channels.get(event.channel)
        if isinstance(event, PublishRun):
            if channel is not None:
                channel.publish(event)
        elif isinstance(event, AckRun):
            if channel is not None:
                channel.ack(event)
        elif isinstance(event, MethodReceived):
            self._on_method(channel, event)
        elif isinstance(event, Fault):
            if (
                channel is not None
                and isinstance(event.error, ChannelFault)
                and event.error.exchange is not None
            ):
                # Whether one may publish there comes before what is wrong with the message.
                channel.check_target(event.error.exchange)
            raise event.error
        elif isinstance(event, LoginRequested):
            self._log_in(event)
        elif isinstance(event, OpenRequested):
            self._open(event)
        elif isinstance(event, ConnectionClosed):
            self._release()
            self.flush()
            self.close_after_flush()

    def _on_method(self, channel: ServerChannel | None, event: MethodReceived) -> None:
        method = event.method
        if isinstance(method, spec.ChannelOpen):
            assert self.vhost is not None
            assert self.user is not None
            check_channels(self.broker, self.user)
            self.channels[event.channel] = ServerChannel(self, event.channel, self.vhost)
            self.machine.send(event.channel, spec.ChannelOpenOk())
        elif isinstance(method, spec.ChannelClose):
            if channel is not None:
                channel.close()
                del self.channels[event.channel]
            self.machine.send(event.channel, spec.ChannelCloseOk())
        elif isinstance(method, spec.UpdateSecret):
            # For tokens that run out (RabbitMQ, OAuth 2); passwords do not, so there is nothing to renew
            self.machine.send(0, spec.UpdateSecretOk())
        elif channel is not None:
            # Without a channel the method came after what made us close it
            channel.handle(method)

    def _log_in(self, event: LoginRequested) -> None:
        assert self.transport is not None
        from_loopback = is_loopback(self.transport.get_extra_info("peername"))
        try:
            self.user = self.broker.auth.authenticate(event.username, event.password, from_loopback)
        except AuthenticationFailed as error:
            logger.warning("%s: login refused: %s", self.name, error.text)
            self._refuse_login(event)
            return
        self.machine.accept_login(event.username, "impersonator" in self.user.tags)

    def _refuse_login(self, event: LoginRequested) -> None:
        text = (
            f"Login was refused using authentication mechanism {event.mechanism}."
            " For details see the broker logfile."
        )
        if self._is_capable_of("authentication_failure_close"):
            self.machine.close_connection(LoginRefused(ACCESS_REFUSED, text))
        self._restart_timer(CLOSE_TIMEOUT_S, self.abort)

    def _open(self, event: OpenRequested) -> None:
        assert self.user is not None
        vhost = self.vhost = open_vhost(self.broker, self.user, event.vhost)
        self.access = ConnectionAccess(self.broker.auth, self.user, vhost)
        self.machine.accept_open(vhost.name)
        self.is_registered = True
        self.broker.connections[self.name] = self
        logger.info("%s: user '%s' is connected to vhost '%s'", self.name, self.user.name, vhost.name)
        self._restart_timer(0, None)
        if self.machine.heartbeat_s:
            self._beat()

    # ending

    def _end_channel(self, error: ChannelFault) -> None:
        """Close a channel with an error of its own, or of the machine's finding."""
        channel = self.channels.pop(error.channel, None)
        if channel is not None:
            channel.close()
            logger.info("%s channel %d: %s", self.name, error.channel, error)
        self.machine.close_channel(error)

    def close_channel(self, error: ChannelFault) -> None:
        """Close a channel for what its client does not do."""
        self._end_channel(error)
        self.flush()

    def _end(self, error: AmqpError, level: int = logging.WARNING) -> None:
        """Close the connection with an error; it has ended for the broker at once."""
        if self.is_closed:
            return
        logger.log(level, "%s: closing connection: %s", self.name or self.peer, error)
        self._events.clear()
        self._release()
        self.machine.close_connection(error)
        if isinstance(error, BadProtocolHeader):
            self.flush()
            self.close_after_flush()
        else:
            self._restart_timer(CLOSE_TIMEOUT_S, self.abort)

    def _release(self) -> None:
        """Give back all that the broker keeps for this connection."""
        for channel in self.channels.values():
            channel.close()
        self.channels.clear()
        self._confirms.clear()
        if self.is_registered:
            self.is_registered = False
            del self.broker.connections[self.name]
        self.broker.forget_waiting(self)
        self.broker.connection_closed(self)

    # waiting

    def wait_for_commit(self, then: Callable[[], None]) -> None:
        """Handle nothing more until all accepted so far is on the disk, then do ``then`` and go on."""
        self._hold()
        self.broker.after_commit(partial(self._go_on, then), with_messages=self.has_published)

    def wait_for_page(self, queue: Queue, then: Callable[[], None]) -> None:
        """Handle nothing more until the head of a queue is in RAM, then do ``then`` and go on."""
        self._hold()
        task = self.loop.create_task(self.broker.page_in(queue), name=f"basic.get {queue.name}")
        task.add_done_callback(lambda _: self._go_on(then))

    def _hold(self) -> None:
        self._is_waiting = True
        self.pause_input("waiting")

    def _go_on(self, then: Callable[[], None]) -> None:
        self._is_waiting = False
        if self.is_registered:
            # Else the connection has ended meanwhile, or is ending
            then()
            self._handle_events()
        if not self._is_waiting:
            self.resume_input("waiting")

    def _block(self) -> None:
        """Read no further until the disk has room (RabbitMQ, "Blocked Connections"): this publish waits."""
        self._hold()
        self.is_blocked = True
        self.has_published = True
        if self._is_capable_of("connection.blocked"):
            self.machine.send(0, spec.Blocked(LOW_ON_DISK))
        logger.warning("%s: publisher is blocked: %s", self.name, LOW_ON_DISK)
        self.broker.when_roomy(self, partial(self._go_on, self._unblock))

    def _unblock(self) -> None:
        self.is_blocked = False
        if self._is_capable_of("connection.blocked"):
            self.machine.send(0, spec.Unblocked())

    def _is_capable_of(self, capability: str) -> bool:
        """Whether the client has said so at connection.start-ok."""
        capabilities = self.machine.client_properties.get("capabilities")
        return isinstance(capabilities, dict) and bool(capabilities.get(capability))

    def _on_relieved(self) -> None:
        self._waits_for_relief = False
        self.resume_input("congested")

    # what channels ask

    def confirm(self, channel: ServerChannel, last: int) -> None:
        """Confirm a channel's publishes up to ``last``, with others of this turn of the loop."""
        if not self._confirms:
            self.loop.call_soon(self._send_confirms)
        self._confirms[channel] = last

    def _send_confirms(self) -> None:
        for channel, last in self._confirms.items():
            if not channel.is_closed and channel.confirms is not None:
                self.machine.send_bytes(channel.confirms.encode(last))
        self._confirms.clear()
        self.flush()

    def delivery_room(self, queue: Queue) -> int:
        """How many messages of the queue's usual size may still be delivered in this turn of the loop."""
        if not self.writable or self._turn_bytes >= DELIVERY_BYTES_MAX or self.is_closed:
            return 0
        usual_bytes = queue.message_bytes // (queue.messages or 1)
        return 1 + (DELIVERY_BYTES_MAX - self._turn_bytes) // (usual_bytes + 64)

    def deliver(self, frames: bytes, count: int, no_ack: bool) -> None:
        """Send encoded deliveries."""
        self.flush()
        self.write(frames)
        if not self._turn_bytes:
            # Runs after the write of this turn
            self.loop.call_soon(self._on_turn_over)
        self._turn_bytes += len(frames)
        if no_ack:
            self.broker.stats.deliver_no_ack += count
        else:
            self.broker.stats.deliver += count

    def _on_turn_over(self) -> None:
        was_full = self._turn_bytes >= DELIVERY_BYTES_MAX
        self._turn_bytes = 0
        if was_full and self.writable:
            self._wake_consumers()

    def _wake_consumers(self) -> None:
        for channel in self.channels.values():
            channel.wake()

    def notify_cancelled(self, channel: int, consumer_tag: str) -> None:
        """Send basic.cancel to a client that knows it."""
        if self._is_capable_of("consumer_cancel_notify"):
            self.machine.send(channel, spec.BasicCancel(consumer_tag, True))
            self.flush()

    # timers

    def _restart_timer(self, delay_s: float, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(delay_s, callback) if callback is not None else None

    def _on_handshake_timeout(self) -> None:
        logger.warning("%s: no connection.open within %.0f s", self.name, HANDSHAKE_TIMEOUT_S)
        self.abort()

    def _beat(self) -> None:
        """Send a heartbeat when nothing else was sent, drop a peer that has missed two (section 4.2.7)."""
        now = self.loop.time()
        interval_s = self.machine.heartbeat_s
        if self._input_held:
            # It is we who do not listen
            self.last_received = now
        if now - self.last_received > 2 * interval_s:
            logger.warning("%s: missed heartbeats, nothing for %d s", self.name, now - self.last_received)
            self.abort()
            return
        # A quarter, because the timer comes up to a second early: what was sent at the last beat must not count.
        if now - self.last_sent >= interval_s / 4:
            self.write(HEARTBEAT_FRAME)
        self._timer = self.call_coarsely(interval_s / 2, self._beat)

    def details(self) -> dict[str, Any]:
        """A row of ``GET /api/connections``."""
        return connection_details(self)
