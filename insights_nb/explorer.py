"""``log.explore()``: a panel to find sessions by what they did, and to read one of them.

Widgets are only ipywidgets' own, which every front end with widgets brings along: nothing is loaded from elsewhere,
and a page of the list is all that is ever sent to the browser. ipywidgets is imported when a panel is opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd

from insights_nb.charts.picture import svg
from insights_nb.charts.style import seconds_text
from insights_nb.errors import FrameError, InsightsError
from insights_nb.sessions import SessionLog
from insights_nb.shortlist import ORDERS, Shortlist, Wanted, clock_text, short_session, table_html

COLUMNS = ("start", "duration", "steps", "last action", "exit reason", "outcome", "flow")
EVENTS = ("offset", "gap", "step", "EventName", "action", "exit_path", "exit_reason", "input", "flags")
FILTERS = ("outcome", "exit_reason", "flow", "action", "left_with")
LISTED = 200
"""Ids the copyable cell lists before it names the attribute instead."""

STYLE = """<style>
.insights-explorer table {border-collapse: separate; border-spacing: 0; font-size: 12px; width: 100%; margin: 0}
.insights-explorer th, .insights-explorer td, .insights-explorer .insights-ids button {height: 28px; line-height: 27px;
  padding: 0 8px; text-align: left; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  box-sizing: border-box; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .25); vertical-align: top;
  font-variant-numeric: tabular-nums}
.insights-explorer td {max-width: 20em}
.insights-explorer th {font-weight: 600; opacity: .75}
.insights-explorer .insights-page table {table-layout: fixed; min-width: 44em}
.insights-explorer .insights-page th:first-child {width: 10.5em}
.insights-explorer .insights-page th:nth-child(2) {width: 6.6em}
.insights-explorer .insights-page th:nth-child(3) {width: 4.6em}
.insights-explorer .insights-ids button {margin: 0; width: 100%; color: inherit; background: transparent;
  box-shadow: none; cursor: pointer; font-family: var(--jp-code-font-family, monospace); font-size: 12px}
.insights-explorer .insights-ids button:hover {text-decoration: underline; box-shadow: none}
.insights-explorer .insights-ids button:disabled {visibility: hidden}
.insights-explorer .insights-ids button.mod-info {background: rgba(0, 114, 178, .22); font-weight: 700}
.insights-explorer .widget-html, .insights-explorer .widget-html-content {line-height: 1.4; height: auto; margin: 0}
.insights-explorer .insights-wide, .insights-explorer .insights-page {overflow-x: auto}
.insights-explorer h4 {margin: 12px 0 4px}
</style>"""


class Explorer:
    """The panel of :meth:`SessionLog.explore`.

    Parameters
    ----------
    log : SessionLog
        What to explore.
    rows : int, default 10
        Sessions a page.

    Attributes
    ----------
    ids : list of str
        The sessions kept, or, while none is, all that fit the filters; in the order shown.
    """

    def __init__(self, log: SessionLog, rows: int = 10) -> None:
        if rows < 1:
            raise FrameError(f"explore(rows={rows}): a page has at least one row.")
        self.log = log
        self.session: str | None = None
        self.kept: list[str] = []
        self._rows = rows
        self._first = 0
        self._variant: int | None = None
        self._resetting = False
        self._list = Shortlist(log)
        self._found = self._list.find(Wanted())
        # A column that says the same of every session only takes room.
        alike = [name for name in ("outcome", "flow") if len(self._list.choices(name)) < 2]
        self._columns = [name for name in COLUMNS if name not in alike]
        self._widgets = _Widgets(self._list, rows, log.ledger.masked)
        self._connect()
        self._search()

    def __repr__(self) -> str:
        return f"<Explorer: {len(self._found):,} of {len(self._list):,} sessions>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The live panel; and, for a page that cannot show it, the list as it stands now."""
        bundle: dict[str, Any] = dict(self._widgets.box._repr_mimebundle_())
        page = self._list.page(self._found[: self._rows]).reset_index(names="session")
        bundle["text/html"] = table_html(page, ("session", *self._columns), "No session fits.")
        bundle["text/plain"] = repr(self)
        return bundle

    @property
    def ids(self) -> list[str]:
        """Ids of the sessions kept, or of all that fit while none is kept."""
        return list(self.kept) or [str(one) for one in self._list.ids[self._found]]

    @property
    def selection(self) -> SessionLog:
        """The log of :attr:`ids`, for tables and charts."""
        return self.log.select(self.ids)

    def show(self, session: str) -> None:
        """Open one session, as a click on its id does.

        Raises
        ------
        FrameError
            The log holds no such session.
        """
        if session not in self._list.ids:
            self.log.select(session)  # says so, and names the nearest
        self.session = session
        self._draw_page()
        self._draw_session()

    def _connect(self) -> None:
        """Tie every widget to what it does."""
        widgets = self._widgets
        for control in widgets.filters.values():
            control.observe(self._guarded(self._search), names="value")
        for button in widgets.ids:
            button.on_click(self._guarded(lambda one: self.show(one.tooltip)))
        for name, action in {
            "reset": self._reset,
            "back": self._back,
            "on": self._on,
            "same": self._same,
            "before": self._before,
            "keep": self._keep,
        }.items():
            widgets.buttons[name].on_click(self._guarded(action))
        widgets.unmask.observe(self._guarded(lambda _: self._draw_session()), names="value")

    def _guarded(self, action: Callable[[Any], None]) -> Callable[[Any], None]:
        """Do it, and show what goes wrong in the panel: where a front end puts it otherwise, nobody looks."""

        def run(change: Any) -> None:
            self._widgets.note.value = ""
            try:
                action(change)
            except InsightsError as error:
                self._widgets.note.value = f"<p><b>✗</b> {escape(str(error))}</p>"

        return run

    def _search(self, _: Any = None) -> None:
        if self._resetting:  # every filter that is put back asks for a search of its own
            return
        controls = {name: control.value for name, control in self._widgets.filters.items()}
        order, descending = controls.pop("order"), controls.pop("descending")
        for name in ("shortest", "longest"):
            controls[name] = _seconds(controls[name])
        self._found = self._list.find(Wanted(**controls, variant=self._variant), order, descending=descending)
        self._first = 0
        self._draw_page()

    def _reset(self, _: Any) -> None:
        self._variant, self._resetting = None, True
        for name, control in self._widgets.filters.items():
            control.value = {"order": "start", "descending": False}.get(name, "")
        self._resetting = False
        self._search()

    def _back(self, _: Any) -> None:
        self._turn(-1)

    def _on(self, _: Any) -> None:
        self._turn(1)

    def _turn(self, pages: int) -> None:
        last = max(0, (len(self._found) - 1) // self._rows * self._rows)
        self._first = min(max(0, self._first + pages * self._rows), last)
        self._draw_page()

    def _same(self, _: Any) -> None:
        """All sessions that took the path of the open one, whatever was asked for before."""
        path = int(self._list.table["variant"][str(self.session)])
        self._reset(None)
        self._variant = path
        self._search()

    def _before(self, _: Any) -> None:
        """What sessions did before they ended as the open one did."""
        row = self._list.table.loc[self.session]
        end = row["exit_reason"] if isinstance(row["exit_reason"], str) else row["last_action"]
        table = self.log.before(end, n=4)
        shown = pd.DataFrame(
            {
                "sessions": table["sessions"].map("{:,}".format),
                "share": table["share"].map("{:.1%}".format),
                "the four steps before": [" ▸ ".join(_plain(step) for step in path) for path in table["path"]],
            }
        ).head(self._rows)
        title = f"<h4>Before “{escape(_plain(end))}”, in all {len(self.log):,} sessions</h4>"
        self._widgets.around.value = title + table_html(shown, [str(name) for name in shown], "Nothing came before it.")

    def _keep(self, _: Any) -> None:
        if self.session in self.kept:
            self.kept.remove(self.session)
        elif self.session:
            self.kept.append(self.session)
        self._draw_page()
        self._draw_session()

    def _draw_page(self) -> None:
        widgets, shown = self._widgets, self._found[self._first : self._first + self._rows]
        page = self._list.page(shown)
        for button, session in zip(widgets.ids, [*page.index, *[""] * (self._rows - len(page))], strict=True):
            mark = "★ " if session in self.kept else ""
            button.description, button.tooltip = mark + short_session(session), session
            button.button_style = "info" if session and session == self.session else ""
            button.disabled = not session
        widgets.page.value = table_html(page, self._columns, "No session fits. Loosen a filter, or reset them.")
        last = self._first + len(shown)
        place = f"{self._first + 1:,}–{last:,} of " if len(shown) else ""
        path = f" · only path {self._variant}" if self._variant is not None else ""
        all_ = "" if len(self._found) == len(self._list) else f" (of {len(self._list):,})"
        widgets.count.value = f"{place}<b>{len(self._found):,} sessions</b>{all_}{path}"
        widgets.buttons["back"].disabled = self._first == 0
        widgets.buttons["on"].disabled = last >= len(self._found)
        widgets.cell.value = self._cell()

    def _draw_session(self) -> None:
        widgets, session = self._widgets, self.session
        if session is None:
            return
        one = self.log.select(self._list.ids == session)  # a mask: looking an id up takes longer
        if widgets.unmask.value:
            one = SessionLog(replace(one.ledger, masked=False))
        count = int(self._list.table["n_steps"][session])
        chart = svg(lambda ax: one.plot.timeline(session, ax=ax), 8.5, 1.6 + 0.34 * min(max(count, 1), 60))
        events = one.timeline(session)
        events["offset"] = [clock_text(span, tenths=True) for span in events["offset"].dt.total_seconds()]
        events["gap"] = [seconds_text(span) if span == span else "" for span in events["gap"].dt.total_seconds()]
        columns: list[str] = [name for name in EVENTS if events[name].astype("str").fillna("").ne("").any()]
        rows = table_html(events.assign(action=events["action"].map(_plain)), columns, "No events.")
        widgets.chart.value, widgets.events.value, widgets.around.value = chart, rows, ""
        widgets.buttons["keep"].description = "Keep no more" if session in self.kept else "Keep"
        widgets.detail.layout.display = ""

    def _cell(self) -> str:
        """A cell that takes the selection on from here."""
        ids = self.ids
        if len(ids) > LISTED:
            return f"# {len(ids):,} sessions. Of what explore() returned, .ids lists them and .selection is their log."
        return "log.select([\n" + "".join(f"    {session!r},\n" for session in ids) + "])"


class _Widgets:
    """Every part of the panel and how it is laid out; knows nothing of what it does."""

    def __init__(self, found: Shortlist, rows: int, masked: bool) -> None:
        import ipywidgets

        self._kit: Any = ipywidgets  # it comes without types
        self.filters = self._filters(found)
        self.buttons = self._buttons()
        self.ids = [self._kit.Button(layout=self._kit.Layout(width="auto")) for _ in range(rows)]
        self.count, self.note, self.chart, self.events, self.around = (self._kit.HTML() for _ in range(5))
        self.page = self._kit.HTML(layout=self._kit.Layout(flex="1 1 auto", min_width="0"))
        self.page.add_class("insights-page")
        for wide in (self.events, self.around):
            wide.add_class("insights-wide")
        self.cell = self._kit.Textarea(rows=3, layout=self._kit.Layout(width="100%"))
        self.unmask = self._kit.Checkbox(description="show what was keyed in", indent=False, layout=self._room("auto"))
        actions = [*(self.buttons[name] for name in ("same", "before", "keep")), *([self.unmask] if masked else [])]
        self.detail = self._kit.VBox([self._row(actions), self.around, self.chart, self.events])
        self.detail.layout.display = "none"
        self.box = self._laid_out()

    def _filters(self, found: Shortlist) -> dict[str, Any]:
        def choice(title: str, name: str) -> Any:
            offered = [(f"{word}  ({count:,})", word) for word, count in found.choices(name)]
            return self._kit.Dropdown(options=[(title, ""), *offered], value="", layout=self._room("205px"))

        def entry(hint: str, width: str) -> Any:
            return self._kit.Text(placeholder=hint, layout=self._room(width))

        return {
            "outcome": choice("any outcome", "outcome"),
            "exit_reason": choice("any end", "exit_reason"),
            "flow": choice("any flow", "flow"),
            "action": choice("any action visited", "action"),
            "left_with": choice("… left for any reason", "left_with"),
            "shortest": entry("from (s)", "85px"),
            "longest": entry("to (s)", "85px"),
            "text": entry("part of the id", "118px"),
            "order": self._kit.Dropdown(options=list(ORDERS), value="start", layout=self._room("110px")),
            "descending": self._kit.ToggleButton(description="↓", tooltip="largest first", layout=self._room("36px")),
        }

    def _buttons(self) -> dict[str, Any]:
        def button(words: str, width: str, hint: str) -> Any:
            return self._kit.Button(description=words, tooltip=hint, layout=self._room(width))

        return {
            "reset": button("Reset", "66px", "take every filter off"),
            "back": button("◀", "40px", "page back"),
            "on": button("▶", "40px", "next page"),
            "same": button("More like this", "130px", "sessions that took the same path"),
            "before": button("What came before", "150px", "steps before sessions ended this way"),
            "keep": button("Keep", "120px", "put this session on the list below"),
        }

    def _laid_out(self) -> Any:
        names = self._kit.VBox([self._kit.HTML("<table><tr><th>session</th></tr></table>"), *self.ids])
        names.layout = self._kit.Layout(flex="0 0 auto", width="165px")
        names.add_class("insights-ids")
        asked = [*(self.filters[name] for name in (*FILTERS, "shortest", "longest", "text")), self.buttons["reset"]]
        order = [self._kit.HTML("by", layout=self._room("auto")), self.filters["order"], self.filters["descending"]]
        box = self._kit.VBox(
            [
                self._kit.HTML(STYLE, layout=self._kit.Layout(height="0", margin="0")),
                self._row(asked),
                self._kit.HBox([names, self.page]),
                self._row([self.buttons["back"], self.buttons["on"], *order, self.count]),
                self.note,
                self.detail,
                self._kit.HTML("<h4>Go on with these sessions</h4>"),
                self.cell,
            ]
        )
        box.add_class("insights-explorer")
        return box

    def _row(self, widgets: Sequence[Any]) -> Any:
        return self._kit.HBox(widgets, layout=self._kit.Layout(flex_flow="row wrap", align_items="center"))

    def _room(self, width: str) -> Any:
        return self._kit.Layout(width=width, margin="2px 6px 2px 0")


def _seconds(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _plain(action: object) -> str:
    """An action without the name of its flow."""
    return action.rsplit(" ▸ ", 1)[-1] if isinstance(action, str) else ""
