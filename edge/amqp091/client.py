"""The client: a connection to any AMQP 0-9-1 broker, for shovels, federation, the demo and tests.

The machine is the server's, in the other role. Nothing is awaited per message: publishes go out in batches, deliveries
and confirms come by callback in runs. Errors are typed, carry reply code and text, and never credentials.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge import __version__
from edge.amqp091 import spec
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.constants import ACCESS_REFUSED, HEARTBEAT_FRAME, SUCCESS
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import AmqpError, ChannelFault, ConnectionFault, ConnectionLost, LoginRefused
from edge.amqp091.events import ConnectionClosed, Event, Fault, MethodReceived, Opened
from edge.core.table import Table
from edge.net.protocol import WireProtocol
from edge.uris import Uri, parse_uri

logger = logging.getLogger("edge.amqp091.client")

CLOSE_TIMEOUT_S: Final = 3.0
"""How long a server has to answer connection.close."""


class AmqpClient(WireProtocol):
    """One connection; ``connect`` makes it. Callbacks are attributes, to be set before anything can happen."""

    def __init__(self, credentials: Credentials, elapsed_ms: Callable[[], int] | None = None) -> None:
        super().__init__()
        self.machine = ClientMachine(credentials)
        self.error: AmqpError | None = None
        #: Why the server has blocked publishers (connection.blocked), None when it has not.
        self.blocked_reason: str | None = None
        # callbacks
        #: Once, when the connection has ended otherwise than by ``close``.
        self.when_closed: Callable[[AmqpError], None] | None = None
        #: With the reason, or None when the server takes publishes again.
        self.when_blocked: Callable[[str | None], None] | None = None
        #: The socket takes more again; see ``writable``.
        self.when_writable: Callable[[], None] | None = None
        self._channels: dict[int, ClientChannel] = {}
        self._elapsed_ms = elapsed_ms
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self._closed: asyncio.Future[None] = self.loop.create_future()
        self._is_closing = False
        self._heartbeat: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls,
        uri: Uri | str,
        *,
        connection_name: str = "",
        properties: Table | None = None,
        elapsed_ms: Callable[[], int] | None = None,
    ) -> "AmqpClient":
        """Connect and log in, within the URI's ``connection_timeout``.

        With ``elapsed_ms``, the node's clock, received messages carry time and expiry. Raises OSError (TLS included),
        TimeoutError, LoginRefused, ConnectionFault, ConnectionLost; ConfigError for a text that is no URI.
        """
        uri = parse_uri("uri", uri) if isinstance(uri, str) else uri
        credentials = Credentials(
            username="guest" if uri.username is None else uri.username,
            password="guest" if uri.password is None else uri.password,
            vhost=uri.vhost,
            properties=client_properties(connection_name, properties or {}),
            heartbeat_s=uri.heartbeat_s,
        )
        loop = asyncio.get_running_loop()
        server_name = None if uri.server_name in ("", "disable") else uri.server_name
        async with asyncio.timeout(uri.connect_timeout_s):
            _, client = await loop.create_connection(
                lambda: cls(credentials, elapsed_ms),
                uri.host,
                uri.port,
                ssl=uri.tls,
                server_hostname=(server_name or uri.host) if uri.tls else None,
            )
            try:
                await client._opened
            except BaseException:
                client.abort()
                raise
        return client

    async def channel(self) -> ClientChannel:
        """Open a channel."""
        if self.error is not None:
            raise self.error
        if self._is_closing:
            raise ConnectionLost("the connection was closed by its owner")
        number = self.machine.open_channel()
        channel = self._channels[number] = ClientChannel(self, number)
        self.flush()
        await channel.opened()
        return channel

    async def close(self) -> None:
        """connection.close; waits for the answer, but not for long. Never raises but when cancelled."""
        self._is_closing = True
        if self.is_closed:
            return
        self.machine.close_connection(ConnectionFault(SUCCESS, "Goodbye"))
        self.flush()
        timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.abort)
        try:
            await asyncio.shield(self._closed)
        finally:
            timer.cancel()
            self.abort()

    @property
    def server_properties(self) -> Table:
        return self.machine.server_properties

    @property
    def capabilities(self) -> Table:
        """Of the server: ``publisher_confirms``, ``leveret.sequence`` and so on."""
        return self.machine.capabilities

    def flush(self) -> None:
        """Write what the machine has to send."""
        output = self.machine.take_output()
        if output:
            self.write(output)

    # transport

    def on_connected(self) -> None:
        self.flush()

    def on_bytes(self, data: bytes) -> None:
        touched: set[ClientChannel] = set()
        for event in self.machine.receive(data, self._elapsed_ms() if self._elapsed_ms else 0):
            channel = self._channels.get(event.channel)
            if channel is None or isinstance(event, Fault):
                self._handle(event)
            elif isinstance(event, MethodReceived) and isinstance(event.method, spec.ChannelClose):
                self._on_channel_close(channel, event.method)
            else:
                touched.add(channel)
                channel.handle(event)
        for channel in touched:
            channel.report_confirms()
        self.flush()

    def on_writable(self) -> None:
        if self.when_writable is not None:
            self.when_writable()

    def on_closed(self, exc: Exception | None) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._end(self.error or self._lost(exc))
        if not self._closed.done():
            self._closed.set_result(None)

    # events

    def _on_channel_close(self, channel: ClientChannel, method: spec.ChannelClose) -> None:
        channel.report_confirms()
        self.forget(channel)
        self.machine.send(channel.number, spec.ChannelCloseOk())
        ids = method.class_id << 16 | method.method_id
        channel.end(ChannelFault(channel.number, method.reply_code, method.reply_text, ids))

    def forget(self, channel: ClientChannel) -> None:
        """The channel has ended, its number may be used again."""
        self._channels.pop(channel.number, None)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Opened):
            if not self._opened.done():
                self._opened.set_result(None)
            if self.machine.heartbeat_s:
                self._beat()
        elif isinstance(event, ConnectionClosed):
            if event.code and not self._is_closing:
                refused = event.code == ACCESS_REFUSED and not self._opened.done()
                kind = LoginRefused if refused else ConnectionFault
                self._end(kind(event.code, event.text, event.method))
            self.flush()
            self.close_after_flush()
        elif isinstance(event, Fault):
            self.fail(event.error)
        elif isinstance(event, MethodReceived):
            self._on_connection_method(event.method)

    def _on_connection_method(self, method: spec.Method) -> None:
        if isinstance(method, spec.Blocked):
            self.blocked_reason = method.reason
        elif isinstance(method, spec.Unblocked):
            self.blocked_reason = None
        else:
            return
        if self.when_blocked is not None:
            self.when_blocked(self.blocked_reason)

    # ending

    def fail(self, error: AmqpError) -> None:
        """The server broke the protocol."""
        logger.warning("%s: closing connection: %s", self.peer, error)
        self.machine.close_connection(error)
        self._end(error)
        self.loop.call_later(CLOSE_TIMEOUT_S, self.abort)

    def _end(self, error: AmqpError) -> None:
        """All is over but the socket: fail what is awaited, tell the owner unless it asked."""
        if self.error is None:
            self.error = error
            channels, self._channels = self._channels, {}
            for channel in channels.values():
                channel.end(error)
            if not self._opened.done():
                self._opened.set_exception(error)
                # Nobody waits for it any more when connect() was cancelled
                self._opened.exception()
            elif self.when_closed is not None and not self._is_closing:
                self.when_closed(error)

    def _lost(self, exc: Exception | None) -> AmqpError:
        if self._is_closing:
            return ConnectionLost("the connection was closed by its owner")
        if not self._opened.done() and self.machine.is_logging_in:
            # RabbitMQ's answer to clients without authentication_failure_close, and that of older brokers
            return LoginRefused(ACCESS_REFUSED, "the server closed the connection during login")
        return ConnectionLost(f"the connection is lost: {exc}" if exc else "the server closed the connection")

    def _beat(self) -> None:
        """Send a heartbeat when nothing else was sent, give up on a server that has missed two (section 4.2.7)."""
        now = self.loop.time()
        interval_s = self.machine.heartbeat_s
        if self._input_held:
            # It is we who do not listen
            self.last_received = now
        if now - self.last_received > 2 * interval_s:
            self._end(ConnectionLost(f"missed heartbeats, nothing for {now - self.last_received:.0f} s"))
            self.abort()
            return
        if now - self.last_sent >= interval_s / 2:
            self.write(HEARTBEAT_FRAME)
        self._heartbeat = self.loop.call_later(interval_s / 2, self._beat)


def client_properties(connection_name: str, properties: Table) -> Table:
    """What the server shows of the connection."""
    shown: Table = {"product": "Leveret", "version": __version__, "platform": "Python", **properties}
    if connection_name:
        shown["connection_name"] = connection_name
    return shown
