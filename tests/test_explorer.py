"""``log.explore()``: what its buttons and filters do, through the widgets a person uses."""

from typing import Any

import pandas as pd
import pytest

from insights_nb.errors import FrameError
from insights_nb.explorer import LISTED, Explorer
from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from tests.session_logs import DAY, fetched, make_log


@pytest.fixture(scope="module")
def log() -> SessionLog:
    """Sixty sessions and what their endings mean."""
    rules = OutcomeRules({"completed": "Call Successful"})
    return session_log(fetched(make_log(60), DAY - 60, DAY + 7200), rules=rules)


@pytest.fixture
def panel(log: SessionLog) -> Explorer:
    found: Explorer = log.explore()
    return found


def shown(panel: Explorer) -> list[str]:
    """Ids on the page, from the buttons' tooltips."""
    return [button.tooltip for button in panel._widgets.ids if not button.disabled]


def press(panel: Explorer, name: str) -> None:
    panel._widgets.buttons[name].click()


def choose(panel: Explorer, **values: Any) -> None:
    for name, value in values.items():
        panel._widgets.filters[name].value = value


def test_it_opens_with_all_sessions(panel: Explorer, log: SessionLog) -> None:
    """The first page holds the earliest sessions, and every choice says how many it would leave."""
    assert repr(panel) == "<Explorer: 60 of 60 sessions>"
    assert shown(panel) == list(log.sessions().sort_values("start", kind="stable").index[:10])
    assert panel._widgets.count.value == "1–10 of <b>60 sessions</b>"
    options = dict(panel._widgets.filters["exit_reason"].options)
    assert options["any end"] == ""
    assert "Call Successful" in options.values()
    assert panel._widgets.detail.layout.display == "none"


def test_the_accessor_opens_it_too() -> None:
    """df.insights.explore() is the panel of the frame's log."""
    frame: Any = make_log(5)
    opened = frame.insights.explore(rows=3)
    assert repr(opened) == "<Explorer: 5 of 5 sessions>"
    assert len(opened._widgets.ids) == 3


def test_filters_narrow_the_list(panel: Explorer, log: SessionLog) -> None:
    """Each filter leaves what the log's own table says, and Reset takes all of them off."""
    choose(panel, action="TRANSFER_1", longest="60")
    steps, table = log.steps(), log.sessions()
    expected = set(steps.loc[steps["action"] == "TRANSFER_1", "SessionId"])
    expected &= set(table.index[table["duration"].dt.total_seconds() <= 60])
    assert set(panel.ids) == expected
    assert f"<b>{len(expected)} sessions</b> (of 60)" in panel._widgets.count.value
    press(panel, "reset")
    assert len(panel.ids) == 60


def test_a_length_that_is_no_number_asks_for_nothing(panel: Explorer) -> None:
    """Half a number while it is being typed does not empty the list."""
    choose(panel, shortest="abc", longest="-")
    assert len(panel.ids) == 60


def test_pages_turn_and_end(panel: Explorer) -> None:
    """The buttons go through all pages and stop at both ends."""
    seen = shown(panel)
    for _ in range(8):
        press(panel, "on")
        seen += [one for one in shown(panel) if one not in seen]
    assert len(seen) == 60
    assert panel._widgets.buttons["on"].disabled
    assert panel._widgets.count.value.startswith("51–60 of")
    for _ in range(8):
        press(panel, "back")
    assert panel._widgets.buttons["back"].disabled
    choose(panel, order="duration", descending=True)
    assert panel._widgets.count.value.startswith("1–10 of")


def test_a_last_page_may_be_short(panel: Explorer) -> None:
    """Rows without a session have no button, and no session at all says what to do."""
    choose(panel, text=panel.ids[0][-8:])
    assert len(shown(panel)) == 1
    choose(panel, text="no such id")
    assert shown(panel) == []
    assert "No session fits" in panel._widgets.page.value


def test_a_click_opens_a_session(panel: Explorer, log: SessionLog) -> None:
    """The session's chart and rows appear, and its button is marked; what was keyed in is masked."""
    table = log.sessions()
    session = table.index[table["n_dtmf"] > 0][0]
    choose(panel, text=session)
    panel._widgets.ids[0].click()
    widgets = panel._widgets
    assert panel.session == session
    assert widgets.ids[0].button_style == "info"
    assert widgets.detail.layout.display != "none"
    assert session in widgets.chart.value
    assert widgets.chart.value.startswith('<svg role="img" aria-label="')
    assert widgets.events.value.count("<tr>") == len(log.timeline(session)) + 1
    assert "••••" in widgets.events.value


def test_what_was_keyed_in_is_shown_when_asked_for() -> None:
    """The checkbox unmasks the open session, and hides it again."""
    frame = make_log(20)
    frame.loc[frame["DtmfInput"].notna(), "DtmfInput"] = "5550100"
    panel: Explorer = session_log(frame).explore()
    table = panel.log.sessions()
    panel.show(str(frame.loc[frame["DtmfInput"].notna(), "SessionId"].iloc[0]))
    assert len(table)
    assert "5550100" not in panel._widgets.events.value
    panel._widgets.unmask.value = True
    assert "5550100" in panel._widgets.events.value
    assert "5550100" not in panel._widgets.chart.value
    panel._widgets.unmask.value = False
    assert "5550100" not in panel._widgets.events.value


def test_an_open_log_has_nothing_to_unmask() -> None:
    """A log made with mask_input=False shows no such checkbox."""
    panel: Explorer = session_log(make_log(3), mask_input=False).explore()
    assert panel._widgets.unmask not in panel._widgets.detail.children[0].children


def test_more_like_this_takes_every_session_of_the_path(panel: Explorer, log: SessionLog) -> None:
    """The list becomes the open session's variant, whatever was asked before, and Reset brings all back."""
    table = log.sessions()
    choose(panel, outcome="completed")
    panel.show(shown(panel)[0])
    path = table["variant"][str(panel.session)]
    press(panel, "same")
    assert set(panel.ids) == set(table.index[table["variant"] == path])
    assert f"only path {path}" in panel._widgets.count.value
    press(panel, "reset")
    assert len(panel.ids) == 60


def test_what_came_before_is_the_log_s_own_answer(panel: Explorer, log: SessionLog) -> None:
    """The table of paths before the open session's end is log.before()'s."""
    choose(panel, exit_reason="Call Successful")
    panel.show(shown(panel)[0])
    press(panel, "before")
    html = panel._widgets.around.value
    assert "Before “Call Successful”, in all 60 sessions" in html
    first = log.before("Call Successful", n=4).iloc[0]
    assert " ▸ ".join(first["path"]) in html
    assert f"{first['sessions']:,}" in html


def test_kept_sessions_are_the_export(panel: Explorer) -> None:
    """Keep puts the open session on the list, in the cell and behind a star; keeping no more takes it off."""
    everything = panel.ids
    assert panel._widgets.cell.value.count("\n") == 61
    for number in (2, 4):
        panel._widgets.ids[number].click()
        press(panel, "keep")
    assert panel.ids == [shown(panel)[2], shown(panel)[4]]
    assert panel._widgets.cell.value == "log.select([\n" + "".join(f"    {one!r},\n" for one in panel.ids) + "])"
    assert panel._widgets.ids[2].description.startswith("★ ")
    assert len(panel.selection) == 2
    press(panel, "keep")
    assert len(panel.ids) == 1
    panel._widgets.ids[2].click()
    press(panel, "keep")
    assert panel.ids == everything


def test_a_long_export_is_named_not_listed() -> None:
    """Beyond two hundred ids the cell says where they are."""
    panel: Explorer = session_log(make_log(LISTED + 1)).explore()
    assert panel._widgets.cell.value.startswith("# 201 sessions.")
    assert len(panel.selection) == LISTED + 1


def test_what_fails_is_told_in_the_panel(panel: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours within a click stays in the panel, escaped, and goes with the next click."""

    def broken(*_: object, **__: object) -> pd.DataFrame:
        raise FrameError("no <such> column")

    panel.show(shown(panel)[0])
    monkeypatch.setattr(panel.log, "before", broken)
    press(panel, "before")
    assert "no &lt;such&gt; column" in panel._widgets.note.value
    press(panel, "on")
    assert panel._widgets.note.value == ""


def test_an_unknown_session_is_the_log_s_own_error(panel: Explorer) -> None:
    """show() with an id the log does not hold names the nearest."""
    with pytest.raises(FrameError, match="holds no session"):
        panel.show("nobody")
    with pytest.raises(FrameError, match="at least one row"):
        panel.log.explore(rows=0)


def test_a_page_without_widgets_has_the_list(panel: Explorer) -> None:
    """Beside the live panel the bundle holds the list as a plain table, and as words."""
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "<Explorer: 60 of 60 sessions>"
    assert all(session in bundle["text/html"] for session in shown(panel))


def test_ids_cannot_become_markup() -> None:
    """A session whose id is HTML stays text wherever it is shown."""
    frame = make_log(1)
    frame["SessionId"] = "<img src=x>"
    panel: Explorer = session_log(frame).explore()
    panel.show("<img src=x>")
    for part in (panel._widgets.page.value, panel._widgets.events.value, panel._widgets.chart.value):
        assert "<img" not in part
    assert "<img" not in panel._repr_mimebundle_()["text/html"]


def test_a_log_with_one_flow_has_no_column_for_it(panel: Explorer) -> None:
    """What is the same for every session takes no room."""
    assert "<th>flow</th>" not in panel._widgets.page.value
    frame = make_log(4)
    frame.loc[frame["SessionId"] == frame["SessionId"].iloc[0], "FlowId"] = "another"
    two: Explorer = session_log(frame).explore()
    assert "<th>flow</th>" in two._widgets.page.value
