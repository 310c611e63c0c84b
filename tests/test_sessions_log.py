"""The log: what session_log takes, and the tables sessions, exits, timeline, steps, completeness."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from insights_nb.errors import FrameError
from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log

COUNTS = """n_events n_steps n_actions n_flows n_exits n_dtmf n_no_input n_no_match n_errors n_repeats n_tied
variant"""
CATEGORIES = "flow entry_action last_action exit_action exit_reason exit_path outcome completeness"
EVENT_COLUMNS = "SessionId TimeStamp step offset gap EventName action exit_reason exit_path input flags"


@pytest.fixture(scope="module")
def log() -> SessionLog:
    frame = make_log(60, seed=3)
    return session_log(fetched(frame, DAY - 60, DAY + 7200))


def test_sessions_has_the_promised_columns(log: SessionLog) -> None:
    """The session table has every column of the reference, in its order and of its dtype."""
    table = log.sessions()
    assert table.index.name == "SessionId"
    assert table.index.is_monotonic_increasing
    dtypes = {name: str(dtype) for name, dtype in table.dtypes.items()}
    assert {dtypes[name] for name in COUNTS.split()} == {"int32"}
    assert {dtypes[name] for name in CATEGORIES.split()} == {"category"}
    assert len(dtypes) == len([*COUNTS.split(), *CATEGORIES.split()]) + 7
    assert {dtypes[name] for name in ("start", "end", "session_start_hint")} == {"datetime64[us, UTC]"}
    assert {dtypes[name] for name in ("duration", "max_gap")} == {"timedelta64[us]"}
    assert {dtypes[name] for name in ("has_trigger", "has_exit")} == {"bool"}
    assert list(table)[:4] == ["start", "end", "duration", "n_events"]


def test_sessions_counts_what_the_rows_say(log: SessionLog) -> None:
    """Counts per session equal plain group-bys of the frame."""
    frame, table = log.ledger.core.frame, log.sessions()
    by = frame.groupby("SessionId")
    assert (table["n_events"] == by.size()).all()
    assert (table["start"] == by["TimeStamp"].min()).all()
    assert (table["duration"] == by["TimeStamp"].max() - by["TimeStamp"].min()).all()
    for column, event in (("n_exits", "ApplicationExitEvent"), ("n_dtmf", "DtmfEvent")):
        assert (table[column] == frame["EventName"].eq(event).groupby(frame["SessionId"]).sum()).all()
    for column, words in (("n_no_input", "No Input"), ("n_no_match", "No Match"), ("n_errors", "Gateway")):
        assert (table[column] == frame["ErrorReason"].eq(words).groupby(frame["SessionId"]).sum()).all()
    assert (table["n_steps"] == table["n_exits"]).all()
    assert (table["session_start_hint"] == pd.to_datetime(table.index.str[:10].astype(int), unit="s", utc=True)).all()


def test_exits_counts_whole_sessions_only() -> None:
    """Shares are of complete and no_exit sessions, and attrs say what was left out."""
    frame = make_log(80, seed=1, span=1500)
    log = session_log(fetched(frame, DAY + 300, DAY + 1200))
    table = log.exits()
    kinds = log.sessions()["completeness"].value_counts()
    assert table["sessions"].sum() == kinds["complete"] + kinds["no_exit"] == table.attrs["counted"]
    assert table.attrs["left_out"] == {k: n for k, n in kinds.items() if n and k not in ("complete", "no_exit")} != {}
    assert table["share"].sum() == pytest.approx(1)
    assert table["sessions"].is_monotonic_decreasing
    assert str(table["median_duration"].dtype) == "timedelta64[us]"


def test_exits_by_anything_adds_up(log: SessionLog) -> None:
    """Whatever exits are split by, the sessions add up, and missing words are a row of their own."""
    for by in ("exit_reason", "exit_path", "exit_action", "last_action", "flow", "outcome", "completeness"):
        assert log.exits(by=by)["sessions"].sum() == len(log), by
    assert "(missing)" in log.exits(by="exit_path").index
    events = log.exits(level="event")
    assert events["exits"].sum() == log.ledger.core.is_exit.sum()
    assert (events["sessions"] <= len(log)).all()


def test_exits_over_time_uses_the_start(log: SessionLog) -> None:
    """A session belongs to the stretch of its start, and empty stretches between are zeros."""
    table = log.exits(freq="10min")
    assert table.index.is_monotonic_increasing
    assert table.index.to_series().diff().dropna().eq(pd.Timedelta("10min")).all()
    starts = log.sessions()["start"].dt.floor("10min").value_counts()
    assert (table.sum(axis=1) == starts.reindex(table.index, fill_value=0)).all()
    assert (table.dtypes == "int64").all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": "colour"}, "exits(by='colour')"),
        ({"level": "row"}, "level='row'"),
        ({"freq": "fortnightly"}, "freq='fortnightly'"),
        ({"by": "outcome", "level": "event"}, "exits(by='outcome')"),
    ],
)
def test_exits_refuses_what_it_does_not_know(log: SessionLog, arguments: dict[str, Any], words: str) -> None:
    """An argument that is not known is named, with what is."""
    with pytest.raises(FrameError) as caught:
        log.exits(**arguments)
    assert words in str(caught.value)
    assert caught.value.hint


def test_timeline_shows_a_session_in_order(log: SessionLog) -> None:
    """A timeline has one row per event with offsets, gaps and steps, and hides what was keyed in."""
    some = log.sessions().query("n_dtmf > 1").index[0]
    table = log.timeline(some)
    assert " ".join(map(str, table)) == EVENT_COLUMNS
    assert set(table["SessionId"]) == {some}
    assert table["offset"].is_monotonic_increasing
    assert table["offset"].iloc[0] == pd.Timedelta(0)
    assert table["gap"].isna().tolist() == [True] + [False] * (len(table) - 1)
    assert table["offset"].diff().iloc[1:].eq(table["gap"].iloc[1:]).all()
    assert set(table["input"].dropna()) == {"••••"}
    shown = session_log(log.ledger.core.frame, mask_input=False).timeline([some])["input"]
    assert set(shown.dropna()) == set(log.ledger.core.frame.query("SessionId == @some")["DtmfInput"].dropna())


def test_timeline_names_the_nearest_id(log: SessionLog) -> None:
    """A session that is not there is refused, with the nearest id that is."""
    some = str(log.sessions().index[5])
    with pytest.raises(FrameError, match="holds no session") as caught:
        log.timeline(some[:-1] + "Z")
    assert some in caught.value.hint


def test_steps_has_the_promised_columns(log: SessionLog) -> None:
    """The step table has every column of the reference and one row per visit."""
    table = log.steps()
    expected = {
        "SessionId": "str",
        "step": "int32",
        "flow": "category",
        "action": "category",
        "action_name": "category",
        "enter": "datetime64[us, UTC]",
        "leave": "datetime64[us, UTC]",
        "dwell": "timedelta64[us]",
        "dwell_source": "category",
        "n_events": "int32",
        "nth_visit": "int32",
        "exit_reason": "category",
        "exit_path": "category",
        "input_len": "Int16",
        "input_error": "category",
        "tied": "bool",
        "after_exit": "bool",
    }
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == expected
    exits = log.ledger.core.frame.query("EventName == 'ApplicationExitEvent'").sort_values(["SessionId", "TimeStamp"])
    assert (table["dwell"].to_numpy() == (exits["EndTime"] - exits["StartTime"]).to_numpy()).all()
    assert (table["enter"].to_numpy() == exits["StartTime"].to_numpy()).all()
    assert table["dwell_source"].eq("exit_event").all()
    assert table.groupby("SessionId").size().equals(log.sessions()["n_steps"].astype("int64").rename(None))


def test_dwell_without_start_times_is_the_time_since_the_last_exit() -> None:
    """An action seen only by its exit was entered when the one before it was left, and the first one's dwell is NA."""
    frame = make_log(20, seed=2)
    exits = frame[frame["EventName"] == "ApplicationExitEvent"].drop(columns=["StartTime", "EndTime"])
    table = session_log(exits).steps()
    first = table["step"] == 1
    assert table.loc[first, "dwell"].isna().all()
    assert table.loc[first, "dwell_source"].eq("none").all()
    gaps = exits.sort_values(["SessionId", "TimeStamp"]).groupby("SessionId")["TimeStamp"].diff()
    assert (table.loc[~first, "dwell"].to_numpy() == gaps.dropna().to_numpy()).all()


def test_dwell_of_exits_per_flow_is_not_the_flows() -> None:
    """Where one exit event tells of the flow, its StartTime is not taken for the last action's."""
    frame = make_log(20, seed=2, per="flow")
    log = session_log(frame)
    assert log.ledger.reading.exits == "flow"
    final = log.steps().groupby("SessionId").last()
    assert (final["dwell"] < pd.Timedelta("25s")).all()
    assert (final["leave"] == log.sessions()["end"]).all()


def test_completeness_lists_every_kind(log: SessionLog) -> None:
    """Every kind of completeness has a row, in fixed order, and they add up to all sessions."""
    table = log.completeness()
    assert table["sessions"].sum() == len(log)
    assert table.index[0] == "complete"
    assert len(table) == 8
    assert "per action" in table.attrs["rule"]


def test_select_keeps_decisions_and_whole_sessions(log: SessionLog) -> None:
    """A selection by mask, ids or columns is of whole sessions, and equals the rows of the whole log's tables."""
    table = log.sessions()
    chosen = table["n_steps"] > 6
    for part in (log.select(chosen), log.select(table.index[chosen]), log.select(n_steps=lambda n: n > 6)):
        pd.testing.assert_frame_equal(
            part.sessions().drop(columns="variant"), table[chosen].drop(columns="variant"), check_categorical=False
        )
        assert part.ledger.reading is log.ledger.reading
        steps = log.steps()
        kept = steps[steps["SessionId"].isin(table.index[chosen])].reset_index(drop=True)
        pd.testing.assert_frame_equal(part.steps(), kept)
    assert len(log.select(entry_action="INBOUND_CALL_1", completeness=["complete"])) == len(log)
    assert len(log.select([])) == 0


def test_select_refuses_columns_and_ids_it_does_not_have(log: SessionLog) -> None:
    """A column or an id that is not there is named."""
    with pytest.raises(FrameError, match="no column 'mood'"):
        log.select(mood="good")
    with pytest.raises(FrameError, match="holds no session 'x'"):
        log.select("x")
    with pytest.raises(FrameError, match="the mask has 2 values"):
        log.select(np.array([True, False]))


def test_outcomes_follow_the_rules(log: SessionLog) -> None:
    """A rule classifies by reason, path or last action; what none fits is unclassified; nothing is by default."""
    assert set(log.sessions()["outcome"]) == {"unclassified"}
    rules = OutcomeRules({"done": {"last_action": "END_CALL", "exit_reason": "Call Successful"}})
    ruled = session_log(log.ledger.core.frame, rules=rules)
    assert set(ruled.sessions()["outcome"]) == {"done"}
    assert list(ruled.exits(by="outcome").index) == ["done"]


def test_the_frame_is_never_changed() -> None:
    """Reading a frame leaves it as it was, and later changes to it do not reach the log."""
    frame = make_log(10)
    before = frame.copy(deep=True)
    log = session_log(frame)
    table = log.sessions()
    pd.testing.assert_frame_equal(frame, before)
    frame.loc[:, "SessionId"] = "x"
    pd.testing.assert_frame_equal(session_log(before).sessions(), table)
    assert len(log.timeline(table.index[0])) == table["n_events"].iloc[0]


def test_a_table_handed_out_is_the_users_own(log: SessionLog) -> None:
    """Changing a returned table does not change the next one."""
    first = log.sessions()
    first["start"] = pd.NaT
    del first["end"]
    assert log.sessions()["start"].notna().all()
    assert "end" in log.sessions()


def test_only_a_session_column_is_needed() -> None:
    """With nothing but session ids the log counts events, and the rest is NA, not an error."""
    log = session_log(pd.DataFrame({"SessionId": ["a", "b", "a", None, " "]}))
    table = log.sessions()
    assert table["n_events"].to_dict() == {"a": 2, "b": 1}
    for name in ("start", "n_steps", "n_exits", "n_errors", "has_exit", "has_trigger", "exit_reason", "variant"):
        assert table[name].isna().all(), name
    assert str(table["n_steps"].dtype) == "Int32"
    with pytest.raises(FrameError, match="needs TimeStamp") as caught:
        log.timeline("a")
    assert '"TimeStamp"' in caught.value.hint


def test_exit_events_without_times_can_be_counted() -> None:
    """Exit reasons can be counted by event without a time; by session that needs one, and the field is named."""
    frame = pd.DataFrame({"SessionId": ["a", "a", "b"], "ExitReason": ["Normal", "Busy", "Busy"]})
    log = session_log(frame)
    assert log.exits(level="event")["exits"].to_dict() == {"Busy": 2, "Normal": 1}
    assert log.exits(level="event")["sessions"].to_dict() == {"Busy": 2, "Normal": 1}
    with pytest.raises(FrameError, match="needs TimeStamp"):
        log.exits()


def test_a_missing_field_is_named_with_the_query_entry() -> None:
    """A field the frame lacks is named together with the entry to add to the query."""
    with pytest.raises(FrameError, match="needs SessionId") as caught:
        session_log(pd.DataFrame({"TimeStamp": []}))
    assert "session_log(df, session=...)" in caught.value.hint
    log = session_log(make_log(5).drop(columns="ExitReason"))
    with pytest.raises(FrameError, match="needs ExitReason") as caught:
        log.exits()
    assert '"ApplicationExitEvent": {"fields": [..., "ExitReason"]}' in caught.value.hint
    assert log.sessions()["exit_reason"].isna().all()


def test_columns_can_be_renamed() -> None:
    """Columns of other names give the same tables."""
    frame = make_log(12)
    names = {
        "SessionId": "sid",
        "TimeStamp": "at",
        "ActionId": "what",
        "FlowId": "which",
        "EventName": "kind",
        "IsTriggerAction": "starts",
    }
    renamed = session_log(
        frame.rename(columns=names),
        session="sid",
        time="at",
        action="what",
        flow="which",
        event="kind",
        trigger="starts",
    )
    pd.testing.assert_frame_equal(renamed.sessions(), session_log(frame).sessions())


@pytest.mark.parametrize("choice", ["missing", "duplicates", "ties", "steps", "exits"])
def test_unknown_choices_are_refused(choice: str) -> None:
    """A choice that is not known is refused with the known ones."""
    given: dict[str, Any] = {choice: "whatever"}
    with pytest.raises(FrameError, match=f"{choice}='whatever'"):
        session_log(make_log(2), **given)


def test_frames_by_event_are_joined() -> None:
    """A mapping of event name to frame gives the same log as one frame, whichever columns each has."""
    frame = make_log(15)
    parts = {
        str(name): part.drop(columns="EventName").dropna(axis=1, how="all").reset_index(drop=True)
        for name, part in frame.groupby("EventName", sort=False)
    }
    pd.testing.assert_frame_equal(session_log(parts, ties="canonical").sessions(), session_log(frame).sessions())


def test_frames_of_several_queries_share_their_window() -> None:
    """Frames fetched one event at a time for the same window are read like one query for all of them."""
    frame = make_log(60, seed=3)
    whole = session_log(fetched(frame, DAY + 300, DAY + 2000), ties="canonical")
    parts = {}
    for name, part in frame.groupby("EventName", sort=False):
        parts[str(name)] = fetched(part, DAY + 300, DAY + 2000, events=(str(name),))
    log = session_log(parts, ties="canonical")
    assert log.ledger.reading.window == whole.ledger.reading.window
    pd.testing.assert_frame_equal(log.sessions(), whole.sessions())
    kept = parts["CallEvent"].attrs
    parts["CallEvent"] = parts["CallEvent"].iloc[1:]
    parts["CallEvent"].attrs = kept
    assert not session_log(parts).ledger.reading.window.known
    parts["CallEvent"] = fetched(frame, DAY, DAY + 2000, events=("CallEvent",))
    assert "nothing on the frame says" in session_log(parts, duplicates="drop").ledger.reading.window.why


def test_plain_frames_give_no_warning() -> None:
    """An ordinary frame is read without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log = session_log(make_log(5))
    assert repr(log) == f"<SessionLog: 5 sessions, {log.sessions()['n_events'].sum()} events, {len(log.steps())} steps>"


def test_empty_frames_give_typed_empty_tables() -> None:
    """An empty frame gives empty tables with every column and the same dtypes."""
    full = session_log(make_log(5))
    empty = session_log(make_log(5).iloc[:0])
    for name in ("sessions", "steps", "exits", "completeness"):
        ours, theirs = getattr(empty, name)(), getattr(full, name)()
        assert ours.dtypes.astype(str).to_dict() == theirs.dtypes.astype(str).to_dict(), name
    assert len(empty.exits(freq="1h")) == 0
    assert empty.completeness()["sessions"].sum() == 0
    assert len(session_log(pd.DataFrame({"SessionId": []})).sessions()) == 0


def test_frames_of_the_arrow_backend_give_the_same_tables() -> None:
    """A frame as query(dtype_backend="pyarrow") gives it is read like any other."""
    frame = make_log(40, seed=6)
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)
    one, two = session_log(frame), session_log(arrow)
    for name in ("sessions", "steps", "exits", "actions", "transitions", "variants", "loops", "dtmf", "quality"):
        pd.testing.assert_frame_equal(getattr(one, name)(), getattr(two, name)(), obj=name)
    some = frame["SessionId"].iloc[0]
    pd.testing.assert_frame_equal(one.timeline(some), two.timeline(some))
    assert two.plot.timeline(some, ax=Figure().subplots()).get_title(loc="left")
