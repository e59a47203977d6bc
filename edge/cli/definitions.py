"""``leveret definitions import|export|check``: RabbitMQ's definitions files."""

import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

from edge.cli.api import Api, api_options, segment
from edge.cli.output import format_option, print_json, print_rows

SECTIONS = (
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "exchanges",
    "queues",
    "bindings",
)

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
vhost_option = click.option("--vhost", help="One vhost instead of the whole node.")


@click.group(short_help="Carry users, policies, queues and more between brokers.")
def definitions() -> None:
    """Carry users, policies, queues and all else that is declared from broker to broker, RabbitMQ included."""


def _path(vhost: str | None) -> str:
    return "/api/definitions" if vhost is None else f"/api/definitions/{segment(vhost)}"


@definitions.command("export", short_help="Write the definitions of a running node.")
@file_argument
@vhost_option
@api_options
def export(api: Api, file: Path, vhost: str | None) -> None:
    """Write the definitions of a running node to FILE, - for standard output. Hashes of passwords are in it."""
    text = json.dumps(api.get(_path(vhost)), indent=2) + "\n"
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text)
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from error


@definitions.command("import", short_help="Bring definitions into a running node.")
@file_argument
@vhost_option
@api_options
def import_(api: Api, file: Path, vhost: str | None) -> None:
    """Bring FILE, - for standard input, into a running node. What is there already stays."""
    api.post(_path(vhost), _read(file))
    click.echo(f"imported {file}")


@definitions.command(short_help="Try whether definitions fit together.")
@file_argument
@vhost_option
@format_option
def check(file: Path, vhost: str | None, output_format: str) -> None:
    """Import FILE into an empty node that is thrown away: exit status 0 when all of it fits together, else 1."""
    from edge.core.errors import ConfigError

    try:
        found, warnings = asyncio.run(_try(_read(file), str(file), vhost))
    except ConfigError as error:
        raise click.ClickException(error.text) from error
    if output_format == "json":
        print_json({"sections": found, "warnings": warnings})
        return
    print_rows(
        [{"section": name, "items": count} for name, count in found.items()], ["section", "items"], "table"
    )
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be read: {error.strerror}") from error


async def _try(data: bytes, where: str, vhost: str | None) -> tuple[dict[str, int], list[str]]:
    """Import into a store of its own; return the items by section and the warnings. Raises ConfigError."""
    # Here and not above: the other commands of the group need no node.
    from edge.auth.users import Auth
    from edge.broker import Broker
    from edge.clock import Clock
    from edge.definitions.document import parse_definitions
    from edge.definitions.importing import import_definitions
    from edge.node import parameter_checks
    from edge.store.store import Store

    read = parse_definitions(data, where, vhost)
    found: Counter[str] = Counter({name: len(getattr(read.document, name)) for name in SECTIONS})
    with tempfile.TemporaryDirectory(prefix="leveret-definitions-") as directory:
        store = Store(Path(directory))
        await store.open()
        broker = Broker("check", store, Clock(), Auth())
        try:
            await broker.recover()
            broker.parameters.checks = parameter_checks()
            if vhost is not None:
                broker.add_vhost(vhost)
            warnings = import_definitions(broker, read)
        finally:
            await broker.close()
            await store.close()
    return dict(found), warnings
