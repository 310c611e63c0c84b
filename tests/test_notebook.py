"""What a cell calls: query, submit, schema and the dry run, in this process and without IPython."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from insights_nb import connect, inventory, notebook
from insights_nb.errors import ConfigError, QueryError
from insights_nb.simulator import Simulator
from tests.service import BODY, RANGE, environment, service


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with service() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Simulator:
    """The shared service, with this process pointed at it."""
    connect.configure(**shared.settings)
    return shared


def test_json_and_keywords_give_the_same_frame(simulator: Simulator) -> None:
    """The API's own JSON and the keywords for it are one query: the second is a hit."""
    first = notebook.query(BODY, progress="none")
    words = notebook.query(
        events={"ApplicationExitEvent": ["SessionId", "TimeStamp", "ActionId", "ExitReason"]},
        since=RANGE["$gte"],
        until=pd.Timestamp(RANGE["$lte"]),
        progress="none",
    )
    pd.testing.assert_frame_equal(first, words)
    assert words.attrs["insights"]["cached"]


def test_where_and_scope_select(simulator: Simulator) -> None:
    """Where keeps matching rows; scope keeps every row of the sessions that have one."""
    everything = notebook.query(BODY, progress="none")
    reason = everything["ExitReason"].value_counts().index[-1]
    events = {"ApplicationExitEvent": list(everything.columns)}
    ask = partial(notebook.query, events=events, since=RANGE["$gte"], until=RANGE["$lte"], progress="none")
    kept = ask(where={"ExitReason": reason})
    assert set(kept["ExitReason"]) == {reason}
    assert len(kept) == (everything["ExitReason"] == reason).sum()
    whole = ask(scope={"ExitReason": reason})
    ids = everything.loc[everything["ExitReason"] == reason, "SessionId"]
    assert set(whole["SessionId"]) == set(ids)
    assert len(whole) == everything["SessionId"].isin(ids).sum()


def test_a_wrong_query_sends_nothing(simulator: Simulator) -> None:
    """A slip is told with the nearest name, and the service sees no POST."""
    notebook.schema()
    before = simulator.count("POST", "/Q$")
    with pytest.raises(QueryError, match='Did you mean "ExitReason"'):
        notebook.query(events={"ApplicationExitEvent": ["ExitReasn"]}, last="1h")
    assert simulator.count("POST", "/Q$") == before


def test_submit_returns_at_once_and_shows_up_in_jobs(simulator: Simulator) -> None:
    """A handle comes back while the report runs; jobs() lists it with its range."""
    simulator.hold()
    report = notebook.submit(BODY, refresh=True, progress="none")
    assert report.status() == "Pending"
    listed = inventory.jobs()
    assert listed.loc[0, "report_id"] == report.id
    assert listed.loc[0, "state"] == "running"
    assert listed.loc[0, "start"] == pd.Timestamp(RANGE["$gte"])
    simulator.release()
    assert len(report.result()) > 500
    assert inventory.jobs().loc[0, "state"] == "done"


def test_an_unknown_progress_mode_is_refused_first(simulator: Simulator) -> None:
    """A slip in progress= costs no query."""
    before = len(simulator.calls)
    with pytest.raises(ValueError, match="auto"):
        notebook.query(BODY, progress="loud")
    assert len(simulator.calls) == before


def test_a_dry_run_shows_the_exact_json_and_the_cache(simulator: Simulator) -> None:
    """Nothing is sent; the JSON, the digest and what the cache has are shown, escaped in HTML."""
    before = simulator.count("POST", "/Q$")
    shown = notebook.dry_run(BODY)
    assert json.loads(shown.text) == BODY
    assert shown.cached == "Not in the cache."
    frame = notebook.query(BODY, progress="none")
    assert shown.digest == frame.attrs["insights"]["digest"]
    assert notebook.dry_run(BODY).cached == f"In the cache: {len(frame):,} rows, fetched 0 min ago."
    assert "Nothing was sent." in repr(shown)
    odd = {**BODY, "filters": {"ApplicationExitEvent": {"ExitReason": {"$eq": "<b>"}}}}
    assert "&lt;b&gt;" in notebook.dry_run(odd)._repr_html_()
    assert simulator.count("POST", "/Q$") == before + 1


def test_the_schema_is_asked_for_once_a_day(simulator: Simulator) -> None:
    """A second process of the same account reads the list from disk; refresh asks again."""
    notebook.schema()
    before = simulator.count("GET", "/Q$")
    connect.reset()
    connect.configure(**simulator.settings)
    notebook.schema()
    assert simulator.count("GET", "/Q$") == before
    notebook.schema(refresh=True)
    assert simulator.count("GET", "/Q$") == before + 1


def test_a_cached_frame_needs_no_service(simulator: Simulator) -> None:
    """A finished report can be read when the service is away."""
    with service() as short_lived:
        connect.configure(**short_lived.settings)
        frame = notebook.query(BODY, progress="none")
    pd.testing.assert_frame_equal(notebook.query(BODY, progress="none"), frame)


def test_it_works_with_no_ipython_at_all(simulator: Simulator, tmp_path: Path) -> None:
    """A script that cannot import IPython or ipywidgets gets its frame."""
    script = (
        "import sys\n"
        "sys.modules['IPython'] = sys.modules['ipywidgets'] = None\n"
        "import insights_nb as insights\n"
        f"print(len(insights.query({BODY!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(simulator, tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) > 500


def test_a_missing_account_is_told_in_our_words() -> None:
    """Without any setting the error names what to set, and the demo."""
    with pytest.raises(ConfigError, match="INSIGHTS_USERNAME") as caught:
        notebook.query(BODY, progress="none")
    assert "insights.demo()" in str(caught.value)
