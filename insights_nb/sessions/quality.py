"""What a log can be trusted with: completeness of its sessions, what reading it met, and a wider window."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT, PER_SECOND, times
from .endings import COMPLETENESS, VALUES
from .ledger import Ledger
from .overview import NEEDS, told
from .packed import group_quantiles


def completeness_table(ledger: Ledger) -> pd.DataFrame:
    """Sessions by completeness; see :meth:`SessionLog.completeness`."""
    tally = np.bincount(ledger.endings.completeness, minlength=len(VALUES)).astype(np.int64)
    table = pd.DataFrame(
        {
            "sessions": tally,
            "share": tally / max(ledger.core.sessions, 1),
            "meaning": pd.array(list(COMPLETENESS.values()), dtype="str"),
        },
        index=pd.Index(VALUES, name="completeness", dtype="str"),
    )
    table.attrs["rule"] = completeness_rule(ledger)
    return table


def completeness_rule(ledger: Ledger) -> str:
    """How completeness was decided, in one sentence."""
    reading, unit = ledger.reading, ledger.core.unit
    window = reading.window
    if window.filtered:
        return "not decided: the query had filters, which may drop single events of a session"
    parts = [f"exit events read as one per {reading.exits}"]
    if window.known:
        parts.append(f"silent for {reading.margin / PER_SECOND[unit]:g} s before the window's end means over")
    else:
        parts.append(f"window unknown ({window.why})")
    parts.append("start times from the session ids" if reading.epoch else "start times not in the session ids")
    return "; ".join(parts)


class Check(NamedTuple):
    """One line of the report: what was looked at, how often it was seen, out of how many, and what to do."""

    name: str
    seen: int
    of: int
    finding: str


def many(count: int, noun: str, verbs: tuple[str, str] = ("", "")) -> str:
    """A count with its noun, and the verb that goes with it: ``1 row is``, ``3 rows are``."""
    one = count == 1
    return " ".join(part for part in (f"{count:,}", noun if one else noun + "s", verbs[0 if one else 1]) if part)


def quality_table(ledger: Ledger) -> pd.DataFrame:
    """What reading the log met; see :meth:`SessionLog.quality`."""
    checks = [*_rows(ledger), *_edges(ledger), *_order(ledger), *_content(ledger)]
    return pd.DataFrame(
        {
            "count": np.array([check.seen for check in checks], dtype=np.int64),
            "share": [check.seen / check.of if check.of else 0.0 for check in checks],
            "finding": pd.array([check.finding for check in checks], dtype="str"),
        },
        index=pd.Index([check.name for check in checks], name="check", dtype="str"),
    )


def _rows(ledger: Ledger) -> Iterator[Check]:
    """Rows left out, copies, and what is known of each row."""
    core, seen = ledger.core, ledger.core.seen
    yield Check("rows", seen.rows, seen.rows, f"{many(seen.rows, 'row')}, {many(core.sessions, 'session')}")
    yield Check(
        "rows without SessionId",
        seen.no_session,
        seen.rows,
        f"{many(seen.no_session, 'row')} without a session, left out of session results",
    )
    yield Check(
        "rows without TimeStamp",
        seen.no_time,
        seen.rows,
        f"{many(seen.no_time, 'row')} without a time: counted in n_events, left out of everything ordered",
    )
    yield Check(
        "duplicated rows dropped",
        seen.dropped,
        seen.rows,
        f"{many(seen.dropped, 'row')} given twice; chunked queries must be half-open ($gte, $lt) to avoid it",
    )
    yield Check(
        "duplicated rows suspected",
        seen.suspected,
        seen.rows,
        f"{many(seen.suspected, 'row', ('equals', 'equal'))} another, without a TransactionId: kept; "
        'duplicates="drop" removes them, asking for TransactionId decides it',
    )
    sources = {
        "column": "each row names its event",
        "query": "EventName was not asked for; the query had one event, so every row is that",
        "fields": "EventName was not asked for; inferred from which fields of an event are filled",
        "unknown": "EventName was not asked for and nothing else tells; ask for EventName",
    }
    names = "" if core.event is None else ", ".join(map(str, core.event[1]))
    yield Check("events", len(core.event[1]) if core.event else 0, 0, f"{sources[seen.event_source]}: {names}")
    yield Check(
        "trigger flags unreadable",
        seen.unread_triggers,
        seen.rows,
        f"{many(seen.unread_triggers, 'row')} with neither true nor false in IsTriggerAction, counted as not a trigger",
    )
    lacking = [name for name in NEEDS if not told(core, name)]
    if lacking:
        needed = sorted({core.fields.api_name(p) for name in lacking for p in NEEDS[name] if p in seen.absent})
        yield Check(
            "columns that cannot be told",
            len(lacking),
            0,
            f"{', '.join(lacking)} are NA: the frame lacks {', '.join(needed) or 'EventName'}; add to the query",
        )


def _edges(ledger: Ledger) -> Iterator[Check]:
    """Sessions that are not whole, and how that was decided."""
    core, endings, reading = ledger.core, ledger.endings, ledger.reading
    widen = ""
    if reading.window.known and core.timed:
        edges = suggested_window(ledger)
        widen = f"; widen it to {edges['$gte']} – {edges['$lte']}"
    for side, cut, verbs in (
        ("start", endings.left_cut, ("begins before", "begin before")),
        ("end", endings.right_cut, ("may go on after", "may go on after")),
    ):
        count = int(cut.sum())
        say = f"{many(count, 'session', verbs)} your window{widen if count else ''}"
        yield Check(f"sessions cut at the window's {side}", count, core.sessions, say)
    for kind in ("no_exit", "no_trigger"):
        count = int((endings.completeness == VALUES.index(kind)).sum())
        yield Check(f"sessions {kind}", count, core.sessions, f"{many(count, 'session')}: {COMPLETENESS[kind]}")
    unknown = int(np.isin(endings.completeness, [VALUES.index("unknown"), VALUES.index("unknown (filtered)")]).sum())
    why = completeness_rule(ledger) if unknown else "every session's completeness is known"
    if unknown and not reading.window.exits_asked:
        why = (
            "ApplicationExitEvent is not among the events fetched; add it to the query's data to know how sessions end"
        )
    yield Check("sessions of unknown completeness", unknown, core.sessions, f"{many(unknown, 'session')}: {why}")
    yield Check("rule used", 0, 0, completeness_rule(ledger))
    exits = core.count(core.is_exit)
    each = float(exits[exits > 0].mean()) if (exits > 0).any() else 0.0
    how = "as you said" if reading.exits_given else "as most sessions of several steps show"
    yield Check(
        "exit events",
        int(core.is_exit.sum()),
        len(core.rows),
        f"{each:.1f} per session that has any; read as one per {reading.exits}, {how}",
    )
    shown = core.nodes.label[reading.ends]
    origin = "you named them" if reading.ends_given else "never followed by another step"
    yield Check("end actions", len(shown), len(core.nodes), f"{', '.join(map(str, shown)) or 'none'} ({origin})")


def _order(ledger: Ledger) -> Iterator[Check]:
    """What the order of events rests on."""
    core, seen = ledger.core, ledger.core.seen
    rows = len(core.rows)
    yield Check(
        "rows out of order", seen.out_of_order, seen.rows, f"{many(seen.out_of_order, 'row')} came late; all are sorted"
    )
    yield Check(
        "tied rows",
        int(core.tied.sum()),
        rows,
        f"{many(int(core.tied.sum()), 'row', ('shares', 'share'))} session and time with another",
    )
    count = int((core.count(core.tied) > 0).sum())
    yield Check("sessions with ties", count, core.sessions, f"{many(count, 'session', ('holds', 'hold'))} equal times")
    resting = ledger.inner_moves.tied if core.timed else np.zeros(0, dtype=bool)
    yield Check(
        "transitions resting on a tie",
        int(resting.sum()),
        len(resting),
        f"{many(int(resting.sum()), 'transition')} in an order that times do not tell; "
        'ties="canonical" makes it the same however shards were joined',
    )


def _content(ledger: Ledger) -> Iterator[Check]:
    """Oddities inside sessions."""
    core, visits, endings = ledger.core, ledger.visits, ledger.endings
    flow = core.nodes.flow[visits.node] if len(core.nodes) else np.zeros(0, dtype=np.int64)
    changed = np.flatnonzero((visits.code[1:] == visits.code[:-1]) & (flow[1:] != flow[:-1]))
    count = len(np.unique(visits.code[changed]))
    yield Check(
        "sessions of several flows",
        count,
        core.sessions,
        f"{many(count, 'session', ('jumps', 'jump'))} to another flow",
    )
    late = int(endings.after.sum())
    yield Check(
        "steps after the end",
        late,
        len(visits),
        f"{many(late, 'step', ('follows', 'follow'))} the end: kept in timelines, not in drop-off",
    )
    bare = int((~(endings.exit >= 0)).sum())
    yield Check(
        "sessions without a last exit",
        bare,
        core.sessions,
        f"{many(bare, 'session')} whose last step has no exit event: outcome unknown",
    )
    several = int((core.count(core.is_exit) > 1).sum())
    yield Check(
        "sessions with several exits",
        several,
        core.sessions,
        f"{many(several, 'session')}; the last by EndTime decides",
    )
    odd = int(ledger.stays.odd.sum()) if core.timed else 0
    yield Check(
        "impossible times",
        odd,
        len(visits),
        f"{many(odd, 'step', ('ends', 'end'))} before the start, or started before the session: not in dwell figures",
    )
    single = int((np.diff(visits.offsets) == 1).sum())
    yield Check(
        "sessions of one step", single, core.sessions, f"{many(single, 'session')} of one step; medians include them"
    )
    plain = int((ledger.outcome == len(ledger.rules.outcomes)).sum())
    yield Check(
        "unclassified outcomes",
        plain,
        core.sessions,
        f"{many(plain, 'session', ('fits', 'fit'))} no outcome rule"
        + ("" if ledger.rules.outcomes else "; no rules were given"),
    )


def suggested_window(ledger: Ledger) -> dict[str, str]:
    """A window in which the cut sessions are whole; see :meth:`SessionLog.suggest_window`."""
    core, endings, window = ledger.core, ledger.endings, ledger.reading.window
    if window.low is None or window.high is None:
        raise FrameError(f"suggest_window() needs to know the window: {window.why}.")
    second = PER_SECOND[core.unit]
    whole = np.flatnonzero(endings.completeness == VALUES.index("complete"))
    lengths = (core.last() - core.first())[whole]
    usual = int(group_quantiles(np.zeros(len(lengths), np.int64), lengths, 1, (0.995,))[0][0]) if len(lengths) else 0
    # The margin on top: a session counts as ended only when its last event lies that far before the window's end.
    longest = usual + ledger.reading.margin
    low, high = window.low, window.high
    if endings.left_cut.any():
        epochs = core.epochs[endings.left_cut] if ledger.reading.epoch else np.zeros(0, dtype=np.int64)
        epochs = epochs[epochs != NAT]
        low = int(epochs.min()) - 60 * second if len(epochs) else low - longest
    if endings.right_cut.any():
        high += longest
    # Whole seconds, outwards: the API refuses fractions.
    edges = np.array([low // second, -(-high // second)], dtype=np.int64)
    start, end = times(edges, "s")
    return {"$gte": f"{start:%Y-%m-%dT%H:%M:%SZ}", "$lte": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
