"""A chart as inline SVG: in the page's colours, labelled, and unknown to pyplot."""

import sys

from insights_nb.charts.picture import svg
from insights_nb.sessions.example import log


def test_the_picture_takes_the_page_s_colours() -> None:
    """Text and ground are the page's own, so that it reads on a dark theme too, and its label says what it shows."""
    session = log.sessions().index[1]
    text = svg(lambda ax: log.plot.timeline(session, ax=ax), 8, 3)
    assert text.startswith("<svg role=")
    assert text.rstrip().endswith("</svg>")
    assert "currentColor" in text
    assert "#010203" not in text
    assert "#fdfeff" not in text
    assert f"{session} " in text.partition(">")[0]
    assert len(text) < 250_000


def test_pyplot_is_left_alone() -> None:
    """No figure is registered for the notebook to show a second time."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    svg(lambda ax: log.plot.exits(ax=ax), 6, 3)
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
