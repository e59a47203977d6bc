"""Every case of bad input, on raw frames, against Leveret and against RabbitMQ: reply code, failing method, scope, and
that what is not concerned goes on."""

import pytest

from edge.amqp091 import spec
from tests.conformance.conftest import Bench, closing
from tests.helpers.leveret import LeveretProcess
from tests.wire.amqp_frames import FAULTS
from tests.wire.amqp_refusals import CHANNEL, CONNECTION, REFUSALS, Answer, Refusal

OLDER_FAULTS: dict[str, Answer | None] = {
    "a method that does not exist": None,  # RabbitMQ's reader dies of it and the socket is reset
    "a short string that is not UTF-8": (CONNECTION, 501, 0),
    "basic.deliver from a client": None,  # RabbitMQ waits for its content first
    "basic.publish with immediate": None,  # likewise
    "a channel over channel_max": None,  # RabbitMQ counts channels and takes any number
    "a content header that is too short": None,  # RabbitMQ takes no notice
    "a body that is longer than announced": None,  # likewise
    "properties that end too early": (CONNECTION, 541, 0),
    "headers that are no table": (CONNECTION, 541, 0),
}
"""Where RabbitMQ answers otherwise to what breaks the protocol, or not at all."""

CASES = {
    **REFUSALS,
    **{
        name: Refusal(
            bytes.fromhex(frames), CONNECTION, code, method, older=OLDER_FAULTS.get(name, ("", 0, 0))
        )
        for name, (frames, code, method) in FAULTS.items()
    },
}


async def ask(bench: Bench, case: Refusal) -> tuple[Answer, str]:
    """Send a case's frames; return the answer and its text once all that is not concerned has gone on."""
    other = await bench.peer()
    for method in case.other:
        await other.call(method)
    peer = await bench.peer(2 if case.scope == CHANNEL else 1)
    for method in case.before:
        await peer.call(method)
    peer.writer.write(case.sent)
    answer, text = await closing(peer)
    if answer[0] == CHANNEL:
        peer.send(spec.ChannelCloseOk())
        assert await peer.call(spec.BasicQos(), channel=2) == spec.BasicQosOk()
    assert await other.call(spec.BasicQos()) == spec.BasicQosOk()
    return answer, text


@pytest.mark.parametrize("name", CASES)
async def test_leveret_refuses_as_rabbitmq_does(
    shared_leveret: LeveretProcess, leveret_bench: Bench, name: str
) -> None:
    case = CASES[name]
    logged = len(shared_leveret.log_text())
    answer, text = await ask(leveret_bench, case)
    assert answer == case.answer, text
    assert case.text in text
    assert len(text.encode()) <= 255
    log = shared_leveret.log_text()[logged:]
    assert "Traceback" not in log
    assert " ERROR " not in log


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.older is not None])
async def test_rabbitmq_refuses_as_the_table_says(rabbitmq_bench: Bench, name: str) -> None:
    case = CASES[name]
    assert case.older is not None
    answer, text = await ask(rabbitmq_bench, case)
    assert answer == (case.older if case.older[0] else case.answer), text
    assert case.text in text
