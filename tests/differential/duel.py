"""Both brokers play a sequence; the first step at which they differ is told."""

import asyncio
import traceback
import uuid
from collections.abc import Sequence

from tests.differential.observing import Json
from tests.differential.operations import Operation
from tests.differential.stage import Observation, Stage, Step

PATIENCES_S = (0.02, 0.2)


class Duel:
    """Leveret and RabbitMQ, their connections, and the loop that both are played in; ``close`` ends it."""

    def __init__(self, leveret_port: int, rabbitmq_port: int) -> None:
        self.sequences = 0
        self.operations = 0
        self.looked_again = 0
        self._stages = Stage(leveret_port), Stage(rabbitmq_port)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        for stage in self._stages:
            stage.close()
        self._runner.run(asyncio.sleep(0))
        self._runner.close()

    def play(self, sequence: Sequence[Operation]) -> None:
        """Raises AssertionError that shows the sequence up to where the brokers differ.

        A difference counts when it is there again, twice, with more patience: a busy machine may let one broker look at
        rest that is not.
        """
        self.sequences += 1
        self.operations += len(sequence)
        if self._difference(sequence, 0.0):
            self.looked_again += 1
            differences = [self._difference(sequence, patience_s) for patience_s in PATIENCES_S]
            assert not all(differences), differences[-1]

    def _difference(self, sequence: Sequence[Operation], patience_s: float) -> str:
        ours, theirs = self._runner.run(self._observe(sequence, patience_s))
        if isinstance(ours, BaseException) or isinstance(theirs, BaseException):
            return _broken_off(sequence, ours, theirs)
        for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            if _comparable(our) != _comparable(their):
                return _report(sequence, index, our, their)
        return ""

    async def _observe(
        self, sequence: Sequence[Operation], patience_s: float
    ) -> tuple[Observation | BaseException, Observation | BaseException]:
        prefix = f"{uuid.uuid4().hex[:12]}-"
        ours, theirs = self._stages
        return await asyncio.gather(
            ours.play(sequence, prefix, patience_s),
            theirs.play(sequence, prefix, patience_s),
            return_exceptions=True,
        )


def _comparable(value: Json) -> Json:
    """Without what RabbitMQ 3.10, which Debian has, does not have yet and later versions do: the headers
    ``x-last-death-*``."""
    if isinstance(value, dict):
        return {
            name: _comparable(item) for name, item in value.items() if not name.startswith("x-last-death-")
        }
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return value


def _broken_off(
    sequence: Sequence[Operation], ours: Observation | BaseException, theirs: Observation | BaseException
) -> str:
    lines = ["broken off:", *[f"    {operation!r}" for operation in sequence]]
    for name, outcome in (("Leveret", ours), ("RabbitMQ", theirs)):
        if isinstance(outcome, BaseException):
            lines += [f"{name}:", *traceback.format_exception(outcome)]
    return "\n".join(lines)


def _report(sequence: Sequence[Operation], index: int, ours: Step, theirs: Step) -> str:
    lines = ["Leveret and RabbitMQ differ after"]
    lines += [f"    {operation!r}" for operation in sequence[: index + 1]]
    if index == len(sequence):
        lines.append("    and the end of all channels")
    for name in sorted({*ours, *theirs}):
        our, their = _comparable(ours.get(name)), _comparable(theirs.get(name))
        if our != their:
            lines += [f"{name}:", f"    Leveret:  {our}", f"    RabbitMQ: {their}"]
    return "\n".join(lines)
