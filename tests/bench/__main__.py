"""``make bench``: the same loads on Leveret and on the brokers that people use, one after the other on this machine.

Prints for every work the median rate, CPU a message, resident memory and device bytes a message, and what Leveret is
held to; writes the same as JSON and plots, and into the tables of README.md and docs/performance.md. Exits 1 when a
broker lost, doubled or reordered a message in any round. Numbers of one run on one machine compare with each other.

``--what latency,fanout`` measures how a cost of Leveret grows instead.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.bench import backlog, growth, links, report, works
from tests.bench.contenders import (
    COMPILED,
    LEVERET,
    LEVERET_COMPILED,
    MOSQUITTO,
    NAMES,
    RABBITMQ,
    BenchRabbitMQ,
    make,
)
from tests.bench.samples import Results

QUICK_ROUNDS, FULL_ROUNDS = 3, 7


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help=f"{FULL_ROUNDS} rounds, and RabbitMQ at full size"
    )
    parser.add_argument("--rounds", type=int, help=f"of each broker in turn; {QUICK_ROUNDS} without --full")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of messages")
    parser.add_argument("--brokers", default=",".join(NAMES), help="comma-separated; default: %(default)s")
    parser.add_argument(
        "--what",
        default="main",
        help=f"main (default), all, or a list of {', '.join(growth.MEASUREMENTS)}; with --brokers"
        f" {LEVERET_COMPILED} of the compiled build",
    )
    parser.add_argument("--output", type=Path, default=report.DOCS, help="where JSON and plots go")
    parser.add_argument(
        "--directory", type=Path, help="where the brokers keep their data; default: the temporary"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.brokers.split(",")) - set(NAMES)
    if unknown:
        parser.error(f"unknown brokers {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    arguments.measurements = growth_wanted(parser, arguments.what)
    return arguments


def growth_wanted(parser: argparse.ArgumentParser, what: str) -> list[str]:
    """The measurements of growth that are asked for."""
    if what in ("main", "all"):
        return list(growth.MEASUREMENTS) if what == "all" else []
    names = what.split(",")
    if unknown := set(names) - set(growth.MEASUREMENTS):
        parser.error(f"unknown measurements {', '.join(sorted(unknown))}; see --help")
    return names


def main() -> int:
    arguments = parse()
    status = 0
    if arguments.what in ("main", "all"):
        status = main_table(arguments)
    if arguments.measurements:
        measure_growth(arguments)
    return status


def measure_growth(arguments: argparse.Namespace) -> None:
    compiled = arguments.brokers == LEVERET_COMPILED
    with tempfile.TemporaryDirectory(prefix="leveret-bench-", dir=arguments.directory) as directory:
        lines = growth.run(arguments.measurements, Path(directory), compiled=compiled, full=arguments.full)
    report.show_growth(Console(width=130), lines)
    facts = report.facts(1, 1.0, full=arguments.full)
    report.write_growth(arguments.output, lines, facts)


def main_table(arguments: argparse.Namespace) -> int:
    names = [name for name in NAMES if name in arguments.brokers.split(",")]
    if LEVERET_COMPILED in names and not COMPILED.exists():
        names.remove(LEVERET_COMPILED)
        say(f"{LEVERET_COMPILED} is left out: {COMPILED} is not there; run: make compiled")
    rounds = arguments.rounds or (FULL_ROUNDS if arguments.full else QUICK_ROUNDS)
    results = Results()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="leveret-bench-", dir=arguments.directory) as directory:
        base = Path(directory)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}, after {time.monotonic() - begin:.0f} s")
            run_round(results, names, number, base, arguments.scale)
        for name in (LEVERET, LEVERET_COMPILED, RABBITMQ):
            if name in names:
                say(f"backlog of {name}")
                backlog.run_backlog(
                    results, name, base / f"backlog-{name}", arguments.scale, full=arguments.full
                )
    say(f"done in {time.monotonic() - begin:.0f} s")
    facts = report.facts(rounds, arguments.scale, full=arguments.full)
    report.show(Console(width=130), results, facts)
    report.write(arguments.output, results, facts)
    for failure in results.failures:
        say(f"FAILED: {failure.work} on {failure.broker}, round {failure.round + 1}: {failure.error}")
    return 1 if results.failures else 0


def run_round(results: Results, names: list[str], number: int, base: Path, scale: float) -> None:
    builds = [name for name in names if name in (LEVERET, LEVERET_COMPILED)]
    for name in names:
        server = make(name, works.directory_of(base, name, number))
        server.start()
        try:
            time.sleep(works.SETTLE_S)
            works.run_loads(results, name, number, server, scale)
            if isinstance(server, BenchRabbitMQ):
                links.to_rabbitmq(results, server, builds, number, base, scale)
        finally:
            server.stop()
    for build in builds:
        links.to_leveret(results, build, number, base, scale)
    if MOSQUITTO in names:
        links.bridge(results, number, base, scale)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
