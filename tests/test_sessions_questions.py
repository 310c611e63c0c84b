"""Funnel, loops, before and after, prompts, KPIs, comparison, step matrix: by hand, and on what the demo planted."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from insights_nb.errors import FrameError
from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from insights_nb.sessions.example import log as tiny
from tests.session_logs import DAY, demo_log, fetched, make_log

DEMO_RULES = OutcomeRules(
    {
        "error": ["Service Unavailable – 503", "Forbidden", "Not Found"],
        "abandoned": "User Abandon",
        "completed": ["Call Successful", "Normal"],
    }
)


@pytest.fixture(scope="module")
def demo() -> SessionLog:
    return session_log(demo_log(60_000)[0], rules=DEMO_RULES)


def test_the_looping_menu_is_found(demo: SessionLog) -> None:
    """The demo's looping menu has the most repeats of all loops."""
    menu = demo_log(60_000)[1].looping_menu
    table = demo.loops().sort_values("repeats", ascending=False, kind="stable")
    assert str(table["action"].iloc[0]).endswith(f"▸ {menu.action_id}")
    assert str(table["kind"].iloc[0]) == "self"


def test_the_slow_action_is_found(demo: SessionLog) -> None:
    """Of the actions that no caller waits in by choice, the demo's slow one takes longest."""
    slow = demo_log(60_000)[1].slow_action
    table = demo.actions()
    machine = table[~table.index.str.contains("TRANSFER|DIAL|WAIT_REPLY|PLAY|COLLECT|MENU")]
    assert str(machine["median_time"].idxmax()).endswith(f"▸ {slow.action_id}")
    assert machine["median_time"].max().total_seconds() == pytest.approx(slow.seconds, rel=0.2)


def test_the_failing_region_is_found(demo: SessionLog) -> None:
    """Sessions whose transfer failed differ from the others most in the demo's failing region."""
    truth = demo_log(60_000)[1].failing_region
    steps = demo.steps()
    failed = steps.loc[steps["exit_reason"] == truth.exit_reason, "SessionId"].unique()
    table = demo.compare(failed, fields=["region", "hour", "weekday", "entry_action", "flow"])
    assert (table["field"].iloc[0], table["value"].iloc[0]) == ("region", truth.region)
    assert table["ci_low"].iloc[0] > 0.2


def test_the_hour_the_transfers_broke_is_found(demo: SessionLog) -> None:
    """Exit events by hour show the failure from the planted hour on, and hardly before."""
    truth = demo_log(60_000)[1].failing_region
    table = demo.exits(freq="1h", level="event")[truth.exit_reason]
    since = pd.Timestamp(truth.since)
    before, after = table[table.index < since.floor("h")], table[table.index >= since.ceil("h")]
    assert after.mean() > 5 * before.mean()


def test_what_the_demo_planted_is_counted(demo: SessionLog) -> None:
    """Sessions of two flows, without exit, running at the end, and silent ones are those the demo planted."""
    truths, table = demo_log(60_000)[1], demo.sessions()
    assert set(table.index[table["n_flows"] > 1]) == set(truths.two_flow_sessions)
    assert set(truths.running_sessions) <= set(table.index[table["completeness"] == "cut_end"])
    silent = table.index[(table["n_dtmf"] > 0) & (table["n_no_input"] == table["n_dtmf"])]
    assert set(silent) == set(truths.silent_sessions)
    over = set(table.index[table["completeness"] == "no_exit"])
    assert over <= set(truths.no_exit_sessions)
    # A last sign in the same second as the exit before it cannot be told from one that came first.
    assert len(over) >= 0.95 * len(truths.no_exit_sessions)
    assert set(table.index[table["n_tied"] > 0]) == set(truths.tied_sessions)


def test_funnels_keep_cut_sessions_apart() -> None:
    """A session that stops because the data stops is cut, not lost, and rates are of complete sessions."""
    log = session_log(fetched(make_log(150, seed=1), DAY + 900, DAY + 2700))
    table = log.funnel(["INBOUND_CALL_1", "PLAY_1", "END_CALL"])
    complete = log.sessions()["completeness"].isin(["complete", "no_exit"]).sum()
    assert table["sessions"].tolist() == [complete] * 3
    assert table["drop_off"].tolist() == [0, 0, 0]
    assert table["cut"].sum() > 0


def test_funnels_take_time_limits_and_alternatives() -> None:
    """A milestone can be one of several, and counts only if reached in time."""
    table = tiny.funnel(["MENU_1", ["END_CALL", "TRANSFER_1"]], within="4s")
    assert table["sessions"].tolist() == [3, 1]
    assert list(table.index) == ["MENU_1", "END_CALL | TRANSFER_1"]
    late = tiny.funnel(["MENU_1", "END_CALL"], within=pd.Timedelta("1h"))
    assert late["sessions"].tolist() == [3, 2]


def test_funnels_take_masks_and_reasons() -> None:
    """A milestone can be an exit reason, a mask of events, or a mask of steps."""
    frame = tiny.ledger.core.frame
    assert tiny.funnel(["Timeout"])["sessions"].tolist() == [1]
    assert tiny.funnel([frame["DtmfInput"].eq("1")])["sessions"].tolist() == [2]
    assert tiny.funnel([tiny.steps()["nth_visit"] > 1])["sessions"].tolist() == [1]


@pytest.mark.parametrize("steps", [[], ["MENU_9"], [np.array([True])]])
def test_funnels_refuse_what_is_not_there(steps: list[object]) -> None:
    """No milestone, an unknown one, or a mask of the wrong length is refused."""
    with pytest.raises(FrameError, match="funnel"):
        tiny.funnel(steps)


def test_loops_tell_kinds_apart() -> None:
    """Going straight back, back after one other action, and back after more are three kinds."""
    rows = [("A", "A"), ("A", "A"), ("A", "B"), ("A", "A"), ("A", "C"), ("A", "D"), ("A", "B")]
    frame = pd.DataFrame(rows, columns=["SessionId", "ActionId"])
    frame["TimeStamp"] = pd.to_datetime(DAY + 10 * np.arange(len(rows)), unit="s", utc=True)
    frame["EventName"] = "CallEvent"
    frame.loc[0, "EventName"] = "ApplicationExitEvent"
    log = session_log(frame, exits="action")
    table: Any = log.loops().set_index(["action", "kind"])
    assert table.loc[("A", "self"), ["sessions", "repeats", "max_visits"]].tolist() == [1, 1, 3]
    assert table.loc[("A", "ping_pong"), "extra_time"] == pd.Timedelta("10s")
    assert table.loc[("B", "return"), "repeats"] == 1
    assert len(log.loops(min_visits=3)) == 0
    with pytest.raises(FrameError, match="min_visits=1"):
        log.loops(min_visits=1)


def test_before_and_after_stop_at_known_edges() -> None:
    """Paths end with (start) and (end) only where the session's beginning and end are known."""
    assert ("(start)", "INBOUND_1") in set(tiny.before("MENU_1", n=3)["path"])
    after = tiny.after("INBOUND_1", n=4).set_index("path")["sessions"].to_dict()
    assert after == {
        ("MENU_1", "END_CALL", "(end)"): 1,
        ("MENU_1", "MENU_1", "END_CALL", "(end)"): 1,
        ("MENU_1", "TRANSFER_1"): 1,
        ("MENU_1", "(end)"): 1,
    }
    last = tiny.before("MENU_1", n=1, occurrence="last").set_index("path")["sessions"].to_dict()
    assert last == {("INBOUND_1",): 3, ("MENU_1",): 1}
    with pytest.raises(FrameError, match="occurrence='middle'"):
        tiny.before("MENU_1", occurrence="middle")
    with pytest.raises(FrameError, match="holds no action and no exit reason 'MENU1'") as caught:
        tiny.after("MENU1")
    assert "MENU_1" in caught.value.hint


def test_prompts_count_visits_and_hide_long_inputs() -> None:
    """Rates are of visits with a prompt, blank input is not silence, and long inputs are shown only when asked for."""
    frame = make_log(60, seed=2)
    frame.loc[frame["DtmfInput"] == "03", "DtmfInput"] = "0012"
    log = session_log(frame)
    table = log.dtmf(top_inputs=5)
    wrong = table["no_input"] + table["no_match"] + table["other_error"]
    assert (table["error_rate"] == wrong / table["prompts"]).all()
    assert (table["ci_low"] < table["error_rate"]).all()
    assert (table["filled"] + table["no_input"] == table["prompts"]).all()
    assert table["top_inputs"].str.contains("••••").any()
    assert not table["top_inputs"].str.contains("0012").any()
    shown = session_log(frame, mask_input=False).dtmf(top_inputs=5)
    assert shown["top_inputs"].str.contains("0012").any()
    assert log.dtmf(by="region")["prompts"].sum() == table["prompts"].sum()
    assert set(log.dtmf(by="action_name").index) == {"Menu", "Collect"}
    with pytest.raises(FrameError, match="by='mood'"):
        log.dtmf(by="mood")


def test_kpis_say_what_they_need(demo: SessionLog) -> None:
    """A rate without its rule is NaN with its base shown; with rules the classes are one whole."""
    plain: Any = session_log(make_log(30)).kpis()
    assert plain.loc[["containment_rate", "completion_rate"], "value"].isna().all()
    assert plain.loc["unclassified_rate", "value"] + plain.loc["unknown_rate", "value"] == 1
    table = demo.kpis()
    names = ["completion_rate", "abandonment_rate", "error_exit_rate", "unclassified_rate", "unknown_rate"]
    assert table.loc[names, "value"].sum() == pytest.approx(1)
    assert (table.loc[names, "n"] == demo.ledger.counted.sum()).all()
    assert table.loc["repeat_rate", "count"] == (demo.sessions()["n_repeats"] > 0).sum()
    assert table.loc["steps_median", "value"] == demo.sessions()["n_steps"][demo.ledger.counted].median()


def test_kpis_split_by_category_and_time(demo: SessionLog) -> None:
    """KPIs of groups add up to those of the whole, and a session is in the stretch of its start."""
    whole = demo.kpis()
    for arguments in ({"by": "flow"}, {"freq": "1D"}, {"by": "outcome", "freq": "12h"}):
        table = demo.kpis(**arguments)
        added = table.groupby("kpi")[["count", "n"]].sum()
        rates = [name for name in whole.index if name.endswith("_rate")]
        pd.testing.assert_frame_equal(added.loc[rates], whole.loc[rates, ["count", "n"]], check_names=False)
    with pytest.raises(FrameError, match="no category"):
        demo.kpis(by="start")
    with pytest.raises(FrameError, match="freq='x'"):
        demo.kpis(freq="x")


def test_comparing_adjusts_for_length() -> None:
    """Longer sessions visit more of everything; between sessions of equal length the difference is gone."""
    rng = np.random.default_rng(5)
    rows = []
    for session in range(600):
        length = int(rng.choice([3, 12]))
        slow = rng.random() < (0.8 if length == 12 else 0.1)
        for step in range(length):
            action = "PROMO" if rng.random() < 0.1 else f"STEP_{step % 2}"
            rows.append((f"s{session:04d}", DAY + session * 100 + step, action, "slow" if slow else "quick"))
    frame = pd.DataFrame(rows, columns=["SessionId", "TimeStamp", "ActionId", "ApplicationRegion"])
    frame["TimeStamp"] = pd.to_datetime(frame["TimeStamp"], unit="s", utc=True)
    log = session_log(frame, steps="event")
    slow_ones: Any = frame.groupby("SessionId")["ApplicationRegion"].first().eq("slow")
    row = log.compare(slow_ones, fields="action", top=None).set_index("value").loc["PROMO"]
    assert row["diff"] > 0.2
    assert abs(row["adj_diff"]) < 0.1
    assert row["ci_low"] < row["diff"] < row["ci_high"]
    top = log.compare(slow_ones).iloc[0]
    assert (top["field"], top["value"], top["adj_diff"]) == ("region", "slow", 1.0) or top["value"] == "quick"


def test_comparing_takes_numbers_and_baselines(demo: SessionLog) -> None:
    """A numeric column gives medians and a distance; the baseline may be any other set of sessions."""
    bad = demo.select(outcome="abandoned")
    good: Any = demo.sessions()["outcome"].eq("completed")
    table = demo.compare(bad, baseline=good, fields=["n_steps", "flow", "exit_reason"], top=None)
    row = table.set_index("field").loc["n_steps"]
    assert (row["value"], row["n_selected"], row["n_rest"]) == ("(median)", len(bad), good.sum())
    assert 0 < row["ks"] <= 1
    assert table.attrs == {"selected": len(bad), "rest": int(good.sum()), "adjust": "n_steps"}
    with pytest.raises(FrameError, match="'mood' is no field"):
        demo.compare(bad, fields="mood")
    with pytest.raises(FrameError, match="on both sides"):
        demo.compare(bad, baseline=bad)
    with pytest.raises(FrameError, match="adjust='age'"):
        demo.compare(bad, adjust="age")
    with pytest.raises(FrameError, match="does not"):
        bad.compare(demo)


def test_step_matrices_align_three_ways(demo: SessionLog) -> None:
    """Aligned at the start step 1 is entries, at the end step 0 is last actions, at an action column 0 is that."""
    actions = demo.actions()
    start, end = demo.step_matrix(n=4), demo.step_matrix(n=4, align="end")
    counted = demo.ledger.counted.sum()
    assert (end[0].drop(["(ended)", "(not begun)"], errors="ignore") * counted).round().sum() == counted
    for action, share in end[0].items():
        if action in actions.index:
            assert round(share * counted) == actions.loc[str(action), "ended_here"]
    assert start.index[-1] in ("(ended)", "(not begun)")
    menu = str(demo.loops()["action"].iloc[0])
    anchored = demo.step_matrix(n=2, align=menu)
    assert [int(str(step)) for step in anchored.columns] == [-2, -1, 0, 1, 2]
    assert anchored.loc[menu, 0] == 1
    with pytest.raises(FrameError, match="n=0"):
        demo.step_matrix(n=0)


def test_transitions_split_by_a_category(demo: SessionLog) -> None:
    """Split by outcome, the counts add up to those of the whole, and probabilities are within each outcome."""
    whole = demo.transitions().set_index(["source", "target"])["count"]
    table = demo.transitions(by="outcome")
    added = table.groupby(["source", "target"], observed=True)["count"].sum()
    assert added.sort_index().equals(whole.sort_index())
    assert table.groupby(["outcome", "source"], observed=True)["probability"].sum().round(9).eq(1).all()
    with pytest.raises(FrameError, match="by='mood'"):
        demo.transitions(by="mood")


def test_variants_are_limited_on_request(demo: SessionLog) -> None:
    """The top variants are the first of all, and their outcome shares are one whole."""
    top, everything = demo.variants(top=5), demo.variants(top=None)
    pd.testing.assert_frame_equal(top, everything.head(5))
    assert top.filter(like="share_").sum(axis=1).round(9).eq(1).all()
    assert demo.variants(top=None, collapse_repeats=False)["sessions"].sum() == len(demo)
    with pytest.raises(FrameError, match="top=0"):
        demo.variants(top=0)


def test_what_needs_actions_says_so() -> None:
    """Without ActionId every table about actions names the field."""
    log = session_log(make_log(4).drop(columns="ActionId"))
    for name in ("actions", "transitions", "variants", "loops", "step_matrix", "dtmf"):
        with pytest.raises(FrameError, match="needs ActionId"):
            getattr(log, name)()
    assert log.sessions()["n_actions"].isna().all()
    assert log.sessions()["last_action"].isna().all()
