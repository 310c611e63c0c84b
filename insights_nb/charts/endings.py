"""How sessions end: sorted bars, and shares over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .style import (
    BLUE,
    COLORS,
    GREY,
    HATCHES,
    PLAIN,
    SMALL,
    bare,
    canvas,
    headline,
    nothing_to_draw,
    percent,
    shorten,
    text_color,
    time_axis,
    time_places,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = "(missing)"


def exits(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 10) -> Axes:
    """Sorted horizontal bars of how sessions end, count and share at each bar's end.

    Parameters
    ----------
    table : DataFrame
        Index of words; a column ``sessions`` or ``exits`` of counts (the first of ``exits``, ``sessions`` there
        is), and ``share``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on: how many sessions, which window, what is left out.
    top : int, default 10
        Bars to draw; the rest is one bar ``other (k)``.

    Returns
    -------
    Axes
        The chart.
    """
    unit = "exits" if "exits" in table.columns else "sessions"
    rows = max(min(len(table), top + 1), 1)
    ax = canvas(ax, 7.5, 1.3 + 0.36 * rows)
    if not len(table):
        return nothing_to_draw(ax, subtitle, f"no {unit}")
    counts = _with_rest(table[unit], top)
    total = max(int(table[unit].sum()), 1)
    places = np.arange(len(counts))[::-1]
    plain = [name != MISSING and not name.startswith("other (") for name in counts.index]
    bars = ax.barh(places, counts.to_numpy(), height=0.72, color=[BLUE if ok else GREY for ok in plain])
    for bar, ok in zip(bars, plain, strict=True):
        if not ok:
            bar.set_hatch("///")
            bar.set_edgecolor(text_color())
            bar.set_linewidth(0)
    for place, count in zip(places, counts, strict=True):
        ax.annotate(
            f"{count:,}  {percent(count / total)}",
            (count, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=PLAIN,
            color=text_color(),
        )
    ax.set_yticks(places, [shorten(str(name)) for name in counts.index])
    ax.set_xlim(0, counts.max() * 1.22)
    ax.set_xticks([])
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    headline(ax, _exits_finding(table, unit), subtitle)
    return ax


def _exits_finding(table: pd.DataFrame, unit: str) -> str:
    """The largest class that says something."""
    named = [str(name) for name in table.index if str(name) != MISSING]
    if not named:
        return f"No {unit.removesuffix('s')} says how it ended"
    share = float(table["share"].loc[named[0]])
    what = str(table.index.name or "exit_reason").replace("_", " ")
    if unit == "exits":
        return f"{percent(share)} of exits: {named[0]}"
    return f"{percent(share)} of sessions end with {what} {named[0]}"


def _with_rest(counts: pd.Series, top: int) -> pd.Series:
    """The largest ``top`` counts and the sum of the others."""
    if len(counts) <= top + 1:
        return counts
    rest = counts.iloc[top:]
    other = pd.Series([int(rest.sum())], index=[f"other ({len(rest)})"])
    joined: pd.Series = pd.concat([counts.iloc[:top], other])
    return joined


def exits_over_time(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    subtitle: str = "",
    top: int = 5,
    tz: str = "UTC",
    unit: str = "sessions",
) -> Axes:
    """Shares of the ways sessions end, stacked to 100 % per stretch of time.

    Parameters
    ----------
    table : DataFrame
        Index of zone-aware starts of equal stretches, one column of counts per word, largest first.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 5
        Words drawn on their own (at most 5); the rest is ``other (k)``.
    tz : str, default "UTC"
        Zone of the time axis.
    unit : str, default "sessions"
        What is counted.

    Returns
    -------
    Axes
        The chart. A stretch without sessions stays empty.
    """
    ax = canvas(ax, 8.0, 3.8)
    if not len(table) or not table.to_numpy().sum():
        return nothing_to_draw(ax, subtitle)
    table = _merged(table, min(top, len(COLORS) - 1))
    totals = table.sum(axis=1)
    shares = table.div(totals.where(totals > 0), axis=0).fillna(0.0)
    when, width = time_places(table.index, tz)
    base = np.zeros(len(shares))
    for number, name in enumerate(shares.columns):
        other = str(name).startswith("other (") or name == MISSING
        ax.bar(
            when,
            shares[name],
            width * 0.92,
            bottom=base,
            color=GREY if other else COLORS[number],
            hatch=HATCHES[number],
            edgecolor=ax.get_facecolor(),
            linewidth=0,
        )
        base = base + shares[name].to_numpy()
    time_axis(ax, tz)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    bare(ax)
    _name_layers(ax, shares, when, width)
    per = f"{int(totals[totals > 0].min()):,} to {int(totals.max()):,} per column, times {tz}"
    headline(ax, _shift_finding(table, unit), share=0.9, subtitle=f"{subtitle} · {per}" if subtitle else per)
    return ax


def _merged(table: pd.DataFrame, top: int) -> pd.DataFrame:
    if table.shape[1] <= top + 1:
        return table
    rest = table.iloc[:, top:].sum(axis=1).rename(f"other ({table.shape[1] - top})")
    return pd.concat([table.iloc[:, :top], rest], axis=1)


def _name_layers(ax: Axes, shares: pd.DataFrame, when: Any, width: float) -> None:
    """Name each layer beside the last column, pushed apart where layers are thin; a swatch carries its hatch."""
    from matplotlib.patches import Rectangle

    filled = np.flatnonzero(shares.sum(axis=1).to_numpy() > 0)[-1]
    last = shares.iloc[filled].to_numpy()
    tops = np.cumsum(last)
    wanted = tops - last / 2
    step = 0.075
    placed: list[float] = []
    for middle in wanted:
        placed.append(max(middle, placed[-1] + step) if placed else max(middle, step / 2))
    overflow = max(0.0, placed[-1] - (1 - step / 2))
    placed = [place - overflow for place in placed]
    right = float(when[-1] + width / 2)
    left = float(when[0] - width / 2)
    room = (right - left) * 0.02
    for number, (name, place) in enumerate(zip(shares.columns, placed, strict=True)):
        other = str(name).startswith("other (") or name == MISSING
        ax.add_patch(
            Rectangle(
                (right + room, place - 0.022),
                room * 1.2,
                0.044,
                facecolor=GREY if other else COLORS[number],
                hatch=HATCHES[number] * 2,
                edgecolor=ax.get_facecolor(),
                linewidth=0,
                clip_on=False,
            )
        )
        ax.annotate(
            f"{shorten(str(name), 24)}  {percent(float(last[number]))}",
            (right + room * 2.6, place),
            va="center",
            fontsize=SMALL,
            color=text_color(),
            annotation_clip=False,
        )
    ax.set_xlim(left, right)


def _shift_finding(table: pd.DataFrame, unit: str) -> str:
    """The word whose share changed most from the first third of the time to the last."""
    third = max(len(table) // 3, 1)
    early, late = table.iloc[:third].sum(), table.iloc[-third:].sum()
    if len(table) < 2 or not early.sum() or not late.sum():
        top = str(table.sum().idxmax())
        share = percent(float(table[top].sum() / table.to_numpy().sum()))
        return f"{share} of {unit}: {top}" if unit == "exits" else f"{share} of {unit} end with {top}"
    before, after = early / early.sum(), late / late.sum()
    change = (after - before).abs()
    name = str(change.idxmax())
    if change[name] < 0.02:
        return f"{name} has hardly changed: {percent(before[name])} → {percent(after[name])} of {unit}"
    verb = "rose" if after[name] > before[name] else "fell"
    return f"{name} {verb} from {percent(before[name])} to {percent(after[name])} of {unit}"
