"""``make fuzz``: every target for so many seconds, from the corpus that earlier runs have left in build/fuzz."""

import random
import sys
from pathlib import Path

from tests.fuzz.campaign import FoundError, fuzz
from tests.fuzz.targets import TARGETS

CORPORA = Path(__file__).parents[2] / "build" / "fuzz"


def main(seconds: int, names: list[str]) -> int:
    """Fuzz the named targets, all without a name; 1 if an input was found that breaks one."""
    status = 0
    for target in names or TARGETS:
        try:
            outcome = fuzz(
                target, CORPORA / target, seconds=seconds, seed=random.SystemRandom().getrandbits(31)
            )
        except FoundError as error:
            sys.stderr.write(f"{error}\n")
            status = 1
        else:
            found = f"{outcome.runs:,} runs, {outcome.edges} edges, {outcome.corpus} inputs kept"
            sys.stdout.write(f"{target}: {found}, none breaks it\n")
        sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
