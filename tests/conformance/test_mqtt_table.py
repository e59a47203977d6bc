"""docs/mqtt-conformance.md: complete, and every test that it names is there."""

import re
from pathlib import Path

import pytest

from tests.conformance.mqtt_statements import V5, V311, numbers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mqtt-conformance.md").read_text()
ROW = re.compile(r"^\| (\d[\d.]*-\d+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
STATEMENTS = {"MQTT 5.0": V5, "MQTT 3.1.1": V311}


def rows(version: str) -> list[tuple[str, str, str, str]]:
    """Statement, summary, tests, result."""
    return ROW.findall(PAGE.partition(f"\n## {version}\n")[2].partition("\n## ")[0])


def defined() -> dict[str, set[str]]:
    """Test module -> names of its tests."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        names = re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
        found.setdefault(path.stem, set()).update(names)
    return found


@pytest.mark.parametrize("version", STATEMENTS)
def test_every_statement_has_one_row_in_order(version: str) -> None:
    assert [row[0] for row in rows(version)] == numbers(STATEMENTS[version])


@pytest.mark.parametrize("version", STATEMENTS)
def test_every_row_names_tests_that_exist_or_says_why_there_is_none(version: str) -> None:
    tests = defined()
    for statement, _, names, result in rows(version):
        if names == "-":
            assert result != "holds", statement
            continue
        assert result == "holds", statement
        for name in names.split(", "):
            module, _, test = name.strip("`").partition(".")
            assert test in tests.get(module, set()), f"{statement}: {name}"


def test_the_numbers_are_those_of_the_texts() -> None:
    assert len(numbers(V311)) == 141
    assert len(numbers(V5)) == 248
    assert numbers({"1.2.3": "1-3 5"}) == ["1.2.3-1", "1.2.3-2", "1.2.3-3", "1.2.3-5"]
