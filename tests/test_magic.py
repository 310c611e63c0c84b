"""``%%insights``: its line, its body, and what it hands to the notebook's functions."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from insights_nb import magic
from insights_nb.errors import BusyError, QueryError

BODY = '{"data": {"ApplicationExitEvent": {"fields": ["SessionId"]}}}'
PARSED = {"data": {"ApplicationExitEvent": {"fields": ["SessionId"]}}}
FILTERED = '{"filters": {"DtmfEvent": {"FlowId": {"$eq": "{{flow}}"}}}}'


class Notebook:
    """In place of ``insights_nb.notebook``: remembers what it was asked."""

    def __init__(self) -> None:
        self.frame = pd.DataFrame({"SessionId": [f"s{number}" for number in range(10)]})
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []
        self.error: Exception | None = None

    def query(self, query: object, /, **options: Any) -> pd.DataFrame:
        """Answer with the frame, or fail when told to."""
        self.asked.append(("query", query, options))
        if self.error:
            raise self.error
        return self.frame

    def dry_run(self, query: object, /, **options: Any) -> str:
        """Answer with a text."""
        self.asked.append(("dry_run", query, options))
        return "a dry run"

    def connection(self, profile: str | None) -> str:
        """Answer with a text."""
        return f"connected by {profile}"

    @property
    def body(self) -> Any:
        """The one query that was asked."""
        ((_, query, _),) = self.asked
        return query

    @property
    def options(self) -> dict[str, Any]:
        """The options of the one query that was asked."""
        ((_, _, options),) = self.asked
        return options


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """The functions a cell calls, replaced."""
    stand_in = Notebook()
    monkeypatch.setattr(magic, "notebook", stand_in)
    monkeypatch.setattr(magic, "inventory", stand_in)
    return stand_in


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, notebook: Notebook) -> Iterator[Any]:
    """A real IPython with the magics loaded, that writes nothing to the user's folders."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    one: Any = InteractiveShell.instance(config=quiet)
    magic.load_ipython_extension(one)
    yield one
    one.restore_sys_module_state()
    InteractiveShell.clear_instance()


def run(shell: Any, line: str, body: str = BODY) -> Any:
    """What a cell shows; the cell's error, raised."""
    done = shell.run_cell(f"%%insights {line}\n{body}\n")
    done.raise_error()
    return done.result


def problem(shell: Any, line: str, body: str = BODY) -> str:
    """The message a cell fails with; nothing was asked."""
    with pytest.raises(QueryError) as caught, redirect_stdout(io.StringIO()):
        run(shell, line, body)
    assert caught.value.__context__ is None
    return str(caught.value)


def test_without_a_variable_the_cell_shows_the_frame(shell: Any, notebook: Notebook) -> None:
    """The frame is the cell's value; the body goes to the query parsed, with the defaults."""
    assert run(shell, "") is notebook.frame
    assert notebook.body == PARSED
    assert notebook.options == {
        "since": None,
        "until": None,
        "last": None,
        "refresh": False,
        "timeout": None,
        "progress": "auto",
        "profile": None,
    }


@pytest.mark.parametrize("line", ["exits", "-o exits", "--output exits", "--output=exits", "exits -o exits"])
def test_with_a_variable_the_cell_shows_nothing(shell: Any, notebook: Notebook, line: str) -> None:
    """The frame goes into the variable, and the cell has no value beside the progress line."""
    assert run(shell, line) is None
    assert shell.user_ns["exits"] is notebook.frame


def test_every_option_reaches_the_query(shell: Any, notebook: Notebook) -> None:
    """Options of the line become the keywords of ``query``."""
    run(shell, "df --since -24h --until 'now' --refresh --timeout 90 -q --profile work  # as yesterday")
    assert notebook.options == {
        "since": "-24h",
        "until": "now",
        "last": None,
        "refresh": True,
        "timeout": 90.0,
        "progress": "none",
        "profile": "work",
    }


def test_no_progress_keeps_the_last_line(shell: Any, notebook: Notebook) -> None:
    """``--no-progress`` drops the bar, not the summary."""
    run(shell, "df --no-progress --last 24h")
    assert notebook.options["progress"] == "line"
    assert notebook.options["last"] == "24h"


def test_underscores_in_options_are_dashes(shell: Any, notebook: Notebook) -> None:
    """``--dry_run`` is ``--dry-run``."""
    assert run(shell, "df --dry_run") == "a dry run"
    assert run(shell, "--dry-run --last 1d") == "a dry run"
    assert [kind for kind, _, _ in notebook.asked] == ["dry_run", "dry_run"]
    assert notebook.asked[1][2] == {"since": None, "until": None, "last": "1d", "profile": None}
    assert "df" not in shell.user_ns


def test_limit_shows_few_rows_and_keeps_all(shell: Any, notebook: Notebook) -> None:
    """``--limit`` is about what is shown: the variable gets every row."""
    assert len(run(shell, "--limit 3")) == 3
    assert len(run(shell, "df --limit 2")) == 2
    assert len(shell.user_ns["df"]) == 10


def test_a_line_with_quotes_braces_and_comments_survives(shell: Any, notebook: Notebook) -> None:
    """What IPython's own parser stumbles over is taken as a shell would, and nothing in it is expanded."""
    shell.user_ns["x"] = "expanded"
    shell.user_ns["flow"] = "not this one"
    run(shell, """df -p 'flow={"a": 1, "b": "{x} $x"}' --profile="two words"  # and {nothing} here""", FILTERED)
    assert notebook.body["filters"]["DtmfEvent"]["FlowId"]["$eq"] == {"a": 1, "b": "{x} $x"}
    assert notebook.options["profile"] == "two words"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("flow=5e8367f36426c01425fbd1f5", "5e8367f36426c01425fbd1f5"),
        ("flow=0012", "0012"),
        ("flow=12", 12),
        ("flow=true", True),
        ("flow=null", None),
        ("flow=NaN", "NaN"),
        ("flow=1e999", "1e999"),
        ("""'flow="12"'""", "12"),
        ("flow=", ""),
        ("flow=a=b", "a=b"),
        ("'flow=[1, 2]'", [1, 2]),
    ],
)
def test_parameters_are_typed(shell: Any, notebook: Notebook, text: str, value: object) -> None:
    """A value is JSON where it is JSON, and text where it is not."""
    run(shell, f"-p {text}", FILTERED)
    found = notebook.body["filters"]["DtmfEvent"]["FlowId"]["$eq"]
    assert found == value
    assert type(found) is type(value)


def test_names_are_looked_up_from_near_to_far(shell: Any, notebook: Notebook) -> None:
    """``-p`` wins over ``--params``, which wins over the notebook's variables."""
    shell.user_ns.update(a="variable", b="variable", c="variable", given={"a": "dict", "b": "dict", "unused": 1})
    run(shell, "-p a=line --params given", '{"data": ["{{a}}", "{{ b }}", "{{c}}"]}')
    assert notebook.body == {"data": ["line", "dict", "variable"]}


def test_variables_keep_their_type(shell: Any, notebook: Notebook) -> None:
    """Times stay times, numpy's numbers become Python's, arrays and Series become lists."""
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    shell.user_ns.update(moment=moment, number=np.int64(7), fields=pd.Series(["SessionId", "Path"]))
    run(shell, "", '{"timestamp": {"$gte": "{{moment}}"}, "a": "{{number}}", "fields": "{{fields}}"}')
    assert notebook.body == {"timestamp": {"$gte": moment}, "a": 7, "fields": ["SessionId", "Path"]}
    assert type(notebook.body["a"]) is int


def test_a_range_may_be_a_variable(shell: Any, notebook: Notebook) -> None:
    """``--since``, ``--until`` and ``--last`` take ``{{name}}`` too."""
    shell.user_ns.update(span=timedelta(hours=3))
    run(shell, "--last {{span}}")
    assert notebook.options["last"] == timedelta(hours=3)


def test_a_missing_name_lists_what_exists(shell: Any, notebook: Notebook) -> None:
    """Every name that is not defined is named at once, with its path, the nearest name and what there is."""
    shell.user_ns.update(flow_id="x", frame=notebook.frame, count=3)
    text = problem(shell, "", '{"filters": {"A": ["{{flowid}}"]}, "b": "{{zzz}}"}')
    assert 'filters.A[0]: flowid is not defined. Did you mean "flow_id"? There are: flow_id, count' in text
    assert "b: zzz is not defined. There are: flow_id, count" in text
    assert "frame" not in text
    assert notebook.asked == []


def test_nothing_is_spliced_into_text(shell: Any, notebook: Notebook) -> None:
    """A value with quotes stays one value, and a name inside a longer text is refused, not sent as it is."""
    shell.user_ns["flow"] = '"}, "scope": {}'
    run(shell, "", FILTERED)
    assert notebook.body["filters"]["DtmfEvent"]["FlowId"]["$eq"] == '"}, "scope": {}'
    notebook.asked.clear()
    text = problem(shell, "", '{"data": "day {{flow}}"}')
    assert "data: only a whole value can be replaced, as in \"{{name}}\"; found 'day {{flow}}'" in text
    assert notebook.asked == []


def test_what_no_query_can_hold_is_refused(shell: Any, notebook: Notebook) -> None:
    """A frame or a missing number in place of a value is an error that names its type."""
    shell.user_ns.update(flow=notebook.frame)
    assert "filters.DtmfEvent.FlowId.$eq: flow is a DataFrame, which no query can hold" in problem(shell, "", FILTERED)
    shell.user_ns.update(flow=float("nan"))
    assert "flow is a float, which no query can hold" in problem(shell, "", FILTERED)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--lst 24h", 'no such option: --lst. Did you mean "--last"?'),
        ("--last", "argument --last: expected one argument"),
        ("df other", 'one variable gets the frame, but there is also "other"; quote values that hold blanks'),
        ("df -o other", 'one variable gets the frame, but two are named: "df" and "other"'),
        ("my-frame", '"my-frame" is no name for a variable'),
        ("class", '"class" is no name for a variable'),
        ("--timeout soon", "argument --timeout: invalid float value: 'soon'"),
        ("--timeout 0", "--timeout takes seconds above zero"),
        ("--limit -1", "--limit takes a number of rows"),
        ("--profile 'work", "no closing quotation in: --profile 'work"),
        ("-p flow", '-p takes name=value, found "flow"'),
        ("-p flw=1", "-p flw: the query has no {{flw}}."),
        ("--params nowhere", "--params nowhere names no dict: there is no such variable"),
        ("--file q.json", "--file is given and the cell has a body too; leave one out"),
    ],
)
def test_slips_in_the_line_are_named(shell: Any, notebook: Notebook, line: str, message: str) -> None:
    """Each slip in the line fails the cell with what is wrong and where the options are."""
    text = problem(shell, line)
    assert text == f"the query has a problem: %%insights: {message}\nThe options: %%insights?"
    assert notebook.asked == []


def test_params_must_be_a_dict(shell: Any) -> None:
    """``--params`` with something else says what it is."""
    shell.user_ns["given"] = 3
    assert "--params given names no dict: it is a int" in problem(shell, "--params given")


def test_bad_json_shows_the_place(shell: Any) -> None:
    """A slip in the body has line, column and a caret."""
    text = problem(shell, "df", "{'data': 1}")
    assert "the cell, line 1, column 2: JSON wants double quotes\n    {'data': 1}\n     ^" in text


def test_an_empty_cell_says_what_belongs_there(shell: Any) -> None:
    """A cell without a body and without ``--file`` is no query."""
    assert "the cell has no query below its first line" in problem(shell, "df", "  \n")


def test_the_body_may_be_a_file(shell: Any, notebook: Notebook, tmp_path: Path) -> None:
    """``--file`` reads the JSON from disk, in a cell and in a line, with names replaced."""
    (tmp_path / "q one.json").write_text(FILTERED, encoding="utf-8")
    run(shell, f"df --file '{tmp_path}/q one.json' -p flow=5e", "")
    assert notebook.body["filters"]["DtmfEvent"]["FlowId"]["$eq"] == "5e"
    notebook.asked.clear()
    shell.run_cell(f"%insights other --file '{tmp_path}/q one.json' -p flow=x").raise_error()
    assert shell.user_ns["other"] is notebook.frame
    assert "missing.json cannot be read" in problem(shell, f"--file {tmp_path}/missing.json", "")


def test_the_line_magic_shows_the_connection(shell: Any) -> None:
    """``%insights`` alone shows where we are; with a query's options it says what is missing."""
    assert shell.run_cell("%insights").result == "connected by None"
    assert shell.run_cell("%insights --profile work  # where am I").result == "connected by work"
    with pytest.raises(QueryError, match="%insights has a query only with --file"), redirect_stdout(io.StringIO()):
        shell.run_cell("%insights df --last 24h").raise_error()


def test_help_prints_the_options(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """``-h``, ``%%insights?`` and the docstring show the same text, with every option."""
    assert run(shell, "-h") is None
    printed = capsys.readouterr().out
    for option in ("DEST", "--last", "--since", "--until", "--param", "--params", "--file", "--dry-run", "--refresh"):
        assert option in printed
    for option in ("--timeout", "--limit", "--no-progress", "--quiet", "--profile", "-q", "-p", "-o"):
        assert option in printed
    function: Any = shell.find_cell_magic("insights")
    assert function.__doc__.strip() == printed.strip()
    assert "--dry-run" in shell.object_inspect_text("%%insights")


def test_an_error_fails_the_cell(shell: Any, notebook: Notebook) -> None:
    """The error of a query is the cell's own, in clean lines, and the variable is not touched."""
    notebook.error = BusyError("both slots stayed taken.", "Wait, or see %insights.")
    with redirect_stdout(io.StringIO()) as printed:
        done = shell.run_cell(f"%%insights df\n{BODY}")
    assert done.error_in_exec is notebook.error
    assert printed.getvalue().splitlines() == ["BusyError: both slots stayed taken.", "Wait, or see %insights."]
    assert "df" not in shell.user_ns


def test_the_extension_can_be_taken_out(shell: Any) -> None:
    """After unloading neither magic is there, and unloading twice is no error."""
    magic.unload_ipython_extension(shell)
    magic.unload_ipython_extension(shell)
    assert shell.find_cell_magic("insights") is None
    assert shell.find_line_magic("insights") is None


def test_the_parser_never_exits() -> None:
    """No line ends the kernel."""
    for line in ("--version", "-x", "--help=1", "--limit x", '"'):
        with pytest.raises(QueryError):
            magic.parse_line(line)
    assert magic.parse_line("-h").help
