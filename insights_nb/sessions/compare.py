"""What is different about some sessions, adjusted for their length."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray, IntArray, times, words
from .intervals import newcombe, share
from .ledger import Ledger
from .overview import sessions_table
from .packed import distinct, tally
from .steps import need_time

FIELDS = ("action", "transition", "entry_action", "region", "flow", "hour", "weekday")
#: Sessions of more steps than this share a stratum: there are too few of each length to compare.
LONGEST = 40
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
COLUMNS = (
    "field",
    "value",
    "n_selected",
    "n_rest",
    "share_selected",
    "share_rest",
    "diff",
    "ci_low",
    "ci_high",
    "lift",
    "adj_diff",
    "ks",
)


@dataclass(frozen=True, eq=False)
class Sides:
    """Who is compared with whom.

    Attributes
    ----------
    one, two : ndarray of bool, shape (S,)
        The selected sessions and the others.
    stratum : ndarray of int64, shape (S,)
        Sessions are compared within a stratum.
    """

    one: BoolArray
    two: BoolArray
    stratum: IntArray


def compare_table(
    ledger: Ledger, one: BoolArray, two: BoolArray, fields: Any, adjust: str | None, top: int | None
) -> pd.DataFrame:
    """What differs between two sets of sessions; see :meth:`SessionLog.compare`."""
    need_time(ledger.core, "compare()")
    if adjust not in ("n_steps", None):
        raise FrameError(f"compare(adjust={adjust!r}) is not known.", 'Write adjust="n_steps" or adjust=None.')
    if (one & two).any():
        raise FrameError(f"compare(): {int((one & two).sum())} sessions are on both sides.")
    steps = np.minimum(np.diff(ledger.visits.offsets), LONGEST)
    sides = Sides(one, two, steps if adjust else np.zeros(ledger.core.sessions, dtype=np.int64))
    table = sessions_table(ledger)
    wanted = [fields] if isinstance(fields, str) else list(fields if fields is not None else _available(ledger))
    parts = [_compared(ledger, sides, table, str(name)) for name in wanted]
    out = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    adjusted, apart = (out[name].to_numpy(dtype=np.float64) for name in ("adj_diff", "ks"))
    weight = np.nan_to_num(np.abs(np.where(np.isnan(adjusted), apart, adjusted)), nan=-1.0)
    text = out["field"] + "\0" + out["value"]
    order = np.lexsort([np.asarray(text.argsort().argsort()), -weight])
    out = out.iloc[order] if top is None else out.iloc[order[:top]]
    out = out.reset_index(drop=True)
    out.attrs.update(selected=int(one.sum()), rest=int(two.sum()), adjust=adjust)
    return out


def _available(ledger: Ledger) -> list[str]:
    """The fields compared by default, of those the frame can tell."""
    need = {"action": "action", "transition": "action", "entry_action": "action", "region": "region", "flow": "flow"}
    return [name for name in FIELDS if name not in need or ledger.core.has(need[name])]


def _compared(ledger: Ledger, sides: Sides, table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one field."""
    if name in FIELDS or (name in table and not pd.api.types.is_numeric_dtype(table[name].dtype)):
        session, code, values = _values(ledger, table, name)
        return _shares(name, session, code, values, sides, ledger.core.sessions)
    if name not in table:
        raise FrameError(
            f"compare(): {name!r} is no field.", f"Write one of {', '.join(FIELDS)}, or a column of sessions()."
        )
    return _numbers(name, table[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), sides)


def _values(ledger: Ledger, table: pd.DataFrame, name: str) -> tuple[IntArray, IntArray, Any]:
    """Distinct (session, value) pairs of a field."""
    core = ledger.core
    everyone = np.arange(core.sessions)
    if name == "action":
        keys = ledger.pairs
        return keys // max(len(core.nodes), 1), keys % max(len(core.nodes), 1), list(core.nodes.label)
    if name == "transition":
        moves, count = ledger.inner_moves, max(len(core.nodes), 1)
        keys = distinct((moves.code * np.int64(count) + moves.source) * count + moves.target)
        held, _ = tally(keys % (count * count), count * count)
        code = np.searchsorted(held, keys % (count * count))
        label = core.nodes.label
        return keys // (count * count), code, [f"{label[h // count]} → {label[h % count]}" for h in held.tolist()]
    if name in ("hour", "weekday"):
        start = times(core.first(), core.unit)
        known = ~np.asarray(start.isna())
        part = (start.hour if name == "hour" else start.day_of_week)[known]
        names = [f"{h:02d}:00" for h in range(24)] if name == "hour" else list(_DAYS)
        return everyone[known], np.asarray(part, dtype=np.int64), names
    if name == "region":
        code, texts = core.words_at("region", core.offsets[:-1][core.filled])
        return everyone[core.filled][code >= 0], code[code >= 0].astype(np.int64), list(texts)
    code, texts = words(table[name])
    return everyone[code >= 0], code[code >= 0].astype(np.int64), list(texts)


def _shares(name: str, session: IntArray, code: IntArray, values: Any, sides: Sides, sessions: int) -> pd.DataFrame:
    """Shares of both sides per value, their difference, and the difference within strata."""
    count, strata = len(values), int(sides.stratum.max(initial=0)) + 1
    cells = []
    for side in (sides.one, sides.two):
        inside = side[session]
        key = code[inside] * strata + sides.stratum[session[inside]]
        cells.append(np.bincount(key, minlength=count * strata).reshape(count, strata))
    sizes = [np.bincount(sides.stratum[side], minlength=strata) for side in (sides.one, sides.two)]
    hits = [cell.sum(axis=1) for cell in cells]
    n1, n2 = (int(size.sum()) for size in sizes)
    both = (sizes[0] > 0) & (sizes[1] > 0)
    # Mantel-Haenszel: the difference in each stratum, weighted by how much both sides have to say there.
    weight = sizes[0][both] * sizes[1][both] / np.maximum(sizes[0] + sizes[1], 1)[both]
    apart = share(cells[0][:, both], sizes[0][both]) - share(cells[1][:, both], sizes[1][both])
    adjusted = (apart * weight).sum(axis=1) / weight.sum() if weight.sum() else np.full(count, np.nan)
    p1, p2 = share(hits[0], n1), share(hits[1], n2)
    low, high = newcombe(hits[0], n1, hits[1], n2)
    table = pd.DataFrame(
        {
            "field": pd.array([name] * count, dtype="str"),
            "value": pd.array([str(value) for value in values], dtype="str"),
            "n_selected": hits[0].astype(np.int64),
            "n_rest": hits[1].astype(np.int64),
            "share_selected": p1,
            "share_rest": p2,
            "diff": p1 - p2,
            "ci_low": low,
            "ci_high": high,
            "lift": share(p1, np.where(p2 > 0, p2, 0)),
            "adj_diff": adjusted,
            "ks": np.nan,
        },
        columns=list(COLUMNS),
    )
    return table[(table["n_selected"] + table["n_rest"]) > 0]


def _numbers(name: str, values: Any, sides: Sides) -> pd.DataFrame:
    """Medians of both sides and how far apart the two distributions are."""
    one, two = (np.sort(values[side & ~np.isnan(values)]) for side in (sides.one, sides.two))
    medians = [float(np.median(part)) if len(part) else np.nan for part in (one, two)]
    ks = np.nan
    if len(one) and len(two):
        grid = np.concatenate([one, two])
        below = [np.searchsorted(part, grid, side="right") / len(part) for part in (one, two)]
        ks = float(np.abs(below[0] - below[1]).max())
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "field": name,
        "value": "(median)",
        "n_selected": len(one),
        "n_rest": len(two),
        "share_selected": medians[0],
        "share_rest": medians[1],
        "diff": medians[0] - medians[1],
        "ks": ks,
    }
    table = pd.DataFrame([row], columns=list(COLUMNS))
    return table.astype({"field": "str", "value": "str", "n_selected": "int64", "n_rest": "int64"})
