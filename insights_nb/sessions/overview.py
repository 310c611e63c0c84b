"""The table of sessions: one row each."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .columns import NAT, BoolArray, IntArray, category, spans, times
from .core import Core
from .endings import VALUES
from .ledger import Ledger
from .packed import distinct, joined
from .prompts import prompt_kinds

#: What the frame must hold before a number can be told; without it the column is all NA. ``ordered`` means a time.
NEEDS = {
    "n_actions": ("action",),
    "n_repeats": ("time", "action"),
    "n_steps": ("time",),
    "n_flows": ("flow",),
    "n_exits": ("exits",),
    "n_dtmf": ("dtmf",),
    "n_no_input": ("dtmf", "error"),
    "n_no_match": ("dtmf", "error"),
    "n_errors": ("error",),
    "n_tied": ("time",),
    "variant": ("time", "action"),
    "has_trigger": ("trigger",),
    "has_exit": ("time", "exits"),
}


def sessions_table(ledger: Ledger) -> pd.DataFrame:
    """One row per session; see :meth:`SessionLog.sessions` for the columns."""
    core, endings = ledger.core, ledger.endings
    first, last = core.first(), core.last()
    entry = _entry_nodes(ledger)
    gone = endings.exit >= 0
    exit_node = np.append(core.node, -1)[endings.exit]
    columns: dict[str, Any] = {
        "start": times(first, core.unit),
        "end": times(last, core.unit),
        "duration": spans(np.where(first == NAT, NAT, last - first), core.unit),
        "n_events": _count(core.events),
        **_counts(ledger),
        "flow": category(np.append(core.nodes.flow, -1)[entry], core.nodes.flows),
        "entry_action": _actions(core, entry),
        "last_action": _actions(core, ledger.last_node),
        "exit_action": _actions(core, np.where(gone, exit_node, -1)),
        "exit_reason": category(*ledger.reason),
        "exit_path": category(*ledger.path),
        "outcome": category(ledger.outcome, pd.Index(ledger.rules.names, dtype="str")),
        "completeness": category(endings.completeness, pd.Index(VALUES, dtype="str")),
        "has_trigger": core.count(core.is_trigger) > 0,
        "has_exit": gone,
        "max_gap": spans(_longest_gaps(core), core.unit),
        "session_start_hint": times(_hints(ledger), core.unit),
        "variant": _variant_numbers(ledger),
    }
    for name in NEEDS:
        if not told(core, name):
            dtype = "boolean" if name.startswith("has_") else "Int32"
            columns[name] = pd.Series(pd.NA, index=core.ids, dtype=dtype)
    return pd.DataFrame(columns, index=core.ids)


def told(core: Core, name: str) -> bool:
    """Whether the frame holds what the column ``name`` of the session table needs."""
    known = {
        "exits": core.seen.event_source != "unknown",
        "dtmf": core.seen.event_source != "unknown",
    }
    return all(known[need] if need in known else core.has(need) for need in NEEDS[name])


def _count(values: IntArray) -> npt.NDArray[np.int32]:
    return values.astype(np.int32)


def _actions(core: Core, node: IntArray) -> Any:
    """Nodes as a category of action labels; missing where the frame has no actions."""
    return category(node if core.has("action") else np.full(len(node), -1), core.nodes.label)


def _entry_nodes(ledger: Ledger) -> IntArray:
    """Node of each session's first step, -1 without one."""
    filled = ledger.visits.filled & ledger.core.timed
    out = np.full(ledger.core.sessions, -1, dtype=np.int64)
    out[filled] = ledger.visits.node[ledger.visits.offsets[:-1][filled]]
    return out


def _counts(ledger: Ledger) -> dict[str, npt.NDArray[np.int32]]:
    """The counted columns, in the table's order."""
    core, visits = ledger.core, ledger.visits
    once = np.flatnonzero(visits.nth == 1)
    session, width = visits.code[once], len(core.nodes.flows) + 1
    flow_pairs = distinct(joined(session, core.nodes.flow[visits.node[once]], width)) - width
    known_flow = flow_pairs % width > 0
    no_input, no_match, errors = prompt_kinds(ledger)
    counts = {
        "n_steps": np.diff(visits.offsets),
        "n_actions": np.bincount(session, minlength=core.sessions),
        "n_flows": np.bincount(flow_pairs[known_flow] // width, minlength=core.sessions),
        "n_exits": core.count(core.is_exit),
        "n_dtmf": core.count(core.is_dtmf),
        "n_no_input": core.count(no_input),
        "n_no_match": core.count(no_match),
        "n_errors": core.count(errors),
        "n_repeats": np.bincount(visits.code[visits.nth > 1], minlength=core.sessions),
        "n_tied": core.count(core.tied),
    }
    return {name: _count(values) for name, values in counts.items()}


def _longest_gaps(core: Core) -> IntArray:
    """The longest time between two neighbouring events of each session, ``NAT`` for fewer than two."""
    out = np.full(core.sessions, NAT, dtype=np.int64)
    if len(core.time) > 1:
        gaps = np.diff(core.time, prepend=0)
        gaps[core.offsets[:-1][core.filled]] = NAT
        out = core.reduce(np.maximum, gaps, NAT)
    return out


def _hints(ledger: Ledger) -> IntArray:
    """Start times from the session ids, where they can be believed."""
    core = ledger.core
    return core.epochs if ledger.reading.epoch else np.full(core.sessions, NAT, dtype=np.int64)


def _variant_numbers(ledger: Ledger) -> npt.NDArray[np.int32]:
    return (ledger.variants.rank + 1).astype(np.int32)


def excluded(ledger: Ledger) -> dict[str, int]:
    """Sessions that shares leave out, by completeness, in the order of the categories."""
    out: BoolArray = ~ledger.counted
    tally = np.bincount(ledger.endings.completeness[out], minlength=len(VALUES))
    return {VALUES[i]: int(n) for i, n in enumerate(tally) if n}
