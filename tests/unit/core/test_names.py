"""Names that protocols give meaning to."""

import string

from edge.core.names import PREDECLARED, generated_queue_name, is_reserved


def test_only_names_that_begin_with_amq_and_a_dot_are_reserved() -> None:
    assert is_reserved("amq.gen-1")
    assert not is_reserved("amq")
    assert not is_reserved("my.amq.queue")


def test_generated_names_are_reserved_short_printable_and_never_the_same() -> None:
    names = {generated_queue_name() for _ in range(100)}
    assert len(names) == 100
    assert all(is_reserved(name) and len(name) < 64 for name in names)
    assert set("".join(names)) <= set(string.ascii_letters + string.digits + "-_.")


def test_every_vhost_has_the_exchanges_of_rabbitmq() -> None:
    assert {name: PREDECLARED[name] for name in ("", "amq.topic", "amq.match")} == {
        "": "direct",
        "amq.topic": "topic",
        "amq.match": "headers",
    }
