"""FAULTS.md: every row has its tests, every test it names exists, and no row is forgotten."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "FAULTS.md").read_text(encoding="utf-8")
COUNTS = {"A": 16, "B": 10, "C": 11, "D": 14, "E": 19, "F": 16, "G": 8}
"""How many faults each table began with; more may be added behind."""

ROW = re.compile(r"^\| (?P<id>[A-G]\d+) \| (?P<rest>.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/test_\w+\.py)::(test_\w+)`")


def rows() -> dict[str, list[str]]:
    """Cells of each row by its id; a row that stands twice is an error."""
    found = [(row["id"], row["rest"].split(" | ")) for row in ROW.finditer(TEXT)]
    assert len(found) == len({name for name, _ in found})
    return dict(found)


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_no_fault_is_forgotten() -> None:
    """Each fault the tables began with is either held or left out with a reason."""
    wanted = {f"{table}{number}" for table, count in COUNTS.items() for number in range(1, count + 1)}
    assert wanted - set(rows()) == set()


@pytest.mark.parametrize("name", list(rows()))
def test_a_row_has_a_test_that_exists(name: str) -> None:
    """A held row names at least one test, by a path and a name that are there; one that is left out says why."""
    cells = rows()[name]
    left_out = TEXT.index("## Left out") < TEXT.index(f"| {name} |")
    if left_out:
        (reason,) = cells
        assert len(reason) > 30
        return
    fault, required, shown = cells
    assert fault
    assert required
    named = TEST.findall(shown)
    assert named
    assert TEST.sub("", shown).strip() == ""
    assert [test for path, test in named if test not in names_in(path)] == []


def test_a_row_without_its_test_is_noticed() -> None:
    """The control: a name that no file has is not found."""
    assert "test_that_nobody_wrote" not in names_in("tests/test_faults.py")
    assert "test_no_fault_is_forgotten" in names_in("tests/test_faults.py")
