"""Properties between MQTT 5 and AMQP 0-9-1, as RabbitMQ's MQTT plugin maps them."""

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, Message, amqp_properties
from edge.core.properties import BasicProperties, decode_properties, encode_properties
from edge.core.table import Int8, Table, Timestamp
from mqtt import properties as p
from mqtt.convert import mqtt_properties
from mqtt.properties import Properties, decode_block, encode_block


def from_mqtt(properties: Properties, flags: int = PERSISTENT, **times: int) -> BasicProperties:
    message = Message("amq.topic", "t", encode_block(properties), b"", FORM_MQTT, flags, **times)
    return decode_properties(amqp_properties(message))


def from_amqp(properties: BasicProperties) -> Properties:
    return decode_block(mqtt_properties(Message("", "t", encode_properties(properties), b"")))


def test_qos_becomes_the_delivery_mode() -> None:
    assert from_mqtt({}, 0) == BasicProperties(delivery_mode=1)
    assert from_mqtt({}, PERSISTENT) == BasicProperties(delivery_mode=2)


def test_all_mapped_properties_go_to_amqp() -> None:
    found = from_mqtt(
        {
            p.CONTENT_TYPE: "application/json",
            p.CORRELATION_DATA: b"c-1",
            p.RESPONSE_TOPIC: "reply/to/me",
            p.USER_PROPERTY: [("k", "v"), ("k", "w"), ("x" * 256, "dropped")],
            p.PAYLOAD_FORMAT_INDICATOR: 1,
        },
        published_at_ms=1_000,
        expires_at_ms=31_000,
    )
    assert found == BasicProperties(
        content_type="application/json",
        correlation_id="c-1",
        delivery_mode=2,
        expiration="30000",
        headers={"k": "w", "x-reply-to-topic": "reply.to.me"},
    )


def test_correlation_data_that_is_no_short_string_becomes_a_header() -> None:
    for data in (b"\xff\0", b"x" * 256):
        found = from_mqtt({p.CORRELATION_DATA: data})
        assert found.correlation_id is None
        back = from_amqp(found)
        assert back[p.CORRELATION_DATA] == data


def test_a_content_type_that_is_no_ascii_short_string_is_dropped() -> None:
    assert from_mqtt({p.CONTENT_TYPE: "é"}).content_type is None
    assert from_mqtt({p.CONTENT_TYPE: "x" * 256}).content_type is None


def test_all_mapped_properties_come_from_amqp() -> None:
    headers: Table = {
        "b": "text",
        "a": Int8(5),
        "yes": True,
        "nothing": None,
        "time": Timestamp(7),
        "half": 0.5,
        "x-reply-to-topic": "r.t",
        "table": {"not": "mapped"},
        "list": [1],
        "bytes": b"not mapped",
        "nul": "a\0b",
    }
    found = from_amqp(
        BasicProperties(
            content_type="text/plain",
            correlation_id="c",
            headers=headers,
            message_id="not mapped",
            type="nor this",
        )
    )
    assert found == {
        p.CONTENT_TYPE: "text/plain",
        p.RESPONSE_TOPIC: "r/t",
        p.CORRELATION_DATA: b"c",
        p.USER_PROPERTY: [
            ("b", "text"),
            ("a", "5"),
            ("yes", "true"),
            ("nothing", ""),
            ("time", "7"),
            ("half", "0.5"),
        ],
    }


@pytest.mark.parametrize("key", ["a.*", "#", ""])
def test_a_reply_to_that_is_no_topic_name_is_dropped(key: str) -> None:
    assert p.RESPONSE_TOPIC not in from_amqp(BasicProperties(headers={"x-reply-to-topic": key}))


def test_mqtt_properties_stay_what_they_were_between_mqtt_clients() -> None:
    block = encode_block({p.USER_PROPERTY: [("b", "1"), ("a", "2"), ("b", "3")]})
    assert mqtt_properties(Message("", "t", block, b"", FORM_MQTT)) is block


def test_a_conversion_is_remembered() -> None:
    message = Message("", "t", encode_block({p.CONTENT_TYPE: "x/y"}), b"", FORM_MQTT)
    assert amqp_properties(message) is amqp_properties(message)
    other = Message("", "t", encode_properties(BasicProperties(content_type="x/y")), b"")
    assert mqtt_properties(other) is mqtt_properties(other)
