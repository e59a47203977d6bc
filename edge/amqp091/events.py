"""What the machine reports. A server or client handles events strictly in the order of the list.

Runs carry the hot methods: consecutive frames of one channel come out as one event, so that the cost of handling them
is per run and not per message.
"""

from typing import final

from edge.amqp091.errors import AmqpError
from edge.amqp091.spec import Method
from edge.core.message import Message


class Event:
    """Base of all events. ``channel`` is 0 for what concerns the connection."""

    __slots__ = ("channel",)

    def __init__(self, channel: int) -> None:
        self.channel = channel


@final
class PublishRun(Event):
    """Consecutive basic.publish of one channel to one exchange, complete with content. Server role."""

    __slots__ = ("copies", "exchange", "messages")

    def __init__(
        self, channel: int, exchange: str, messages: list[Message], copies: tuple[str, ...] = ()
    ) -> None:
        super().__init__(channel)
        self.exchange = exchange
        self.messages = messages
        #: further routing keys (CC and BCC) of the only message of the run; most have none
        self.copies = copies


@final
class DeliverRun(Event):
    """Consecutive basic.deliver of one channel to one consumer; three parallel lists. Client role."""

    __slots__ = ("consumer_tag", "messages", "redelivered", "tags")

    def __init__(self, channel: int, consumer_tag: str) -> None:
        super().__init__(channel)
        self.consumer_tag = consumer_tag
        self.tags: list[int] = []
        self.redelivered: list[bool] = []
        self.messages: list[Message] = []

    @property
    def last_tag(self) -> int:
        """What to acknowledge with ``multiple`` when all of the run is done."""
        return self.tags[-1]


@final
class AckRun(Event):
    """Consecutive basic.ack of one channel: single ones in order, or one with ``multiple``."""

    __slots__ = ("multiple", "tags")

    def __init__(self, channel: int, tags: list[int], multiple: bool) -> None:
        super().__init__(channel)
        self.tags = tags
        self.multiple = multiple


@final
class MethodReceived(Event):
    """Any other method without content."""

    __slots__ = ("method",)

    def __init__(self, channel: int, method: Method) -> None:
        super().__init__(channel)
        self.method = method


@final
class ContentReceived(Event):
    """basic.return or basic.get-ok with its message. Client role."""

    __slots__ = ("message", "method")

    def __init__(self, channel: int, method: Method, message: Message) -> None:
        super().__init__(channel)
        self.method = method
        self.message = message


@final
class Fault(Event):
    """The peer broke the protocol. The owner answers by ``close_channel`` or ``close_connection`` with ``error``."""

    __slots__ = ("error",)

    def __init__(self, channel: int, error: AmqpError) -> None:
        super().__init__(channel)
        self.error = error


@final
class LoginRequested(Event):
    """connection.start-ok came: answer by ``accept_login`` or ``close_connection``. Server role."""

    __slots__ = ("client_properties", "mechanism", "password", "username")

    def __init__(
        self, mechanism: str, username: str, password: str, client_properties: dict[str, object]
    ) -> None:
        super().__init__(0)
        self.mechanism = mechanism
        self.username = username
        self.password = password
        self.client_properties = client_properties


@final
class OpenRequested(Event):
    """connection.open came: answer by ``accept_open`` or ``close_connection``. Server role."""

    __slots__ = ("vhost",)

    def __init__(self, vhost: str) -> None:
        super().__init__(0)
        self.vhost = vhost


@final
class Opened(Event):
    """The handshake is through. Client role."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0)


@final
class ConnectionClosed(Event):
    """connection.close came and is answered, or our own was answered: nothing follows. ``code`` is 0 in that case."""

    __slots__ = ("code", "method", "text")

    def __init__(self, code: int, text: str, method: int = 0) -> None:
        super().__init__(0)
        self.code = code
        self.text = text
        self.method = method
