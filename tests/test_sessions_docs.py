"""The documentation's examples: they run, and the log they are about is printed in full."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from insights_nb.sessions import example

README = Path(__file__).parent.parent / "README.md"
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("module", ["example", "log", "questions", "rules", "tables"])
def test_the_examples_run(module: str) -> None:
    """Every example in a docstring gives what it prints."""
    found = importlib.import_module(f"insights_nb.sessions.{module}")
    result = doctest.testmod(found, optionflags=OPTIONS)
    assert result.failed == 0
    assert result.attempted or module == "example"


def test_every_answer_has_an_example() -> None:
    """Each public table and question of a log has a worked example in its docstring."""
    for name in dir(type(example.log)):
        if not name.startswith("_") and name not in ("ledger", "plot"):
            assert ">>>" in (getattr(example.log, name).__doc__ or ""), name


def test_the_example_log_is_the_printed_table() -> None:
    """The example frame has the rows of the printed table, and its four sessions."""
    frame = example.tiny_log()
    assert len(frame) == 20
    assert len(example.log) == 4
    assert example.log.sessions()["completeness"].astype("str").tolist() == ["complete"] * 3 + ["cut_end"]


def test_the_readme_answers_the_ten_questions() -> None:
    """The README's table has ten questions, each with a table of the log that answers it."""
    section = README.read_text(encoding="utf-8").split("## Troubleshooting a flow")[1].split("\n## ")[0]
    cells = [cell.strip() for line in section.splitlines() if "? |" in line for cell in line.strip("|").split("|")]
    questions, answers = cells[::2], cells[1::2]
    assert len(questions) == 10
    assert all(question.endswith("?") for question in questions)
    for answer in answers:
        names = re.findall(r"`(\w+)\(", answer)
        assert names, answer
        assert all(callable(getattr(example.log, name)) for name in names), answer
