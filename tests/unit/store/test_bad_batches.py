"""Bytes of bad batches are kept, but not without end."""

from pathlib import Path

import pytest

from edge.store import bad_batches
from edge.store.bad_batches import BadBatches
from edge.store.schema import batch_id


def test_each_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    bad = BadBatches(tmp_path / "leveret.db")
    bad.note(batch_id(3, 70), b"seventy")
    bad.note(batch_id(4, 0), b"zero")
    assert len(bad) == 2
    bad.keep()
    assert len(bad) == 0
    assert (tmp_path / "leveret.db.quarantined-batch-3-70").read_bytes() == b"seventy"
    assert bad.file_of(4, 0) == "leveret.db.quarantined-batch-4-0"
    assert bad.file_of(4, 0) == bad.file_of(4, 1) == ""


def test_of_too_many_only_the_first_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_batches, "KEPT_MAX", 2)
    bad = BadBatches(tmp_path / "leveret.db")
    for i in range(5):
        bad.note(batch_id(1, i), b"x")
    bad.keep()
    assert len(list(tmp_path.iterdir())) == 2
    assert bad.file_of(1, 4) == ""
