"""Several sessions as aligned strips: one row each, good endings above bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .style import (
    GREY,
    SMALL,
    bare,
    canvas,
    headline,
    in_seconds,
    key_below,
    letter,
    look,
    nothing_to_draw,
    seconds_text,
    shorten,
    text_color,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_STRIPS = 40
MISSING = "(missing)"
#: Endings from good to bad; any other name stands between the good and the bad.
GOOD = ("completed", "transferred")
BAD = ("abandoned", "error", "unclassified", "unknown", MISSING)
#: The axis ends at this many times the median; what is longer goes on beyond it, and says until when.
REACH = 6.0


def evenly(groups: pd.Series[Any], most: int = MOST_STRIPS, seed: int = 0) -> pd.Index[Any]:
    """Some of the sessions, as many of each group as there are places, drawn by chance.

    Parameters
    ----------
    groups : Series of str
        Index of sessions; the group of each.
    most : int, default 40
        Places.
    seed : int, default 0
        The same seed draws the same sessions.

    Returns
    -------
    Index
        The sessions drawn, in the order of ``groups``. A small group is drawn whole, and its places go to the others.
    """
    if len(groups) <= most:
        return groups.index
    sizes = groups.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    places = dict.fromkeys(sizes.index, 0)
    while sum(places.values()) < most:
        for name in [name for name in sizes.index if places[name] < sizes[name]][: most - sum(places.values())]:
            places[name] += 1
    rng = np.random.default_rng(seed)
    values = groups.to_numpy()
    drawn = [rng.choice(np.flatnonzero(values == name), count, replace=False) for name, count in places.items()]
    return groups.index[np.sort(np.concatenate(drawn))]


def timelines(
    steps: pd.DataFrame,
    sessions: pd.DataFrame,
    *,
    ax: Axes | None = None,
    subtitle: str = "",
    across: str = "time",
    order: list[str] | None = None,
    totals: pd.Series[int] | None = None,
) -> Axes:
    """Sessions as strips that begin together: a block per step, diamond = exit, ``!`` = error.

    Parameters
    ----------
    steps : DataFrame
        The sessions' rows of ``SessionLog.steps``.
    sessions : DataFrame
        At most 40 rows of ``SessionLog.sessions``, with a column ``group`` (str) of how they ended.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        Which sessions, and how they were chosen.
    across : {"time", "step"}, default "time"
        What a block's width is: the time in the step, or the same for all.
    order : list of str, optional
        Actions, most frequent first: the same order gives an action the same colour in every chart of a log.
    totals : Series of int, optional
        How many sessions each group has in all.

    Returns
    -------
    Axes
        The chart; groups from good to bad, the longest session first in each.
    """
    lasted = _lengths(steps).reindex(sessions.index).fillna(0.0)
    shown = _sorted(sessions.assign(took=lasted)).head(MOST_STRIPS)
    groups = list(dict.fromkeys(shown["group"]))
    ax = canvas(ax, 9.0, 1.9 + 0.21 * (len(shown) + len(groups)))
    if not len(shown) or not len(steps):
        return nothing_to_draw(ax, subtitle)
    rows = _places(shown)
    begin, width = _spans(steps, across)
    stop = (begin + width).groupby(steps["SessionId"].to_numpy()).max().reindex(shown.index).fillna(0.0)
    # Steps are counted, so only time has sessions that would squeeze all others together.
    limit = float(stop.max() if across == "step" else min(stop.max(), max(REACH * stop.median(), 1.0)))
    limit = max(limit, 1e-3)
    tags = _blocks(ax, steps, rows, begin, width, limit, order)
    _ends(ax, shown, rows, stop, limit)
    _headers(ax, shown, totals)
    ax.set_yticks([rows[name] for name in shown.index], [shorten(str(name), 21) for name in shown.index])
    ax.set_xlim(0, limit * 1.5)
    ax.set_ylim(-0.7, len(shown) + len(groups) - 0.3)
    _axis(ax, limit, across)
    bare(ax, grid="x")
    ax.tick_params(labelsize=SMALL)
    key_below(ax, tags, 105)
    beyond = int((stop > limit * 1.0001).sum())
    told = [subtitle, "a block per step, ◆ exit, ! error", f"{beyond} longer than the axis" if beyond else ""]
    headline(ax, _finding(shown), " · ".join(part for part in told if part), share=0.85)
    return ax


def _sorted(sessions: pd.DataFrame) -> pd.DataFrame:
    """Groups from good to bad, then the longest first."""
    names = [str(name) for name in sessions["group"].value_counts().sort_index().sort_values(
        ascending=False, kind="stable").index]  # fmt: skip
    spelt = (*GOOD, *(name for name in names if name not in (*GOOD, *BAD)), *BAD)
    rank = sessions["group"].map({name: place for place, name in enumerate(spelt)})
    return sessions.assign(_rank=rank).sort_values(["_rank", "took"], ascending=[True, False], kind="stable")


def _places(shown: pd.DataFrame) -> dict[Any, int]:
    """A row per session from the top down, and one above each group for its name."""
    heads = (shown["group"] != shown["group"].shift()).cumsum()
    top = len(shown) + int(heads.max()) - 1
    return {name: top - number - int(head) for number, (name, head) in enumerate(heads.items())}


def _lengths(steps: pd.DataFrame) -> pd.Series[float]:
    """Seconds from entering a session's first step to leaving its last: what a strip of time is long."""
    begin, width = _spans(steps, "time")
    return (begin + width).groupby(steps["SessionId"].to_numpy()).max()


def _spans(steps: pd.DataFrame, across: str) -> tuple[pd.Series[float], pd.Series[float]]:
    """Where each step's block begins, and how wide it is."""
    if across == "step":
        begin = steps["step"].astype(float) - 1
        return begin, pd.Series(1.0, index=steps.index)
    first = steps["enter"].groupby(steps["SessionId"].to_numpy()).transform("min")
    begin = (steps["enter"] - first).dt.total_seconds().astype(float)
    return begin, pd.Series(np.maximum(np.nan_to_num(in_seconds(steps["dwell"])), 0.0), index=steps.index)


def _blocks(
    ax: Axes, steps: pd.DataFrame, rows: dict[Any, int], begin: Any, width: Any, limit: float, order: list[str] | None
) -> dict[str, str]:
    """One block per step; its letter where there is room, ``!`` where something went wrong."""
    action = steps["action"].astype("object").where(steps["action"].notna(), MISSING).astype(str)
    named = list(dict.fromkeys(action)) if order is None else [*order, MISSING]
    rank = {name: number for number, name in enumerate(named)}
    tags = {name: letter(number) for number, name in enumerate(sorted(action.unique(), key=lambda one: rank[one]))}
    place = steps["SessionId"].map(rows).to_numpy()
    left = begin.to_numpy()
    right = np.minimum(np.maximum(left + width.to_numpy(), left + 0.003 * limit), limit)
    inside = (left < limit) & ~np.isnan(place.astype(float))
    after = steps["after_exit"].to_numpy(dtype=bool)
    for name in tags:
        color, hatch = look(rank[name])
        for ended in (False, True):
            at = inside & (action == name).to_numpy() & (after == ended)
            ax.barh(
                place[at], (right - left)[at], left=left[at], height=0.74, color=GREY if ended else color,
                hatch=hatch, edgecolor=ax.get_facecolor(), linewidth=0.5,
            )  # fmt: skip
    wrong = steps["input_error"].notna().to_numpy()
    for number in np.flatnonzero(inside):
        _tag(ax, (left[number], right[number]), place[number], limit, (tags[action.iloc[number]], bool(wrong[number])))
    return tags


def _tag(ax: Axes, span: tuple[float, float], row: float, limit: float, words: tuple[str, bool]) -> None:
    """A block's letter on a plain ground, since the block may be hatched; an error is marked however narrow it is."""
    tag, wrong = words
    roomy = span[1] - span[0] >= 0.03 * len(tag + "!" * wrong) * limit
    text = (tag if roomy else "") + "!" * wrong
    if text:
        ax.text(
            sum(span) / 2, row, text, ha="center", va="center_baseline", fontsize=SMALL, color="black",
            fontweight="bold" if wrong else "normal", clip_on=True,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.9},
        )  # fmt: skip


def _ends(ax: Axes, shown: pd.DataFrame, rows: dict[Any, int], stop: pd.Series[float], limit: float) -> None:
    """Where each session ends: a diamond for an exit, and in words how long it took and how it ended."""
    for name, row in shown.iterrows():
        edge = float(stop.loc[str(name)])
        long = edge > limit * 1.0001
        reason = str(row["exit_reason"]) if isinstance(row["exit_reason"], str) else ""
        if row["has_exit"] and not long:
            ax.plot([edge], [rows[name]], "D", color=text_color(), markersize=4, zorder=3)
        way = reason if row["has_exit"] and reason != row["group"] else "" if row["has_exit"] else "no exit"
        ax.annotate(
            ("▸ " if long else "")
            + "  ".join(part for part in (seconds_text(float(row["took"])), shorten(way, 22)) if part),
            (min(edge, limit), rows[name]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=SMALL,
            color=text_color(),
        )


def _headers(ax: Axes, shown: pd.DataFrame, totals: pd.Series[int] | None) -> None:
    """The name of each group above its strips, and how many of how many are drawn."""
    top = len(shown) + shown["group"].nunique() - 1
    for group, here in shown.groupby("group", sort=False):
        whole = len(here) if totals is None else int(totals[group])
        ax.text(
            0, top, f"{group}: {len(here)} of {whole:,}" if whole > len(here) else f"{group}: {whole:,}",
            fontsize=SMALL, fontweight="bold", va="center", color=text_color(),
        )  # fmt: skip
        top -= len(here) + 1


def _axis(ax: Axes, limit: float, across: str) -> None:
    """Ticks at whole steps, or at about five round lengths of time, no farther than the axis reaches."""
    from matplotlib.ticker import MaxNLocator

    integer = across == "step" or limit > 5
    base = MaxNLocator(6, integer=integer, steps=[1, 2, 3, 5, 6, 10]).tick_values(0, limit)
    ticks = [float(tick) for tick in base if tick <= limit]
    if across == "step":
        ticks = [tick for tick in ticks if tick < limit]
        ax.set_xticks([tick + 0.5 for tick in ticks], [f"step {tick + 1:.0f}" for tick in ticks])
    else:
        ax.set_xticks(ticks, [seconds_text(tick) for tick in ticks])


def _finding(shown: pd.DataFrame) -> str:
    """How long the sessions of the best and of the worst ending take."""
    took = shown["took"].to_numpy(dtype=float)
    groups = list(dict.fromkeys(shown["group"]))
    middle = {name: float(np.median(took[(shown["group"] == name).to_numpy()])) for name in groups}
    if len(groups) == 1:
        span = f"{seconds_text(float(np.min(took)))} to {seconds_text(float(np.max(took)))}"
        many = f"{len(shown)} sessions" if len(shown) > 1 else "1 session"
        return f"{many} ({groups[0]}): {span}, median {seconds_text(middle[groups[0]])}"
    long, short = max(groups, key=lambda name: middle[name]), min(groups, key=lambda name: middle[name])
    return (
        f"Longest here: {long}, median {seconds_text(middle[long])}; shortest: {short}, {seconds_text(middle[short])}"
    )
