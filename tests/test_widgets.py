"""Progress: what it says, how often, and that it never gets in the way of a query."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb import widgets
from insights_nb.errors import BusyError
from insights_nb.progress import Progress, Stage
from tests.kernel import executed

REPORT = "ae9f1c2203d14b0c8a7e5d6f00112233"
DONE = Progress(
    Stage.DONE, elapsed=12.3, report_id=REPORT, shards=4, shards_done=4, bytes_total=3_100_000, rows=212_345, columns=9
)


class Ticks:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time it was told."""
        return self.now


class Handle:
    """A display handle that keeps every bundle it was given."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, str]] = []

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        """Keep what replaces the output."""
        assert raw
        self.bundles.append(bundle)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """Displays opened in place of a notebook's output area."""
    handles: list[Handle] = []

    def display(bundle: dict[str, str]) -> Handle:
        handles.append(Handle())
        handles[-1].bundles.append(bundle)
        return handles[-1]

    monkeypatch.setattr(widgets, "_display", display)
    return handles


def downloading(share: float, elapsed: float, **more: Any) -> Progress:
    return Progress(
        Stage.DOWNLOADING, elapsed=elapsed, shards=4, bytes_total=1_000_000, bytes_done=int(share * 1_000_000), **more
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (48_240_000, "48.2 MB"),
        (999_600, "1.0 MB"),
        (482_400_000, "482 MB"),
        (1e12, "1.0 TB"),
        (2.5e15, "2,500.0 TB"),
    ],
)
def test_sizes_read_well(count: float, text: str) -> None:
    """A size has a decimal unit and about three digits."""
    assert widgets.human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (86400, "24 h 00 min"),
        (200_000, "2 d 07 h"),
    ],
)
def test_lengths_of_time_read_well(seconds: float, text: str) -> None:
    """A length of time has at most two units."""
    assert widgets.human_seconds(seconds) == text


def test_a_wait_says_how_long_and_for_what() -> None:
    """The line of a wait has the stage, the seconds, the report and the note."""
    waiting = Progress(Stage.RUNNING, elapsed=42, report_id=REPORT, note="picked up")
    assert widgets.stage_line(waiting) == "running on the service · 42 s · report ae9f1c22… · picked up"


def test_a_download_says_how_much_is_left() -> None:
    """The line of a download has percent, file, bytes, rate and time left."""
    line = widgets.stage_line(downloading(0.25, 3, shards_done=1), rate=50_000)
    assert line == "downloading · 25 % · file 2 of 4 · 250 kB of 1.0 MB · 50.0 kB/s · 15 s left"


def test_a_download_of_unknown_size_says_what_is_here() -> None:
    """Without a total there is no percent and no time left."""
    assert (
        widgets.stage_line(Progress(Stage.DOWNLOADING, bytes_done=2000), rate=10.0) == "downloading · 2.0 kB · 10 B/s"
    )


def test_the_summary_of_a_fetched_report() -> None:
    """The last line has shape, size, seconds and report."""
    assert widgets.summary_line(DONE) == "212,345 rows × 9 columns · 3.1 MB in 4 files · 12 s · report ae9f1c22…"


def test_the_summary_of_a_cached_report() -> None:
    """A frame from the cache says its age and how to fetch it anew."""
    cached = Progress(Stage.DONE, elapsed=0.2, shards=1, bytes_total=50, rows=1, columns=2, cached=True, age=300)
    assert widgets.summary_line(cached) == (
        "1 rows × 2 columns · 50 B in 1 file · 0.2 s · "
        "from the cache, fetched 5 min 00 s ago; refresh=True fetches it anew"
    )


def test_a_missing_shard_is_loud() -> None:
    """Fewer files than the report lists show in the summary."""
    assert "in 3 of 4 files" in widgets.summary_line(Progress(Stage.DONE, shards=4, shards_done=3, bytes_total=1))


def test_a_failure_keeps_class_and_first_line() -> None:
    """The last line of a failure has the class and the first line of the message, not the hint."""
    assert (
        widgets.failure_line(BusyError("both slots taken\nand more", "Wait.")) == "failed: BusyError: both slots taken"
    )
    assert widgets.failure_line(ValueError()) == "failed: ValueError"


def test_every_last_line_has_a_sign_and_words() -> None:
    """Result, failure and interrupt differ in sign and in words, so no colour is needed."""
    note = "stopped waiting; still running on the service as ae9f…; run the cell again to pick it up"
    assert widgets.last_line(DONE, None, "").startswith("✓ 212,345 rows")
    assert widgets.last_line(DONE, BusyError("no"), "").startswith("✗ failed: BusyError")
    assert widgets.last_line(None, KeyboardInterrupt(), note) == f"■ {note}"
    assert widgets.last_line(None, KeyboardInterrupt(), "") == "■ stopped"
    assert widgets.last_line(None, None, "") == ""


def test_the_static_line_is_escaped() -> None:
    """Words of the service cannot become markup."""
    bundle = widgets.static_bundle("<script>alert(1)</script> & co")
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in bundle["text/html"]


def test_control_characters_do_not_reach_a_terminal() -> None:
    """Escape sequences and line ends in a note become blanks."""
    line = widgets.stage_line(Progress(Stage.RUNNING, note="a\x1b[2Jb\r\nc\x9bd"))
    assert line.isprintable()
    assert line.endswith("a [2Jb c d")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Stage)),
            st.none() | st.integers(0, 2000),
            st.none() | st.integers(0, 1000),
            st.floats(0, 1e6),
        )
    )
)
def test_figures_never_fall_and_never_pass_the_whole(steps: list[tuple[Stage, int | None, int | None, float]]) -> None:
    """Whatever the pipeline reports, the bar's share only grows and stays within 0 and 1."""
    meter = widgets._Meter()
    shares, counts = [0.0], [0]
    for stage, done, total, elapsed in steps:
        merged = meter.take(Progress(stage, elapsed=elapsed, bytes_done=done, bytes_total=total))
        shares.append(meter.share)
        counts.append(merged.bytes_done or 0)
        assert meter.rate is None or meter.rate > 0
        assert widgets.stage_line(merged, meter.rate)
    assert shares == sorted(shares)
    assert counts == sorted(counts)
    assert shares[-1] <= 1


def test_bytes_from_an_earlier_attempt_are_no_part_of_the_rate() -> None:
    """A resumed download's rate counts what this attempt fetched."""
    meter = widgets._Meter()
    meter.take(downloading(0.5, 10))
    assert meter.rate is None
    meter.take(downloading(0.6, 12))
    assert meter.rate == 50_000


def test_updates_are_few_but_no_stage_is_missed() -> None:
    """The same stage is drawn at most four times a second, a new stage at once."""
    clock, stream = Ticks(), io.StringIO()
    display = widgets._Terminal(stream, live=True, clock=clock)
    for step in range(100):
        clock.now = step / 100
        display(Progress(Stage.RUNNING, elapsed=clock.now))
    display(downloading(0.1, 1.0))
    assert stream.getvalue().count("\r") == 4 + 1


def test_a_terminal_gets_one_line_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line starts at the left edge and covers the one before; the last one stays."""
    monkeypatch.setenv("COLUMNS", "60")
    clock, stream = Ticks(), io.StringIO()
    display = widgets._Terminal(stream, live=True, clock=clock)
    display(Progress(Stage.WAITING, note="x" * 100))
    display(Progress(Stage.RUNNING))
    display(DONE)
    display.close()
    _, long, short, *_, last = stream.getvalue().split("\r")
    assert len(long) == 59
    assert long.endswith("…")
    assert len(short) == 59
    assert short.rstrip() == "insights running on the service · 0.0 s"
    assert last == f"insights ✓ {widgets.summary_line(DONE)}\n"


def test_a_log_gets_the_last_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal and without a notebook nothing is shown until the end."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    display = widgets.display_for("auto")
    display(Progress(Stage.RUNNING))
    display(DONE)
    assert stream.getvalue() == ""
    display.close()
    assert stream.getvalue() == f"insights ✓ {widgets.summary_line(DONE)}\n"


def test_none_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """``none`` is silent, whatever happens."""
    display = widgets.display_for("none")
    display(DONE)
    display.close(BusyError("no"))
    assert capsys.readouterr() == ("", "")


def test_an_unknown_mode_lists_the_modes() -> None:
    """A slip in the mode is a ValueError that names what there is."""
    with pytest.raises(ValueError, match='progress="bar" is unknown; the modes are: auto, widget, text, line, none'):
        widgets.display_for("bar")


def test_no_stream_at_all_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard error does not exist, the display is silent."""
    monkeypatch.setattr(sys, "stderr", None)
    display = widgets.display_for("auto")
    display(DONE)
    display.close()


def test_the_bar_follows_the_download(shown: list[Handle]) -> None:
    """The widget's value is the share of bytes, and its words are the stage line."""
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING, note="a < b"))
    assert display._bar.value == 0
    assert display._words.value == "running on the service · 0.0 s · a &lt; b"
    display(downloading(0.25, 1))
    assert display._bar.value == 0.25
    assert len(shown) == 1
    assert set(shown[0].bundles[0]) == {widgets.VIEW_MIME, "text/plain"}


def test_the_bar_is_replaced_by_one_line(shown: list[Handle]) -> None:
    """At the end the same display holds static HTML and text, and no widget."""
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING))
    display(DONE)
    display.close()
    assert len(shown) == 1
    assert shown[0].bundles[-1] == widgets.static_bundle(f"✓ {widgets.summary_line(DONE)}")
    assert set(shown[0].bundles[-1]) == {"text/html", "text/plain"}


def test_a_failed_bar_turns_red_and_says_so(shown: list[Handle]) -> None:
    """On an error the bar has the danger style, and the line that replaces it has class and message."""
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING))
    bar = display._bar
    display.close(BusyError("both slots taken", "Wait."))
    assert bar.bar_style == "danger"
    assert "failed: BusyError: both slots taken" in shown[0].bundles[-1]["text/html"]


def test_a_cached_frame_flashes_no_bar(shown: list[Handle]) -> None:
    """What comes from the cache shows the line alone."""
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.READING, cached=True))
    display(Progress(Stage.READING))
    display(Progress(Stage.DONE, rows=1, columns=1, cached=True, age=2.0))
    assert shown == []
    display.close()
    assert [set(bundle) for bundle in shown[0].bundles] == [{"text/html", "text/plain"}]


def test_line_mode_shows_no_bar(shown: list[Handle], monkeypatch: pytest.MonkeyPatch) -> None:
    """``line`` waits for the end in a notebook too."""
    monkeypatch.setattr(widgets, "_in_kernel", lambda: True)
    display = widgets.display_for("line")
    display(Progress(Stage.RUNNING))
    assert shown == []
    display(DONE)
    display.close()
    assert len(shown) == 1


def test_without_ipywidgets_words_do(shown: list[Handle], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ipywidgets cannot be imported the same display holds the stage as text."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING))
    display(downloading(0.5, 1))
    display(DONE)
    display.close()
    words = [bundle["text/plain"] for bundle in shown[0].bundles]
    assert words[0] == "insights running on the service · 0.0 s"
    assert words[1].startswith("insights downloading · 50 %")
    assert words[2].startswith("insights ✓ 212,345 rows")


def test_a_failing_display_goes_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the front end raises, the observer returns, and is not asked again."""
    calls = []

    def broken(bundle: object) -> None:
        calls.append(bundle)
        raise RuntimeError("no front end")

    monkeypatch.setattr(widgets, "_display", broken)
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING))
    display(downloading(0.5, 1))
    display(DONE)
    display.close()
    assert len(calls) == 1


def test_an_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Stop button works while the display draws."""

    def stopped(bundle: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(widgets, "_display", stopped)
    display = widgets._Notebook(clock=Ticks())
    with pytest.raises(KeyboardInterrupt):
        display(Progress(Stage.RUNNING))
    monkeypatch.setattr(widgets, "_display", lambda bundle: SimpleNamespace(update=lambda *_, **__: None))
    display.close(KeyboardInterrupt())


def test_a_closed_display_stays_closed(shown: list[Handle]) -> None:
    """Observations and closings after the first close change nothing."""
    display = widgets._Notebook(clock=Ticks())
    display(Progress(Stage.RUNNING))
    display.close(note="submitted")
    kept = list(shown[0].bundles)
    display(downloading(0.5, 1))
    display.close(BusyError("late"))
    assert shown[0].bundles == kept


CELL = f"""
from insights_nb.progress import Progress, Stage
from insights_nb.widgets import display_for

display = display_for("auto")
display(Progress(Stage.RUNNING))
display(Progress(Stage.DOWNLOADING, bytes_total=100, bytes_done=50))
display(Progress(Stage.DONE, rows=3, columns=2, report_id="{REPORT}"))
display.close()
"""


def test_the_saved_notebook_holds_the_line_and_no_widget(tmp_path: Path) -> None:
    """In a real kernel the output that is saved is one static line, whatever was shown before."""
    (outputs,) = executed([CELL], tmp_path)
    assert len(outputs) == 1
    assert set(outputs[0].data) == {"text/html", "text/plain"}
    assert outputs[0].data["text/html"].count("3 rows × 2 columns") == 1
    assert "widget" not in json.dumps(outputs)
