"""A person at a real JupyterLab in a real browser: what is seen, pressed, typed, saved and found again."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from insights_nb.simulator import Fault, Simulator
from tests.lab import Lab, Sheet, running_browser, running_lab
from tests.parts import require_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SETUP = "import insights_nb as insights\n%load_ext insights_nb"
RANGE = "--since 2026-11-13 --until 2026-11-20"
FIELDS = '"EventName", "TimeStamp", "SessionId", "FlowId", "ActionId", "Path", "ExitReason"'
EVENTS = f'{{"data": {{"ApplicationExitEvent": {{"fields": [{FIELDS}]}}}}}}'
KEYS = EVENTS.replace("ApplicationExitEvent", "DtmfEvent").replace('"Path", "ExitReason"', '"DtmfInput", "ErrorReason"')
CALLS = '{"data": {"CallEvent": {"fields": ["SessionId", "TimeStamp"]}}}'
CELLS = [
    SETUP,
    f"%%insights events {RANGE}\n{EVENTS}",
    f"%%insights keys {RANGE}\n{KEYS}",
    f"frames = insights.gather('{EVENTS}', '{KEYS}', '{CALLS}', since='2026-11-14', until='2026-11-15')",
    "insights.schema()",
    "log = insights.session_log({'ApplicationExitEvent': events, 'DtmfEvent': keys})\npanel = log.explore()\npanel",
    "",
    "print(len(panel.ids), panel.ids[0][:4])",
]
BAR, STOP, GATHER, SCHEMA, PANEL, TYPED, IDS = range(1, 8)
FIRST_NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "01_first_query.ipynb"


@pytest.fixture(scope="module")
def gate() -> threading.Event:
    """Holds one file of the first report back until it is set."""
    return threading.Event()


@pytest.fixture(scope="module")
def service(gate: threading.Event) -> Iterator[Simulator]:
    """A service whose first report comes in several files, one of them late."""
    require_browser()
    late = Fault("SFTP open", "delay", nth=3, gate=gate)
    with Simulator(size=20_000, until="2026-11-20", shard_rows=1500, faults=[late]) as running:
        yield running


@pytest.fixture(scope="module")
def lab(service: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    settings = {f"INSIGHTS_{name.upper()}": value for name, value in service.settings.items()}
    with running_lab(tmp_path_factory.mktemp("lab"), settings) as running:
        running.write("desk.ipynb", CELLS)
        shutil.copy(FIRST_NOTEBOOK, running.notebooks / "first.ipynb")
        yield running


@pytest.fixture(scope="module")
def browser(lab: Lab) -> "Iterator[Browser]":
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def desk(browser: "Browser", lab: Lab) -> Iterator[Sheet]:
    """The notebook of these tests, open, its first cell run."""
    sheet = Sheet(browser, lab, "desk.ipynb")
    assert sheet.result(0) == ""
    yield sheet
    assert sheet.strangers == []


def posts(service: Simulator) -> int:
    return service.count("POST", r"/dwh/Q$")


def saved(lab: Lab, number: int) -> list[Any]:
    """Outputs of a cell in the notebook's file."""
    return list(lab.read("desk.ipynb").cells[number].outputs)


def width(desk: Sheet, number: int) -> float:
    """Share of the bar that is filled, in percent; 0 without a bar."""
    styles = desk.outputs(number).locator(".progress-bar").evaluate_all("bars => bars.map(bar => bar.style.width)")
    return float(styles[0].removesuffix("%") or 0) if styles else 0.0


def test_the_bar_moves_and_ends_as_one_line(desk: Sheet, lab: Lab, gate: threading.Event) -> None:
    """While files come the bar stands between its ends, and then it is one line of text, in the saved file too."""
    desk.run(BAR)
    desk.wait(lambda: 0 < width(desk, BAR) < 100)
    assert "downloading" in desk.text(BAR)
    gate.set()
    line = desk.finish(BAR).strip()
    assert line.startswith("insights ✓ ")
    assert "rows × 7 columns" in line
    assert desk.outputs(BAR).locator(".progress-bar").count() == 0
    desk.save()
    (output,) = saved(lab, BAR)
    assert set(output.data) == {"text/html", "text/plain"}


def test_stop_says_what_goes_on_and_the_cell_resumes(desk: Sheet, service: Simulator) -> None:
    """The Stop button ends the wait with a note; the same cell again gets the report that was asked for once."""
    service.hold()
    before = posts(service)
    desk.run(STOP)
    desk.wait(lambda: "running on the service" in desk.text(STOP))
    desk.stop()
    shown = desk.finish(STOP)
    assert "■ stopped waiting" in shown
    assert "Run the cell again to pick it up." in shown
    assert "KeyboardInterrupt" in shown
    service.release()
    assert desk.result(STOP).strip().startswith("insights ✓ ")
    assert posts(service) == before + 1


def test_several_reports_stack_in_one_panel(desk: Sheet, service: Simulator, lab: Lab) -> None:
    """Three bars stand in one panel, the third waiting for a slot and saying who has it, and end as three lines."""
    service.hold()
    desk.run(GATHER)
    desk.wait(lambda: desk.text(GATHER).count("running on the service") == 2)
    desk.wait(lambda: "waiting for a slot" in desk.text(GATHER))
    assert "2 of ours running" in desk.text(GATHER)
    assert desk.outputs(GATHER).locator(".progress-bar").count() == 3
    service.release()
    lines = desk.finish(GATHER).strip().splitlines()
    assert [line[:14] for line in lines] == ["insights ✓ 1/3", "insights ✓ 2/3", "insights ✓ 3/3"]
    desk.save()
    assert "widget" not in json.dumps(saved(lab, GATHER))


def test_the_schema_can_be_searched(desk: Sheet) -> None:
    """Typing into the box above the table leaves the rows that hold every word."""
    desk.result(SCHEMA)
    rows = desk.outputs(SCHEMA).locator("tbody tr:visible")
    everything = rows.count()
    desk.outputs(SCHEMA).locator("input[type=search]").fill("exit reason")
    assert 0 < rows.count() < everything
    assert "ExitReason" in rows.first.inner_text()


def test_tab_completes_inside_the_cell(desk: Sheet) -> None:
    """Tab in a list of fields shows that event's fields, and Enter writes the one that was picked."""
    desk.type_into(TYPED, '%%insights few\n{"data": {"DtmfEvent": {"fields": ["E')
    desk.page.keyboard.press("Tab")
    listed = desk.page.locator(".jp-Completer-item .jp-Completer-match")
    desk.wait(lambda: 'ErrorReason"' in listed.all_inner_texts())
    assert 'EventName"' in listed.all_inner_texts()
    assert 'ExitReason"' not in listed.all_inner_texts()
    desk.page.keyboard.type("rr")
    desk.wait(lambda: listed.all_inner_texts() == ['ErrorReason"'])
    desk.page.keyboard.press("Enter")
    desk.wait(lambda: desk.source(TYPED).endswith('["ErrorReason"'))
    desk.type_into(TYPED, "%%insights few --dr")
    desk.page.keyboard.press("Tab")
    desk.wait(lambda: listed.all_inner_texts() == ["--dry-run"])
    desk.page.keyboard.press("Enter")
    desk.wait(lambda: desk.source(TYPED) == "%%insights few --dry-run")


def test_the_explorer_opens_a_session(desk: Sheet) -> None:
    """A click on a session shows its chart and rows; keyed digits are masked; what is kept is in the kernel."""
    desk.result(PANEL)
    panel = desk.outputs(PANEL)
    panel.get_by_placeholder("part of the id").fill("00000007")
    desk.wait(lambda: "1–1 of 1 sessions" in desk.text(PANEL))
    panel.locator(".insights-ids button").first.click()
    panel.locator("svg[role=img]").wait_for()
    assert "••••" in desk.text(PANEL)
    panel.get_by_role("button", name="What came before").click()
    panel.get_by_text("the four steps before").wait_for()
    panel.get_by_role("button", name="Keep").click()
    desk.wait(lambda: "★" in desk.text(PANEL))
    assert desk.result(IDS).strip() == "1 1794"


def test_a_reload_finds_everything_again(desk: Sheet, lab: Lab) -> None:
    """After the page is loaded anew the saved lines stand where they stood, and no bar is left."""
    before = [desk.text(number) for number in (BAR, STOP, GATHER)]
    desk.save()
    desk.open()
    assert [desk.text(number) for number in (BAR, STOP, GATHER)] == before
    assert desk.page.locator(".progress-bar").count() == 0
    assert "StartTime" in desk.text(SCHEMA)
    desk.wait(lambda: desk.outputs(PANEL).locator(".insights-ids button").count() == 10)
    assert "Error displaying widget" not in desk.text(PANEL)


def test_the_first_notebook_runs_cell_by_cell(browser: "Browser", lab: Lab) -> None:
    """Notebook 01 runs from top to bottom in the browser, each cell without an error, with its pictures."""
    sheet = Sheet(browser, lab, "first.ipynb")
    cells = sheet.page.locator(".jp-Notebook .jp-Cell")
    code = [
        number for number in range(cells.count()) if "jp-CodeCell" in (cells.nth(number).get_attribute("class") or "")
    ]
    assert len(code) > 5
    for number in code:
        sheet.result(number)
        assert sheet.outputs(number).locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert sheet.page.locator(".jp-OutputArea img").count() >= 2
    assert sheet.strangers == []
    sheet.page.close()
