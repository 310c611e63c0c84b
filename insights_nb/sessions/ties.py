"""Equal times: which of two rows of one session in the same instant comes first, and which are the same row twice.

The ladder: (1) time; (2) in a session's first instant the trigger row first, in its last instant the exit row that
ends it last; everywhere the rows of one execution together, in the order of executions; (3) the input's order, or an
order by content that no shuffling can change; (4) ``tied`` says so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .columns import NAT, AnyInts, BoolArray, IntArray, in_unit, instants, words
from .fields import Fields, column


def tie_groups(code: AnyInts, time: IntArray) -> tuple[BoolArray, IntArray, IntArray]:
    """Rows that share session and time with a neighbour.

    Parameters
    ----------
    code, time : ndarray of ints
        Session and time of each row, sorted by both.

    Returns
    -------
    tied : ndarray of bool
        One per row.
    where : ndarray of int64
        Positions of the tied rows.
    group : ndarray of int64
        Number of each tied row's instant, ascending.
    """
    same = (code[1:] == code[:-1]) & (time[1:] == time[:-1])
    tied = np.zeros(len(code), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    fresh = np.ones(len(where), dtype=np.int64)
    if len(where):
        fresh[1:] = ~same[where[1:] - 1]
    return tied, where, np.cumsum(fresh) - 1


def duplicated_rows(
    frame: pd.DataFrame, fields: Fields, rows: IntArray, group: AnyInts, kinds: list[AnyInts], policy: str
) -> tuple[BoolArray, int]:
    """Which of the rows are a second copy of another, and how many only look so.

    Parameters
    ----------
    frame : DataFrame
        Events.
    fields : Fields
        Which column is which.
    rows : ndarray of int64
        Rows of ``frame`` that could be copies.
    group : ndarray of ints
        Rows are compared only within their group.
    kinds : list of ndarray of ints
        What is already known of each row as a number (its action, its event): rows that differ there are no copies.
    policy : {"auto", "drop", "keep"}
        ``auto`` drops rows equal in all columns that carry a TransactionId: the same key pressed twice in one
        second writes two equal rows, and without a transaction nothing tells them from a copy.

    Returns
    -------
    drop : ndarray of bool
        One per row of ``rows``.
    suspected : int
        Equal rows that were kept for want of a TransactionId.
    """
    drop = np.zeros(len(rows), dtype=bool)
    if policy == "keep" or not len(rows):
        return drop, 0
    # Numbers first, then ids, whole rows only where all agree: a log is full of ties and nearly free of copies.
    keys = pd.DataFrame({"group": group, **{str(place): kind for place, kind in enumerate(kinds)}})
    likely = np.flatnonzero(keys.duplicated(keep=False).to_numpy())
    transaction = column(frame, fields, "transaction")
    named = np.zeros(len(likely), dtype=bool)
    if transaction is not None and len(likely):
        keys = keys.iloc[likely].assign(transaction=words(transaction.iloc[rows[likely]])[0])
        alike = np.flatnonzero(keys.duplicated(keep=False).to_numpy())
        likely, named = likely[alike], keys["transaction"].to_numpy()[alike] >= 0
    if not len(likely):
        return drop, 0
    again = frame.iloc[rows[likely]].duplicated(keep="first").to_numpy()
    if policy == "drop":
        drop[likely] = again
        return drop, 0
    drop[likely] = again & named
    return drop, int((again & ~named).sum())


@dataclass(frozen=True, eq=False)
class Tied:
    """Rows that share their session and time with another, in the order so far.

    Attributes
    ----------
    rows : ndarray of int64
        Where they stand in the frame.
    group : ndarray of int64
        Number of each row's instant, ascending.
    node : ndarray of int64
        Action of each row.
    moment, before : ndarray of int64
        Time of each row; time of the session's last row before this instant, ``NAT`` without one.
    carried : ndarray of bool
        That last row is of the same action and no exit: the row goes on with it.
    opens, closes : ndarray of bool
        The instant is the first, the last of its session.
    execution, phase : ndarray of int64
        See :func:`.executions.executions`.
    is_trigger, is_exit : ndarray of bool
        What the row is.
    """

    rows: IntArray
    group: IntArray
    node: IntArray
    execution: IntArray
    phase: IntArray
    moment: IntArray
    before: IntArray
    carried: BoolArray
    opens: BoolArray
    closes: BoolArray
    is_trigger: BoolArray
    is_exit: BoolArray


def ladder(frame: pd.DataFrame, fields: Fields, tied: Tied, unit: str, *, canonical: bool) -> IntArray:
    """The order of tied rows, as positions into ``tied.rows``.

    Parameters
    ----------
    frame, fields
        Events, and which column is which.
    tied : Tied
        The rows.
    unit : str
        Unit of the times in ``tied``.
    canonical : bool
        Order by content (TransactionId, ActionId, then every other field a table reads) instead of as given.

    Returns
    -------
    ndarray of int64
        A permutation that keeps every row in its instant.
    """
    order = np.arange(len(tied.rows))
    if canonical:
        order = np.lexsort([*_content(frame, fields, tied.rows, tied.is_exit)[::-1], tied.group])
    order = _executions_whole(tied, order)
    rank = np.ones(len(tied.rows), dtype=np.int64)
    # Sub-flows trigger and exit in mid-session, so only one row moves at either end: the first trigger, the last exit.
    first = order[(tied.is_trigger & tied.opens)[order]]
    rank[first[_heads(tied.group[first])]] = 0
    exits = order[(tied.is_exit & tied.closes & (rank == 1))[order]]
    if len(exits):
        ended = _ticks(frame, fields, "ended", tied.rows[exits], unit)
        begun = _ticks(frame, fields, "started", tied.rows[exits], unit)
        ranked = np.lexsort([begun, ended, tied.group[exits]])
        last = _heads(tied.group[exits][ranked][::-1])[::-1]
        exits, begun = exits[ranked][last], begun[ranked][last]
        rank[exits] = 2
        # Unless the last step was left by it and another was entered in the same instant: that one is the last then.
        left = tied.carried[exits] | ((begun >= tied.before[exits]) & (begun < tied.moment[exits]) & (begun != NAT))
        leaver = np.full(int(tied.group.max()) + 1, -1, dtype=np.int64)
        leaver[tied.group[exits[left]]] = tied.node[exits[left]]
        held = leaver[tied.group]
        rank[(held >= 0) & (tied.node != held) & ~tied.is_exit & (rank == 1)] = 3
    return order[np.lexsort([rank[order], tied.group[order]])]


def _executions_whole(tied: Tied, order: IntArray) -> IntArray:
    """Keep the rows of one execution together, its exit row the last of them, and executions in their order.

    Without this a key press and the exit it caused in the same second would be two visits, one time in two.
    """
    appears = np.full(len(tied.rows), len(tied.rows), dtype=np.int64)
    np.minimum.at(appears, tied.execution[order], np.arange(len(order)))
    keys = [tied.is_exit[order], appears[tied.execution[order]], tied.phase[order], tied.group[order]]
    return order[np.lexsort(keys)]


def _heads(group: IntArray) -> BoolArray:
    """First row of each run of equal numbers."""
    head = np.ones(len(group), dtype=bool)
    head[1:] = group[1:] != group[:-1]
    return head


def _ticks(frame: pd.DataFrame, fields: Fields, part: str, rows: IntArray, unit: str) -> IntArray:
    """A time of the rows in ``unit``, ``NAT`` without the column."""
    series = column(frame, fields, part)
    if series is None:
        return np.full(len(rows), NAT, dtype=np.int64)
    ticks, own = instants(series.iloc[rows], str(getattr(fields, part)))
    return in_unit(ticks, own, unit)


def _content(frame: pd.DataFrame, fields: Fields, rows: IntArray, is_exit: BoolArray) -> list[IntArray]:
    """Sort keys, the first of them the strongest: rows that differ in none of them are interchangeable."""
    keys: list[IntArray] = []
    for part in ("transaction", "action", "flow"):
        series = column(frame, fields, part)
        if series is not None:
            keys.append(words(series.iloc[rows])[0])
    keys.append(is_exit.astype(np.int64))
    for part in ("started", "ended"):
        series = column(frame, fields, part)
        if series is not None:
            keys.append(instants(series.iloc[rows], str(getattr(fields, part)))[0])
    for part in ("event", "reason", "path", "keys", "error", "trigger", "action_name", "flow_name", "region"):
        series = column(frame, fields, part)
        if series is not None:
            keys.append(words(series.iloc[rows])[0])
    return keys
