"""``python -m tests.durability.workload SCENARIO ROOT LOG LIFE SECONDS SEED SYNCHRONOUS END``, under the recorder."""

import asyncio
import logging
import os
import random
import signal
import sys
from pathlib import Path

from tests.durability.ledger import Ledger
from tests.durability.recording import MARK, Marks, read
from tests.durability.workload import amqp, links, mqtt, ranked
from tests.durability.workload.context import Context, confirm_early, set_pragmas, shrink_bounds

EARLY = "EARLY"
"""In place of a value of SQLite's ``synchronous``: FULL, but confirms do not wait for it."""
SCENARIOS = {"amqp": amqp.run, "mqtt": mqtt.run, "links": links.run, "ranked": ranked.run}


def main(arguments: list[str]) -> None:
    scenario, root, log, life, seconds, seed, synchronous, end = arguments
    logging.basicConfig(level=logging.WARNING)
    shrink_bounds()
    if synchronous == EARLY:
        confirm_early()
    set_pragmas("FULL" if synchronous == EARLY else synchronous)
    context = Context(
        Path(root), Marks(Path(log)), random.Random(f"{seed} {scenario} {life}"), int(life), float(seconds)
    )
    ledger = Ledger()
    for record in read(Path(log)):
        if record.kind == MARK:
            ledger.apply(record.mark)
    context.flows = ledger.outbound.flows
    if end == "kill":
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, context.seconds + 0.4)
        context.seconds += 60
    asyncio.run(SCENARIOS[scenario](context))


main(sys.argv[1:])
