"""Completion inside a ``%%insights`` cell: what is offered where, through IPython's own completer, and for free."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from insights_nb import completion, connect, magic, notebook
from insights_nb.body import OPERATORS
from insights_nb.catalog import DOCUMENTED
from tests.service import service

OPTIONS = ("--last", "--limit", "--param", "--params", "--dry-run")


def offered(cell: str, names: tuple[str, ...] = ()) -> completion.Offer:
    """What is offered at the ``|`` of a cell."""
    offset = cell.index("|")
    found = completion.offer(cell.replace("|", "", 1), offset, OPTIONS, lambda: names)
    assert found is not None
    return found


def words(cell: str) -> list[str]:
    return list(offered(f"%%insights\n{cell}").words)


@pytest.mark.parametrize(
    ("body", "first", "kind"),
    [
        ("{|", ['"timestamp"', '"data"', '"filters"', '"scope"'], "part"),
        ('{"timestamp": {"$g|', ['$gte"', '$gt"'], "operator"),
        ('{"data": {|', [f'"{event}"' for event in DOCUMENTED.events], "event"),
        ('{"data": {"ApplicationExitEvent": {"|', ['fields"'], "part"),
        ('{"data": {"DtmfEvent": {"fields": ["Dtmf|', ['DtmfInput"', 'DtmfSource"'], "field"),
        ('{"data": {"DtmfEvent": {"fields": ["SessionId", "sess|', [], "field"),
        ('{"filters": {"Dtm|', ['DtmfEvent"'], "event"),
        ('{"filters": {"ApplicationExitEvent": {"exit|', ['ExitReason"'], "field"),
        ('{"filters": {"DtmfEvent": {"FlowId": {|', [f'"{one}"' for one in OPERATORS], "operator"),
        ('{"filters": {"DtmfEvent": {"IsTriggerAction": {"$eq": |', ["true", "false"], "value"),
        ('{"scope": {|', ['"filters"', '"scope"'], "part"),
        ('{"scope": {"scope": "|', ['SessionId"'], "field"),
        ('{"scope": {"filters": {"Sess|', ['SessionId"'], "event"),
        ('{"scope": {"filters": {"SessionId": {"$e|', ['$eq"'], "operator"),
        ('{"scope": {"filters": {"CallEvent": {"Flow|', ['FlowId"', 'FlowName"'], "field"),
    ],
)
def test_what_fits_a_place_is_offered(body: str, first: list[str], kind: str) -> None:
    """Parts, events, the right event's fields, operators and truth values are offered where each belongs."""
    found = offered(f"%%insights df\n{body}")
    assert list(found.words[: len(first)]) == first
    assert found.kind == kind
    assert first or not found.words


def test_what_is_there_already_is_not_offered_again() -> None:
    """A field of the list and a key of the object are offered once."""
    assert '"SessionId"' not in words('{"data": {"DtmfEvent": {"fields": ["SessionId", |')
    assert words('{"data": {"DtmfEvent": {"fields": ["SessionId"]}, "Call|') == ['CallEvent"']
    assert words('{"data": {}, "scope": {}, |') == ['"timestamp"', '"filters"']


def test_the_fields_of_a_misspelt_event_are_the_nearest_one_s() -> None:
    """A slip in the event does not take the fields away; an event nobody knows gets every field."""
    assert 'ErrorReason"' in words('{"data": {"DtmfEvnt": {"fields": ["Err|')
    assert len(words('{"data": {"Zzz": {"fields": [|')) == len(DOCUMENTED.all_fields)


def test_quotes_are_closed_once() -> None:
    """An offer brings the quotes that are missing and no others."""
    assert words('{"data": {"fie|": 1') == []
    assert words('{"da|"') == ["data"]
    assert words('{"da|') == ['data"']
    assert words("{da|") == ['"data"']


@pytest.mark.parametrize("body", ["|", "{}|", '{"data"|', '{"data": |', '{"data": {"A": {"fields": ["x"]}}}|', "[[|"])
def test_where_no_word_may_stand_none_is_offered(body: str) -> None:
    """After a whole key, a whole value or outside the brackets there is nothing to offer."""
    assert words(body) == []


def test_a_string_that_holds_brackets_is_one_word() -> None:
    """Brackets, commas and escaped quotes within a string change nothing."""
    found = words('{"filters": {"DtmfEvent": {"FlowId": {"$eq": "a{[,\\": "}, "Err|')
    assert found == ['ErrorReason"']


@pytest.mark.parametrize(
    ("line", "fragment", "expected"),
    [
        ("--l|", "--l", ["--last", "--limit"]),
        ("df --dry_|", "--dry_", ["--dry-run"]),
        ("--last |", "", ["1h", "24h", "7d"]),
        ("--last=2|", "2", ["24h"]),
        ("--params |", "", ["given"]),
        ("-p |", "", ["flow="]),
        ("exi|", "exi", []),
    ],
)
def test_the_first_line_has_its_options(line: str, fragment: str, expected: list[str]) -> None:
    """Options, lengths of time, the body's parameters and the notebook's names are offered in the first line."""
    found = offered(f'%%insights {line}\n{{"a": "{{{{flow}}}}"}}', ("given",))
    assert (found.fragment, list(found.words[: len(expected)])) == (fragment, expected)


def test_a_placeholder_has_the_notebook_s_names() -> None:
    """Within ``"{{`` the variables a query can hold are offered, braces closed."""
    assert offered('%%insights\n{"a": "{{fl|', ("flow", "day")).words == ('flow}}"',)
    assert offered('%%insights\n{"a": "{{fl|"', ("flow", "day")).words == ("flow}}",)
    assert offered('%%insights\n{"a": "{{ |}}"', ("flow", "day")).words == ("flow", "day")


@pytest.mark.parametrize(
    "cell", ["x = {|", "%%insightsful\n{|", "%%insi|ghts", "%%insights --file q|", "# %%insights\n{|"]
)
def test_other_places_are_left_to_others(cell: str) -> None:
    """Other cells, the magic's own name and paths are not ours."""
    assert completion.offer(cell.replace("|", ""), cell.index("|"), OPTIONS, tuple) is None


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A real IPython with the extension loaded."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    one: Any = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    one.Completer.use_jedi = False
    magic.load_ipython_extension(one)
    yield one
    one.restore_sys_module_state()
    InteractiveShell.clear_instance()


def completed(shell: Any, cell: str) -> dict[str, tuple[str, str]]:
    """Text after each completion IPython itself gives at the ``|``, and its type."""
    offset = cell.index("|")
    text = cell.replace("|", "", 1)
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, offset))
    return {one.text: (text[: one.start] + one.text + text[one.end :], one.type) for one in found}


def test_ipython_completes_the_cell(shell: Any) -> None:
    """IPython's completer gives our words, with their kind and in their place, and no names of Python."""
    cell = '%%insights df\n{"data": {"ApplicationExitEvent": {"fields": ["SessionId", "Exit|"]}}}'
    found = completed(shell, cell)
    assert found["ExitReason"] == (cell.replace("Exit|", "ExitReason"), "field")
    assert {kind for _, kind in found.values()} == {"field"}
    assert list(completed(shell, "%%insights df --dr|\n{}")) == ["--dry-run"]
    assert list(completed(shell, "%%insights\n{|"))[:2] == ['"timestamp"', '"data"']


def test_other_cells_are_completed_as_ever(shell: Any) -> None:
    """Python is completed as without us."""
    shell.user_ns["a_name_of_mine"] = 1
    assert "a_name_of_mine" in completed(shell, "a_name_of|")


def test_a_failure_is_silent(shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever goes wrong while somebody types, no traceback is shown."""

    def broken(*_: object) -> None:
        raise RuntimeError("a slip of ours")

    monkeypatch.setattr(completion, "offer", broken)
    completed(shell, "%%insights\n{|")
    assert capsys.readouterr() == ("", "")


def test_unloading_takes_the_completion_away(shell: Any) -> None:
    """Loaded twice there is one matcher, and unloaded none."""
    magic.unload_ipython_extension(shell)
    assert '"data"' not in completed(shell, "%%insights\n{|")
    magic.load_ipython_extension(shell)
    assert '"data"' in completed(shell, "%%insights\n{|")


def test_typing_asks_the_service_nothing() -> None:
    """The schema at hand is used, the documented one before there is any, and no request is ever made."""
    with service() as simulator:
        connect.configure(**simulator.settings)
        assert words('{"data": {"Dtmf|') == ['DtmfEvent"']
        assert simulator.calls == []
        notebook.schema()
        before = len(simulator.calls)
        account = connect.account_in_use()
        account._schema = type(DOCUMENTED)({"NewEvent": ("NewField",)})
        assert words('{"data": {"New|') == ['NewEvent"']
        assert words('{"data": {"NewEvent": {"fields": ["NewF|') == ['NewField"']
        assert len(simulator.calls) == before


def test_settings_that_cannot_be_read_are_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a broken configuration the documented events are offered."""
    monkeypatch.setenv("INSIGHTS_SFTP_PORT", "many")
    assert words('{"data": {"Dtmf|') == ['DtmfEvent"']
