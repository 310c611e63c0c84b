"""Which sessions of a log fit what somebody looks for: found by array arithmetic, shown a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from insights_nb.sessions import SessionLog

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MISSING = "(missing)"
ORDERS = {
    "start": "start",
    "duration": "duration",
    "steps": "n_steps",
    "repeats": "n_repeats",
    "no input": "n_no_input",
    "no match": "n_no_match",
    "errors": "n_errors",
}
"""What a list of sessions can be ordered by, and the column of ``sessions()`` that holds it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for; all of it must hold. Empty texts and None ask for nothing.

    Parameters
    ----------
    outcome, exit_reason, flow : str
        As in ``sessions()``; ``(missing)`` for none.
    action, left_with : str
        An action that was visited, and the exit reason of a step; with both, of the same step.
    shortest, longest : float or None
        Seconds from the first to the last event.
    text : str
        Part of the session's id.
    variant : int or None
        Rank of the path, as in ``variants()``.
    """

    outcome: str = ""
    exit_reason: str = ""
    flow: str = ""
    action: str = ""
    left_with: str = ""
    shortest: float | None = None
    longest: float | None = None
    text: str = ""
    variant: int | None = None


class Shortlist:
    """The sessions of a log, ready to be searched.

    Parameters
    ----------
    log : SessionLog
        Read once; about 40 bytes a session and 12 a step are kept beside it.
    """

    def __init__(self, log: SessionLog) -> None:
        self.table = log.sessions()
        self.ids = self.table.index
        self._words = {name: _words(self.table[name]) for name in ("outcome", "exit_reason", "flow")}
        self._seconds = self.table["duration"].dt.total_seconds().to_numpy(dtype=np.float64)
        core, visits = log.ledger.core, log.ledger.visits
        self._session_of_step = visits.code
        known = core.has("action")
        codes = visits.node.astype(np.int64) if known else np.full(len(visits), -1, dtype=np.int64)
        self._actions = (codes, [str(label) for label in core.nodes.label] if known else [])
        left = visits.exit >= 0
        reasons = np.full(len(visits), -1, dtype=np.int64)
        reasons[left], said = core.words_at("reason", visits.exit[left])
        self._reasons = (reasons, [str(word) for word in said])

    def __len__(self) -> int:
        return len(self.table)

    def choices(self, name: str) -> list[tuple[str, int]]:
        """Words of ``outcome``, ``exit_reason``, ``flow``, ``action`` or ``left_with``, the most frequent first.

        Returns
        -------
        list of (str, int)
            Each with the number of sessions, or of steps for the last two. Words nobody has are left out.
        """
        codes, words = self._words[name] if name in self._words else self._of_steps(name)
        counts = np.bincount(codes[codes >= 0], minlength=len(words))
        order = np.argsort(-counts, kind="stable")
        return [(words[place], int(counts[place])) for place in order if counts[place]]

    def find(self, wanted: Wanted, order: str = "start", *, descending: bool = False) -> Positions:
        """Positions of the sessions that fit, in order.

        Parameters
        ----------
        wanted : Wanted
            What for.
        order : str, default "start"
            A key of :data:`ORDERS`; equal ones stay in the order of their ids.
        descending : bool, default False
            Largest first. Sessions without the value come last either way.
        """
        fits = np.ones(len(self), dtype=bool)
        for name, (codes, words) in self._words.items():
            if word := getattr(wanted, name):
                fits &= codes == (words.index(word) if word in words else -2)
        if wanted.action or wanted.left_with:
            fits &= self._stepping(wanted)
        if wanted.shortest is not None:
            fits &= self._seconds >= wanted.shortest
        if wanted.longest is not None:
            fits &= self._seconds <= wanted.longest
        if wanted.variant is not None:
            fits &= self.table["variant"].to_numpy() == wanted.variant
        if wanted.text.strip():
            held = self.ids.str.contains(wanted.text.strip(), case=False, regex=False)
            fits &= np.asarray(held, dtype=bool)
        found = np.flatnonzero(fits)
        column = self.table[ORDERS[order]].iloc[found]
        sorted_ = column.reset_index(drop=True).sort_values(ascending=not descending, kind="stable")
        return np.asarray(found[sorted_.index.to_numpy()], dtype=np.int64)

    def page(self, positions: Positions) -> pd.DataFrame:
        """What a list shows of some sessions: one row each, all texts."""
        rows = self.table.iloc[positions]
        return pd.DataFrame(
            {
                "start": rows["start"].dt.strftime("%d %b %H:%M:%S").fillna("–"),
                "duration": [clock_text(one) for one in rows["duration"].dt.total_seconds()],
                "steps": rows["n_steps"].astype("str"),
                "flow": rows["flow"].astype("str").fillna(MISSING),
                "last action": rows["last_action"].astype("str").fillna(MISSING).str.rsplit(" ▸ ", n=1).str[-1],
                "exit reason": rows["exit_reason"].astype("str").fillna(MISSING),
                "outcome": rows["outcome"].astype("str"),
            },
            index=rows.index,
        )

    def _of_steps(self, name: str) -> tuple[Positions, list[str]]:
        return self._actions if name == "action" else self._reasons

    def _stepping(self, wanted: Wanted) -> Mask:
        """Sessions with a step of this action, left with this reason."""
        steps = np.ones(len(self._session_of_step), dtype=bool)
        for name in ("action", "left_with"):
            codes, words = self._of_steps(name)
            if word := getattr(wanted, name):
                steps &= codes == (words.index(word) if word in words else -2)
        out = np.zeros(len(self), dtype=bool)
        out[self._session_of_step[steps]] = True
        return out


def _words(column: "pd.Series[Any]") -> tuple[Positions, list[str]]:
    """A category column as codes and words, the missing ones a word of their own."""
    words = [str(word) for word in column.cat.categories]
    codes = column.cat.codes.to_numpy().astype(np.int64)
    return np.where(codes < 0, len(words), codes), [*words, MISSING]


def clock_text(seconds: float, *, tenths: bool = False) -> str:
    """A length of time on a clock: ``0:07``, ``3:29``, ``1:02:05``, with tenths ``0:07.4``; a dash for none."""
    if not np.isfinite(seconds):
        return "–"
    whole, tenth = divmod(round(abs(seconds) * 10) if tenths else round(abs(seconds)) * 10, 10)
    sign, rest = "−" if seconds < 0 else "", f".{tenth}" if tenths else ""
    hours, minutes = divmod(whole // 60, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{head}:{whole % 60:02d}{rest}"


def short_session(session: str, width: int = 19) -> str:
    """A session's id cut in the middle: it begins with its time and ends with its number."""
    return session if len(session) <= width else f"{session[:10]}…{session[len(session) - (width - 11) :]}"


def table_html(frame: pd.DataFrame, columns: Sequence[str], empty: str) -> str:
    """Rows as an HTML table, escaped; one line a row, whatever is in it."""
    if frame.empty:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td title="{escape(cell)}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in frame[list(columns)].astype("str").fillna("").itertuples(index=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
