"""What all charts share: colours with a second channel, titles that say the finding, words for numbers."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes  # for annotations elsewhere: matplotlib has one door

#: Okabe-Ito without its yellow (1.3:1 on white) and black (the text colour of half the themes), darkest first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
BLUE, VERMILLION = COLORS[0], COLORS[1]
#: One hatch per colour, so that a grey print or a colour-blind reader loses nothing.
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "++")
GREY = "#8C8C8C"
SMALL = 8.0
PLAIN = 9.0
BOLD = 11.0


def canvas(ax: Axes | None, width: float, height: float) -> Axes:
    """The Axes to draw on: the one given, or a new figure's, which the notebook shows once.

    Parameters
    ----------
    ax : Axes or None
        Where to draw.
    width, height : float
        Size of a new figure, in inches.

    Returns
    -------
    Axes
        Ready to draw on.
    """
    if ax is not None:
        return ax
    from matplotlib import pyplot

    _, new = pyplot.subplots(figsize=(width, height), layout="constrained")
    return new


def text_color() -> Any:
    """The text colour of the style in force: dark on light, light on dark."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def headline(ax: Axes, finding: str, subtitle: str, *, share: float = 1.0) -> None:
    """Write the finding as the title, and below it what it rests on.

    Parameters
    ----------
    ax : Axes
        The chart.
    finding, subtitle : str
        Both are wrapped to the width there is.
    share : float, default 1.0
        How much of the figure's width is to the right of the Axes' left edge, about.
    """
    whole = ax.get_figure(root=True)
    inches = whole.get_size_inches()[0] if whole is not None else 7.0
    width = max(int(inches * 14 * share), 30)
    # A dot stays at the end of its part: a line that begins with one reads like a list.
    bound = textwrap.wrap(subtitle.replace(" · ", "\N{NO-BREAK SPACE}· "), width) if subtitle else []
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in bound]
    title = textwrap.fill(finding, int(width * 0.74))
    ax.set_title(title, loc="left", fontsize=BOLD, fontweight="bold", pad=8 + 11.5 * len(lines), color=text_color())
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=SMALL,
            color=text_color(),
            va="bottom",
            alpha=0.85,
        )


def bare(ax: Axes, *, grid: str | None = None) -> None:
    """Take away what carries no meaning: the box, tick marks, a grid across the bars."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(text_color())
    ax.spines["bottom"].set_alpha(0.4)
    ax.tick_params(labelsize=PLAIN, length=0, colors=text_color())
    if grid:
        ax.grid(axis="x" if grid == "x" else "y", color=text_color(), alpha=0.12, linewidth=0.8)
        ax.set_axisbelow(True)


def nothing_to_draw(ax: Axes, subtitle: str, words: str = "no sessions") -> Axes:
    """An empty chart that says so."""
    ax.set_xticks([])
    ax.set_yticks([])
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    ax.annotate(
        words, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=BOLD, color=text_color()
    )
    headline(ax, words[:1].upper() + words[1:], subtitle)
    return ax


def percent(share: float) -> str:
    """A share in words: ``0.4 %``, ``12 %``; never ``0 %`` or ``100 %`` for what is not."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99 < value < 100:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def seconds_text(seconds: float) -> str:
    """A length of time in words: ``350 ms``, ``3.2 s``, ``42 s``, ``3 min 12 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 0:
        return "−" + seconds_text(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def in_seconds(series: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """A timedelta column in seconds, NaN where it is missing."""
    return np.asarray(series.dt.total_seconds(), dtype=np.float64)


def shorten(text: str, width: int = 34) -> str:
    """A label no wider than ``width`` characters, cut in the middle: both ends of an id tell it apart."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


#: Between the name of a flow and that of its action.
JOINT = " ▸ "


def action_label(text: str, width: int = 34) -> str:
    """An action's label no wider than ``width``: the flow's name gives way, the action stays whole."""
    if len(text) <= width or JOINT not in text:
        return shorten(text, width)
    flow, action = text.rsplit(JOINT, 1)
    room = width - len(action) - len(JOINT) - 1
    return f"{flow[:room].rstrip()}…{JOINT}{action}" if room >= 4 else shorten(action, width)


def plain_action(text: str) -> str:
    """An action without the name of its flow."""
    return text.rsplit(JOINT, 1)[-1]


def wash(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Shares as blue of a strength, transparent at zero: it reads on a light ground and on a dark one.

    Parameters
    ----------
    share : array of float
        0 to 1.

    Returns
    -------
    ndarray of float, shape (..., 4)
        Red, green, blue, opacity.
    """
    from matplotlib.colors import to_rgb

    strength = np.sqrt(np.clip(np.asarray(share, dtype=np.float64), 0, 1))
    out = np.empty((*strength.shape, 4))
    out[..., :3] = to_rgb(BLUE)
    out[..., 3] = np.where(strength > 0, 0.06 + 0.94 * strength, 0)
    return out


def ink_on(share: float) -> Any:
    """Text colour on a cell of that share: white where the blue is strong."""
    return "white" if share > 0.45 else text_color()


def letter(number: int) -> str:
    """The letters A to Z, then AA, AB and on."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(65 + number % 26)


def key_below(ax: Axes, tags: dict[str, str], width: int = 130) -> None:
    """Below the chart, what each tag stands for: a tag and its name stay on one line.

    Parameters
    ----------
    ax : Axes
        The chart.
    tags : dict of str to str
        Action to tag; the tags already tell actions of one name apart.
    width : int, default 130
        Characters a line.
    """
    key = "   ".join(f"{tag}\N{NO-BREAK SPACE}{plain_action(name)}" for name, tag in tags.items())
    ax.annotate(
        textwrap.fill(key, width),
        (0, 0),
        xytext=(0, -6 if not ax.get_xticks().size else -22),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=SMALL,
        color=text_color(),
    )


def look(rank: int) -> tuple[str, str]:
    """Colour and hatch of the action of that rank: neighbours differ in both, and 36 actions in at least one."""
    return COLORS[rank % len(COLORS)], HATCHES[(rank + rank // len(COLORS)) % len(HATCHES)]


def time_places(index: pd.Index, tz: str) -> tuple[Any, float]:
    """Middle of each stretch in matplotlib's days, and their width."""
    from matplotlib import dates

    days: Any = dates
    starts = days.date2num(pd.DatetimeIndex(index).tz_convert(tz).to_pydatetime())
    width = float(np.diff(starts).min()) if len(starts) > 1 else 1 / 24
    return starts + width / 2, width


def time_axis(ax: Axes, tz: str) -> None:
    """Ticks of the time axis in a zone, as many as are readable."""
    from matplotlib import dates as untyped

    dates: Any = untyped
    zone = pd.Timestamp("2020-01-01", tz=tz).tzinfo
    locator = dates.AutoDateLocator(tz=zone, minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    ax.xaxis.get_offset_text().set_visible(False)


def describe(ax: Axes) -> str:
    """What a chart shows, in words: its title, subtitle, and every label on it.

    Parameters
    ----------
    ax : Axes
        A chart of this package.

    Returns
    -------
    str
        For ``IPython.display.Image(alt=...)`` or the metadata of an SVG.
    """
    labels = [label.get_text() for label in ax.get_yticklabels()]
    notes = [text.get_text() for text in ax.texts if text.get_text()]
    parts = [ax.get_title(loc="left"), *notes[-1:], *labels, *notes[:-1]]
    return " · ".join(part.replace("\n", " ") for part in parts if part)
