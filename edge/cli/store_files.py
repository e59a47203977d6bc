"""``leveret store verify|inspect|export|import``: a data directory without its node, on the device or on a laptop."""

import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from edge import config as configuration
from edge.auth.users import Auth
from edge.broker import Broker
from edge.cli.output import format_option, print_json, print_rows
from edge.clock import Clock
from edge.core.errors import ConfigError, EdgeError, StoreError
from edge.importing import Importer
from edge.store import inspect as inspection
from edge.store import portable
from edge.store.offline import open_offline
from edge.store.store import FILE_NAME, Store
from edge.store.verify import verify as verify_store
from mqtt.service import MqttService

P = ParamSpec("P")
R = TypeVar("R")


def directory_options(command: Callable[Concatenate[Path, P], R]) -> Callable[P, R]:
    """``--data-dir`` or ``--config``; the function gets the directory as its first argument."""

    @click.option(
        "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Directory of the store."
    )
    @click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="LEVERET_CONFIG",
        show_envvar=True,
        help="The node's configuration, which names the directory.",
    )
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        data_dir, config_path = kwargs.pop("data_dir"), kwargs.pop("config_path")
        with failures():
            if not isinstance(data_dir, Path):
                data_dir = configuration.load(
                    config_path if isinstance(config_path, Path) else None
                ).node.data_dir
            return command(data_dir, *args, **kwargs)

    return wrapped


@contextmanager
def failures() -> Iterator[None]:
    """Errors that a person can do something about, without a traceback."""
    try:
        yield
    except ConfigError as error:
        raise click.UsageError(error.text) from error
    except EdgeError as error:
        raise click.ClickException(error.text) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error


@click.command(short_help="Check every page and row; nothing is changed.")
@directory_options
@format_option
def verify(data_dir: Path, output_format: str) -> None:
    """Check every page and every row of a stopped node's store; nothing is changed.

    Exit status 0 when all is well, 1 when something is damaged: the node then starts all the same, sets the file aside
    and goes on with what is readable.
    """
    report = verify_store(data_dir / FILE_NAME)
    if output_format == "json":
        print_json(report)
    else:
        click.echo(f"{report['path']}: {'ok' if report['ok'] else 'DAMAGED'}, {report['messages']} messages")
        for title, key in (("damaged", "problems"), ("lost", "lost"), ("lost before", "past_losses")):
            for text in report[key]:
                click.echo(f"{title}: {text}")
    if not report["ok"]:
        raise SystemExit(1)


@click.command(short_help="Show what waits in a stopped node's store.")
@click.argument("queue", required=False)
@click.option("--vhost", "-p", default="/", show_default=True, help="Of QUEUE.")
@click.option(
    "--from", "first", type=click.IntRange(0), default=0, show_default=True, help="First sequence to show."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Messages to show.")
@directory_options
@format_option
def inspect(
    data_dir: Path, output_format: str, queue: str | None, vhost: str, first: int, limit: int
) -> None:
    """Show what waits in a stopped node's store: all queues, or single messages of QUEUE. Nothing is changed."""
    with open_offline(data_dir / FILE_NAME) as store:
        if store.damage is not None:
            click.echo(f"damaged: {store.damage}; this is what can be salvaged", err=True)
        if queue is None:
            print_rows(inspection.queue_rows(store.connection), inspection.QUEUE_KEYS, output_format)
            return
        found = inspection.find_queue(store.connection, vhost, queue)
        rows: list[dict[str, Any]] = []
        for part in found:
            messages = inspection.messages(store.connection, part, first)
            rows += [inspection.message_row(*each) for each in islice(messages, limit - len(rows))]
        print_rows(rows, inspection.MESSAGE_KEYS, output_format)


@click.command(short_help="Write all that a stopped node holds.")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--file",
    "store_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A store by its own name, such as leveret.db.quarantined-1.",
)
@directory_options
def export(data_dir: Path, target: Path, store_file: Path | None) -> None:
    """Write definitions and all messages of a stopped node's store to FILE, as lines of JSON; - for standard output."""
    with open_offline(store_file or data_dir / FILE_NAME) as store:
        if str(target) == "-":
            done = portable.export(store.connection, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with target.open("wb") as out:
                done = portable.export(store.connection, out)
        click.echo(f"{done.messages} messages of {done.queues} queues", err=True)
        if store.damage is not None:
            click.echo(f"damaged: {store.damage}", err=True)
        for loss in store.losses:
            click.echo(f"lost: {loss.text()}", err=True)


@click.command("import", short_help="Take what export wrote into a stopped node.")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@directory_options
def import_(data_dir: Path, source: Path) -> None:
    """Take what `leveret store export` wrote into a stopped node's store.

    A message that was imported before is not taken again, so the same file may be imported twice, and an import that
    was interrupted may be repeated.
    """
    importer = asyncio.run(_import(data_dir, source))
    click.echo(f"{importer.imported} messages imported, {importer.known} were there already")
    for text in importer.refused:
        click.echo(f"refused: {text}", err=True)
    if importer.refused:
        raise SystemExit(1)


async def _import(data_dir: Path, source: Path) -> Importer:
    store = Store(data_dir)
    await store.open()
    try:
        broker = Broker("import", store, Clock(), Auth())
        service = MqttService(broker)
        await broker.recover()
        await service.recover()
        importer = Importer(broker)
        with source.open("rb") as file:
            try:
                await importer.run(portable.lines(file))
            except StoreError as error:
                raise StoreError(f"{source}: {error.text}") from error
        broker.save_clock()
        await service.stop()
        await broker.close()
    finally:
        await store.close()
    return importer
