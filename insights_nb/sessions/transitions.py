"""Where sessions go next: counts, sessions, shares and times of every step from one action to another."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import IntArray, category, spans
from .fields import missing_field
from .intervals import share
from .ledger import Ledger
from .moves import Moves
from .packed import distinct, group_quantiles, numbered, tally
from .prepare import coarsest
from .steps import need_time

START, END = "(start)", "(end)"


def transitions_table(ledger: Ledger, by: str | None, ends: bool) -> pd.DataFrame:
    """Where sessions go next; see :meth:`SessionLog.transitions`."""
    need_time(ledger.core, "transitions()")
    if not ledger.core.has("action"):
        raise missing_field(ledger.core.fields, "action", "transitions()")
    moves = ledger.moves if ends else ledger.inner_moves
    if by is None:
        return _table(ledger, moves, None, None, None)
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


def _table(
    ledger: Ledger, moves: Moves, group: IntArray | None, by: str | None, words: pd.Index | None
) -> pd.DataFrame:
    core = ledger.core
    width = len(core.nodes) + 1
    pair = moves.source * np.int64(width)
    pair += moves.target
    if group is not None:
        pair += group * width * width
    groups = 1 if words is None else len(words) + 1
    held, count = tally(pair, groups * width * width)
    slot = numbered(pair, held)
    slots = max(len(held), 1)
    sessions = np.bincount(distinct(moves.code * np.int64(slots) + slot) % slots, minlength=len(held))
    timed = np.flatnonzero(moves.took >= 0)
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
