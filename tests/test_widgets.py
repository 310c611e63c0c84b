"""Progress: what it says, how often, and that it never gets in the way of a query."""

import io
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbconvert import HTMLExporter

from insights_nb import widgets, wording
from insights_nb.errors import BusyError
from insights_nb.progress import Progress, Stage
from tests.kernel import NODES, execute, executed

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
        assert wording.stage_line(merged, meter.rate)
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
    display = widgets._Single(widgets._Terminal(stream), clock=clock)
    for step in range(100):
        clock.now = step / 100
        display(Progress(Stage.RUNNING, elapsed=clock.now))
    display(downloading(0.1, 1.0))
    assert stream.getvalue().count("\r") == 4 + 1


def test_a_terminal_gets_one_line_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line starts at the left edge and covers the one before; the last one stays."""
    monkeypatch.setenv("COLUMNS", "60")
    clock, stream = Ticks(), io.StringIO()
    display = widgets._Single(widgets._Terminal(stream), clock=clock)
    display(Progress(Stage.WAITING, note="x" * 100))
    display(Progress(Stage.RUNNING))
    display(DONE)
    display.close()
    _, long, short, *_, last = stream.getvalue().split("\r")
    assert len(long) == 59
    assert long.endswith("…")
    assert len(short) == 59
    assert short.rstrip() == "insights running on the service · 0.0 s"
    assert last == f"insights ✓ {wording.summary_line(DONE)}\n"


def test_a_log_gets_the_last_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal and without a notebook nothing is shown until the end."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    display = widgets.display_for("auto")
    display(Progress(Stage.RUNNING))
    display(DONE)
    assert stream.getvalue() == ""
    display.close()
    assert stream.getvalue() == f"insights ✓ {wording.summary_line(DONE)}\n"


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
    output = widgets._Output()
    display = widgets._Single(output, clock=Ticks())
    display(Progress(Stage.RUNNING, note="a < b"))
    assert output._bars[0].value == 0
    assert ">running on the service · 0.0 s · a &lt; b<" in output._words[0].value
    display(downloading(0.25, 1))
    assert output._bars[0].value == 0.25
    assert len(shown) == 1
    assert set(shown[0].bundles[0]) == {widgets.VIEW_MIME, "text/plain"}


def test_the_bar_is_replaced_by_one_line(shown: list[Handle]) -> None:
    """At the end the same display holds static HTML and text, and no widget."""
    display = widgets._Single(widgets._Output(), clock=Ticks())
    display(Progress(Stage.RUNNING))
    display(DONE)
    display.close()
    assert len(shown) == 1
    assert shown[0].bundles[-1] == wording.static_bundle(f"✓ {wording.summary_line(DONE)}")
    assert set(shown[0].bundles[-1]) == {"text/html", "text/plain"}


def test_a_failed_bar_turns_red_and_says_so(shown: list[Handle]) -> None:
    """On an error the bar has the danger style, and the line that replaces it has class and message."""
    output = widgets._Output()
    display = widgets._Single(output, clock=Ticks())
    display(Progress(Stage.RUNNING))
    (bar,) = output._bars
    display.close(BusyError("both slots taken", "Wait."))
    assert bar.bar_style == "danger"
    assert "failed: BusyError: both slots taken" in shown[0].bundles[-1]["text/html"]


def test_a_cached_frame_flashes_no_bar(shown: list[Handle]) -> None:
    """What comes from the cache shows the line alone."""
    display = widgets._Single(widgets._Output(), clock=Ticks())
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
    display = widgets._Single(widgets._Output(), clock=Ticks())
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
    display = widgets._Single(widgets._Output(), clock=Ticks())
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
    display = widgets._Single(widgets._Output(), clock=Ticks())
    with pytest.raises(KeyboardInterrupt):
        display(Progress(Stage.RUNNING))
    monkeypatch.setattr(widgets, "_display", lambda bundle: SimpleNamespace(update=lambda *_, **__: None))
    display.close(KeyboardInterrupt())


def test_a_closed_display_stays_closed(shown: list[Handle]) -> None:
    """Observations and closings after the first close change nothing."""
    display = widgets._Single(widgets._Output(), clock=Ticks())
    display(Progress(Stage.RUNNING))
    display.close(note="submitted")
    kept = list(shown[0].bundles)
    display(downloading(0.5, 1))
    display.close(BusyError("late"))
    assert shown[0].bundles == kept


def test_a_panel_stacks_its_reports(shown: list[Handle]) -> None:
    """Every report has a bar and words of its own in one display, which ends as one line each."""
    clock = Ticks()
    panel = widgets.Panel(["1/2 CallEvent", "2/2 DtmfEvent"], "widget", clock=clock)
    one, two = panel.row(0), panel.row(1)
    one(downloading(0.5, 1))
    two(Progress(Stage.WAITING, note="2 of ours running"))
    panel.draw()
    output: Any = panel._surface._surface
    assert [bar.value for bar in output._bars] == [0.5, 0.0]
    assert ">1/2 CallEvent · downloading · 50 %" in output._words[0].value
    assert ">2/2 DtmfEvent · waiting for a slot · 0.0 s · 2 of ours running<" in output._words[1].value
    one(DONE)
    one.close()
    clock.now += 1
    panel.draw()
    assert ">✓ 1/2 CallEvent · 212,345 rows" in output._words[0].value
    two.close(BusyError("both slots taken"))
    panel.close()
    assert len(shown) == 1
    assert shown[0].bundles[-1]["text/plain"].splitlines() == [
        f"insights ✓ 1/2 CallEvent · {wording.summary_line(DONE)}",
        "insights ✗ 2/2 DtmfEvent · failed: BusyError: both slots taken",
    ]


def test_a_panel_of_cached_reports_flashes_no_bar(shown: list[Handle]) -> None:
    """Where everything comes from the disk only the lines show."""
    panel = widgets.Panel(["1/1 CallEvent"], "widget", clock=Ticks())
    panel.row(0)(Progress(Stage.READING, cached=True))
    panel.draw()
    assert shown == []
    panel.row(0)(Progress(Stage.DONE, rows=1, columns=1, cached=True))
    panel.row(0).close()
    panel.close()
    assert [set(bundle) for bundle in shown[0].bundles] == [{"text/html", "text/plain"}]


def test_a_panel_is_drawn_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked to draw, a terminal sees four lines a second, of what is still going on."""
    monkeypatch.setenv("COLUMNS", "80")
    stream, clock = io.StringIO(), Ticks()
    monkeypatch.setattr(sys, "stderr", stream)
    panel = widgets.Panel(["1/2 CallEvent", "2/2 DtmfEvent"], "text", clock=clock)
    panel.row(0)(DONE)
    panel.row(0).close()
    for step in range(100):
        clock.now = step / 100
        panel.row(1)(Progress(Stage.RUNNING, elapsed=clock.now))
        panel.draw()
    drawn = stream.getvalue().split("\r")
    assert len(drawn) == 1 + 4
    assert drawn[1].rstrip() == "insights 1 of 2 done · 2/2 DtmfEvent · running on the service · 0.0 s"


def test_a_stopped_panel_interrupts_at_the_next_word() -> None:
    """The thread that works hears of the Stop button when it next says where it is."""
    panel = widgets.Panel(["1/1 CallEvent"], "none")
    panel.row(0)(Progress(Stage.RUNNING))
    panel.stop()
    with pytest.raises(KeyboardInterrupt):
        panel.row(0)(Progress(Stage.RUNNING))


def test_a_failing_panel_goes_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the front end raises, drawing and closing a panel return."""

    def broken(bundle: object) -> None:
        raise RuntimeError("no front end")

    monkeypatch.setattr(widgets, "_display", broken)
    panel = widgets.Panel(["1/1 CallEvent"], "widget", clock=Ticks())
    panel.row(0)(Progress(Stage.RUNNING))
    panel.draw()
    panel.close()


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


def test_a_converted_notebook_has_the_line(tmp_path: Path) -> None:
    """Nbconvert's HTML page of a notebook that was run shows the line as text, and no widget."""
    cell = NODES.new_code_cell(CELL)
    notebook = execute(NODES.new_notebook(cells=[cell]), tmp_path)
    page = PlainText()
    exporter: Any = HTMLExporter
    page.feed(exporter().from_notebook_node(notebook)[0])
    assert f"insights ✓ 3 rows × 2 columns · 100 B · 0.0 s · report {REPORT[:8]}…" in page.text
    assert "FloatProgress" not in page.text


class PlainText(HTMLParser):
    """The text of a page, as a reader sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        """Keep a piece of text."""
        self.text += data
