"""The message and its form on disk."""

import msgspec
import pytest

from edge.core.message import FORM_AMQP091, Message, amqp_properties, register_form


def test_its_form_on_disk_is_an_array_that_keeps_every_field() -> None:
    original = Message("e", "k", b"\x10\x00\x02", b"body", FORM_AMQP091, 1, 2, 3, 4)
    stored = msgspec.msgpack.encode(original)
    assert msgspec.msgpack.decode(stored) == ["e", "k", b"\x10\x00\x02", b"body", 0, 1, 2, 3, 4]
    assert msgspec.msgpack.decode(stored, type=Message) == original


def test_a_message_of_an_older_store_that_lacks_fields_is_read() -> None:
    stored = msgspec.msgpack.encode(["e", "k", b"", b"body"])
    assert msgspec.msgpack.decode(stored, type=Message) == Message("e", "k", b"", b"body")


def test_amqp_properties_pass_through_and_others_are_converted() -> None:
    message = Message("e", "k", b"\x00\x00", b"")
    assert amqp_properties(message) is message.properties
    register_form(77, lambda message: b"converted " + message.properties)
    assert amqp_properties(Message("e", "k", b"x", b"", 77)) == b"converted x"
    with pytest.raises(KeyError):
        amqp_properties(Message("e", "k", b"x", b"", 76))
