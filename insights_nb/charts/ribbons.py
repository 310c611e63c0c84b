"""Step flow: where sessions go over their first steps, as ribbons between neighbouring steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from .style import (
    GREY,
    SMALL,
    action_label,
    bare,
    canvas,
    headline,
    look,
    nothing_to_draw,
    percent,
    plain_action,
    text_color,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDED = "(ended)"
#: Room between two blocks of a step, and the width of a block, where a step is 1 apart and all sessions are 1 high.
GAP, THICK = 0.018, 0.07
#: A lower block has no room for a name.
NAMED = 0.03
Counts = npt.NDArray[np.float64]


def step_flow(
    paths: pd.DataFrame,
    *,
    ax: Axes | None = None,
    subtitle: str = "",
    top: int = 6,
    order: list[str] | None = None,
) -> Axes:
    """Where sessions go over their first steps: a block per action and step, a ribbon to each next one.

    Parameters
    ----------
    paths : DataFrame
        One row per session, one column per step; the action it is at, NA once it has ended.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        What the finding rests on.
    top : int, default 6
        Actions drawn on their own, most frequent first; the rest is ``other (k)``.
    order : list of str, optional
        Actions, most frequent first: the same order gives an action the same colour in every chart of a log.

    Returns
    -------
    Axes
        The chart. Ribbons join neighbouring steps only; they do not follow a session over two of them.
    """
    ax = canvas(ax, min(2.0 + 1.6 * max(paths.shape[1], 1), 12.0), 4.6)
    if not len(paths) or not paths.notna().to_numpy().any():
        return nothing_to_draw(ax, subtitle)
    names, codes = _merged(paths, top)
    stacks = [np.bincount(column, minlength=len(names)) / len(paths) for column in codes.T]
    looks = _looks(names, order)
    feet = [_feet(stack) for stack in stacks]
    for step in range(1, len(stacks)):
        flow = np.zeros((len(names), len(names)))
        np.add.at(flow, (codes[:, step - 1], codes[:, step]), 1 / len(paths))
        _ribbons(ax, step, flow, (feet[step - 1], feet[step]), looks)
    for step, (stack, foot) in enumerate(zip(stacks, feet, strict=True), 1):
        _blocks(ax, step, stack, foot, looks)
        _names(ax, step, stack, foot, names)
    ax.set_xticks(np.arange(len(stacks)) + 1 + THICK / 2, [f"step {step}" for step in paths.columns])
    ax.set_yticks([])
    ax.set_xlim(1 - THICK, len(stacks) + 0.95)
    ax.set_ylim(min(float(foot.min()) for foot in feet) - 0.01, 1.01)
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    low = any(((stack > 0) & (stack < NAMED)).any() for stack in stacks)
    told = [
        subtitle,
        "height: share of these sessions",
        "ribbons join two neighbouring steps and do not follow anybody over two hops",
        f"blocks under {100 * NAMED:.0f} % carry no name" if low else "",
    ]
    headline(ax, _finding(paths), " · ".join(part for part in told if part), share=0.95)
    return ax


def _merged(paths: pd.DataFrame, top: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The actions to draw, ``other (k)`` and the end, and for each session and step which of them it is at."""
    stacked = pd.concat([paths[step].astype("object") for step in paths.columns], ignore_index=True)
    code, found = pd.factorize(stacked)
    count = np.bincount(code[code >= 0], minlength=len(found))
    ranked = sorted(range(len(found)), key=lambda number: (-count[number], str(found[number])))
    # A rest of one action is that action.
    kept = ranked[: top + 1] if len(ranked) == top + 1 else ranked[:top]
    rest = len(ranked) - len(kept)
    names = [str(found[number]) for number in kept] + ([f"other ({rest})"] if rest else []) + [ENDED]
    to = np.full(len(found) + 1, len(kept), dtype=np.int64)
    to[kept] = np.arange(len(kept))
    to[-1] = len(names) - 1
    return names, to[code].reshape(paths.shape[1], len(paths)).T


def _looks(names: list[str], order: list[str] | None) -> list[tuple[str, str]]:
    """Colour and hatch of each name; what is no action is grey."""
    rank = {name: number for number, name in enumerate(names[:-1] if order is None else order)}
    plain = {name: (GREY, "") for name in names if name.startswith("other (")} | {ENDED: (GREY, "////")}
    return [plain.get(name) or look(rank.get(name, len(rank))) for name in names]


def _feet(stack: Counts) -> Counts:
    """The lower edge of each block, stacked from the top down; an empty one takes no room."""
    gaps = np.concatenate([[0.0], np.cumsum(np.where(stack > 0, GAP, 0.0))[:-1]])
    return np.asarray(1 - np.cumsum(stack) - gaps)


def _ribbons(ax: Axes, step: int, flow: Counts, feet: tuple[Counts, Counts], looks: list[tuple[str, str]]) -> None:
    """From each block of a step to each of the next, as thick as the share that goes that way."""
    x = np.linspace(0, 1, 40)
    bend = x * x * (3 - 2 * x)
    leave = feet[0] + flow.sum(axis=1)
    enter = feet[1] + flow.sum(axis=0)
    for source, target in zip(*np.nonzero(flow), strict=True):
        share = flow[source, target]
        # Both stacks are used up from the top down, in the order of the names, so ribbons cross as little as they can.
        upper = leave[source] + (enter[target] - leave[source]) * bend
        leave[source] -= share
        enter[target] -= share
        over = source == target == len(looks) - 1
        ax.fill_between(
            step + THICK + x * (1 - THICK),
            upper - share,
            upper,
            color=looks[source][0],
            alpha=0.12 if over else 0.35,
            linewidth=0,
        )


def _blocks(ax: Axes, step: int, stack: Counts, foot: Counts, looks: list[tuple[str, str]]) -> None:
    for share, low, (color, hatch) in zip(stack, foot, looks, strict=True):
        if share > 0:
            ax.bar(
                step,
                share,
                THICK,
                bottom=low,
                align="edge",
                color=color,
                hatch=hatch,
                edgecolor=ax.get_facecolor(),
                linewidth=0,
            )


def _names(ax: Axes, step: int, stack: Counts, foot: Counts, names: list[str]) -> None:
    """Beside each block what it is, and which share of the sessions is there."""
    short = [plain_action(name) for name in names]
    if len(set(short)) < len(short):
        short = list(names)
    for share, low, name in zip(stack, foot, short, strict=True):
        if share >= NAMED:
            ax.text(
                step + THICK + 0.03,
                low + share / 2,
                f"{action_label(name, 16)}  {percent(float(share))}",
                va="center",
                fontsize=SMALL,
                color=text_color(),
            )


def _finding(paths: pd.DataFrame) -> str:
    """How many are over by the last step drawn, and where most of the others are, drawn on its own or not."""
    last = paths.iloc[:, -1].astype("object")
    over = f"By step {paths.shape[1]} {percent(float(last.isna().mean()))} of sessions have ended"
    held = last.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if not len(held):
        return over
    most = f"{plain_action(str(held.index[0]))} ({percent(float(held.iloc[0]) / len(paths))})"
    return f"{over}; the most frequent step {paths.shape[1]} is {most}"
