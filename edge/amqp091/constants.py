"""Numbers of AMQP 0-9-1 and of RabbitMQ's extensions (sections 1.2 and 2.3.5 of the specification)."""

from typing import Final

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
PROTOCOL_HEADER_0_9: Final = b"AMQP\x01\x01\x00\x09"
"""Of the draft before 0-9-1, which RabbitMQ takes for the same (``rabbit_reader:handshake``)."""

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
FRAME_OVERHEAD: Final = 8
"""Bytes of a frame around its payload: kind, channel, size, and the frame end."""
HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"

CHANNEL_MAX: Final = 2047
"""Default offer of RabbitMQ: bounds what one connection can make the node keep."""
FRAME_MAX: Final = 131_072
"""Bytes of a frame with its overhead, RabbitMQ's default."""
FRAME_MIN: Final = 4_096
"""The specification's smallest frame_max. RabbitMQ 4.1 wants 8192; older amqplib clients offer 4096."""
HANDSHAKE_FRAME_MAX: Final = 8_192
"""Before tuning, as RabbitMQ's initial_frame_max: bounds what a peer that has not logged in can make us keep."""
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""RabbitMQ 4's default max_message_size."""
HEARTBEAT_S: Final = 60
"""RabbitMQ's default offer."""

SUCCESS: Final = 200
CONTENT_TOO_LARGE: Final = 311
NO_ROUTE: Final = 312
CONNECTION_FORCED: Final = 320
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
RESOURCE_LOCKED: Final = 405
PRECONDITION_FAILED: Final = 406
FRAME_ERROR: Final = 501
SYNTAX_ERROR: Final = 502
COMMAND_INVALID: Final = 503
CHANNEL_ERROR: Final = 504
UNEXPECTED_FRAME: Final = 505
RESOURCE_ERROR: Final = 506
NOT_ALLOWED: Final = 530
NOT_IMPLEMENTED: Final = 540
INTERNAL_ERROR: Final = 541

REPLY_NAMES: Final = {
    CONTENT_TOO_LARGE: "CONTENT_TOO_LARGE",
    NO_ROUTE: "NO_ROUTE",
    CONNECTION_FORCED: "CONNECTION_FORCED",
    ACCESS_REFUSED: "ACCESS_REFUSED",
    NOT_FOUND: "NOT_FOUND",
    RESOURCE_LOCKED: "RESOURCE_LOCKED",
    PRECONDITION_FAILED: "PRECONDITION_FAILED",
    FRAME_ERROR: "FRAME_ERROR",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    COMMAND_INVALID: "COMMAND_INVALID",
    CHANNEL_ERROR: "CHANNEL_ERROR",
    UNEXPECTED_FRAME: "UNEXPECTED_FRAME",
    RESOURCE_ERROR: "RESOURCE_ERROR",
    NOT_ALLOWED: "NOT_ALLOWED",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    INTERNAL_ERROR: "INTERNAL_ERROR",
}
"""As RabbitMQ writes them in front of reply texts."""

BASIC_CLASS: Final = 60
PUBLISH_ID: Final = b"\x00\x3c\x00\x28"
DELIVER_ID: Final = b"\x00\x3c\x00\x3c"
ACK_ID: Final = b"\x00\x3c\x00\x50"
"""Class and method id of the three hot methods, as they stand in a frame."""
ACK_BYTES: Final = 21
"""Of a basic.ack frame."""
CLOSE_OK_FRAME: Final = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce"
"""connection.close-ok, always these bytes."""
