"""The table of steps (one row per visit), and the timeline of a few sessions (one row per event)."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT, BoolArray, IntArray, category, spans, times
from .core import Core
from .fields import missing_field
from .ledger import Ledger
from .prompts import prompt_kinds
from .stays import SOURCES

MASK = "••••"


def steps_table(ledger: Ledger) -> pd.DataFrame:
    """One row per visit; see :meth:`SessionLog.steps` for the columns."""
    core, visits, stays = ledger.core, ledger.visits, ledger.stays
    need_time(core, "steps()")
    nodes = core.nodes
    names = pd.Index(sorted({str(kind) for kind in nodes.kind if kind is not None}), dtype="str")
    of_node = np.array([-1 if kind is None else names.get_loc(kind) for kind in nodes.kind], dtype=np.int64)
    length, error = _entries(ledger)
    columns: dict[str, Any] = {
        "SessionId": core.ids[visits.code],
        "step": visits.step,
        "flow": category(nodes.flow[visits.node], nodes.flows),
        "action": category(visits.node.astype(np.int64) if core.has("action") else _none(visits.node), nodes.label),
        "action_name": category(of_node[visits.node], names),
        "enter": times(stays.enter, core.unit),
        "leave": times(stays.leave, core.unit),
        "dwell": spans(stays.dwell, core.unit),
        "dwell_source": category(stays.source, pd.Index(SOURCES, dtype="str")),
        "n_events": visits.events.astype(np.int32),
        "nth_visit": visits.nth,
        "exit_reason": _at_exits(ledger, "reason"),
        "exit_path": _at_exits(ledger, "path"),
        "input_len": length,
        "input_error": error,
        "tied": _any_row(ledger, core.tied),
        "after_exit": ledger.endings.after,
    }
    return pd.DataFrame(columns)


def need_time(core: Core, wanted_by: str) -> None:
    """Refuse what needs an order when the frame has no times."""
    if not core.timed:
        raise missing_field(core.fields, "time", wanted_by)


def _none(like: npt.NDArray[Any]) -> IntArray:
    return np.full(len(like), -1, dtype=np.int64)


def _at_exits(ledger: Ledger, part: str) -> Any:
    """The word of ``part`` on each visit's exit row."""
    visits = ledger.visits
    left = np.flatnonzero(visits.exit >= 0)
    codes, words = ledger.core.words_at(part, visits.exit[left])
    out = _none(visits.exit)
    out[left] = codes
    return category(out, words)


def _any_row(ledger: Ledger, mask: BoolArray) -> BoolArray:
    """Visits with a row in ``mask``."""
    out = np.zeros(len(ledger.visits), dtype=bool)
    of_row = ledger.visits.of_row[np.flatnonzero(mask)]
    out[of_row[of_row >= 0]] = True
    return out


def _entries(ledger: Ledger) -> tuple[Any, Any]:
    """Length of the last input of each visit, and its last ErrorReason."""
    core, visits = ledger.core, ledger.visits
    length, none = np.zeros(len(visits), dtype=np.int16), np.ones(len(visits), dtype=bool)
    rows = np.flatnonzero(core.is_dtmf & (visits.of_row >= 0))
    keys = core.at("keys", rows)
    if keys is not None:
        size = keys.astype("str").str.strip().str.len().to_numpy(dtype=float, na_value=0)
        rows, size = rows[size > 0], size[size > 0]
        length[visits.of_row[rows]] = np.minimum(size, np.iinfo(np.int16).max)
        none[visits.of_row[rows]] = False
    codes, words = core.words_at("error")
    out = _none(visits.first)
    rows = np.flatnonzero((codes >= 0) & (visits.of_row >= 0))
    out[visits.of_row[rows]] = codes[rows]
    return pd.arrays.IntegerArray(length, none), category(out, words)


def find_sessions(core: Core, ids: Any, wanted_by: str) -> BoolArray:
    """A mask of the sessions named, one id or several.

    Raises
    ------
    FrameError
        For an id the log does not hold, with the nearest one it does.
    """
    given: Iterable[Any] = [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else ids
    wanted = pd.Index([str(one) for one in given], dtype="str")
    held = np.asarray(core.ids.isin(wanted))
    # Looked up among those found: all ids of the log as Python strings would take longer than the answer.
    lost = wanted[~wanted.isin(core.ids[held])]
    if len(lost):
        near = get_close_matches(str(lost[0]), map(str, core.ids[:5000]), n=1)
        hint = f"The nearest id it holds is {near[0]!r}." if near else "sessions() lists the ids it holds."
        raise FrameError(f"{wanted_by}: the log holds no session {str(lost[0])!r} ({len(lost)} not found).", hint)
    return held


def timeline_table(ledger: Ledger) -> pd.DataFrame:
    """One row per event of every session of the ledger; see :meth:`SessionLog.timeline`."""
    core, visits = ledger.core, ledger.visits
    need_time(core, "timeline()")
    start = np.repeat(core.first()[core.filled], np.diff(core.offsets)[core.filled])
    gap = np.full(len(core.time), NAT, dtype=np.int64)
    inside = np.concatenate([[False], core.code[1:] == core.code[:-1]]) if len(core.time) else np.zeros(0, dtype=bool)
    gap[inside] = np.diff(core.time, prepend=0)[inside]
    event = category(core.event[0][core.rows].astype(np.int64), core.event[1]) if core.event is not None else None
    step = pd.array(np.append(visits.step, 0)[visits.of_row], dtype="Int32")
    step[visits.of_row < 0] = pd.NA
    columns: dict[str, Any] = {
        "SessionId": core.ids[core.code],
        "TimeStamp": times(core.time, core.unit),
        "step": step,
        "offset": spans(core.time - start, core.unit),
        "gap": spans(gap, core.unit),
        "EventName": event,
        "action": category(core.node.astype(np.int64) if core.has("action") else _none(core.node), core.nodes.label),
        "exit_reason": category(*core.words_at("reason")),
        "exit_path": category(*core.words_at("path")),
        "input": _inputs(ledger),
        "flags": _flags(ledger, gap),
    }
    return pd.DataFrame(columns)


def _inputs(ledger: Ledger) -> Any:
    """What was keyed in, masked: it may be a PIN or a card number, and its length is no one's concern either."""
    keys = ledger.core.at("keys")
    if keys is None:
        return pd.array([None] * len(ledger.core.rows), dtype="str")
    text = keys.astype("str").reset_index(drop=True)
    text = text.mask(text.str.strip() == "")
    return text.mask(text.notna(), MASK) if ledger.masked else text


def _flags(ledger: Ledger, gap: IntArray) -> Any:
    """What is remarkable about each event, in words."""
    core, visits = ledger.core, ledger.visits
    visit = visits.of_row
    opening = np.zeros(len(visit), dtype=bool)
    opening[visits.first] = True
    error = np.logical_or.reduce(prompt_kinds(ledger))
    marks = {
        "error": error,
        "tied": core.tied,
        "repeat": opening & (np.append(visits.nth, 0)[visit] > 1),
        "long gap": (gap != NAT) & (gap > ledger.reading.long_gap),
        "after exit": np.append(ledger.endings.after, False)[visit],
    }
    table = np.stack([np.asarray(mark, dtype=bool) for mark in marks.values()], axis=1)
    words = list(marks)
    return pd.array(
        [", ".join(w for w, on in zip(words, row, strict=True) if on) for row in table.tolist()], dtype="str"
    )
