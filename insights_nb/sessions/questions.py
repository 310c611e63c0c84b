"""The questions a troubleshooter asks of a log: milestones, circles, before and after, prompts, what differs."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .around import around_table
from .circles import loops_table
from .columns import BoolArray
from .compare import compare_table
from .grid import step_matrix_table
from .keys import dtmf_table
from .kpis import kpis_table
from .ledger import Ledger
from .milestones import funnel_table
from .steps import find_sessions


class Questions:
    """What every :class:`SessionLog` answers. The examples are of the log in :mod:`insights_nb.sessions.example`."""

    ledger: Ledger

    def funnel(self, steps: Any, within: Any = None, ordered: bool = True) -> pd.DataFrame:
        """How many sessions reach each milestone.

        Parameters
        ----------
        steps : list
            Milestones, each an action (label or ActionId), an exit reason, a list of these (any of them), or a
            boolean mask over the frame's rows or over :meth:`steps`.
        within : str or Timedelta, optional
            A milestone counts only if reached within this time of the first one.
        ordered : bool, default True
            Each milestone must come after the one before it (its first visit there). Otherwise all must be
            visited, in any order.

        Returns
        -------
        DataFrame
            Index ``step`` (str). Columns ``sessions`` (int64, complete sessions that got here), ``conversion``
            (float, of all complete sessions), ``step_conversion`` (float, of those at the milestone before),
            ``drop_off`` (float, 1 − ``step_conversion``), ``median_time_from_prev`` (timedelta64, NaT for the first
            and without order), ``cut`` (int64, sessions not complete that reached the milestone before and not
            this one: the data stops there, they did not drop out).

        Raises
        ------
        FrameError
            For a name the log does not hold, or a frame without times.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.funnel(["MENU_1", "END_CALL"])[["sessions", "conversion", "cut"]]
                  sessions  conversion  cut
        step
        MENU_1           3    1.000000    0
        END_CALL         2    0.666667    1
        """
        return funnel_table(self.ledger, steps, within, ordered)

    def loops(self, min_visits: int = 2) -> pd.DataFrame:
        """Where callers go round in circles.

        Parameters
        ----------
        min_visits : int, default 2
            A session counts when it came back that way at least ``min_visits - 1`` times.

        Returns
        -------
        DataFrame
            One row per action and kind, most sessions first. Columns ``action``, ``kind`` (category): a visit of an
            action visited before is ``self`` when it follows the same action, ``ping_pong`` when one other action
            lies between, else ``return``; ``sessions``, ``repeats`` (int64, such visits), ``max_visits`` (int32, of
            the action in one of these sessions), ``extra_time`` (timedelta64, dwell of the repeated visits, summed).

        Raises
        ------
        FrameError
            When the frame has no times or no actions.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.loops()
           action  kind  sessions  repeats  max_visits      extra_time
        0  MENU_1  self         1        1           2 0 days 00:00:05
        """
        return loops_table(self.ledger, min_visits)

    def before(self, x: Any, n: int = 5, occurrence: str = "first") -> pd.DataFrame:
        """What came just before.

        Parameters
        ----------
        x : str, list or mask
            An action, an exit reason, a list of these, or a boolean mask over the frame's rows or over
            :meth:`steps`.
        n : int, default 5
            How many steps to look at.
        occurrence : {"first", "last"}
            Which of a session's occurrences.

        Returns
        -------
        DataFrame
            One row per path, most sessions first. Columns ``path`` (tuple of str, the oldest step first, without
            ``x`` itself; begins with ``(start)`` where the session does), ``sessions`` (int64), ``share`` (float,
            of the sessions with an ``x``), ``example`` (str, a SessionId).

        Raises
        ------
        FrameError
            For a name the log does not hold, or a frame without times.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.before("END_CALL", n=2)[["path", "sessions"]]
                          path  sessions
        0  (INBOUND_1, MENU_1)         1
        1     (MENU_1, MENU_1)         1
        """
        return around_table(self.ledger, x, n, occurrence, -1)

    def after(self, x: Any, n: int = 5, occurrence: str = "first") -> pd.DataFrame:
        """What comes next.

        Parameters
        ----------
        x, n, occurrence
            As in :meth:`before`.

        Returns
        -------
        DataFrame
            As :meth:`before`; paths run from the nearest step on and end with ``(end)`` where the session does.

        Raises
        ------
        FrameError
            As :meth:`before`.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.after("MENU_1", n=1)[["path", "sessions", "share"]]
                    path  sessions  share
        0    (END_CALL,)         1   0.25
        1      (MENU_1,)         1   0.25
        2  (TRANSFER_1,)         1   0.25
        3       ((end),)         1   0.25
        """
        return around_table(self.ledger, x, n, occurrence, 1)

    def dtmf(self, by: str = "action", top_inputs: int | None = None) -> pd.DataFrame:
        """What prompts heard.

        Parameters
        ----------
        by : {"action", "flow", "action_name", "region"}
            What to split by.
        top_inputs : int, optional
            Also list the most frequent inputs. Inputs of more than two characters are masked unless the log was
            made with ``mask_input=False``.

        Returns
        -------
        DataFrame
            Index ``by`` (str), most prompts first. Columns ``prompts`` (visits with a DtmfEvent), ``filled`` (with
            an input; a blank one is not "no input", as flows may choose not to store it), ``no_input``,
            ``no_match``, ``other_error`` (visits with such an ErrorReason, by ``OutcomeRules.no_input`` and
            ``no_match``): int64; ``error_rate``, ``ci_low``, ``ci_high`` (float, visits with any of the three, and
            Wilson bounds); ``distinct_inputs`` (int64); with ``top_inputs`` a column of that name (str).

        Raises
        ------
        FrameError
            For a ``by`` that is not known or whose field the frame lacks.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.dtmf(top_inputs=2)[["prompts", "filled", "no_input", "no_match", "top_inputs"]]
                prompts  filled  no_input  no_match    top_inputs
        action
        MENU_1        4       3         1         0  1 (2), 2 (1)
        """
        return dtmf_table(self.ledger, by, top_inputs)

    def kpis(self, by: str | None = None, freq: str | None = None) -> pd.DataFrame:
        """Is the flow doing its job: the rates that belong together.

        Parameters
        ----------
        by : str, optional
            A category column of :meth:`sessions`.
        freq : str, optional
            A fixed length of time such as ``"1h"``; a session belongs to the stretch of its start.

        Returns
        -------
        DataFrame
            Index ``kpi`` (with ``by`` and ``start`` before it). Columns ``value`` (float), ``count``, ``n`` (int64:
            value = count / n for rates), ``ci_low``, ``ci_high`` (float, Wilson; NaN where there is none). In order:

            * of complete sessions: ``containment_rate`` (not transferred; hang-ups count as contained, so read it
              beside the others), ``completion_rate``, ``abandonment_rate``, ``transfer_rate``, ``error_exit_rate``,
              ``unclassified_rate``, ``unknown_rate``, then one rate for every other outcome. From
              ``completion_rate`` on they sum to 1. NaN where the rules do not name that outcome;
            * ``no_interaction_rate``: complete sessions without a DTMF event (they look contained);
            * ``no_input_rate``, ``no_match_rate``: of visits with a DTMF event;
            * ``repeat_rate``: sessions that visit an action twice; ``loops_per_session``: such visits per session;
            * ``session_duration_median_s``, ``session_duration_p95_s`` (seconds), ``steps_median``: complete
              sessions.

        Raises
        ------
        FrameError
            For a ``by`` or ``freq`` that is not known, or a frame without times.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.kpis().loc[["completion_rate", "abandonment_rate", "repeat_rate"], ["value", "count", "n"]]
                             value  count  n
        kpi
        completion_rate   0.666667      2  3
        abandonment_rate  0.333333      1  3
        repeat_rate       0.250000      1  4
        """
        return kpis_table(self.ledger, by, freq)

    def compare(
        self,
        selected: Any,
        baseline: Any = None,
        fields: Any = None,
        adjust: str | None = "n_steps",
        top: int | None = 20,
    ) -> pd.DataFrame:
        """What is different about some sessions.

        Parameters
        ----------
        selected : SessionLog, ids or boolean Series
            The sessions in question, as in ``select``.
        baseline : SessionLog, ids or boolean Series, optional
            Whom to compare them with; by default all others.
        fields : str or list of str, optional
            ``action`` (visited), ``transition`` (taken), ``entry_action``, ``region``, ``flow``, ``hour``,
            ``weekday`` (UTC, of the start), which are the default, or any column of :meth:`sessions`.
        adjust : "n_steps" or None, default "n_steps"
            Longer sessions visit more of everything. ``adj_diff`` is the difference between sessions of the same
            number of steps (Mantel-Haenszel); None takes sessions as they are.
        top : int or None, default 20
            Rows to show.

        Returns
        -------
        DataFrame
            Largest absolute ``adj_diff`` first. Columns ``field``, ``value`` (str); ``n_selected``, ``n_rest``
            (int64); ``share_selected``, ``share_rest`` (float); ``diff`` with ``ci_low`` and ``ci_high`` (float,
            selected − rest, Newcombe); ``lift`` (float, ratio of the shares, NaN where the rest has none);
            ``adj_diff`` (float, NaN where no number of steps occurs on both sides); ``ks`` (NaN). A numeric column
            has one row: ``value`` ``(median)``, the medians in place of the shares, their difference, and ``ks``,
            the Kolmogorov-Smirnov distance, by which it is ranked.

        Raises
        ------
        FrameError
            For a field that is not known, sessions on both sides, or a frame without times.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> bad = log.select(outcome="abandoned")
        >>> log.compare(bad, fields="region")[["value", "share_selected", "share_rest", "diff"]]
              value  share_selected  share_rest  diff
        0  US:US-CA             0.0         1.0  -1.0
        1  US:US-TX             1.0         0.0   1.0
        """
        one = self._side(selected)
        two = ~one if baseline is None else self._side(baseline)
        return compare_table(self.ledger, one, two, fields, adjust, top)

    def step_matrix(self, n: int = 10, align: str = "start") -> pd.DataFrame:
        """Which share of sessions is where after how many steps.

        Parameters
        ----------
        n : int, default 10
            How many steps to show (on either side of an action).
        align : str, default "start"
            ``"start"``, ``"end"``, or an action, whose first visit is step 0.

        Returns
        -------
        DataFrame
            Index ``action`` (str), most frequent first, then ``(ended)`` and, where it occurs, ``(not begun)``;
            columns ``step`` (int): 1 to n, 1 − n to 0, or −n to n. Floats; each column sums to 1. Complete sessions
            only (with an action: those that visit it).

        Raises
        ------
        FrameError
            For an action the log does not hold, or a frame without times or actions.

        Examples
        --------
        >>> from insights_nb.sessions.example import log
        >>> log.step_matrix(n=3).round(2)
        step         1    2     3
        action
        MENU_1     0.0  1.0  0.33
        INBOUND_1  1.0  0.0  0.00
        END_CALL   0.0  0.0  0.33
        (ended)    0.0  0.0  0.33
        """
        return step_matrix_table(self.ledger, n, align)

    def _side(self, which: Any) -> BoolArray:
        """A set of sessions as a mask: a log, a boolean Series or array, or ids."""
        core = self.ledger.core
        if isinstance(which, Questions):
            inside = np.asarray(core.ids.isin(which.ledger.core.ids))
            if inside.sum() != which.ledger.core.sessions:
                raise FrameError("compare(): the log given holds sessions that this one does not.")
            return inside
        if isinstance(which, pd.Series) and pd.api.types.is_bool_dtype(which.dtype):
            return which.astype("boolean").reindex(core.ids).fillna(False).to_numpy(dtype=bool)
        if isinstance(which, np.ndarray) and which.dtype == bool:
            if len(which) != core.sessions:
                raise FrameError(f"the mask has {len(which)} values, the log {core.sessions} sessions.")
            return which.copy()
        return find_sessions(core, which, "select()")
