"""Load: sessions per hour as a line, and by weekday and hour as a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .grids import heat
from .style import (
    BLUE,
    GREY,
    PLAIN,
    SMALL,
    bare,
    canvas,
    headline,
    nothing_to_draw,
    text_color,
    time_axis,
    time_places,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOUR = pd.Timedelta("1h")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def hourly(starts: pd.DatetimeIndex, window: tuple[Any, Any] | None = None, tz: str = "UTC") -> pd.DataFrame:
    """How many sessions start in each hour of a zone's clock.

    Parameters
    ----------
    starts : DatetimeIndex
        Zone-aware starts of sessions.
    window : (Timestamp, Timestamp), optional
        Both ends of what was fetched. Without it the first and the last hour may be cut, and are taken to be.
    tz : str, default "UTC"
        Whose hours.

    Returns
    -------
    DataFrame
        Index ``start`` (in the zone), every hour from first to last; ``sessions`` (int64), ``cut`` (bool: the window
        holds only a part of the hour).
    """
    if window is None and not len(starts):
        empty = pd.DatetimeIndex([], tz=tz, name="start")
        return pd.DataFrame({"sessions": np.zeros(0, dtype=np.int64), "cut": np.zeros(0, dtype=bool)}, index=empty)
    low, high = (starts.min(), starts.max()) if window is None else window
    first, last = _opening(pd.DatetimeIndex([low, high]), tz)
    hours = pd.date_range(first, last, freq=HOUR, name="start")
    # A window that ends on the hour holds nothing of the hour that begins there.
    if len(hours) > 1 and hours[-1] == high:
        hours = hours[:-1]
    place = np.floor((starts - hours[0]) / HOUR).astype(np.int64)
    count = np.bincount(place[(place >= 0) & (place < len(hours))], minlength=len(hours))
    cut = np.zeros(len(hours), dtype=bool)
    # Windows are whole seconds, both ends included: 09:59:59 is the end of an hour.
    cut[0] |= window is None or low > hours[0]
    cut[-1] |= window is None or high < hours[-1] + HOUR - pd.Timedelta("1s")
    return pd.DataFrame({"sessions": count.astype(np.int64), "cut": cut}, index=hours)


def _opening(times: pd.DatetimeIndex, tz: str) -> pd.DatetimeIndex:
    """The start of each time's hour on the zone's clock: by subtraction, which knows no hour that is there twice."""
    local = times.tz_convert(tz)
    within = pd.to_timedelta(local.minute, unit="min") + pd.to_timedelta(local.second, unit="s")
    below = pd.to_timedelta(local.microsecond, unit="us") + pd.to_timedelta(local.nanosecond, unit="ns")
    return local - within - below


def load(hours: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "") -> Axes:
    """Sessions per hour as a line; hours the window holds only in part are hatched.

    Parameters
    ----------
    hours : DataFrame
        As :func:`hourly` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.

    Returns
    -------
    Axes
        The chart; the busiest whole hour and the median are named, and the line is dotted at hours cut.
    """
    ax = canvas(ax, 8.0, 3.6)
    if not hours["sessions"].any():
        return nothing_to_draw(ax, subtitle)
    tz = str(hours.index.tz)  # type: ignore[attr-defined]
    when, width = time_places(hours.index, tz)
    count = hours["sessions"].to_numpy(dtype=float)
    whole = ~hours["cut"].to_numpy(dtype=bool)
    ax.plot(when, count, color=GREY, linewidth=1.2, linestyle=(0, (1, 1.5)))
    marker = "o" if len(hours) <= 60 else None
    ax.plot(when, np.where(whole, count, np.nan), color=BLUE, linewidth=1.4, marker=marker, markersize=4)
    for place in when[~whole]:
        ax.axvspan(
            place - width / 2, place + width / 2, facecolor="none", hatch="////", edgecolor=GREY, linewidth=0, zorder=0
        )
    time_axis(ax, tz)
    ax.set_xlim(when[0] - width / 2, when[-1] + width / 2)
    ax.set_ylim(0, float(count.max()) * 1.2)
    bare(ax, grid="y")
    ax.set_ylabel("sessions per hour", fontsize=SMALL, color=text_color())
    if whole.any():
        middle, most = float(np.median(count[whole])), int(np.argmax(np.where(whole, count, -1)))
        ax.axhline(middle, color=text_color(), linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7)
        _name(ax, float(when[-1] + width / 2), middle, f"median {middle:,.0f}", "left")
        late = most > len(hours) / 2
        _name(
            ax,
            float(when[most]),
            float(count[most]),
            f"{count[most]:,.0f}  {_hour(hours, most)}",
            "right" if late else "left",
        )
    headline(ax, _finding(hours), _told(subtitle, tz, int((~whole).sum())), share=0.9)
    return ax


def _name(ax: Axes, x: float, y: float, words: str, side: str) -> None:
    """Words beside a point of the line."""
    ax.annotate(
        words,
        (x, y),
        xytext=(5 if side == "left" else -5, 4),
        textcoords="offset points",
        ha=side,
        fontsize=SMALL,
        color=text_color(),
        annotation_clip=False,
    )


def load_by_weekday(hours: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "") -> Axes:
    """Sessions per hour by weekday and hour of the day, on average over the whole hours of the window.

    Parameters
    ----------
    hours : DataFrame
        As :func:`hourly` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.

    Returns
    -------
    Axes
        The chart; a cell with an hour that the window cuts is hatched, and without a number if it has no other.
    """
    ax = canvas(ax, 9.0, 3.9)
    if not hours["sessions"].any():
        return nothing_to_draw(ax, subtitle)
    clock: Any = hours.index
    cell = [clock.day_of_week, clock.hour]
    whole = hours["sessions"].where(~hours["cut"])
    rate = whole.groupby(cell).mean().unstack().reindex(index=range(7), columns=range(24)).to_numpy(dtype=float)
    cut = hours["cut"].groupby(cell).any().unstack(fill_value=False)
    torn = cut.reindex(index=range(7), columns=range(24), fill_value=False).to_numpy(dtype=bool)
    most = max(float(np.nanmax(rate, initial=0)), 1e-9)
    known = np.nan_to_num(rate)
    digits = 0 if most >= 9.5 else 1
    labels = [["" if np.isnan(mean) else f"{mean:.{digits}f}" for mean in row] for row in rate]
    heat(ax, known / most, list(WEEKDAYS), [f"{hour:02d}" for hour in range(24)], slant=False, labels=labels)
    for row, column in zip(*np.nonzero(torn), strict=True):
        ax.bar(column, 1, 1, bottom=row - 0.5, facecolor="none", hatch="////", edgecolor=GREY, linewidth=0, zorder=0.5)
    ax.set_xlabel("hour of the day", fontsize=SMALL, color=text_color())
    ax.tick_params(axis="y", labelsize=PLAIN)
    note = _told(subtitle, str(clock.tz), int(hours["cut"].sum()))
    if (np.isnan(rate) & ~torn).any():
        note += " · without a number: not in the window"
    headline(ax, _week_finding(rate), f"mean number of sessions per hour · {note}", share=0.88)
    return ax


def _hour(hours: pd.DataFrame, place: int) -> str:
    when: Any = hours.index[place]
    return f"{when:%a %d %b %H:%M}"


def _told(subtitle: str, tz: str, cut: int) -> str:
    """The subtitle, whose hours these are, and what the hatch means."""
    torn = f"hatched: {cut} hour{'s' if cut > 1 else ''} of which the window holds only a part" if cut else ""
    return " · ".join(part for part in (subtitle, f"times {tz}", torn) if part)


def _finding(hours: pd.DataFrame) -> str:
    """The busiest hour beside the median one."""
    whole = hours.loc[~hours["cut"], "sessions"]
    if not len(whole):
        return f"{int(hours['sessions'].sum()):,} sessions, and no whole hour to compare"
    most = int(np.argmax(hours["sessions"].where(~hours["cut"], -1).to_numpy()))
    return f"Busiest: {_hour(hours, most)}, {whole.max():,} sessions in an hour; median {whole.median():,.0f}"


def _week_finding(rate: Any) -> str:
    """The weekday and hour with most sessions, and with fewest."""
    if not np.isfinite(rate).any():
        return "No hour lies in the window as a whole"
    day, hour = np.unravel_index(int(np.nanargmax(rate)), rate.shape)
    low_day, low_hour = np.unravel_index(int(np.nanargmin(rate)), rate.shape)
    busiest = f"Busiest: {WEEKDAYS[day]} {hour:02d}:00, {rate[day, hour]:,.0f} an hour"
    return f"{busiest}; quietest: {WEEKDAYS[low_day]} {low_hour:02d}:00, {rate[low_day, low_hour]:,.0f}"
