"""The decoder reads every named packet, whole or in pieces, and refuses every malformed one by its reason code."""

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, QOS2, RETAIN
from mqtt import constants as c
from mqtt import encode
from mqtt.codec import Decoder
from mqtt.connection import Connection
from mqtt.filters import WireCache
from mqtt.packets import AckRun, Connack, Connect, Event, PublishRun, Suback, Subscribe, Unsuback, Unsubscribe
from mqtt.reasons import MALFORMED_PACKET, PeerError
from tests.wire.mqtt_packets import BAD_CONNECTS, BAD_PACKETS, PUBLISHES, WELL_FORMED, Case, Fault


def decoder(version: int, role: int = c.SERVER) -> Decoder:
    made = Decoder(role, version, WireCache())
    if version:
        made.packet_bytes_max = c.PACKET_BYTES_MAX
        made.alias_max = c.TOPIC_ALIAS_MAX
    return made


def reader_of(case: Case) -> Decoder:
    """A decoder in the state in which it meets the case: a CONNECT comes before the version is known."""
    role = c.SERVER if case.sender == c.CLIENT else c.CLIENT
    return decoder(0 if isinstance(case.packet, Connect) else case.version, role)


def flat(events: list[Event]) -> list[object]:
    """Events with runs taken apart, so that chunking does not show."""
    out: list[object] = []
    for event in events:
        if isinstance(event, PublishRun):
            out += zip(event.messages, event.packet_ids, strict=True)
        elif isinstance(event, AckRun):
            out += [
                (event.kind, packet_id, event.reasons.get(packet_id, 0)) for packet_id in event.packet_ids
            ]
        else:
            out.append(event)
    return out


def encoded(case: Case) -> bytes:
    packet = case.packet
    if isinstance(packet, Connect):
        return encode.encode_connect(packet)
    if isinstance(packet, Connack):
        return encode.encode_connack(packet, case.version)
    if isinstance(packet, Subscribe):
        return encode.encode_subscribe(packet, case.version)
    if isinstance(packet, Suback):
        return encode.encode_suback(packet, case.version)
    if isinstance(packet, Unsubscribe):
        return encode.encode_unsubscribe(packet, case.version)
    if isinstance(packet, Unsuback):
        return encode.encode_unsuback(packet, case.version)
    kind = case.raw[0] >> 4
    if kind == c.DISCONNECT:
        return encode.encode_disconnect(packet.reason, packet.properties, case.version)  # type: ignore[union-attr]
    if kind == c.AUTH:
        return encode.encode_auth(packet.reason, packet.properties)  # type: ignore[union-attr]
    return encode.PINGREQ if kind == c.PINGREQ else encode.PINGRESP


def by_name(case: Case | Fault) -> str:
    return case.name


@pytest.mark.parametrize("case", WELL_FORMED, ids=by_name)
def test_a_named_packet_is_read(case: Case) -> None:
    reader = reader_of(case)
    assert reader.feed(case.raw) == [case.packet]
    assert reader.fault is None


@pytest.mark.parametrize("case", WELL_FORMED, ids=by_name)
def test_a_named_packet_is_written(case: Case) -> None:
    again = reader_of(case)
    assert again.feed(encoded(case)) == [case.packet]
    assert len(encoded(case)) == len(case.raw)


@pytest.mark.parametrize("case", WELL_FORMED, ids=by_name)
def test_every_truncation_of_a_packet_waits_for_more(case: Case) -> None:
    for cut in range(len(case.raw)):
        reader = reader_of(case)
        assert reader.feed(case.raw[:cut]) == []
        assert reader.fault is None
        assert reader.feed(case.raw[cut:]) == [case.packet]


@pytest.mark.parametrize("case", WELL_FORMED, ids=by_name)
def test_a_packet_whose_length_ends_early_is_malformed_or_another_packet(case: Case) -> None:
    for length in range(case.raw[1]):
        reader = reader_of(case)
        events = reader.feed(case.raw[:1] + bytes((length,)) + case.raw[2 : 2 + length])
        assert reader.fault is not None or events != [case.packet]


@pytest.mark.parametrize(("version", "raw"), PUBLISHES.values(), ids=PUBLISHES.keys())
def test_a_publish_is_read_the_same_however_it_is_cut(version: int, raw: bytes) -> None:
    whole = flat(decoder(version).feed(raw * 3))
    assert len(whole) == 3
    for cut in range(len(raw)):
        reader = decoder(version)
        assert flat(reader.feed(raw + raw[:cut]) + reader.feed(raw[cut:] + raw)) == whole
    reader = decoder(version)
    one_by_one: list[Event] = []
    for i in range(len(raw) * 3):
        one_by_one += reader.feed((raw * 3)[i : i + 1])
    assert flat(one_by_one) == whole


@pytest.mark.parametrize("case", BAD_CONNECTS + BAD_PACKETS, ids=by_name)
def test_a_malformed_packet_sets_the_fault_with_its_reason(case: Fault) -> None:
    machine = open_machine(case.version)
    machine.receive(case.raw)
    assert machine.fault is not None
    assert machine.fault.reason == case.reason
    assert machine.receive(b"\xc0\0") == []


@pytest.mark.parametrize("case", BAD_CONNECTS + BAD_PACKETS, ids=by_name)
def test_a_malformed_packet_byte_by_byte_sets_the_same_fault(case: Fault) -> None:
    machine = open_machine(case.version)
    for i in range(len(case.raw)):
        machine.receive(case.raw[i : i + 1])
    assert machine.fault is not None
    assert machine.fault.reason == case.reason


def test_properties_that_run_past_their_packet_into_known_ones_are_malformed() -> None:
    # Two bytes of properties are announced and none are there; those of the next packet say "this is text".
    text = bytes.fromhex("30 07 0001 61 02 0101 78")
    machine = open_machine(c.V5)
    assert len(flat(machine.receive(text))) == 1
    machine.receive(bytes.fromhex("30 04 0001 61 02") + b"\x01\x01" + text)
    assert machine.fault is not None
    assert machine.fault.reason == MALFORMED_PACKET


def open_machine(version: int) -> Connection:
    machine = Connection(c.SERVER, WireCache())
    if version:
        client = Connection(c.CLIENT, WireCache())
        machine.receive(client.connect(Connect(version, "c")))
        machine.accept(Connack(), c.TOPIC_ALIAS_MAX, c.PACKET_BYTES_MAX)
    return machine


def test_what_came_before_a_fault_is_returned() -> None:
    reader = decoder(c.V311)
    events = reader.feed(b"\x30\x05\0\x03a/b" * 2 + b"\x36\x05\0\x01a\0\x01" + b"\x30\x05\0\x03a/b")
    assert len(flat(events)) == 2
    assert isinstance(reader.fault, PeerError)


def test_a_run_holds_messages_with_flags_keys_and_ids() -> None:
    raw = b"\x33\x09\0\x03a/b\0\x07hi" + b"\x30\x05\0\x03a.b" + b"\x34\x09\0\x03a/b\0\x08yo"
    (run,) = decoder(c.V311).feed(raw)
    assert isinstance(run, PublishRun)
    assert run.packet_ids == [7, 0, 8]
    assert [m.routing_key for m in run.messages] == ["a.b", "a/b", "a.b"]
    assert [m.flags for m in run.messages] == [PERSISTENT | RETAIN, 0, PERSISTENT | QOS2]
    assert [m.body for m in run.messages] == [b"hi", b"", b"yo"]
    assert {m.form for m in run.messages} == {FORM_MQTT}
    assert run.retained
    assert run.qos2


def test_v5_properties_are_carried_without_alias_and_expiry() -> None:
    """Twice, for the second comes through the cache of property blocks."""
    version, raw = PUBLISHES["v5 publish with expiry and user properties"]
    reader = decoder(version)
    for _ in range(2):
        (run,) = reader.feed(raw, 1_000)
        assert isinstance(run, PublishRun)
        (message,) = run.messages
        assert message.properties == b"\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w"
        assert message.expires_at_ms == 61_000
        assert message.published_at_ms == 1_000


def test_a_topic_alias_stands_for_the_topic_until_it_is_set_anew() -> None:
    """MQTT-3.3.2-12."""
    reader = decoder(c.V5)
    reader.feed(b"\x30\x09\0\x03a/b\x03\x23\0\x01")
    reader.feed(b"\x30\x06\0\0\x03\x23\0\x01" + b"\x30\x07\0\x01c\x03\x23\0\x01")
    (run,) = reader.feed(b"\x30\x06\0\0\x03\x23\0\x01")
    assert isinstance(run, PublishRun)
    assert run.messages[0].routing_key == "c"


def test_pubacks_between_publishes_do_not_break_the_run() -> None:
    publish, puback = b"\x32\x07\0\x03a/b\0\x07", b"\x40\x02\0\x09"
    events = decoder(c.V311).feed((publish + puback) * 3)
    assert [type(event) for event in events] == [AckRun, PublishRun]
    assert events[0] == AckRun(c.PUBACK, [9, 9, 9], {})


def test_a_pubrel_keeps_its_place_among_publishes() -> None:
    """Its packet id may be used again right behind it [MQTT-4.3.3-10]."""
    publish, pubrel = b"\x34\x07\0\x03a/b\0\x07", b"\x62\x02\0\x07"
    events = decoder(c.V311).feed(publish + pubrel + publish)
    assert [type(event) for event in events] == [PublishRun, AckRun, PublishRun]


def test_acknowledgements_carry_their_reasons() -> None:
    raw = b"\x40\x02\0\x01" + b"\x40\x03\0\x02\x10" + b"\x40\x04\0\x03\x97\0"
    events = decoder(c.V5).feed(raw)
    assert flat(events) == [(4, 1, 0), (4, 2, 0x10), (4, 3, 0x97)]


def test_an_id_acknowledged_twice_has_a_reason_each_time() -> None:
    raw = b"\x50\x02\0\x01" + b"\x50\x03\0\x01\x97" + b"\x50\x03\0\x01\x10"
    events = decoder(c.V5).feed(raw)
    assert flat(events) == [(5, 1, 0), (5, 1, 0x97), (5, 1, 0x10)]


def test_a_large_packet_in_small_chunks_is_put_together_once() -> None:
    body = bytes(1_000_000)
    raw = encode.encode_publish(0x30, b"\0\x01a", 0, b"", body)
    reader = decoder(c.V311)
    events: list[Event] = []
    for i in range(0, len(raw), 1000):
        events += reader.feed(raw[i : i + 1000])
    (run,) = events
    assert isinstance(run, PublishRun)
    assert run.messages[0].body == body


def test_a_packet_of_just_the_maximum_size_is_taken() -> None:
    reader = decoder(c.V311)
    reader.packet_bytes_max = 500
    raw = encode.encode_publish(0x30, b"\0\x01a", 0, b"", bytes(494))
    assert len(raw) == 500
    assert reader.feed(raw)
    assert reader.feed(encode.encode_publish(0x30, b"\0\x01a", 0, b"", bytes(495))) == []
    assert reader.fault is not None
    assert reader.fault.reason == 0x95


@pytest.mark.parametrize("size", [0, 120, 121, 122, 123, 124, 125, 16_370, 16_378, 16_379, 16_380, 2_097_151])
@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_of_any_length_makes_the_round_trip(version: int, qos: int, size: int) -> None:
    properties = b"\0" if version == c.V5 else b""
    raw = encode.encode_publish(0x30 | qos << 1, b"\0\x01a", 5 if qos else 0, properties, bytes(size))
    (run,) = decoder(version).feed(raw)
    assert isinstance(run, PublishRun)
    assert len(run.messages[0].body) == size
    assert run.packet_ids == [5 if qos else 0]


def test_v3_1_allows_dup_on_packets_of_qos_1() -> None:
    """MQTT 3.1 section 2.1; 3.1.1 reserved the bit."""
    assert decoder(c.V31).feed(b"\x8a\x06\0\x01\0\x01a\0") != []
    reader = decoder(c.V311)
    assert reader.feed(b"\x8a\x06\0\x01\0\x01a\0") == []
    assert reader.fault is not None


def test_the_repr_of_a_connect_hides_the_password() -> None:
    assert "secret" not in repr(Connect(4, "c", password=b"secret"))


def publish(first: int, topic: bytes, packet_id: int, block: bytes, payload: bytes, is_long: bool) -> bytes:
    """A PUBLISH, right or nearly so; ``is_long``: its length takes two bytes though one would do."""
    rest = len(topic).to_bytes(2, "big") + topic
    if first & 6:
        rest += packet_id.to_bytes(2, "big")
    rest += block + payload
    length = len(rest)
    if length > 16_383:
        return bytes((first, length % 128 | 128, length // 128 % 128 | 128, length // 16_384)) + rest
    is_long = is_long or length > 127
    return bytes((first, length % 128 | 128, length // 128) if is_long else (first, length)) + rest


EXPIRY, TEXT, ALIAS = b"\x05\x02\0\0\0\x01", b"\x02\x01\x01", b"\x03\x23\0\x01"
VARIED: list[tuple[object, ...]] = [
    (0x32, 0x30, 0x31, 0x33, 0x34, 0x38, 0x3A, 0x36),
    (b"a/b", b"a/c", b"a", b"$SYS"),
    (1, 2, 0, 300),
    # No properties; nothing, as MQTT 3 has it; and three that mean something.
    (b"\0", b"", EXPIRY, TEXT, ALIAS),
    (b"12", b"34", b"123", b"\xff\xff", b"", b"x" * 118, b"x" * 120, b"x" * 130, b"x" * 16_400),
    (False, True),
]


def refusals(events: list[Event]) -> list[int]:
    """Why each message is refused, 0 if it is not."""
    runs = [event for event in events if isinstance(event, PublishRun)]
    return [run.refused.get(id(message), 0) for run in runs for message in run.messages]


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("block", VARIED[3])
@pytest.mark.parametrize("payload", [b"12", b"", b"x" * 130])
def test_publishes_that_resemble_each_other_are_told_apart(
    version: int, block: bytes, payload: bytes
) -> None:
    """A run is read by comparison with the packet before; one by one there is none to compare with."""
    for first in (0x32, 0x30):
        base: tuple[object, ...] = (first, b"a/b", 1, block, payload, False)
        for field, values in enumerate(VARIED):
            for value in values:
                other = (*base[:field], value, *base[field + 1 :])
                packets = [publish(*each) for each in (base, base, base, other, other, base)]  # type: ignore[arg-type]
                for cut in (0, 1):
                    whole, single = decoder(version), decoder(version)
                    stream = b"".join(packets)
                    events = whole.feed(stream[: len(stream) - cut])
                    alone = [event for packet in packets[: 6 - cut] for event in single.feed(packet)]
                    assert flat(events) == flat(alone), other
                    assert refusals(events) == refusals(alone), other
                    assert (whole.fault and whole.fault.reason) == (single.fault and single.fault.reason)
