"""The benchmark's main table: real loads on real brokers, small, and what is made of their samples."""

from pathlib import Path

import pytest

from tests.bench import budgets as b
from tests.bench import report
from tests.bench.contenders import LEVERET, LEVERET_COMPILED, MOSQUITTO, ROOT, Leveret
from tests.bench.links import bridge, to_leveret
from tests.bench.samples import Results, Sample
from tests.bench.works import run_loads
from tests.helpers.mosquitto import Mosquitto


def test_every_load_runs_on_leveret_and_mosquitto(tmp_path: Path, mosquitto: Mosquitto) -> None:
    results = Results()
    node = Leveret(tmp_path / "node")
    node.start()
    try:
        run_loads(results, LEVERET, 0, node, 0.01)
    finally:
        node.stop()
    run_loads(results, MOSQUITTO, 0, mosquitto, 0.01)
    assert not results.failures
    for work in (b.QOS0_LIVE, b.QOS1_LIVE, b.OFFLINE, b.OFFLINE_20, b.OFFLINE_20_BY_20):
        assert results.brokers(work) == [LEVERET, MOSQUITTO]
        assert (results.median(work, LEVERET, "rate") or 0) > 0
    assert results.brokers(b.AMQP_DRAIN) == [LEVERET]
    assert (results.median(b.AMQP_FILL, LEVERET, "disk_b") or 0) > 0


def test_links_carry_everything(tmp_path: Path) -> None:
    results = Results()
    # In full: a tenth is over in 40 ms, and then there is nothing to time on a busy machine.
    to_leveret(results, LEVERET, 0, tmp_path, 1.0)
    bridge(results, 0, tmp_path, 0.1)
    assert not results.failures
    assert results.brokers(b.LINK) == [LEVERET, MOSQUITTO]


def sample(work: str, broker: str, rate: float, error: str = "") -> Sample:
    return Sample(work, broker, 0, 1000, rate=rate, error=error)


def test_a_budget_is_reached_by_the_ratio_of_medians() -> None:
    budget = b.Budget(b.QOS0_LIVE, "rate", 0.7, MOSQUITTO, compiled=1.0)
    results = Results([sample(b.QOS0_LIVE, LEVERET, rate) for rate in (10, 80, 900)])
    assert budget.reached(results, LEVERET) is None
    results.add(sample(b.QOS0_LIVE, MOSQUITTO, 100))
    results.add(sample(b.QOS0_LIVE, LEVERET_COMPILED, 90))
    assert budget.measured(results, LEVERET) == pytest.approx(0.8)
    assert budget.reached(results, LEVERET) is True
    assert budget.reached(results, LEVERET_COMPILED) is False
    assert b.missed(results) == [
        f"{b.QOS0_LIVE}, rate against mosquitto: 0.90 by leveret-compiled, at least 1 wanted"
    ]


def test_a_number_without_a_peer_is_a_ceiling() -> None:
    budget = b.Budget(b.IDLE, "rss_mb", 45)
    assert budget.reached(Results([Sample(b.IDLE, LEVERET, 0, rss_mb=46)]), LEVERET) is False
    assert budget.reached(Results([Sample(b.IDLE, LEVERET, 0, rss_mb=44)]), LEVERET) is True


def test_a_work_that_failed_in_one_round_has_no_median() -> None:
    results = Results(
        [sample(b.AMQP_FILL, LEVERET, 1), sample(b.AMQP_FILL, LEVERET, 2, error="message 3 came")]
    )
    assert results.median(b.AMQP_FILL, LEVERET, "rate") is None
    assert [failure.error for failure in results.failures] == ["message 3 came"]


def test_tables_go_between_the_markers_of_a_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- bench:budgets -->\nold\n<!-- /bench:budgets -->\nafter\n")
    report.fill_marked(document, "budgets", "new")
    report.fill_marked(document, "budgets", "newer")
    assert document.read_text() == "before\n<!-- bench:budgets -->\nnewer\n<!-- /bench:budgets -->\nafter\n"
    with pytest.raises(ValueError, match="no markers"):
        report.fill_marked(document, "medians", "")


def test_the_documents_have_the_markers_that_a_run_fills() -> None:
    for name, table in report.MARKED:
        text = (ROOT / name).read_text()
        assert text.index(f"<!-- bench:{table} -->") < text.index(f"<!-- /bench:{table} -->")


def test_a_document_shows_the_plot_by_a_path_from_where_it_is() -> None:
    assert "(docs/bench/latest.svg)" in report.picture(ROOT / "README.md")
    assert "(bench/latest.svg)" in report.picture(ROOT / "docs" / "performance.md")
