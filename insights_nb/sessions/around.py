"""What came just before a thing, and what comes after it."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray, IntArray
from .intervals import share
from .ledger import Ledger
from .naming import find_visits_of
from .steps import need_time
from .transitions import END, START


def around_table(ledger: Ledger, what: Any, n: int, occurrence: str, step: int) -> pd.DataFrame:
    """Paths next to a thing; see :meth:`SessionLog.before` and :meth:`SessionLog.after`.

    Parameters
    ----------
    ledger : Ledger
        The log.
    what, n, occurrence
        As in the methods.
    step : {-1, 1}
        Which way to look.
    """
    core, name = ledger.core, "before()" if step < 0 else "after()"
    need_time(core, name)
    if n < 1:
        raise FrameError(f"{name}: n={n!r} is no number of steps.", "Write a number from 1.")
    if occurrence not in ("first", "last"):
        raise FrameError(f"{name}: occurrence={occurrence!r} is not known.", "Write 'first' or 'last'.")
    place = occurrences(ledger, find_visits_of(ledger, what, name), occurrence)
    path = _gathered(ledger, place, n, step)
    labels = np.array([*core.nodes.label, START if step < 0 else END, ""], dtype=object)
    order = np.lexsort(path.T[::-1])
    ranked = path[order]
    head = np.ones(len(ranked), dtype=bool)
    head[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    starts = np.flatnonzero(head)
    counts = np.diff(np.append(starts, len(ranked)))
    # A stable sort by size keeps equal sizes in the order of their labels.
    ranks = np.argsort(-counts, kind="stable")
    rows = ranked[starts[ranks]]
    steps = [[labels[c] for c in row if c < len(labels) - 1] for row in rows.tolist()]
    paths = [tuple(row[::-1] if step < 0 else row) for row in steps]
    example = ledger.visits.code[place[order[starts[ranks]]]]
    return pd.DataFrame(
        {
            "path": pd.Series(paths, index=range(len(paths)), dtype=object),
            "sessions": counts[ranks].astype(np.int64),
            "share": share(counts[ranks], max(len(place), 1)),
            "example": core.ids[example],
        }
    )


def occurrences(ledger: Ledger, hit: BoolArray, occurrence: str) -> IntArray:
    """Each session's first or last visit in ``hit``."""
    place = np.flatnonzero(hit)
    code = ledger.visits.code[place]
    edge = np.ones(len(place), dtype=bool)
    if occurrence == "first":
        edge[1:] = code[1:] != code[:-1]
    else:
        edge[:-1] = code[1:] != code[:-1]
    return place[edge]


def _gathered(ledger: Ledger, place: IntArray, n: int, step: int) -> IntArray:
    """The nodes next to each place, nearest first; ``K`` where the session begins or ends, ``K + 1`` past that."""
    visits, endings, count = ledger.visits, ledger.endings, len(ledger.core.nodes)
    code = visits.code[place]
    low = visits.offsets[:-1][code]
    high = np.maximum(endings.last_visit[code], place)
    known = endings.start_known[code] if step < 0 else endings.end_known[code]
    out = np.full((len(place), n), count + 1, dtype=np.int64)
    for k in range(1, n + 1):
        at = place + step * k
        inside = (at >= low) & (at <= high)
        just_out = (at == low - 1) if step < 0 else (at == high + 1)
        out[inside, k - 1] = visits.node[at[inside]]
        out[just_out & known, k - 1] = count
    return out
