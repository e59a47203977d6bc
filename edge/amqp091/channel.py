"""The machine's state of one channel: open or closing, and the content that is being put together.

Content arrives as a method frame, a header frame and body frames, which other channels' frames may interleave
(section 4.2.6). The hot loops of ``inbound`` take whole messages in line; what is split over chunks or over several
body frames is assembled here.
"""

from typing import Final, final

from edge.amqp091.constants import (
    BASIC_CLASS,
    FRAME_ERROR,
    PRECONDITION_FAILED,
    UNEXPECTED_FRAME,
)
from edge.amqp091.errors import ChannelFault, ConnectionFault
from edge.amqp091.spec import BasicDeliver, BasicGetOk, BasicPublish, BasicReturn
from edge.core.properties import PropertyReader

OPEN: Final = 0
FAULTED: Final = 1
"""The machine has reported a fault of the channel: everything on it is ignored until the owner closes it."""
CLOSING: Final = 2
"""We sent channel.close: everything but close and close-ok is ignored (section 1.5.2.5)."""

ContentMethod = BasicPublish | BasicDeliver | BasicGetOk | BasicReturn

Content = tuple[bytes, int, int, int, int, int]
"""Properties, body bytes, message flags, expiration in ms, priority, marks (see ``PropertyReader.peek``)."""

CONTENT_HEADER_MIN: Final = 14
"""Bytes of a content header's payload: class, weight, body size, property flags."""


@final
class Channel:
    """One open channel. Owned by the machine; servers and clients keep their own object beside it."""

    __slots__ = (
        "ack_lead",
        "body_bytes",
        "body_bytes_max",
        "chunks",
        "contents",
        "method",
        "method_lead",
        "number",
        "properties",
        "reader",
        "received_bytes",
        "reply_key",
        "routes",
        "state",
    )

    def __init__(self, number: int, reader: PropertyReader, body_bytes_max: int) -> None:
        # for the life of the channel
        self.number = number
        self.reader = reader
        self.body_bytes_max = body_bytes_max
        on_channel = number.to_bytes(2, "big")
        #: how a method frame on this channel begins
        self.method_lead = b"\x01" + on_channel
        #: how a basic.ack begins: its size is always 13
        self.ack_lead = b"\x01" + on_channel + b"\x00\x00\x00\x0d\x00\x3c\x00\x50"
        #: caches of the hot loops: what the frames before a body said, by their bytes
        self.routes: dict[bytes, tuple[str, str, int]] = {}
        self.contents: dict[bytes, Content] = {}
        self.state = OPEN
        #: what reply_to ``amq.rabbitmq.reply-to`` becomes; set by the server for its consumer of direct replies
        self.reply_key = ""
        # of the content being put together; method is None when there is none
        self.method: ContentMethod | None = None
        self.properties: bytes | None = None
        self.body_bytes = 0
        self.received_bytes = 0
        self.chunks: list[bytes] = []

    def begin(self, method: ContentMethod) -> None:
        """A method with content came."""
        self.method = method
        self.properties = None

    def on_header(self, payload: bytes) -> bool:
        """Take a content header; return whether the content is complete. Raises on what cannot be one."""
        if self.method is None or self.properties is not None:
            raise self._unexpected("expected a method frame, got a content header")
        if len(payload) < CONTENT_HEADER_MIN:
            raise ConnectionFault(FRAME_ERROR, "a content header is too short", self.method.ID)
        if int.from_bytes(payload[:2], "big") != BASIC_CLASS:
            raise ConnectionFault(
                UNEXPECTED_FRAME, "the content header is not of the method's class", self.method.ID
            )
        self.body_bytes = int.from_bytes(payload[4:12], "big")
        if self.body_bytes > self.body_bytes_max:
            raise ChannelFault(
                self.number,
                PRECONDITION_FAILED,
                f"message size {self.body_bytes} is larger than configured max size {self.body_bytes_max}",
                self.method.ID,
            )
        self.properties = payload[12:]
        self.received_bytes = 0
        self.chunks = []
        return self.body_bytes == 0

    def on_body(self, payload: bytes) -> bool:
        """Take a body frame; return whether the content is complete. Raises ConnectionFault when it does not fit."""
        if self.method is None or self.properties is None:
            raise self._unexpected("expected another frame, got a body frame")
        self.received_bytes += len(payload)
        if self.received_bytes > self.body_bytes:
            raise ConnectionFault(
                FRAME_ERROR, f"the body is longer than the {self.body_bytes} announced bytes", self.method.ID
            )
        self.chunks.append(payload)
        return self.received_bytes == self.body_bytes

    def _unexpected(self, text: str) -> ConnectionFault:
        return ConnectionFault(UNEXPECTED_FRAME, text, 0 if self.method is None else self.method.ID)

    def take_content(self) -> tuple[ContentMethod, bytes, bytes]:
        """Return method, properties and body of the complete content and forget them."""
        method, properties, chunks = self.method, self.properties, self.chunks
        assert method is not None
        assert properties is not None
        self.drop_content()
        return method, properties, chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def drop_content(self) -> None:
        """Forget what has been put together so far."""
        self.method = None
        self.properties = None
        self.received_bytes = 0
        self.chunks = []
