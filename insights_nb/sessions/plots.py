"""``log.plot``: each chart takes its numbers from the table of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from insights_nb import charts
from insights_nb.errors import FrameError

from .columns import spans
from .ledger import Ledger
from .overview import excluded
from .window import span_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .log import SessionLog

_LEFT_OUT = {
    "cut_start": "cut at the window's start",
    "cut_end": "cut at the window's end",
    "cut_both": "cut at both ends",
    "no_trigger": "without their trigger",
    "unknown": "of unknown completeness",
    "unknown (filtered)": "of unknown completeness (filters)",
}


class Plots:
    """Charts of a log; every method draws on one Axes and returns it.

    Parameters
    ----------
    log : SessionLog
        What to draw.
    """

    def __init__(self, log: SessionLog) -> None:
        self._log = log

    def exits(
        self,
        by: str = "exit_reason",
        freq: str | None = None,
        level: str = "session",
        *,
        ax: Axes | None = None,
        top: int = 10,
        tz: str = "UTC",
    ) -> Axes:
        """How sessions end: sorted bars, or shares over time with ``freq``. The data twin is ``log.exits()``.

        Parameters
        ----------
        by, freq, level
            As in :meth:`SessionLog.exits`.
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 10
            Bars (at most 5 layers over time); the rest is ``other (k)``.
        tz : str, default "UTC"
            Zone of the time axis.

        Returns
        -------
        Axes
            The chart.

        Raises
        ------
        FrameError
            As :meth:`SessionLog.exits`.
        """
        table = self._log.exits(by=by, freq=freq, level=level)
        note = subtitle(self._log.ledger, whole=by == "completeness" or level == "event")
        if freq is None:
            return charts.exits(table, ax=ax, subtitle=note, top=top)
        return charts.exits_over_time(table, ax=ax, subtitle=note, top=top, tz=tz)

    def timeline(self, session: Any, *, ax: Axes | None = None) -> Axes:
        """One session as a waterfall. The data twins are ``log.timeline(id)`` and ``log.steps()``.

        Parameters
        ----------
        session : str
            A SessionId.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            The chart: a row per step, bar = time in the action, diamond = exit event, ``!`` = error.

        Raises
        ------
        FrameError
            When the log does not hold the session, or has no times.
        """
        one = self._log.select([session] if isinstance(session, str) else session)
        if len(one) != 1:
            raise FrameError(f"plot.timeline draws one session, not {len(one)}.", "Give a single SessionId.")
        events, row = one.timeline(one.ledger.core.ids), one.sessions().iloc[0]
        unit, long_gap = one.ledger.core.unit, one.ledger.reading.long_gap
        note = f"{row.name} · {row['start']:%Y-%m-%d %H:%M:%S} UTC · {row['completeness']}"
        return charts.timeline(
            one.steps(), events, ax=ax, subtitle=note, long_gap=pd.Timedelta(spans(_one(long_gap), unit)[0])
        )


def _one(value: int) -> Any:
    import numpy as np

    return np.array([value], dtype=np.int64)


def subtitle(ledger: Ledger, *, whole: bool = False) -> str:
    """What a chart's numbers rest on: how many sessions, which window, what is left out.

    Parameters
    ----------
    ledger : Ledger
        The log.
    whole : bool, default False
        The chart counts every session.

    Returns
    -------
    str
        One line, parts joined by a middle dot.
    """
    counted = ledger.core.sessions if whole else int(ledger.counted.sum())
    parts = [f"{counted:,} session{'' if counted == 1 else 's'}", span_text(ledger.core, ledger.reading.window)]
    left = {} if whole else excluded(ledger)
    if left:
        parts.append("left out: " + ", ".join(f"{n:,} {_LEFT_OUT[name]}" for name, n in left.items()))
    elif ledger.everyone and not whole:
        parts.append("no session's end is known, so all are counted")
    return " · ".join(parts)
