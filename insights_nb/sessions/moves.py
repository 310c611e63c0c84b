"""Moves: every step of a session from one visit to the next, and where it is known to begin and to end."""

from dataclasses import dataclass

import numpy as np

from .columns import BoolArray, IntArray
from .core import Core, Int32Array
from .endings import Endings
from .stays import Stays
from .visits import Visits


@dataclass(frozen=True, eq=False)
class Moves:
    """Every step from one visit to the next, and the known beginnings and ends.

    Attributes
    ----------
    source, target : ndarray of int32
        Nodes; ``K`` stands for the start as a source, for the end as a target.
    code : ndarray of int32
        Session.
    took : ndarray of int64
        From entering the source to entering the target, -1 where unknown.
    tied : ndarray of bool
        The order of the two rests on equal times.
    """

    source: Int32Array
    target: Int32Array
    code: Int32Array
    took: IntArray
    tied: BoolArray

    def first(self, count: int) -> "Moves":
        """The first of them, without a copy."""
        return Moves(self.source[:count], self.target[:count], self.code[:count], self.took[:count], self.tied[:count])


def find_moves(core: Core, visits: Visits, stays: Stays, endings: Endings) -> tuple[Moves, int]:
    """The moves of all sessions before their end.

    Returns
    -------
    moves : Moves
        Those from visit to visit in order, behind them those from the start and to the end, where these are known.
    inner : int
        How many are from visit to visit.
    """
    inside = np.flatnonzero((visits.code[1:] == visits.code[:-1]) & ~endings.after[1:])
    opened = np.flatnonzero(endings.start_known & visits.filled)
    closed = np.flatnonzero(endings.end_known & (endings.last_visit >= 0))
    following, inner, beginnings = inside + 1, len(inside), len(inside) + len(opened)
    total, edge = beginnings + len(closed), len(core.nodes)
    source, target, code = (np.full(total, edge, dtype=np.int32) for _ in range(3))
    source[:inner], source[beginnings:] = visits.node[inside], visits.node[endings.last_visit[closed]]
    target[:inner], target[inner:beginnings] = visits.node[following], visits.node[visits.offsets[opened]]
    code[:inner], code[inner:beginnings], code[beginnings:] = visits.code[inside], opened, closed

    took, tied = np.full(total, -1, dtype=np.int64), np.zeros(total, dtype=bool)
    took[:inner] = stays.enter[following] - stays.enter[inside]
    took[np.flatnonzero((took[:inner] < 0) | stays.odd[inside] | stays.odd[following])] = -1
    left = visits.exit[inside]
    on = np.flatnonzero(left < 0)
    left[on] = visits.first[inside[on]] + visits.events[inside[on]] - 1
    tied[:inner] = core.time[visits.first[following]] == core.time[left]
    return Moves(source, target, code, took, tied), inner
