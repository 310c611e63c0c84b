"""How many sessions reach each milestone, one after another."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT, PER_SECOND, BoolArray, IntArray, spans
from .intervals import share
from .ledger import Ledger
from .naming import find_visits_of
from .packed import group_quantiles
from .steps import need_time


def funnel_table(ledger: Ledger, steps: Any, within: Any, ordered: bool) -> pd.DataFrame:
    """Sessions reaching each milestone; see :meth:`SessionLog.funnel`."""
    core, visits = ledger.core, ledger.visits
    need_time(core, "funnel()")
    milestones = [steps] if isinstance(steps, str) else list(steps)
    if not milestones:
        raise FrameError("funnel() needs at least one step.", 'Write funnel(["MENU_1", "TRANSFER_1"]).')
    limit = _limit(within, core.unit)
    hits = [find_visits_of(ledger, one, "funnel()") & ~ledger.endings.after for one in milestones]
    reached = np.ones(core.sessions, dtype=bool)
    at = np.where(visits.filled, visits.offsets[:-1] - 1, -1)
    opened = previous = np.full(core.sessions, NAT, dtype=np.int64)
    eligible, rows = ledger.counted, []
    for number, hit in enumerate(hits):
        first = _first_hit(ledger, hit, at if ordered else np.full(core.sessions, -1, dtype=np.int64))
        moment = np.append(ledger.stays.enter, NAT)[first]
        if number == 0:
            opened = moment
        arrived = reached & (first >= 0)
        if limit is not None and number:
            arrived &= moment - opened <= limit
        took = (moment - previous)[arrived & eligible & (previous != NAT)]
        took = took[took >= 0] if ordered else took[:0]
        before = int((reached & eligible).sum())
        now = int((arrived & eligible).sum())
        stopped = int((reached & ~arrived & ~eligible).sum())
        rows.append((_name(milestones[number]), now, now / max(int(eligible.sum()), 1), before, stopped, took))
        reached, previous, at = arrived, moment, first
    return _table(rows, core.unit)


def _table(rows: list[Any], unit: str) -> pd.DataFrame:
    now, before = np.array([row[1] for row in rows]), np.array([row[3] for row in rows])
    step = share(now, before)
    medians = [group_quantiles(np.zeros(len(r[5]), np.int64), r[5], 1, (0.5,))[0][0] for r in rows]
    return pd.DataFrame(
        {
            "sessions": now.astype(np.int64),
            "conversion": [row[2] for row in rows],
            "step_conversion": step,
            "drop_off": 1 - step,
            "median_time_from_prev": spans(np.array(medians, dtype=np.int64), unit),
            "cut": np.array([row[4] for row in rows], dtype=np.int64),
        },
        index=pd.Index([row[0] for row in rows], name="step", dtype="str"),
    )


def _name(step: Any) -> str:
    if isinstance(step, str):
        return step
    return " | ".join(map(str, step)) if isinstance(step, (list, tuple, set, frozenset)) else "(mask)"


def _limit(within: Any, unit: str) -> int | None:
    """The time allowed since the first milestone, in counts of the unit."""
    if within is None:
        return None
    try:
        seconds = pd.Timedelta(within).total_seconds()
    except ValueError as error:
        reason = str(error)
    else:
        return round(seconds * PER_SECOND[unit])
    raise FrameError(f"within={within!r} is not a length of time: {reason}.", 'Write within="10min".')


def _first_hit(ledger: Ledger, hit: BoolArray, after: IntArray) -> IntArray:
    """Each session's first visit in ``hit`` past the visit ``after``, -1 without one."""
    visits = ledger.visits
    place = np.flatnonzero(hit & (np.arange(len(visits)) > after[visits.code]))
    code = visits.code[place]
    head = np.ones(len(place), dtype=bool)
    head[1:] = code[1:] != code[:-1]
    out = np.full(ledger.core.sessions, -1, dtype=np.int64)
    out[code[head]] = place[head]
    return out
