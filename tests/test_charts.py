"""Charts: a finding as title, what it rests on as subtitle, labels for every number, nothing global changed."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import matplotlib
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from insights_nb import charts
from insights_nb.charts.style import COLORS, HATCHES, percent, seconds_text, shorten
from insights_nb.sessions import SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log

matplotlib.use("agg")
Draw = Callable[[SessionLog, Axes | None], Axes]
DRAWN: dict[str, Draw] = {
    "exits": lambda log, ax: log.plot.exits(ax=ax),
    "exits by event": lambda log, ax: log.plot.exits(level="event", ax=ax),
    "exits over time": lambda log, ax: log.plot.exits(freq="10min", ax=ax),
    "timeline": lambda log, ax: log.plot.timeline(log.sessions().index[0], ax=ax),
    "actions": lambda log, ax: log.plot.actions(ax=ax),
    "dwell": lambda log, ax: log.plot.dwell(ax=ax),
    "transitions": lambda log, ax: log.plot.transitions(ax=ax),
    "variants": lambda log, ax: log.plot.variants(ax=ax),
    "funnel": lambda log, ax: log.plot.funnel(["PLAY_1", "MENU_1", "TRANSFER_1"], ax=ax),
    "loops": lambda log, ax: log.plot.loops(ax=ax),
    "dtmf": lambda log, ax: log.plot.dtmf(ax=ax),
    "step matrix": lambda log, ax: log.plot.step_matrix(ax=ax),
    "anchored matrix": lambda log, ax: log.plot.step_matrix(n=3, align="MENU_1", ax=ax),
    "compare": lambda log, ax: log.plot.compare(log.sessions()["n_repeats"] > 1, ax=ax),
}


@pytest.fixture(scope="module")
def log() -> SessionLog:
    return session_log(fetched(make_log(60, seed=5, span=1800), DAY + 200, DAY + 1500))


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    from matplotlib import pyplot

    pyplot.close("all")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("name", DRAWN)
def test_every_chart_draws_where_told(log: SessionLog, name: str) -> None:
    """A chart draws on the Axes given and returns it, or makes one figure and shows nothing itself."""
    from matplotlib import pyplot

    ax = Figure().subplots()
    assert DRAWN[name](log, ax) is ax
    assert pyplot.get_fignums() == []
    DRAWN[name](log, None)
    assert len(pyplot.get_fignums()) == 1


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_every_chart_is_readable_on_light_and_dark(log: SessionLog, name: str, style: str) -> None:
    """No text is below 8 points, and all of it has the colour of the style in force."""
    from matplotlib import pyplot

    with pyplot.style.context(style):
        wanted = matplotlib.colors.to_rgba(matplotlib.rcParams["text.color"])
        ax = DRAWN[name](log, None)
        ax.figure.canvas.draw()
        texts = [text for text in ax.findobj(Text) if isinstance(text, Text)]
        for text in texts:
            if text.get_text() and text.get_visible() and text.get_text() != "!":
                assert float(text.get_fontsize()) >= 8, text
                # White and black stand on a cell of colour, everything else on the ground of the style.
                color = matplotlib.colors.to_rgba(text.get_color())[:3]
                assert color == wanted[:3] or text.get_horizontalalignment() == "center", text


@pytest.mark.parametrize("name", DRAWN)
def test_charts_change_no_settings(log: SessionLog, name: str) -> None:
    """Drawing leaves matplotlib's settings as they were."""
    before = dict(matplotlib.rcParams)
    DRAWN[name](log, None)
    assert dict(matplotlib.rcParams) == before


def test_the_subtitle_says_what_is_left_out(log: SessionLog) -> None:
    """A chart of shares names how many sessions it counts, the window, and what it leaves out."""
    words = charts.describe(log.plot.exits())
    assert f"{log.exits().attrs['counted']} sessions" in words
    assert "2023-11-15 00:03 to 2023-11-15 00:25 UTC" in words
    assert "cut at the window's" in words
    assert "100 % of sessions end with exit reason Call Successful" in words


def test_bars_are_sorted_and_the_rest_is_one_bar() -> None:
    """Bars beyond the top ones become one bar that says how many it stands for."""
    table = pd.DataFrame(
        {"sessions": range(30, 0, -1), "share": [n / 465 for n in range(30, 0, -1)]},
        index=pd.Index([f"reason {n}" for n in range(30)], name="exit_reason"),
    )
    ax = charts.exits(table, top=4)
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "other (26)"
    assert sum(bar.get_width() for bar in ax.patches if isinstance(bar, Rectangle)) == 465
    assert "30  6.5 %" in charts.describe(ax)


def test_over_time_the_finding_is_the_largest_shift() -> None:
    """The title of shares over time names what changed most between the first and the last third."""
    when = pd.date_range("2026-03-01", periods=9, freq="1h", tz="UTC")
    table = pd.DataFrame({"Normal": [90] * 6 + [60] * 3, "Timeout": [10] * 6 + [40] * 3}, index=when)
    ax = charts.exits_over_time(table, tz="Europe/Berlin")
    assert ax.get_title(loc="left") in (
        "Normal fell from 90 % to 60 % of sessions",
        "Timeout rose from 10 % to 40 % of sessions",
    )
    assert "times Europe/Berlin" in charts.describe(ax)
    still = charts.exits_over_time(table.iloc[:6])
    assert still.get_title(loc="left") == "Normal has hardly changed: 90 % → 90 % of sessions"


def test_over_time_the_finding_says_what_is_counted(log: SessionLog) -> None:
    """Counted by event the title speaks of exits, counted by session of sessions."""
    assert "sessions" in log.plot.exits(freq="10min").get_title(loc="left")
    for freq in ("10min", "7D"):
        title = log.plot.exits(freq=freq, level="event").get_title(loc="left")
        assert " of exits" in title
        assert "sessions" not in title


def test_a_long_silence_is_cut_out_of_the_axis() -> None:
    """A silence that is long for the log is cut, and the chart says how long it was."""
    frame = make_log(30, seed=4)
    some = frame["SessionId"].iloc[0]
    late = frame.index[frame["SessionId"] == some][-2:]
    for name in ("TimeStamp", "StartTime", "EndTime"):
        frame.loc[late, name] = frame.loc[late, name] + pd.Timedelta("2h")
    words = charts.describe(session_log(frame).plot.timeline(some))
    assert "with no event" in words
    assert "2 h" in words


def test_empty_charts_say_so() -> None:
    """A chart of nothing says that there is nothing."""
    empty = session_log(make_log(3).iloc[:0])
    assert "no sessions" in charts.describe(empty.plot.exits())
    assert "no sessions" in charts.describe(empty.plot.exits(freq="1h"))
    for name in ("actions", "dwell", "transitions", "variants", "loops", "dtmf", "step_matrix"):
        assert charts.describe(getattr(empty.plot, name)()).startswith("No "), name
    assert "no sessions" in charts.describe(charts.funnel(empty.funnel([[]])))
    assert "nothing to compare" in charts.describe(empty.plot.compare([]))


def test_hatches_tell_colours_apart() -> None:
    """Every colour has its own hatch, so colour is never the only difference."""
    assert len(set(HATCHES)) == len(HATCHES) == len(COLORS)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.35, "350 ms"),
        (3.21, "3.2 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (7500, "2 h 05 min"),
        (273600, "3 d 4 h"),
        (-2, "−2.0 s"),
    ],
)
def test_lengths_of_time_read_well(seconds: float, words: str) -> None:
    """Seconds are written in the units people use."""
    assert seconds_text(seconds) == words


def test_small_shares_are_never_nought() -> None:
    """A share that is not zero never reads as zero, nor one below all as all."""
    assert [percent(x) for x in (0, 0.0004, 0.034, 0.5, 0.9999, 1)] == [
        "0 %",
        "< 0.1 %",
        "3.4 %",
        "50 %",
        "99.9 %",
        "100 %",
    ]
    assert shorten("A_VERY_LONG_ACTION_NAME_1", 12) == "A_VER…NAME_1"


def test_importing_charts_does_not_import_pyplot() -> None:
    """Matplotlib is imported when a chart is drawn."""
    code = "import sys, insights_nb.accessor; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_plot_has_a_chart_of_plain_frames(log: SessionLog) -> None:
    """The charts are public functions of plain frames, and describe() reads each of them out."""
    for name in charts.__all__:
        assert callable(getattr(charts, name))
    for draw in DRAWN.values():
        words = charts.describe(draw(log, None))
        assert "2023-11-15" in words


def test_findings_name_what_stands_out(log: SessionLog) -> None:
    """Titles say what the chart shows, in numbers."""
    titles = {name: draw(log, None).get_title(loc="left").replace("\n", " ") for name, draw in DRAWN.items()}
    assert titles["loops"] == "COLLECT_1 repeats most: 15 times in 8 sessions"
    assert titles["transitions"].endswith("comes straight back to it")
    assert titles["variants"].startswith("The 10 most frequent paths cover")
    assert titles["funnel"].endswith("of sessions reach TRANSFER_1")
    assert titles["actions"] == "No drop-off"
    assert "go wrong" in titles["dtmf"]
    assert titles["step matrix"].startswith("Half of the sessions are over before step")
    assert titles["dwell"].startswith("Longest: ")
    assert " frequent among them: " in titles["compare"]


def test_few_sessions_are_grey_and_long_labels_keep_the_action() -> None:
    """A rate of few sessions is drawn grey, and a long label gives up the flow's name before the action's."""
    table = pd.DataFrame(
        {"drop_off": [0.5, 0.1], "drop_off_low": [0.3, 0.09], "drop_off_high": [0.7, 0.11], "ended_here": [5, 90]},
        index=["A very long name of a flow that goes on ▸ MENU_1", "PLAY"],
    )
    ax = charts.drop_off(table)
    few, many = ax.patches
    assert few.get_facecolor() != many.get_facecolor()
    assert next(label.get_text() for label in ax.get_yticklabels()).endswith("… ▸ MENU_1")


def test_no_line_of_a_subtitle_begins_with_a_dot() -> None:
    """A subtitle too long for one line breaks behind the dot between two parts, never before it."""
    for length in range(1, 6):
        subtitle = " · ".join(["n" * length] * 100)
        ax = charts.exits(pd.DataFrame({"sessions": [1], "share": [1.0]}, index=["Normal"]), subtitle=subtitle)
        note = ax.texts[-1].get_text()
        assert note.count("\n") > 1
        assert not any(line.startswith("·") for line in note.split("\n"))
        assert note.replace("\n", " ") == subtitle


def test_long_paths_are_cut_and_say_so() -> None:
    """A path of more steps than there is room for is cut, and the chart says by how many."""
    table = pd.DataFrame(
        {
            "path": [tuple(f"A_{n}" for n in range(30))],
            "sessions": [4],
            "share": [1.0],
            "cum_share": [1.0],
            "median_duration": pd.to_timedelta([70], unit="s"),
            "share_completed": [0.75],
        },
        index=pd.RangeIndex(1, 2, name="variant"),
    )
    words = charts.describe(charts.variants(table))
    assert "+14" in words
    assert "75 % completed" in words
    assert "1 min 10 s" in words
