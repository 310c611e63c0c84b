"""The step matrix: which share of sessions is where after how many steps."""

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .around import occurrences
from .fields import missing_field
from .ledger import Ledger
from .naming import find_visits_of
from .steps import need_time

ENDED, NOT_BEGUN = "(ended)", "(not begun)"


def step_matrix_table(ledger: Ledger, n: int, align: str) -> pd.DataFrame:
    """Shares of sessions by step; see :meth:`SessionLog.step_matrix`."""
    core, visits = ledger.core, ledger.visits
    need_time(core, "step_matrix()")
    if not core.has("action"):
        raise missing_field(core.fields, "action", "step_matrix()")
    if n < 1:
        raise FrameError(f"step_matrix(n={n!r}): no number of steps.", "Write a number from 1.")
    counted = ledger.counted & (ledger.endings.last_visit >= 0)
    first, last = visits.offsets[:-1], ledger.endings.last_visit
    if align == "start":
        anchor, columns = np.asarray(first - 1), np.arange(1, n + 1)
    elif align == "end":
        anchor, columns = last, np.arange(1 - n, 1)
    else:
        hit = find_visits_of(ledger, align, "step_matrix()") & ~ledger.endings.after
        place = occurrences(ledger, hit, "first")
        anchor = np.full(core.sessions, -1, dtype=np.int64)
        anchor[visits.code[place]] = place
        counted &= anchor >= 0
        columns = np.arange(-n, n + 1)
    base, low, high = anchor[counted], first[counted], last[counted]
    count = len(core.nodes)
    table = np.zeros((count + 2, len(columns)))
    for slot, column in enumerate(columns):
        at = base + column
        node = np.where(at > high, count, count + 1)
        inside = (at >= low) & (at <= high)
        node[inside] = visits.node[at[inside]]
        table[:, slot] = np.bincount(node, minlength=count + 2) / max(len(base), 1)
    out = pd.DataFrame(
        table,
        index=pd.Index([*core.nodes.label, ENDED, NOT_BEGUN], name="action", dtype="str"),
        columns=pd.Index(columns, name="step"),
    )
    out.attrs["sessions"] = len(base)
    shown = np.flatnonzero(table.any(axis=1) | (np.arange(count + 2) == count))
    weight = np.append(table[:count].sum(axis=1), [-1.0, -2.0])
    return out.iloc[shown[np.lexsort([shown, -weight[shown]])]]
