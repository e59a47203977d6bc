"""The process that fuzzes one target: ``python -m tests.fuzz.child TARGET LIBFUZZER_ARGUMENTS...``.

A process of its own, because libFuzzer ends the one it runs in, and instruments what is imported under it.
"""

import sys

import atheris

with atheris.instrument_imports(include=["edge.amqp091", "edge.core", "edge.wire", "mqtt"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
