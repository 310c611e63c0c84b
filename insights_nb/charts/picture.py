"""A chart as a picture of its own, for places that show no matplotlib figure: inline SVG in the page's colours."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from .style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Two colours no chart uses; in the picture they become the page's text and background.
_INK, _GROUND = "#010203", "#fdfeff"


def svg(draw: Callable[[Axes], Axes], width: float, height: float) -> str:
    """Draw on a figure of its own; pyplot, and with it the notebook, knows nothing of it.

    Parameters
    ----------
    draw : callable
        Draws on the Axes it is given, and returns it.
    width, height : float
        Inches.

    Returns
    -------
    str
        An ``<svg>`` element for a page, text drawn in the page's own colour, with what it shows as its label.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    colours: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
        **dict.fromkeys(("axes.facecolor", "figure.facecolor"), _GROUND),
    }
    kept = io.StringIO()
    with rc_context({**colours, "svg.fonttype": "none"}):
        ax = draw(Figure(figsize=(width, height), layout="constrained").subplots())
        figure = ax.get_figure(root=True)
        assert figure is not None  # noqa: S101 - made above
        figure.savefig(kept, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        words = describe(ax)
    text = kept.getvalue()
    drawn = text[text.index("<svg") :].replace(_INK, "currentColor").replace(_GROUND, "var(--jp-layout-color0, white)")
    label = f'<svg role="img" aria-label="{escape(words)}" style="max-width:100%;height:auto" '
    return drawn.replace("<svg ", label, 1)
