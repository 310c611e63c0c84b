"""``df.insights``: sessions of a frame in one line.

Each call reads the frame anew, so it is never out of date; for more than a question or two make the log once with
``insights.session_log(df)``, whose methods these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from insights_nb.sessions import SessionLog, session_log

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

    @property
    def plot(self) -> Plots:
        """Charts: ``df.insights.plot.exits()``, ``df.insights.plot.timeline(id)``."""
        return self.log().plot


def register() -> None:
    """Make ``df.insights`` available; may be called any number of times.

    pandas warns when an accessor replaces an attribute. Replacing our own, as a reload does, is no cause for that,
    so ours is taken away first; a stranger's of the same name stays and gives pandas' warning.
    """
    present = getattr(pd.DataFrame, "insights", None)
    if getattr(present, "__module__", None) == __name__:
        delattr(pd.DataFrame, "insights")
    pd.api.extensions.register_dataframe_accessor("insights")(InsightsAccessor)


register()
