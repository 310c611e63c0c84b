"""The stretch of time a log was fetched for, and whether it can still be trusted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import times
from .core import Core
from .fields import EXIT_EVENT


@dataclass(frozen=True)
class Window:
    """What is known about what the frame should hold.

    Attributes
    ----------
    low, high : int or None
        Both ends, in the core's unit; None when unknown.
    source : str
        ``argument``, ``query``, ``data`` (first and last time in the frame) or ``unknown``.
    why : str
        For ``unknown``: the reason, as a sentence a user can act on.
    filtered : bool
        The query had filters, so single records of a session may be missing.
    exits_asked : bool
        Whether ApplicationExitEvent was among the events fetched (seen in the rows, or in the query).
    """

    low: int | None
    high: int | None
    source: str
    why: str
    filtered: bool
    exits_asked: bool

    @property
    def known(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None


def find_window(core: Core, window: Any) -> Window:
    """The window of a log: as given, else as the query noted it on the frame.

    Parameters
    ----------
    core : Core
        Events in order.
    window : None, "data" or (start, end)
        ``"data"`` takes the first and last time in the frame. Times are anything pandas reads; without a zone they
        are UTC, as in a query.

    Returns
    -------
    Window
        Known, or unknown with the reason.

    Raises
    ------
    FrameError
        When ``window`` is none of these, or ends before it starts.
    """
    note, query = noted(core.frame)
    filtered = bool(query.get("filters"))
    asked = bool(core.is_exit.any()) or EXIT_EVENT in query.get("data", ())
    low = high = None
    why = ""
    if window is not None:
        source = "data" if isinstance(window, str) and window == "data" else "argument"
        low, high = _observed(core) if source == "data" else ends_of(core, window)
    elif note.get("window") and note.get("rows") == core.seen.rows:
        source = "query"
        low, high = ends_of(core, note["window"])
    else:
        source, why = "unknown", _why(note, core.seen.rows)
    return Window(low, high, source, why, filtered, asked)


def noted(frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the query wrote on the frame, and the query itself; empty where there is nothing."""
    note = frame.attrs.get("insights")
    note = note if isinstance(note, dict) else {}
    query = note.get("query")
    return note, query if isinstance(query, dict) else {}


def _why(note: dict[str, Any], rows: int) -> str:
    if note.get("window") and note.get("rows") is not None:
        return (
            f"the frame has {rows} rows and the query fetched {note['rows'] if note['rows'] >= 0 else 'others'}, "
            "so it was filtered since; "
            "make the log from the whole frame and use select()"
        )
    return (
        "nothing on the frame says which time it was fetched for; pass window=(start, end), or "
        'window="data" if it holds everything between its first and last time'
    )


def _observed(core: Core) -> tuple[int | None, int | None]:
    return (int(core.time.min()), int(core.time.max())) if len(core.time) else (None, None)


def ends_of(core: Core, window: Any, wanted_by: str = "window") -> tuple[int, int]:
    """Both ends of a pair of times as counts of the core's unit; without a zone they are UTC, as in a query.

    Raises
    ------
    FrameError
        When they are no pair of times, or the second lies before the first.
    """
    try:
        start, end = window
        stamps = [pd.Timestamp(edge) for edge in (start, end)]
    except (TypeError, ValueError) as error:
        reason = str(error)
    else:
        reason = ""
    if reason or any(pd.isna(stamp) for stamp in stamps):
        raise FrameError(
            f"{wanted_by}: {window!r} is not a pair of times{': ' + reason if reason else ''}.",
            'Write window=("2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"), or window="data".',
        )
    utc = [stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC") for stamp in stamps]
    low, high = (
        int(np.datetime64(stamp.tz_localize(None)).astype(f"M8[{core.unit}]").astype(np.int64)) for stamp in utc
    )
    if high < low:
        raise FrameError(f"{wanted_by}: {window!r} ends before it starts.", "Write the earlier time first.")
    return low, high


def span_text(core: Core, window: Window) -> str:
    """The window in words for a subtitle: ``2026-03-01 00:00 to 2026-03-08 00:00 UTC``, or what the rows cover."""
    if window.low is not None and window.high is not None:
        low, high, lead = window.low, window.high, ""
    elif len(core.time):
        low, high, lead = int(core.time.min()), int(core.time.max()), "events from "
    else:
        return "no times"
    first, last = times(np.array([low, high], dtype=np.int64), core.unit)
    return f"{lead}{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
