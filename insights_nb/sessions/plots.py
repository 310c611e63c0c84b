"""``log.plot``: each chart takes its numbers from the table of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from insights_nb import charts
from insights_nb.charts.style import plain_action
from insights_nb.errors import FrameError

from .actions import dwell_quantiles
from .columns import spans
from .crowd import CrowdPlots, subtitle
from .window import span_text

if TYPE_CHECKING:
    from insights_nb.charts.style import Axes


class Plots(CrowdPlots):
    """Charts of a log; every method draws on one Axes and returns it.

    Parameters
    ----------
    log : SessionLog
        What to draw.
    """

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
        unit = "exits" if level == "event" else "sessions"
        return charts.exits_over_time(table, ax=ax, subtitle=note, top=top, tz=tz, unit=unit)

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

    def actions(self, *, ax: Axes | None = None, top: int = 12) -> Axes:
        """Where sessions drop out. The data twin is ``log.actions()``.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 12
            Actions to draw.

        Returns
        -------
        Axes
            Bars of ``drop_off`` with Wilson whiskers. Actions that end a session as planned are left out, and named.
        """
        ledger, table = self._log.ledger, self._log.actions()
        ends = ledger.core.nodes.label[ledger.reading.ends]
        note = subtitle(ledger)
        if len(ends):
            note += f" · planned ends left out: {', '.join(dict.fromkeys(map(plain_action, map(str, ends))))}"
        return charts.drop_off(table[~table.index.isin(ends)], ax=ax, subtitle=note, top=top)

    def dwell(self, *, ax: Axes | None = None, top: int = 12) -> Axes:
        """How long actions take. The data twin is ``log.steps()["dwell"]``, its middle in ``log.actions()``.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 12
            Actions to draw, longest median first.

        Returns
        -------
        Axes
            Quantile ranges; no means.
        """
        note = subtitle(self._log.ledger, whole=True)
        return charts.dwell(dwell_quantiles(self._log.ledger), ax=ax, subtitle=note, top=top)

    def transitions(self, *, ax: Axes | None = None, top: int = 12) -> Axes:
        """Where sessions go next. The data twin is ``log.transitions()``.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 12
            Actions to draw; the rest is ``other (k)``.

        Returns
        -------
        Axes
            A heatmap of row shares; repeats are its diagonal.
        """
        note = subtitle(self._log.ledger, whole=True)
        return charts.transitions(self._log.transitions(), ax=ax, subtitle=note, top=top)

    def variants(self, top: int = 10, collapse_repeats: bool = True, *, ax: Axes | None = None) -> Axes:
        """Which whole paths sessions take. The data twin is ``log.variants()``.

        Parameters
        ----------
        top : int, default 10
            Paths to draw.
        collapse_repeats : bool, default True
            As in :meth:`SessionLog.variants`.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            A strip per path.
        """
        table = self._log.variants(top=top, collapse_repeats=collapse_repeats)
        return charts.variants(
            table, ax=ax, subtitle=subtitle(self._log.ledger, whole=True), top=top, order=self._order()
        )

    def funnel(self, steps: Any, within: Any = None, ordered: bool = True, *, ax: Axes | None = None) -> Axes:
        """How many sessions reach each milestone. The data twin is ``log.funnel()``.

        Parameters
        ----------
        steps, within, ordered
            As in :meth:`SessionLog.funnel`.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            Left-aligned bars; what stopped because the data stops is hatched.
        """
        table = self._log.funnel(steps, within=within, ordered=ordered)
        return charts.funnel(table, ax=ax, subtitle=subtitle(self._log.ledger))

    def loops(self, min_visits: int = 2, *, ax: Axes | None = None, top: int = 10) -> Axes:
        """Where sessions go in circles. The data twin is ``log.loops()``.

        Parameters
        ----------
        min_visits : int, default 2
            As in :meth:`SessionLog.loops`.
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 10
            Loops to draw.

        Returns
        -------
        Axes
            Bars of repeated visits.
        """
        note = subtitle(self._log.ledger, whole=True)
        return charts.loops(self._log.loops(min_visits), ax=ax, subtitle=note, top=top)

    def dtmf(self, by: str = "action", *, ax: Axes | None = None, top: int = 8) -> Axes:
        """What went wrong at prompts. The data twin is ``log.dtmf()``.

        Parameters
        ----------
        by : str, default "action"
            As in :meth:`SessionLog.dtmf`.
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 8
            Prompts to draw.

        Returns
        -------
        Axes
            Grouped bars of silence, wrong keys and other errors.
        """
        note = subtitle(self._log.ledger, whole=True)
        return charts.prompts(self._log.dtmf(by=by), ax=ax, subtitle=note, top=top)

    def step_matrix(self, n: int = 10, align: str = "start", *, ax: Axes | None = None, top: int = 14) -> Axes:
        """Where sessions are after n steps, or around an action. The data twin is ``log.step_matrix()``.

        Parameters
        ----------
        n, align
            As in :meth:`SessionLog.step_matrix`.
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 14
            Actions to draw; the rest is ``other (k)``.

        Returns
        -------
        Axes
            A heatmap; each column sums to 100 %.
        """
        table = self._log.step_matrix(n=n, align=align)
        note = subtitle(self._log.ledger, count=table.attrs["sessions"])
        return charts.step_matrix(table, ax=ax, subtitle=note, top=top)

    def compare(
        self,
        selected: Any,
        baseline: Any = None,
        fields: Any = None,
        adjust: str | None = "n_steps",
        *,
        ax: Axes | None = None,
        top: int = 10,
    ) -> Axes:
        """What is different about some sessions. The data twin is ``log.compare()``.

        Parameters
        ----------
        selected, baseline, fields, adjust
            As in :meth:`SessionLog.compare`.
        ax : Axes, optional
            Where to draw; a new figure by default.
        top : int, default 10
            Rows to draw.

        Returns
        -------
        Axes
            A dumbbell per value, the largest adjusted difference first.
        """
        table = self._log.compare(selected, baseline=baseline, fields=fields, adjust=adjust, top=top)
        sides = f"{table.attrs['selected']:,} sessions against {table.attrs['rest']:,}"
        note = f"{sides} · {span_text(self._log.ledger.core, self._log.ledger.reading.window)}"
        return charts.compare(table, ax=ax, subtitle=note, top=top)


def _one(value: int) -> Any:
    return np.array([value], dtype=np.int64)
