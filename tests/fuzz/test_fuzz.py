"""The codecs and machines under a coverage-guided fuzzer, for a moment: ``make fuzz`` does the same for long."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.amqp091 import spec
from edge.amqp091.outbound import encode_method
from tests.conftest import SEED
from tests.fuzz.campaign import FoundError, fuzz, plant, replay
from tests.fuzz.targets import TARGETS
from tests.wire.amqp_frames import CONTENTS

RUNS = {
    "amqp-values": 30_000,
    "amqp-cuts": 600,
    "amqp-server": 3_000,
    "mqtt-cuts": 10_000,
    "mqtt-connection": 10_000,
}
"""A second or two each."""

CUT_OFF = (
    encode_method(1, spec.encode_arguments(spec.BasicPublish(exchange="x")))
    # A content header of class 60 and no body, with the flags of expiration and message_id, and no message_id
    + b"\x02\0\x01\0\0\0\x11"
    + b"\0\x3c\0\0"
    + bytes(8)
    + b"\x01\x80"
    + b"\x02no"
    + b"\xce"
)

DELIVER = bytes.fromhex(CONTENTS["basic_deliver"][3])

FOUND = {
    "two reasons for one packet id in one read": (
        "mqtt-cuts",
        b"\x03\x03" + b"\x62\x02\x03\x03" + b"\x62\x03\x03\x03\x01",
    ),
    "a protocol header that goes wrong in its second piece": ("amqp-cuts", b"n\x04AMQP\0\x01"),
    "a wrong expiration in a list that is cut off behind it": (
        "amqp-server",
        b"s\0" + CUT_OFF,
    ),
    "bits beside the redelivered one": (
        "amqp-cuts",
        b"o\x04" + DELIVER[:24] + b"\x2a" + DELIVER[25:],
    ),
}
"""What was found once: target and input."""


@pytest.mark.parametrize("target", TARGETS)
def test_every_named_frame_is_taken_within_bounded_memory(target: str, tmp_path: Path) -> None:
    plant(target, tmp_path)
    assert replay(target, tmp_path) > 0


@pytest.mark.parametrize(("target", "data"), FOUND.values(), ids=FOUND)
def test_what_was_found_once_stays_mended(target: str, data: bytes) -> None:
    TARGETS[target](data)


def test_a_target_that_holds_too_much_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "input").write_bytes(b"abc")
    held: list[bytes] = []
    monkeypatch.setitem(TARGETS, "mqtt-cuts", lambda data: held.append(bytes(len(data) << 20)))
    with pytest.raises(FoundError, match="for the 3 of b'abc'"):
        replay("mqtt-cuts", tmp_path)


# Atheris has wheels for CPython on Linux and x86-64 only; the tests above run everywhere.
if find_spec("atheris") is not None:

    @pytest.mark.parametrize("target", TARGETS)
    def test_a_fuzzer_guided_by_coverage_finds_nothing(target: str, tmp_path: Path) -> None:
        outcome = fuzz(target, tmp_path / target, runs=RUNS[target], seed=SEED % 2**31)
        assert outcome.runs >= RUNS[target]
        assert outcome.edges > 200
