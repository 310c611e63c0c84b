"""The second tier of oracles, where installed: pm4py and retentioneering count the same logs the same way.

Neither is required or shipped (pm4py is AGPL-3.0, retentioneering brings a large tree): ``make peers`` installs them.
Both are fed whole logs without equal times inside a session, one row per step; what they and we count differently is
said where it is.
"""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pandas as pd
import pytest

from insights_nb.sessions import SessionLog, session_log
from tests.parts import require
from tests.session_logs import DAY, demo_frame, fetched, make_log

# retentioneering reports its use to a server unless told not to before it is imported.
os.environ["RETENTIONEERING_NO_TRACK"] = "1"

LOGS = {"made": lambda: make_log(150, seed=21), "demo": lambda: demo_frame(3000)}
each = pytest.mark.parametrize("name", list(LOGS))


@cache
def made(name: str) -> tuple[pd.DataFrame, SessionLog]:
    """One row per step with its session, action and time, and our log of the same steps."""
    frame = LOGS[name]()
    frame = frame[frame["EventName"] == "ApplicationExitEvent"].drop_duplicates(["SessionId", "TimeStamp"])
    frame = frame.assign(ActionId=frame["FlowName"] + "/" + frame["ActionId"], FlowId="one", FlowName="one")
    frame["IsTriggerAction"] = frame["TimeStamp"] == frame.groupby("SessionId")["TimeStamp"].transform("min")
    frame = frame.drop(columns=["TransactionId", "StartTime", "EndTime"]).sort_values(["SessionId", "TimeStamp"])
    # An exit row tells when its action was left; both peers know only when an event was, so these are plain events.
    frame["EventName"] = "CallEvent"
    low, high = frame["TimeStamp"].min() - pd.Timedelta("1D"), frame["TimeStamp"].max() + pd.Timedelta("1D")
    log = session_log(fetched(frame, low, high), steps="event")
    assert DAY
    return frame[["SessionId", "ActionId", "TimeStamp"]], log


def peer_package(name: str) -> Any:
    """A peer's package, or the test skips (in CI: fails) for want of it."""
    require(f"{name} (make peers)", find_spec(name) is not None)
    return import_module(name)


def pm4py_log(name: str) -> tuple[Any, Any]:
    """pm4py itself, and the log in its form: it is wrong on frames that are not sorted and renamed by itself."""
    pm4py = peer_package("pm4py")
    frame, _ = made(name)
    plain = frame.assign(TimeStamp=frame["TimeStamp"].astype("datetime64[ns, UTC]")).astype(
        {"SessionId": object, "ActionId": object}
    )
    return pm4py, pm4py.format_dataframe(plain, case_id="SessionId", activity_key="ActionId", timestamp_key="TimeStamp")


@each
@pytest.mark.filterwarnings("ignore")
def test_transitions_are_pm4pys(name: str) -> None:
    """The directly-follows graph, its start and its end activities are pm4py's."""
    pm4py, peer = pm4py_log(name)
    follows, starts, ends = pm4py.discover_dfg(peer)
    table = made(name)[1].transitions()
    pairs = {(str(r.source), str(r.target)): r.sessions for r in table.itertuples()}
    counts = dict(zip(pairs, table["count"], strict=True))
    inner = {pair: count for pair, count in counts.items() if "(start)" not in pair and "(end)" not in pair}
    assert inner == dict(follows)
    assert {target: n for (source, target), n in counts.items() if source == "(start)"} == dict(starts)
    assert {source: n for (source, target), n in counts.items() if target == "(end)"} == dict(ends)


@each
@pytest.mark.filterwarnings("ignore")
def test_times_between_are_pm4pys(name: str) -> None:
    """Median times between two actions are pm4py's performance graph, to a millisecond or two."""
    pm4py, peer = pm4py_log(name)
    performance, _, _ = pm4py.discover_performance_dfg(peer)
    table: Any = made(name)[1].transitions(ends=False)
    ours = {(str(r.source), str(r.target)): r.median.total_seconds() for r in table.itertuples()}
    assert ours == pytest.approx({pair: values["median"] for pair, values in performance.items()}, abs=0.002)


@each
@pytest.mark.filterwarnings("ignore")
def test_variants_are_pm4pys(name: str) -> None:
    """Paths and how many sessions took them are pm4py's."""
    pm4py, peer = pm4py_log(name)
    table = made(name)[1].variants(top=None, collapse_repeats=False)
    theirs = {path: n if isinstance(n, int) else len(n) for path, n in pm4py.get_variants_as_tuples(peer).items()}
    assert dict(zip(table["path"], table["sessions"], strict=True)) == theirs


@each
@pytest.mark.filterwarnings("ignore")
def test_rework_and_durations_are_pm4pys(name: str) -> None:
    """Sessions that repeat an action, and the durations of sessions, are pm4py's."""
    pm4py, peer = pm4py_log(name)
    log = made(name)[1]
    repeats = log.actions()["repeat_sessions"]
    assert repeats[repeats > 0].to_dict() == dict(pm4py.get_rework_cases_per_activity(peer))
    ours = log.sessions()["duration"].dt.total_seconds().sort_values().tolist()
    assert ours == pytest.approx(sorted(pm4py.get_all_case_durations(peer)), abs=0.002)


def retentioneering_stream(name: str) -> Any:
    """The log as retentioneering's stream of events."""
    peer = peer_package("retentioneering")
    frame, _ = made(name)
    plain = pd.DataFrame(
        {
            "user_id": frame["SessionId"].astype(object),
            "event": frame["ActionId"].astype(object),
            "timestamp": frame["TimeStamp"].dt.tz_localize(None).astype("datetime64[ns]"),
        }
    )
    return peer.Eventstream(plain)


@each
@pytest.mark.filterwarnings("ignore")
def test_transitions_are_retentioneerings(name: str) -> None:
    """Counts, distinct sessions, shares and median times of transitions are retentioneering's matrices."""
    stream = retentioneering_stream(name)
    table = made(name)[1].transitions().rename(columns={"count": "often"})
    edges = {"(start)": "path_start", "(end)": "path_end"}
    pairs = [(edges.get(str(r.source), r.source), edges.get(str(r.target), r.target)) for r in table.itertuples()]
    ours = {
        "count": table["often"],
        "unique_paths": table["sessions"],
        "proba_out": table["probability"],
        "share_of_total": table["share"],
    }
    for weight, values in ours.items():
        matrix = stream.transition_graph_data(weight)
        theirs = {(a, b): matrix.loc[a, b] for a in matrix.index for b in matrix.columns if matrix.loc[a, b]}
        assert dict(zip(pairs, values, strict=True)) == pytest.approx(theirs), weight
    # Its times are in whole seconds.
    matrix = stream.transition_graph_data("time_median")
    for pair, took in zip(pairs, table["median"], strict=True):
        if not pd.isna(took):
            assert abs(took - pd.Timedelta(matrix.loc[pair])) < pd.Timedelta("1s")


@each
@pytest.mark.filterwarnings("ignore")
def test_step_matrices_and_funnels_are_retentioneerings(name: str) -> None:
    """Shares by step and sessions by milestone are retentioneering's."""
    stream, log = retentioneering_stream(name), made(name)[1]
    ours: Any = log.step_matrix(n=6)
    theirs: Any = stream.step_matrix_data(max_steps=6)
    for action in log.actions().index:
        for step in range(1, 7):
            # Either leaves out an action that nobody is at in the steps shown.
            share, other = (float(t.loc[action, step]) if action in t.index else 0.0 for t in (ours, theirs))
            assert share == pytest.approx(other), (action, step)
    # Its path_end marks the one step at which a session ends; our "(ended)" stays, so that columns sum to 1.
    actions = [str(action) for action in log.actions().index]
    for steps in ([actions[0], actions[2]], [actions[1], actions[0], actions[3]]):
        found = stream.funnel_data(steps=steps)["steps"]
        table = log.funnel(steps)
        assert table["sessions"].tolist() == [step["unique_paths"] for step in found]
        assert table["conversion"].tolist() == pytest.approx([step["conversion_rate"] for step in found])
