"""What a client says of itself. Apart from its machine because a struct cannot be compiled."""

import msgspec

from edge.amqp091.constants import CHANNEL_MAX, FRAME_MAX, HEARTBEAT_S
from edge.core.table import Table


class Credentials(msgspec.Struct):
    """Who logs in, where to, and how it presents itself. ``repr`` leaves the password out."""

    username: str = "guest"
    password: str = "guest"  # noqa: S105  RabbitMQ's default, good for loopback only
    vhost: str = "/"
    properties: Table = msgspec.field(default_factory=dict)
    channel_max: int = CHANNEL_MAX
    frame_max: int = FRAME_MAX
    heartbeat_s: int = HEARTBEAT_S

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, vhost={self.vhost!r})"
