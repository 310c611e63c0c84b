"""How sessions end, and whether that has changed."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT, IntArray, category, in_unit, instants, spans, times
from .endings import VALUES
from .fields import missing_field
from .ledger import Ledger
from .nodes import MISSING
from .overview import excluded

#: What an exit table can be split by, and the field each split reads.
SESSION_KEYS = {
    "exit_reason": "reason",
    "exit_path": "path",
    "exit_action": "action",
    "last_action": "action",
    "flow": "flow",
    "outcome": "reason",
    "completeness": "session",
}
EVENT_KEYS = {"exit_reason": "reason", "exit_path": "path", "exit_action": "action", "flow": "flow"}


def exits_table(ledger: Ledger, by: str, freq: str | None, level: str) -> pd.DataFrame:
    """How sessions (or single actions) ended; see :meth:`SessionLog.exits`."""
    keys = {"session": SESSION_KEYS, "event": EVENT_KEYS}.get(level)
    if keys is None:
        raise FrameError(f"level={level!r} is not known.", "Write level='session' or level='event'.")
    if by not in keys:
        raise FrameError(f"exits(by={by!r}) is not known.", f"Write one of {', '.join(map(repr, keys))}.")
    core = ledger.core
    if not core.has(keys[by]):
        raise missing_field(core.fields, keys[by], f"exits(by={by!r})")
    if not core.timed and (level == "session" or freq is not None):
        raise missing_field(core.fields, "time", f"exits(level={level!r})")
    code, words, session, start, took = _by_session(ledger, by) if level == "session" else _by_event(ledger, by)
    if freq is not None:
        return _noted(_over_time(code, words, start, core.unit, freq, by), ledger)
    return _noted(_counted(code, words, session, took, core.unit, by, level), ledger)


def _by_session(ledger: Ledger, by: str) -> tuple[IntArray, pd.Index, IntArray, IntArray, IntArray]:
    """Word, session, start and duration of every counted session."""
    core = ledger.core
    codes, words = _session_words(ledger, by)
    chosen = np.flatnonzero(ledger.counted if by != "completeness" else np.ones(core.sessions, dtype=bool))
    first = core.first()
    took = np.where(first == NAT, NAT, core.last() - first)
    return codes[chosen], words, chosen, first[chosen], took[chosen]


def _session_words(ledger: Ledger, by: str) -> tuple[IntArray, pd.Index]:
    """The word of every session, as codes and words."""
    core = ledger.core
    if by == "exit_reason":
        return ledger.reason
    if by == "exit_path":
        return ledger.path
    if by == "exit_action":
        return np.append(core.node, -1)[ledger.endings.exit].astype(np.int64), core.nodes.label
    if by == "last_action":
        return ledger.last_node, core.nodes.label
    if by == "flow":
        return _first_flows(ledger), core.nodes.flows
    if by == "outcome":
        return ledger.outcome, pd.Index(ledger.rules.names, dtype="str")
    return ledger.endings.completeness, pd.Index(VALUES, dtype="str")


def _first_flows(ledger: Ledger) -> IntArray:
    visits, filled = ledger.visits, ledger.visits.filled
    out = np.full(ledger.core.sessions, -1, dtype=np.int64)
    out[filled] = ledger.core.nodes.flow[visits.node[visits.offsets[:-1][filled]]]
    return out


def _by_event(ledger: Ledger, by: str) -> tuple[IntArray, pd.Index, IntArray, IntArray, IntArray]:
    """Word, session, time and length of every exit row."""
    core = ledger.core
    rows = np.flatnonzero(core.is_exit)
    if by == "exit_action":
        codes, words = core.node[rows].astype(np.int64), core.nodes.label
    elif by == "flow":
        codes, words = core.nodes.flow[core.node[rows]], core.nodes.flows
    else:
        said, words = core.words_at(EVENT_KEYS[by], rows)
        codes = said.astype(np.int64)
    bounds = []
    for part in ("started", "ended"):
        series = core.at(part, rows)
        if series is None:
            bounds.append(np.full(len(rows), NAT, dtype=np.int64))
            continue
        ticks, unit = instants(series, str(getattr(core.fields, part)))
        bounds.append(in_unit(ticks, unit, core.unit))
    took = np.where((bounds[0] == NAT) | (bounds[1] == NAT), NAT, bounds[1] - bounds[0])
    return codes, words, core.code[rows].astype(np.int64), core.time[rows], np.where(took < 0, NAT, took)


def _counted(
    code: IntArray, words: pd.Index, session: IntArray, took: IntArray, unit: str, by: str, level: str
) -> pd.DataFrame:
    """One row per word: how many, which share, how long; most first, equal counts in text order."""
    names = [*map(str, words), MISSING]
    slot = np.where(code < 0, len(words), code)
    tally = np.bincount(slot, minlength=len(names))
    held = np.flatnonzero(tally)
    order = np.array(sorted(held.tolist(), key=lambda i: (-int(tally[i]), names[i])), dtype=np.int64)
    median = pd.Series(spans(took, unit)).groupby(slot).median().reindex(order)
    columns: dict[str, Any] = {}
    if level == "event":
        columns["exits"] = tally[order].astype(np.int64)
        distinct = np.unique(slot * (int(session.max(initial=0)) + 1) + session) // (int(session.max(initial=0)) + 1)
        columns["sessions"] = np.bincount(distinct, minlength=len(names))[order].astype(np.int64)
    else:
        columns["sessions"] = tally[order].astype(np.int64)
    columns["share"] = tally[order] / max(len(code), 1)
    columns["median_duration"] = median.to_numpy().astype(f"m8[{unit}]")
    return pd.DataFrame(columns, index=pd.Index([names[i] for i in order], name=by, dtype="str"))


def _over_time(code: IntArray, words: pd.Index, start: IntArray, unit: str, freq: str, by: str) -> pd.DataFrame:
    """Counts per bucket of time and word; empty buckets between the first and the last are there, as zeros."""
    named = category(np.where(code < 0, len(words), code), words.append(pd.Index([MISSING], dtype="str")))
    frame = pd.DataFrame({"start": times(start, unit), by: named})
    try:
        grouper = pd.Grouper(key="start", freq=freq)
        table = frame.groupby([grouper, by], observed=True).size().unstack(fill_value=0)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
    if reason:
        raise FrameError(f"freq={freq!r} is not a length of time: {reason}.", "Write '1h', '15min', '1D'.")
    if len(table):
        table = table.resample(freq).sum()
    else:
        table.index = times(np.zeros(0, dtype=np.int64), unit)
    total = table.to_numpy().sum(axis=0)
    names = [str(word) for word in table.columns]
    order = sorted(range(len(names)), key=lambda i: (-int(total[i]), names[i]))
    table = table.iloc[:, order].astype(np.int64)
    table.columns = pd.Index([str(word) for word in table.columns], name=by, dtype="str")
    table.index.name = "start"
    return table


def _noted(table: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """The table with what it counts and what it leaves out, in ``attrs``."""
    table.attrs["sessions"] = ledger.core.sessions
    table.attrs["counted"] = int(ledger.counted.sum())
    table.attrs["left_out"] = excluded(ledger)
    return table
