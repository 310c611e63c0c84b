"""Outcome rules: what an exit reason, a path or a last action means is the user's to say."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray

UNCLASSIFIED = "unclassified"
UNKNOWN = "unknown"
_SEEN = ("exit_reason", "exit_path", "last_action")

Test = Any
"""A value, a compiled pattern, a list of either, a mapping of field to these, or a callable."""


@dataclass(frozen=True)
class OutcomeRules:
    """Names for the ways a session can end, and for what a DTMF prompt heard.

    The literal values of ExitReason, Path and ErrorReason are not documented, so nothing is classified by default.

    Parameters
    ----------
    outcomes : mapping of str to rule
        Outcome name → how to recognise it. The first name whose rule holds wins; a session none of them fits is
        ``unclassified``, one without an exit event ``unknown``. A rule is one of

        * a value, or a compiled pattern (searched): compared with the exit reason;
        * a mapping of ``exit_reason``, ``exit_path``, ``last_action`` to values or patterns: all must hold
          (``last_action`` is compared with the label and with the plain ActionId);
        * a callable, given a DataFrame of the distinct combinations (columns ``exit_reason``, ``exit_path``,
          ``last_action``, ``action_id``, all ``str`` with missing as NA), returning one truth value per row;
        * a list of these: any must hold.
    no_input, no_match : pattern, value or list of these
        Which ErrorReason of a DTMF event means silence, and which an entry that fits no option. The defaults are
        this package's guess at words the vendor does not document. Any other ErrorReason counts as an error.

    Examples
    --------
    The names the KPIs know are ``completed``, ``transferred``, ``abandoned`` and ``error``; others are kept beside.

    >>> import re
    >>> rules = OutcomeRules(
    ...     {
    ...         "transferred": {"last_action": re.compile("TRANSFER"), "exit_path": "On Answer"},
    ...         "abandoned": "User Abandon",
    ...         "error": ["Timeout", re.compile("Service Unavailable")],
    ...         "completed": "Call Successful",
    ...     }
    ... )
    >>> list(rules.names)
    ['transferred', 'abandoned', 'error', 'completed', 'unclassified', 'unknown']
    """

    outcomes: Mapping[str, Test] = field(default_factory=dict)
    no_input: Test = re.compile(r"no.?input|no.?entry|silen|time.?d?.?out", re.IGNORECASE)
    no_match: Test = re.compile(r"no.?match|invalid|not.?recogni|unexpected", re.IGNORECASE)

    def __post_init__(self) -> None:
        for name, rule in self.outcomes.items():
            if name in (UNCLASSIFIED, UNKNOWN):
                raise FrameError(
                    f"{name!r} is what a session is called that no rule fits; a rule cannot bear that name."
                )
            _check(name, rule)

    @property
    def names(self) -> tuple[str, ...]:
        """Every outcome a session can have, in the order of the rules, then ``unclassified`` and ``unknown``."""
        return (*self.outcomes, UNCLASSIFIED, UNKNOWN)

    def classify(self, endings: pd.DataFrame) -> "pd.Series[int]":
        """The outcome of each way of ending.

        Parameters
        ----------
        endings : DataFrame
            Columns ``exit_reason``, ``exit_path``, ``last_action``, ``action_id`` of ``str``, one row per distinct
            combination.

        Returns
        -------
        Series of int64
            Position in ``names``, on the index of ``endings``.

        Raises
        ------
        FrameError
            When a callable rule fails or answers with the wrong length.
        """
        out = np.full(len(endings), len(self.outcomes), dtype=np.int64)
        free = np.ones(len(endings), dtype=bool)
        for number, (name, rule) in enumerate(self.outcomes.items()):
            hit = _holds(name, rule, endings) & free
            out[hit] = number
            free &= ~hit
        return pd.Series(out, index=endings.index)


def _check(name: str, rule: Test) -> None:
    """Refuse a rule that could never be applied, at once and by its name."""
    if isinstance(rule, Mapping):
        unknown = [key for key in rule if key not in _SEEN]
        if unknown or not rule:
            raise FrameError(
                f"the rule for {name!r} looks at {unknown or 'nothing'}; it can look at {', '.join(_SEEN)}.",
            )
    elif isinstance(rule, (list, tuple, set, frozenset)):
        for part in rule:
            _check(name, part)
    elif not isinstance(rule, (str, re.Pattern)) and not callable(rule):
        raise FrameError(
            f"the rule for {name!r} is a {type(rule).__name__}; give a value, a pattern, a mapping or a callable."
        )


def _holds(name: str, rule: Test, endings: pd.DataFrame) -> BoolArray:
    """Where a rule holds."""
    if isinstance(rule, Mapping):
        parts = [_field_holds(key, test, endings) for key, test in rule.items()]
        return np.asarray(np.logical_and.reduce(parts), dtype=bool)
    if isinstance(rule, (list, tuple, set, frozenset)):
        parts = [_holds(name, part, endings) for part in rule]
        return np.asarray(np.logical_or.reduce([np.zeros(len(endings), dtype=bool), *parts]), dtype=bool)
    if isinstance(rule, (str, re.Pattern)):
        return matches(rule, endings["exit_reason"])
    return _called(name, rule, endings)


def _field_holds(key: str, test: Test, endings: pd.DataFrame) -> BoolArray:
    if key == "last_action":
        return matches(test, endings["last_action"]) | matches(test, endings["action_id"])
    return matches(test, endings[key])


def _called(name: str, rule: Callable[[pd.DataFrame], Any], endings: pd.DataFrame) -> BoolArray:
    answer = np.asarray(pd.array(rule(endings.copy()), dtype="boolean").fillna(False), dtype=bool)
    if answer.shape != (len(endings),):
        raise FrameError(
            f"the rule for {name!r} answered {answer.shape} values for {len(endings)} endings; one for each is needed."
        )
    return answer


def matches(test: Test, texts: "pd.Series | pd.Index") -> BoolArray:
    """Where a text equals a value, or a pattern is found in it; a missing text matches nothing."""
    tests: Iterable[Any] = test if isinstance(test, (list, tuple, set, frozenset)) else [test]
    series = pd.Series(texts).astype("str")
    out = np.zeros(len(series), dtype=bool)
    for one in tests:
        if isinstance(one, re.Pattern):
            out |= np.array([isinstance(text, str) and one.search(text) is not None for text in series], dtype=bool)
        else:
            out |= (series == str(one)).fillna(False).to_numpy(dtype=bool)
    return out
