"""Classes connection, channel and access (sections 1.4 and 1.5 of the reference; access is of AMQP 0-8)."""

import msgspec

from edge.amqp091.spec.base import CLIENT, SERVER, Method
from edge.core.table import Table


class Start(Method):
    ID = 10 << 16 | 10
    WIRE = "BBTSS"
    SENDER = SERVER
    version_major: int = 0
    version_minor: int = 9
    server_properties: Table = msgspec.field(default_factory=dict)
    mechanisms: bytes = b"PLAIN AMQPLAIN"
    locales: bytes = b"en_US"


class StartOk(Method):
    ID = 10 << 16 | 11
    WIRE = "TsSs"
    SENDER = CLIENT
    client_properties: Table = msgspec.field(default_factory=dict)
    mechanism: str = "PLAIN"
    response: bytes = b""
    locale: str = "en_US"


class Secure(Method):
    ID = 10 << 16 | 20
    WIRE = "S"
    SENDER = SERVER
    challenge: bytes = b""


class SecureOk(Method):
    ID = 10 << 16 | 21
    WIRE = "S"
    SENDER = CLIENT
    response: bytes = b""


class Tune(Method):
    ID = 10 << 16 | 30
    WIRE = "HIH"
    SENDER = SERVER
    channel_max: int = 0
    frame_max: int = 0
    heartbeat: int = 0


class TuneOk(Method):
    ID = 10 << 16 | 31
    WIRE = "HIH"
    SENDER = CLIENT
    channel_max: int = 0
    frame_max: int = 0
    heartbeat: int = 0


class Open(Method):
    ID = 10 << 16 | 40
    WIRE = "ssb"
    SENDER = CLIENT
    vhost: str = "/"
    capabilities: str = ""
    insist: bool = False


class OpenOk(Method):
    ID = 10 << 16 | 41
    WIRE = "s"
    SENDER = SERVER
    known_hosts: str = ""


class Close(Method):
    ID = 10 << 16 | 50
    WIRE = "HsHH"
    reply_code: int = 0
    reply_text: str = ""
    class_id: int = 0
    method_id: int = 0


class CloseOk(Method):
    ID = 10 << 16 | 51


class Blocked(Method):
    ID = 10 << 16 | 60
    WIRE = "s"
    reason: str = ""


class Unblocked(Method):
    ID = 10 << 16 | 61


class UpdateSecret(Method):
    ID = 10 << 16 | 70
    WIRE = "Ss"
    SENDER = CLIENT
    new_secret: bytes = b""
    reason: str = ""


class UpdateSecretOk(Method):
    ID = 10 << 16 | 71
    SENDER = SERVER


class ChannelOpen(Method):
    ID = 20 << 16 | 10
    WIRE = "s"
    SENDER = CLIENT
    out_of_band: str = ""


class ChannelOpenOk(Method):
    ID = 20 << 16 | 11
    WIRE = "S"
    SENDER = SERVER
    channel_id: bytes = b""


class ChannelFlow(Method):
    ID = 20 << 16 | 20
    WIRE = "b"
    active: bool = False


class ChannelFlowOk(Method):
    ID = 20 << 16 | 21
    WIRE = "b"
    active: bool = False


class ChannelClose(Method):
    ID = 20 << 16 | 40
    WIRE = "HsHH"
    reply_code: int = 0
    reply_text: str = ""
    class_id: int = 0
    method_id: int = 0


class ChannelCloseOk(Method):
    ID = 20 << 16 | 41


class AccessRequest(Method):
    ID = 30 << 16 | 10
    WIRE = "sbbbbb"
    SENDER = CLIENT
    realm: str = ""
    exclusive: bool = False
    passive: bool = False
    active: bool = False
    write: bool = False
    read: bool = False


class AccessRequestOk(Method):
    ID = 30 << 16 | 11
    WIRE = "H"
    SENDER = SERVER
    ticket: int = 1
