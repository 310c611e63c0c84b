"""``df.insights``: sessions of a frame in one line.

Each call reads the frame anew, so it is never out of date; for more than a question or two make the log once with
``insights.session_log(df)``, whose methods these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from insights_nb.explorer import Explorer
from insights_nb.sessions import SessionLog, session_log
from insights_nb.sessions.log import explored_by

if TYPE_CHECKING:
    from insights_nb.sessions.plots import Plots


class InsightsAccessor:
    """Session tables and charts of a frame of events, as ``df.insights``.

    Parameters
    ----------
    df : DataFrame
        Events with at least ``SessionId``.
    """

    def __init__(self, df: pd.DataFrame) -> None:
        self._df = df

    def log(self, **options: Any) -> SessionLog:
        """The frame's :class:`~insights_nb.sessions.SessionLog`; options as in ``session_log``."""
        return session_log(self._df, **options)

    def sessions(self) -> pd.DataFrame:
        """One row per session; see :meth:`insights_nb.sessions.SessionLog.sessions`."""
        return self.log().sessions()

    def exits(self, by: str = "exit_reason", freq: str | None = None, level: str = "session") -> pd.DataFrame:
        """How sessions end; see :meth:`insights_nb.sessions.SessionLog.exits`."""
        return self.log().exits(by=by, freq=freq, level=level)

    def timeline(self, ids: Any) -> pd.DataFrame:
        """The events of a few sessions; see :meth:`insights_nb.sessions.SessionLog.timeline`."""
        return self.log().timeline(ids)

    def completeness(self) -> pd.DataFrame:
        """How many sessions are whole; see :meth:`insights_nb.sessions.SessionLog.completeness`."""
        return self.log().completeness()

    def quality(self) -> pd.DataFrame:
        """Can the numbers be trusted; see :meth:`insights_nb.sessions.SessionLog.quality`."""
        return self.log().quality()

    def suggest_window(self) -> dict[str, str]:
        """A window without cut sessions; see :meth:`insights_nb.sessions.SessionLog.suggest_window`."""
        return self.log().suggest_window()

    def steps(self) -> pd.DataFrame:
        """One row per step; see :meth:`insights_nb.sessions.SessionLog.steps`."""
        return self.log().steps()

    def actions(self) -> pd.DataFrame:
        """One row per action; see :meth:`insights_nb.sessions.SessionLog.actions`."""
        return self.log().actions()

    def transitions(self, by: str | None = None, ends: bool = True) -> pd.DataFrame:
        """Where sessions go next; see :meth:`insights_nb.sessions.SessionLog.transitions`."""
        return self.log().transitions(by=by, ends=ends)

    def variants(self, top: int | None = 20, collapse_repeats: bool = True) -> pd.DataFrame:
        """Which whole paths they take; see :meth:`insights_nb.sessions.SessionLog.variants`."""
        return self.log().variants(top=top, collapse_repeats=collapse_repeats)

    def funnel(self, steps: Any, within: Any = None, ordered: bool = True) -> pd.DataFrame:
        """How many reach each milestone; see :meth:`insights_nb.sessions.SessionLog.funnel`."""
        return self.log().funnel(steps, within=within, ordered=ordered)

    def loops(self, min_visits: int = 2) -> pd.DataFrame:
        """Where they go in circles; see :meth:`insights_nb.sessions.SessionLog.loops`."""
        return self.log().loops(min_visits)

    def before(self, x: Any, n: int = 5, occurrence: str = "first") -> pd.DataFrame:
        """What came just before; see :meth:`insights_nb.sessions.SessionLog.before`."""
        return self.log().before(x, n=n, occurrence=occurrence)

    def after(self, x: Any, n: int = 5, occurrence: str = "first") -> pd.DataFrame:
        """What comes next; see :meth:`insights_nb.sessions.SessionLog.after`."""
        return self.log().after(x, n=n, occurrence=occurrence)

    def dtmf(self, by: str = "action", top_inputs: int | None = None) -> pd.DataFrame:
        """What prompts heard; see :meth:`insights_nb.sessions.SessionLog.dtmf`."""
        return self.log().dtmf(by=by, top_inputs=top_inputs)

    def kpis(self, by: str | None = None, freq: str | None = None) -> pd.DataFrame:
        """The rates that belong together; see :meth:`insights_nb.sessions.SessionLog.kpis`."""
        return self.log().kpis(by=by, freq=freq)

    def step_matrix(self, n: int = 10, align: str = "start") -> pd.DataFrame:
        """Where they are after n steps; see :meth:`insights_nb.sessions.SessionLog.step_matrix`."""
        return self.log().step_matrix(n=n, align=align)

    def compare(self, selected: Any, baseline: Any = None, **options: Any) -> pd.DataFrame:
        """What is different about some of them; see :meth:`insights_nb.sessions.SessionLog.compare`."""
        return self.log().compare(selected, baseline, **options)

    def explore(self, rows: int = 10) -> Explorer:
        """A panel to find sessions and read one; see :meth:`insights_nb.sessions.SessionLog.explore`."""
        return Explorer(self.log(), rows)

    @property
    def plot(self) -> Plots:
        """Charts: ``df.insights.plot.exits()``, ``df.insights.plot.timeline(id)``."""
        return self.log().plot


def register() -> None:
    """Make ``df.insights`` available; may be called any number of times.

    pandas warns when an accessor replaces an attribute. Replacing our own, as a reload does, is no cause for that,
    so ours is taken away first; a stranger's of the same name stays and gives pandas' warning.
    """
    present = vars(pd.DataFrame).get("insights")
    # Behind pandas' own wrapper, or the package's for the time before the first use.
    made_by = getattr(getattr(present, "_accessor", present), "__module__", None)
    if made_by in (__name__, "insights_nb"):
        delattr(pd.DataFrame, "insights")
    pd.api.extensions.register_dataframe_accessor("insights")(InsightsAccessor)


register()
explored_by(Explorer)
