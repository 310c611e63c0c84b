"""How long each visit lasted, and what says so."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    source : ndarray of int8, shape (V,)
        Position in ``SOURCES``: what the dwell rests on.
    odd : ndarray of bool, shape (V,)
        EndTime before StartTime, or StartTime before the session's start: kept as they stand, and left out of
        statistics on dwell.
    """

    enter: IntArray
    leave: IntArray
    dwell: IntArray
    source: npt.NDArray[np.int8]
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
        return Stays(none, none, none, none.astype(np.int8), np.zeros(0, dtype=bool))
    left = np.flatnonzero(visits.exit >= 0)
    begun = _bound(core, visits, left, "started")
    if reading.exits == "flow":
        begun = np.full(count, NAT, dtype=np.int64)
    first = core.time[visits.first]
    starts_session = np.ones(count, dtype=bool)
    starts_session[1:] = visits.code[1:] != visits.code[:-1]

    leave = _bound(core, visits, left, "ended")
    untold = left[leave[left] == NAT]
    leave[untold] = core.time[visits.exit[untold]]
    enter = begun.copy()
    untold = np.flatnonzero(begun == NAT)
    enter[untold] = first[untold]
    # An action whose only event is its exit row was entered when the action before it was left (leave is still NAT for
    # one without an exit row).
    lone = untold[visits.exit[untold] == visits.first[untold]]
    enter[lone] = np.where(starts_session[lone], NAT, leave[lone - 1])

    # Without an exit row a visit lasts until the next one is entered, if that is known.
    open_ = np.flatnonzero(visits.exit < 0)
    handing = open_[~np.append(starts_session, True)[open_ + 1]]
    leave[handing] = enter[handing + 1]
    known = (enter != NAT) & (leave != NAT)
    unknown = np.flatnonzero(~known)
    dwell = leave - enter
    dwell[unknown] = NAT
    source = np.zeros(count, dtype=np.int8)
    source[open_] = 1
    source[unknown] = 2
    odd = (known & (dwell < 0)) | ((begun != NAT) & (begun < _opened(core, visits, reading, begun)[visits.code]))
    never = np.flatnonzero(enter == NAT)
    enter[never] = first[never]
    return Stays(enter, leave, dwell, source, odd)


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


def _bound(core: Core, visits: Visits, left: IntArray, part: str) -> IntArray:
    """StartTime or EndTime of each visit's exit row."""
    ticks = np.full(len(visits), NAT, dtype=np.int64)
    series = core.at(part, visits.exit[left])
    if series is not None:
        found, unit = instants(series, str(getattr(core.fields, part)))
        ticks[left] = in_unit(found, unit, core.unit)
    return ticks
