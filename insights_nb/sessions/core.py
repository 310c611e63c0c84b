"""The events of a log, sorted and encoded once: what every table is computed from.

Rows are sorted by session, then time, then the tie ladder (:mod:`.ties`). A session is a slice of that order, so a
number per session is a reduction over slices and nothing loops over sessions.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from .columns import NAT, PER_SECOND, AnyInts, BoolArray, IntArray, tidy, words
from .fields import Fields, column

Int32Array = npt.NDArray[np.int32]

#: Columns of few words that several tables read: encoded once, over all rows, when the first table asks.
SHARED = ("reason", "path", "error")


@dataclass(frozen=True, eq=False)
class Nodes:
    """The distinct (flow, action) pairs, numbered in the order of their labels.

    Attributes
    ----------
    label : Index of str
        ``ActionId``; ``FlowName ▸ ActionId`` when the log holds more than one flow. Distinct and sorted.
    action : Index of str
        The plain ActionId of each node.
    flow : ndarray of int64
        Number of the node's flow in ``flows``, -1 where the flow is missing.
    flows : Index of str
        FlowName (the latest one of its FlowId), or FlowId where no name is known.
    flow_ids : Index of str
        FlowId of each flow, in the order of ``flows``.
    kind : ndarray of object
        ActionName of each node, or None.
    """

    label: pd.Index
    action: pd.Index
    flow: IntArray
    flows: pd.Index
    flow_ids: pd.Index
    kind: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Seen:
    """What reading the frame met; ``quality()`` reports it.

    Attributes
    ----------
    rows : int
        Rows given.
    no_session : int
        Rows without a session id, left out.
    no_time : int
        Rows with a session but no time: counted, not ordered.
    out_of_order : int
        Rows that came before an earlier row of their session.
    dropped, suspected : int
        Duplicated rows removed; rows that look duplicated but cannot be told from real repeats.
    unread_triggers : int
        Rows whose trigger flag is neither true nor false.
    event_source : str
        How each row's event is known: ``column``, ``query``, ``fields`` (inferred) or ``unknown``.
    absent : tuple of str
        Parts (attributes of ``Fields``) for which the frame has no column.
    """

    rows: int
    no_session: int
    no_time: int
    out_of_order: int
    dropped: int
    suspected: int
    unread_triggers: int
    event_source: str
    absent: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Core:
    """A log's events in order.

    Attributes
    ----------
    frame : DataFrame
        The events as given (a shallow copy: later changes to the user's frame do not reach it).
    fields : Fields
        Which column plays which part.
    ids : Index
        The S session ids, sorted.
    events : ndarray of int64, shape (S,)
        Rows per session, those without a time included.
    offsets : ndarray of int64, shape (S + 1,)
        The rows of session ``s`` are ``offsets[s]:offsets[s + 1]``.
    rows : ndarray of int64, shape (N,)
        Where each ordered row stands in ``frame``.
    code : ndarray of int32, shape (N,)
        Session of each row.
    time : ndarray of int64, shape (N,)
        Counts of ``unit`` since 1970 UTC.
    unit : str
        ``s``, ``ms``, ``us`` or ``ns``.
    grain : int
        All times are multiples of it (counts of ``unit``): what may be divided out before packing.
    node : ndarray of int32, shape (N,)
        Number in ``nodes``.
    nodes : Nodes
        The distinct (flow, action) pairs.
    is_exit, is_trigger, is_dtmf, tied : ndarray of bool, shape (N,)
        What the row is; whether another row of its session has the same time.
    event : tuple of (ndarray of ints over ``frame``'s rows, Index) or None
        EventName codes and words.
    seen : Seen
        What reading the frame met.
    coded : dict of str to (ndarray of ints over ``frame``'s rows, Index)
        Columns encoded so far; selections of the log share them.
    """

    frame: pd.DataFrame
    fields: Fields
    ids: pd.Index
    events: IntArray
    offsets: IntArray
    rows: IntArray
    code: Int32Array
    time: IntArray
    unit: str
    grain: int
    node: Int32Array
    nodes: Nodes
    is_exit: BoolArray
    is_trigger: BoolArray
    is_dtmf: BoolArray
    tied: BoolArray
    event: tuple[AnyInts, pd.Index] | None
    seen: Seen
    coded: dict[str, tuple[AnyInts, pd.Index]] = field(default_factory=dict)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self.ids)

    @property
    def timed(self) -> bool:
        """Whether the frame has a time column at all."""
        return "time" not in self.seen.absent

    @property
    def filled(self) -> BoolArray:
        """Sessions with at least one ordered row."""
        return np.diff(self.offsets) > 0

    def has(self, part: str) -> bool:
        """Whether the frame has a column for ``part``."""
        return part not in self.seen.absent

    def at(self, part: str, positions: IntArray | BoolArray | None = None) -> pd.Series | None:
        """The cells of ``part`` at ordered rows (all, or those at ``positions``), or None without the column."""
        series = column(self.frame, self.fields, part)
        if series is None:
            return None
        return series.iloc[self.rows if positions is None else self.rows[positions]]

    def words_at(self, part: str, positions: IntArray | BoolArray | None = None) -> tuple[AnyInts, pd.Index]:
        """The words of ``part`` at ordered rows, as codes and values; all missing without the column."""
        rows = self.rows if positions is None else self.rows[positions]
        series = column(self.frame, self.fields, part)
        if series is None:
            return np.full(len(rows), -1, dtype=np.int64), pd.Index([], dtype="str")
        # A few rows of a large frame (one session of it) are sooner read than the column encoded.
        if part not in SHARED or (part not in self.coded and len(rows) < len(series) // 16):
            return words(series.iloc[rows])
        if part not in self.coded:
            self.coded[part] = words(series)
        codes, values = self.coded[part]
        return tidy(codes[rows], values)

    def reduce(self, ufunc: np.ufunc, values: npt.NDArray[Any], empty: object) -> npt.NDArray[Any]:
        """``ufunc`` over each session's slice of ``values`` (one per ordered row); ``empty`` where it has no rows."""
        return reduce_slices(ufunc, values, self.offsets, empty)

    def count(self, mask: BoolArray) -> IntArray:
        """How many of each session's ordered rows are in ``mask``."""
        # Finding positions and picking by them takes a third of the time of picking by a mask: so throughout.
        return np.bincount(self.code[np.flatnonzero(mask)], minlength=self.sessions)

    def first(self) -> IntArray:
        """Time of each session's first ordered row, ``NAT`` without one."""
        out = np.full(self.sessions, NAT, dtype=np.int64)
        filled = self.filled & self.timed
        out[filled] = self.time[self.offsets[:-1][filled]]
        return out

    def last(self) -> IntArray:
        """Time of each session's last ordered row, ``NAT`` without one."""
        out = np.full(self.sessions, NAT, dtype=np.int64)
        filled = self.filled & self.timed
        out[filled] = self.time[self.offsets[1:][filled] - 1]
        return out

    @cached_property
    def epochs(self) -> IntArray:
        """Start of each session by the first ten digits of its id, in ``unit``; ``NAT`` where there are none."""
        head = pd.Series(self.ids).str.slice(0, 10)
        digits = head.str.fullmatch(r"[0-9]{10}").to_numpy(dtype=bool)
        out = np.full(self.sessions, NAT, dtype=np.int64)
        if digits.any():
            out[digits] = head[digits].astype("Int64").to_numpy(dtype=np.int64) * PER_SECOND[self.unit]
        return out

    def select(self, chosen: BoolArray) -> "Core":
        """The same log with only the sessions in ``chosen`` (a mask over ``ids``), whole."""
        kept, offsets, _ = taken(self.offsets, chosen)
        lengths = np.diff(offsets)
        return replace(
            self,
            ids=self.ids[chosen],
            events=self.events[chosen],
            offsets=offsets,
            rows=self.rows[kept],
            code=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            time=self.time[kept],
            node=self.node[kept],
            is_exit=self.is_exit[kept],
            is_trigger=self.is_trigger[kept],
            is_dtmf=self.is_dtmf[kept],
            tied=self.tied[kept],
        )


def taken(offsets: IntArray, chosen: BoolArray) -> tuple[IntArray, IntArray, IntArray]:
    """Some of the slices, in time that goes with what they hold and not with the whole.

    Parameters
    ----------
    offsets : ndarray of int64, shape (S + 1,)
        Slice ``s`` is ``offsets[s]:offsets[s + 1]``.
    chosen : ndarray of bool, shape (S,)
        Which slices.

    Returns
    -------
    kept : ndarray of int64
        The positions in these slices.
    offsets : ndarray of int64
        The slices among those positions.
    moved : ndarray of int64
        For each of them, how far its positions have moved to the front.
    """
    starts = offsets[:-1][chosen]
    lengths = offsets[1:][chosen] - starts
    fresh = np.concatenate([[0], np.cumsum(lengths)])
    moved = starts - fresh[:-1]
    return np.arange(fresh[-1]) + np.repeat(moved, lengths), fresh, moved


def reduce_slices(ufunc: np.ufunc, values: npt.NDArray[Any], offsets: IntArray, empty: object) -> npt.NDArray[Any]:
    """``ufunc`` over consecutive slices of ``values``; ``empty`` for a slice without values.

    ``reduceat`` reads an empty slice as the one value at its start, so empty slices are kept out of it.
    """
    filled = np.diff(offsets) > 0
    if values.dtype == bool and ufunc is np.add:
        values = values.astype(np.int64)
    out = np.full(len(offsets) - 1, empty, dtype=values.dtype)
    if filled.any():
        out[filled] = ufunc.reduceat(values, offsets[:-1][filled])
    return out


def renamed(**names: Hashable) -> Fields:
    """The fields with the given columns in place of the API's names."""
    return Fields(**cast("dict[str, str]", names))
