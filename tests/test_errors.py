"""Errors: the tree as drawn, and what a person sees of one in a cell."""

import inspect
import io
import pickle
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from insights_nb import errors
from insights_nb.errors import BusyError, InsightsError, QueryError
from tests.kernel import executed

CELL = """
from insights_nb.errors import BusyError

def ask():
    raise BusyError("both slots stayed taken.", "Wait, or ask for less.", status=429)

ask()
"""
LINES = ["BusyError: both slots stayed taken.", "Wait, or ask for less."]


def drawn() -> Iterator[tuple[str, str | None]]:
    """(class, parent) for every line of the tree in the module's docstring."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+Error)\b", line)
        if found:
            depth = len(found["branch"]) // 4
            above[depth:] = [found["name"]]
            yield found["name"], above[depth - 1] if depth else None


def classes() -> dict[str, type[Exception]]:
    return {
        name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
    }


def test_the_drawn_tree_is_the_real_one() -> None:
    """The tree at the top of the module shows every class once, under its parent."""
    lines = list(drawn())
    real = {
        (name, None if value is InsightsError else value.__bases__[0].__name__) for name, value in classes().items()
    }
    assert len(lines) == len(set(lines))
    assert set(lines) == real


def test_every_class_is_explained() -> None:
    """Each error class has a docstring of its own."""
    assert [name for name, value in classes().items() if not value.__doc__] == []


def test_a_timeout_is_also_python_s_own() -> None:
    """Code that catches TimeoutError catches ours."""
    assert issubclass(errors.ReportTimeoutError, TimeoutError)


def test_text_has_the_message_and_the_hint() -> None:
    """What happened stands on the first line, what to do on the next; without a hint there is one line."""
    assert str(InsightsError("It broke.", "Mend it.")) == "It broke.\nMend it."
    assert str(InsightsError("It broke.")) == "It broke."


def test_a_query_error_lists_every_problem() -> None:
    """One problem makes a sentence, several make a list, and all stay available."""
    assert str(QueryError(["data: empty"])) == "the query has a problem: data: empty"
    both = QueryError(["data: empty", "filters: empty"], "Nothing was sent.")
    assert str(both) == "the query has 2 problems:\n  - data: empty\n  - filters: empty\nNothing was sent."
    assert both.problems == ["data: empty", "filters: empty"]


@pytest.mark.parametrize("name", sorted(classes()))
def test_an_error_survives_the_way_between_processes(name: str) -> None:
    """Pickled and read back, an error is of the same class and says the same."""
    kind: Any = classes()[name]
    first = ["a problem"] if kind is QueryError else "It broke."
    keywords = {key: 429 if key == "status" else "ae9f" for key in ("status", "report_id") if takes(kind, key)}
    error = kind(first, "Mend it.", **keywords)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def takes(kind: Any, keyword: str) -> bool:
    return keyword in inspect.signature(kind).parameters


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A real IPython that writes nothing to the user's folders."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    one: Any = InteractiveShell.instance(config=quiet)
    yield one
    one.restore_sys_module_state()
    InteractiveShell.clear_instance()


def printed(shell: Any, code: str) -> list[str]:
    with redirect_stdout(io.StringIO()) as out:
        shell.run_cell(code)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("mode", ["Context", "Verbose", "Plain", "Minimal"])
def test_a_cell_shows_two_lines(shell: Any, mode: str) -> None:
    """In every traceback mode the cell fails with message and hint alone."""
    printed(shell, f"%xmode {mode}")
    assert printed(shell, CELL) == LINES
    assert isinstance(shell.last_execution_result.error_in_exec, BusyError)


def test_tb_shows_the_whole_story(shell: Any) -> None:
    """After such a cell ``%tb`` shows the traceback, with the user's own code in it."""
    printed(shell, CELL)
    text = "\n".join(printed(shell, "%tb"))
    assert "Traceback (most recent call last)" in text
    assert "in ask" in text
    assert "both slots stayed taken." in text


def test_the_cell_fails_in_a_kernel(tmp_path: Path) -> None:
    """The saved notebook has an error output with class, message and those lines, and ``%tb`` has more."""
    failed, story = executed([CELL, "%tb"], tmp_path, allow_errors=True)
    (error,) = (output for output in failed if output.output_type == "error")
    assert error.ename == "BusyError"
    assert error.evalue == "\n".join(["both slots stayed taken.", "Wait, or ask for less."])
    assert "\n".join(error.traceback).splitlines() == LINES
    assert "in ask" in str(story)
