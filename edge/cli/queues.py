"""``leveret queues ...``, and ``leveret list_queues`` for fingers that remember rabbitmqctl."""

import difflib

import click

from edge.cli.api import Api, api_options, segment
from edge.cli.output import format_option, print_rows

DEFAULT_COLUMNS = ("name", "messages")
"""What rabbitmqctl shows when it is not told."""

COLUMNS = (
    "name",
    "vhost",
    "type",
    "durable",
    "exclusive",
    "auto_delete",
    "arguments",
    "state",
    "consumers",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "message_bytes",
    "dropped",
    "dead_lettered",
    "node",
)


@click.command("list_queues")
@click.argument("columns", nargs=-1)
@click.option("-p", "--vhost", help="Only this vhost.")
@api_options
@format_option
def list_queues(api: Api, columns: tuple[str, ...], vhost: str | None, output_format: str) -> None:
    """List queues.

    COLUMNS are what to show, such as: name messages_ready messages_unacknowledged.
    """
    for column in columns:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.0)[0]
            raise click.UsageError(
                f"No such column '{column}'. Did you mean '{near}'? Known: {', '.join(COLUMNS)}."
            )
    path = "/api/queues" if vhost is None else f"/api/queues/{segment(vhost)}"
    print_rows(api.get(path), columns or DEFAULT_COLUMNS, output_format)


@click.group()
def queues() -> None:
    """Look at queues."""


queues.add_command(list_queues, "list")
