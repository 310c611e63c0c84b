"""The waterfall report: for each action who comes, who stays, who leaves, how long it takes."""

from typing import Any

import numpy as np
import pandas as pd

from .columns import IntArray, category, spans
from .fields import missing_field
from .intervals import share, wilson
from .ledger import Ledger
from .packed import group_quantiles, tally
from .prepare import coarsest
from .prompts import prompt_kinds
from .stays import SOURCES
from .steps import need_time
from .transitions import END


def actions_table(ledger: Ledger) -> pd.DataFrame:
    """One row per action; see :meth:`SessionLog.actions`."""
    core, visits, endings = ledger.core, ledger.visits, ledger.endings
    need_time(core, "actions()")
    if not core.has("action"):
        raise missing_field(core.fields, "action", "actions()")
    count = len(core.nodes)
    kept = np.flatnonzero(~endings.after)
    node, nth = visits.node[kept], visits.nth[kept]
    # A session's visits after its end are its last ones, so the others count from 1 as if those were not there.
    once = kept[nth == 1]
    of_node, of_code = visits.node[once], visits.code[once]
    here = np.bincount(of_node, minlength=count)
    judged = ledger.counted[of_code]
    visiting = np.bincount(of_node[judged], minlength=count)
    ended = np.bincount(ledger.last_node[ledger.counted & (ledger.last_node >= 0)], minlength=count)
    planned = ledger.reading.ends & ledger.reading.ends_given
    drop, (low, high) = share(ended, visiting), wilson(ended, visiting)
    most = np.zeros(count, dtype=np.int32)
    np.maximum.at(most, node, nth)
    median, p95, source = _times(ledger)
    out = np.append(endings.after, False)
    no_input, no_match, errors = (
        np.bincount(core.node[rows[~out[visits.of_row[rows]]]], minlength=count)
        for rows in map(np.flatnonzero, prompt_kinds(ledger))
    )
    moved = _transferred(ledger)[of_code]
    columns: dict[str, Any] = {
        "visits": np.bincount(node, minlength=count),
        "sessions": here,
        "reach": share(here, core.sessions),
        "first_here": _entries(ledger),
        "ended_here": ended,
        "drop_off": np.where(planned, np.nan, drop),
        "drop_off_low": np.where(planned, np.nan, low),
        "drop_off_high": np.where(planned, np.nan, high),
        "no_input": no_input,
        "no_match": no_match,
        "errors": errors,
        "transfers": np.bincount(of_node[moved & judged], minlength=count),
        "repeat_sessions": np.bincount(node[nth == 2], minlength=count),
        "max_visits": most,
        "median_time": spans(median, core.unit),
        "p95_time": spans(p95, core.unit),
        "time_source": category(source, pd.Index([*SOURCES[:2], "mixed", "none"], dtype="str")),
        "next_top": category(_next(ledger), core.nodes.label.append(pd.Index([END]))),
    }
    table = pd.DataFrame(columns, index=pd.Index(core.nodes.label, name="action"))
    order = np.lexsort([np.arange(count), -table["visits"].to_numpy()])
    return table.iloc[order[table["visits"].to_numpy()[order] > 0]]


def _entries(ledger: Ledger) -> IntArray:
    """Sessions whose known first step is each action."""
    visits = ledger.visits
    known = ledger.endings.start_known & visits.filled
    return np.bincount(visits.node[visits.offsets[:-1][known]], minlength=len(ledger.core.nodes))


def _times(ledger: Ledger) -> tuple[IntArray, IntArray, IntArray]:
    """Median and 95th percentile of the dwell per action, and what it rests on."""
    core, stays = ledger.core, ledger.stays
    # StartTime and EndTime may be finer than the events' times.
    sound = np.flatnonzero(stays.sound)
    grain = coarsest(stays.dwell[sound], core.unit)
    kept = sound[~ledger.endings.after[sound]]
    node, count = ledger.visits.node[kept].astype(np.int64), len(core.nodes)
    median, p95 = group_quantiles(node, stays.dwell[kept], count, (0.5, 0.95), grain)
    by_source = np.bincount(node * 2 + stays.source[kept], minlength=2 * count).reshape(count, 2) > 0
    by_exit, by_next = by_source[:, 0], by_source[:, 1]
    source = np.select([by_exit & by_next, by_exit, by_next], [2, 0, 1], 3).astype(np.int64)
    return median, p95, source


def _transferred(ledger: Ledger) -> Any:
    """Sessions whose outcome is ``transferred``."""
    names = ledger.rules.names
    return ledger.outcome == (names.index("transferred") if "transferred" in names else -1)


def _next(ledger: Ledger) -> IntArray:
    """The most frequent next action (or the end) of each action, -1 without one; ties by label."""
    moves = ledger.moves
    count = len(ledger.core.nodes)
    width = count + 1
    inside = np.flatnonzero(moves.source < count)
    held, often = tally(moves.source[inside] * np.int64(width) + moves.target[inside], width * width)
    order = np.lexsort([held % width, -often, held // width])
    ranked = held[order]
    head = np.ones(len(ranked), dtype=bool)
    head[1:] = ranked[1:] // width != ranked[:-1] // width
    out = np.full(count, -1, dtype=np.int64)
    out[ranked[head] // width] = ranked[head] % width
    return out


def dwell_quantiles(ledger: Ledger) -> pd.DataFrame:
    """How dwell is spread per action.

    Parameters
    ----------
    ledger : Ledger
        The log.

    Returns
    -------
    DataFrame
        Index ``action`` (str, label order). Columns ``p5``, ``p25``, ``p50``, ``p75``, ``p95`` (timedelta64) and
        ``visits`` (int64, those with a sound dwell). Steps after a session's end are left out.
    """
    core, stays = ledger.core, ledger.stays
    need_time(core, "dwell")
    kept = stays.sound & ~ledger.endings.after
    node, count = ledger.visits.node[kept].astype(np.int64), len(core.nodes)
    grain = coarsest(stays.dwell[kept], core.unit)
    shares = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
    found = group_quantiles(node, stays.dwell[kept], count, tuple(shares.values()), grain)
    columns: dict[str, Any] = {name: spans(ticks, core.unit) for name, ticks in zip(shares, found, strict=True)}
    columns["visits"] = np.bincount(node, minlength=count)
    return pd.DataFrame(columns, index=pd.Index(core.nodes.label, name="action"))
