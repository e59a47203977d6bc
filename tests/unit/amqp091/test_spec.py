"""Methods on the wire, against the bytes of another implementation."""

import pytest

from edge.amqp091 import spec
from edge.amqp091.errors import ConnectionFault
from edge.amqp091.outbound import encode_method
from tests.wire.amqp_frames import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_written_as_others_write_it(name: str) -> None:
    method, channel, frame = METHODS[name]
    assert encode_method(channel, spec.encode_arguments(method)).hex() == frame


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_read_as_others_wrote_it(name: str) -> None:
    method, _, frame = METHODS[name]
    assert spec.decode_method(type(method), bytes.fromhex(frame)[7:-1]) == method


@pytest.mark.parametrize("name", METHODS)
def test_arguments_that_are_cut_off_are_a_frame_error(name: str) -> None:
    method, _, frame = METHODS[name]
    payload = bytes.fromhex(frame)[7:-1]
    for length in range(4, len(payload)):
        with pytest.raises(ConnectionFault, match="malformed") as caught:
            spec.decode_method(type(method), payload[:length])
        assert caught.value.code == 501
        assert caught.value.method == method.ID


def test_every_method_has_an_id_of_its_own_and_a_wire_type_for_each_field() -> None:
    assert len(spec.METHODS) == len(spec.Method.__subclasses__())
    for kind in spec.METHODS.values():
        assert len(kind.WIRE) == len(kind.__struct_fields__)


def test_ids_that_break_the_pattern_are_rabbitmqs() -> None:
    assert spec.ExchangeUnbindOk.ID == 40 << 16 | 51
    assert spec.BasicNack.ID == 60 << 16 | 120
    assert spec.ConfirmSelect.ID == 85 << 16 | 10


def test_nine_bits_take_two_octets() -> None:
    class NineBits(spec.Method):
        WIRE = "bbbbbbbbbB"
        a: bool = False
        b: bool = True
        c: bool = False
        d: bool = False
        e: bool = False
        f: bool = False
        g: bool = False
        h: bool = True
        i: bool = True
        octet: int = 5

    payload = spec.encode_arguments(NineBits())
    assert payload == b"\0\0\0\0" + bytes((0b10000010, 1, 5))
    assert spec.decode_method(NineBits, payload) == NineBits()


def test_a_table_with_bytes_that_are_no_text_is_refused_for_it_could_not_be_stored() -> None:
    payload = spec.encode_arguments(spec.QueueDeclare(arguments={"x": "\udcff"}))
    with pytest.raises(ConnectionFault, match="UTF-8"):
        spec.decode_method(spec.QueueDeclare, payload)


@pytest.mark.parametrize(
    "method",
    [spec.QueueDeclare(queue="q" * 256), spec.StartOk(response="text"), spec.Close(reply_text=b"x")],  # type: ignore[arg-type]
)
def test_arguments_without_a_place_on_the_wire_are_refused(method: spec.Method) -> None:
    with pytest.raises(ValueError, match=r"longer|cannot be encoded"):
        spec.encode_arguments(method)
