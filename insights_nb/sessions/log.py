"""``session_log(df)``: events to sessions, and the tables a troubleshooter reads."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray
from .exits import exits_table
from .fields import Fields
from .ledger import Ledger
from .overview import sessions_table
from .plots import Plots
from .prepare import gather, prepare
from .quality import completeness_table
from .reading import read
from .rules import OutcomeRules
from .steps import find_sessions, need_time, steps_table, timeline_table
from .visits import find_visits, transactions_shared
from .window import find_window, noted

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
        The log. It keeps the frame, and adds about 30 bytes per row.

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


class SessionLog:
    """The sessions of a frame of events; made by :func:`session_log`.

    Parameters
    ----------
    ledger : Ledger
        Events in order and everything decided about them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._sessions: pd.DataFrame | None = None

    def __len__(self) -> int:
        return self.ledger.core.sessions

    def __repr__(self) -> str:
        core = self.ledger.core
        return f"<SessionLog: {len(self):,} sessions, {len(core.rows):,} events, {len(self.ledger.visits):,} steps>"

    @property
    def plot(self) -> Plots:
        """Charts of the log: ``log.plot.exits()``, ``log.plot.timeline(id)``."""
        return Plots(self)

    def sessions(self) -> pd.DataFrame:
        """One row per session.

        Returns
        -------
        DataFrame
            Index ``SessionId`` (str, ascending). Columns:

            * ``start``, ``end``: time of the first and last event (datetime64, UTC, in the frame's resolution);
            * ``duration``: last minus first event (timedelta64; 0 for a single event);
            * ``n_events`` (rows without a time included), ``n_steps``, ``n_actions`` (distinct), ``n_flows``
              (distinct), ``n_exits``, ``n_dtmf``, ``n_no_input``, ``n_no_match``, ``n_errors`` (events whose
              ErrorReason is neither of the two), ``n_repeats`` (visits of an action visited before), ``n_tied``
              (events sharing their time): int32;
            * ``flow`` (of the first step), ``entry_action``, ``last_action`` (first and last step seen, before the
              end), ``exit_action``, ``exit_reason``, ``exit_path`` (of the last step's exit event; NA without
              one), ``outcome`` (by the rules), ``completeness``: category of str;
            * ``has_trigger``; ``has_exit``: the last step has its exit event (bool);
            * ``max_gap``: longest silence between two events (timedelta64, NaT for one event);
            * ``session_start_hint``: start by the SessionId's first ten digits (datetime64, UTC; NaT where they
              are no time or disagree with the log);
            * ``variant``: rank of the path in ``variants()``, from 1 (int32).

            A count or flag whose fields the frame lacks is NA, as Int32 or boolean.

        Notes
        -----
        ``completeness`` is one of ``complete``, ``no_exit`` (the two that rates count), ``cut_start``, ``cut_end``,
        ``cut_both``, ``no_trigger``, ``unknown``, ``unknown (filtered)``; see :meth:`completeness`.
        """
        if self._sessions is None:
            self._sessions = sessions_table(self.ledger)
        return self._sessions.copy(deep=False)

    def exits(self, by: str = "exit_reason", freq: str | None = None, level: str = "session") -> pd.DataFrame:
        """How sessions end.

        Parameters
        ----------
        by : str, default "exit_reason"
            ``exit_reason``, ``exit_path``, ``exit_action``, ``flow``; at session level also ``last_action``,
            ``outcome``, ``completeness``.
        freq : str, optional
            A pandas length of time such as ``"1h"``: count per stretch of time instead. A session belongs to the
            stretch of its **start**, and to no other.
        level : {"session", "event"}
            Count sessions by the exit that ended them, or every exit event.

        Returns
        -------
        DataFrame
            Index ``by`` (str; ``(missing)`` where there is no word), most first, equal counts in text order.
            Columns ``sessions`` (int64), ``share`` (float, of the sessions counted), ``median_duration``
            (timedelta64). At event level ``exits`` (int64) comes first, ``share`` is of exit events, and
            ``median_duration`` is of EndTime − StartTime.
            With ``freq``: index ``start`` (UTC), one int64 column per word, most first; empty stretches are zeros.

            Sessions are those whose beginning and end lie in the window (``complete``, ``no_exit``); ``attrs`` holds
            ``sessions``, ``counted`` and ``left_out`` (by completeness). Where no session's end can be known, all
            are counted.

        Raises
        ------
        FrameError
            For a ``by``, ``freq`` or ``level`` that is not known, or a field the frame lacks.
        """
        return exits_table(self.ledger, by, freq, level)

    def steps(self) -> pd.DataFrame:
        """One row per step: a visit of an action.

        Returns
        -------
        DataFrame
            In the order of sessions, then steps. Columns ``SessionId`` (str); ``step`` (int32, from 1); ``flow``,
            ``action``, ``action_name`` (category); ``enter``, ``leave`` (datetime64, UTC; ``leave`` NaT where
            unknown); ``dwell`` (timedelta64, NaT where unknown, negative where EndTime is before StartTime);
            ``dwell_source`` (category: ``exit_event``, ``next_step``, ``none``); ``n_events`` (int32);
            ``nth_visit`` (int32, 1 for the first visit of the action in its session); ``exit_reason``,
            ``exit_path`` (category); ``input_len`` (Int16, length of the last DTMF input); ``input_error``
            (category, last ErrorReason); ``tied`` (bool, an event shares its time); ``after_exit`` (bool, after
            the session's end).

        Raises
        ------
        FrameError
            When the frame has no times.
        """
        return steps_table(self.ledger)

    def timeline(self, ids: Any) -> pd.DataFrame:
        """The events of a few sessions, in order.

        Parameters
        ----------
        ids : str or iterable of str
            SessionIds.

        Returns
        -------
        DataFrame
            One row per event that has a time; sessions by id. Columns ``SessionId`` (str), ``TimeStamp``
            (datetime64, UTC), ``step`` (Int32), ``offset`` (timedelta64 since the session's first event), ``gap``
            (timedelta64 since the event before, NaT for the first), ``EventName``, ``action``, ``exit_reason``,
            ``exit_path`` (category), ``input`` (str; ``••••`` unless ``mask_input=False``), ``flags`` (str:
            ``error``, ``tied``, ``repeat``, ``long gap``, ``after exit``, joined by commas).

        Raises
        ------
        FrameError
            For an id the log does not hold, or without times.
        """
        need_time(self.ledger.core, "timeline()")
        return timeline_table(self.ledger.select(find_sessions(self.ledger.core, ids, "timeline()")))

    def completeness(self) -> pd.DataFrame:
        """How many sessions are whole: the first thing to ask.

        Returns
        -------
        DataFrame
            Index ``completeness`` (str): ``complete``, ``no_exit``, ``cut_start``, ``cut_end``, ``cut_both``,
            ``no_trigger``, ``unknown``, ``unknown (filtered)``, always all of them and in this order. Columns
            ``sessions`` (int64), ``share`` (float), ``meaning`` (str). ``attrs["rule"]`` says how it was decided.
        """
        return completeness_table(self.ledger)

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
        """
        chosen = np.ones(len(self), dtype=bool) if which is None else self._chosen(which)
        for name, value in where.items():
            chosen &= self._where(name, value)
        return SessionLog(self.ledger.select(chosen))

    def _chosen(self, which: Any) -> BoolArray:
        core = self.ledger.core
        if isinstance(which, pd.Series) and pd.api.types.is_bool_dtype(which.dtype):
            aligned = which.astype("boolean").reindex(core.ids)
            return aligned.fillna(False).to_numpy(dtype=bool)
        if isinstance(which, np.ndarray) and which.dtype == bool:
            if len(which) != core.sessions:
                raise FrameError(f"the mask has {len(which)} values, the log {core.sessions} sessions.")
            return which.copy()
        return find_sessions(core, which, "select()")

    def _where(self, name: str, value: Any) -> BoolArray:
        table = self.sessions()
        if name not in table.columns:
            raise FrameError(
                f"select({name}=...): sessions() has no column {name!r}.", f"It has {', '.join(map(str, table))}."
            )
        held = _holds(table[name], value)
        return pd.Series(held, index=table.index).astype("boolean").fillna(False).to_numpy(dtype=bool)


def _holds(column: pd.Series, value: Any) -> Any:
    if callable(value):
        return value(column)
    if isinstance(value, (list, tuple, set, frozenset, pd.Index, np.ndarray)):
        return column.isin(list(value))
    return column == value
