"""The benchmark's loads tell a broker that loses, doubles or reorders from one that does not."""

import struct
from typing import cast

import pytest

from tests.bench import amqp, mqtt
from tests.bench.numbered import LoadError, copies


class Chunks:
    """A connection to a broker that sends what it is told; ``socket`` takes what it is sent."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.sent = bytearray()
        self.socket = self

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def receive(self) -> bytes:
        if not self.chunks:
            raise LoadError("the broker closed the connection")
        return self.chunks.pop(0)

    def take(self) -> bytes:
        return b""

    def acknowledge(self, delivery_tag: int) -> None:
        self.sent += struct.pack(">Q", delivery_tag)


def deliveries(numbers: list[int], tags: list[int] | None = None) -> bytes:
    template, at = amqp.delivery_frames("", "q", 100)
    tags = tags or list(range(1, len(numbers) + 1))
    return bytes(copies(template, len(numbers), (amqp.TAG_AT, 8, tags), (at, 8, numbers)))


def receive(*chunks: bytes, count: int) -> Chunks:
    client = Chunks(*chunks)
    template, at = amqp.delivery_frames("", "q", 100)
    amqp.receive_numbered(cast(amqp.Amqp, client), template, at, count)
    return client


def test_deliveries_in_order_are_taken_in_any_chunks_and_acknowledged() -> None:
    data = deliveries([0, 1, 2, 3, 4])
    client = receive(*[data[i : i + 37] for i in range(0, len(data), 37)], count=5)
    assert client.sent == struct.pack(">Q", 5)


def test_a_delivery_again_after_a_crash_is_no_other_message() -> None:
    data = bytearray(deliveries([0, 1]))
    data[amqp.TAG_AT + 8] = 1
    receive(bytes(data), count=2)


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        ([0, 2, 3], "message 2 came where 1 was due"),
        ([0, 1, 1], "message 1 came where 2 was due"),
        ([0, 2, 1], "message 2 came where 1 was due"),
        ([0, 1, 2, 3], "more than the 3 messages"),
    ],
)
def test_a_lost_doubled_or_reordered_delivery_fails_the_load(numbers: list[int], what: str) -> None:
    with pytest.raises(LoadError, match=what):
        receive(deliveries(numbers), count=3)


def test_a_delivery_whose_bytes_are_not_those_sent_fails_the_load() -> None:
    data = bytearray(deliveries([0, 1]))
    data[-2] = ord("y")
    with pytest.raises(LoadError, match="message 1 came in other bytes"):
        receive(bytes(data), count=2)


def test_deliveries_that_end_early_fail_the_load() -> None:
    with pytest.raises(LoadError, match="closed"):
        receive(deliveries([0, 1]), count=3)


def confirm(tag: int, multiple: bool = False) -> bytes:
    return struct.pack(">BHIHHQBB", 1, 1, 13, 60, 80, tag, multiple, 0xCE)


def test_confirms_count_one_by_one_by_multiple_and_out_of_order() -> None:
    confirms = amqp.Confirms()
    data = confirm(2) + confirm(1) + confirm(5, multiple=True) + confirm(7)
    for byte in data:
        confirms.feed(bytes((byte,)))
    assert confirms.low == 5
    confirms.feed(confirm(6))
    assert confirms.low == 7


@pytest.mark.parametrize("again", [confirm(3), confirm(2, multiple=True), confirm(5)])
def test_a_publish_that_is_confirmed_twice_fails_the_load(again: bytes) -> None:
    confirms = amqp.Confirms()
    confirms.feed(confirm(3, multiple=True) + confirm(5))
    with pytest.raises(LoadError, match="twice"):
        confirms.feed(again)


def test_a_refused_publish_fails_the_load() -> None:
    nack = struct.pack(">BHIHHQBB", 1, 1, 13, 60, 120, 1, 0, 0xCE)
    with pytest.raises(LoadError, match=r"60\.120"):
        amqp.Confirms().feed(nack)


def publishes(numbers: list[int], qos: int = 1, first: int = 0x32) -> bytes:
    packet, id_at, at = mqtt.publish_packet("t", qos, 20)
    ids = [(id_at, 2, [number % 7 + 1 for number in range(len(numbers))])] if qos else []
    block = copies(packet, len(numbers), (at, 8, numbers), *ids)
    if qos:
        block[0 :: len(packet)] = bytes((first,)) * len(numbers)
    return bytes(block)


def subscriber(*chunks: bytes, qos: int = 1, publishers: int = 1) -> tuple[Chunks, mqtt.Receiver]:
    client = Chunks(*chunks)
    return client, mqtt.Receiver(cast(mqtt.Mqtt, client), "t", qos, size=20, publishers=publishers)


def test_publishes_are_acknowledged_by_their_packet_identifiers_also_with_dup() -> None:
    data = publishes([0, 1, 2], first=0x3A)
    client, receiver = subscriber(data[:30], data[30:])
    receiver.receive_all(3)
    assert client.sent == b"\x40\x02\0\x01\x40\x02\0\x02\x40\x02\0\x03"


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("numbers", [[0, 2, 1], [0, 0, 1], [1, 2, 3]])
def test_a_lost_doubled_or_reordered_publish_fails_the_load(numbers: list[int], qos: int) -> None:
    _, receiver = subscriber(publishes(numbers, qos), qos=qos)
    with pytest.raises(LoadError, match="was due"):
        receiver.receive_all(3)


def test_publishers_may_come_in_any_order_but_each_in_its_own() -> None:
    second = 1 << mqtt.SENDER_SHIFT
    _, receiver = subscriber(publishes([0, second, second + 1, 1]), publishers=2)
    receiver.receive_all(4)
    _, receiver = subscriber(publishes([0, second + 1, second, 1]), publishers=2)
    with pytest.raises(LoadError, match="was due"):
        receiver.receive_all(4)


def test_messages_of_one_publisher_in_place_of_anothers_fail_the_load() -> None:
    _, receiver = subscriber(publishes([0, 1, 2, 1 << mqtt.SENDER_SHIFT]), publishers=2)
    with pytest.raises(LoadError, match="of the publishers came"):
        receiver.receive_all(4)
