"""Heatmaps and strips: where sessions go next, where they are after n steps, and which whole paths they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .style import (
    COLORS,
    HATCHES,
    SMALL,
    action_label,
    bare,
    canvas,
    headline,
    ink_on,
    key_below,
    letter,
    nothing_to_draw,
    percent,
    plain_action,
    seconds_text,
    text_color,
    wash,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_STEPS = 16
START, END, ENDED, NOT_BEGUN = "(start)", "(end)", "(ended)", "(not begun)"


def heat(
    ax: Axes,
    shares: npt.NDArray[np.float64],
    rows: list[str],
    columns: list[str],
    *,
    slant: bool,
    labels: list[list[str]] | None = None,
) -> None:
    """Cells of blue, labelled as told; else with the percentage where a cell holds at least 1 %."""
    ax.imshow(wash(shares), aspect="auto", interpolation="nearest")
    if labels is None:
        labels = [[f"{100 * share:.0f}" if share >= 0.01 else "" for share in row] for row in shares]
    for (row, column), share in np.ndenumerate(shares):
        if words := labels[row][column]:
            ax.text(column, row, words, ha="center", va="center", fontsize=SMALL, color=ink_on(float(share)))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    bare(ax)
    ax.tick_params(axis="x", labelsize=SMALL)
    if slant:
        ax.tick_params(axis="x", labelrotation=40)
        for label in ax.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    ax.spines["bottom"].set_visible(False)
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=text_color(), alpha=0.12, linewidth=0.6)
    ax.tick_params(which="minor", length=0)


def transitions(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 12) -> Axes:
    """Where sessions go next: share of what leaves each action (row) by where it goes (column), in percent.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.transitions()`` gives it, not split.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 12
        Actions to draw, most frequent first; the rest is ``other (k)``.

    Returns
    -------
    Axes
        The chart; going straight back to the same action is the diagonal.
    """
    counts = table.assign(source=table["source"].astype("str"), target=table["target"].astype("str"))
    matrix = counts.pivot_table(index="source", columns="target", values="count", aggfunc="sum", fill_value=0)
    if not len(matrix):
        return nothing_to_draw(canvas(ax, 7.5, 3.0), subtitle, "no transitions")
    weight = matrix.sum(axis=1).add(matrix.sum(axis=0), fill_value=0).drop([START, END], errors="ignore")
    ranked = sorted(weight.index, key=lambda name: (-weight[name], name))
    kept, rest = ranked[:top], ranked[top:]
    other = [f"other ({len(rest)})"] if rest else []
    named = {name: f"other ({len(rest)})" for name in rest}
    matrix = matrix.rename(index=named, columns=named).groupby(level=0).sum().T.groupby(level=0).sum().T
    rows = [name for name in (START, *kept, *other) if name in matrix.index]
    columns = [name for name in (*kept, *other, END) if name in matrix.columns]
    shares = matrix.reindex(index=rows, columns=columns).to_numpy(dtype=float)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    ax = canvas(ax, 3.2 + 0.5 * len(columns), 2.2 + 0.34 * len(rows))
    short = [action_label(name, 30) for name in rows]
    heat(ax, shares, short, [action_label(plain_action(name), 18) for name in columns], slant=True)
    note = f"percent of what leaves the action on the left · {subtitle}"
    headline(ax, _next_finding(matrix, kept), note, share=0.72)
    return ax


def _next_finding(matrix: pd.DataFrame, kept: list[str]) -> str:
    """The heaviest straight repeat, if any is heavy; else the most frequent move."""
    counts = {(str(s), str(t)): float(n) for (s, t), n in matrix.stack().items() if n}  # type: ignore[misc]
    total: dict[str, float] = {}
    for (source, _), count in counts.items():
        total[source] = total.get(source, 0.0) + count
    back = {name: counts[name, name] / total[name] for name in kept if (name, name) in counts}
    if back and max(back.values()) >= 0.1:
        name = max(back, key=lambda one: back[one])
        return f"{percent(back[name])} of what leaves {plain_action(name)} comes straight back to it"
    inner = {pair: count for pair, count in counts.items() if START not in pair and END not in pair}
    if not inner:
        return "No action follows another"
    source, target = max(inner, key=lambda pair: inner[pair])
    return f"Most go from {plain_action(source)} to {plain_action(target)}: {int(inner[source, target]):,}"


def step_matrix(table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 14) -> Axes:
    """Where sessions are after n steps, in percent of them.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.step_matrix()`` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 14
        Actions to draw, most frequent first; the rest is ``other (k)``.

    Returns
    -------
    Axes
        The chart; each column sums to 100.
    """
    edge = [name for name in (ENDED, NOT_BEGUN) if name in table.index]
    inner = table.drop(edge)
    if not table.to_numpy().any():
        return nothing_to_draw(canvas(ax, 7.5, 3.0), subtitle)
    rest = inner.iloc[top:]
    parts = [inner.iloc[:top]]
    if len(rest):
        parts.append(rest.sum().to_frame(f"other ({len(rest)})").T)
    shown = pd.concat([*parts, table.loc[edge]])
    ax = canvas(ax, 3.4 + 0.45 * shown.shape[1], 1.6 + 0.32 * len(shown))
    names = [action_label(str(name), 32) for name in shown.index]
    heat(ax, shown.to_numpy(dtype=float), names, [str(step) for step in shown.columns], slant=False)
    ax.set_xlabel("step", fontsize=SMALL, color=text_color())
    note = f"percent of the sessions at each step · {subtitle}"
    headline(ax, _step_finding(shown), note, share=0.75)
    return ax


def _step_finding(table: pd.DataFrame) -> str:
    """When half of the sessions have ended, or what stands at the anchor."""
    steps = [int(str(step)) for step in table.columns]
    inner = table.drop([ENDED, NOT_BEGUN], errors="ignore")
    if 0 in steps and 1 in steps:
        after = inner.iloc[:, steps.index(1)]
        anchor = inner.iloc[:, steps.index(0)].idxmax()
        return f"After {plain_action(str(anchor))}: {plain_action(str(after.idxmax()))} ({percent(float(after.max()))})"
    if 0 in steps:
        last = inner.iloc[:, steps.index(0)]
        return f"{percent(float(last.max()))} of sessions end in {plain_action(str(last.idxmax()))}"
    ended = table.loc[ENDED].to_numpy() if ENDED in table.index else np.zeros(len(steps))
    over = np.flatnonzero(ended >= 0.5)
    if len(over):
        return f"Half of the sessions are over before step {steps[int(over[0])]}"
    return f"{percent(1 - float(ended[-1]))} of sessions are still going at step {steps[-1]}"


def variants(
    table: pd.DataFrame, *, ax: Axes | None = None, subtitle: str = "", top: int = 10, order: list[str] | None = None
) -> Axes:
    """Which whole paths sessions take: one row per variant, a block per step, share and outcome beside it.

    Parameters
    ----------
    table : DataFrame
        As ``SessionLog.variants()`` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 10
        Variants to draw.
    order : list of str, optional
        Actions, most frequent first: the same order gives an action the same colour in every chart of a log.

    Returns
    -------
    Axes
        The chart; long paths are cut at 16 steps, and say so.
    """
    shown = table.head(top)
    ax = canvas(ax, 9.0, 1.5 + 0.42 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no variants")
    named = order if order is not None else list(dict.fromkeys(step for path in shown["path"] for step in path))
    rank = {name: number for number, name in enumerate(named)}
    longest = max(min(len(path), MOST_STEPS) for path in shown["path"])
    drawn = sorted({step for path in shown["path"] for step in path[:MOST_STEPS]}, key=lambda one: rank.get(one, 0))
    # Names where the blocks are wide enough for all of them, else a letter each and a key below.
    roomy = max((len(plain_action(step)) for step in drawn), default=0) <= 62 / (longest * 1.75 + 1)
    tags = {step: plain_action(step) if roomy else letter(number) for number, step in enumerate(drawn)}
    places = np.arange(len(shown))[::-1]
    for place, path in zip(places, shown["path"], strict=True):
        for column, step in enumerate(path[:MOST_STEPS]):
            _block(ax, column, place, tags[step], rank.get(step, len(rank)))
        if len(path) > MOST_STEPS:
            ax.text(
                MOST_STEPS + 0.1, place, f"+{len(path) - MOST_STEPS}", va="center", fontsize=SMALL, color=text_color()
            )
    for place, (_, row) in zip(places, shown.iterrows(), strict=True):
        ax.text(longest + 0.7, place, _variant_words(row), va="center", fontsize=SMALL, color=text_color())
    ax.set_yticks(places, [f"{rank_}." for rank_ in shown.index])
    ax.set_xlim(0, longest * 1.75 + 1)
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.set_xticks([])
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    if not roomy:
        key_below(ax, tags)
    covered = float(shown["cum_share"].iloc[-1])
    headline(
        ax,
        f"The {len(shown)} most frequent paths cover {percent(covered)} of sessions",
        f"{subtitle} · repeats in a row drawn once",
    )
    return ax


def _block(ax: Axes, column: int, place: float, tag: str, rank: int) -> None:
    """One step of a path: colour and hatch by the action's rank, and what it is called."""
    color, hatch = COLORS[rank % len(COLORS)], HATCHES[rank // len(COLORS) % len(HATCHES)]
    ax.broken_barh(
        [(column + 0.03, 0.94)],
        (place - 0.36, 0.72),
        facecolors=color,
        hatch=hatch,
        edgecolor=ax.get_facecolor(),
        linewidth=0,
    )
    ax.text(
        column + 0.5,
        place,
        tag,
        ha="center",
        va="center",
        fontsize=SMALL,
        color="white" if color in COLORS[:2] else "black",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 0.8} if hatch else None,
    )


def _variant_words(row: Any) -> str:
    words = f"{percent(row['share'])}  {row['sessions']:,}"
    if not pd.isna(row["median_duration"]):
        words += f" · {seconds_text(row['median_duration'].total_seconds())}"
    shares = {
        str(name).removeprefix("share_"): float(row[name]) for name in row.index if str(name).startswith("share_")
    }
    told = {name: share for name, share in shares.items() if share >= 0.05 and name not in ("unclassified", "unknown")}
    for name, share in sorted(told.items(), key=lambda item: -item[1])[:2]:
        words += f" · {percent(share)} {name}"
    return words
