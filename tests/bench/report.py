"""The tables of a run: on the terminal, as JSON, and between the markers in the documents; ``plot`` draws them."""

import json
import os
import platform
import re
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from edge import __version__
from tests.bench.budgets import BUDGETS, BUILDS, QUOTED, Budget, missed
from tests.bench.contenders import LEVERET, LEVERET_COMPILED, ROOT
from tests.bench.samples import Results
from tests.helpers.mosquitto import program
from tests.helpers.rabbitmq import scripts_directory

DOCS: Final = ROOT / "docs" / "bench"
FILE_NAME: Final = "latest.json"
GROWTH_NAME: Final = "growth.json"
MARKED: Final = (
    ("README.md", "budgets"),
    ("docs/performance.md", "budgets"),
    ("docs/performance.md", "medians"),
)
_UNITS: Final = {"rate": "msg/s", "cpu_us": "us CPU", "rss_mb": "MB", "disk_b": "B on disk", "seconds": "s"}


def facts(rounds: int, scale: float, *, full: bool) -> dict[str, Any]:
    """What a reader must know of the run."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(re.findall(r"^processor\s*:", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    rabbitmq = scripts_directory().parent.name.rpartition("-")[2]
    mosquitto = subprocess.run([program(), "-h"], capture_output=True, text=True, check=False).stdout.split()[
        2
    ]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rounds": rounds,
        "scale": scale,
        "full": full,
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": cores,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "leveret": __version__,
        "rabbitmq": rabbitmq,
        "mosquitto": mosquitto,
        "quoted": QUOTED,
    }


def summary(facts: dict[str, Any]) -> str:
    """One sentence on what was run where."""
    return (
        f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, Python {facts['python']},"
        f" SQLite {facts['sqlite']}, RabbitMQ {facts['rabbitmq']}, Mosquitto {facts['mosquitto']};"
        f" medians of {facts['rounds']} rounds, 100-byte messages"
    )


def number(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def wanted(budget: Budget) -> str:
    """The budget in words."""
    bound = "at least" if budget.is_floor else "at most"
    if not budget.peer:
        return f"{bound} {budget.plain:g} {_UNITS[budget.metric]}"
    both = "" if budget.compiled is None else f" ({budget.compiled:g} x compiled)"
    return f"{bound} {budget.plain:g} x{both}"


def budget_rows(results: Results) -> list[list[str]]:
    """The table of budgets: a line each, with ratio and verdict by build."""
    rows: list[list[str]] = []
    for budget in BUDGETS:
        peer = budget.peer_work or budget.peer
        peer_value = budget.peer_value(results) if budget.peer else None
        row = [
            f"{budget.work}, {_UNITS[budget.metric]}",
            f"{peer}: {number(peer_value)}" if peer else "",
            wanted(budget),
        ]
        for build in BUILDS:
            own, ratio = results.median(budget.work, build, budget.metric), budget.measured(results, build)
            row.append(number(own) if not budget.peer or ratio is None else f"{number(own)} ({ratio:.2f} x)")
        reached = budget.reached(results, LEVERET)
        if budget.compiled is not None and reached:
            reached = budget.reached(results, LEVERET_COMPILED)
        row.append("not measured" if reached is None else "yes" if reached else "NO")
        rows.append(row)
    return rows


BUDGET_HEAD: Final = ["work", "peer", "budget", "Leveret", "compiled", "reached"]
MEDIAN_HEAD: Final = ["work", "broker", "msg/s", "us CPU", "MB", "B on disk", "s"]


def median_rows(results: Results) -> list[list[str]]:
    """Everything that was measured."""
    return [
        [
            row["work"],
            row["broker"],
            *[number(row[metric]) for metric in ("rate", "cpu_us", "rss_mb", "disk_b", "seconds")],
        ]
        for row in results.rows()
    ]


def show(console: Console, results: Results, facts: dict[str, Any]) -> None:
    """Print both tables."""
    for title, head, rows in (
        (f"Medians: {summary(facts)}", MEDIAN_HEAD, median_rows(results)),
        ("Budgets", BUDGET_HEAD, budget_rows(results)),
    ):
        table = Table(*head, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in missed(results):
        console.print(f"not reached: {line}", markup=False)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(output: Path, results: Results, facts: dict[str, Any]) -> None:
    """Write JSON and plots to ``output``, and, when those are the documents' own, the tables into the documents."""
    from tests.bench import plot

    output.mkdir(parents=True, exist_ok=True)
    budgets = [
        {
            "work": budget.work,
            "metric": budget.metric,
            "peer": budget.peer_work or budget.peer,
            "peer_value": budget.peer_value(results) if budget.peer else None,
            "limit": {build: budget.limit(build) for build in BUILDS},
            "measured": {build: budget.measured(results, build) for build in BUILDS},
            "reached": {build: budget.reached(results, build) for build in BUILDS},
        }
        for budget in BUDGETS
    ]
    text = json.dumps(
        {"facts": facts, "budgets": budgets, "medians": results.rows(), "samples": results.to_json()},
        indent=1,
    )
    (output / FILE_NAME).write_text(text + "\n")
    plot.draw(output, results, summary(facts))
    if output.resolve() == DOCS:
        tables = {
            "budgets": markdown(BUDGET_HEAD, budget_rows(results)),
            "medians": markdown(MEDIAN_HEAD, median_rows(results)),
        }
        for name, table in MARKED:
            text = f"{summary(facts)}.\n\n{tables[table]}"
            if table == "budgets":
                text += f"\n\n{picture(ROOT / name)}"
            fill_marked(ROOT / name, table, text)


def growth_table(lines: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one measurement of growth."""
    head = list(dict.fromkeys([name for line in lines for name in line]))
    rows = [[_cell(line.get(name, "")) for name in head] for line in lines]
    return head, rows


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else number(value)


def show_growth(console: Console, measured: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print a table a measurement."""
    for name, lines in measured.items():
        head, rows = growth_table(lines)
        table = Table(*head, title=name)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def write_growth(output: Path, measured: Mapping[str, list[dict[str, Any]]], facts: dict[str, Any]) -> None:
    """Write JSON, which keeps what other runs have measured, and each table into its place in the document."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / GROWTH_NAME
    known = json.loads(path.read_text()) if path.exists() else {}
    where = f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, Python {facts['python']}"
    known |= {name: {"where": where, "lines": lines} for name, lines in measured.items()}
    path.write_text(json.dumps(known, indent=1) + "\n")
    if output.resolve() == DOCS:
        for name, lines in measured.items():
            fill_marked(
                ROOT / "docs" / "performance.md", name, f"{where}.\n\n{markdown(*growth_table(lines))}"
            )


def picture(document: Path) -> str:
    """The plot, as a document shows it."""
    path = os.path.relpath(DOCS / "latest.svg", document.parent)
    return f"![Messages a second and CPU a message, by work and broker]({path})"


def fill_marked(document: Path, name: str, text: str) -> None:
    """Put text between a document's markers ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``."""
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    head, found, rest = document.read_text().partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{document} has no markers {start} and {end}")
    document.write_text(f"{head}{start}\n{text}\n{end}{tail}")
