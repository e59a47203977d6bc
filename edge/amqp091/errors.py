"""AMQP errors with their reply code and scope, for both roles.

The machine reports a peer's fault as one of these; a server sends it as channel.close or connection.close, a client
raises what its server sent. Texts never hold credentials.
"""

from typing import ClassVar

from edge.amqp091.constants import REPLY_NAMES
from edge.core.errors import EdgeError


class AmqpError(EdgeError):
    """Root of all errors with a reply code. ``class_id`` and ``method_id`` name the method that failed, 0 if none."""

    scope: ClassVar[str] = ""

    def __init__(self, code: int, text: str, method: int = 0) -> None:
        super().__init__(text)
        self.code = code
        #: class id and method id of the method at fault, as in ``spec``: class << 16 | method
        self.method = method

    @property
    def reply_text(self) -> str:
        """Text as RabbitMQ sends it: ``NOT_FOUND - no queue 'x' in vhost '/'``, cut to a short string."""
        name = REPLY_NAMES.get(self.code)
        text = self.text if name is None or self.text.startswith(name) else f"{name} - {self.text}"
        encoded = text.encode("utf-8", "replace")
        return text if len(encoded) <= 255 else encoded[:252].decode("utf-8", "ignore") + "..."

    def __str__(self) -> str:
        return f"{self.code} {self.reply_text}" if self.code else self.text


class ChannelFault(AmqpError):
    """Ends one channel (a "soft" error, section 1.2); the connection goes on."""

    scope = "channel"

    def __init__(self, channel: int, code: int, text: str, method: int = 0) -> None:
        super().__init__(code, text, method)
        self.channel = channel
        #: of a message that is refused for its properties: where it was published to, which counts before them
        self.exchange: str | None = None


class ConnectionFault(AmqpError):
    """Ends the connection (a "hard" error, section 1.2)."""

    scope = "connection"


class BadProtocolHeader(ConnectionFault):
    """The peer does not speak AMQP 0-9-1: it gets our protocol header and a closed connection (section 4.2.2)."""


class LoginRefused(ConnectionFault):
    """The server refused user, password or vhost."""


class ConnectionLost(AmqpError):
    """The connection is gone without connection.close; the code is 0. Client role."""

    scope = "connection"

    def __init__(self, text: str) -> None:
        super().__init__(0, text)
