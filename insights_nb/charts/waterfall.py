"""One session as a waterfall: a row per step, in the order it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .style import (
    BLUE,
    GREY,
    SMALL,
    VERMILLION,
    bare,
    canvas,
    headline,
    in_seconds,
    nothing_to_draw,
    plain_action,
    seconds_text,
    shorten,
    text_color,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Hatch of a step by the event, other than an exit, that it held.
EVENT_HATCHES = {"DtmfEvent": "///", "CallEvent": "...", "MsgEvent": "xxx"}
EXIT_EVENT = "ApplicationExitEvent"
#: A silence is cut out of the axis when it is long for its log and longer than this share of the session.
BREAK_SHARE = 0.3
MOST_ROWS = 60
#: Steps of the axis, in seconds: what people count time in.
ROUND = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass(frozen=True)
class Scale:
    """Seconds since the session's start to places on the axis, long silences cut short.

    Attributes
    ----------
    cuts : list of (float, float)
        Stretches of seconds in which nothing happens.
    width : float
        Places a cut stretch takes.
    """

    cuts: list[tuple[float, float]]
    width: float

    def __call__(self, seconds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Places of the given seconds."""
        at = np.asarray(seconds, dtype=np.float64)
        out = at.copy()
        for low, high in self.cuts:
            inside = np.clip((at - low) / (high - low), 0, 1)
            out -= inside * (high - low - self.width)
        return out


def timeline(
    steps: pd.DataFrame,
    events: pd.DataFrame,
    *,
    ax: Axes | None = None,
    subtitle: str = "",
    long_gap: pd.Timedelta | None = None,
) -> Axes:
    """A session step by step: bar = time in the action, diamond = exit, ``!`` = error, hatch = kind of event.

    Parameters
    ----------
    steps : DataFrame
        One session's rows of ``SessionLog.steps``.
    events : DataFrame
        The same session's rows of ``SessionLog.timeline``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    subtitle : str, default ""
        Which session, when, how complete.
    long_gap : Timedelta, optional
        Silences above this, and above 30 % of the session, are cut out of the axis and written beside the cut.

    Returns
    -------
    Axes
        The chart; seconds since the session's first event.
    """
    shown = steps.head(MOST_ROWS)
    ax = canvas(ax, 8.5, 1.5 + 0.34 * max(len(shown), 1))
    if not len(shown):
        return nothing_to_draw(ax, subtitle, "no steps")
    origin = events["TimeStamp"].min()
    enter = (shown["enter"] - origin).dt.total_seconds().to_numpy()
    dwell = in_seconds(shown["dwell"])
    known = ~np.isnan(dwell)
    leave = np.where(known, enter + np.nan_to_num(dwell), enter)
    marks = np.sort(np.unique(np.concatenate([enter, leave, in_seconds(events["offset"])])))
    scale = _scale(marks, long_gap)
    rows = np.arange(len(shown))[::-1]
    spread = max(float(scale(marks[-1]) - scale(marks[0])), 1e-9)
    _bars(ax, shown, events, rows, scale(enter), scale(leave), known)
    _marks(ax, shown, events, rows, scale, enter, leave, spread)
    _axis(ax, scale, marks, spread, len(shown))
    ax.set_yticks(rows, [_row_name(step) for step in shown.itertuples()])
    _flows(ax, shown, rows)
    bare(ax, grid="x")
    left_out = f" · first {MOST_ROWS} of {len(steps)} steps" if len(steps) > MOST_ROWS else ""
    headline(ax, _finding(steps, events), subtitle + left_out, share=0.8)
    return ax


def _scale(marks: npt.NDArray[np.float64], long_gap: pd.Timedelta | None) -> Scale:
    """Cut the silences that are long for the log and large in the session."""
    gaps = np.diff(marks)
    total = float(gaps.sum())
    limit = long_gap.total_seconds() if long_gap is not None else np.inf
    cut = np.flatnonzero((gaps > limit) & (gaps > BREAK_SHARE * total))
    rest = total - float(gaps[cut].sum())
    return Scale([(float(marks[i]), float(marks[i + 1])) for i in cut], max(rest * 0.12, 1e-6))


def _plain(action: object) -> str:
    """An action without the name of its flow, which stands above its steps."""
    return plain_action(action) if isinstance(action, str) else "(missing)"


def _flows(ax: Axes, steps: pd.DataFrame, rows: Any) -> None:
    """Where a session goes through several flows: a line where one begins, and its name."""
    flow = steps["flow"].astype("str")
    if flow.nunique() < 2:
        return
    begins = np.flatnonzero((flow != flow.shift()).to_numpy())
    for place in begins:
        edge = float(rows[place]) + 0.5
        ax.axhline(edge, color=text_color(), linewidth=0.7, alpha=0.5)
        ax.annotate(
            shorten(str(flow.iloc[place]), 40),
            (1, edge),
            xycoords=("axes fraction", "data"),
            xytext=(0, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=SMALL,
            color=text_color(),
            alpha=0.8,
        )


def _row_name(step: Any) -> str:
    name = shorten(_plain(step.action), 26)
    return f"{name}  ×{step.nth_visit}" if step.nth_visit > 1 else name


def _kind(step: Any, events: pd.DataFrame) -> str:
    """The event a step held besides its exit, empty without one."""
    held = events.loc[(events["step"] == step.step).fillna(False), "EventName"].dropna().unique()
    return next((str(name) for name in held if name != EXIT_EVENT), "")


def _bars(ax: Axes, steps: pd.DataFrame, events: pd.DataFrame, rows: Any, start: Any, stop: Any, known: Any) -> None:
    seen: dict[str, str] = {}
    ground = ax.get_facecolor()
    for step, row, low, high, told in zip(steps.itertuples(), rows, start, stop, known, strict=True):
        kind = _kind(step, events)
        hatch = EVENT_HATCHES.get(kind, "")
        fill = GREY if step.after_exit else BLUE
        width = high - low if told else 0.0
        # The outline keeps a bar of a fraction of a second visible; the hatch is drawn over it in the ground's colour.
        ax.barh(row, width, left=low, height=0.62, color=fill, edgecolor=fill, linewidth=1.2)
        bars = ax.barh(row, width, left=low, height=0.62, color=fill, hatch=hatch, edgecolor=ground, linewidth=0)
        if hatch and kind not in seen:
            seen[kind] = hatch
            bars[0].set_label(kind)
    if seen:
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.42 / ax.get_window_extent().height * ax.figure.dpi),
            ncols=len(seen),
            fontsize=SMALL,
            frameon=False,
            labelcolor=text_color(),
            borderaxespad=0,
        )


def _marks(
    ax: Axes,
    steps: pd.DataFrame,
    events: pd.DataFrame,
    rows: Any,
    scale: Scale,
    enter: Any,
    leave: Any,
    spread: float,
) -> None:
    """Diamonds at exits, ``!`` at errors, and each step's length and way out beside its bar."""
    ink = text_color()
    for step, row, low, high in zip(steps.itertuples(), rows, enter, leave, strict=True):
        held = events[(events["step"] == step.step).fillna(False)]
        at = in_seconds(held["offset"])
        out = at[(held["EventName"] == EXIT_EVENT).to_numpy()]
        if len(out):
            ax.plot(scale(out), [row] * len(out), "D", color=ink, markersize=5, zorder=3)
        wrong = at[held["flags"].str.contains("error").to_numpy()]
        for x in scale(wrong):
            ax.annotate(
                "!", (x, row), ha="center", va="center", fontsize=BOLD_MARK, fontweight="bold", color=VERMILLION,
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": VERMILLION, "linewidth": 1},
                zorder=4,
            )  # fmt: skip
        edge = max([float(scale(high)), float(scale(low)), *map(float, scale(at))])
        ax.annotate(
            _beside(step),
            (edge, row),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=ink,
        )


BOLD_MARK = 8.5


def _beside(step: Any) -> str:
    parts = [] if pd.isna(step.dwell) else [seconds_text(step.dwell.total_seconds())]
    way = [str(word) for word in (step.exit_path, step.exit_reason) if isinstance(word, str)]
    if way:
        parts.append("→ " + " · ".join(dict.fromkeys(way)))
    if isinstance(step.input_error, str):
        parts.append(f"! {step.input_error}")
    if step.after_exit:
        parts.append("(after the end)")
    return "  ".join(parts)


def _axis(ax: Axes, scale: Scale, marks: npt.NDArray[np.float64], spread: float, rows: int) -> None:
    """Ticks at round seconds outside the cuts; each cut is two strokes and the time it leaves out."""
    low, high = float(marks[0]), float(marks[-1])
    edges = [low, *[edge for cut in scale.cuts for edge in cut], high]
    ticks: list[float] = []
    step = next((step for step in ROUND if spread / step <= 6), ROUND[-1] * np.ceil(spread / ROUND[-1] / 6))
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        ticks += list(np.arange(np.ceil(left / step) * step, right + step * 1e-9, step))
    ax.set_xticks(scale(ticks), [seconds_text(tick) for tick in ticks])
    for left, right in scale.cuts:
        middle = float(scale((left + right) / 2))
        for side in (-0.12, 0.12):
            ax.axvline(middle + side * scale.width, color=text_color(), linewidth=0.8, linestyle=(0, (3, 3)), alpha=0.6)
        ax.annotate(
            f"{seconds_text(right - left)}\nwith no event",
            (middle, rows - 0.55),
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=text_color(),
        )
    ax.set_xlim(float(scale(low)) - 0.01 * spread, float(scale(low)) + spread * 1.5)
    ax.set_ylim(-0.7, rows - 0.3 + (0.5 if scale.cuts else 0))


def _finding(steps: pd.DataFrame, events: pd.DataFrame) -> str:
    """How long, how many steps, how it ended."""
    length = seconds_text(float(in_seconds(events["offset"]).max()))
    count = f"{len(steps)} step" + ("" if len(steps) == 1 else "s")
    within = steps[~steps["after_exit"]]
    final = within.iloc[-1] if len(within) else steps.iloc[-1]
    where = _plain(final["action"]) if isinstance(final["action"], str) else "its last step"
    if isinstance(final["exit_reason"], str):
        return f"{length} in {count}, last exit {final['exit_reason']} at {where}"
    if isinstance(final["exit_path"], str):
        return f"{length} in {count}, last exit by {final['exit_path']} at {where}"
    return f"{length} in {count}, last seen at {where} without an exit"
