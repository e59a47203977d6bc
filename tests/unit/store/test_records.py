"""Records of the topology keep what redeclarations compare."""

import msgspec
import pytest

from edge.core.binding import Binding
from edge.core.exchanges import TYPES
from edge.core.queue import Queue
from edge.core.table import Int32
from edge.store.records import (
    BindingRecord,
    ExchangeRecord,
    QueueRecord,
    arguments_of,
    binding_record,
    exchange_record,
    queue_record,
)
from tests.helpers.brokers import FakeHost

ARGUMENTS = {"x-a": Int32(5), "x-b": "text", "x-c": [1, True, None], "x-d": {"deep": b"bytes"}}


def test_an_exchange_comes_back_with_its_arguments() -> None:
    exchange = TYPES["topic"]("/", "e", auto_delete=True, internal=True, arguments=dict(ARGUMENTS))
    key, value = exchange_record(exchange)
    record = msgspec.msgpack.decode(value, type=ExchangeRecord)
    assert key == "/\0e"
    assert (record.vhost, record.name, record.type, record.auto_delete, record.internal) == (
        "/",
        "e",
        "topic",
        True,
        True,
    )
    found = arguments_of(record.arguments)
    assert found == ARGUMENTS
    assert type(found["x-a"]) is Int32, "the width of an integer matters to redeclarations"


def test_a_queue_comes_back_with_its_id_and_kind() -> None:
    key, value = queue_record(Queue(FakeHost(), "v", "q", 42, auto_delete=True, arguments=dict(ARGUMENTS)))
    record = msgspec.msgpack.decode(value, type=QueueRecord)
    assert key == "v\0q"
    assert (record.vhost, record.name, record.id, record.auto_delete, record.kind) == ("v", "q", 42, True, "")
    assert arguments_of(record.arguments) == ARGUMENTS


@pytest.mark.parametrize("arguments", [{}, ARGUMENTS])
def test_a_binding_comes_back_with_its_ends(arguments: dict[str, object]) -> None:
    exchange = TYPES["topic"]("/", "e")
    binding = Binding(exchange, Queue(FakeHost(), "/", "q", 1), "queue", "a.#", arguments)
    _, value = binding_record(binding)
    record = msgspec.msgpack.decode(value, type=BindingRecord)
    assert (record.source, record.destination_type, record.destination, record.routing_key) == (
        "e",
        "queue",
        "q",
        "a.#",
    )
    assert arguments_of(record.arguments) == arguments


def test_records_of_different_bindings_have_different_keys() -> None:
    exchange, queue = TYPES["topic"]("/", "e"), Queue(FakeHost(), "/", "x", 1)
    tables: list[dict[str, object]] = [{}, {"a": "\udcff"}]
    keys = {
        binding_record(Binding(exchange, destination, kind, key, arguments))[0]
        for destination, kind in ((queue, "queue"), (TYPES["fanout"]("/", "x"), "exchange"))
        for key in ("", "k")
        for arguments in tables
    }
    assert len(keys) == 8
    for key in keys:
        key.encode()


def test_no_arguments_are_an_empty_table() -> None:
    assert arguments_of(b"") == {}
