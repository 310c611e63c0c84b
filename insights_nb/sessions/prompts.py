"""What a DTMF prompt heard: nothing, something that fits no option, or something else that went wrong."""

import numpy as np

from .columns import BoolArray
from .ledger import Ledger
from .rules import matches


def prompt_kinds(ledger: Ledger) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Which ordered rows are a silence, a wrong entry, another error, by their ErrorReason.

    Returns
    -------
    no_input, no_match, other : ndarray of bool, shape (N,)
        No row is in two of them; their union is every row with an ErrorReason.
    """
    codes, words = ledger.core.words_at("error", np.ones(len(ledger.core.rows), dtype=bool))
    silent = np.append(matches(ledger.rules.no_input, words), False)
    wrong = np.append(matches(ledger.rules.no_match, words), False) & ~silent
    other = np.append(np.ones(len(words), dtype=bool), False) & ~silent & ~wrong
    return silent[codes], wrong[codes], other[codes]
