"""From a frame of events to a :class:`~.core.Core`: encode, sort once, drop copies, settle ties."""

from collections.abc import Mapping
from dataclasses import fields as parts_of
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT, UNITS, AnyInts, BoolArray, IntArray, in_unit, instants, truths, words
from .core import Core, Int32Array, Seen
from .executions import executions
from .fields import DTMF_EVENT, EXIT_EVENT, OWN_FIELDS, Fields, column, missing_field
from .nodes import encode_nodes
from .packed import sorting
from .ties import Tied, duplicated_rows, ladder, tie_groups

#: Above this the packed key (session, time) could overflow an int64, and the two are sorted side by side instead.
PACK_LIMIT = 2**60


def gather(events: "pd.DataFrame | Mapping[str, pd.DataFrame]", fields: Fields) -> pd.DataFrame:
    """One frame of all events, not a copy of its cells where one frame was given.

    Parameters
    ----------
    events : DataFrame or mapping of event name to DataFrame
        Frames of several events are put under each other: union of columns, missing cells NA, and a column keeps
        its dtype when the frames agree on it.
    fields : Fields
        Which column is which; the event's name is written to the event column.

    Returns
    -------
    DataFrame
        Not to be changed.
    """
    if isinstance(events, pd.DataFrame):
        return events.copy(deep=False)
    if not isinstance(events, Mapping):
        raise FrameError(
            f"session_log takes a DataFrame, or a mapping of event name to DataFrame, not {type(events).__name__}."
        )
    frames = {name: frame.assign(**{str(fields.event): name}) for name, frame in events.items()}
    names = list(dict.fromkeys(name for frame in frames.values() for name in frame.columns))
    joined = {name: _stacked([frame.get(name, len(frame)) for frame in frames.values()]) for name in names}
    out = pd.DataFrame(joined)
    note = _joint_note(list(events.values()))
    if note:
        out.attrs["insights"] = note
    return out


def _joint_note(frames: list[pd.DataFrame]) -> dict[str, Any]:
    """What the queries of several frames noted, as of one query: only where all were for the same time."""
    notes = [frame.attrs.get("insights") or {} for frame in frames]
    if not notes or not all(note.get("window") and note["window"] == notes[0]["window"] for note in notes):
        return {}
    queries = [note.get("query") or {} for note in notes]
    events = {name: asked for query in queries for name, asked in query.get("data", {}).items()}
    filters = {name: test for query in queries for name, test in (query.get("filters") or {}).items()}
    whole = all(note.get("rows") == len(frame) for note, frame in zip(notes, frames, strict=True))
    rows = sum(len(frame) for frame in frames)
    query = {"data": events, "filters": filters} if filters else {"data": events}
    # Rows taken from any of them show as a count that no longer fits.
    return {"query": query, "window": notes[0]["window"], "rows": rows if whole else -1}


def _stacked(pieces: "list[pd.Series | int]") -> pd.Series:
    """Pieces of one column under each other; a number stands for that many missing cells."""
    dtypes = {piece.dtype for piece in pieces if isinstance(piece, pd.Series)}
    dtype: Any = next(iter(dtypes)) if len(dtypes) == 1 else object
    if any(isinstance(piece, int) and piece for piece in pieces) and isinstance(dtype, np.dtype):
        dtype = {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(dtype.kind, dtype)
    filled = [
        pd.Series(pd.array([pd.NA] * piece, dtype="object"), dtype=object)
        if isinstance(piece, int)
        else piece.astype(object)
        for piece in pieces
    ]
    return pd.concat(filled, ignore_index=True).astype(dtype)


def prepare(frame: pd.DataFrame, fields: Fields, *, missing: str, duplicates: str, ties: str, query: Any) -> Core:
    """Encode and sort a frame of events.

    Parameters
    ----------
    frame : DataFrame
        Events; kept, never changed.
    fields : Fields
        Which column is which.
    missing : {"drop", "raise"}
        What to do with rows that have no session id.
    duplicates : {"auto", "keep", "drop"}
        See :func:`.ties.duplicated_rows`.
    ties : {"input", "canonical"}
        See :func:`.ties.ladder`.
    query : dict or None
        The query that fetched the frame, where known: with one event in it every row is that event.

    Returns
    -------
    Core
        The events in order.

    Raises
    ------
    FrameError
        No session column; a session id missing under ``missing="raise"``; times that are no UTC times.
    """
    session = column(frame, fields, "session")
    if session is None:
        raise missing_field(fields, "session", "A session log")
    absent = tuple(part.name for part in parts_of(fields) if column(frame, fields, part.name) is None)
    code, ids = _session_codes(session)
    outside = int((code < 0).sum())
    if outside and missing == "raise":
        row = int(np.flatnonzero(code < 0)[0])
        raise FrameError(
            f"{outside} of {len(code)} rows have no session id, the first of them row {row}.",
            'Leave them out of session results with missing="drop".',
        )
    time, unit = _event_times(frame, fields)
    event, is_exit, is_dtmf, source = _events(frame, fields, query)
    trigger = column(frame, fields, "trigger")
    is_trigger, unread = truths(trigger) if trigger is not None else (np.zeros(len(frame), dtype=bool), 0)
    node, nodes = encode_nodes(frame, fields, time, None if not outside else np.flatnonzero(code >= 0))

    inside = code >= 0
    ordered = inside & (time != NAT)
    untimed = np.flatnonzero(inside & ~ordered)
    rows, disorder, grain = _sorted_rows(code, time, ordered, unit)
    kinds = [node] if event is None else [node, event[0]]
    rows, dropped, suspected = _without_copies(frame, fields, code, time, rows, kinds, duplicates)
    drop, more = duplicated_rows(frame, fields, untimed, code[untimed], [kind[untimed] for kind in kinds], duplicates)
    untimed, dropped, suspected = untimed[~drop], dropped + int(drop.sum()), suspected + more
    if "time" in absent:
        suspected = 0
    sorted_code = code[rows]
    per_session = np.bincount(sorted_code, minlength=len(ids))
    core = Core(
        frame=frame,
        fields=fields,
        ids=ids,
        events=per_session + np.bincount(code[untimed], minlength=len(ids)),
        offsets=np.concatenate([[0], np.cumsum(per_session)]),
        rows=rows,
        code=sorted_code,
        time=time[rows],
        unit=unit,
        grain=grain,
        node=node[rows],
        nodes=nodes,
        is_exit=is_exit[rows],
        is_trigger=is_trigger[rows],
        is_dtmf=is_dtmf[rows],
        tied=np.zeros(len(rows), dtype=bool),
        event=event,
        seen=Seen(len(frame), outside, len(untimed), disorder, dropped, suspected, unread, source, absent),
    )
    return _settled(core, ties) if core.timed else core


def _session_codes(session: pd.Series) -> tuple[Int32Array, pd.Index]:
    """Codes into the sorted session ids; -1 for missing and blank ones."""
    codes, ids = words(session)
    ids.name = "SessionId"
    return codes.astype(np.int32, copy=False), ids


def _event_times(frame: pd.DataFrame, fields: Fields) -> tuple[IntArray, str]:
    """Times of all rows, in the finest unit any of the three time columns has, so that none of them loses."""
    time = column(frame, fields, "time")
    if time is None:
        # Nothing can be ordered, yet events can be counted: every row stands at one moment that is never shown.
        return np.zeros(len(frame), dtype=np.int64), "us"
    ticks, unit = instants(time, str(fields.time))
    others = [column(frame, fields, part) for part in ("started", "ended")]
    units = [other.dt.unit for other in others if other is not None and other.dtype.kind == "M"]
    finest = max([unit, *units], key=UNITS.index)
    return in_unit(ticks, unit, finest), finest


def _events(
    frame: pd.DataFrame, fields: Fields, query: Any
) -> tuple[tuple[AnyInts, pd.Index] | None, BoolArray, BoolArray, str]:
    """What each row is: event codes and words, exit rows, DTMF rows, and how that is known."""
    event = column(frame, fields, "event")
    if event is not None:
        codes, names = words(event)
        marks = [codes == (names.get_loc(name) if name in names else -2) for name in (EXIT_EVENT, DTMF_EVENT)]
        return (codes, names), marks[0], marks[1], "column"
    asked = list((query or {}).get("data", ()))
    if len(asked) == 1:
        every, none = np.ones(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
        marks = [every if asked[0] == name else none for name in (EXIT_EVENT, DTMF_EVENT)]
        return (np.zeros(len(frame), dtype=np.int64), pd.Index(asked, dtype="str")), marks[0], marks[1], "query"
    # Own fields of an event are filled in its own rows only, so a filled one tells what the row is.
    codes = np.full(len(frame), -1, dtype=np.int64)
    for number, name in enumerate((DTMF_EVENT, EXIT_EVENT)):
        for field in OWN_FIELDS[name]:
            if field in frame.columns:
                codes[frame[field].notna().to_numpy()] = number
    source = "fields" if (codes >= 0).any() else "unknown"
    return (codes, pd.Index([DTMF_EVENT, EXIT_EVENT], dtype="str")), codes == 1, codes == 0, source


def _sorted_rows(code: Int32Array, time: IntArray, ordered: BoolArray, unit: str) -> tuple[IntArray, int, int]:
    """Rows by session and time (stable), how many were out of order, and the grain of the times."""
    rows = np.flatnonzero(ordered)
    if not len(rows):
        return rows, 0, 1
    whole = len(rows) == len(code)
    code, time = (code, time) if whole else (code[rows], time[rows])
    grain = coarsest(time, unit)
    low = int(time.min())
    span = (int(time.max()) - low) // grain + 1
    if (int(code.max()) + 1) * span < PACK_LIMIT:
        order = sorting(code)
        key = time[order]
        key -= low
        key //= grain
        key += code[order] * np.int64(span)
        # With the sessions together the times are nearly in order, which numpy's stable sort makes use of.
        if (key[1:] < key[:-1]).any():
            order = order[np.argsort(key, kind="stable")]
    else:
        order = np.lexsort((time, code))
    back = np.flatnonzero(order[1:] < order[:-1])
    disorder = int((code[order[back + 1]] == code[order[back]]).sum())
    return (order if whole else rows[order]), disorder, grain


def coarsest(ticks: IntArray, unit: str) -> int:
    """The largest of 1, 1000, … counts of ``unit`` (at most a second) that divides every time."""
    grain = 1
    for _ in range(UNITS.index(unit)):
        # Most often the first few tell.
        if (ticks[:1000] % (grain * 1000)).any() or (ticks % (grain * 1000)).any():
            break
        grain *= 1000
    return grain


def _without_copies(
    frame: pd.DataFrame,
    fields: Fields,
    code: Int32Array,
    time: IntArray,
    rows: IntArray,
    kinds: list[AnyInts],
    duplicates: str,
) -> tuple[IntArray, int, int]:
    """The sorted rows without second copies; how many were dropped, how many are suspected."""
    _, where, group = tie_groups(code[rows], time[rows])
    some = rows[where]
    drop, suspected = duplicated_rows(frame, fields, some, group, [kind[some] for kind in kinds], duplicates)
    if not drop.any():
        return rows, 0, suspected
    return np.delete(rows, where[drop]), int(drop.sum()), suspected


def _settled(core: Core, ties: str) -> Core:
    """The core with every tie settled, and marked."""
    tied, where, group = tie_groups(core.code, core.time)
    if not len(where):
        return replace(core, tied=tied)
    head = np.ones(len(where), dtype=bool)
    head[1:] = group[1:] != group[:-1]
    starts = where[head][group]
    stops = where[np.append(np.flatnonzero(head)[1:], len(where)) - 1][group]
    code, node = core.code, core.node
    opens = (starts == 0) | (code[starts - 1] != code[starts])
    closes = (stops == len(code) - 1) | (code[np.minimum(stops + 1, len(code) - 1)] != code[stops])
    before = np.where(opens, NAT, core.time[starts - 1])
    execution, phase = executions(core, where, group, before)
    rows = Tied(
        rows=core.rows[where],
        group=group,
        node=node[where].astype(np.int64),
        execution=execution,
        phase=phase,
        moment=core.time[where],
        before=before,
        carried=~opens & (node[starts - 1] == node[where]) & ~core.is_exit[starts - 1],
        opens=opens,
        closes=closes,
        is_trigger=core.is_trigger[where],
        is_exit=core.is_exit[where],
    )
    moved = where[ladder(core.frame, core.fields, rows, core.unit, canonical=ties == "canonical")]
    # The arrays were made for this core: what a few rows change is changed in place.
    for values in (core.rows, core.node, core.is_exit, core.is_trigger, core.is_dtmf):
        values[where] = values[moved]
    return replace(core, tied=tied)
