"""Listings are tables for people and JSON for programs."""

import pytest
from rich.console import Console

from edge.cli import output

ROWS = [{"name": "a [bold] name", "messages": 5}, {"name": "b" * 300, "messages": 1000, "state": None}]


def test_in_a_pipe_nothing_is_wrapped_or_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS, ["name", "messages"], "table")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("a [bold] name ")
    assert lines[2].split() == ["b" * 300, "1000"]


def test_on_a_terminal_lines_are_folded_to_its_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        output, "Console", lambda **options: Console(force_terminal=True, width=80, **options)
    )
    output.print_rows(ROWS, ["name", "messages"], "table")
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_json_has_null_for_what_a_row_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS[:1], ["messages", "state"], "json")
    assert capsys.readouterr().out == '[\n  {\n    "messages": 5,\n    "state": null\n  }\n]\n'


def test_a_listing_of_nothing_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows([], ["name", "messages"], "table")
    assert capsys.readouterr().out.split() == ["name", "messages"]


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), ("a", "a"), (5, "5"), (True, "true"), ({"a": 1}, '{"a": 1}')]
)
def test_cells(value: object, shown: str) -> None:
    assert output.cell(value) == shown
