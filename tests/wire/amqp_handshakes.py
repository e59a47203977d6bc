"""What goes wrong before a connection is open, as data: what a client says, step by step, and how RabbitMQ ends it."""

from dataclasses import dataclass

from edge.amqp091 import spec
from edge.core.table import Table, encode_table

KNOWS_CLOSE: Table = {"capabilities": {"authentication_failure_close": True}}
LOGIN = spec.StartOk(KNOWS_CLOSE, "PLAIN", b"\x00guest\x00guest")
TUNE = spec.TuneOk(2047, 131_072, 60)


@dataclass(frozen=True, slots=True)
class Handshake:
    """``steps`` answer one frame of the server each, but what follows tune-ok; then comes connection.close.

    Before the login RabbitMQ closes the socket without a word, after 3 s; ``is_asked``: it answers this one.
    """

    steps: tuple[spec.Method, ...]
    code: int
    method: int
    text: str = ""
    is_asked: bool = False


def amqplain(**fields: object) -> bytes:
    """A table without its length."""
    return encode_table(fields)[4:]


HANDSHAKES: dict[str, Handshake] = {
    "a mechanism that is not offered": Handshake(
        (spec.StartOk(KNOWS_CLOSE, "EXTERNAL", b""),), 503, 0, "unknown authentication mechanism 'EXTERNAL'"
    ),
    "a PLAIN response that is none": Handshake((spec.StartOk(KNOWS_CLOSE, "PLAIN", b"guest"),), 502, 0),
    "an AMQPLAIN response without a password": Handshake(
        (spec.StartOk(KNOWS_CLOSE, "AMQPLAIN", amqplain(LOGIN="guest")),), 502, 0
    ),
    "an AMQPLAIN response that is no table": Handshake(
        (spec.StartOk(KNOWS_CLOSE, "AMQPLAIN", b"\x05guest"),), 502, 0
    ),
    "a wrong password": Handshake(
        (spec.StartOk(KNOWS_CLOSE, "PLAIN", b"\x00guest\x00wrong"),),
        403,
        0,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
        is_asked=True,
    ),
    "an unknown user": Handshake(
        (spec.StartOk(KNOWS_CLOSE, "AMQPLAIN", amqplain(LOGIN="nobody", PASSWORD="guest")),),
        403,
        0,
        "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker"
        " logfile.",
        is_asked=True,
    ),
    "a method that is not due": Handshake((spec.Open("/"),), 504, spec.Open.ID),
    "opening before the limits are agreed on": Handshake((LOGIN, spec.Open("/")), 504, spec.Open.ID),
    "limits agreed on twice": Handshake((LOGIN, TUNE, TUNE), 504, spec.TuneOk.ID, is_asked=True),
    "more channels than offered": Handshake(
        (LOGIN, spec.TuneOk(2048, 131_072, 60)),
        530,
        spec.TuneOk.ID,
        "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
    ),
    "channels without a limit": Handshake(
        (LOGIN, spec.TuneOk(0, 131_072, 60)),
        530,
        spec.TuneOk.ID,
        "negotiated channel_max = 0 is higher than the maximum allowed value (2047)",
    ),
    "longer frames than offered": Handshake(
        (LOGIN, spec.TuneOk(2047, 131_073, 60)),
        530,
        spec.TuneOk.ID,
        "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
    ),
    "frames that are too short": Handshake(
        (LOGIN, spec.TuneOk(2047, 4095, 60)),
        530,
        spec.TuneOk.ID,
        "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
    ),
    "a vhost that is not there": Handshake(
        (LOGIN, TUNE, spec.Open("none")), 530, spec.Open.ID, "vhost none not found", is_asked=True
    ),
}
"""Name -> what is said and how it ends; after each the socket is closed."""
