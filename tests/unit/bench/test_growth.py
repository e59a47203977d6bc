"""The measurements of growth, small."""

import subprocess
from pathlib import Path

import pytest

from tests.bench import growth, report
from tests.bench.amqp import Amqp
from tests.bench.contenders import LEVERET, ROOT, Leveret
from tests.bench.numbered import LoadError
from tests.bench.samples import Results
from tests.bench.works import run_loads
from tests.helpers.leveret import LeveretProcess


def test_a_node_does_all_its_work_on_one_core_and_256_megabytes(tmp_path: Path) -> None:
    results = Results()
    node = Leveret(tmp_path / "node", prefix=growth.SMALL)
    node.start()
    try:
        limits = subprocess.run(
            ["prlimit", "--pid", str(node.pid), "--data", "--raw", "--noheadings", "--output", "SOFT"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert limits.stdout.strip() == str(256 << 20)
        run_loads(results, LEVERET, 0, node, 0.02)
    finally:
        node.stop()
    assert not results.failures


def test_paced_messages_have_a_latency_each(leveret: LeveretProcess) -> None:
    spans = growth.paced(leveret.ports.mqtt, "paced", 300, 1_000)
    assert len(spans) == 300
    assert 0 < min(spans) < 1


def test_messages_that_were_not_routed_fail_the_load(leveret: LeveretProcess) -> None:
    client = Amqp(leveret.ports.amqp)
    client.declare("keys")
    client.bind("keys", "amq.topic", "a.*")
    client.close()
    growth.publish_keys(leveret.ports.amqp, ["a.b", "a.c", "b.c"])
    with pytest.raises(LoadError, match="2 of 3"):
        growth.amqp_drained(leveret, "keys", 3)
    growth.amqp_drained(leveret, "keys", 0)


def test_the_document_has_a_place_for_each_measurement() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    for name in growth.MEASUREMENTS:
        assert text.index(f"<!-- bench:{name} -->") < text.index(f"<!-- /bench:{name} -->")


def test_a_table_of_growth_has_a_column_for_every_number() -> None:
    head, rows = report.growth_table([{"connections": 1_000, "MB": 48.25}, {"connections": 10_000, "s": "-"}])
    assert head == ["connections", "MB", "s"]
    assert rows == [["1,000", "48.2", ""], ["10,000", "", "-"]]
