"""SIGKILL under full load, again and again, with the ledger in another process: nothing confirmed is lost."""

import os
from pathlib import Path

import pytest

from edge.torture.run import Torture
from tests.conftest import SEED

KILLS = int(os.environ.get("LEVERET_TORTURE_KILLS", "50"))


@pytest.mark.timeout(120 + 5 * KILLS)
async def test_fifty_kills_under_load_lose_nothing_and_keep_order_and_bring_qos_2_once(
    tmp_path: Path,
) -> None:
    torture = Torture(tmp_path, SEED)
    report = await torture.run(seconds=4.0 * KILLS, kills_max=KILLS)
    print(f"seed {SEED}: {report}")
    assert report.kills == KILLS
    assert report.acked > 100 * KILLS
    assert (report.lost, report.sessions_lost, report.damaged) == (0, 0, 0), f"seed {SEED}: {report}"
    assert report.out_of_order == 0
    assert report.duplicates_of_qos2 == 0
    assert torture.ledger.is_complete
    # Kills do fall between a delivery and its acknowledgement; otherwise this test would show little.
    assert report.duplicates > 0
