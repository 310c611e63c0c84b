"""Which rows of one instant belong to one execution of an action, and whether it was going on before or goes on after.

A TransactionId names one execution of an action (API page, common fields). Where times are equal that tells more than
the order of the file: an execution that began in an earlier instant ends before another begins.
"""

import numpy as np

from .columns import NAT, IntArray, in_unit, instants
from .core import Core
from .packed import distinct

GOES_ON, WITHIN, BEGINS = 0, 1, 2


def executions(core: Core, where: IntArray, group: IntArray, before: IntArray) -> tuple[IntArray, IntArray]:
    """The execution of each tied row, and the part of it that the instant sees.

    Parameters
    ----------
    core : Core
        Events in order of session and time.
    where : ndarray of int64
        Positions of the tied rows.
    group : ndarray of int64
        Instant of each.
    before : ndarray of int64
        Time of the session's last row before each instant, ``NAT`` without one.

    Returns
    -------
    execution : ndarray of int64
        A number per tied row, equal for rows of one execution in one instant.
    phase : ndarray of int64
        ``GOES_ON``: it began earlier; ``WITHIN``: it lies in the instant; ``BEGINS``: it goes on later. Without a
        TransactionId a row is an execution of its own.
    """
    alone = np.arange(len(where))
    if not core.has("transaction"):
        return alone, np.full(len(where), WITHIN, dtype=np.int64)
    rows, pair = _same_action(core, where)
    named, _ = core.words_at("transaction", rows)
    # The action is part of the key: an id that spans a whole session must not make it one execution.
    key = pair * np.int64(int(named.max(initial=0)) + 2) + named
    order = np.argsort(key, kind="stable")
    ranked, moment = key[order], core.time[rows[order]]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = ranked[1:] != ranked[:-1]
    number = np.empty(len(rows), dtype=np.int64)
    number[order] = np.cumsum(fresh) - 1
    starts = np.flatnonzero(fresh)
    first, last = np.minimum.reduceat(moment, starts), np.maximum.reduceat(moment, starts)

    place = np.searchsorted(rows, where)
    own, known, moment = number[place], named[place] >= 0, core.time[where]
    phase = np.where(first[own] < moment, GOES_ON, np.where(last[own] > moment, BEGINS, WITHIN))
    phase = np.where(known, phase, WITHIN)
    phase[_began_earlier(core, where, before)] = GOES_ON
    _, execution = np.unique(np.where(known, own, len(starts) + alone) * (len(where) + 1) + group, return_inverse=True)
    earliest = np.full(len(where) + 1, BEGINS, dtype=np.int64)
    np.minimum.at(earliest, execution, phase)
    return execution, earliest[execution]


def _same_action(core: Core, where: IntArray) -> tuple[IntArray, IntArray]:
    """Rows of the sessions and actions of the rows at ``where``, and a number for each such session and action.

    No other row can belong to their executions, and ids are long to compare.
    """
    width = np.int64(len(core.nodes))
    held = distinct(core.code[where] * width + core.node[where])
    involved = np.zeros(core.sessions, dtype=bool)
    involved[core.code[where]] = True
    rows = np.flatnonzero(involved[core.code])
    key = core.code[rows] * width + core.node[rows]
    pair = np.minimum(np.searchsorted(held, key), len(held) - 1)
    same = np.flatnonzero(held[pair] == key)
    return rows[same], pair[same]


def _began_earlier(core: Core, where: IntArray, before: IntArray) -> IntArray:
    """Tied exit rows whose StartTime lies between the row before the instant and the instant.

    Where exits are per flow, StartTime is the flow's and lies before the row before: those are not meant.
    """
    exits = np.flatnonzero(core.is_exit[where])
    series = core.at("started", where[exits])
    if series is None:
        return exits[:0]
    ticks, unit = instants(series, str(core.fields.started))
    begun = in_unit(ticks, unit, core.unit)
    return exits[np.flatnonzero((begun != NAT) & (begun >= before[exits]) & (begun < core.time[where[exits]]))]
