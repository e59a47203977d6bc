"""`leveret demo`: the main job on one machine, in about a minute."""

import asyncio
import tempfile
from pathlib import Path
from time import monotonic

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.demo.nodes import DemoError
from edge.demo.scenario import Scenario

LINK_STYLE = {"up": "bold green", "throttled": "bold yellow", "cut": "bold red"}


@click.command()
@click.option(
    "--upstream",
    metavar="URI",
    help="AMQP URI of the upstream, such as a RabbitMQ's. Default: a second node.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0.25, 10),
    default=1.0,
    show_default=True,
    help="Play the story faster or slower.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep the nodes' data and logs in this directory."
)
def demo(upstream: str | None, speed: float, keep: Path | None) -> None:
    """Play the main job on this machine, with faults.

    Drones report to an edge node over MQTT and AMQP; its link upstream is cut, throttled and restored, and the
    node is killed in the middle. Ends with a count of what was sent, confirmed, arrived and lost.

    Exit status 1 when anything that was confirmed did not arrive.
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="leveret-demo-") as directory:
        scenario = Scenario(keep or Path(directory), upstream, speed)
        try:
            asyncio.run(_play(scenario, console))
        except* (DemoError, OSError) as group:
            raise click.ClickException("; ".join(str(error) for error in group.exceptions)) from None
    console.print(summary(scenario))
    if not scenario.ledger.complete:
        raise SystemExit(1)


async def _play(scenario: Scenario, console: Console) -> None:
    view = View(scenario)
    with Live(view, console=console, refresh_per_second=8, transient=True):

        def on_change() -> None:
            console.print(Text(f"{view.elapsed_s:5.1f} s  {scenario.caption}"))

        await scenario.run(on_change)


class View:
    """The live picture: link, node, backlog, rate and time left."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._begin = monotonic()
        self._last = (self._begin, 0)
        self._rate = 0.0

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self._begin

    def __rich__(self) -> Group:
        scenario, ledger = self.scenario, self.scenario.ledger
        self._measure(ledger.total("arrived"))
        link = scenario.link.state if scenario.link is not None else "down"
        backlog = max(ledger.total("confirmed") - ledger.total("arrived"), 0)
        left = f"{backlog / self._rate:.0f} s" if backlog and self._rate > 1 else "-"
        table = Table.grid(padding=(0, 3))
        table.add_row("link", Text(link, LINK_STYLE.get(link, "dim")), "sent", f"{ledger.total('sent'):,}")
        table.add_row("edge node", _node_state(scenario), "confirmed", f"{ledger.total('confirmed'):,}")
        table.add_row("shovel", _shovel_state(scenario), "arrived", f"{ledger.total('arrived'):,}")
        table.add_row("backlog", f"{backlog:,}", "rate", f"{self._rate:,.0f}/s, time left {left}")
        return Group(Text(scenario.caption, "bold"), table)

    def _measure(self, arrived: int) -> None:
        now = monotonic()
        then, before = self._last
        if now - then >= 1:
            self._rate = (arrived - before) / (now - then)
            self._last = (now, arrived)


def _node_state(scenario: Scenario) -> Text:
    return Text("running", "green") if scenario.edge_is_up else Text("killed", "bold red")


def _shovel_state(scenario: Scenario) -> str:
    status = scenario.edge_status
    return str(status.get("blocked_status") or status.get("state") or "-")


def summary(scenario: Scenario) -> Table:
    """The table at the end, a row a protocol."""
    table = Table(title="What became of the reports", title_justify="left")
    for name in ("devices", "sent", "confirmed", "arrived", "lost", "duplicates", "out of order"):
        table.add_column(name, justify="left" if name == "devices" else "right")
    for protocol in ("mqtt", "amqp", ""):
        devices = [d for d in scenario.ledger.devices.values() if d.name.startswith(protocol)]
        table.add_row(
            f"{len(devices)} {protocol.upper()}" if protocol else "all",
            f"{sum(d.sent for d in devices):,}",
            f"{sum(len(d.confirmed) for d in devices):,}",
            f"{sum(len(d.arrived) for d in devices):,}",
            f"{sum(d.lost for d in devices):,}",
            f"{sum(d.duplicates for d in devices):,}",
            f"{sum(d.out_of_order for d in devices):,}",
            end_section=protocol == "amqp",
        )
    return table
