"""Basic properties (AMQP 0-9-1, section 4.2.6.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.message import PERSISTENT
from edge.core.properties import (
    EXPIRATION_MS_MAX,
    MARK_CARBON_COPY,
    MARK_DIRECT_REPLY,
    MARK_MALFORMED,
    MARK_USER_ID,
    NO_EXPIRATION,
    NO_PROPERTIES,
    BasicProperties,
    ExpirationError,
    PropertiesError,
    PropertyReader,
    decode_properties,
    encode_properties,
    header,
    headers,
    replace_headers,
    set_header,
)

ALL = BasicProperties(
    content_type="text/plain",
    content_encoding="gzip",
    headers={"a": 1, "b": [True, "x"]},
    delivery_mode=2,
    priority=7,
    correlation_id="c-1",
    reply_to="answers",
    expiration="60000",
    message_id="m-1",
    timestamp=1700000000,
    type="report",
    user_id="guest",
    app_id="drone",
    cluster_id="x",
)

ANY = st.builds(
    BasicProperties,
    content_type=st.none() | st.text(max_size=20),
    content_encoding=st.none() | st.text(max_size=5),
    headers=st.none()
    | st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5), max_size=3),
    delivery_mode=st.none() | st.integers(0, 255),
    priority=st.none() | st.integers(0, 255),
    correlation_id=st.none() | st.text(max_size=5),
    reply_to=st.none() | st.text(max_size=5),
    expiration=st.none() | st.integers(0, EXPIRATION_MS_MAX).map(str),
    message_id=st.none() | st.text(max_size=5),
    timestamp=st.none() | st.integers(0, (1 << 64) - 1),
    type=st.none() | st.text(max_size=5),
    user_id=st.none() | st.text(max_size=5),
    app_id=st.none() | st.text(max_size=5),
    cluster_id=st.none() | st.text(max_size=5),
)


def test_all_fourteen_come_back_as_they_were() -> None:
    assert decode_properties(encode_properties(ALL)) == ALL


def test_no_properties_are_two_bytes_or_none_at_all() -> None:
    assert encode_properties(BasicProperties()) == NO_PROPERTIES
    assert decode_properties(NO_PROPERTIES) == BasicProperties()
    assert decode_properties(b"") == BasicProperties()


@given(ANY)
def test_peeking_agrees_with_decoding(properties: BasicProperties) -> None:
    encoded = encode_properties(properties)
    assert decode_properties(encoded) == properties
    flags, ttl_ms, priority, marks = PropertyReader().peek(encoded)
    assert flags == (PERSISTENT if properties.delivery_mode == 2 else 0)
    assert ttl_ms == (NO_EXPIRATION if properties.expiration is None else int(properties.expiration))
    assert priority == (properties.priority or 0)
    assert bool(marks & MARK_USER_ID) == (properties.user_id is not None)
    assert not marks & MARK_MALFORMED


@given(st.binary(max_size=40))
def test_what_peek_lets_pass_decodes(garbage: bytes) -> None:
    """No list that a consumer cannot parse gets past ``peek``."""
    marks = PropertyReader().peek(garbage)[3]
    if not marks & MARK_MALFORMED:
        decode_properties(garbage)


def test_every_truncation_is_malformed() -> None:
    encoded = encode_properties(ALL)
    reader = PropertyReader()
    for length in range(len(encoded)):
        assert reader.peek(encoded[:length])[3] == MARK_MALFORMED
        with pytest.raises(PropertiesError):
            reader.check(encoded[:length])
        if length:
            with pytest.raises(PropertiesError):
                decode_properties(encoded[:length])


@pytest.mark.parametrize("flags", [1, 2])
def test_flags_of_no_basic_property_are_malformed(flags: int) -> None:
    with pytest.raises(PropertiesError, match="flag"):
        decode_properties(bytes((0, flags)))
    with pytest.raises(PropertiesError, match="flag"):
        PropertyReader().check(bytes((0, flags)))


def test_bytes_behind_the_list_are_malformed() -> None:
    with pytest.raises(PropertiesError, match="does not end"):
        decode_properties(NO_PROPERTIES + b"x")
    with pytest.raises(PropertiesError, match="does not end"):
        PropertyReader().check(NO_PROPERTIES + b"x")


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "+1", str(EXPIRATION_MS_MAX + 1), "9" * 100])
def test_an_expiration_that_is_no_count_of_milliseconds_is_refused(text: str) -> None:
    encoded = encode_properties(BasicProperties(expiration=text))
    reader = PropertyReader()
    assert reader.peek(encoded)[3] == MARK_MALFORMED
    with pytest.raises(ExpirationError, match="invalid expiration"):
        reader.check(encoded)


def test_marks_tell_what_needs_a_closer_look() -> None:
    reader = PropertyReader()
    direct = encode_properties(BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    assert reader.peek(direct)[3] == MARK_DIRECT_REPLY
    for name in ("CC", "BCC"):
        copied = encode_properties(BasicProperties(headers={name: ["a"]}))
        assert reader.peek(copied)[3] == MARK_CARBON_COPY


def test_a_reader_forgets_what_is_too_long_or_too_much() -> None:
    reader = PropertyReader()
    for i in range(1000):
        reader.peek(encode_properties(BasicProperties(message_id=str(i), headers={"n": i})))
    reader.peek(encode_properties(BasicProperties(headers={"long": "x" * 1000})))
    assert len(reader._lists) <= reader.ENTRIES_MAX
    assert len(reader._tables) <= reader.ENTRIES_MAX


def test_headers_are_found_without_decoding_the_rest() -> None:
    encoded = encode_properties(ALL)
    assert headers(encoded) == {"a": 1, "b": [True, "x"]}
    assert header(encoded, "a") == 1
    assert header(encoded, "nowhere") is None
    assert header(encoded, "plain") is None
    assert headers(NO_PROPERTIES) == headers(b"") == {}


@given(ANY)
def test_setting_a_header_leaves_all_else_as_it_is(properties: BasicProperties) -> None:
    changed = decode_properties(set_header(encode_properties(properties), "x-new", "value"))
    assert changed.headers == {**(properties.headers or {}), "x-new": "value"}
    changed.headers = properties.headers
    assert changed == properties


def test_headers_can_be_set_on_no_properties_and_taken_away() -> None:
    assert decode_properties(set_header(b"", "a", 1)) == BasicProperties(headers={"a": 1})
    assert replace_headers(set_header(b"", "a", 1), {}) == NO_PROPERTIES


@pytest.mark.parametrize("broken", [b"\x80", b"\x20\x00\x00\x00\x00\x09", b"\x00\x01"])
def test_headers_of_what_is_no_list_raise(broken: bytes) -> None:
    with pytest.raises(PropertiesError):
        headers(broken)


@pytest.mark.parametrize(
    "properties",
    [
        BasicProperties(content_type="x" * 256),
        BasicProperties(delivery_mode=256),
        BasicProperties(timestamp=-1),
        BasicProperties(priority=-1),
    ],
)
def test_values_out_of_range_are_refused(properties: BasicProperties) -> None:
    with pytest.raises(PropertiesError):
        encode_properties(properties)
