"""What prompts heard: silence, wrong keys, errors, per action."""

from typing import Any

import numpy as np
import pandas as pd

from insights_nb.errors import FrameError

from .columns import BoolArray, IntArray, words
from .fields import missing_field
from .intervals import share, wilson
from .ledger import Ledger
from .nodes import MISSING
from .packed import distinct, tally
from .prompts import prompt_kinds
from .steps import MASK

SPLITS = {"action": "action", "flow": "flow", "action_name": "action_name", "region": "region"}
#: A menu key tells what callers chose; anything longer may be a PIN or an account.
SHORT = 2


def dtmf_table(ledger: Ledger, by: str, top_inputs: int | None) -> pd.DataFrame:
    """What prompts heard; see :meth:`SessionLog.dtmf`."""
    core, visits = ledger.core, ledger.visits
    if by not in SPLITS:
        raise FrameError(f"dtmf(by={by!r}) is not known.", f"Write one of {', '.join(map(repr, SPLITS))}.")
    if not core.has(SPLITS[by]):
        raise missing_field(core.fields, SPLITS[by], f"dtmf(by={by!r})")
    inside = (visits.of_row >= 0) & ~np.append(ledger.endings.after, False)[visits.of_row]
    prompted = visited(ledger, core.is_dtmf & inside)
    code, names = _split(ledger, by, np.flatnonzero(prompted))
    size = len(names)
    no_input, no_match, other = (visited(ledger, mask & core.is_dtmf)[prompted] for mask in prompt_kinds(ledger))
    keyed, keys, values = _inputs(ledger, core.is_dtmf & inside)
    prompts = np.bincount(code, minlength=size)
    wrong = np.bincount(code[no_input | no_match | other], minlength=size)
    low, high = wilson(wrong, prompts)
    number = np.full(len(visits), -1, dtype=np.int64)
    number[prompted] = code
    slot = number[visits.of_row[keyed]]
    pairs = distinct(slot * max(len(values), 1) + keys)
    columns: dict[str, Any] = {
        "prompts": prompts,
        "filled": np.bincount(code[visited_rows(ledger, keyed)[prompted]], minlength=size),
        "no_input": np.bincount(code[no_input], minlength=size),
        "no_match": np.bincount(code[no_match], minlength=size),
        "other_error": np.bincount(code[other], minlength=size),
        "error_rate": share(wrong, prompts),
        "ci_low": low,
        "ci_high": high,
        "distinct_inputs": np.bincount(pairs // max(len(values), 1), minlength=size),
    }
    if top_inputs is not None:
        columns["top_inputs"] = _top(slot, keys, values, size, top_inputs, ledger.masked)
    table = pd.DataFrame(columns, index=pd.Index(names, name=by, dtype="str"))
    held = table["prompts"].to_numpy() > 0
    order = np.lexsort([np.arange(size), -table["prompts"].to_numpy()])
    return table.iloc[order[held[order]]]


def visited(ledger: Ledger, rows: BoolArray) -> BoolArray:
    """Visits with one of the rows in the mask."""
    return visited_rows(ledger, np.flatnonzero(rows & (ledger.visits.of_row >= 0)))


def visited_rows(ledger: Ledger, rows: IntArray) -> BoolArray:
    """Visits with one of the rows at these positions."""
    out = np.zeros(len(ledger.visits), dtype=bool)
    out[ledger.visits.of_row[rows]] = True
    return out


def _split(ledger: Ledger, by: str, visit: IntArray) -> tuple[IntArray, list[str]]:
    """Group of each visit, and the groups' names; a missing word is a group of its own."""
    core, nodes = ledger.core, ledger.core.nodes
    node = ledger.visits.node[visit].astype(np.int64)
    if by == "action":
        return node, [*map(str, nodes.label), MISSING]
    if by == "flow":
        code, names = nodes.flow[node], nodes.flows
    elif by == "region":
        code, names = core.words_at("region", ledger.visits.first[visit])
    else:
        code, names = words(pd.Series(nodes.kind[node], dtype=object))
    return np.where(code < 0, len(names), code), [*map(str, names), MISSING]


def _inputs(ledger: Ledger, mask: BoolArray) -> tuple[IntArray, IntArray, pd.Index]:
    """Rows with a non-blank input, its code, and the distinct inputs."""
    rows = np.flatnonzero(mask)
    codes, values = ledger.core.words_at("keys", rows)
    return rows[codes >= 0], codes[codes >= 0], values


def _top(slot: IntArray, keys: IntArray, values: pd.Index, size: int, top: int, masked: bool) -> Any:
    """The most frequent inputs of each group with their counts; long ones stand together, masked."""
    spelt = [MASK if masked and len(str(value)) > SHORT else str(value) for value in values]
    tallies: list[dict[str, int]] = [{} for _ in range(size)]
    pairs, counts = tally(slot * max(len(values), 1) + keys, size * max(len(values), 1))
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        group, word = pair // len(values), spelt[pair % len(values)]
        tallies[group][word] = tallies[group].get(word, 0) + count
    ranked = [sorted(each.items(), key=lambda item: (-item[1], item[0]))[:top] for each in tallies]
    return pd.array([", ".join(f"{word} ({count})" for word, count in each) for each in ranked], dtype="str")
