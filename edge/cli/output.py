"""How commands print listings: a table for people, JSON for programs."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

P = ParamSpec("P")
R = TypeVar("R")

PIPE_WIDTH = 10_000
"""Into a file or a pipe nothing is wrapped: lines are for grep and awk there."""


def format_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--format table|json``, as every listing takes it; the function gets it as ``output_format``."""

    @click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="JSON keys are stable.",
    )
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(*args, **kwargs)

    return wrapped


def print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str], output_format: str) -> None:
    """Print the columns of the rows; a row without a column shows nothing there, in JSON null."""
    if output_format == "json":
        print_json([{column: row.get(column) for column in columns} for row in rows])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numbers = all(isinstance(row.get(column), int | float) for row in rows) and rows
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def cell(value: object) -> str:
    """A value in a table: text as it is, nothing for null, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
