"""Charts of several sessions at once: strips side by side, ribbons between steps, sessions per hour."""

from collections.abc import Callable, Iterator

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from insights_nb import charts
from insights_nb.charts.style import GREY, look
from insights_nb.errors import FrameError
from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log

matplotlib.use("agg")
DRAWN: dict[str, Callable[[SessionLog, Axes | None], Axes]] = {
    "timelines": lambda log, ax: log.plot.timelines(ax=ax),
    "timelines by step": lambda log, ax: log.plot.timelines(log.sessions().index[:5], across="step", ax=ax),
    "step flow": lambda log, ax: log.plot.step_flow(n=4, top=3, ax=ax),
    "load": lambda log, ax: log.plot.load(ax=ax),
    "load by weekday": lambda log, ax: log.plot.load("weekday", tz="Asia/Kolkata", ax=ax),
}


@pytest.fixture(scope="module")
def log() -> SessionLog:
    frame = make_log(90, seed=5, span=4 * 3600)
    rules = OutcomeRules({"completed": {"exit_reason": "Call Successful"}})
    return session_log(fetched(frame, DAY + 600, DAY + 3 * 3600 + 900), rules=rules)


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    from matplotlib import pyplot

    yield
    pyplot.close("all")


def bars(ax: Axes) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("name", DRAWN)
def test_they_draw_where_told_and_change_nothing(log: SessionLog, name: str) -> None:
    """A chart draws on the Axes given, or makes one figure, and leaves matplotlib's settings alone."""
    from matplotlib import pyplot

    before, ax = dict(matplotlib.rcParams), Figure().subplots()
    assert DRAWN[name](log, ax) is ax
    assert pyplot.get_fignums() == []
    DRAWN[name](log, None)
    assert len(pyplot.get_fignums()) == 1
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_they_are_readable_on_light_and_dark(log: SessionLog, name: str, style: str) -> None:
    """No text is below 8 points, and what stands on no ground of its own has the colour of the style."""
    from matplotlib import pyplot

    with pyplot.style.context(style):
        wanted = matplotlib.colors.to_rgba(matplotlib.rcParams["text.color"])
        ax = DRAWN[name](log, None)
        ax.figure.canvas.draw()
        for text in ax.findobj(Text):
            if isinstance(text, Text) and text.get_text() and text.get_visible():
                assert float(text.get_fontsize()) >= 8, text
                own = text.get_bbox_patch() is not None or text.get_horizontalalignment() == "center"
                assert matplotlib.colors.to_rgba(text.get_color()) == wanted or own, text


@pytest.mark.parametrize("name", DRAWN)
def test_they_read_out_what_they_rest_on(log: SessionLog, name: str) -> None:
    """The text for a chart begins with its finding, then how many sessions and which window."""
    ax = DRAWN[name](log, None)
    words = charts.describe(ax)
    assert words.startswith(ax.get_title(loc="left").replace("\n", " "))
    assert " sessions · 2023-11-15 00:10 to 2023-11-15 03:15 UTC" in words


def test_more_than_forty_sessions_are_drawn_evenly_and_the_seed_is_said(log: SessionLog) -> None:
    """Of many sessions 40 are drawn, the same for the same seed, a small group whole, and the chart says so."""
    ax = log.plot.timelines(seed=3)
    assert len(ax.get_yticks()) == 40
    words = charts.describe(ax)
    assert "40 drawn evenly by outcome, seed 3" in words
    assert f"of {(log.sessions()['outcome'] == 'completed').sum()}" in words
    groups = pd.Series(["many"] * 900 + ["few"] * 3 + ["some"] * 50, index=range(953))
    drawn = charts.evenly(groups, seed=1)
    assert groups[drawn].value_counts().to_dict() == {"many": 19, "some": 18, "few": 3}
    assert drawn.equals(charts.evenly(groups, seed=1))
    assert not drawn.equals(charts.evenly(groups, seed=2))
    assert charts.evenly(groups[:40]).equals(groups.index[:40])


def test_a_strip_is_the_session_to_scale() -> None:
    """Blocks begin where the step did and are as long as it, one colour per action, and good stands above bad."""
    steps = pd.DataFrame(
        {
            "SessionId": ["a", "a", "b", "b"],
            "step": [1, 2, 1, 2],
            "action": ["MENU", "PLAY", "MENU", "LATE"],
            "enter": pd.to_datetime([0, 10, 100, 105], unit="s", utc=True),
            "dwell": pd.to_timedelta([10, 20, 5, 4], unit="s"),
            "input_error": [None, "No Input", None, None],
            "after_exit": [False, False, False, True],
        }
    )
    sessions = pd.DataFrame(
        {"group": ["abandoned", "completed"], "exit_reason": ["Hung up", None], "has_exit": [True, False]},
        index=pd.Index(["a", "b"], name="SessionId"),
    )
    ax = charts.timelines(steps, sessions, order=["PLAY", "MENU", "LATE"])
    rows = dict(zip([label.get_text() for label in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert rows["b"] > rows["a"]
    spans = {(round(bar.get_x(), 3), round(bar.get_x() + bar.get_width(), 3)): bar for bar in bars(ax)}
    assert set(spans) == {(0, 10), (10, 30), (0, 5), (5, 9)}
    color, hatch = look(0)
    assert matplotlib.colors.to_hex(spans[10, 30].get_facecolor()) == color.lower()
    assert (spans[10, 30].get_hatch() or "") == hatch
    assert matplotlib.colors.to_hex(spans[5, 9].get_facecolor()) == GREY.lower()
    words = charts.describe(ax)
    assert "30 s  Hung up" in words
    assert "9.0 s  no exit" in words
    assert "A! " in words
    assert ax.get_title(loc="left") == "Longest here: abandoned, median 30 s; shortest: completed, 9.0 s"


def test_a_very_long_session_goes_on_beyond_the_axis() -> None:
    """One session of hours does not squeeze the others: its strip is cut, and its length is written."""
    frame = make_log(12, seed=4)
    one = frame["SessionId"].iloc[0]
    late = frame.index[frame["SessionId"] == one][-1:]
    for name in ("TimeStamp", "StartTime", "EndTime"):
        frame.loc[late, name] = frame.loc[late, name] + pd.Timedelta("5h")
    words = charts.describe(session_log(frame).plot.timelines())
    assert "▸ 5 h" in words
    assert "1 longer than the axis" in words


def test_ribbons_hold_every_session_once_per_hop(log: SessionLog) -> None:
    """At every step the blocks hold all sessions, and so do the ribbons between two; hops say they follow nobody."""
    ax = log.plot.step_flow(n=4, top=3)
    at = pd.Series([bar.get_height() for bar in bars(ax)], index=[round(bar.get_x()) for bar in bars(ax)])
    assert np.allclose(at.groupby(level=0).sum(), 1)
    assert sum(map(_start_height, ax.collections)) == pytest.approx(3)
    words = charts.describe(ax)
    assert "do not follow anybody over two hops" in words
    assert "other (" in words
    ended = log.step_matrix(n=4).loc[["(ended)"]].to_numpy()[0, 3]
    assert f"{100 * ended:.0f} % of sessions have ended" in ax.get_title(loc="left").replace("\n", " ")


def _start_height(area: object) -> float:
    assert isinstance(area, PolyCollection)
    corners = np.asarray(area.get_paths()[0].vertices)
    left = corners[corners[:, 0] == corners[:, 0].min()]
    return float(np.ptp(left[:, 1]))


def test_step_flow_counts_what_it_is_given() -> None:
    """Shares of a small log are those counted by hand, and the end keeps its sessions."""
    paths = pd.DataFrame({1: ["A", "A", "A", "B"], 2: ["B", "B", "C", None], 3: ["D", None, None, None]})
    ax = charts.step_flow(paths, top=2)
    words = charts.describe(ax)
    for label in ("A  75 %", "B  25 %", "B  50 %", "other (2)  25 %", "(ended)  25 %", "(ended)  75 %"):
        assert label in words
    assert (
        ax.get_title(loc="left").replace("\n", " ")
        == "By step 3 75 % of sessions have ended; the most frequent step 3 is D (25 %)"
    )
    assert len(ax.collections) == 3 + 4  # A→B, A→other, B→ended; B→other, B→ended, other→ended, ended→ended


def test_hours_cut_by_the_window_are_hatched_and_not_compared(log: SessionLog) -> None:
    """The first and last hour, of which the window holds a part, are hatched and never the busiest."""
    ax = log.plot.load()
    torn = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(torn) == 2
    words = charts.describe(ax)
    assert "hatched: 2 hours of which the window holds only a part" in words
    assert "Wed 15 Nov 01:00" in words or "Wed 15 Nov 02:00" in words
    week = log.plot.load("weekday")
    assert len([patch for patch in week.patches if patch.get_hatch()]) == 2
    assert "without a number: not in the window" in charts.describe(week)
    assert [label.get_text() for label in week.get_yticklabels()][2] == "Wednesday"


def test_every_start_is_in_one_hour_of_the_zone_s_clock() -> None:
    """Hours are those of the zone, also at half past and where the clock goes back, and hold each start once."""
    starts = pd.date_range("2026-10-24T20:10", "2026-10-25T04:10", freq="10min", tz="UTC")
    for zone, count in (("Europe/Berlin", 9), ("Asia/Kolkata", 9)):
        hours = charts.hourly(starts, tz=zone)
        assert hours["sessions"].sum() == len(starts)
        assert (hours.index.minute == 0).all()  # type: ignore[attr-defined]
        assert len(hours) == count
        assert hours["cut"].to_numpy().nonzero()[0].tolist() == [0, count - 1]
    whole = (pd.Timestamp("2026-10-24T20:00Z"), pd.Timestamp("2026-10-25T04:59:59Z"))
    assert not charts.hourly(starts, whole)["cut"].any()
    until = (pd.Timestamp("2026-10-24T20:30Z"), pd.Timestamp("2026-10-25T05:00Z"))
    assert charts.hourly(starts, until)["cut"].to_list() == [True] + [False] * 8


def test_sessions_that_began_before_the_window_are_no_load_of_its_first_hour() -> None:
    """What was running when the window opened is left out of the load, and the chart says how many that is."""
    busy = session_log(fetched(make_log(60, seed=5, span=1800), DAY + 200, DAY + 1500))
    earlier = int(busy.sessions()["completeness"].isin(["cut_start", "cut_both"]).sum())
    assert earlier
    words = charts.describe(busy.plot.load())
    assert f"{len(busy) - earlier} sessions · " in words
    assert f"left out: {earlier} that began before the window" in words
    assert "no whole hour to compare" in words


def test_charts_of_nothing_say_so() -> None:
    """A chart of no sessions says that there are none."""
    empty = session_log(make_log(3).iloc[:0])
    for ax in (
        empty.plot.timelines(),
        empty.plot.step_flow(),
        empty.plot.load(),
        empty.plot.load("weekday"),
        charts.timelines(empty.steps(), empty.sessions().assign(group="")),
    ):
        assert charts.describe(ax).startswith("No sessions")


def test_what_cannot_be_drawn_is_refused(log: SessionLog) -> None:
    """A choice that is not known, or more steps than there is room for, is refused in words."""
    with pytest.raises(FrameError, match="across"):
        log.plot.timelines(across="week")
    with pytest.raises(FrameError, match="step_matrix"):
        log.plot.step_flow(n=40)
    with pytest.raises(FrameError, match="by="):
        log.plot.load("month")
    with pytest.raises(FrameError, match="zone"):
        log.plot.load(tz="Mars/Olympus")
