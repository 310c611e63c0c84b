"""Bars: where sessions drop out, where they go in circles, what prompts heard, how many reach each milestone."""

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
    action_label,
    bare,
    canvas,
    headline,
    in_seconds,
    nothing_to_draw,
    percent,
    plain_action,
    seconds_text,
    text_color,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Below this many sessions a rate says little, and its bar is grey.
FEW = 30


def _beside(ax: Axes, x: float, y: float, words: str) -> None:
    """A label at a bar's end."""
    ax.annotate(
        words,
        (x, y),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=PLAIN,
        color=text_color(),
    )


def _rows(ax: Axes, names: list[str]) -> Any:
    """Places of rows from the top down, named."""
    places = np.arange(len(names))[::-1]
    ax.set_yticks(places, names)
    ax.set_xticks([])
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    return places


def drop_off(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 12) -> Axes:
    """Where sessions drop out: share of the sessions visiting an action that end there, with Wilson whiskers.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.actions()`` gives it, planned ends left out by the caller.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 12
        Actions to draw, largest drop-off first; how many more there are is said.

    Returns
    -------
    Axes
        The chart; grey bars have fewer than 30 sessions.
    """
    table = table[table["drop_off"] > 0].sort_values(["drop_off", "ended_here"], ascending=False, kind="stable")
    shown = table.head(top)
    ax = canvas(ax, 7.5, 1.4 + 0.36 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no drop-off")
    places = _rows(ax, [action_label(str(name)) for name in shown.index])
    share = shown["drop_off"].to_numpy()
    base = np.rint(shown["ended_here"].to_numpy() / share).astype(int)
    whisker = np.abs(np.stack([share - shown["drop_off_low"], shown["drop_off_high"] - share]))
    ax.barh(places, share, height=0.7, color=[BLUE if n >= FEW else GREY for n in base])
    ax.errorbar(share, places, xerr=whisker, fmt="none", ecolor=text_color(), elinewidth=1, capsize=3)
    for place, value, high, ended, n in zip(
        places, share, shown["drop_off_high"], shown["ended_here"], base, strict=True
    ):
        _beside(ax, high, place, f"{percent(value)}  {ended:,} of {n:,}")
    ax.set_xlim(0, float(shown["drop_off_high"].max()) * 1.45)
    most = shown["ended_here"].idxmax()
    more = f" · {len(table) - len(shown)} more actions" if len(table) > len(shown) else ""
    headline(
        ax,
        f"Most drop out at {action_label(str(most), 40)}: {int(shown['ended_here'].max()):,} sessions",
        subtitle + more,
        share=0.68,
    )
    return ax


def loops(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 10) -> Axes:
    """Where sessions go in circles: repeated visits per action and kind.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.loops()`` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 10
        Loops to draw, most repeats first; how many more there are is said.

    Returns
    -------
    Axes
        The chart; the hatch tells the kind, and so does the label.
    """
    table = table.sort_values("repeats", ascending=False, kind="stable")
    shown = table.head(top)
    ax = canvas(ax, 7.5, 1.4 + 0.36 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no loops")
    kinds = ["self", "ping_pong", "return"]
    words = {"self": "again", "ping_pong": "back after one", "return": "back later"}
    places = _rows(ax, [action_label(str(action)) for action in shown["action"]])
    for place, (_, row) in zip(places, shown.iterrows(), strict=True):
        number = kinds.index(str(row["kind"]))
        ax.barh(
            place,
            row["repeats"],
            height=0.7,
            color=COLORS[number],
            hatch=HATCHES[number],
            edgecolor=ax.get_facecolor(),
            linewidth=0,
        )
        extra = seconds_text(row["extra_time"].total_seconds())
        _beside(ax, row["repeats"], place, f"{row['repeats']:,} {words[str(row['kind'])]} · {extra} in all")
    ax.set_xlim(0, float(shown["repeats"].max()) * 1.6)
    first = shown.iloc[0]
    more = f" · {len(table) - len(shown)} more loops" if len(table) > len(shown) else ""
    name, sessions = action_label(str(first["action"]), 40), f"{first['sessions']:,} sessions"
    headline(ax, f"{name} repeats most: {first['repeats']:,} times in {sessions}", subtitle + more, share=0.68)
    return ax


def prompts(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 8) -> Axes:
    """What went wrong at prompts: silence, wrong keys, other errors, as shares of the visits.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.dtmf()`` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 8
        Prompts to draw, most visits first; how many more there are is said.

    Returns
    -------
    Axes
        The chart.
    """
    shown = table.head(top)
    ax = canvas(ax, 7.5, 1.6 + 0.62 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no prompts")
    places = _rows(ax, [action_label(str(name)) for name in shown.index])
    largest = 0.0
    for number, (column, words) in enumerate(
        (("no_input", "no input"), ("no_match", "no match"), ("other_error", "other error"))
    ):
        share = (shown[column] / shown["prompts"]).to_numpy()
        largest = max(largest, float(share.max()))
        at = places + 0.26 * (1 - number)
        ax.barh(
            at,
            share,
            height=0.24,
            color=COLORS[number],
            hatch=HATCHES[number],
            edgecolor=ax.get_facecolor(),
            linewidth=0,
        )
        for place, value, count in zip(at, share, shown[column], strict=True):
            if count:
                ax.annotate(
                    f"{words} {percent(value)}  {count:,}",
                    (value, place),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=SMALL,
                    color=text_color(),
                )
    ax.set_xlim(0, max(largest, 0.01) * 1.5)
    worst = shown["error_rate"].idxmax()
    more = f" · {len(table) - len(shown)} more prompts" if len(table) > len(shown) else ""
    rate, base = float(shown["error_rate"].max()), int(table["prompts"].sum())
    headline(
        ax,
        f"{percent(rate)} of visits to {action_label(str(worst), 40)} go wrong",
        f"{base:,} visits with a prompt · {subtitle}{more}",
        share=0.68,
    )
    return ax


def funnel(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "") -> Axes:
    """How many sessions reach each milestone; the hatched part stopped because the data stops.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.funnel()`` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.

    Returns
    -------
    Axes
        The chart.
    """
    ax = canvas(ax, 7.5, 1.4 + 0.5 * max(len(table), 1))
    if not len(table) or not table["sessions"].iloc[0]:
        return nothing_to_draw(ax, subtitle)
    places = _rows(ax, [action_label(str(name)) for name in table.index])
    ax.barh(places, table["sessions"], height=0.66, color=BLUE)
    ax.barh(
        places,
        table["cut"],
        left=table["sessions"],
        height=0.66,
        color=GREY,
        hatch="///",
        edgecolor=ax.get_facecolor(),
        linewidth=0,
    )
    waits = in_seconds(table["median_time_from_prev"])
    for place, (_, row), wait in zip(places, table.iterrows(), waits, strict=True):
        words = f"{row['sessions']:,}  {percent(row['conversion'])}"
        if place != places[0]:
            words += f" · {percent(row['step_conversion'])} of those before"
        if not np.isnan(wait):
            words += f" · {seconds_text(wait)}"
        if row["cut"]:
            words += f" · {row['cut']:,} cut"
        _beside(ax, row["sessions"] + row["cut"], place, words)
    ax.set_xlim(0, float((table["sessions"] + table["cut"]).max()) * 1.9)
    last = str(table.index[-1])
    finding = f"{percent(float(table['conversion'].iloc[-1]))} of sessions reach {plain_action(last)}"
    headline(ax, finding, subtitle, share=0.68)
    return ax


def dwell(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 12) -> Axes:
    """How long actions take: middle half thick, 5 to 95 % thin, the median a dot.

    Parameters
    ----------
    table : DataFrame
        Index of actions; columns ``p5``, ``p25``, ``p50``, ``p75``, ``p95`` (timedelta64) and ``visits``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 12
        Actions to draw, longest median first; how many more there are is said.

    Returns
    -------
    Axes
        The chart; the axis is logarithmic where the 95th percentile is over 20 times the median.
    """
    table = table.dropna(subset=["p50"]).sort_values("p50", ascending=False, kind="stable")
    shown = table.head(top)
    ax = canvas(ax, 7.5, 1.5 + 0.36 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no times")
    places = _rows(ax, [action_label(str(name)) for name in shown.index])
    low, lower, middle, upper, high = (in_seconds(shown[name]) for name in ("p5", "p25", "p50", "p75", "p95"))
    ratio = float(np.max(high / np.maximum(middle, 1e-9)))
    wide = ratio > 20 or float(high.max() / max(middle.min(), 1e-9)) > 200
    least = max(float(middle[middle > 0].min(initial=np.inf)) / 10, 1e-3)
    if wide:
        ax.set_xscale("log")
        low, lower, middle, upper, high = (np.maximum(part, least) for part in (low, lower, middle, upper, high))
    ax.hlines(places, low, high, color=BLUE, linewidth=1.2)
    ax.hlines(places, lower, upper, color=BLUE, linewidth=6)
    ax.plot(middle, places, "o", markersize=6, color="white", markeredgecolor=BLUE, markeredgewidth=1.6)
    for place, value, last, visits in zip(places, middle, high, shown["visits"], strict=True):
        _beside(ax, last, place, f"{seconds_text(value)}, p95 {seconds_text(last)}  ({visits:,})")
    if wide:
        ax.set_xlim(max(float(low.min()) * 0.8, least), float(high.max()) * 30)
    else:
        ax.set_xlim(0, float(high.max()) * 1.8)
    ax.set_xticks([], minor=True)
    ax.set_xticks([])
    more = f" · {len(table) - len(shown)} more actions" if len(table) > len(shown) else ""
    scale = " · logarithmic" if wide else ""
    headline(
        ax,
        f"Longest: {plain_action(str(shown.index[0]))}, median {seconds_text(float(middle[0]))}",
        f"dot median, thick 25–75 %, thin 5–95 %{scale} · {subtitle}{more}",
        share=0.68,
    )
    return ax


def compare(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 10) -> Axes:
    """What differs: the share among the selected (filled) and the others (hollow), and how sure the difference is.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.compare()`` gives it; numeric fields are left out.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 10
        Rows to draw.

    Returns
    -------
    Axes
        The chart; the thin line is the 95 % interval of the difference, laid from the hollow mark.
    """
    shown = table[table["ks"].isna()].head(top)
    ax = canvas(ax, 8.0, 1.6 + 0.38 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "nothing to compare")
    names = [_value_name(str(f), str(v)) for f, v in zip(shown["field"], shown["value"], strict=True)]
    places = _rows(ax, names)
    one, two = shown["share_selected"].to_numpy(), shown["share_rest"].to_numpy()
    ax.hlines(places, two + shown["ci_low"], two + shown["ci_high"], color=text_color(), linewidth=1, alpha=0.7)
    ax.hlines(places, np.minimum(one, two), np.maximum(one, two), color=BLUE, linewidth=3, alpha=0.45)
    ax.plot(two, places, "o", markersize=8, color=ax.get_facecolor(), markeredgecolor=GREY, markeredgewidth=2)
    ax.plot(one, places, "o", markersize=8, color=BLUE)
    for place, p, q, adjusted in zip(places, one, two, shown["adj_diff"], strict=True):
        words = f"{percent(p)} vs {percent(q)}"
        if not np.isnan(adjusted):
            words += f"  ({100 * adjusted:+.0f} points)"
        ax.annotate(words, (1.06, place), va="center", fontsize=SMALL, color=text_color(), annotation_clip=False)
    ax.set_xlim(-0.03, 1.5)
    ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    bare(ax, grid="x")
    first = shown.iloc[0]
    more = "more" if first["diff"] > 0 else "less"
    headline(
        ax,
        f"{_value_name(str(first['field']), str(first['value']), 40)} is {more} frequent among them: "
        f"{percent(first['share_selected'])} against {percent(first['share_rest'])}",
        f"filled: selected, hollow: the others; points: difference between equally long sessions · {subtitle}",
        share=0.68,
    )
    return ax


def _value_name(field: str, value: str, width: int = 30) -> str:
    """A value with its field, where it does not speak for itself."""
    if field == "transition":
        parts = [plain_action(part) for part in value.split(" → ")]
        return " → ".join(action_label(part, width // 2) for part in parts)
    if field in ("action", "entry_action"):
        return action_label(value, width)
    return f"{field} {value}" if len(field) + len(value) < width else value
