"""Laws that hold for every log: what must not matter does not, and what must add up does."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import given as of
from hypothesis import strategies as st

from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log, session_id

TABLES = ("sessions", "steps", "actions", "transitions", "variants", "loops", "exits", "completeness", "quality")
RULES = OutcomeRules({"completed": "Busy", "transferred": "Normal"})
slow = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def logs(draw: st.DrawFn, *, ties: bool = True) -> pd.DataFrame:
    """Any log of a few sessions: sparse columns, odd orders, equal times if ``ties``."""
    count = draw(st.integers(0, 40))
    rows = []
    for number in range(count):
        session = draw(st.integers(0, 5))
        event = draw(st.sampled_from(["ApplicationExitEvent", "DtmfEvent", "CallEvent"]))
        leaves, keyed = event == "ApplicationExitEvent", event == "DtmfEvent"
        second = draw(st.integers(0, 60)) if ties else number * 7 % 61
        rows.append(
            {
                "SessionId": session_id(DAY + session, session),
                "TimeStamp": DAY + session + second,
                "EventName": event,
                "FlowId": draw(st.sampled_from(["f1", "f1", "f2"])),
                "ActionId": draw(st.sampled_from(["A", "B", "C", "END"])),
                "IsTriggerAction": draw(st.booleans()),
                "TransactionId": draw(st.sampled_from(["t1", "t2", "t3", None])),
                "ExitReason": draw(st.sampled_from(["Normal", "Busy", None])) if leaves else None,
                "EndTime": DAY + draw(st.integers(0, 70)) if leaves else None,
                "DtmfInput": draw(st.sampled_from(["1", "0012", None])) if keyed else None,
                "ErrorReason": draw(st.sampled_from(["No Input", "No Match", "Odd", None])) if keyed else None,
            }
        )
    names = (
        "SessionId TimeStamp EventName FlowId ActionId IsTriggerAction TransactionId ExitReason EndTime DtmfInput "
        "ErrorReason"
    )
    frame = pd.DataFrame(rows, columns=names.split())
    for name in ("TimeStamp", "EndTime"):
        frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="s", utc=True).astype("datetime64[us, UTC]")
    frame["IsTriggerAction"] = frame["IsTriggerAction"].astype("boolean")
    texts = [name for name in frame if frame[name].dtype == object]
    return frame.astype(dict.fromkeys(texts, "str"))


def read(frame: pd.DataFrame, **options: Any) -> SessionLog:
    given: dict[str, Any] = {"duplicates": "drop", "rules": RULES, "window": (DAY - 100, DAY + 10_000)}
    given |= options
    given["window"] = tuple(pd.Timestamp(edge, unit="s", tz="UTC") for edge in given["window"])
    return session_log(frame, **given)


def plain(table: Any, quantiles: bool = True) -> Any:
    """The table with words for categories and microseconds for times, so that only values are compared."""
    out = table.copy()
    for name in out:
        kind = out[name].dtype
        if isinstance(kind, pd.CategoricalDtype):
            out[name] = out[name].astype("str")
        elif kind.kind == "m":
            out[name] = out[name].astype("timedelta64[us]")
        elif isinstance(kind, pd.DatetimeTZDtype):
            out[name] = out[name].dt.as_unit("us")
    return out if quantiles else out[[name for name in out if not str(name).startswith(("median", "p95"))]]


def same(one: SessionLog, two: SessionLog, leave: tuple[str, ...] = (), quantiles: bool = True) -> None:
    """Every table of the two logs is equal."""
    for name in TABLES:
        if name not in leave:
            ours, theirs = (plain(getattr(log, name)(), quantiles) for log in (one, two))
            pd.testing.assert_frame_equal(ours, theirs, obj=name)


@slow
@of(logs(), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(frame: pd.DataFrame, random: Any) -> None:
    """With canonical ties a shuffled frame gives the same tables, however many times are equal."""
    order = list(range(len(frame)))
    random.shuffle(order)
    same(read(frame, ties="canonical"), read(frame.iloc[order], ties="canonical"), leave=("quality",))


@slow
@of(logs(ties=False), st.randoms(use_true_random=False))
def test_row_order_does_not_matter_without_ties(frame: pd.DataFrame, random: Any) -> None:
    """Where no session has equal times a shuffled frame gives the same tables under either rule."""
    frame = frame.drop_duplicates(["SessionId", "TimeStamp"])
    order = list(range(len(frame)))
    random.shuffle(order)
    same(read(frame), read(frame.iloc[order]), leave=("quality",))


@slow
@of(logs())
def test_names_of_sessions_do_not_matter(frame: pd.DataFrame) -> None:
    """Renaming sessions, their start kept and their order too, changes nothing but the names."""
    renamed = frame.assign(SessionId=frame["SessionId"].str.replace("-SR-", "-XY-"))
    one, two = read(frame), read(renamed)
    assert one.sessions().reset_index(drop=True).equals(two.sessions().reset_index(drop=True))
    assert one.transitions().equals(two.transitions())
    assert one.actions().equals(two.actions())


@slow
@of(logs(), st.sampled_from(["object", "category", "string[pyarrow]", "string[python]"]))
def test_text_dtypes_do_not_matter(frame: pd.DataFrame, dtype: str) -> None:
    """Object, category and Arrow-backed text give the tables of plain text."""
    texts = [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]
    same(read(frame), read(frame.astype(dict.fromkeys(texts, dtype))))


@slow
@of(logs(), st.sampled_from(["s", "ms", "us", "ns"]), st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]))
def test_time_resolution_and_zone_do_not_matter(frame: pd.DataFrame, unit: str, zone: str) -> None:
    """Times of any resolution and zone give the same tables, in that resolution and in UTC."""
    other: Any = frame.copy()
    for name in ("TimeStamp", "EndTime"):
        times: Any = frame[name]
        other[name] = times.astype(f"datetime64[{unit}, UTC]").dt.tz_convert(zone)
    log = read(other)
    assert str(log.sessions()["start"].dtype) == f"datetime64[{unit}, UTC]"
    # Between two whole seconds lies no third: quantiles are rounded to the resolution there is.
    same(read(frame), log, quantiles=unit != "s")


@slow
@of(logs(), st.sampled_from(["text", "arrow", "objects"]))
def test_times_may_be_text_arrow_or_objects(frame: pd.DataFrame, form: str) -> None:
    """Times written as the API writes them, Arrow timestamps and datetime objects give the same tables."""
    other: Any = frame.copy()
    for name in ("TimeStamp", "EndTime"):
        times: Any = frame[name]
        if form == "text":
            other[name] = frame[name].dt.strftime("%Y-%m-%d %H:%M:%S UTC").astype("str")
        elif form == "arrow":
            other[name] = times.astype("timestamp[us, tz=UTC][pyarrow]")
        else:
            other[name] = frame[name].astype(object)
    same(read(frame), read(other))


@slow
@of(logs())
def test_transitions_and_sessions_add_up_to_visits(frame: pd.DataFrame) -> None:
    """Every visit before the end is the first of its session or reached by one transition."""
    log = read(frame)
    inside = log.transitions(ends=False)["count"].sum()
    steps = log.steps()
    assert inside + len(log) == (~steps["after_exit"]).sum()
    full = log.transitions()
    starts = full.loc[full["source"] == "(start)", "count"].sum()
    ends = full.loc[full["target"] == "(end)", "count"].sum()
    assert starts == log.ledger.endings.start_known.sum()
    assert ends == log.ledger.endings.end_known.sum()
    assert full["share"].sum() == pytest.approx(1 if len(full) else 0)
    assert full.groupby("source", observed=True)["probability"].sum().round(9).eq(1).all()
    assert (full["sessions"] <= full["count"]).all()


@slow
@of(logs(), st.integers(1, 6), st.sampled_from(["start", "end", "A"]))
def test_step_matrix_columns_sum_to_one(frame: pd.DataFrame, n: int, align: str) -> None:
    """Each column of a step matrix is a whole, whichever way it is aligned."""
    log = read(frame)
    if align == "A" and "A" not in set(log.ledger.core.nodes.action):
        return
    table = log.step_matrix(n=n, align=align)
    whole = 1.0 if table.to_numpy().any() else 0.0
    assert table.sum().round(9).eq(whole).all()


@slow
@of(logs(), st.lists(st.sampled_from(["A", "B", "C", "END"]), min_size=1, max_size=4), st.booleans())
def test_funnels_narrow(frame: pd.DataFrame, steps: list[str], ordered: bool) -> None:
    """A funnel never widens, and one of a single step counts the complete sessions visiting it."""
    log = read(frame)
    known = set(log.ledger.core.nodes.action)
    steps = [step for step in steps if step in known]
    if not steps:
        return
    table = log.funnel(steps, ordered=ordered)
    assert table["sessions"].is_monotonic_decreasing
    visiting = log.steps().query("~after_exit").set_index("SessionId")["action"].astype("str")
    hit = visiting.index[visiting.str.endswith(steps[0])].unique()
    eligible = log.sessions().index[log.ledger.counted]
    assert table["sessions"].iloc[0] == len(eligible.intersection(hit))


@slow
@of(logs())
def test_variants_cover_all_sessions(frame: pd.DataFrame) -> None:
    """Every session is in exactly one variant, and its number in the session table is that variant's rank."""
    log = read(frame)
    table = log.variants(top=None)
    assert table["sessions"].sum() == len(log)
    ranks = log.sessions()["variant"].value_counts()
    assert (table["sessions"] == ranks.reindex(table.index)).all()
    assert table["sessions"].is_monotonic_decreasing
    shares = [name for name in table if str(name).startswith("share_")]
    assert table[shares].sum(axis=1).round(9).eq(1).all()


@slow
@of(logs(), st.integers(0, 63))
def test_parts_of_a_log_add_up(frame: pd.DataFrame, chosen: int) -> None:
    """Counts of any two parts of the sessions, added, are the counts of the whole."""
    log = read(frame, exits="action", end_actions=["END"])
    mask = np.array([bool(chosen >> n & 1) for n in range(len(log))], dtype=bool)
    parts = [log.select(mask), log.select(~mask)]
    both = pd.concat([plain(part.sessions().drop(columns="variant")) for part in parts]).sort_index()
    pd.testing.assert_frame_equal(both, plain(log.sessions().drop(columns="variant")))
    for name, keys, counts in (
        ("transitions", ["source", "target"], ["count", "sessions"]),
        ("actions", ["action"], ["visits", "sessions", "first_here", "ended_here", "no_input", "repeat_sessions"]),
        ("exits", ["exit_reason"], ["sessions"]),
        ("loops", ["action", "kind"], ["sessions", "repeats"]),
        ("completeness", ["completeness"], ["sessions"]),
        ("variants", ["path"], ["sessions"]),
        ("dtmf", ["action"], ["prompts", "filled", "no_input", "no_match", "other_error"]),
        ("kpis", ["kpi"], ["count", "n"]),
    ):
        arguments = {"top": None} if name == "variants" else {}
        tables = [getattr(each, name)(**arguments).reset_index() for each in (*parts, log)]
        tables = [table.astype({key: "str" if key != "path" else object for key in keys}) for table in tables]
        added = pd.concat(tables[:2]).groupby(keys)[counts].sum()
        whole = tables[2].groupby(keys)[counts].sum()
        pd.testing.assert_frame_equal(added, whole, check_dtype=False, obj=name)


@slow
@of(logs(), st.integers(-10_000_000, 10_000_000))
def test_a_shift_in_time_leaves_durations(frame: pd.DataFrame, seconds: int) -> None:
    """Moving every time, and the window, changes no duration and no count."""
    moved = frame.copy()
    for name in ("TimeStamp", "EndTime"):
        moved[name] = frame[name] + pd.Timedelta(seconds=seconds)
    moved["SessionId"] = frame["SessionId"].map(lambda name: f"{int(name[:10]) + seconds:010d}{name[10:]}")
    one, two = read(frame), read(moved, window=(DAY - 100 + seconds, DAY + 10_000 + seconds))
    timeless = [name for name in one.sessions() if name not in ("start", "end", "session_start_hint")]
    assert one.sessions()[timeless].reset_index(drop=True).equals(two.sessions()[timeless].reset_index(drop=True))
    assert one.transitions().equals(two.transitions())


@slow
@of(logs())
def test_copies_with_a_transaction_change_nothing(frame: pd.DataFrame) -> None:
    """Rows given twice, that carry a TransactionId, leave every table as it was."""
    frame = frame[frame["TransactionId"].notna()].drop_duplicates()
    twice = pd.concat([frame, frame.iloc[::2]], ignore_index=True)
    one, two = read(frame, duplicates="auto"), read(twice, duplicates="auto")
    same(one, two, leave=("quality",))
    assert two.ledger.core.seen.dropped == len(frame.iloc[::2])


@slow
@of(
    st.integers(0, 10_000),
    st.sampled_from(["action", "flow"]),
    st.integers(0, 2400),
    st.integers(0, 2400),
    st.booleans(),
)
@example(45, "action", 1580, 44, False)  # the trigger's call is before the window, its exit is in it
def test_a_narrow_window_makes_no_session_whole(seed: int, per: str, low: int, length: int, whole: bool) -> None:
    """No session is complete in a cut of the log that was not all there."""
    frame = make_log(25, seed=seed, per=per, span=1800, whole_seconds=whole)
    cut = fetched(frame, DAY + low, DAY + low + length)
    log = session_log(cut, exits=per, end_actions=["END_CALL"], ties="canonical")
    sizes = frame.groupby("SessionId").size()
    table = log.sessions()
    complete = table.index[table["completeness"].isin(["complete", "no_exit"])]
    assert (table.loc[complete, "n_events"] == sizes.reindex(complete)).all()
    cut_short = table.index[table["n_events"] < sizes.reindex(table.index)]
    assert table.loc[cut_short, "completeness"].isin(["cut_start", "cut_end", "cut_both"]).all()


@slow
@of(logs())
def test_rates_that_belong_together_sum_to_one(frame: pd.DataFrame) -> None:
    """The outcome rates are shares of one whole."""
    log = read(frame)
    table: Any = log.kpis()
    names = ["completion_rate", "transfer_rate", "unclassified_rate", "unknown_rate"]
    if log.ledger.counted.any():
        assert table.loc[names, "value"].sum() == pytest.approx(1)
        assert table.loc["containment_rate", "value"] == pytest.approx(1 - table.loc["transfer_rate", "value"])


@slow
@of(logs(), st.integers(0, 63), st.booleans())
def test_comparing_is_symmetric(frame: pd.DataFrame, chosen: int, adjusted: bool) -> None:
    """Swapping the two sides turns every difference round, and a share differs by what it says."""
    log = read(frame)
    mask = np.array([bool(chosen >> n & 1) for n in range(len(log))], dtype=bool)
    adjust = "n_steps" if adjusted else None
    one, two = (log.compare(side, adjust=adjust, top=None).set_index(["field", "value"]) for side in (mask, ~mask))
    assert set(one.index) == set(two.index)
    two = two.reindex(one.index)
    numbers = {name: (one[name].to_numpy(float), two[name].to_numpy(float)) for name in ("diff", "adj_diff", "ci_low")}
    for name in ("diff", "adj_diff"):
        np.testing.assert_allclose(numbers[name][0], -numbers[name][1], atol=1e-12)
    np.testing.assert_allclose(numbers["ci_low"][0], -two["ci_high"].to_numpy(float), atol=1e-12)
    if not adjusted:
        np.testing.assert_allclose(numbers["diff"][0], numbers["adj_diff"][0], atol=1e-12)
