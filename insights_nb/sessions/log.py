"""``session_log(df)``: events to sessions, and the tables a troubleshooter reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import NAT
from .fields import Fields
from .ledger import Ledger
from .plots import Plots
from .prepare import gather, prepare
from .questions import Questions
from .reading import read
from .rules import OutcomeRules
from .steps import need_time
from .tables import Tables
from .visits import find_visits, transactions_shared
from .window import ends_of, find_window, noted

CHOICES = {
    "missing": ("drop", "raise"),
    "duplicates": ("auto", "keep", "drop"),
    "ties": ("input", "canonical"),
    "steps": ("auto", "event", "exit"),
    "exits": ("auto", "action", "flow"),
}


def session_log(
    df: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    session: Hashable = "SessionId",
    time: Hashable = "TimeStamp",
    action: Hashable = "ActionId",
    flow: Hashable = "FlowId",
    event: Hashable = "EventName",
    trigger: Hashable = "IsTriggerAction",
    window: Any = None,
    missing: str = "drop",
    duplicates: str = "auto",
    ties: str = "input",
    steps: str = "auto",
    exits: str = "auto",
    end_actions: Iterable[str] | None = None,
    rules: OutcomeRules | None = None,
    mask_input: bool = True,
) -> SessionLog:
    """Sort and encode events once; every table of the log is then array arithmetic.

    Parameters
    ----------
    df : DataFrame or mapping of event name to DataFrame
        Events, one row each: from ``query()``, or read by yourself. Only the session column is needed, and times
        for anything ordered; what another absent column would have told is NA, and ``quality()`` says why. Never
        changed.
    session, time, action, flow, event, trigger : column name
        Where the API's fields of these defaults are found.
    window : (start, end) or "data", optional
        The time the frame was fetched for, to tell which sessions were cut. By default what the query noted on the
        frame, if the frame still has all its rows. ``"data"`` means the first and last time in the frame. Without
        a window, sessions whose end is not certain are ``unknown``.
    missing : {"drop", "raise"}
        Rows without a session id are left out of session results, or refused.
    duplicates : {"auto", "keep", "drop"}
        ``auto`` drops rows equal in all columns that carry a TransactionId. Without one, equal rows may be real
        (one key pressed twice in a second): they are kept, with a warning.
    ties : {"input", "canonical"}
        Rows of one session at one time keep the frame's order, or take an order by content (TransactionId, then
        ActionId, …) that is the same however the shards were put together.
    steps : {"auto", "event", "exit"}
        What a step is: a visit of an action, every event, or every exit row (by StartTime).
    exits : {"auto", "action", "flow"}
        What an ApplicationExitEvent row says: that its action was left, or that the flow ended. ``auto`` decides
        from the log, and ``quality()`` reports which.
    end_actions : iterable of str, optional
        ActionIds (or labels) that end a session. By default those never followed by another step.
    rules : OutcomeRules, optional
        What exit reasons mean. Nothing is classified by default.
    mask_input : bool, default True
        Show DTMF input as ``••••``: it may be a PIN.

    Returns
    -------
    SessionLog
        The log. It keeps the frame, and adds about 60 bytes per row: 30 for the order, 30 for the steps.

    Raises
    ------
    FrameError
        No session column; times that carry no zone or are no times; a choice that is not known.

    Warns
    -----
    UserWarning
        When the query had filters, so completeness cannot be told; when rows look duplicated.
    """
    given = {"missing": missing, "duplicates": duplicates, "ties": ties, "steps": steps, "exits": exits}
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise FrameError(f"{name}={value!r} is not known.", f"Write one of {', '.join(map(repr, CHOICES[name]))}.")
    fields = Fields(session, time, action, flow, event, trigger)
    frame = gather(df, fields)
    _, query = noted(frame)
    core = prepare(frame, fields, missing=missing, duplicates=duplicates, ties=ties, query=query)
    # Rows of a frame with few columns are alike by nature: that is worth no warning.
    if core.seen.suspected and core.has("action") and core.has("event"):
        warnings.warn(
            f"{core.seen.suspected} rows equal another row in every column and carry no TransactionId: kept, since "
            f'a key pressed twice looks the same. duplicates="drop" removes them.',
            UserWarning,
            stacklevel=2,
        )
    found = find_window(core, window)
    if found.filtered:
        warnings.warn(
            "the query had filters, which may drop single events of a session: completeness is unknown. "
            "Use scope to choose whole sessions.",
            UserWarning,
            stacklevel=2,
        )
    visits = find_visits(core, steps, steps == "auto" and transactions_shared(core))
    reading = read(core, visits, found, exits, end_actions)
    ledger = Ledger(core, visits, reading, rules or OutcomeRules(), mask_input)
    return SessionLog(ledger if ledger.endings.eligible.any() else replace(ledger, everyone=True))


class SessionLog(Tables, Questions):
    """The sessions of a frame of events; made by :func:`session_log`.

    Parameters
    ----------
    ledger : Ledger
        Events in order and everything decided about them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __len__(self) -> int:
        return self.ledger.core.sessions

    def __repr__(self) -> str:
        core = self.ledger.core
        return f"<SessionLog: {len(self):,} sessions, {len(core.rows):,} events, {len(self.ledger.visits):,} steps>"

    @property
    def plot(self) -> Plots:
        """Charts of the log: ``log.plot.exits()``, ``log.plot.timeline(id)``."""
        return Plots(self)

    def explore(self, rows: int = 10) -> Any:
        """Open a panel to find sessions by what they did, and to read one of them.

        Parameters
        ----------
        rows : int, default 10
            Sessions a page.

        Returns
        -------
        Explorer
            Shown in a notebook as the panel. ``.ids`` are the sessions kept in it, or all that fit its filters;
            ``.selection`` is their log.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.explore()
        <Explorer: 4 of 4 sessions>
        """
        if not _PANEL:
            import_module("insights_nb.accessor")  # which says what the panel is
        return _PANEL[-1](self, rows)

    def select(self, which: pd.Series[bool] | Iterable[Any] | str | None = None, /, **where: Any) -> SessionLog:
        """Some of the sessions, whole, read the same way.

        Parameters
        ----------
        which : boolean Series on SessionId, id or iterable of ids, optional
            Sessions to keep. A boolean Series is matched by its index; sessions it does not name are left out.
        **where
            Columns of :meth:`sessions` and a value, a list of values or a callable on the column:
            ``log.select(exit_reason="Error", n_steps=lambda n: n > 10)``. All must hold.

        Returns
        -------
        SessionLog
            Decisions (what exits mean, margins, the window) stay those of the whole log.

        Raises
        ------
        FrameError
            For an id or a column that is not there.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.select(exit_reason="User Abandon")
        <SessionLog: 1 sessions, 4 events, 2 steps>
        >>> log.select(log.sessions()["n_repeats"] > 0)
        <SessionLog: 1 sessions, 7 events, 4 steps>
        """
        chosen = np.ones(len(self), dtype=bool) if which is None else self._side(which)
        for name, value in where.items():
            chosen &= self._where(name, value)
        return SessionLog(self.ledger.select(chosen))

    def starting_in(self, start: Any, end: Any) -> SessionLog:
        """The sessions that start in a stretch of time, so that each counts in exactly one stretch.

        Parameters
        ----------
        start, end : time
            Anything pandas reads; without a zone it is UTC. ``end`` is not included.

        Returns
        -------
        SessionLog
            By the first event where the session's beginning is known, else by the start in its id.

        Raises
        ------
        FrameError
            When the two are no times, or the frame has none.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> len(log.starting_in("2026-03-01T09:15", "2026-03-01T09:45"))
        2
        """
        core = self.ledger.core
        need_time(core, "starting_in()")
        low, high = ends_of(core, (start, end), "starting_in()")
        hint = core.epochs if self.ledger.reading.epoch else np.full(len(self), NAT, dtype=np.int64)
        begun = np.where(self.ledger.endings.start_known | (hint == NAT), core.first(), hint)
        return SessionLog(self.ledger.select((begun >= low) & (begun < high) & (begun != NAT)))

    def events(self) -> pd.DataFrame:
        """The events of the log's sessions, as they were given.

        Returns
        -------
        DataFrame
            The frame's columns and index labels; rows by session and time, those without a time left out. DTMF
            input is as it was fetched, not masked.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.select(outcome="abandoned").events()["EventName"].value_counts().to_dict()
        {'ApplicationExitEvent': 2, 'CallEvent': 1, 'DtmfEvent': 1}
        """
        return self.ledger.core.frame.iloc[self.ledger.core.rows]

    def _where(self, name: str, value: Any) -> Any:
        table = self.sessions()
        if name not in table.columns:
            raise FrameError(
                f"select({name}=...): sessions() has no column {name!r}.", f"It has {', '.join(map(str, table))}."
            )
        held = _holds(table[name], value)
        return pd.Series(held, index=table.index).astype("boolean").fillna(False).to_numpy(dtype=bool)


_PANEL: list[Callable[[SessionLog, int], Any]] = []


def explored_by(panel: Callable[[SessionLog, int], Any]) -> None:
    """Say what ``log.explore()`` opens: the panel is storeys above, and imports go down only."""
    _PANEL.append(panel)


def _holds(column: pd.Series, value: Any) -> Any:
    if callable(value):
        return value(column)
    if isinstance(value, (list, tuple, set, frozenset, pd.Index, np.ndarray)):
        return column.isin(list(value))
    return column == value
