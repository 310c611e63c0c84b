"""How a log is read: decisions the page leaves open, made once from the whole log and kept by every selection."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .columns import NAT, PER_SECOND, BoolArray
from .core import Core
from .visits import Visits
from .window import Window

#: A session id and its first trigger may lie this far apart, and this share of sessions may lie further apart, before
#: the first ten digits are no longer believed to be the session's start.
EPOCH_SLACK_S = 60
EPOCH_WRONG = 0.05

#: So many visits are looked at before all others, for actions that are never followed by another.
FIRST_LOOK = 100_000


@dataclass(frozen=True, eq=False)
class Reading:
    """The decisions.

    Attributes
    ----------
    exits : {"action", "flow"}
        What an ApplicationExitEvent row says: that its action was left, or that the flow ended.
    exits_given : bool
        Whether the user decided that.
    ends : ndarray of bool, shape (K,)
        Nodes that end a session.
    ends_given : bool
        Whether the user listed them.
    margin : int
        A session silent for longer than this before the window's end is over (counts of the core's unit).
    long_gap : int
        Gaps above this are called long: the 99th percentile of gaps inside sessions.
    triggers : bool
        Whether any row is a trigger row, so that a session without one lacks its beginning.
    epoch : bool
        Whether the session ids' first ten digits are their start times.
    window : Window
        What the frame should hold.
    """

    exits: str
    exits_given: bool
    ends: BoolArray
    ends_given: bool
    margin: int
    long_gap: int
    triggers: bool
    epoch: bool
    window: Window


def read(core: Core, visits: Visits, window: Window, exits: str, end_actions: Iterable[str] | None) -> Reading:
    """Make the decisions.

    Parameters
    ----------
    core, visits
        The log.
    window : Window
        What the frame should hold.
    exits : {"auto", "action", "flow"}
        ``auto`` looks: if most sessions of several steps carry exit rows of more than one action, exits are per
        action, else per flow.
    end_actions : iterable of str or None
        Labels or ActionIds that end a session; None looks for actions that are never followed by another step.

    Returns
    -------
    Reading
        What every table of this log and of its selections goes by.
    """
    margin, long_gap = _gap_limits(core)
    ends = named_nodes(core, end_actions) if end_actions is not None else _terminal_nodes(core, visits, window, margin)
    return Reading(
        exits=exits if exits != "auto" else ("action" if _exits_per_action(core, visits) else "flow"),
        exits_given=exits != "auto",
        ends=ends,
        ends_given=end_actions is not None,
        margin=margin,
        long_gap=long_gap,
        triggers=bool(core.is_trigger.any()),
        epoch=_epoch_holds(core, window),
        window=window,
    )


def named_nodes(core: Core, names: Iterable[str]) -> BoolArray:
    """The nodes whose label or ActionId is among ``names``; names the log does not hold are passed over."""
    wanted = [names] if isinstance(names, str) else list(names)
    nodes = core.nodes
    return np.asarray(nodes.label.isin(wanted) | nodes.action.isin(wanted))


def _gap_limits(core: Core) -> tuple[int, int]:
    """The margin (p99.9 of gaps inside sessions, at least 60 s) and the long gap (their p99)."""
    gaps = np.diff(core.time)
    between = np.flatnonzero(core.code[1:] != core.code[:-1])
    # Those between two sessions are put below all others and passed over.
    gaps[between] = -1
    least, count = 60 * PER_SECOND[core.unit], len(gaps) - len(between)
    if not count:
        return least, least
    # The value itself, not one between two: the exact figure has to survive any unit.
    ranks = [len(between) + min(count - 1, int(np.ceil(q * count)) - 1) for q in (0.999, 0.99)]
    picked = np.partition(gaps, ranks)
    return max(int(picked[ranks[0]]), least), int(picked[ranks[1]])


def _exits_per_action(core: Core, visits: Visits) -> bool:
    """Whether most sessions of several steps carry exit rows of more than one action."""
    several = np.diff(visits.offsets) > 1
    exits = np.flatnonzero(core.is_exit)
    code, node = core.code[exits], core.node[exits]
    if core.has("action"):
        varied = np.zeros(core.sessions, dtype=bool)
        varied[code[1:][(code[1:] == code[:-1]) & (node[1:] != node[:-1])]] = True
    else:
        varied = np.bincount(code, minlength=core.sessions) > 1
    return bool(varied[several].sum() * 2 > several.sum())


def _terminal_nodes(core: Core, visits: Visits, window: Window, margin: int) -> BoolArray:
    """Nodes seen as a last step and never followed, judged on sessions that were over well before the window's end.

    A step that follows only because two rows share a time is no evidence: their order is not known.
    """
    count = len(core.nodes)
    if not len(visits):
        return np.zeros(count, dtype=bool)
    high = window.high if window.high is not None else int(core.time.max())
    over = core.last() < high - margin
    ends = np.zeros(count, dtype=bool)
    ends[visits.node[visits.offsets[1:][over & visits.filled] - 1]] = True
    # A look at the first visits leaves few actions open, and then few visits to look at.
    for part in (slice(0, FIRST_LOOK), slice(FIRST_LOOK, None)):
        node, code = visits.node[part], visits.code[part]
        places = np.flatnonzero(ends[node])
        places = places[~visits.last[part][places] & over[code[places]]]
        arrival = np.minimum(visits.first[part][places] + visits.events[part][places], len(core.time) - 1)
        ends[node[places[core.time[arrival] != core.time[arrival - 1]]]] = False
    return ends


def _epoch_holds(core: Core, window: Window) -> bool:
    """Whether the ids' digits agree with the log: nearly all are there, and they meet the first trigger's time.

    Sessions that began before the window are no witnesses: the trigger seen in one is that of a later flow.
    """
    epochs = core.epochs
    if not core.sessions or (epochs == NAT).mean() > EPOCH_WRONG:
        return False
    slack = EPOCH_SLACK_S * PER_SECOND[core.unit]
    witness = core.filled & (epochs != NAT)
    if window.low is not None:
        witness &= epochs >= window.low
    triggers = np.flatnonzero(core.is_trigger)
    if len(triggers):
        code = core.code[triggers]
        head = np.ones(len(code), dtype=bool)
        head[1:] = code[1:] != code[:-1]
        code, first = code[head], core.time[triggers[head]]
        far = np.abs(first - epochs[code])[witness[code]] > slack
    else:
        far = (epochs - core.first())[witness] > slack
    return bool(len(far) and far.mean() <= EPOCH_WRONG)
