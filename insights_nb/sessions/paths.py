"""The table of variants: which whole paths sessions took, and how those ended."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import spans
from .fields import missing_field
from .intervals import share
from .ledger import Ledger
from .packed import group_quantiles
from .steps import need_time
from .variants import group_paths, session_paths


def variants_table(ledger: Ledger, top: int | None, collapse_repeats: bool) -> pd.DataFrame:
    """Sessions by their whole path; see :meth:`SessionLog.variants`."""
    core = ledger.core
    need_time(core, "variants()")
    if not core.has("action"):
        raise missing_field(core.fields, "action", "variants()")
    if top is not None and top < 1:
        raise FrameError(f"top={top!r} is no number of variants.", "Write a number from 1, or None for all.")
    found = ledger.variants
    if not collapse_repeats:
        found = group_paths(session_paths(core, ledger.visits, ledger.endings, collapse_repeats))
    shown = len(found.size) if top is None else min(top, len(found.size))
    length = np.diff(found.paths.offsets)
    labels = np.array(core.nodes.label, dtype=object)
    paths = [
        tuple(labels[found.paths.node[found.paths.offsets[one] : found.paths.offsets[one + 1]]])
        for one in found.example[:shown].tolist()
    ]
    timed = core.filled
    duration = (core.last() - core.first())[timed]
    median, p95 = group_quantiles(found.rank[timed], duration, len(found.size), (0.5, 0.95), core.grain)
    names = ledger.rules.names
    outcomes = np.bincount(found.rank * len(names) + ledger.outcome, minlength=len(found.size) * len(names))
    outcomes = outcomes.reshape(len(found.size), len(names))
    columns: dict[str, Any] = {
        "path": pd.Series(paths, index=range(shown), dtype=object).to_numpy(),
        "n_steps": length[found.example[:shown]].astype(np.int32),
        "sessions": found.size[:shown].astype(np.int64),
        "share": share(found.size, core.sessions)[:shown],
        "cum_share": share(np.cumsum(found.size), core.sessions)[:shown],
        "median_duration": spans(median[:shown], core.unit),
        "p95_duration": spans(p95[:shown], core.unit),
        **{f"share_{name}": share(outcomes[:, i], found.size)[:shown] for i, name in enumerate(names)},
        "example": core.ids[found.example[:shown]],
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(1, shown + 1, name="variant"))
