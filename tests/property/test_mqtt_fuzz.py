"""Whatever bytes come, an MQTT machine of either role only ever faults, and a node serves everybody else on."""

import asyncio
import logging
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt import constants as c
from tests.helpers.decoded import mqtt_machine
from tests.helpers.mqtt_node import MqttNode
from tests.wire.mqtt_packets import BAD_CONNECTS, BAD_PACKETS, PUBLISHES, WELL_FORMED

PACKETS = [
    *[case.raw for case in WELL_FORMED],
    *[raw for _, raw in PUBLISHES.values()],
    *[case.raw for case in BAD_PACKETS],
    *[case.raw for case in BAD_CONNECTS],
]


def mutate(raw: bytes, places: list[tuple[int, int]]) -> bytes:
    out = bytearray(raw)
    for at, byte in places:
        out[at % len(out)] = byte
    return bytes(out)


streams = st.lists(
    st.builds(
        mutate,
        st.sampled_from([raw for raw in PACKETS if raw]),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    ),
    min_size=1,
    max_size=6,
).map(b"".join)


@given(st.sampled_from([c.SERVER, c.CLIENT]), st.sampled_from([c.V31, c.V311, c.V5]), streams)
def test_a_machine_faults_and_never_raises(role: int, version: int, stream: bytes) -> None:
    whole, by_bytes = mqtt_machine(role, version), mqtt_machine(role, version)
    whole.receive(stream)
    for i in range(len(stream)):
        by_bytes.receive(stream[i : i + 1])
    reasons = [None if one.fault is None else one.fault.reason for one in (whole, by_bytes)]
    assert reasons[0] == reasons[1]
    assert whole.receive(b"\xc0\0") == [] or whole.fault is None, "nothing is read after a fault"


@given(st.sampled_from([0, c.V31, c.V311, c.V5]), streams)
def test_every_truncation_waits_or_faults(version: int, stream: bytes) -> None:
    for size in range(len(stream)):
        mqtt_machine(c.SERVER, version).receive(stream[:size])


async def test_a_node_outlives_what_anybody_sends_it(
    tmp_path: Path, rng: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    """Strangers and clients send mutated packets; a bystander loses nothing, and the node logs no error of its own."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    caplog.set_level(logging.ERROR)
    async with MqttNode(tmp_path) as node:
        bystander = await node.client("bystander", c.V5)
        await bystander.subscribe("by/stander", qos=1)
        for i in range(150):
            version = rng.choice([0, c.V31, c.V311, c.V5])
            client = await (node.client("fuzz", version) if version else node.raw())
            stream = b"".join(
                mutate(
                    rng.choice([raw for raw in PACKETS if raw]),
                    [(rng.randrange(200), rng.randrange(256)) for _ in range(rng.randrange(3))],
                )
                for _ in range(rng.randrange(1, 6))
            )
            client.send(stream)
            await asyncio.sleep(0)
            client.abort()
            if i % 10 == 0:
                assert await bystander.published("by/stander", b"%d" % i) == 0
                while (got := await bystander.receive()).body != b"%d" % i:
                    assert got.topic == "by/stander"
    assert unhandled == []
    assert [record.getMessage() for record in caplog.records] == []
