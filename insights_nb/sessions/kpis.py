"""Is the flow doing its job: the rates that belong together, each with its count, its base and an interval."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import PER_SECOND, BoolArray, IntArray, times
from .intervals import share, wilson
from .keys import visited
from .ledger import Ledger
from .nodes import MISSING
from .packed import group_quantiles
from .prompts import prompt_kinds
from .rules import UNCLASSIFIED, UNKNOWN
from .steps import need_time
from .transitions import split_codes

#: KPI → the outcome it is the share of.
RATES = {
    "completion_rate": "completed",
    "abandonment_rate": "abandoned",
    "transfer_rate": "transferred",
    "error_exit_rate": "error",
    "unclassified_rate": UNCLASSIFIED,
    "unknown_rate": UNKNOWN,
}


def kpis_table(ledger: Ledger, by: str | None, freq: str | None) -> pd.DataFrame:
    """The key figures; see :meth:`SessionLog.kpis`."""
    need_time(ledger.core, "kpis()")
    levels: list[tuple[str, IntArray, Any]] = []
    if by is not None:
        codes, words = split_codes(ledger, by)
        levels.append((by, np.where(codes < 0, len(words), codes), [*map(str, words), MISSING]))
    if freq is not None:
        levels.append(_buckets(ledger, freq))
    group = np.zeros(ledger.core.sessions, dtype=np.int64)
    for _, code, names in levels:
        group = group * len(names) + code
    held, slot = np.unique(group, return_inverse=True)
    if not levels:
        held = np.zeros(1, dtype=np.int64)
    figures = _figures(ledger, slot.astype(np.int64), len(held))
    names_of = list(figures)
    table = pd.DataFrame(
        {
            part: np.stack([figures[name][part] for name in names_of], axis=1).ravel()
            for part in ("value", "count", "n", "ci_low", "ci_high")
        }
    ).astype({"count": "int64", "n": "int64"})
    table.index = _index(levels, held, names_of)
    return table


def _index(levels: list[tuple[str, IntArray, Any]], held: IntArray, kpis: list[str]) -> pd.Index:
    """The index: the groups there are, and the KPIs within each."""
    if not levels:
        return pd.Index(kpis, name="kpi", dtype="str")
    arrays: list[Any] = []
    rest = held
    for _, _, names in levels[::-1]:
        arrays.insert(0, pd.Index(names)[np.repeat(rest % len(names), len(kpis))])
        rest = rest // len(names)
    arrays.append(np.tile(np.array(kpis, dtype=object), len(held)))
    return pd.MultiIndex.from_arrays(arrays, names=[*(name for name, _, _ in levels), "kpi"])


def _buckets(ledger: Ledger, freq: str) -> tuple[str, IntArray, Any]:
    """The stretch of time of each session's start."""
    start = pd.Series(times(ledger.core.first(), ledger.core.unit))
    try:
        floor = start.dt.floor(freq)
    except ValueError as error:
        reason = str(error)
    else:
        codes, values = pd.factorize(floor, sort=True)
        return "start", np.where(codes < 0, len(values), codes).astype(np.int64), values.append(pd.Index([pd.NaT]))
    raise FrameError(f"freq={freq!r} is not a fixed length of time: {reason}.", "Write '1h', '15min', '1D'.")


def _figures(ledger: Ledger, slot: IntArray, size: int) -> dict[str, dict[str, Any]]:
    """Every KPI of every group, in the order they are shown."""
    core, visits, counted = ledger.core, ledger.visits, ledger.counted
    everyone = np.ones(core.sessions, dtype=bool)
    names = ledger.rules.names
    out: dict[str, dict[str, Any]] = {}
    transferred = ledger.outcome == names.index("transferred") if "transferred" in names else None
    out["containment_rate"] = _rate(slot, size, None if transferred is None else ~transferred, counted)
    for kpi, outcome in RATES.items():
        hit = ledger.outcome == names.index(outcome) if outcome in names else None
        out[kpi] = _rate(slot, size, hit, counted)
    for name in names:
        if name not in RATES.values():
            out[f"{name}_rate"] = _rate(slot, size, ledger.outcome == names.index(name), counted)
    out["no_interaction_rate"] = _rate(slot, size, core.count(core.is_dtmf) == 0, counted)
    prompted = np.flatnonzero(visited(ledger, core.is_dtmf))
    no_input, no_match, _ = prompt_kinds(ledger)
    at = slot[visits.code[prompted]]
    for kpi, mask in (("no_input_rate", no_input), ("no_match_rate", no_match)):
        hit = visited(ledger, mask & core.is_dtmf)[prompted]
        out[kpi] = _rate(at, size, hit, np.ones(len(prompted), dtype=bool))
    again = visits.nth > 1
    repeats = np.bincount(visits.code[again], minlength=core.sessions)
    out["repeat_rate"] = _rate(slot, size, repeats > 0, everyone)
    total = np.bincount(slot, weights=repeats, minlength=size)
    out["loops_per_session"] = _plain(
        share(total, np.bincount(slot, minlength=size)), total, np.bincount(slot, minlength=size)
    )
    out |= _lengths(ledger, slot, size)
    return out


def _rate(slot: IntArray, size: int, hit: BoolArray | None, base: BoolArray) -> dict[str, Any]:
    """A share per group with its Wilson interval; NaN throughout where no rule tells."""
    n = np.bincount(slot[base], minlength=size)
    if hit is None:
        return _plain(np.full(size, np.nan), np.zeros(size), n)
    k = np.bincount(slot[base & hit], minlength=size)
    low, high = wilson(k, n)
    return {"value": share(k, n), "count": k, "n": n, "ci_low": low, "ci_high": high}


def _plain(value: Any, count: Any, n: Any) -> dict[str, Any]:
    nan = np.full(len(value), np.nan)
    return {"value": value, "count": count, "n": n, "ci_low": nan, "ci_high": nan}


def _lengths(ledger: Ledger, slot: IntArray, size: int) -> dict[str, dict[str, Any]]:
    """Quantiles of session duration (in seconds) and steps, over the sessions that count."""
    core = ledger.core
    base = ledger.counted & core.filled
    n = np.bincount(slot[base], minlength=size)
    duration = group_quantiles(slot[base], (core.last() - core.first())[base], size, (0.5, 0.95))
    # Halves are kept by doubling: a median of steps may lie between two whole numbers.
    steps = group_quantiles(slot[base], 2 * np.diff(ledger.visits.offsets)[base], size, (0.5,))[0]
    per = PER_SECOND[core.unit]
    return {
        "session_duration_median_s": _plain(np.where(n > 0, duration[0] / per, np.nan), n, n),
        "session_duration_p95_s": _plain(np.where(n > 0, duration[1] / per, np.nan), n, n),
        "steps_median": _plain(np.where(n > 0, steps / 2, np.nan), n, n),
    }
