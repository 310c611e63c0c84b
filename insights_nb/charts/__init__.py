"""Sessions as pictures: every function takes plain frames, draws on one Axes and returns it.

Nothing here shows a figure, changes global settings or knows where a frame came from. matplotlib is imported when a
chart is drawn, not before.
"""

from .bars import compare, drop_off, dwell, funnel, loops, prompts
from .endings import exits, exits_over_time
from .grids import step_matrix, transitions, variants
from .hours import hourly, load, load_by_weekday
from .ribbons import step_flow
from .strips import evenly, timelines
from .style import describe
from .waterfall import timeline

__all__ = [
    "compare",
    "describe",
    "drop_off",
    "dwell",
    "evenly",
    "exits",
    "exits_over_time",
    "funnel",
    "hourly",
    "load",
    "load_by_weekday",
    "loops",
    "prompts",
    "step_flow",
    "step_matrix",
    "timeline",
    "timelines",
    "transitions",
    "variants",
]
