"""The handshake of the client's side: header, start-ok, tune-ok, open, and the channels it opens (section 2.2.4)."""

from typing import final

from edge.amqp091 import spec
from edge.amqp091.connection import RUNNING, Machine
from edge.amqp091.constants import (
    COMMAND_INVALID,
    FRAME_MIN,
    PROTOCOL_HEADER,
    RESOURCE_ERROR,
)
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import ConnectionFault
from edge.amqp091.events import Event, Opened
from edge.core.table import Table

CLIENT_CAPABILITIES: Table = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}
"""What RabbitMQ asks a client to declare before it uses an extension towards it."""


@final
class ClientMachine(Machine):
    """A client's side of one connection."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(spec.CLIENT, body_bytes_max=_BODY_BYTES_MAX)
        self.server_properties: Table = {}
        self.user = credentials.username
        self._credentials = credentials
        self._due: type[spec.Method] = spec.Start
        self.send_bytes(PROTOCOL_HEADER)

    def open_channel(self) -> int:
        """Send channel.open on the lowest free number and return it. Raises ConnectionFault when none is free."""
        for number in range(1, self.channel_max + 1):
            if number not in self.channels:
                self._open_channel(number)
                self.send(number, spec.ChannelOpen())
                return number
        raise ConnectionFault(RESOURCE_ERROR, f"all {self.channel_max} channels are open")

    @property
    def capabilities(self) -> Table:
        """What the server can do beyond the specification."""
        found = self.server_properties.get("capabilities")
        return found if isinstance(found, dict) else {}

    @property
    def is_logging_in(self) -> bool:
        """Whether user name and password are sent and not accepted yet."""
        return self._due is spec.Tune

    def _on_handshake(self, method: spec.Method, events: list[Event]) -> None:
        if type(method) is not self._due:
            raise ConnectionFault(COMMAND_INVALID, f"{type(method).__name__} is not due", method.ID)
        if isinstance(method, spec.Start):
            self._start(method)
            self._due = spec.Tune
        elif isinstance(method, spec.Tune):
            self._tune(method)
            self.send(0, spec.Open(self._credentials.vhost))
            self._due = spec.OpenOk
        else:
            self.vhost = self._credentials.vhost
            self.state = RUNNING
            events.append(Opened())

    def _start(self, method: spec.Start) -> None:
        if b"PLAIN" not in method.mechanisms.split():
            offered = method.mechanisms.decode("utf-8", "replace")
            raise ConnectionFault(COMMAND_INVALID, f"the server offers no PLAIN login, only: {offered}")
        self.server_properties = method.server_properties
        properties = {"capabilities": CLIENT_CAPABILITIES, **self._credentials.properties}
        username, password = self._credentials.username.encode(), self._credentials.password.encode()
        self.send(0, spec.StartOk(properties, "PLAIN", b"\x00" + username + b"\x00" + password, "en_US"))

    def _tune(self, offer: spec.Tune) -> None:
        """Take the smaller of either side's limits; 0 is no limit (section 1.4.2.6)."""
        wanted = self._credentials
        self.channel_max = min(offer.channel_max or wanted.channel_max, wanted.channel_max)
        self.frame_max = max(min(offer.frame_max or wanted.frame_max, wanted.frame_max), FRAME_MIN)
        self.heartbeat_s = wanted.heartbeat_s and min(
            offer.heartbeat or wanted.heartbeat_s, wanted.heartbeat_s
        )
        self.send(0, spec.TuneOk(self.channel_max, self.frame_max, self.heartbeat_s))


_BODY_BYTES_MAX = 512 * 1024 * 1024
"""A server may be configured to allow 512 MiB (RabbitMQ's hard limit of max_message_size), so a client takes them."""
