"""What is fuzzed: functions that take any bytes and raise when something other than a protocol error comes of them.

A target's first byte or two say which case it is, so that the fuzzer finds all cases; the rest is what a peer sends.
"""

from collections.abc import Callable
from typing import Final

from edge.amqp091 import events as amqp
from edge.amqp091 import spec
from edge.amqp091.client_machine import ClientMachine
from edge.amqp091.connection import RUNNING, Machine
from edge.amqp091.constants import FRAME_MAX, PROTOCOL_HEADER
from edge.amqp091.credentials import Credentials
from edge.amqp091.errors import AmqpError, ChannelFault
from edge.amqp091.server_machine import ServerMachine
from edge.core.message import FORM_AMQP091, Message, amqp_properties
from edge.core.properties import (
    ExpirationError,
    PropertiesError,
    PropertyReader,
    decode_properties,
    header,
    headers,
)
from edge.core.properties import encode_properties as encode_amqp_properties
from edge.core.table import TableError, decode_table, encode_table, skip_table, to_plain
from mqtt import constants as c
from mqtt import encode as to_mqtt
from mqtt.codec import Decoder
from mqtt.connection import Connection
from mqtt.convert import mqtt_properties
from mqtt.filters import WireCache
from mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Event,
    Packet,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from mqtt.packets import PublishRun as MqttPublishRun
from mqtt.properties import decode_block
from tests.helpers.decoded import decoded_mqtt, flat_events, mqtt_machine

CHANNELS: Final = 2
OUTPUT_BYTES_A_BYTE: Final = 4
"""What a machine answers by itself, to a byte of input: an 8-byte frame may be answered by a close with its reason."""
OUTPUT_BYTES_MIN: Final = 2048
MQTT_PACKET_BYTES_MAX: Final = 100_000
VERSIONS: Final = (0, c.V31, c.V311, c.V5)


def cut(stream: bytes, size: int) -> list[bytes]:
    """Cut a stream into pieces of ``size`` bytes; 0 leaves it whole."""
    step = size or max(1, len(stream))
    return [stream[start : start + step] for start in range(0, len(stream), step)]


def amqp_values(data: bytes) -> None:
    """Field tables, property lists and method arguments: what is taken can be written, and is the same when read."""
    kind, payload = data[:1], data[1:]
    if kind == b"T":
        _table(payload)
    elif kind == b"P":
        _properties(payload)
    else:
        method = spec.METHODS.get(int.from_bytes(payload[:4], "big"))
        if method is not None:
            try:
                arguments = spec.decode_method(method, payload)
            except AmqpError:
                return
            again = spec.encode_arguments(arguments)
            assert spec.encode_arguments(spec.decode_method(method, again)) == again


def _table(payload: bytes) -> None:
    try:
        table, end = decode_table(payload, 0)
    except (TableError, IndexError):
        return
    assert skip_table(payload, 0) == end
    to_plain(table)
    encoded = encode_table(table)
    again, stop = decode_table(encoded, 0)
    assert stop == len(encoded)
    # NaN is not equal to itself: bytes are.
    assert encode_table(again) == encoded


def _properties(payload: bytes) -> None:
    reader = PropertyReader()
    peeked = reader.peek(payload)
    try:
        checked = reader.check(payload)
    except (PropertiesError, ExpirationError):
        return
    assert peeked == checked
    _crosses(payload)


def _crosses(payload: bytes) -> None:
    """Properties that were accepted are read by whatever looks at them later, an MQTT subscriber included."""
    properties = decode_properties(payload)
    encoded = encode_amqp_properties(properties)
    assert encode_amqp_properties(decode_properties(encoded)) == encoded
    for name in headers(payload):
        # Names that are asked for are text; others are carried as they came.
        if name.isprintable():
            header(payload, name)
    decode_block(mqtt_properties(Message("", "", payload, b"", FORM_AMQP091, 0, 0, 0, 0)))


def amqp_cuts(data: bytes) -> None:
    """Frames for either role, before and after the handshake: reported the same whole and in pieces."""
    stream = data[2:]
    seen: list[list[object]] = []
    for size in (0, 1 + (data[1] if len(data) > 1 else 0)):
        machine = _machine(data[:1])
        events: list[amqp.Event] = []
        for piece in cut(stream, size):
            events += machine.receive(piece, 1000)
            assert sum(len(part) for part in machine._held) <= FRAME_MAX
        ends = [at for at, event in enumerate(events) if isinstance(event, amqp.Fault) and not event.channel]
        assert len(ends) <= 1
        # Behind a fault only the answer to our close counts, and none has been sent here.
        del events[ends[0] + 1 if ends else len(events) :]
        seen.append(flat_events(events))
    assert seen[0] == seen[1]


def _machine(kind: bytes) -> Machine:
    """A new machine: ``s`` and ``o`` are a server and a client with open channels, ``h`` a server in its handshake."""
    if kind in (b"o", b"c"):
        client = ClientMachine(Credentials())
        for chunk in TO_CLIENT if kind == b"o" else ():
            client.receive(chunk)
            if client.state == RUNNING and not client.channels:
                for _ in range(CHANNELS):
                    client.open_channel()
        return client
    server = ServerMachine({})
    for chunk in TO_SERVER if kind == b"s" else [PROTOCOL_HEADER] if kind == b"h" else ():
        for event in server.receive(chunk):
            _serve(server, event)
    return server


def _record() -> tuple[list[bytes], list[bytes]]:
    """What a server and a client hear until channels are open: faster to play back than to shake hands anew."""
    client, server = ClientMachine(Credentials()), ServerMachine({})
    to_server: list[bytes] = []
    to_client: list[bytes] = []
    while output := client.take_output():
        to_server.append(output)
        for event in server.receive(output):
            _serve(server, event)
        to_client.append(server.take_output())
        client.receive(to_client[-1])
        if client.state == RUNNING and not client.channels:
            for _ in range(CHANNELS):
                client.open_channel()
    assert len(server.channels) == CHANNELS
    return to_server, to_client


def amqp_server(data: bytes) -> None:
    """A server that answers as ours does: logins, opens, closes; all that it accepts can be written again."""
    machine = _machine(b"s" if data[:1] == b"s" else b"h")
    assert isinstance(machine, ServerMachine)
    machine.take_output()
    sent = 0
    for piece in cut(data[2:], data[1] if len(data) > 1 else 0):
        for event in machine.receive(piece, 1000):
            _serve(machine, event)
        sent += len(machine.take_output())
        assert sum(len(part) for part in machine._held) <= FRAME_MAX
    assert sent <= OUTPUT_BYTES_MIN + OUTPUT_BYTES_A_BYTE * len(data), f"{sent} bytes for {len(data)}"


def _serve(machine: ServerMachine, event: amqp.Event) -> None:
    if isinstance(event, amqp.LoginRequested):
        machine.accept_login(event.username)
    elif isinstance(event, amqp.OpenRequested):
        machine.accept_open(event.vhost)
    elif isinstance(event, amqp.Fault):
        if isinstance(event.error, ChannelFault):
            machine.close_channel(event.error)
        else:
            machine.close_connection(event.error)
    elif isinstance(event, amqp.MethodReceived):
        spec.encode_arguments(event.method)
        if isinstance(event.method, spec.ChannelOpen):
            machine.send(event.channel, spec.ChannelOpenOk())
        elif isinstance(event.method, spec.ChannelClose):
            machine.send(event.channel, spec.ChannelCloseOk())
    elif isinstance(event, amqp.PublishRun):
        for message in event.messages:
            _crosses(message.properties)


TO_SERVER, TO_CLIENT = _record()


def mqtt_cuts(data: bytes) -> None:
    """Packets of any version: decoded the same whole and in pieces."""
    version = VERSIONS[data[0] & 3] if data else 0
    stream = data[2:]
    pieces = cut(stream, 1 + (data[1] if len(data) > 1 else 0))
    assert decoded_mqtt(version, [stream]) == decoded_mqtt(version, pieces)


def mqtt_connection(data: bytes) -> None:
    """A machine of either role: what it accepts can be written again, and crosses to AMQP."""
    case = data[0] if data else 0
    version = VERSIONS[case & 3]
    role = c.CLIENT if case & 4 and version else c.SERVER
    machine = mqtt_machine(role, version)
    for piece in cut(data[2:], data[1] if len(data) > 1 else 0):
        events = machine.receive(piece, 1000)
        while events:
            accepted = any([_take(machine, event) for event in events])
            # What the client has sent behind its CONNECT comes now.
            events = machine.receive(b"", 1000) if accepted else []


def _take(machine: Connection, event: Event) -> bool:
    """Take one event; whether it opened the connection."""
    if isinstance(event, MqttPublishRun):
        for message in event.messages:
            if id(message) not in event.refused:
                _crosses(amqp_properties(message))
    elif isinstance(event, Connect):
        assert _again(event, event.version, c.SERVER, 0) == event
        machine.learn_peer(event)
        return bool(machine.accept(Connack(), c.TOPIC_ALIAS_MAX, MQTT_PACKET_BYTES_MAX))
    elif not hasattr(event, "packet_ids"):
        again = _again(event, machine.version, machine.role, machine.version)
        if machine.role == c.SERVER:
            assert again == event
        else:
            # What a server of MQTT 3 means by a reserved return code is not kept.
            assert _again(again, machine.version, machine.role, machine.version) == again
    return False


def _again(packet: Packet, version: int, role: int, known_version: int) -> Packet:
    """Write a packet and read it."""
    if isinstance(packet, Connect):
        raw = to_mqtt.encode_connect(packet)
    elif isinstance(packet, Connack):
        raw = to_mqtt.encode_connack(packet, version)
    elif isinstance(packet, Subscribe):
        raw = to_mqtt.encode_subscribe(packet, version)
    elif isinstance(packet, Suback):
        raw = to_mqtt.encode_suback(packet, version)
    elif isinstance(packet, Unsubscribe):
        raw = to_mqtt.encode_unsubscribe(packet, version)
    elif isinstance(packet, Unsuback):
        raw = to_mqtt.encode_unsuback(packet, version)
    elif isinstance(packet, Disconnect):
        raw = to_mqtt.encode_disconnect(packet.reason, packet.properties, version)
    elif isinstance(packet, Auth):
        raw = to_mqtt.encode_auth(packet.reason, packet.properties)
    else:
        return packet
    decoder = Decoder(role, known_version, WireCache())
    decoder.packet_bytes_max = c.REMAINING_LENGTH_MAX
    events = decoder.feed(raw)
    assert decoder.fault is None, f"{raw!r}: {decoder.fault}"
    assert len(events) == 1
    again = events[0]
    assert not isinstance(again, MqttPublishRun)
    return again  # type: ignore[return-value]


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__.replace("_", "-"): target
    for target in (amqp_values, amqp_cuts, amqp_server, mqtt_cuts, mqtt_connection)
}
