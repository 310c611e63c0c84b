"""Sessions as pictures: every function takes plain frames, draws on one Axes and returns it.

Nothing here shows a figure, changes global settings or knows where a frame came from. matplotlib is imported when a
chart is drawn, not before.
"""

from .endings import exits, exits_over_time
from .style import describe
from .waterfall import timeline

__all__ = ["describe", "exits", "exits_over_time", "timeline"]
