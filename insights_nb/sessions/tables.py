"""The tables of a log: sessions, steps, exits, actions, transitions, variants, and how far to trust them."""

from typing import Any

import pandas as pd

from .actions import actions_table
from .exits import exits_table
from .ledger import Ledger
from .overview import sessions_table
from .paths import variants_table
from .quality import completeness_table, quality_table, suggested_window
from .steps import find_sessions, need_time, steps_table, timeline_table
from .transitions import transitions_table


class Tables:
    """The tables every :class:`SessionLog` has. The examples are of the log in :mod:`insights_nb.sessions.example`."""

    ledger: Ledger
    _sessions: pd.DataFrame | None = None

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

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.sessions().reset_index()[["n_steps", "duration", "last_action", "exit_reason", "completeness"]]
           n_steps        duration last_action      exit_reason completeness
        0        3 0 days 00:00:07    END_CALL  Call Successful     complete
        1        4 0 days 00:00:17    END_CALL  Call Successful     complete
        2        2 0 days 00:00:09      MENU_1     User Abandon     complete
        3        3 0 days 00:00:15  TRANSFER_1              NaN      cut_end
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

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.exits()
                         sessions     share median_duration
        exit_reason
        Call Successful         2  0.666667 0 days 00:00:12
        User Abandon            1  0.333333 0 days 00:00:09
        >>> log.exits().attrs["left_out"]
        {'cut_end': 1}
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

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.steps()[["step", "action", "dwell", "nth_visit", "exit_reason", "input_error"]].iloc[3:7]
           step     action           dwell  nth_visit      exit_reason input_error
        3     1  INBOUND_1 0 days 00:00:02          1           Normal         NaN
        4     2     MENU_1 0 days 00:00:09          1          Timeout    No Input
        5     3     MENU_1 0 days 00:00:05          2           Normal         NaN
        6     4   END_CALL 0 days 00:00:01          1  Call Successful         NaN
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

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> third = log.sessions().index[2]
        >>> log.timeline(third)[["step", "offset", "EventName", "action", "exit_reason", "input"]]
           step          offset             EventName     action   exit_reason input
        0     1 0 days 00:00:00             CallEvent  INBOUND_1           NaN   NaN
        1     1 0 days 00:00:02  ApplicationExitEvent  INBOUND_1        Normal   NaN
        2     2 0 days 00:00:06             DtmfEvent     MENU_1           NaN  ••••
        3     2 0 days 00:00:09  ApplicationExitEvent     MENU_1  User Abandon   NaN
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

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.completeness()["sessions"].head(4).to_dict()
        {'complete': 3, 'no_exit': 0, 'cut_start': 0, 'cut_end': 1}
        """
        return completeness_table(self.ledger)

    def quality(self) -> pd.DataFrame:
        """Can these numbers be trusted? Ask first.

        Returns
        -------
        DataFrame
            Index ``check`` (str). Columns ``count`` (int64), ``share`` (float, of the rows, sessions or steps the
            check is about; 0 where it is about none), ``finding`` (str): what was seen, and what to do about it.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> print(log.quality()["finding"]["sessions cut at the window's end"])
        1 session may go on after your window; widen it to 2026-03-01T09:00:00Z – 2026-03-01T10:01:17Z
        """
        return quality_table(self.ledger)

    def suggest_window(self) -> dict[str, str]:
        """A window in which the sessions that were cut are whole.

        Returns
        -------
        dict of str
            ``$gte`` and ``$lte``, ready for the query's ``timestamp``: whole seconds, UTC. A side where nothing was
            cut stays. Fetch again with it, then take ``log.starting_in(start, end)`` of the **old** window, so that
            each session counts in exactly one window. ``scope`` cannot help: the time range limits it too.

        Raises
        ------
        FrameError
            When the window is not known.

        Notes
        -----
        The start is that of the earliest cut session by its id, less a minute; the end moves by the 99.5th
        percentile of the duration of complete sessions, and by the margin within which no end is certain.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.suggest_window()
        {'$gte': '2026-03-01T09:00:00Z', '$lte': '2026-03-01T10:01:17Z'}
        """
        return suggested_window(self.ledger)

    def actions(self) -> pd.DataFrame:
        """The waterfall report: for each action who comes, who leaves, and how long it takes.

        Returns
        -------
        DataFrame
            Index ``action`` (str), most visits first. Columns ``visits``, ``sessions`` (int64); ``reach`` (float,
            share of all sessions); ``first_here`` (int64, sessions known to begin here); ``ended_here`` (int64,
            complete sessions whose last step is here); ``drop_off`` with ``drop_off_low`` and ``drop_off_high``
            (float, of the complete sessions visiting, and its Wilson bounds; NaN for an end action listed in
            ``end_actions``); ``no_input``, ``no_match``, ``errors`` (int64, events); ``transfers`` (int64, complete
            sessions visiting whose outcome is ``transferred``); ``repeat_sessions`` (int64, that visit it twice or
            more); ``max_visits`` (int32); ``median_time``, ``p95_time`` (timedelta64, dwell, interpolated
            linearly); ``time_source`` (category: ``exit_event``, ``next_step``, ``mixed``, ``none``); ``next_top``
            (category, the most frequent next action or ``(end)``).

            Steps after a session's end are left out.

        Raises
        ------
        FrameError
            When the frame has no times or no actions.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.actions()[["visits", "sessions", "ended_here", "next_top"]]
                    visits  sessions  ended_here  next_top
        action
        MENU_1           5         4           1  END_CALL
        INBOUND_1        4         4           0    MENU_1
        END_CALL         2         2           2     (end)
        TRANSFER_1       1         1           0       NaN
        """
        return actions_table(self.ledger)

    def transitions(self, by: str | None = None, ends: bool = True) -> pd.DataFrame:
        """Where sessions go next.

        Parameters
        ----------
        by : str, optional
            A category column of :meth:`sessions` to split by (``"outcome"``, ``"flow"``, …); it becomes the first
            column.
        ends : bool, default True
            With ``(start)`` and ``(end)``, for sessions whose beginning and end are known.

        Returns
        -------
        DataFrame
            One row per pair seen, most frequent first, equal counts in label order. Columns ``source``, ``target``
            (category); ``count``, ``sessions`` (int64); ``probability`` (float, share of what leaves the source);
            ``share`` (float, of all rows' count); ``median``, ``p95`` (timedelta64, from entering the source to
            entering the target; NaT for ``(start)`` and ``(end)``); ``jump`` (bool, to another flow).
            ``DataFrame.pivot`` makes a matrix of it.

        Raises
        ------
        FrameError
            When the frame has no times or no actions, or ``by`` is no category.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.transitions()[["source", "target", "count", "probability"]].head(4)
              source     target  count  probability
        0    (start)  INBOUND_1      4          1.0
        1  INBOUND_1     MENU_1      4          1.0
        2   END_CALL      (end)      2          1.0
        3     MENU_1   END_CALL      2          0.4
        """
        return transitions_table(self.ledger, by, ends)

    def variants(self, top: int | None = 20, collapse_repeats: bool = True) -> pd.DataFrame:
        """Which whole paths sessions took, and how those ended.

        Parameters
        ----------
        top : int or None, default 20
            How many to show, most sessions first; None for all.
        collapse_repeats : bool, default True
            An action visited several times in a row counts once.

        Returns
        -------
        DataFrame
            Index ``variant`` (rank from 1; equal sizes in the order of their labels). Columns ``path`` (tuple of
            str), ``n_steps`` (int32, of the path shown), ``sessions`` (int64), ``share``, ``cum_share`` (float, of
            all sessions), ``median_duration``, ``p95_duration`` (timedelta64), ``share_<outcome>`` (float, one per
            outcome), ``example`` (str, a SessionId). Cut sessions are among them, with the part that was seen.

        Raises
        ------
        FrameError
            When the frame has no times or no actions.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> for row in log.variants().itertuples():
        ...     print(row.Index, row.sessions, " ▸ ".join(row.path))
        1 2 INBOUND_1 ▸ MENU_1 ▸ END_CALL
        2 1 INBOUND_1 ▸ MENU_1
        3 1 INBOUND_1 ▸ MENU_1 ▸ TRANSFER_1
        """
        return variants_table(self.ledger, top, collapse_repeats)
