"""What a server makes of the properties that concern itself: user_id, a direct reply-to, and CC and BCC headers.

Only messages that ``PropertyReader`` has marked come here, one by one; all others pass by the hot loop.
"""

from typing import Final

from edge.amqp091 import spec
from edge.amqp091.channel import Channel
from edge.amqp091.constants import PRECONDITION_FAILED
from edge.amqp091.errors import ChannelFault
from edge.core.carbon import BCC, CC, further_keys
from edge.core.properties import (
    DIRECT_REPLY_QUEUE,
    MARK_CARBON_COPY,
    MARK_DIRECT_REPLY,
    BasicProperties,
    decode_properties,
    encode_properties,
)
from edge.core.table import type_name

NO_KEYS: Final[tuple[str, ...]] = ()


def settle_marks(
    channel: Channel, properties: bytes, marks: int, user: str, may_impersonate: bool
) -> tuple[bytes, tuple[str, ...]]:
    """Return the properties to publish and the routing keys of CC and BCC. Raises ChannelFault 406."""
    decoded = decode_properties(properties)
    check_user(channel, decoded, user, may_impersonate)
    keys = _further_keys(channel, decoded) if marks & MARK_CARBON_COPY else NO_KEYS
    has_bcc = decoded.headers is not None and decoded.headers.pop(BCC, None) is not None
    has_reply = marks & MARK_DIRECT_REPLY and decoded.reply_to == DIRECT_REPLY_QUEUE
    if has_reply:
        if not channel.reply_key:
            raise _refused(channel, "fast reply consumer does not exist")
        decoded.reply_to = channel.reply_key
    return encode_properties(decoded) if has_bcc or has_reply else properties, keys


def check_user(channel: Channel, properties: BasicProperties, user: str, may_impersonate: bool) -> None:
    """A user_id must be the publisher's own (RabbitMQ, "Validated User-ID"). Raises ChannelFault 406."""
    if properties.user_id not in (None, user) and not may_impersonate:
        text = f"user_id property set to '{properties.user_id}' but authenticated user was '{user}'"
        raise _refused(channel, text)


def _further_keys(channel: Channel, properties: BasicProperties) -> tuple[str, ...]:
    headers = properties.headers or {}
    for name in (CC, BCC):
        listed = headers.get(name)
        if listed is not None and not isinstance(listed, list):
            reason = f'{{unacceptable_type_in_header,"{name}",{type_name(listed)}}}'
            raise _refused(channel, f"invalid message: {reason}")
    return further_keys(headers)


def _refused(channel: Channel, text: str) -> ChannelFault:
    return ChannelFault(channel.number, PRECONDITION_FAILED, text, spec.BasicPublish.ID)
