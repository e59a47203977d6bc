"""Field tables: RabbitMQ's types (rabbit_binary_parser), AMQP 0-9-1 section 4.2.5.5."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.table import (
    DEPTH_MAX,
    TABLE_BYTES_MAX,
    Decimal,
    Float32,
    Int8,
    Int16,
    Int32,
    Table,
    TableError,
    Timestamp,
    UInt8,
    UInt16,
    UInt32,
    decode_table,
    encode_table,
    is_text,
    skip_table,
    to_plain,
    type_name,
)

VALUES: dict[str, tuple[bytes, object]] = {
    "t": (b"t\x01", True),
    "b": (b"b\xff", Int8(-1)),
    "B": (b"B\xff", UInt8(255)),
    "s": (b"s\xff\xfe", Int16(-2)),
    "u": (b"u\xff\xfe", UInt16(65534)),
    "I": (b"I\xff\xff\xff\xfd", Int32(-3)),
    "i": (b"i\xff\xff\xff\xfd", UInt32(4294967293)),
    "l": (b"l\xff\xff\xff\xff\xff\xff\xff\xfc", -4),
    "f": (b"f\x3f\x80\x00\x00", Float32(1.0)),
    "d": (b"d\x3f\xf0\x00\x00\x00\x00\x00\x00", 1.0),
    "D": (b"D\x02\x00\x00\x01\x3b", Decimal(2, 315)),
    "S": (b"S\x00\x00\x00\x02\xc3\xa9", "é"),
    "x": (b"x\x00\x00\x00\x02\x00\xff", b"\x00\xff"),
    "T": (b"T\x00\x00\x00\x00\x65\x53\xf1\x00", Timestamp(1700000000)),
    "V": (b"V", None),
    "A": (b"A\x00\x00\x00\x07t\x00S\x00\x00\x00\x00", [False, ""]),
    "F": (b"F\x00\x00\x00\x05\x01ns\x00\x01", {"n": Int16(1)}),
}


def table_of(*fields: bytes) -> bytes:
    fields_bytes = b"".join(fields)
    return len(fields_bytes).to_bytes(4, "big") + fields_bytes


def nested(depth: int) -> Table:
    table: Table = {}
    for _ in range(depth):
        table = {"t": table}
    return table


@pytest.mark.parametrize("name", VALUES)
def test_every_type_is_read_and_written_byte_for_byte(name: str) -> None:
    encoded, value = VALUES[name]
    table = table_of(b"\x03key", encoded)
    decoded, end = decode_table(b"--" + table, 2)
    assert decoded == {"key": value}
    assert type(decoded["key"]) is type(value)
    assert end == 2 + len(table)
    assert skip_table(b"--" + table, 2) == end
    assert encode_table(decoded) == table


def test_type_l_has_a_second_letter_that_is_read_and_written_as_the_first() -> None:
    decoded, _ = decode_table(table_of(b"\x01kL\x00\x00\x00\x00\x00\x00\x00\x07"), 0)
    assert decoded == {"k": 7}
    assert encode_table(decoded) == table_of(b"\x01kl\x00\x00\x00\x00\x00\x00\x00\x07")


def test_integers_of_different_widths_are_equal_so_that_redeclarations_compare() -> None:
    assert {"x-expires": Int32(5)} == {"x-expires": 5}


def test_bytes_that_are_not_utf8_survive_in_a_string() -> None:
    table = table_of(b"\x01kS\x00\x00\x00\x02\xff\xfe")
    decoded, _ = decode_table(table, 0)
    assert encode_table(decoded) == table
    assert not is_text(decoded)
    assert not is_text([{"a": decoded["k"]}])
    assert is_text({"é": ["ü", 1, None]})
    assert to_plain(decoded) == {"k": "\ufffd\ufffd"}


@pytest.mark.parametrize("name", VALUES)
def test_every_truncation_raises_and_is_skipped_the_same_way(name: str) -> None:
    table = table_of(b"\x03key", VALUES[name][0])
    for length in range(len(table)):
        for cut in (
            table[:length],
            (length - 4).to_bytes(4, "big") + table[4:length] if length >= 4 else b"",
        ):
            if cut == b"\x00\x00\x00\x00":
                continue
            with pytest.raises(TableError):
                decode_table(cut, 0)
            with pytest.raises(TableError):
                skip_table(cut, 0)


@pytest.mark.parametrize(
    "table",
    [
        table_of(b"\x01kz\x00"),
        table_of(b"\x01k"),
        table_of(b"\x05k"),
        table_of(b"\x01kA\x00\x00\x00\x01t"),
        table_of(b"\x01kF\x00\x00\x00\xff"),
        table_of(b"\x01kA\x00\x00\x00\x02zz"),
    ],
)
def test_what_is_no_table_raises(table: bytes) -> None:
    with pytest.raises(TableError):
        decode_table(table, 0)
    with pytest.raises(TableError):
        skip_table(table, 0)


def test_nesting_is_bounded_both_ways() -> None:
    deepest = encode_table(nested(DEPTH_MAX))
    assert decode_table(deepest, 0)[0] == nested(DEPTH_MAX)
    assert skip_table(deepest, 0) == len(deepest)
    with pytest.raises(TableError, match="deeper"):
        encode_table(nested(DEPTH_MAX + 1))
    too_deep = table_of(b"\x01tF", deepest)
    with pytest.raises(TableError, match="deeper"):
        decode_table(too_deep, 0)
    with pytest.raises(TableError, match="deeper"):
        skip_table(too_deep, 0)
    array: object = []
    for _ in range(DEPTH_MAX + 1):
        array = [array]
    with pytest.raises(TableError, match="deeper"):
        encode_table({"a": array})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Int8(128), "does not fit"),
        (UInt8(-1), "does not fit"),
        (Int16(1 << 15), "does not fit"),
        (UInt32(1 << 32), "does not fit"),
        (1 << 63, "does not fit"),
        (Timestamp(-1), "does not fit"),
        (Float32(1e300), "does not fit"),
        (object(), "no place"),
        ("\ud800", "no Unicode"),
        ("x" * (TABLE_BYTES_MAX + 1), "over the limit"),
    ],
)
def test_values_without_a_place_in_a_table_are_refused(value: object, text: str) -> None:
    with pytest.raises(TableError, match=text):
        encode_table({"k": value})


def test_a_field_name_is_a_short_string() -> None:
    with pytest.raises(TableError, match="longer than 255"):
        encode_table({"k" * 256: 1})


def test_plain_values_are_what_json_knows() -> None:
    plain = to_plain({"i": Int16(1), "d": Decimal(2, 5), "x": b"ab", "t": (True, None), "f": Float32(0.5)})
    assert plain == {"i": 1, "d": "0.05", "x": "ab", "t": [True, None], "f": 0.5}
    assert isinstance(plain, dict)
    assert type(plain["i"]) is int
    assert type(plain["f"]) is float


def test_decimals_show_their_point_and_compare_by_value_and_scale() -> None:
    assert str(Decimal(0, 7)) == "7"
    assert str(Decimal(1, 75)) == "7.5"
    assert Decimal(1, 75) != Decimal(2, 750)
    assert len({Decimal(1, 75), Decimal(1, 75)}) == 1
    assert repr(Decimal(1, 75)) == "Decimal(1, 75)"


NAMES = st.text(max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    *[
        st.integers(*bounds).map(width)
        for width, bounds in (
            (Int8, (-(1 << 7), (1 << 7) - 1)),
            (UInt8, (0, (1 << 8) - 1)),
            (Int16, (-(1 << 15), (1 << 15) - 1)),
            (UInt16, (0, (1 << 16) - 1)),
            (Int32, (-(1 << 31), (1 << 31) - 1)),
            (UInt32, (0, (1 << 32) - 1)),
            (Timestamp, (0, (1 << 64) - 1)),
        )
    ],
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32).map(Float32),
    st.builds(Decimal, st.integers(0, 255), st.integers(0, (1 << 32) - 1)),
    st.text(max_size=30),
    st.binary(max_size=30),
)
TABLES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_size=6,
)


@given(TABLES)
def test_any_table_comes_back_as_it_was(table: Table) -> None:
    encoded = encode_table(table)
    decoded, end = decode_table(encoded, 0)
    assert (decoded, end) == (table, len(encoded))
    assert types_of(decoded) == types_of(table)
    assert encode_table(decoded) == encoded
    assert skip_table(encoded, 0) == len(encoded)


def types_of(value: object) -> object:
    if isinstance(value, dict):
        return {name: types_of(item) for name, item in value.items()}
    return [types_of(item) for item in value] if isinstance(value, list) else type(value)


def test_each_type_has_rabbitmqs_name() -> None:
    names = [type_name(value) for _, value in VALUES.values()]
    assert names == [
        *("bool", "byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"),
        *("float", "double", "decimal", "longstr", "binary", "timestamp", "void", "array", "table"),
    ]


@given(st.binary(max_size=60))
def test_skipping_agrees_with_decoding_on_any_bytes(garbage: bytes) -> None:
    """Whatever the bytes, both give the same end or both raise TableError and nothing else."""
    encoded = len(garbage).to_bytes(4, "big") + garbage
    try:
        _, end = decode_table(encoded, 0)
    except TableError:
        with pytest.raises(TableError):
            skip_table(encoded, 0)
    else:
        assert skip_table(encoded, 0) == end
