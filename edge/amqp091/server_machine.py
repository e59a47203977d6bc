"""The handshake of the server's side: header, start, SASL, tune, open (section 2.2.4)."""

from typing import Final

from edge.amqp091 import spec
from edge.amqp091.connection import INCOMPLETE, RUNNING, Machine
from edge.amqp091.constants import (
    CHANNEL_ERROR,
    CHANNEL_MAX,
    COMMAND_INVALID,
    FRAME_ERROR,
    FRAME_MAX,
    FRAME_MIN,
    HANDSHAKE_FRAME_MAX,
    HEARTBEAT_S,
    MESSAGE_BYTES_MAX,
    NOT_ALLOWED,
    PROTOCOL_HEADER,
    PROTOCOL_HEADER_0_9,
    SYNTAX_ERROR,
)
from edge.amqp091.errors import BadProtocolHeader, ConnectionFault
from edge.amqp091.events import Event, LoginRequested, OpenRequested
from edge.core.table import Table, TableError, decode_table
from edge.wire import U32

_HEADER_DUE: Final = 0
_START_OK_DUE: Final = 1
_LOGIN: Final = 2
"""The owner is looking at user name and password; the client has nothing to say."""
_TUNE_OK_DUE: Final = 3
_OPEN_DUE: Final = 4
_OPENING: Final = 5
"""The owner is looking at the vhost."""

MECHANISMS: Final = b"PLAIN AMQPLAIN"


class ServerMachine(Machine):
    """A server's side of one connection. ``properties`` are its server-properties; the numbers are what it offers."""

    def __init__(
        self,
        properties: Table,
        *,
        channel_max: int = CHANNEL_MAX,
        frame_max: int = FRAME_MAX,
        heartbeat_s: int = HEARTBEAT_S,
        body_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        super().__init__(spec.SERVER, body_bytes_max)
        self.client_properties: Table = {}
        self.mechanism = ""
        self._properties = properties
        self._offer = spec.Tune(channel_max, frame_max, heartbeat_s)
        self._step = _HEADER_DUE
        self.frame_max = HANDSHAKE_FRAME_MAX

    def accept_login(self, user: str, may_impersonate: bool = False) -> None:
        """User name and password are right: offer the limits."""
        self.user = user
        self.may_impersonate = may_impersonate
        self._step = _TUNE_OK_DUE
        self.send(0, self._offer)

    def accept_open(self, vhost: str) -> None:
        """The user may use the vhost."""
        self.vhost = vhost
        self.send(0, spec.OpenOk())

    def _receive_header(self, chunk: bytes) -> int:
        if self._step != _HEADER_DUE:
            return 0
        header = chunk[:8]
        if not (PROTOCOL_HEADER.startswith(header) or PROTOCOL_HEADER_0_9.startswith(header)):
            self.send_bytes(PROTOCOL_HEADER)
            self._close_sent = (
                True  # the header is the answer: this peer would not understand connection.close
            )
            raise BadProtocolHeader(FRAME_ERROR, f"no AMQP 0-9-1 protocol header: {header!r}")
        if len(chunk) < 8:
            return INCOMPLETE
        self._step = _START_OK_DUE
        self.send(0, spec.Start(server_properties=self._properties, mechanisms=MECHANISMS))
        return 8

    def _on_handshake(self, method: spec.Method, events: list[Event]) -> None:
        if isinstance(method, spec.StartOk) and self._step == _START_OK_DUE:
            self._step = _LOGIN
            self.client_properties = method.client_properties
            self.mechanism = method.mechanism
            username, password = _credentials(method)
            events.append(LoginRequested(method.mechanism, username, password, method.client_properties))
        elif isinstance(method, spec.TuneOk) and self._step == _TUNE_OK_DUE:
            self._tune(method)
            self._step = _OPEN_DUE
        elif isinstance(method, spec.Open) and self._step == _OPEN_DUE:
            # channels may be opened before open-ok is out: clients need not wait for it
            self._step = _OPENING
            self.state = RUNNING
            events.append(OpenRequested(method.vhost))
        else:
            raise ConnectionFault(CHANNEL_ERROR, f"{type(method).__name__} is not due", method.ID)

    def _tune(self, answer: spec.TuneOk) -> None:
        """Take the client's limits; more than was offered, or "no limit" (0), is refused as RabbitMQ does."""
        for name, asked, offered in (
            ("channel_max", answer.channel_max, self._offer.channel_max),
            ("frame_max", answer.frame_max, self._offer.frame_max),
        ):
            if asked == 0 or asked > offered:
                raise ConnectionFault(
                    NOT_ALLOWED,
                    f"negotiated {name} = {asked} is higher than the maximum allowed value ({offered})",
                    answer.ID,
                )
        if answer.frame_max < FRAME_MIN:
            raise ConnectionFault(
                NOT_ALLOWED,
                f"negotiated frame_max = {answer.frame_max} is lower than the minimum allowed value ({FRAME_MIN})",
                answer.ID,
            )
        self.channel_max = answer.channel_max
        self.frame_max = answer.frame_max
        self.heartbeat_s = answer.heartbeat


def _credentials(method: spec.StartOk) -> tuple[str, str]:
    """Return user name and password of a SASL response. Raises ConnectionFault; never shows the response."""
    if method.mechanism == "PLAIN":
        # RFC 4616: [authzid] NUL authcid NUL password
        parts = method.response.split(b"\x00")
        if len(parts) == 3:
            return _text(parts[1]), _text(parts[2])
    elif method.mechanism == "AMQPLAIN":
        # a field table without its length
        try:
            table, _ = decode_table(U32.pack(len(method.response)) + method.response, 0)
        except (TableError, IndexError):
            table = {}
        username, password = table.get("LOGIN"), table.get("PASSWORD")
        if isinstance(username, str) and isinstance(password, str):
            return username, password
    else:
        raise ConnectionFault(COMMAND_INVALID, f"unknown authentication mechanism '{method.mechanism[:40]}'")
    raise ConnectionFault(SYNTAX_ERROR, f"malformed {method.mechanism} response")


def _text(encoded: bytes) -> str:
    return encoded.decode("utf-8", "surrogateescape")
