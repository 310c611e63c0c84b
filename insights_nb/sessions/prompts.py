"""What a DTMF prompt heard: nothing, something that fits no option, or something else that went wrong."""

import numpy as np

from .columns import BoolArray, IntArray
from .ledger import Ledger
from .rules import matches


def prompt_kinds(ledger: Ledger) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Which ordered rows are a silence, a wrong entry, another error, by their ErrorReason.

    Returns
    -------
    no_input, no_match, other : ndarray of bool, shape (N,)
        No row is in two of them; their union is every row with an ErrorReason.
    """
    codes, words = ledger.core.words_at("error")
    silent = matches(ledger.rules.no_input, words)
    wrong = matches(ledger.rules.no_match, words) & ~silent
    # Few rows have a reason, so only those are looked at.
    rows = np.flatnonzero(codes >= 0)
    said = codes[rows]
    return (
        _marked(rows[silent[said]], codes),
        _marked(rows[wrong[said]], codes),
        _marked(rows[~(silent | wrong)[said]], codes),
    )


def _marked(rows: IntArray, like: IntArray) -> BoolArray:
    """A mask of these rows."""
    out = np.zeros(len(like), dtype=bool)
    out[rows] = True
    return out
