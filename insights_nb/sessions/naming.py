"""From what a user calls a thing to the steps it means: an action, an exit reason, a mask."""

from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray
from .ledger import Ledger
from .reading import named_nodes


def find_visits_of(ledger: Ledger, what: Any, wanted_by: str) -> BoolArray:
    """The visits a user means.

    Parameters
    ----------
    ledger : Ledger
        The log.
    what : str, list of str, or boolean mask
        An action (label or ActionId), else an exit reason; a list of these means any of them. A mask has one value
        per row of the frame (a visit counts when one of its events is chosen) or per row of ``steps()``.
    wanted_by : str
        What asked, for messages.

    Returns
    -------
    ndarray of bool, shape (V,)
        One per visit.

    Raises
    ------
    FrameError
        For a name the log does not hold, with the nearest one it does; for a mask of another length.
    """
    if isinstance(what, str):
        return _named(ledger, what, wanted_by)
    values = np.asarray(what)
    if values.dtype == object and isinstance(what, pd.Series):
        values = np.asarray(what.astype("boolean").fillna(False), dtype=bool)
    if isinstance(what, pd.Series) and pd.api.types.is_bool_dtype(what.dtype):
        values = what.astype("boolean").fillna(False).to_numpy(dtype=bool)
    if values.dtype == bool:
        return _masked(ledger, values, wanted_by)
    found = [_named(ledger, str(name), wanted_by) for name in what]
    return np.asarray(np.logical_or.reduce([np.zeros(len(ledger.visits), dtype=bool), *found]), dtype=bool)


def _named(ledger: Ledger, name: str, wanted_by: str) -> BoolArray:
    visits = ledger.visits
    nodes = named_nodes(ledger.core, [name])
    if nodes.any():
        return nodes[visits.node]
    left = visits.exit >= 0
    codes, words = ledger.core.words_at("reason", visits.exit[left])
    if name in words:
        out = np.zeros(len(visits), dtype=bool)
        out[left] = codes == words.get_loc(name)
        return out
    known = [*map(str, ledger.core.nodes.label), *map(str, ledger.core.nodes.action), *map(str, words)]
    near = get_close_matches(name, known, n=1)
    raise FrameError(
        f"{wanted_by}: the log holds no action and no exit reason {name!r}.",
        f"The nearest it holds is {near[0]!r}." if near else "actions() lists the actions it holds.",
    )


def _masked(ledger: Ledger, values: BoolArray, wanted_by: str) -> BoolArray:
    core, visits = ledger.core, ledger.visits
    if len(values) == len(core.frame):
        rows = np.flatnonzero(values[core.rows] & (visits.of_row >= 0))
        out = np.zeros(len(visits), dtype=bool)
        out[visits.of_row[rows]] = True
        return out
    if len(values) == len(visits):
        return values
    raise FrameError(
        f"{wanted_by}: the mask has {len(values)} values; the frame has {len(core.frame)} rows and "
        f"steps() {len(visits)}."
    )
