"""Where callers go round in circles: every return to an action, by how it came about."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import category, spans
from .fields import missing_field
from .ledger import Ledger
from .packed import tally
from .steps import need_time

KINDS = ("self", "ping_pong", "return")


def loops_table(ledger: Ledger, min_visits: int) -> pd.DataFrame:
    """Returns to an action; see :meth:`SessionLog.loops`."""
    core, visits, stays = ledger.core, ledger.visits, ledger.stays
    need_time(core, "loops()")
    if not core.has("action"):
        raise missing_field(core.fields, "action", "loops()")
    if min_visits < 2:
        raise FrameError(f"min_visits={min_visits!r}: a loop needs at least 2 visits.")
    node, code = visits.node.astype(np.int64), visits.code.astype(np.int64)
    again = np.flatnonzero((visits.nth > 1) & ~ledger.endings.after)
    kind = np.full(len(again), KINDS.index("return"), dtype=np.int64)
    back = np.maximum(again - 2, 0)
    kind[(node[back] == node[again]) & (code[back] == code[again])] = KINDS.index("ping_pong")
    kind[node[again - 1] == node[again]] = KINDS.index("self")
    width = max(len(core.nodes), 1)
    # A session counts for a kind of loop when it came back often enough that way.
    key = (code[again] * width + node[again]) * len(KINDS) + kind
    held, often = tally(key, max(core.sessions, 1) * width * len(KINDS))
    enough = often >= min_visits - 1
    slot = held % (width * len(KINDS))
    most = np.zeros(width * len(KINDS), dtype=np.int64)
    pair, each = tally(code[~ledger.endings.after] * width + node[~ledger.endings.after], max(core.sessions, 1) * width)
    visited = each[np.searchsorted(pair, held // len(KINDS))]
    np.maximum.at(most, slot[enough], visited[enough])
    counts = np.bincount(slot[enough], minlength=width * len(KINDS))
    repeats = np.bincount(slot[enough], weights=often[enough], minlength=width * len(KINDS)).astype(np.int64)
    long = np.isin(key, held[enough]) & stays.sound[again]
    extra = np.zeros(width * len(KINDS), dtype=np.int64)
    np.add.at(extra, (key % (width * len(KINDS)))[long], stays.dwell[again][long])
    shown = np.flatnonzero(counts)
    order = shown[np.lexsort([shown, -counts[shown]])]
    columns: dict[str, Any] = {
        "action": category(order // len(KINDS), core.nodes.label),
        "kind": category(order % len(KINDS), pd.Index(KINDS, dtype="str")),
        "sessions": counts[order].astype(np.int64),
        "repeats": repeats[order],
        "max_visits": most[order].astype(np.int32),
        "extra_time": spans(extra[order], core.unit),
    }
    return pd.DataFrame(columns)
