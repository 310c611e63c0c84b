"""Visits: the runs of a session's events that make one step in one action."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .columns import NAT, BoolArray, IntArray, in_unit, instants
from .core import Core, Int32Array, taken

#: TransactionIds split visits when at least this share of neighbouring rows of one action shares one: a few accidental
#: sharings (kept copies) must not turn a per-row id into an execution id. That many pairs are enough to see it.
MANY_PAIRS = 100_000
SHARED_ENOUGH = 0.01


@dataclass(frozen=True, eq=False)
class Visits:
    """The steps of all sessions in order: one entry per visit of an action.

    Attributes
    ----------
    first : ndarray of int64, shape (V,)
        Position of the visit's first event among the core's ordered rows.
    events : ndarray of int64, shape (V,)
        Its number of events.
    exit : ndarray of int64, shape (V,)
        Position of its exit row, -1 without one.
    code, node : ndarray of int32, shape (V,)
        Session and action of the visit.
    offsets : ndarray of int64, shape (S + 1,)
        The visits of session ``s`` are ``offsets[s]:offsets[s + 1]``.
    of_row : ndarray of int32, shape (N,)
        Visit of each ordered row, -1 for a row outside every visit (``steps="exit"``).
    """

    first: IntArray
    events: IntArray
    exit: IntArray
    code: Int32Array
    node: Int32Array
    offsets: IntArray
    of_row: Int32Array

    def __len__(self) -> int:
        return len(self.first)

    @property
    def filled(self) -> BoolArray:
        """Sessions with at least one visit."""
        return np.diff(self.offsets) > 0

    @cached_property
    def step(self) -> Int32Array:
        """1-based number of each visit in its session."""
        return (np.arange(len(self)) - self.offsets[self.code] + 1).astype(np.int32)

    @cached_property
    def nth(self) -> Int32Array:
        """1-based number of each visit among its session's visits of the same action."""
        key = self.code.astype(np.int64) * (int(self.node.max(initial=0)) + 1) + self.node
        order = np.argsort(key, kind="stable")
        ranked = key[order]
        head = np.ones(len(ranked), dtype=bool)
        head[1:] = ranked[1:] != ranked[:-1]
        starts = np.flatnonzero(head)
        out = np.empty(len(key), dtype=np.int32)
        out[order] = np.arange(len(key)) - starts[np.cumsum(head) - 1] + 1
        return out

    @cached_property
    def last(self) -> BoolArray:
        """Whether the visit is the last of its session."""
        mark = np.zeros(len(self), dtype=bool)
        mark[self.offsets[1:][self.filled] - 1] = True
        return mark

    def select(self, core: Core, chosen: BoolArray) -> "Visits":
        """The visits of the sessions in ``chosen``; ``core`` is the log they come from, before its own selection."""
        kept_row, row_offsets, row_moved = taken(core.offsets, chosen)
        kept, offsets, moved = taken(self.offsets, chosen)
        lengths = np.diff(offsets)
        back, exits, of_row = np.repeat(row_moved, lengths), self.exit[kept], self.of_row[kept_row]
        return replace(
            self,
            first=self.first[kept] - back,
            events=self.events[kept],
            exit=np.where(exits < 0, -1, exits - back),
            code=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            node=self.node[kept],
            offsets=offsets,
            of_row=np.where(of_row < 0, -1, of_row - np.repeat(moved, np.diff(row_offsets))).astype(np.int32),
        )


def transactions_shared(core: Core) -> bool:
    """Whether a TransactionId names one execution of an action, so that a change of it begins a new visit.

    The page says it does; a log where every row carries its own id does not show it, and there it must not split.
    """
    pairs = _runs_on(core)
    some = pairs[:: max(len(pairs) // MANY_PAIRS, 1)]
    alike, apart = _transactions(core, some)
    same = int(_named(core.at("transaction", alike)).sum())
    return same > SHARED_ENOUGH * max(same + len(apart), 1)


def _runs_on(core: Core) -> IntArray:
    """Rows that would belong to the visit of the row before them: only there a TransactionId has a say."""
    code, node = core.code, core.node
    return np.flatnonzero((code[1:] == code[:-1]) & (node[1:] == node[:-1]) & ~core.is_exit[:-1]) + 1


def _transactions(core: Core, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Those of the rows that have the TransactionId of the row before them, and those that have another one.

    A missing or blank id is no other one. Neighbours are compared as they are: numbering millions of distinct ids to
    learn this would take longer than the sort.
    """
    here, before = core.at("transaction", rows), core.at("transaction", rows - 1)
    if here is None or before is None or not len(rows):
        return rows[:0], rows[:0]
    texts: list[Any] = [part.astype("str").array for part in (here, before)]
    same = np.asarray(pd.array(texts[0] == texts[1], dtype="boolean").fillna(False), dtype=bool)
    # Nearly all are the same, so blank ids are looked for among the few others.
    apart = np.flatnonzero(~same)
    apart = apart[_named(texts[0][apart]) & _named(texts[1][apart])]
    return rows[np.flatnonzero(same)], rows[apart]


def _named(texts: Any) -> BoolArray:
    """Which of the ids are neither missing nor blank."""
    return np.asarray(pd.Series(texts).astype("str").fillna("").str.strip() != "", dtype=bool)


def find_visits(core: Core, steps: str, by_transaction: bool) -> Visits:
    """Cut every session into visits.

    Parameters
    ----------
    core : Core
        Events in order.
    steps : {"auto", "event", "exit"}
        ``auto``: a visit begins where (flow, action) changes, after an exit row, or where the TransactionId changes
        (if ``by_transaction``). ``event``: every row. ``exit``: every exit row, ordered by StartTime.
    by_transaction : bool
        See :func:`transactions_shared`.

    Returns
    -------
    Visits
        In the order of sessions, then time.
    """
    if steps == "exit":
        return _exit_visits(core)
    fresh = np.ones(len(core.rows), dtype=bool)
    if steps == "auto" and len(fresh):
        code, node = core.code, core.node
        fresh[1:] = (code[1:] != code[:-1]) | (node[1:] != node[:-1]) | core.is_exit[:-1]
        if by_transaction:
            fresh[_transactions(core, _runs_on(core))[1]] = True
    first = np.flatnonzero(fresh)
    stop = np.append(first[1:], len(fresh)) if len(first) else first
    code = core.code[first]
    return Visits(
        first=first,
        events=stop - first,
        exit=np.where(core.is_exit[stop - 1], stop - 1, -1),
        code=code,
        node=core.node[first],
        offsets=_offsets(code, core.sessions),
        of_row=(np.cumsum(fresh) - 1).astype(np.int32),
    )


def _exit_visits(core: Core) -> Visits:
    """One visit per exit row."""
    exits = np.flatnonzero(core.is_exit)
    start = core.at("started", exits)
    if start is not None:
        ticks, unit = instants(start, str(core.fields.started))
        begun = in_unit(ticks, unit, core.unit)
        begun = np.where(begun == NAT, core.time[exits], begun)
        exits = exits[np.lexsort((begun, core.code[exits]))]
    of_row = np.full(len(core.rows), -1, dtype=np.int32)
    of_row[exits] = np.arange(len(exits))
    code = core.code[exits]
    return Visits(
        first=exits,
        events=np.ones(len(exits), dtype=np.int64),
        exit=exits,
        code=code,
        node=core.node[exits],
        offsets=_offsets(code, core.sessions),
        of_row=of_row,
    )


def _offsets(code: Int32Array, sessions: int) -> IntArray:
    return np.concatenate([[0], np.cumsum(np.bincount(code, minlength=sessions))])
