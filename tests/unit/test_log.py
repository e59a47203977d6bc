"""Log lines are one line each, in one form, and show no password."""

import logging

import pytest

from edge import log


def line(message: str, *args: object, level: int = logging.WARNING) -> str:
    return log.LineFormatter().format(logging.LogRecord("edge.net", level, "f.py", 1, message, args, None))


def test_a_line_has_time_level_logger_and_message() -> None:
    time, level, name, message = line("closed %s", "127.0.0.1:5").split(" ", 3)
    assert time.endswith("Z")
    assert len(time) == len("2026-01-31T12:00:00.123Z")
    assert (level, name, message) == ("WARNING", "edge.net", "closed 127.0.0.1:5")


def test_what_a_peer_sent_cannot_begin_a_line_of_its_own() -> None:
    assert "client a\\n2026 INFO edge forged\\x1b[31m" in line(
        "client %s", "a\n2026 INFO edge forged\x1b[31m"
    )


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("amqp://user:secret@base:5672/v", "amqp://user:***@base:5672/v"),
        ("amqps://user:sec:ret/@base", "amqps://user:***@base"),
        ("amqp://base:5672", "amqp://base:5672"),
        ("mqtt://user:secret@a and mqtt://b:secret@c", "mqtt://user:***@a and mqtt://b:***@c"),
    ],
)
def test_passwords_of_uris_are_not_shown(uri: str, shown: str) -> None:
    assert line("to %s", uri).endswith(f"to {shown}")


def test_a_traceback_follows_its_line_without_the_passwords_in_it() -> None:
    try:
        raise ValueError("amqp://user:secret@base")
    except ValueError as error:
        record = logging.LogRecord("edge", logging.ERROR, "f.py", 1, "failed", (), (ValueError, error, None))
    first, *rest = log.LineFormatter().format(record).splitlines()
    assert first.endswith("ERROR edge failed")
    assert rest == ["ValueError: amqp://user:***@base"]


def test_setup_sends_records_of_the_level_and_above_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log.setup("warning")
        logging.getLogger("edge.x").info("quiet")
        logging.getLogger("edge.x").warning("loud")
        log.set_level("info")
        logging.getLogger("edge.x").info("heard")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    lines = capsys.readouterr().err.splitlines()
    assert [entry.rsplit(" ", 1)[1] for entry in lines] == ["loud", "heard"]
