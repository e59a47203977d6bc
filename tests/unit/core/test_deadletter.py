"""What a dead-lettered message carries on (RabbitMQ, "Dead Letter Exchanges")."""

import pytest

from edge.core.deadletter import dead_letter_target, dead_lettered, is_cycle, routing_keys
from edge.core.message import FORM_AMQP091, Message, register_form
from edge.core.properties import NO_PROPERTIES, BasicProperties, decode_properties, encode_properties
from edge.core.queue import Queue
from edge.core.table import (
    Decimal,
    Float32,
    Int8,
    Int16,
    Int32,
    Table,
    Timestamp,
    UInt8,
    UInt32,
    encode_table,
)
from tests.helpers.brokers import FakeHost, message

NOW_MS = 1_700_000_000_123


def queue(name: str, **arguments: object) -> Queue:
    return Queue(FakeHost(), "/", name, 1, arguments=arguments)


def die(sent: Message, of: str = "rejected", in_queue: str = "q", **arguments: object) -> Message:
    return dead_lettered(queue(in_queue, **arguments), "dlx", sent, of, NOW_MS)


def headers(of: Message) -> dict[str, object]:
    found = decode_properties(of.properties).headers
    assert found is not None
    return found


def deaths(of: Message) -> list[tuple[object, object, object]]:
    found = headers(of)["x-death"]
    assert isinstance(found, list)
    return [(death["queue"], death["reason"], death["count"]) for death in found]


def test_the_target_is_the_queues_argument() -> None:
    assert dead_letter_target(queue("q")) is None
    assert dead_letter_target(queue("q", **{"x-dead-letter-exchange": ""})) == ""
    assert dead_letter_target(queue("q", **{"x-dead-letter-exchange": 5})) is None


def test_the_first_death_is_told_whole() -> None:
    sent = message(
        "k",
        b"body",
        exchange="e",
        properties=encode_properties(BasicProperties(expiration="50", content_type="text/plain")),
        expires_at_ms=77,
    )
    dead = die(sent, "expired")
    properties = decode_properties(dead.properties)
    assert (properties.expiration, properties.content_type) == (None, "text/plain")
    assert (dead.exchange, dead.routing_key, dead.body, dead.expires_at_ms) == ("dlx", "k", b"body", 0)
    found = headers(dead)
    assert found.pop("x-death") == [
        {
            "count": 1,
            "reason": "expired",
            "queue": "q",
            "time": Timestamp(NOW_MS // 1000),
            "exchange": "e",
            "routing-keys": ["k"],
            "original-expiration": "50",
        }
    ]
    assert found == {
        f"x-{which}-death-{name}": value
        for which in ("first", "last")
        for name, value in (("queue", "q"), ("reason", "expired"), ("exchange", "e"))
    }


def test_deaths_of_one_queue_and_reason_are_counted_and_the_newest_comes_first() -> None:
    dead = die(message())
    dead = die(dead, "expired", "other")
    assert deaths(dead) == [("other", "expired", 1), ("q", "rejected", 1)]
    dead = die(dead)
    assert deaths(dead) == [("q", "rejected", 2), ("other", "expired", 1)]
    assert headers(dead)["x-first-death-queue"] == "q"
    dead = die(dead, "maxlen", "third")
    assert headers(dead)["x-last-death-queue"] == "third"
    assert headers(dead)["x-first-death-reason"] == "rejected"


def test_a_dead_letter_routing_key_replaces_the_key_and_the_copies() -> None:
    sent = message("k", properties=encode_properties(BasicProperties(headers={"CC": ["c"]})))
    assert headers(die(sent))["CC"] == ["c"]
    dead = die(sent, **{"x-dead-letter-routing-key": "parked"})
    assert dead.routing_key == "parked"
    assert "CC" not in headers(dead)


@pytest.mark.parametrize("forged", ["text", ["odd"], [{"queue": "q", "reason": "rejected", "count": "many"}]])
def test_x_death_headers_that_a_client_made_up_do_no_harm(forged: object) -> None:
    sent = message(properties=encode_properties(BasicProperties(headers={"x-death": forged})))
    assert deaths(die(sent)) == [("q", "rejected", 1)]


def test_a_message_of_another_protocol_dies_as_an_amqp_message() -> None:
    register_form(78, lambda _: NO_PROPERTIES)
    dead = die(Message("e", "k", b"other", b"", 78))
    assert dead.form == FORM_AMQP091
    assert deaths(dead) == [("q", "rejected", 1)]


class TestCycles:
    def test_a_message_that_comes_round_by_itself_is_in_a_cycle(self) -> None:
        dead = die(die(message(), "expired", "a"), "expired", "b")
        assert is_cycle("a", dead)
        assert is_cycle("b", dead)
        assert not is_cycle("c", dead)

    def test_a_rejection_on_the_way_breaks_the_cycle(self) -> None:
        dead = die(die(message(), "expired", "a"), "rejected", "b")
        assert not is_cycle("a", dead)
        assert not is_cycle("b", dead)

    def test_a_rejection_before_the_round_does_not(self) -> None:
        dead = die(die(die(message(), "rejected", "x"), "expired", "a"), "expired", "b")
        assert is_cycle("a", dead)
        assert not is_cycle("x", dead)

    def test_what_a_client_made_up_is_no_cycle(self) -> None:
        for forged in ("text", ["odd", {"queue": "q"}]):
            sent = message(properties=encode_properties(BasicProperties(headers={"x-death": forged})))
            assert not is_cycle("q", sent)
        assert not is_cycle("q", message())


def test_carbon_copies_are_routing_keys_that_it_died_with_until_it_gets_one_key() -> None:
    sent = message("a", properties=encode_properties(BasicProperties(headers={"CC": ["b"]})))
    dead = die(sent)
    found = headers(dead)["x-death"]
    assert isinstance(found, list)
    assert found[0]["routing-keys"] == routing_keys(dead) == ["a", "b"]
    redirected = {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "k"}
    assert routing_keys(die(sent, **redirected)) == ["k"]


def test_the_first_death_is_told_of_a_message_without_x_death_alone() -> None:
    sent = message(properties=encode_properties(BasicProperties(headers={"x-first-death-queue": "mine"})))
    once = die(sent, "expired")
    twice = die(once, "maxlen", "other")
    for dead in (once, twice):
        assert (headers(dead)["x-first-death-queue"], headers(dead)["x-first-death-reason"]) == (
            "q",
            "expired",
        )
    assert headers(twice)["x-last-death-reason"] == "maxlen"
    made_up = message(properties=encode_properties(BasicProperties(headers={"x-death": []})))
    assert "x-first-death-queue" not in headers(die(made_up))


def test_headers_of_every_type_survive_byte_for_byte() -> None:
    table: Table = {
        "b": Int8(-1),
        "s": Int16(2),
        "i": UInt32(3),
        "l": 1 << 40,
        "f": Float32(0.5),
        "d": Decimal(2, 315),
        "t": Timestamp(5),
        "x": b"\x00\xff",
        "a": [Int32(1), None, {"n": UInt8(1)}],
        "S": "\udcff",
    }
    dead = headers(die(message(properties=encode_properties(BasicProperties(headers=table)))))
    assert encode_table({name: dead[name] for name in table}) == encode_table(table)
