"""The hot loops of parsing, and what they leave to the frame loop."""

import random

import pytest

from edge.amqp091.events import AckRun, ContentReceived, DeliverRun, Event, Fault, PublishRun
from edge.amqp091.outbound import DeliveryEncoder, PublishEncoder, encode_acks, encode_nacks
from edge.core.message import MANDATORY, PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from tests.helpers.amqp import ConnectionPair
from tests.wire.amqp_frames import CONTENTS

PLAIN = encode_properties(BasicProperties())
DURABLE = encode_properties(BasicProperties(delivery_mode=2, priority=3, expiration="5000"))
DIRECT = encode_properties(BasicProperties(content_type="x", message_id="m-1", headers={"n": 1}))


def messages(count: int, seed: int = 1) -> list[Message]:
    """Messages that change all they can, now and then."""
    random_numbers = random.Random(seed)
    made = []
    exchange, key, properties, body = "logs", "a.b", PLAIN, b"body"
    for i in range(count):
        change = random_numbers.randrange(8)
        if change == 0:
            exchange = random_numbers.choice(["", "logs", "amq.topic"])
        elif change == 1:
            key = random_numbers.choice(["", "a.b", "drone.7.état"])
        elif change == 2:
            properties = random_numbers.choice([PLAIN, DURABLE, DIRECT])
        elif change == 3:
            body = b"x" * random_numbers.choice([0, 1, 2, 10, 300, 9_000])
        made.append(Message(exchange, key, properties, body, flags=MANDATORY * (i % 5 == 0)))
    return made


def published(events: list[Event]) -> list[Message]:
    return [message for event in events if isinstance(event, PublishRun) for message in event.messages]


def essence(message: Message) -> tuple[object, ...]:
    return message.exchange, message.routing_key, message.properties, message.body, message.flags & MANDATORY


@pytest.mark.parametrize("piece_bytes", [0, 1, 3, 100, 1460, 4096])
def test_publishes_come_out_as_they_went_in_however_the_bytes_are_cut(piece_bytes: int) -> None:
    pair = ConnectionPair().open()
    sent = messages(300)
    pair.piece_bytes = piece_bytes
    pair.client.send_bytes(PublishEncoder(1, 4096).encode(sent))
    pair.run(now_ms=1000)
    got = published(pair.server_events)
    assert [essence(message) for message in got] == [essence(message) for message in sent]
    assert {message.published_at_ms for message in got} == {1000}
    for message in got:
        if message.properties == DURABLE:
            assert message.flags & PERSISTENT
            assert (message.priority, message.expires_at_ms) == (3, 6000)
        else:
            assert not message.flags & PERSISTENT
            assert (message.priority, message.expires_at_ms) == (0, 0)


@pytest.mark.parametrize("piece_bytes", [0, 1, 3, 100, 1460, 4096])
def test_deliveries_come_out_as_they_went_in_however_the_bytes_are_cut(piece_bytes: int) -> None:
    pair = ConnectionPair().open()
    sent = messages(300, seed=2)
    entries = [(sequence, message, int(sequence % 3 == 0)) for sequence, message in enumerate(sent)]
    pair.piece_bytes = piece_bytes
    pair.server.send_bytes(DeliveryEncoder(1, "one", 4096).encode(entries[:150], 1))
    pair.server.send_bytes(DeliveryEncoder(1, "two", 4096).encode(entries[150:], 151))
    pair.run()
    runs = [event for event in pair.client_events if isinstance(event, DeliverRun)]
    got = [message for run in runs for message in run.messages]
    assert [essence(message)[:4] for message in got] == [essence(message)[:4] for message in sent]
    assert [tag for run in runs for tag in run.tags] == list(range(1, 301))
    assert [flag for run in runs for flag in run.redelivered] == [i % 3 == 0 for i in range(300)]
    assert [run.consumer_tag for run in runs if run.tags[0] <= 150] == ["one"] * sum(
        run.tags[0] <= 150 for run in runs
    )
    assert runs[-1].consumer_tag == "two"
    assert runs[-1].last_tag == 300


@pytest.mark.parametrize("flipped", [0x01, 0x80])
def test_a_publish_that_resembles_the_one_before_is_looked_at_all_the_same(flipped: int) -> None:
    """One bit is wrong in frames that differ from those before in the size of the body only."""
    encode = PublishEncoder(1, 4096).encode
    before, resized = (encode([Message("logs", "a", DURABLE, bytes(size))]) for size in (4, 5))
    for place in range(len(resized)):
        wrong = resized[:place] + bytes((resized[place] ^ flipped,)) + resized[place + 1 :]
        seen = []
        for piece_bytes in (0, 1):
            pair = ConnectionPair().open()
            pair.piece_bytes = piece_bytes
            pair.client.send_bytes(before + wrong + before)
            pair.run(now_ms=1000)
            faults = [f"{event.error}" for event in pair.server_events if isinstance(event, Fault)]
            seen.append(([essence(message) for message in published(pair.server_events)], faults))
        assert seen[0] == seen[1], place


def test_a_body_over_the_limit_is_refused_behind_one_that_it_resembles() -> None:
    pair = ConnectionPair(body_bytes_max=100).open()
    encode = PublishEncoder(1, 4096).encode
    pair.client.send_bytes(encode([Message("logs", "a", PLAIN, bytes(size)) for size in (99, 100, 101)]))
    pair.run()
    assert [len(message.body) for message in published(pair.server_events)] == [99, 100]
    assert isinstance(pair.server_events[-1], Fault)


def test_one_chunk_of_publishes_to_one_exchange_is_one_run() -> None:
    pair = ConnectionPair().open()
    pair.client.send_bytes(
        PublishEncoder(1, 4096).encode([Message("logs", f"k.{i}", PLAIN, b"x") for i in range(50)])
    )
    pair.run()
    [run] = pair.server_events
    assert isinstance(run, PublishRun)
    assert (run.channel, run.exchange, len(run.messages)) == (1, "logs", 50)


def test_a_run_ends_where_exchange_or_channel_change() -> None:
    pair = ConnectionPair().open(channels=2)
    one, two = PublishEncoder(1, 4096), PublishEncoder(2, 4096)
    a, b = Message("a", "", PLAIN, b"x"), Message("b", "", PLAIN, b"x")
    pair.client.send_bytes(one.encode([a, a, b]) + two.encode([b, b]) + one.encode([b, a]))
    pair.run()
    runs = [event for event in pair.server_events if isinstance(event, PublishRun)]
    assert [(run.channel, run.exchange, len(run.messages)) for run in runs] == [
        (1, "a", 2),
        (1, "b", 1),
        (2, "b", 2),
        (1, "b", 1),
        (1, "a", 1),
    ]


def test_contents_of_two_channels_may_be_interleaved() -> None:
    """Section 4.2.6: frames of different channels interleave, those of one content stay in order."""
    pair = ConnectionPair().open(channels=2)
    big = Message("", "q", PLAIN, b"1" * 10_000)
    frames = [PublishEncoder(channel, 4096).encode([big]) for channel in (1, 2)]
    pieces = [split_frames(content) for content in frames]
    for pair_of_frames in zip(*pieces, strict=True):
        pair.client.send_bytes(b"".join(pair_of_frames))
    pair.run()
    runs = [event for event in pair.server_events if isinstance(event, PublishRun)]
    assert [(run.channel, len(run.messages[0].body)) for run in runs] == [
        (1, 10_000),
        (2, 10_000),
    ]


def split_frames(chunk: bytes) -> list[bytes]:
    frames = []
    while chunk:
        size = int.from_bytes(chunk[3:7], "big") + 8
        frames.append(chunk[:size])
        chunk = chunk[size:]
    return frames


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_contents_are_read_as_others_wrote_them(name: str, piece_bytes: int) -> None:
    method, properties, body, frames = CONTENTS[name]
    pair = ConnectionPair().open()
    pair.piece_bytes = piece_bytes
    machine = pair.client if name.startswith("basic_publish") else pair.server
    machine.send_bytes(bytes.fromhex(frames))
    pair.run()
    [event] = pair.server_events + pair.client_events
    if isinstance(event, ContentReceived):
        assert event.method == method
        message = event.message
    else:
        assert isinstance(event, (PublishRun, DeliverRun))
        [message] = event.messages
    expected = (method.exchange, method.routing_key, properties, body)  # type: ignore[attr-defined]
    assert (message.exchange, message.routing_key, message.properties, message.body) == expected


@pytest.mark.parametrize("name", CONTENTS)
def test_every_truncation_of_a_content_just_waits_for_more(name: str) -> None:
    frames = bytes.fromhex(CONTENTS[name][3])
    for length in range(len(frames)):
        pair = ConnectionPair().open()
        machine = pair.server if name.startswith("basic_publish") else pair.client
        assert machine.receive(frames[:length]) == []
        assert len(machine.receive(frames[length:])) == 1


def test_single_acks_are_one_run_and_a_multiple_one_is_its_own() -> None:
    pair = ConnectionPair().open()
    pair.client.send_bytes(
        encode_acks(1, [1, 2, 3], False) + encode_acks(1, [7], True) + encode_acks(1, [9], False)
    )
    pair.run()
    runs = [event for event in pair.server_events if isinstance(event, AckRun)]
    assert [(run.tags, run.multiple) for run in runs] == [([1, 2, 3], False), ([7], True), ([9], False)]


def test_nacks_are_encoded_with_both_bits() -> None:
    assert encode_nacks(1, [5], True, False).hex() == "0100010000000d003c0078000000000000000501ce"
    assert encode_nacks(1, [5], False, True).hex() == "0100010000000d003c0078000000000000000502ce"


def test_caches_of_a_channel_are_bounded() -> None:
    pair = ConnectionPair().open()
    encoder = PublishEncoder(1, 131_072)
    sent = [
        Message("", f"key-{i}", encode_properties(BasicProperties(message_id=str(i))), b"x" * (1 + i))
        for i in range(600)
    ]
    pair.client.send_bytes(encoder.encode(sent))
    pair.run()
    assert len(published(pair.server_events)) == 600
    channel = pair.server.channels[1]
    assert len(channel.routes) <= 128
    assert len(channel.contents) <= 128


def test_a_long_routing_key_is_cut_to_a_short_string() -> None:
    """MQTT topics have up to 65,535 bytes; AMQP has no room for them."""
    pair = ConnectionPair().open()
    long = "é" * 200
    pair.server.send_bytes(
        DeliveryEncoder(1, "c", 4096).encode([(0, Message("amq.topic", long, b"", b"x"), 0)], 1)
    )
    pair.run()
    [run] = pair.client_events
    assert isinstance(run, DeliverRun)
    assert run.messages[0].routing_key == "é" * 127


def test_sequenced_deliveries_carry_their_sequence_plus_one() -> None:
    pair = ConnectionPair().open()
    entries = [(41, Message("", "q", PLAIN, b"x"), 0), (44, Message("", "q", PLAIN, b"x"), 1)]
    pair.server.send_bytes(DeliveryEncoder(1, "seq", 4096).encode(entries, 0))
    pair.run()
    [run] = pair.client_events
    assert isinstance(run, DeliverRun)
    assert run.tags == [42, 45]


def test_a_client_without_a_clock_leaves_expiry_to_whoever_has_one() -> None:
    pair = ConnectionPair().open()
    frames = DeliveryEncoder(1, "c", 4096).encode([(0, Message("", "q", DURABLE, b"x"), 0)] * 2, 1)
    [run] = pair.client.receive(frames)
    assert isinstance(run, DeliverRun)
    assert run.messages[0].expires_at_ms == 0
    [run] = pair.client.receive(frames, 100)
    assert isinstance(run, DeliverRun)
    assert [message.expires_at_ms for message in run.messages] == [5100, 5100]


@pytest.mark.parametrize("piece_bytes", [0, 35])
@pytest.mark.parametrize("name", [b"ctag", b"logs", b"a.b"])
def test_a_name_that_is_not_utf8_is_a_fault_however_the_bytes_are_cut(name: bytes, piece_bytes: int) -> None:
    for case in ("basic_deliver", "basic_publish"):
        pair = ConnectionPair().open()
        pair.piece_bytes = piece_bytes
        frames = bytes.fromhex(CONTENTS[case][3])
        broken = frames.replace(name, b"\xff" * len(name))
        if broken != frames:
            machine = pair.server if case == "basic_deliver" else pair.client
            machine.send_bytes(broken)
            pair.run()
            [event] = pair.server_events + pair.client_events
            assert isinstance(event, Fault)
            assert event.error.code == 501


def test_a_consumer_tag_that_runs_past_its_frame_is_a_fault() -> None:
    pair = ConnectionPair().open()
    frames = bytearray(bytes.fromhex(CONTENTS["basic_deliver"][3]))
    # The length of the consumer tag: past the method frame, within what has come.
    frames[11] = len(frames) - 40
    pair.server.send_bytes(bytes(frames))
    pair.run()
    [event] = pair.client_events
    assert isinstance(event, Fault)
    assert event.error.code == 501
