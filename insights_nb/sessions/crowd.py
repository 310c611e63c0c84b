"""The part of ``log.plot`` that draws many sessions at once, and the subtitle of every chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from insights_nb import charts
from insights_nb.errors import FrameError

from .columns import NAT, category, times
from .fields import missing_field
from .ledger import Ledger
from .overview import excluded
from .rules import UNCLASSIFIED, UNKNOWN
from .steps import need_time
from .window import span_text

if TYPE_CHECKING:
    from insights_nb.charts.style import Axes

    from .log import SessionLog

_LEFT_OUT = {
    "cut_start": "cut at the window's start",
    "cut_end": "cut at the window's end",
    "cut_both": "cut at both ends",
    "no_trigger": "without their trigger",
    "unknown": "of unknown completeness",
    "unknown (filtered)": "of unknown completeness (filters)",
}


class CrowdPlots:
    """Charts of many sessions: side by side, over their first steps, over the hours.

    Parameters
    ----------
    log : SessionLog
        What to draw.
    """

    def __init__(self, log: SessionLog) -> None:
        self._log = log

    def timelines(self, ids: Any = None, *, across: str = "time", seed: int = 0, ax: Axes | None = None) -> Axes:
        """Several sessions as aligned strips. The data twins are ``log.steps()`` and ``log.sessions()``.

        Parameters
        ----------
        ids : str, iterable of str or boolean Series, optional
            Which sessions, as in :meth:`SessionLog.select`; all by default. Of more than 40, 40 are drawn by chance,
            evenly over the outcomes, or over the exit reasons where nothing is classified.
        across : {"time", "step"}, default "time"
            A block is as wide as its step is long, or as any other.
        seed : int, default 0
            Of the draw; the chart names it.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            A row per session, completed ones above abandoned ones; block = step, diamond = exit event, ``!`` = error.

        Raises
        ------
        FrameError
            When the log does not hold a session, or has no times; for an ``across`` that is not known.
        """
        if across not in ("time", "step"):
            raise FrameError(f"plot.timelines(across={across!r}) is not known.", "Write 'time' or 'step'.")
        chosen = self._log if ids is None else self._log.select(ids)
        sessions = chosen.sessions()
        told = ~sessions["outcome"].isin((UNCLASSIFIED, UNKNOWN))
        group = sessions["outcome" if told.any() else "exit_reason"].astype("object").fillna("(missing)").astype("str")
        drawn = charts.evenly(group, seed=seed)
        some = chosen.select(drawn)
        note = subtitle(chosen.ledger, whole=True)
        if len(drawn) < len(group):
            note += f" · {len(drawn)} drawn evenly by {'outcome' if told.any() else 'exit reason'}, seed {seed}"
        return charts.timelines(
            some.steps(),
            some.sessions().assign(group=group),
            ax=ax,
            subtitle=note,
            across=across,
            order=self._order(),
            totals=group.value_counts(),
        )

    def step_flow(self, n: int = 5, top: int = 6, *, ax: Axes | None = None) -> Axes:
        """Where sessions go over their first steps. The data twins are ``log.step_matrix()`` and ``log.steps()``.

        Parameters
        ----------
        n : int, default 5
            Steps, 2 to 8.
        top : int, default 6
            Actions drawn on their own; the rest is ``other (k)``.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            A block per action and step, and ribbons between neighbouring steps; what has ended stays at the bottom.

        Raises
        ------
        FrameError
            As :meth:`SessionLog.step_matrix`; for more steps than there is room for, or a ``top`` below 1.
        """
        if not 2 <= n <= 8 or top < 1:
            raise FrameError(
                f"plot.step_flow(n={n!r}, top={top!r}) cannot be drawn.",
                "n is 2 to 8, top from 1; plot.step_matrix() has room for more steps.",
            )
        paths = first_steps(self._log.ledger, n)
        note = subtitle(self._log.ledger, count=len(paths))
        return charts.step_flow(paths, ax=ax, subtitle=note, top=top, order=self._order() if len(paths) else None)

    def load(self, by: str = "hour", *, tz: str = "UTC", ax: Axes | None = None) -> Axes:
        """How many sessions start when. The data twin is ``log.sessions()["start"]``.

        Parameters
        ----------
        by : {"hour", "weekday"}, default "hour"
            A line of sessions per hour, or a heatmap of weekday and hour of the day.
        tz : str, default "UTC"
            Whose hours and weekdays.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
            The chart. Sessions that began before the window are left out; hours it holds only a part of are hatched.

        Raises
        ------
        FrameError
            For a ``by`` or a zone that is not known, or when the frame has no times.
        """
        if by not in ("hour", "weekday"):
            raise FrameError(f"plot.load(by={by!r}) is not known.", "Write 'hour' or 'weekday'.")
        try:
            pd.Timestamp(0, tz=tz)
        except (KeyError, TypeError, ValueError) as error:
            raise FrameError(f"plot.load(tz={tz!r}): no such zone.", "Write one such as 'Europe/Berlin'.") from error
        ledger, started = self._log.ledger, starts(self._log.ledger)
        core, window = ledger.core, ledger.reading.window
        span = times(np.array([window.low, window.high]), core.unit) if window.known else None
        hours = charts.hourly(started, None if span is None else (span[0], span[1]), tz)
        note = subtitle(ledger, whole=True, count=len(started))
        if core.sessions > len(started):
            note += f" · left out: {core.sessions - len(started):,} that began before the window or have no time"
        return (charts.load if by == "hour" else charts.load_by_weekday)(hours, ax=ax, subtitle=note)

    def _order(self) -> list[str]:
        """Actions, most frequent first: what gives an action the same colour in every chart."""
        return [str(name) for name in self._log.actions().index]


def first_steps(ledger: Ledger, n: int) -> pd.DataFrame:
    """Actions at the first n steps of the sessions counted, one row each; NA once a session has ended."""
    core, visits = ledger.core, ledger.visits
    need_time(core, "plot.step_flow()")
    if not core.has("action"):
        raise missing_field(core.fields, "action", "plot.step_flow()")
    counted = ledger.counted & (ledger.endings.last_visit >= 0)
    first, last = visits.offsets[:-1][counted], ledger.endings.last_visit[counted]
    columns = {}
    for step in range(1, n + 1):
        at = first + step - 1
        node = np.full(len(at), -1, dtype=np.int64)
        node[at <= last] = visits.node[at[at <= last]]
        columns[step] = category(node, core.nodes.label)
    return pd.DataFrame(columns, index=core.ids[counted])


def starts(ledger: Ledger) -> pd.DatetimeIndex:
    """When sessions began: by the first event where the beginning is known, else by the id, as ``starting_in``.

    Those that began before the window are left out: their hour is not in it.
    """
    core, window = ledger.core, ledger.reading.window
    need_time(core, "plot.load()")
    hint = core.epochs if ledger.reading.epoch else np.full(core.sessions, NAT, dtype=np.int64)
    begun = np.where(ledger.endings.start_known | (hint == NAT), core.first(), hint)
    kept = (begun != NAT) & ~ledger.endings.left_cut
    if window.low is not None:
        kept &= begun >= window.low
    return times(begun[kept], core.unit)


def subtitle(ledger: Ledger, *, whole: bool = False, count: int | None = None) -> str:
    """What a chart's numbers rest on: how many sessions, which window, what is left out.

    Parameters
    ----------
    ledger : Ledger
        The log.
    whole : bool, default False
        The chart counts every session.
    count : int, optional
        How many sessions it is about, where these are only some of those counted.

    Returns
    -------
    str
        One line, parts joined by a middle dot.
    """
    counted = ledger.core.sessions if whole else int(ledger.counted.sum())
    counted = counted if count is None else count
    parts = [f"{counted:,} session{'' if counted == 1 else 's'}", span_text(ledger.core, ledger.reading.window)]
    left = {} if whole else excluded(ledger)
    if left:
        parts.append("left out: " + ", ".join(f"{n:,} {_LEFT_OUT[name]}" for name, n in left.items()))
    elif ledger.everyone and not whole:
        parts.append("no session's end is known, so all are counted")
    return " · ".join(parts)
