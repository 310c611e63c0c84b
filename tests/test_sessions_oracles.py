"""Two independent answers to every table: plain Python over lists, and SQL window functions in sqlite."""

import sqlite3
from collections import Counter
from functools import cache
from typing import Any

import pandas as pd
import pytest

from insights_nb.sessions import SessionLog, session_log
from tests import session_spec as spec
from tests.session_logs import DAY, demo_frame, fetched, make_log

MADE = {
    "exits per action": lambda: make_log(120, seed=11),
    "exits per flow": lambda: make_log(120, seed=12, per="flow"),
    "one session": lambda: make_log(1, seed=13),
    "shuffled": lambda: make_log(90, seed=14).sample(frac=1, random_state=3),
    "demo": lambda: demo_frame(4000),
}


@cache
def made(name: str) -> tuple[pd.DataFrame, SessionLog]:
    """A frame without equal times inside a session, and its log read as one whole window."""
    frame = MADE[name]().drop_duplicates(["SessionId", "TimeStamp"]).drop(columns="TransactionId")
    frame["ActionId"] = frame["FlowName"] + "/" + frame["ActionId"]
    frame["FlowId"] = "one"
    frame["FlowName"] = "one"
    frame["IsTriggerAction"] = frame["TimeStamp"] == frame.groupby("SessionId")["TimeStamp"].transform("min")
    low, high = frame["TimeStamp"].min() - pd.Timedelta("1D"), frame["TimeStamp"].max() + pd.Timedelta("1D")
    return frame, session_log(fetched(frame, low, high))


each = pytest.mark.parametrize("name", list(MADE))


@each
def test_sessions_equal_the_spec(name: str) -> None:
    """The session table has the plain-Python numbers."""
    frame, log = made(name)
    table = log.sessions()
    expected = pd.DataFrame.from_dict(spec.session_numbers(frame), orient="index")
    assert list(table.index) == list(expected.index)
    for column in expected:
        ours = table[column].astype("str") if column == "last_action" else table[column]
        assert list(ours) == list(expected[column]) or (ours.isna() == expected[column].isna()).all(), column
    assert set(table["completeness"]) <= {"complete", "no_exit"}


@each
def test_transitions_equal_the_spec(name: str) -> None:
    """Counts, distinct sessions and row shares of transitions are the plain-Python ones."""
    frame, log = made(name)
    counts, sessions = spec.transition_counts(frame)
    table = log.transitions(ends=False)
    ours = {(str(row.source), str(row.target)): (row.count_, row.sessions) for row in _rows(table)}
    assert ours == {pair: (count, len(sessions[pair])) for pair, count in counts.items()}
    total: Counter[str] = Counter()
    for (source, _), count in counts.items():
        total[source] += count
    for row in _rows(table):
        assert row.probability == pytest.approx(counts[row.source, row.target] / total[row.source])


@each
def test_starts_and_ends_equal_the_spec(name: str) -> None:
    """Rows from (start) and to (end) count first and last actions."""
    frame, log = made(name)
    walks = spec.walks(frame).values()
    table = log.transitions()
    starts = table[table["source"] == "(start)"].set_index("target")["count"]
    ends = table[table["target"] == "(end)"].set_index("source")["count"]
    assert {str(k): v for k, v in starts.items()} == Counter(walk[0] for walk in walks)
    assert {str(k): v for k, v in ends.items()} == Counter(walk[-1] for walk in walks)


@each
@pytest.mark.parametrize("collapse", [True, False])
def test_variants_equal_the_spec(name: str, collapse: bool) -> None:
    """Paths and their sizes are the plain-Python ones, in order of size and then of path."""
    frame, log = made(name)
    table = log.variants(top=None, collapse_repeats=collapse)
    expected = sorted(spec.variant_counts(frame, collapse).items(), key=lambda item: (-item[1], item[0]))
    assert list(zip(table["path"], table["sessions"], strict=True)) == expected
    assert table["cum_share"].iloc[-1] == pytest.approx(1)
    walks = spec.walks(frame)
    for row in table.head(20).itertuples():
        walk = walks[str(row.example)]
        assert row.path == tuple(a for i, a in enumerate(walk) if not collapse or i == 0 or walk[i - 1] != a)
    if collapse:
        paths = {path: rank for rank, path in enumerate(table["path"], 1)}
        for session, rank in log.sessions()["variant"].items():
            walk = walks[str(session)]
            assert paths[tuple(a for i, a in enumerate(walk) if i == 0 or walk[i - 1] != a)] == rank


@each
def test_actions_equal_the_spec(name: str) -> None:
    """Visits, sessions, entries, ends, repeats per action are the plain-Python ones."""
    frame, log = made(name)
    table, expected = log.actions(), spec.action_numbers(frame)
    assert set(table.index) == set(expected)
    for action, numbers in expected.items():
        for column in ("visits", "sessions", "repeat_sessions", "max_visits", "first_here", "ended_here"):
            assert table.loc[action, column] == numbers.get(column, 0), (action, column)
    assert table["visits"].is_monotonic_decreasing


@each
def test_loops_equal_the_spec(name: str) -> None:
    """Sessions and repeats of every kind of loop are the plain-Python ones."""
    frame, log = made(name)
    ours = {(str(r.action), str(r.kind)): (r.sessions, r.repeats) for r in log.loops().itertuples()}
    assert ours == spec.loop_counts(frame)


@each
@pytest.mark.parametrize("ordered", [True, False])
def test_funnels_equal_the_spec(name: str, ordered: bool) -> None:
    """Sessions at each milestone are the plain-Python ones."""
    frame, log = made(name)
    top = [str(action) for action in log.actions().index]
    steps = [top[2], top[0], top[1], top[2]]
    assert log.funnel(steps, ordered=ordered)["sessions"].tolist() == spec.funnel_counts(frame, steps, ordered)


@each
def test_step_matrix_equals_the_spec(name: str) -> None:
    """Every cell of the step matrix is the plain-Python share."""
    frame, log = made(name)
    table = log.step_matrix(n=6)
    expected = spec.matrix_shares(frame, 6)
    for action in table.index:
        for step in table.columns:
            assert table.loc[action, step] == pytest.approx(expected.get((str(action), int(step)), 0.0))


@each
def test_before_equals_the_spec(name: str) -> None:
    """Paths before an action are the plain-Python ones."""
    frame, log = made(name)
    action = str(log.actions().index[1])
    table = log.before(action, n=3)
    assert dict(zip(table["path"], table["sessions"], strict=True)) == dict(spec.before_counts(frame, action, 3))


@each
def test_dwell_quantiles_equal_the_spec(name: str) -> None:
    """Median and 95th percentile of dwell interpolate between neighbours, like numpy's and duckdb's."""
    _, log = made(name)
    steps = log.steps()
    for action, part in list(steps.groupby("action", observed=True))[:6]:
        values = [int(v) for v in part["dwell"].dropna().astype("int64") if v >= 0]
        if values:
            assert _microseconds(log, str(action)) == (spec.quantile(values, 0.5), spec.quantile(values, 0.95))


def test_group_quantiles_are_duckdbs() -> None:
    """The quantiles are those of duckdb's quantile_cont, to the rounding of a microsecond."""
    import duckdb

    _, log = made("exits per action")
    steps = log.steps()[["action", "dwell"]].astype({"action": "str"})
    steps["dwell"] = steps["dwell"].astype("int64")
    found = duckdb.connect().execute(
        "select action, quantile_cont(dwell, 0.5), quantile_cont(dwell, 0.95) from steps group by action"
    )
    for action, median, p95 in found.fetchall():
        assert list(_microseconds(log, action)) == pytest.approx([median, p95], abs=0.51)


VISITS = """
create view ordered as
    select *, lag(ActionId) over w as was, lag(EventName) over w as had, lag(t) over w as before
    from events window w as (partition by SessionId order by t);
create view numbered as
    select *, sum(was is null or was <> ActionId or had = 'ApplicationExitEvent')
        over (partition by SessionId order by t) as step from ordered;
create view visits as
    select SessionId, step, min(ActionId) as action, min(t) as t, count(*) as n from numbered group by SessionId, step;
"""


@cache
def database(name: str) -> sqlite3.Connection:
    frame, _ = made(name)
    base = sqlite3.connect(":memory:", check_same_thread=False)
    plain = frame[["SessionId", "ActionId", "EventName"]].astype(object)
    plain.assign(t=frame["TimeStamp"].astype("int64")).to_sql("events", base, index=False)
    base.executescript(VISITS)
    return base


@each
def test_sessions_equal_sqlites(name: str) -> None:
    """Counts, first and last times, and longest gaps are those of SQL."""
    _, log = made(name)
    table = log.sessions()
    found = database(name).execute(
        "select SessionId, count(*), min(t), max(t), max(t - before), max(step) from numbered group by 1 order by 1"
    )
    for session, events, first, last, gap, steps in found.fetchall():
        row = table.loc[session]
        assert (row["n_events"], row["n_steps"]) == (events, steps)
        assert (row["start"].value, row["end"].value) == (first * 1000, last * 1000)
        assert (None if pd.isna(row["max_gap"]) else int(row["max_gap"] / pd.Timedelta("1us"))) == gap


@each
def test_transitions_equal_sqlites(name: str) -> None:
    """Transitions and their distinct sessions are those of SQL's lead()."""
    _, log = made(name)
    found = database(name).execute(
        """select action, next, count(*), count(distinct SessionId) from
           (select *, lead(action) over (partition by SessionId order by step) as next from visits)
           where next is not null group by 1, 2"""
    )
    ours = {(str(r.source), str(r.target)): (r.count_, r.sessions) for r in _rows(log.transitions(ends=False))}
    assert ours == {(source, target): (count, sessions) for source, target, count, sessions in found.fetchall()}


@each
def test_funnel_equals_sqlites(name: str) -> None:
    """An ordered funnel of three milestones is that of SQL's nested minima."""
    _, log = made(name)
    steps = [str(action) for action in log.actions().index[:3]]
    counts = [row["sessions"] for _, row in log.funnel(steps).iterrows()]
    query = """with a as (select SessionId, min(step) as s from visits where action = :a group by 1),
        b as (select v.SessionId, min(step) as s from visits v join a using (SessionId)
              where action = :b and step > a.s group by 1),
        c as (select v.SessionId, min(step) as s from visits v join b using (SessionId)
              where action = :c and step > b.s group by 1)
        select (select count(*) from a), (select count(*) from b), (select count(*) from c)"""
    assert counts == list(database(name).execute(query, dict(zip("abc", steps, strict=True))).fetchone())


@each
def test_repeats_equal_sqlites(name: str) -> None:
    """Sessions that repeat an action, and how often at most, are those of SQL."""
    _, log = made(name)
    found = database(name).execute(
        """select action, sum(n > 1), max(n) from
           (select SessionId, action, count(*) as n from visits group by 1, 2) group by 1"""
    )
    table = log.actions()
    for action, repeated, most in found.fetchall():
        assert (table.loc[action, "repeat_sessions"], table.loc[action, "max_visits"]) == (repeated, most)


def test_the_demo_log_has_what_was_planted() -> None:
    """Sessions and events of the demo frame are as many as its maker says."""
    frame = demo_frame(4000)
    assert len(session_log(frame)) == frame["SessionId"].nunique()
    assert DAY


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.rename(columns={"count": "count_"}).itertuples())


def _microseconds(log: SessionLog, action: str) -> tuple[int, int]:
    found: Any = log.actions()
    return int(found["median_time"].astype("int64")[action]), int(found["p95_time"].astype("int64")[action])
