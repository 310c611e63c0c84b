"""A log and everything decided about it, in one value: what each table is a function of."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from .columns import BoolArray, IntArray
from .core import Core
from .endings import Endings, find_endings
from .moves import Moves, find_moves
from .reading import Reading
from .rules import UNKNOWN, OutcomeRules
from .stays import Stays, find_stays
from .variants import Variants, group_paths, session_paths
from .visits import Visits


@dataclass(frozen=True, eq=False)
class Ledger:
    """The shared ground of all tables, so that their numbers agree.

    Attributes
    ----------
    core, visits, reading
        Events in order, the steps, and how the log is read.
    rules : OutcomeRules
        What exit reasons mean.
    masked : bool
        Whether DTMF input is hidden in every table.
    everyone : bool
        Whether shares count every session, because no session's end can be known.
    """

    core: Core
    visits: Visits
    reading: Reading
    rules: OutcomeRules
    masked: bool
    everyone: bool = False

    @cached_property
    def endings(self) -> Endings:
        """Where each session begins and ends."""
        return find_endings(self.core, self.visits, self.reading)

    @cached_property
    def stays(self) -> Stays:
        """When each visit was entered and left."""
        return find_stays(self.core, self.visits, self.reading)

    @cached_property
    def _moves(self) -> tuple[Moves, int]:
        return find_moves(self.core, self.visits, self.stays, self.endings)

    @property
    def moves(self) -> Moves:
        """Every step from one visit to the next before the end, then those from the start and to the end."""
        return self._moves[0]

    @property
    def inner_moves(self) -> Moves:
        """The steps from one visit to the next alone."""
        return self._moves[0].first(self._moves[1])

    @cached_property
    def variants(self) -> Variants:
        """Sessions grouped by their paths, in which an action repeated at once stands once."""
        return group_paths(session_paths(self.core, self.visits, self.endings, collapse_repeats=True))

    @cached_property
    def counted(self) -> BoolArray:
        """Sessions that shares are taken of: the eligible ones, or all where none can be known to be eligible."""
        return np.ones(self.core.sessions, dtype=bool) if self.everyone else self.endings.eligible

    @cached_property
    def reason(self) -> tuple[IntArray, pd.Index]:
        """ExitReason of the exit row that ended each session, as codes and words."""
        return self._of_exit("reason")

    @cached_property
    def path(self) -> tuple[IntArray, pd.Index]:
        """Path of the exit row that ended each session, as codes and words."""
        return self._of_exit("path")

    def _of_exit(self, part: str) -> tuple[IntArray, pd.Index]:
        exits = self.endings.exit
        held = exits >= 0
        codes, values = self.core.words_at(part, exits[held])
        out = np.full(self.core.sessions, -1, dtype=np.int64)
        out[held] = codes
        return out, values

    @cached_property
    def last_node(self) -> IntArray:
        """Node of each session's last step before its end, -1 without one."""
        return np.append(self.visits.node, -1)[self.endings.last_visit].astype(np.int64)

    @cached_property
    def pairs(self) -> IntArray:
        """The distinct (session, node) pairs of all visits, as ``session * K + node``, sorted by session."""
        first = np.flatnonzero(self.visits.nth == 1)
        width = np.int64(max(len(self.core.nodes), 1))
        return np.asarray(self.visits.code[first] * width + self.visits.node[first])

    @cached_property
    def outcome(self) -> IntArray:
        """Outcome of each session, as a position in ``rules.names``."""
        (reason, reasons), (path, paths), last = self.reason, self.path, self.last_node
        out = np.full(self.core.sessions, self.rules.names.index(UNKNOWN), dtype=np.int64)
        told = np.flatnonzero((self.endings.exit >= 0) & (self.endings.end_known | self.everyone))
        if not len(told):
            return out
        # A rule is asked once for each distinct way of ending, however many sessions there are.
        width, height = len(self.core.nodes) + 1, len(paths) + 1
        key = ((reason[told] + 1) * height + path[told] + 1) * width + last[told] + 1
        ways, which = np.unique(key, return_inverse=True)
        node = ways % width - 1
        table = pd.DataFrame(
            {
                "exit_reason": _spelt(reasons, ways // width // height - 1),
                "exit_path": _spelt(paths, ways // width % height - 1),
                "last_action": _spelt(self.core.nodes.label, node),
                "action_id": _spelt(self.core.nodes.action, node),
            }
        )
        out[told] = self.rules.classify(table).to_numpy()[which]
        return out

    def select(self, chosen: BoolArray) -> "Ledger":
        """The ledger of some of the sessions, read the same way."""
        return replace(self, core=self.core.select(chosen), visits=self.visits.select(self.core, chosen))


def _spelt(values: pd.Index, codes: IntArray) -> pd.Series:
    """Codes as words, -1 as NA."""
    return pd.Series(pd.array([None if c < 0 else values[c] for c in codes.tolist()], dtype="str"))
