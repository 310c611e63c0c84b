"""Where sessions go next: counts, sessions, shares and times of every step from one action to another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray, IntArray, category, spans
from .fields import missing_field
from .intervals import share
from .ledger import Ledger
from .packed import distinct, group_quantiles, tally
from .prepare import coarsest
from .steps import need_time

START, END = "(start)", "(end)"


@dataclass(frozen=True, eq=False)
class Moves:
    """Every step from one visit to the next, and the known beginnings and ends.

    Attributes
    ----------
    source, target : ndarray of int64
        Nodes; ``K`` stands for the start as a source, for the end as a target.
    code : ndarray of int64
        Session.
    took : ndarray of int64
        From entering the source to entering the target, -1 where unknown.
    tied : ndarray of bool
        The order of the two rests on equal times.
    """

    source: IntArray
    target: IntArray
    code: IntArray
    took: IntArray
    tied: BoolArray


def find_moves(ledger: Ledger, ends: bool) -> Moves:
    """The moves of all sessions before their end, in order."""
    core, visits, stays, endings = ledger.core, ledger.visits, ledger.stays, ledger.endings
    inside = np.flatnonzero((visits.code[1:] == visits.code[:-1]) & ~endings.after[1:])
    following = inside + 1
    source, target = visits.node[inside].astype(np.int64), visits.node[following].astype(np.int64)
    code = visits.code[inside].astype(np.int64)
    took = stays.enter[following] - stays.enter[inside]
    took[np.flatnonzero((took < 0) | stays.odd[inside] | stays.odd[following])] = -1
    left = visits.exit[inside]
    stays_on = np.flatnonzero(left < 0)
    left[stays_on] = visits.first[inside[stays_on]] + visits.events[inside[stays_on]] - 1
    tied = core.time[visits.first[following]] == core.time[left]
    if not ends:
        return Moves(source, target, code, took, tied)
    count = len(core.nodes)
    opened = np.flatnonzero(endings.start_known & visits.filled)
    closed = np.flatnonzero(endings.end_known & (endings.last_visit >= 0))
    first, last = visits.node[visits.offsets[opened]], visits.node[endings.last_visit[closed]]
    extra = len(opened) + len(closed)
    return Moves(
        np.concatenate([source, np.full(len(opened), count), last]).astype(np.int64),
        np.concatenate([target, first, np.full(len(closed), count)]).astype(np.int64),
        np.concatenate([code, opened, closed]),
        np.concatenate([took, np.full(extra, -1)]),
        np.concatenate([tied, np.zeros(extra, dtype=bool)]),
    )


def transitions_table(ledger: Ledger, by: str | None, ends: bool) -> pd.DataFrame:
    """Where sessions go next; see :meth:`SessionLog.transitions`."""
    need_time(ledger.core, "transitions()")
    if not ledger.core.has("action"):
        raise missing_field(ledger.core.fields, "action", "transitions()")
    moves = find_moves(ledger, ends)
    if by is None:
        return _table(ledger, moves, np.zeros(len(moves.code), dtype=np.int64), None, None)
    codes, words = split_codes(ledger, by)
    return _table(ledger, moves, np.where(codes < 0, len(words), codes)[moves.code], by, words)


def split_codes(ledger: Ledger, by: str) -> tuple[IntArray, pd.Index]:
    """A category column of the session table as codes and words.

    Raises
    ------
    FrameError
        When there is no such column, or it holds numbers or times.
    """
    from .overview import sessions_table

    table = sessions_table(ledger)
    named = [str(name) for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)]
    if by not in named:
        raise FrameError(f"by={by!r} is no category of sessions().", f"Write one of {', '.join(map(repr, named))}.")
    column = table[by]
    return column.cat.codes.to_numpy().astype(np.int64), pd.Index(column.cat.categories)


def _table(ledger: Ledger, moves: Moves, group: IntArray, by: str | None, words: pd.Index | None) -> pd.DataFrame:
    core = ledger.core
    width = len(core.nodes) + 1
    pair = (group * width + moves.source) * width + moves.target
    groups = 1 if words is None else len(words) + 1
    held, count = tally(pair, groups * width * width)
    slot = np.searchsorted(held, pair)
    slots = max(len(held), 1)
    sessions = np.bincount(distinct(moves.code * slots + slot) % slots, minlength=len(held))
    timed = moves.took >= 0
    grain = coarsest(moves.took[timed], core.unit)
    median, p95 = group_quantiles(slot[timed], moves.took[timed], len(held), (0.5, 0.95), grain)
    source, target, which = held // width % width, held % width, held // width // width
    out_of = np.bincount(which * width + source, weights=count, minlength=groups * width)
    whole = np.bincount(which, weights=count, minlength=groups)
    starts, stops = core.nodes.label.append(pd.Index([START])), core.nodes.label.append(pd.Index([END]))
    flow = np.append(core.nodes.flow, -1)
    columns: dict[str, Any] = (
        {} if words is None else {str(by): category(np.where(which < len(words), which, -1), words)}
    )
    columns |= {
        "source": category(source, starts),
        "target": category(target, stops),
        "count": count.astype(np.int64),
        "sessions": sessions.astype(np.int64),
        "probability": share(count, out_of[which * width + source]),
        "share": share(count, whole[which]),
        "median": spans(median, core.unit),
        "p95": spans(p95, core.unit),
        "jump": (flow[source] != flow[target]) & (source < width - 1) & (target < width - 1),
    }
    last = width - 1
    # Label order, in which a bracket comes before any letter.
    rank = [np.where(node == last, -1, node) for node in (target, source)]
    order = np.lexsort([*rank, -count, which])
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)
