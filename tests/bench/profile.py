"""``make profile``: where the time of a node goes, by py-spy and, where it is there, by perf.

Each work of the budgets is put on a node by itself while a sampler watches: py-spy sees functions of Python with the C
that they call, perf sees shared objects and the kernel. Prints the shares of the parts of the node
(`tests.bench.parts`), of functions and of shared objects; folded stacks go to ``build/profile``, for speedscope or
flamegraph.pl. With ``--document`` the parts go into docs/performance.md.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench import amqp, growth, mqtt, report
from tests.bench.contenders import ROOT, BenchRabbitMQ, Leveret
from tests.bench.links import arrival, shovel_table
from tests.bench.parts import by_function, by_part, parse, shares
from tests.bench.samples import Sample
from tests.bench.usage import descendants

OUTPUT: Final = ROOT / "build" / "profile"
RATE: Final = 250
"""Samples a second: the node stands still for some 0.5 ms while its stacks are unwound."""
LONGEST_S: Final = 120
FUNCTIONS_SHOWN: Final = 12
OBJECTS_SHOWN: Final = 8
SUBSCRIBERS: Final = 100
SHOVEL_MESSAGES: Final = 200_000
"""RabbitMQ takes ten seconds for them; the node is idle for most of those."""
BACKLOG: Final = 500_000
ATTACH_S: Final = 1.0
"""Until a sampler is there; a node that waits for it shows nothing."""
KERNEL: Final = "kernel"

Load = Callable[[], object]
_PY_SPY_RECORD: Final = (
    str(Path(sys.executable).with_name("py-spy")),
    *(
        "record",
        "--native",
        "--threads",
        "--format",
        "raw",
        "--rate",
        f"{RATE}",
        "--duration",
        f"{LONGEST_S}",
    ),
)
_PERF_RECORD: Final = ("perf", "record", "-e", "cpu-clock", "-F", f"{RATE}")


@dataclass(frozen=True, slots=True)
class Profile:
    """What was seen of one work; ``objects`` is empty where there is no perf."""

    work: str
    samples: int
    parts: dict[str, float]
    functions: dict[str, float]
    objects: dict[str, float]


# -- the works ---------------------------------------------------------------------------------------------------------

# Each prepares a node and returns what is then sampled.


def amqp_fill(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """Confirmed publishing of persistent messages."""
    return partial(amqp.fill, node.ports.amqp, "bench", count)


def amqp_drain(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """Delivery and acknowledgement of a backlog, which is read back from the disk."""
    amqp.fill(node.ports.amqp, "bench", count)
    return partial(amqp.drain, node.ports.amqp, "bench", count)


def mqtt_ingest(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """QoS 1 into an offline session, on disk."""
    mqtt.offline_session(node.ports.mqtt, "bench-off", "bench/off")
    return partial(_publish_offline, node.ports.mqtt, count)


def _publish_offline(port: int, count: int) -> None:
    for client in mqtt.publish_qos1(port, "bench/off", count):
        client.close()


def mqtt_drain(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """QoS 1 out of a session that was offline, read back from the disk."""
    mqtt_ingest(node, count, cleanup)()
    return partial(mqtt.drain, node.ports.mqtt, "bench-off", "bench/off", count)


def mqtt_live(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """QoS 1 from a publisher to a subscriber."""
    return partial(mqtt.live, node.ports.mqtt, "bench/live", count, 1)


def mqtt_qos0(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """QoS 0 from a publisher to a subscriber."""
    return partial(mqtt.live, node.ports.mqtt, "bench/live", count, 0)


def mqtt_fanout(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """QoS 0 to a hundred subscribers."""
    receivers = growth.subscribed(node.ports.mqtt, SUBSCRIBERS)
    return partial(growth.publish_to_all, node.ports.mqtt, receivers, count * 10 // SUBSCRIBERS)


def shovel(node: Leveret, count: int, cleanup: ExitStack) -> Load:
    """A backlog to a RabbitMQ."""
    count = min(count, SHOVEL_MESSAGES)
    amqp.fill(node.ports.amqp, "bench-out", count)
    node.stop()
    rabbitmq = BenchRabbitMQ(node.directory / "rabbitmq")
    cleanup.callback(rabbitmq.stop)
    rabbitmq.start()
    node.configure(shovel_table(rabbitmq.amqp_port, "bench-out", "bench-in"))
    node.start()
    return partial(arrival, rabbitmq.amqp_port, "bench-in", count, node.pid, partial(Sample, "", "", 0))


START: Final = "start"
"""From SIGKILL with a large backlog until the node answers: sampled from its first instruction on."""
WORKS: Final[dict[str, Callable[[Leveret, int, ExitStack], Load]]] = {
    "amqp-fill": amqp_fill,
    "amqp-drain": amqp_drain,
    "mqtt-ingest": mqtt_ingest,
    "mqtt-drain": mqtt_drain,
    "mqtt-live": mqtt_live,
    "mqtt-qos0": mqtt_qos0,
    "mqtt-fanout": mqtt_fanout,
    "shovel": shovel,
}
KNOWN: Final = (*WORKS, START)


# -- sampling ----------------------------------------------------------------------------------------------------------


def profile(name: str, count: int, output: Path, *, compiled: bool) -> Profile:
    """Do the work once under each sampler: py-spy stops the node a little each time, which perf would see."""
    folded, data = output / f"{name}.folded", output / f"{name}.data"
    sample(name, count, [*_PY_SPY_RECORD, "--output", str(folded)], compiled=compiled)
    if has_perf := shutil.which("perf") is not None:
        sample(name, count, [*_PERF_RECORD, "-o", str(data)], compiled=compiled)
    stacks = parse(folded.read_text())
    samples = sum([stack.count for stack in stacks])
    return Profile(name, samples, by_part(stacks), by_function(stacks), objects(data) if has_perf else {})


def sample(name: str, count: int, record: list[str], *, compiled: bool) -> None:
    """Put a node through the work while the sampler, a command, records it."""
    with tempfile.TemporaryDirectory(prefix="leveret-profile-") as directory, ExitStack() as cleanup:
        node = Leveret(Path(directory), compiled=compiled)
        cleanup.callback(node.stop)
        node.start()
        if name == START:
            amqp.fill(node.ports.amqp, "bench", BACKLOG)
            node.kill()
            node.run_under(*record, "--")
            node.start()
            # A sampler that has started what it samples writes when that ends.
            for pid in descendants(node.pid)[1:]:
                os.kill(pid, signal.SIGTERM)
            if node.wait(LONGEST_S) != 0:
                raise RuntimeError(f"{record[0]} failed: {node.log_tail()}")
            return
        load = WORKS[name](node, count, cleanup)
        with attached(record, node.pid, Path(directory)):
            load()


@contextmanager
def attached(record: list[str], pid: int, directory: Path) -> Iterator[None]:
    """Let the sampler record a process that runs already."""
    log = directory / "sampler.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([*record, "--pid", str(pid)], stdout=sink, stderr=sink)
    time.sleep(ATTACH_S)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LONGEST_S)
    if process.returncode not in (0, -signal.SIGINT):
        raise RuntimeError(f"{record[0]} failed: {log.read_text()}")


def objects(data: Path) -> dict[str, float]:
    """Shares of the shared objects and of the kernel, from what perf has recorded."""
    options = ("--stdio", "--no-children", "-n", "-t", "\t", "--sort", "dso")
    report = subprocess.run(
        ["perf", "report", "-i", str(data), *options], capture_output=True, text=True, check=True
    )
    counts: Counter[str] = Counter()
    for line in report.stdout.splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) == 3 and cells[1].isdigit():
            counts[KERNEL if cells[2].startswith("[") else Path(cells[2]).name.partition(".")[0]] += int(
                cells[1]
            )
    return shares(counts)


# -- the report --------------------------------------------------------------------------------------------------------


def show(console: Console, seen: Profile) -> None:
    """Print the tables of a work."""
    title = f"{seen.work}: {seen.samples} samples"
    table = Table("part", "share", "function", "share", "shared object", "share", title=title)
    columns = [
        list(seen.parts.items()),
        list(seen.functions.items())[:FUNCTIONS_SHOWN],
        list(seen.objects.items())[:OBJECTS_SHOWN],
    ]
    for row in range(max([len(column) for column in columns])):
        cells: list[str] = []
        for column in columns:
            name, share = column[row] if row < len(column) else ("", 0.0)
            cells += (name, f"{share:.1%}" if name else "")
        table.add_row(*cells)
    console.print(table)


def parts_table(profiles: list[Profile]) -> str:
    """A line a part, a column a work."""
    most: Counter[str] = Counter()
    for seen in profiles:
        most |= Counter({part: round(share * 100) for part, share in seen.parts.items()})
    rows = [[part, *[_percent(seen.parts.get(part, 0.0)) for seen in profiles]] for part in most]
    rows.sort(key=lambda row: -most[row[0]])
    if any([seen.objects for seen in profiles]):
        rows.append(
            ["*the kernel's part of all*", *[_percent(seen.objects.get(KERNEL, 0.0)) for seen in profiles]]
        )
    return report.markdown(["part", *[seen.work for seen in profiles]], rows)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else ""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--works", default=",".join(KNOWN), help="comma-separated; default: %(default)s")
    parser.add_argument("--count", type=int, default=2_000_000, help="messages; default: %(default)s")
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="the compiled build, which make compiled has built",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where stacks go; default: %(default)s")
    parser.add_argument("--document", action="store_true", help="put the parts into docs/performance.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.works.split(",")) - set(KNOWN):
        parser.error(f"unknown works {', '.join(sorted(unknown))}; known: {', '.join(KNOWN)}")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    output = arguments.output / ("compiled" if arguments.compiled else "plain")
    output.mkdir(parents=True, exist_ok=True)
    console = Console(width=150)
    profiles = []
    for name in arguments.works.split(","):
        profiles.append(profile(name, arguments.count, output, compiled=arguments.compiled))
        show(console, profiles[-1])
    table = parts_table(profiles)
    console.print(table)
    console.print(f"stacks: {output}")
    if arguments.document:
        build = "profile-compiled" if arguments.compiled else "profile"
        report.fill_marked(ROOT / "docs" / "performance.md", build, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
