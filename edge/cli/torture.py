"""``leveret store torture``: kill a node under load, on this very device, and count what it has lost."""

import asyncio
import dataclasses
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge.cli.output import format_option, print_json
from edge.core.errors import EdgeError

if TYPE_CHECKING:
    from edge.torture.ledger import Report
    from edge.torture.run import Torture

CAVEAT: Final = (
    "SIGKILL leaves the page cache alone: this shows that nothing is confirmed before it is written, not that a power"
    " cut loses nothing. Power cuts are simulated by 'make torture' in the source tree."
)


@click.command(short_help="Kill a node under load, on the device to be tried.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 86_400 * 30),
    default=30,
    show_default=True,
    help="How long; then what waits is drained.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="Where to put the node's data: on the medium to be tested. Default: here.",
)
@click.option("--seed", type=int, help="Repeats the choices of a run, though not its timing.")
@format_option
def torture(seconds: float, directory: Path, seed: int | None, output_format: str) -> None:
    """Run a node under load and kill it by SIGKILL again and again, with a ledger in this process.

    Publishers by AMQP with confirms and by MQTT at QoS 1 and 2, consumers that acknowledge in and out of order. Shows
    what was acknowledged, lost and duplicated, the bytes written a message, and how soon the node was back.

    SIGKILL leaves the page cache alone: this is no power cut. Those are simulated by "make torture" in the source tree.

    Exit status 1 when anything was lost; the node's data and log are kept then.
    """
    from edge.torture.run import Torture

    seed = seed if seed is not None else random.SystemRandom().randrange(1, 2**32)
    work = Path(tempfile.mkdtemp(prefix="leveret-torture-", dir=directory)).resolve()
    is_quiet = output_format == "json"
    click.echo(f"seed {seed}, data in {work}", err=True)
    try:
        report = asyncio.run(Torture(work, seed).run(seconds, on_kill=None if is_quiet else _show))
    except* (EdgeError, OSError) as group:
        text = "; ".join(str(error) for error in group.exceptions)
        raise click.ClickException(f"{text}\ndata and log are kept in {work}") from None
    if is_quiet:
        print_json({"seed": seed, **dataclasses.asdict(report)})
    else:
        _print(report)
    if not report.is_good:
        click.echo(f"the node has not kept its word; data and log are kept in {work}", err=True)
        sys.exit(1)
    shutil.rmtree(work)


def _show(torture: "Torture") -> None:
    """A line that follows the run."""
    if sys.stderr.isatty():
        click.echo(f"\rkills {torture.kills}, acknowledged {torture.ledger.acked:,} ", nl=False, err=True)


def _print(report: "Report") -> None:
    if sys.stderr.isatty():
        click.echo("", err=True)
    click.echo(f"{report.kills} kills in {report.seconds:g} s")
    click.echo(f"acknowledged   {report.acked:>12,}")
    click.echo(f"lost           {report.lost:>12,}   sessions {report.sessions_lost:,}")
    click.echo(f"duplicated     {report.duplicates:>12,}   of QoS 2 {report.duplicates_of_qos2:,}")
    click.echo(f"out of order   {report.out_of_order:>12,}   damaged {report.damaged:,}")
    click.echo(f"bytes written  {report.bytes_written:>12,}   a message {report.bytes_per_message:,.0f}")
    click.echo(
        f"recovery       {report.recovery_ms_median:>9,.0f} ms   longest {report.recovery_ms_max:,.0f} ms,"
        " from the start of the process to its answer"
    )
    click.echo(CAVEAT)
