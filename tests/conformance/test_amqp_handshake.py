"""Handshakes that go wrong, against Leveret and against RabbitMQ; limits of users and vhosts."""

import asyncio
import contextlib

import pytest

from edge.amqp091 import spec
from edge.amqp091.constants import PROTOCOL_HEADER, PROTOCOL_HEADER_0_9
from tests.conformance.conftest import Bench
from tests.wire.amqp_handshakes import HANDSHAKES, Handshake
from tests.wire.amqp_refusals import frames


async def read_method(reader: asyncio.StreamReader) -> spec.Method:
    async with asyncio.timeout(5):
        lead = await reader.readexactly(7)
        payload = await reader.readexactly(int.from_bytes(lead[3:], "big") + 1)
    kind = spec.METHODS[int.from_bytes(payload[:4], "big")]
    return spec.decode_method(kind, payload[:-1])


async def shake_hands(bench: Bench, case: Handshake) -> None:
    reader, writer = await bench.connect()
    writer.write(PROTOCOL_HEADER)
    before: spec.Method | None = None
    for step in case.steps:
        if not isinstance(before, spec.TuneOk):
            await read_method(reader)
        writer.write(frames(step, channel=0))
        before = step
    closed = await read_method(reader)
    assert isinstance(closed, spec.Close), closed
    assert (closed.reply_code, closed.class_id << 16 | closed.method_id) == (case.code, case.method), closed
    assert case.text in closed.reply_text
    writer.write(frames(spec.CloseOk(), channel=0))
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_handshake_that_goes_wrong_is_told_why(leveret_bench: Bench, name: str) -> None:
    await shake_hands(leveret_bench, HANDSHAKES[name])


@pytest.mark.parametrize("name", [name for name, case in HANDSHAKES.items() if case.is_asked])
async def test_rabbitmq_says_the_same_where_it_answers(rabbitmq_bench: Bench, name: str) -> None:
    await shake_hands(rabbitmq_bench, HANDSHAKES[name])


@pytest.mark.parametrize("header", [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9])
async def test_the_headers_of_0_9_1_and_of_its_draft_are_taken(bench: Bench, header: bytes) -> None:
    """``rabbit_reader:handshake``."""
    reader, writer = await bench.connect()
    writer.write(header)
    start = await read_method(reader)
    assert isinstance(start, spec.Start)
    assert (start.version_major, start.version_minor) == (0, 9)


@pytest.mark.parametrize("header", [b"AMQP\x00\x00\x09\x02", b"GET / HTTP/1.1\r\n\r\n"])
async def test_another_protocols_header_is_answered_by_ours_and_a_closed_socket(
    bench: Bench, header: bytes
) -> None:
    reader, writer = await bench.connect()
    writer.write(header)
    async with asyncio.timeout(5):
        assert await reader.readexactly(8) == PROTOCOL_HEADER
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
