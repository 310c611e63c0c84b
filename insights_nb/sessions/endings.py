"""Where sessions begin and end, and whether the window cut them: no false starts, no false ends."""

from dataclasses import dataclass

import numpy as np

from .columns import NAT, PER_SECOND, BoolArray, IntArray, in_unit, instants
from .core import Core, reduce_slices
from .reading import EPOCH_SLACK_S, Reading
from .visits import Visits

#: What each completeness value means; the order is that of the categories. Eligible for rates: the first two.
COMPLETENESS = {
    "complete": "began and ended inside the window, its last step has its exit event",
    "no_exit": "over, but its last step has no exit event",
    "cut_start": "began before the window: the first steps are missing",
    "cut_end": "may go on after the window: the last steps may be missing",
    "cut_both": "cut at both ends",
    "no_trigger": "began inside the window, yet its trigger event is missing",
    "unknown": "cannot be told from this frame",
    "unknown (filtered)": "the query had filters, which drop single events of a session",
}
VALUES = list(COMPLETENESS)
ELIGIBLE = (VALUES.index("complete"), VALUES.index("no_exit"))


@dataclass(frozen=True, eq=False)
class Endings:
    """Where each session begins and ends, and how surely.

    Attributes
    ----------
    after : ndarray of bool, shape (V,)
        Visits after the session's end (an event handler that runs on).
    last_visit : ndarray of int64, shape (S,)
        The last visit that is not after the end, -1 without one.
    exit : ndarray of int64, shape (S,)
        Position of the exit row that says how the session ended, -1 when its last step has none.
    left_cut, right_cut : ndarray of bool, shape (S,)
        Events before, after the window are missing.
    start_known, end_known : ndarray of bool, shape (S,)
        The first step is the session's first, the last one its last.
    completeness : ndarray of int64, shape (S,)
        Number in ``COMPLETENESS``.
    """

    after: BoolArray
    last_visit: IntArray
    exit: IntArray
    left_cut: BoolArray
    right_cut: BoolArray
    start_known: BoolArray
    end_known: BoolArray
    completeness: IntArray

    @property
    def eligible(self) -> BoolArray:
        """Sessions that rates may count: begun and ended inside the window."""
        return np.isin(self.completeness, ELIGIBLE)


def find_endings(core: Core, visits: Visits, reading: Reading) -> Endings:
    """Decide for every session where it begins and ends.

    Parameters
    ----------
    core, visits
        The log.
    reading : Reading
        How it is read.

    Returns
    -------
    Endings
        One entry per session, and one mark per visit.
    """
    if not core.timed:
        return _nothing_known(core, visits)
    after, last_visit = _after_the_end(core, visits, reading)
    deciding = _deciding_exits(core, visits, after, last_visit)
    left_cut, start_known, no_trigger = _beginnings(core, visits, reading)
    right_cut, end_known = _finishes(core, visits, reading, last_visit, deciding)
    pick = np.select(
        [
            np.full(core.sessions, reading.window.filtered),
            left_cut & right_cut,
            left_cut,
            right_cut,
            ~end_known | ~(start_known | no_trigger),
            no_trigger,
            deciding >= 0,
        ],
        [VALUES.index(v) for v in _PRECEDENCE],
        VALUES.index("no_exit"),
    )
    if reading.window.filtered:
        end_known = np.zeros(core.sessions, dtype=bool)
        start_known = start_known & (core.count(core.is_trigger) > 0)
    return Endings(after, last_visit, deciding, left_cut, right_cut, start_known, end_known, pick.astype(np.int64))


def _nothing_known(core: Core, visits: Visits) -> Endings:
    """Without times there is no first and no last."""
    nowhere, nobody = np.full(core.sessions, -1, dtype=np.int64), np.zeros(core.sessions, dtype=bool)
    unknown = np.full(core.sessions, VALUES.index("unknown"), dtype=np.int64)
    return Endings(np.zeros(len(visits), dtype=bool), nowhere, nowhere, nobody, nobody, nobody, nobody, unknown)


_PRECEDENCE = ("unknown (filtered)", "cut_both", "cut_start", "cut_end", "unknown", "no_trigger", "complete")


def _after_the_end(core: Core, visits: Visits, reading: Reading) -> tuple[BoolArray, IntArray]:
    """Visits after the end, and the last visit before it."""
    number = np.arange(len(visits), dtype=np.int64)
    last = np.where(visits.filled, visits.offsets[1:] - 1, -1)
    left = visits.exit >= 0
    if reading.exits == "flow":
        closing = left
    elif reading.ends_given:
        # Only actions the user named can end a session before its last step: the ones found are never followed.
        closing = left & reading.ends[visits.node]
    else:
        return np.zeros(len(visits), dtype=bool), last
    end = reduce_slices(np.maximum, np.where(closing, number, -1), visits.offsets, -1)
    after = (end[visits.code] >= 0) & (number > end[visits.code])
    return after, np.where(end >= 0, end, last)


def _deciding_exits(core: Core, visits: Visits, after: BoolArray, last_visit: IntArray) -> IntArray:
    """The exit row that tells how a session ended: last by (EndTime, time, tie ladder), where its last step has one."""
    out = np.full(core.sessions, -1, dtype=np.int64)
    ended = np.flatnonzero((last_visit >= 0) & (np.append(visits.exit, -1)[last_visit] >= 0))
    mark = np.zeros(core.sessions, dtype=bool)
    mark[ended] = True
    rows = visits.exit[np.flatnonzero((visits.exit >= 0) & ~after & mark[visits.code])]
    if not len(rows):
        return out
    code, moment = core.code[rows], core.time[rows]
    ended_at = core.at("ended", rows)
    if ended_at is not None:
        ticks, unit = instants(ended_at, str(core.fields.ended))
        ticks = in_unit(ticks, unit, core.unit)
        moment = np.where(ticks == NAT, moment, ticks)
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    latest = np.maximum.reduceat(moment, starts)
    latest = np.flatnonzero(np.repeat(latest, np.diff(np.append(starts, len(rows)))) == moment)
    # Of several the last one written stays.
    out[code[latest]] = rows[latest]
    return out


def _beginnings(core: Core, visits: Visits, reading: Reading) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Sessions cut at the left, whose start is known, and whose trigger is missing although they began inside.

    A trigger row alone proves no beginning: its action may have rows before the window's edge, and a flow reached by
    Jump To has a trigger in mid-session. So where the session id tells the start, that decides; without it a trigger
    has to be in the first step, and that step must have been entered inside the window.
    """
    window, first = reading.window, core.first()
    slack = EPOCH_SLACK_S * PER_SECOND[core.unit]
    epochs = core.epochs if reading.epoch else np.full(core.sessions, NAT, dtype=np.int64)
    dated = epochs != NAT
    opened = _opened_by_trigger(core, visits)
    nobody = np.zeros(core.sessions, dtype=bool)
    if window.low is None:
        near = ~dated | (np.abs(first - epochs) <= slack)
        return nobody, core.filled & near & (opened | (dated & (not reading.triggers))), nobody
    edge = first <= window.low + reading.margin
    early = _entered(core, visits) < window.low
    left_cut = core.filled & np.where(dated, epochs < window.low, early | (~opened & edge))
    triggered = np.where(dated, core.count(core.is_trigger) > 0, opened) & ~left_cut
    if reading.triggers:
        return left_cut, core.filled & triggered, core.filled & ~triggered & ~left_cut
    return left_cut, core.filled & ~left_cut, nobody


def _entered(core: Core, visits: Visits) -> IntArray:
    """When each session's first step was entered, by the StartTime of its exit; the first event's time without one."""
    out = core.first().copy()
    begun = np.flatnonzero(visits.filled)
    begun = begun[visits.exit[visits.offsets[begun]] >= 0]
    rows = visits.exit[visits.offsets[begun]]
    if len(rows) and (started := core.at("started", rows)) is not None:
        ticks, unit = instants(started, str(core.fields.started))
        ticks = in_unit(ticks, unit, core.unit)
        out[begun] = np.where(ticks == NAT, out[begun], np.minimum(ticks, out[begun]))
    return out


def _opened_by_trigger(core: Core, visits: Visits) -> BoolArray:
    """Sessions whose first step has a trigger row."""
    out = np.zeros(core.sessions, dtype=bool)
    rows = np.flatnonzero(core.is_trigger & (visits.of_row >= 0))
    opening = visits.of_row[rows] == visits.offsets[:-1][core.code[rows]]
    out[core.code[rows[opening]]] = True
    return out


def _finishes(
    core: Core, visits: Visits, reading: Reading, last_visit: IntArray, deciding: IntArray
) -> tuple[BoolArray, BoolArray]:
    """Sessions cut at the right, and those whose end is known."""
    nobody = np.zeros(core.sessions, dtype=bool)
    window = reading.window
    if not window.exits_asked:
        return nobody, nobody
    left = deciding >= 0
    if reading.exits == "action":
        final = np.append(visits.node, 0)[last_visit]
        ended = left & (np.append(reading.ends, False)[final] if len(core.nodes) else nobody)
    else:
        ended = left
    ended = ended & core.filled
    if window.high is None:
        return nobody, ended
    silent = core.last() < window.high - reading.margin
    right_cut = core.filled & ~ended & ~silent
    return right_cut, core.filled & ~right_cut
