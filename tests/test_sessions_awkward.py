"""Every awkward case of the design's table: what is done, and that quality() says so."""

import warnings
from typing import Any

import pandas as pd
import pytest

from insights_nb.errors import FrameError
from insights_nb.sessions import SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log, session_id

A, B = session_id(DAY + 100, 1), session_id(DAY + 200, 2)
EXIT, DTMF, CALL = "ApplicationExitEvent", "DtmfEvent", "CallEvent"


def frame_of(*rows: tuple[Any, ...], **columns: Any) -> pd.DataFrame:
    """Events written as (session, second after DAY, event, action), plus whole columns."""
    frame = pd.DataFrame(rows, columns=["SessionId", "TimeStamp", "EventName", "ActionId"])
    frame["TimeStamp"] = pd.to_datetime(DAY + frame["TimeStamp"], unit="s", utc=True).astype("datetime64[us, UTC]")
    return frame.assign(FlowId="f", **columns)


def finding(log: SessionLog, check: str) -> tuple[int, str]:
    row: Any = log.quality().loc[check]
    return int(row["count"]), str(row["finding"])


def whole(frame: pd.DataFrame, **options: Any) -> SessionLog:
    return session_log(frame, window=("2023-11-14", "2023-11-16"), **options)


def test_rows_without_a_session_are_left_out() -> None:
    """Missing, empty and blank session ids make no session, and can be refused."""
    frame = frame_of((A, 100, CALL, "X"), (None, 101, CALL, "X"), ("", 102, CALL, "X"), ("  ", 103, CALL, "X"))
    log = whole(frame)
    assert list(log.sessions().index) == [A]
    assert finding(log, "rows without SessionId")[0] == 3
    with pytest.raises(FrameError, match="3 of 4 rows have no session id, the first of them row 1"):
        session_log(frame, missing="raise")


def test_rows_without_a_time_are_counted_not_ordered() -> None:
    """A row without a time counts as an event and appears in nothing that is ordered."""
    frame = frame_of((A, 100, CALL, "X"), (A, 101, EXIT, "Y"), (B, 200, CALL, "X"))
    frame.loc[[1, 2], "TimeStamp"] = pd.NaT
    log = whole(frame)
    assert log.sessions()["n_events"].tolist() == [2, 1]
    assert log.sessions()["n_steps"].tolist() == [1, 0]
    assert log.sessions()["start"].isna().tolist() == [False, True]
    assert len(log.timeline([A, B])) == 1
    assert finding(log, "rows without TimeStamp")[0] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2023-15-11 00:00:00 UTC", "read as year-month-day"),
        ("yesterday UTC", "is not a time in row 1"),
        ("2023-11-15 00:00:00", "without a zone, first in row 1"),
    ],
)
def test_times_are_never_guessed(text: str, words: str) -> None:
    """A month above 12, a word, or a time without a zone is refused with its row, not guessed at."""
    frame = pd.DataFrame({"SessionId": [A, A], "TimeStamp": ["2023-11-15 00:00:00.25 UTC", text]})
    with pytest.raises(FrameError, match="TimeStamp") as caught:
        session_log(frame)
    assert words in str(caught.value)
    assert caught.value.hint


def test_naive_datetimes_and_numbers_are_refused() -> None:
    """Times without a zone and plain numbers are refused, with the line that mends them."""
    frame = frame_of((A, 100, CALL, "X"))
    with pytest.raises(FrameError, match="times without a zone") as caught:
        session_log(frame.assign(TimeStamp=frame["TimeStamp"].dt.tz_localize(None)))
    assert 'tz_localize("UTC")' in caught.value.hint
    with pytest.raises(FrameError, match="times without a zone"):
        session_log(frame.assign(TimeStamp=frame["TimeStamp"].dt.tz_localize(None).astype("timestamp[us][pyarrow]")))
    with pytest.raises(FrameError, match="integer values"):
        session_log(frame.assign(TimeStamp=[1]))
    with pytest.raises(FrameError, match="without a zone"):
        session_log(frame.assign(TimeStamp=[pd.Timestamp("2023-11-15").to_pydatetime()]).astype({"TimeStamp": object}))


def test_the_input_order_is_never_trusted() -> None:
    """Rows out of order are sorted, and counted."""
    frame = make_log(10, seed=1)
    log = whole(frame.iloc[::-1])
    assert log.transitions().equals(whole(frame).transitions())
    assert finding(whole(frame), "rows out of order")[0] == 0
    assert finding(log, "rows out of order")[0] > 50


def test_ties_put_the_trigger_first_and_the_last_exit_last() -> None:
    """In the first instant the trigger comes first, in the last the exit comes last, and nowhere else."""
    frame = frame_of(
        (A, 100, CALL, "MENU"),
        (A, 100, CALL, "IN"),
        (A, 150, EXIT, "MENU"),
        (A, 150, CALL, "SUB"),
        (A, 200, EXIT, "END"),
        (A, 200, CALL, "END"),
        IsTriggerAction=[False, True, False, True, False, False],
    )
    log = whole(frame)
    assert log.timeline(A)["action"].astype("str").tolist() == ["IN", "MENU", "MENU", "SUB", "END", "END"]
    assert log.timeline(A)["EventName"].iloc[-1] == EXIT
    assert log.timeline(A)["flags"].str.contains("tied").all()
    assert log.sessions()["n_tied"].tolist() == [6]
    assert finding(log, "tied rows")[0] == 6
    assert finding(log, "sessions with ties")[0] == 1
    assert finding(log, "transitions resting on a tie")[0] == 2


def test_canonical_ties_do_not_depend_on_the_shards() -> None:
    """With canonical ties any order of the rows gives the same order of events; with input ties it may not."""
    frame = frame_of((A, 100, CALL, "X"), (A, 150, CALL, "Z"), (A, 150, CALL, "Y"), (A, 200, CALL, "X"))
    orders = {
        ties: {tuple(whole(part, ties=ties).timeline(A)["action"].astype("str")) for part in (frame, frame.iloc[::-1])}
        for ties in ("input", "canonical")
    }
    assert orders["canonical"] == {("X", "Y", "Z", "X")}
    assert len(orders["input"]) == 2


def test_rows_of_one_execution_stay_together() -> None:
    """Where times are equal, rows of one TransactionId are one visit and its exit row is the last of them."""
    frame = frame_of(
        (A, 100, CALL, "IN"),
        (A, 110, EXIT, "MENU"),
        (A, 110, DTMF, "MENU"),
        (A, 110, CALL, "DIAL"),
        (A, 120, EXIT, "DIAL"),
        TransactionId=["t1", "t2", "t2", "t3", "t3"],
    )
    steps = whole(frame.iloc[[3, 1, 2, 0, 4]]).steps()
    assert steps["action"].astype("str").tolist() == ["IN", "MENU", "DIAL"]
    assert steps["n_events"].tolist() == [1, 2, 2]


@pytest.mark.parametrize("per", ["action", "flow"])
@pytest.mark.parametrize("seed", range(4))
def test_exactly_the_cut_sessions_are_found(per: str, seed: int) -> None:
    """Under both readings of exit events the sessions cut by a window are found, these and no others."""
    frame = make_log(150, seed=seed, per=per)
    cut = fetched(frame, DAY + 900, DAY + 2700)
    log = session_log(cut)
    assert log.ledger.reading.exits == per
    sizes, held = frame.groupby("SessionId").size(), log.sessions()["n_events"]
    lacking = sizes.reindex(held.index) > held
    kinds = log.sessions()["completeness"].astype("str")
    assert set(kinds[lacking]) <= {"cut_start", "cut_end", "cut_both"}
    assert set(kinds[~lacking]) == {"complete"}
    assert lacking.sum() > 1
    count, words = finding(log, "sessions cut at the window's start")
    assert count == kinds.isin(["cut_start", "cut_both"]).sum()
    assert "before your window; widen it to" in words


def test_a_cut_session_has_no_false_start_or_end() -> None:
    """(start) and (end) are counted only where they are known."""
    log = session_log(fetched(make_log(150, seed=1), DAY + 900, DAY + 2700))
    kinds = log.sessions()["completeness"].value_counts()
    table = log.transitions()
    starts = table.loc[table["source"] == "(start)", ["target", "count"]]
    assert starts["target"].astype("str").tolist() == ["INBOUND_CALL_1"]
    assert starts["count"].sum() == len(log) - kinds["cut_start"] - kinds["cut_both"]
    ends = table.loc[table["target"] == "(end)", "count"].sum()
    assert ends == len(log) - kinds["cut_end"] - kinds["cut_both"]


def test_session_ids_without_a_start_fall_back_to_the_edge() -> None:
    """Ids whose digits are no start time are not believed, and the window's edge decides instead."""
    frame = make_log(80, seed=2)
    for ids in (frame["SessionId"].str.slice(11), "17" + frame["SessionId"].str.slice(2, 4) + frame["SessionId"]):
        log = session_log(fetched(frame.assign(SessionId=ids), DAY + 900, DAY + 2700))
        assert not log.ledger.reading.epoch
        assert log.sessions()["session_start_hint"].isna().all()
        assert "not in the session ids" in finding(log, "rule used")[1]
        kinds = log.sessions()["completeness"].value_counts()
        assert kinds["cut_start"] > 0
        assert kinds["complete"] > 20


def test_exit_reading_can_be_given() -> None:
    """The reading of exit events and the end actions can be given, and quality() says that they were."""
    frame = make_log(40, seed=3)
    log = whole(frame, exits="flow", end_actions=["END_CALL"])
    assert log.ledger.reading.exits == "flow"
    assert "as you said" in finding(log, "exit events")[1]
    assert finding(log, "end actions") == (1, "END_CALL (you named them)")
    assert whole(frame).actions()["drop_off"].to_dict()["END_CALL"] == 1
    assert pd.isna(log.actions()["drop_off"].to_dict()["END_CALL"])


def test_without_exit_events_ends_are_unknown() -> None:
    """If exit events were not fetched, no session is called complete, and the message says what to add."""
    frame = make_log(20)
    log = session_log(fetched(frame[frame["EventName"] != EXIT], DAY - 60, DAY + 9000, events=(DTMF, CALL)))
    assert set(log.sessions()["completeness"]) == {"unknown"}
    assert "ApplicationExitEvent is not among the events" in finding(log, "sessions of unknown completeness")[1]
    assert log.exits()["sessions"].sum() == len(log)


def test_a_session_that_falls_silent_has_no_exit() -> None:
    """A session without a last exit that is silent long before the window's end is over; near the end it is cut."""
    frame = make_log(30, seed=4)
    name = frame["SessionId"].iloc[0]
    own = frame[frame["SessionId"] == name]
    key = own.index[own["EventName"] == DTMF][-1]
    frame = frame.drop(index=own.index[own.index > key])
    log = session_log(fetched(frame, DAY - 60, DAY + 9000))
    assert log.sessions().loc[name, "completeness"] == "no_exit"
    assert log.sessions().loc[name, "outcome"] == "unknown"
    assert pd.isna(log.sessions().loc[name, "exit_reason"])
    assert finding(log, "sessions no_exit")[0] == 1
    assert finding(log, "sessions without a last exit")[0] == 1
    near = int(frame.loc[frame["SessionId"] == name, "TimeStamp"].max().timestamp()) + 30
    assert session_log(fetched(frame, DAY - 60, near)).sessions().loc[name, "completeness"] == "cut_end"


def test_a_missing_trigger_is_not_a_cut() -> None:
    """A session that began inside the window but lost its trigger row is no_trigger, and not counted in rates."""
    frame = make_log(30, seed=5)
    name = frame["SessionId"].iloc[3]
    lost = (frame["SessionId"] == name) & frame["IsTriggerAction"]
    log = session_log(fetched(frame[~lost], DAY - 60, DAY + 9000))
    assert log.sessions()["completeness"].value_counts().loc["no_trigger"] == 1
    assert log.sessions().loc[name, "completeness"] == "no_trigger"
    assert log.exits().attrs["left_out"] == {"no_trigger": 1}
    assert finding(log, "sessions no_trigger")[0] == 1


def test_filters_make_completeness_unknown() -> None:
    """A query with filters may lack single events: one warning, and completeness is unknown."""
    cut = fetched(make_log(20), DAY - 60, DAY + 9000, filters={EXIT: {"ExitReason": {"$eq": "Normal"}}})
    with pytest.warns(UserWarning, match="completeness is unknown") as caught:
        log = session_log(cut)
    assert len(caught) == 1
    assert set(log.sessions()["completeness"]) == {"unknown (filtered)"}
    assert log.exits()["sessions"].sum() == len(log)
    assert "filters" in finding(log, "sessions of unknown completeness")[1]


def test_a_frame_filtered_since_has_no_window() -> None:
    """Rows taken away after the query make the window unknown, and quality() says why."""
    cut = fetched(make_log(30), DAY - 60, DAY + 9000)
    log = session_log(cut[cut["EventName"] != CALL])
    assert not log.ledger.reading.window.known
    assert "it was filtered since" in finding(log, "rule used")[1]
    with pytest.raises(FrameError, match="filtered since"):
        log.suggest_window()
    bare = session_log(make_log(30))
    assert "pass window=(start, end)" in finding(bare, "rule used")[1]
    assert session_log(make_log(30), window="data").ledger.reading.window.known


@pytest.mark.parametrize("window", [("a", "b"), 5, ("2023-11-15",), ("2023-11-16", "2023-11-15"), (None, None)])
def test_a_window_must_be_two_times(window: Any) -> None:
    """A window that is no pair of times in order is refused with an example."""
    with pytest.raises(FrameError, match="window"):
        session_log(make_log(3), window=window)


def test_the_suggested_window_makes_cut_sessions_whole() -> None:
    """Fetching again with the suggested window, every session that was cut is complete."""
    frame = make_log(200, seed=6, span=7200)
    first = session_log(fetched(frame, DAY + 2000, DAY + 4000))
    cut = first.sessions().index[first.sessions()["completeness"].astype("str").str.startswith("cut")]
    assert len(cut) > 3
    window = first.suggest_window()
    assert all(len(edge) == 20 and edge.endswith("Z") for edge in window.values())
    again = session_log(fetched(frame, *(pd.Timestamp(edge) for edge in window.values())))
    assert again.sessions().loc[cut, "completeness"].eq("complete").all()
    counted = again.starting_in(DAY_TEXT(2000), DAY_TEXT(4000))
    assert counted.sessions()["completeness"].eq("complete").all()
    following = again.starting_in(DAY_TEXT(4000), DAY_TEXT(6000))
    assert not set(counted.sessions().index) & set(following.sessions().index)


def DAY_TEXT(second: int) -> str:  # noqa: N802 - reads like the constant it is derived from
    """A time of the log's day as the API writes it."""
    return f"{pd.Timestamp(DAY + second, unit='s'):%Y-%m-%dT%H:%M:%SZ}"


def test_half_open_chunks_count_each_row_once() -> None:
    """Two windows that share their boundary second give it twice, and copies with a TransactionId are dropped."""
    frame = make_log(60, seed=7, whole_seconds=True)
    middle = frame["TimeStamp"].iloc[len(frame) // 2]
    halves = [frame[frame["TimeStamp"] <= middle], frame[frame["TimeStamp"] >= middle]]
    log = whole(pd.concat(halves, ignore_index=True), ties="canonical")
    assert log.sessions().equals(whole(frame, ties="canonical").sessions())
    assert finding(log, "duplicated rows dropped")[0] == (frame["TimeStamp"] == middle).sum()
    assert "half-open" in finding(log, "duplicated rows dropped")[1]


def test_equal_rows_without_a_transaction_may_be_real() -> None:
    """A key pressed twice in a second looks like a copy: kept with a warning, dropped when told to."""
    frame = frame_of((A, 100, CALL, "X"), (A, 110, DTMF, "MENU"), (A, 110, DTMF, "MENU"))
    with pytest.warns(UserWarning, match="1 rows equal another row in every column"):
        log = whole(frame)
    assert log.sessions()["n_events"].tolist() == [3]
    assert finding(log, "duplicated rows suspected")[0] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert whole(frame, duplicates="drop").sessions()["n_events"].tolist() == [2]
        assert whole(frame, duplicates="keep").sessions()["n_events"].tolist() == [3]


def test_an_equal_transaction_alone_is_no_copy() -> None:
    """Rows of one execution that differ in any column are all kept."""
    frame = frame_of((A, 100, DTMF, "M"), (A, 100, DTMF, "M"), TransactionId="t", DtmfInput=["1", "2"])
    assert whole(frame).sessions()["n_events"].tolist() == [2]


def test_sessions_may_span_flows() -> None:
    """An action of two flows is two nodes, labelled with the flow's latest name, and edges between flows are jumps."""
    frame = frame_of((A, 100, CALL, "IN"), (A, 110, CALL, "END"), (A, 120, CALL, "END"), (B, 300, CALL, "IN")).assign(
        FlowId=["f1", "f1", "f2", "f1"], FlowName=["Old name", "Old name", "Chat", "New name"]
    )
    log = whole(frame)
    assert log.sessions()["n_flows"].tolist() == [2, 1]
    assert log.sessions()["flow"].astype("str").tolist() == ["New name", "New name"]
    table = log.transitions(ends=False)
    jump = table[table["jump"]].iloc[0]
    assert (str(jump["source"]), str(jump["target"])) == ("New name ▸ END", "Chat ▸ END")
    assert finding(log, "sessions of several flows")[0] == 1
    assert set(whole(frame[frame["FlowId"] == "f1"]).actions().index) == {"IN", "END"}


def test_two_flows_of_one_name_are_told_apart() -> None:
    """Flows that share a name keep separate labels."""
    frame = frame_of((A, 100, CALL, "IN"), (A, 110, CALL, "IN")).assign(FlowId=["f1", "f2"], FlowName="Same")
    assert sorted(whole(frame).actions().index) == ["Same (f1) ▸ IN", "Same (f2) ▸ IN"]


def test_events_after_the_end_are_kept_apart() -> None:
    """Steps after a session's end are in the timeline and the steps, but are not its last action."""
    frame = frame_of(
        (A, 100, CALL, "IN"), (A, 110, CALL, "END"), (A, 120, EXIT, "END"), (A, 125, CALL, "HANDLER"), ExitReason="Done"
    )
    for options in ({"exits": "flow"}, {"exits": "action", "end_actions": ["END"]}):
        log = whole(frame, **options)
        row = log.sessions().iloc[0]
        assert (row["last_action"], row["exit_action"], row["exit_reason"]) == ("END", "END", "Done")
        assert log.steps()["after_exit"].tolist() == [False, False, True]
        assert log.timeline(A)["flags"].iloc[-1] == "after exit"
        assert "HANDLER" not in log.actions().index
        assert "HANDLER" not in set(log.transitions()["target"])
        assert finding(log, "steps after the end")[0] == 1


def test_the_last_exit_by_end_time_decides() -> None:
    """Of several exits the one with the latest EndTime tells how the session ended, and all are counted."""
    at = pd.to_datetime([DAY + 115, DAY + 130, DAY + 120], unit="s", utc=True)
    frame = frame_of(
        (A, 110, EXIT, "X"), (A, 120, EXIT, "Y"), (A, 121, EXIT, "Z"), EndTime=at, ExitReason=["1", "2", "3"]
    )
    row = whole(frame, exits="action").sessions().iloc[0]
    assert (row["exit_action"], row["exit_reason"], row["n_exits"]) == ("Y", "2", 3)
    assert finding(whole(frame), "sessions with several exits")[0] == 1


def test_impossible_times_are_kept_and_not_counted() -> None:
    """An EndTime before its StartTime stays as it is in steps, and out of dwell figures."""
    frame = make_log(30, seed=8)
    exits = frame.index[frame["EventName"] == EXIT]
    frame.loc[exits[5], "EndTime"] = frame.loc[exits[5], "StartTime"] - pd.Timedelta("50s")
    frame.loc[exits[9], "StartTime"] = frame.loc[exits[9], "StartTime"] - pd.Timedelta("2D")
    log = whole(frame)
    dwell = log.steps()["dwell"]
    assert dwell.min() == -pd.Timedelta("50s")
    assert dwell.max() > pd.Timedelta("2D")
    assert log.actions()["p95_time"].max() < pd.Timedelta("1min")
    assert finding(log, "impossible times")[0] == 2


def test_a_session_of_one_event_is_kept() -> None:
    """A session of a single event lasts no time, and is counted and reported."""
    log = whole(frame_of((A, 100, EXIT, "X"), (B, 200, CALL, "X"), (B, 230, CALL, "Y")))
    assert log.sessions()["duration"].tolist() == [pd.Timedelta(0), pd.Timedelta("30s")]
    assert log.sessions()["max_gap"].isna().tolist() == [True, False]
    assert finding(log, "sessions of one step")[0] == 1


def test_very_long_sessions_are_not_split() -> None:
    """A session that pauses for days is one session."""
    log = whole(frame_of((A, 100, CALL, "X"), (A, 300_000, CALL, "X")))
    assert log.sessions()["duration"].tolist() == [pd.Timedelta(seconds=299_900)]
    assert log.sessions()["n_steps"].tolist() == [1]


@pytest.mark.parametrize("events", [(EXIT, DTMF, CALL), (EXIT,)])
def test_events_are_inferred_when_their_name_is_lacking(events: tuple[str, ...]) -> None:
    """Without EventName a row is what its own fields say, or the query's only event, and quality() says so."""
    frame = make_log(30, seed=9)
    frame = frame[frame["EventName"].isin(events)]
    bare = fetched(frame, DAY - 60, DAY + 9000, events=events)
    note = bare.attrs["insights"]
    bare = bare.drop(columns="EventName")
    bare.attrs["insights"] = note
    log = session_log(bare)
    same = ["n_exits", "exit_reason", "n_steps"]
    assert log.sessions()[same].equals(session_log(fetched(frame, DAY - 60, DAY + 9000)).sessions()[same])
    words = finding(log, "events")[1]
    assert ("inferred" if len(events) > 1 else "had one event") in words


def test_unknown_events_are_said_to_be_unknown() -> None:
    """Without EventName and without own fields nothing is inferred, and counts that need it are NA."""
    frame = make_log(5)[["SessionId", "TimeStamp", "ActionId"]]
    log = session_log(frame)
    assert log.sessions()["n_exits"].isna().all()
    assert "ask for EventName" in finding(log, "events")[1]
    count, words = finding(log, "columns that cannot be told")
    assert count > 3
    assert "IsTriggerAction" in words


@pytest.mark.parametrize("yes", ["TRUE", "true", "t", "1", True, 1])
def test_booleans_may_be_spelt_any_way(yes: Any) -> None:
    """A trigger flag in any spelling is read; empty or strange ones count as not a trigger and are reported."""
    frame = frame_of((A, 100, CALL, "X"), (A, 110, CALL, "Y"), (A, 120, CALL, "Z"))
    frame["IsTriggerAction"] = pd.Series([yes, None, "maybe"], dtype=object)
    log = whole(frame)
    assert log.sessions()["has_trigger"].tolist() == [True]
    assert finding(log, "trigger flags unreadable")[0] == 2


def test_a_jump_into_a_flow_is_no_beginning() -> None:
    """A trigger in mid-session, as after Jump To, does not make a session that began before the window whole."""
    frame = make_log(60, seed=10)
    name = frame["SessionId"].iloc[0]
    rows = frame.index[frame["SessionId"] == name]
    frame.loc[rows[3:], "IsTriggerAction"] = True
    start = frame.loc[rows[3], "TimeStamp"].floor("s")
    log = session_log(fetched(frame, start, DAY + 9000))
    assert log.sessions().loc[name, "has_trigger"]
    assert log.sessions().loc[name, "completeness"] == "cut_start"


def test_missing_words_in_actions_are_a_node_of_their_own() -> None:
    """Rows without an ActionId neither vanish nor join another action."""
    log = whole(frame_of((A, 100, CALL, "X"), (A, 110, CALL, None), (A, 120, CALL, "X")))
    assert log.steps()["action"].astype("str").tolist() == ["X", "(missing)", "X"]
