"""The connection machine, for both roles: bytes in, events out, and bytes to send. Knows no socket and no broker.

``receive`` parses all complete frames of what has come so far. It checks what can be checked without a broker (frame
shape, order of frames, which method may come in which state and on which channel) and reports the rest as events, in
order. A fault is an event too, so that what came before it is still handled; nothing of that connection, or that
channel, follows it.

States: HANDSHAKE, RUNNING, then CLOSING_CONNECTION (we sent connection.close) and CLOSED. The handshake itself is in
``server_machine`` and ``client_machine``, which extend this one.
"""

from struct import Struct
from typing import Final

from edge.amqp091 import spec
from edge.amqp091.channel import CLOSING, FAULTED, OPEN, Channel, ContentMethod
from edge.amqp091.constants import (
    ACK_ID,
    BODY,
    CHANNEL_ERROR,
    CHANNEL_MAX,
    CLOSE_OK_FRAME,
    COMMAND_INVALID,
    DELIVER_ID,
    FRAME_END,
    FRAME_ERROR,
    FRAME_MAX,
    FRAME_OVERHEAD,
    HEADER,
    HEARTBEAT,
    MESSAGE_BYTES_MAX,
    METHOD,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    PUBLISH_ID,
    RESOURCE_ERROR,
    SYNTAX_ERROR,
    UNEXPECTED_FRAME,
)
from edge.amqp091.errors import AmqpError, ChannelFault, ConnectionFault
from edge.amqp091.events import ConnectionClosed, ContentReceived, Event, Fault, MethodReceived, PublishRun
from edge.amqp091.inbound import deliver_run, publish_run, read_acks, read_deliveries, read_publishes
from edge.amqp091.marks import NO_KEYS, check_user, settle_marks
from edge.amqp091.outbound import encode_method
from edge.core.message import MANDATORY, Message
from edge.core.properties import (
    NO_EXPIRATION,
    ExpirationError,
    PropertiesError,
    PropertyReader,
    decode_properties,
)

HANDSHAKE: Final = 0
RUNNING: Final = 1
CLOSING_CONNECTION: Final = 2
CLOSED: Final = 3

INCOMPLETE: Final = -1

ASSEMBLY_MESSAGES_MAX: Final = 4
"""How many messages of the largest size a connection may have half sent, over all its channels: bounds its memory."""

_FRAME: Final = Struct(">BHI")
_LEAD_BYTES: Final = 7
_KINDS: Final = 1 << METHOD | 1 << HEADER | 1 << BODY | 1 << HEARTBEAT
_CONNECTION_CLASS: Final = 10


class Machine:
    """State of one connection; ``role`` is that of this side, ``spec.SERVER`` or ``spec.CLIENT``."""

    def __init__(self, role: int, body_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        # for the life of the connection
        self.role = role
        self.peer_role = spec.CLIENT if role == spec.SERVER else spec.SERVER
        self.body_bytes_max = body_bytes_max
        self.reader = PropertyReader()
        # negotiated by tune and open
        self.channel_max = CHANNEL_MAX
        self.frame_max = FRAME_MAX
        self.heartbeat_s = 0
        self.user: str = ""
        #: server role: whether user_id may be another one's (RabbitMQ's tag ``impersonator``)
        self.may_impersonate = False
        self.vhost: str = ""
        self.state = HANDSHAKE
        self.channels: dict[int, Channel] = {}
        #: bytes of contents being put together, over all channels
        self.assembly_bytes = 0
        # of the input: an incomplete frame, and how many bytes it needs before it can be looked at again
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = 0
        self._output: list[bytes] = []
        self._close_sent = False
        #: the framing is lost: whatever comes is dropped but what looks like the answer to our close
        self._deaf = False

    # output

    def take_output(self) -> bytes:
        """Return what is to be sent, and forget it."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def send(self, channel: int, method: spec.Method) -> None:
        """Send a method without content. Raises ValueError for an argument that cannot be encoded."""
        self._output.append(encode_method(channel, spec.encode_arguments(method)))

    def send_bytes(self, frames: bytes) -> None:
        """Send what ``outbound`` has encoded."""
        self._output.append(frames)

    def close_channel(self, error: ChannelFault) -> None:
        """Send channel.close and ignore the channel until that is answered. Nothing if the peer has closed it."""
        channel = self.channels.get(error.channel)
        if channel is None or channel.state == CLOSING or self.state != RUNNING:
            return
        self._drop_content(channel)
        channel.state = CLOSING
        ids = error.method >> 16, error.method & 0xFFFF
        self.send(error.channel, spec.ChannelClose(error.code, error.reply_text, *ids))

    def close_connection(self, error: AmqpError) -> None:
        """Send connection.close and ignore everything until it is answered."""
        if self.state == CLOSED or self._close_sent:
            return
        self._close_sent = True
        self._shut(CLOSING_CONNECTION)
        self.send(0, spec.Close(error.code, error.reply_text, error.method >> 16, error.method & 0xFFFF))

    # input: frames

    def receive(self, chunk: bytes, now_ms: int = 0) -> list[Event]:
        """Take bytes from the peer and return the events they complete; ``now_ms`` becomes messages' time."""
        events: list[Event] = []
        if self.state == CLOSED:
            return events
        if self._deaf:
            if self._close_sent and CLOSE_OK_FRAME in chunk:
                self._on_close(spec.CloseOk(), events)
            return events
        if self._held:
            self._held.append(chunk)
            self._held_bytes += len(chunk)
            if self._held_bytes < self._needed_bytes:
                return events
            chunk = b"".join(self._held)
            self._held = []
        try:
            pos = self._receive_header(chunk)
            if pos == INCOMPLETE:
                pos = 0
                # The next byte may already be a wrong one.
                self._needed_bytes = len(chunk) + 1
            else:
                pos = self._receive_frames(chunk, pos, events, now_ms)
        except ConnectionFault as error:
            self._deaf = True
            self._report(error, events)
            return events
        if pos < len(chunk):
            self._held = [chunk[pos:] if pos else chunk]
            self._held_bytes = len(chunk) - pos
        return events

    def _receive_header(self, chunk: bytes) -> int:
        """Take the protocol header if one is due; return where frames begin or INCOMPLETE. Raises BadProtocolHeader."""
        return 0

    def _receive_frames(self, chunk: bytes, pos: int, events: list[Event], now_ms: int) -> int:
        """Take frames from ``pos`` on; return where the first incomplete one begins. Raises when framing is lost."""
        end = len(chunk)
        while end - pos >= _LEAD_BYTES:
            kind, number, size = _FRAME.unpack_from(chunk, pos)
            if kind == METHOD and self.state == RUNNING:
                taken = self._receive_run(number, chunk, pos, events, now_ms)
                if taken != pos:
                    pos = taken
                    continue
            if kind > HEARTBEAT or not _KINDS >> kind & 1:
                raise ConnectionFault(FRAME_ERROR, f"unknown frame type {kind}")
            if size + FRAME_OVERHEAD > self.frame_max:
                raise ConnectionFault(
                    FRAME_ERROR, f"a frame of {size} bytes is over frame_max {self.frame_max}"
                )
            stop = pos + _LEAD_BYTES + size
            if stop >= end:
                self._needed_bytes = size + FRAME_OVERHEAD
                return pos
            if chunk[stop] != FRAME_END:
                raise ConnectionFault(FRAME_ERROR, f"a frame ends in {chunk[stop]:#x} instead of 0xce")
            payload = chunk[pos + _LEAD_BYTES : stop]
            pos = stop + 1
            try:
                self._on_frame(kind, number, payload, events, now_ms)
            except AmqpError as error:
                self._report(error, events)
        self._needed_bytes = _LEAD_BYTES
        return pos

    def _receive_run(self, number: int, chunk: bytes, pos: int, events: list[Event], now_ms: int) -> int:
        """Take a run of a hot method, if that is what begins at ``pos``; return where it ends."""
        channel = self.channels.get(number)
        if channel is None or channel.state != OPEN or channel.method is not None:
            return pos
        method_id = chunk[pos + _LEAD_BYTES : pos + _LEAD_BYTES + 4]
        if method_id == ACK_ID:
            return read_acks(channel, chunk, pos, events)
        if method_id == PUBLISH_ID and self.role == spec.SERVER:
            return read_publishes(channel, chunk, pos, events, now_ms)
        if method_id == DELIVER_ID and self.role == spec.CLIENT:
            return read_deliveries(channel, chunk, pos, events, now_ms)
        return pos

    def _report(self, error: AmqpError, events: list[Event]) -> None:
        """Turn a fault into an event and stop listening to whom it concerns."""
        if isinstance(error, ChannelFault):
            channel = self.channels[error.channel]
            self._drop_content(channel)
            channel.state = FAULTED
            events.append(Fault(error.channel, error))
        elif self.state < CLOSING_CONNECTION:
            self._shut(CLOSING_CONNECTION)
            events.append(Fault(0, error))

    def _on_frame(self, kind: int, number: int, payload: bytes, events: list[Event], now_ms: int) -> None:
        """Take one frame outside of a run. Raises AmqpError."""
        if self.state == CLOSED:
            return
        if kind == HEARTBEAT:
            if payload:
                raise ConnectionFault(FRAME_ERROR, "a heartbeat is empty")
            if number:
                raise ConnectionFault(UNEXPECTED_FRAME, "a heartbeat belongs on channel 0")
            return
        channel = self.channels.get(number)
        if kind == METHOD:
            self._on_method(number, channel, payload, events)
        elif self.state != RUNNING:
            if self.state == HANDSHAKE:
                raise ConnectionFault(UNEXPECTED_FRAME, "content before connection.open")
        elif channel is None:
            raise ConnectionFault(UNEXPECTED_FRAME, f"content on channel {number}, which is not open")
        elif channel.state == OPEN:
            if kind == HEADER:
                complete = channel.on_header(payload)
            else:
                self.assembly_bytes += len(payload)
                if self.assembly_bytes > ASSEMBLY_MESSAGES_MAX * self.body_bytes_max:
                    raise ConnectionFault(RESOURCE_ERROR, "too many bytes of unfinished messages")
                complete = channel.on_body(payload)
            if complete:
                self.assembly_bytes -= channel.received_bytes
                self._on_content(channel, events, now_ms)

    # input: methods

    def _on_method(self, number: int, channel: Channel | None, payload: bytes, events: list[Event]) -> None:
        method_id = int.from_bytes(payload[:4], "big")
        kind = spec.METHODS.get(method_id)
        if self.state == CLOSING_CONNECTION:
            if kind in (spec.Close, spec.CloseOk) and number == 0:
                self._on_close(spec.decode_method(kind, payload), events)
            return
        if kind is None or len(payload) < 4 or not kind.SENDER & self.peer_role:
            raise ConnectionFault(
                COMMAND_INVALID,
                f"unknown method {method_id >> 16}.{method_id & 0xFFFF} for this peer",
                method_id,
            )
        if number and method_id >> 16 == _CONNECTION_CLASS:
            raise ConnectionFault(COMMAND_INVALID, f"{kind.__name__} on channel {number}", method_id)
        if channel is not None and channel.state != OPEN:
            self._on_closing_channel(channel, kind, events)
            return
        method = spec.decode_method(kind, payload)
        if isinstance(method, (spec.Close, spec.CloseOk)):
            self._on_close(method, events)
        elif self.state == HANDSHAKE:
            self._on_handshake(method, events)
        elif number == 0:
            if not isinstance(method, (spec.Blocked, spec.Unblocked, spec.UpdateSecret, spec.UpdateSecretOk)):
                raise ConnectionFault(
                    CHANNEL_ERROR, f"{kind.__name__} on channel 0 of an open connection", method_id
                )
            events.append(MethodReceived(0, method))
        else:
            self._on_channel_method(number, channel, method, events)

    def _on_handshake(self, method: spec.Method, events: list[Event]) -> None:
        """Take a method of channel 0 before the connection is open. Raises ConnectionFault."""
        raise NotImplementedError

    def _on_close(self, method: spec.Method, events: list[Event]) -> None:
        if isinstance(method, spec.Close):
            self.send(0, spec.CloseOk())
            ids = method.class_id << 16 | method.method_id
            events.append(ConnectionClosed(method.reply_code, method.reply_text, ids))
        else:
            events.append(ConnectionClosed(0, ""))
        self._shut(CLOSED)

    def _on_closing_channel(self, channel: Channel, kind: type[spec.Method], events: list[Event]) -> None:
        """We have closed the channel: it ends with the peer's close-ok, or with a close that crossed ours."""
        if kind is spec.ChannelClose:
            self.send(channel.number, spec.ChannelCloseOk())
        if kind in (spec.ChannelClose, spec.ChannelCloseOk):
            del self.channels[channel.number]
            events.append(MethodReceived(channel.number, spec.ChannelCloseOk()))

    def _on_channel_method(
        self, number: int, channel: Channel | None, method: spec.Method, events: list[Event]
    ) -> None:
        if channel is None:
            if isinstance(method, spec.ChannelCloseOk):
                return  # the answer to a close that crossed the peer's
            if not isinstance(method, spec.ChannelOpen):
                raise ConnectionFault(CHANNEL_ERROR, f"channel {number} is not open", method.ID)
            self._open_channel(number)
        elif channel.method is not None:
            raise ConnectionFault(
                UNEXPECTED_FRAME, "expected a content header, got a method frame", channel.method.ID
            )
        elif isinstance(method, spec.ChannelOpen):
            raise ConnectionFault(CHANNEL_ERROR, "second 'channel.open' seen", method.ID)
        elif isinstance(method, spec.ChannelClose):
            del self.channels[number]
        elif isinstance(method, ContentMethod):
            if isinstance(method, spec.BasicPublish) and method.immediate:
                raise ConnectionFault(NOT_IMPLEMENTED, "immediate=true", method.ID)
            channel.begin(method)
            return
        events.append(MethodReceived(number, method))

    def _open_channel(self, number: int) -> None:
        if number > self.channel_max:
            raise ConnectionFault(
                NOT_ALLOWED,
                f"channel {number} is over channel_max {self.channel_max}",
                spec.ChannelOpen.ID,
            )
        self.channels[number] = Channel(number, self.reader, self.body_bytes_max)

    def _on_content(self, channel: Channel, events: list[Event], now_ms: int) -> None:
        """A message is complete that the hot loops did not take. Raises AmqpError."""
        method, properties, body = channel.take_content()
        copies = NO_KEYS
        try:
            flags, ttl_ms, priority, marks = self.reader.check(properties)
            if self.role == spec.SERVER and marks:
                properties, copies = settle_marks(channel, properties, marks, self.user, self.may_impersonate)
        except ChannelFault as fault:
            fault.exchange = method.exchange
            raise
        except ExpirationError as wrong:
            raise self._wrong_expiration(channel, method, properties, wrong) from wrong
        except PropertiesError as error:
            raise ConnectionFault(SYNTAX_ERROR, str(error), method.ID) from error
        expires_at_ms = 0 if ttl_ms == NO_EXPIRATION or not now_ms else now_ms + (ttl_ms or 1)
        if isinstance(method, spec.BasicPublish) and method.mandatory:
            flags |= MANDATORY
        message = Message(
            method.exchange, method.routing_key, properties, body, 0, flags, now_ms, expires_at_ms, priority
        )
        if copies:
            events.append(PublishRun(channel.number, method.exchange, [message], copies))
        elif isinstance(method, spec.BasicPublish):
            publish_run(events, channel.number, method.exchange).messages.append(message)
        elif isinstance(method, spec.BasicDeliver):
            run = deliver_run(events, channel.number, method.consumer_tag)
            run.tags.append(method.delivery_tag)
            run.redelivered.append(method.redelivered)
            run.messages.append(message)
        else:
            events.append(ContentReceived(channel.number, method, message))

    def _wrong_expiration(
        self, channel: Channel, method: ContentMethod, properties: bytes, wrong: ExpirationError
    ) -> AmqpError:
        """What refuses a wrong expiration: a user_id that is wrong too comes first, as in RabbitMQ, and a list that is
        malformed behind it before all."""
        refused = ChannelFault(channel.number, PRECONDITION_FAILED, str(wrong), method.ID)
        try:
            check_user(channel, decode_properties(properties), self.user, self.may_impersonate)
        except ChannelFault as fault:
            refused = fault
        except PropertiesError as error:
            return ConnectionFault(SYNTAX_ERROR, str(error), method.ID)
        refused.exchange = method.exchange
        return refused

    def _drop_content(self, channel: Channel) -> None:
        self.assembly_bytes -= channel.received_bytes
        channel.drop_content()

    def _shut(self, state: int) -> None:
        self.state = state
        self.channels.clear()
