"""How long each visit lasted, and what says so."""

from dataclasses import dataclass

import numpy as np

from .columns import NAT, PER_SECOND, BoolArray, IntArray, in_unit, instants
from .core import Core
from .reading import EPOCH_SLACK_S, Reading
from .visits import Visits

SOURCES = ("exit_event", "next_step", "none")


@dataclass(frozen=True, eq=False)
class Stays:
    """When each visit was entered and left.

    Attributes
    ----------
    enter, leave, dwell : ndarray of int64, shape (V,)
        Counts of the core's unit; ``NAT`` where unknown. ``enter`` is never unknown: it falls back to the first
        event's time.
    source : ndarray of int64, shape (V,)
        Position in ``SOURCES``: what the dwell rests on.
    odd : ndarray of bool, shape (V,)
        EndTime before StartTime, or StartTime before the session's start: kept as they stand, and left out of
        statistics on dwell.
    """

    enter: IntArray
    leave: IntArray
    dwell: IntArray
    source: IntArray
    odd: BoolArray

    @property
    def sound(self) -> BoolArray:
        """Visits whose dwell may be counted."""
        return np.asarray((self.dwell != NAT) & ~self.odd)


def find_stays(core: Core, visits: Visits, reading: Reading) -> Stays:
    """Work out when each visit was entered and left.

    Parameters
    ----------
    core, visits
        The log.
    reading : Reading
        Where exits are per action, StartTime and EndTime of the exit row bound its action. Where they are per flow
        they bound the flow, so a visit begins with its first event and only EndTime is used.

    Returns
    -------
    Stays
        One entry per visit.
    """
    count = len(visits)
    if not count:
        none = np.zeros(0, dtype=np.int64)
        return Stays(none, none, none, none, np.zeros(0, dtype=bool))
    left = visits.exit >= 0
    begun, ended = _bounds(core, visits, left)
    if reading.exits == "flow":
        begun = np.full(count, NAT, dtype=np.int64)
    first = core.time[visits.first]
    lone_exit = left & (visits.exit == visits.first)
    follows = np.zeros(count, dtype=bool)
    follows[1:] = visits.code[1:] == visits.code[:-1]

    # An action whose only event is its exit row was entered when the action before it was left.
    leave = np.where(left, np.where(ended != NAT, ended, core.time[visits.exit]), NAT)
    handed = np.full(count, NAT, dtype=np.int64)
    handed[1:] = np.where(follows[1:] & left[:-1], leave[:-1], NAT)
    enter = np.where(begun != NAT, begun, np.where(lone_exit, handed, first))

    # Without an exit row a visit lasts until the next one is entered, if that is known.
    after = np.full(count, NAT, dtype=np.int64)
    after[:-1] = np.where(follows[1:], enter[1:], NAT)
    leave = np.where(left, leave, after)
    known = (enter != NAT) & (leave != NAT)
    dwell = np.where(known, leave - enter, NAT)
    source = np.where(~known, 2, np.where(left, 0, 1))
    odd = (known & (dwell < 0)) | ((begun != NAT) & (begun < _opened(core, visits, reading, begun)[visits.code]))
    return Stays(np.where(enter != NAT, enter, first), leave, dwell, source, odd)


def _opened(core: Core, visits: Visits, reading: Reading, begun: IntArray) -> IntArray:
    """The earliest time at which a step of each session can have begun."""
    opened = core.first()
    heads = visits.offsets[:-1][visits.filled]
    # The first event seen may be the exit row of the first step, which began before it.
    start = begun[heads]
    opened[visits.filled] = np.where(start == NAT, opened[visits.filled], np.minimum(start, opened[visits.filled]))
    if reading.epoch:
        slack = EPOCH_SLACK_S * PER_SECOND[core.unit]
        opened = np.where(core.epochs != NAT, core.epochs - slack, opened)
    return opened


def _bounds(core: Core, visits: Visits, left: BoolArray) -> tuple[IntArray, IntArray]:
    """StartTime and EndTime of each visit's exit row."""
    out = []
    for part in ("started", "ended"):
        ticks = np.full(len(visits), NAT, dtype=np.int64)
        series = core.at(part, visits.exit[left])
        if series is not None:
            found, unit = instants(series, str(getattr(core.fields, part)))
            ticks[left] = in_unit(found, unit, core.unit)
        out.append(ticks)
    return out[0], out[1]
