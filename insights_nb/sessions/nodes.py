"""Actions as nodes: which (flow, action) pairs a log holds, and what to call them."""

from typing import Any

import numpy as np
import pandas as pd

from .columns import NAT, IntArray, words
from .core import Int32Array, Nodes
from .fields import Fields, column
from .packed import joined

MISSING = "(missing)"
JOINT = " ▸ "


def encode_nodes(
    frame: pd.DataFrame, fields: Fields, time: IntArray, keep: IntArray | None
) -> tuple[Int32Array, Nodes]:
    """The node of every row of ``frame``, and the nodes.

    Parameters
    ----------
    frame : DataFrame
        Events.
    fields : Fields
        Which column is which.
    time : ndarray of int64
        Time of each row, to find a flow's latest name.
    keep : ndarray of int64 or None
        Rows that belong to the log; nodes seen only elsewhere are not numbered. None means all.

    Returns
    -------
    node : ndarray of int32
        Number of each row's node; meaningless outside ``keep``.
    nodes : Nodes
        Numbered in label order. A row without an ActionId has a node too, labelled ``(missing)``, so that it
        neither vanishes nor joins another action.
    """
    action, actions = _coded(frame, fields, "action")
    flow, flow_ids = _coded(frame, fields, "flow")
    pair = joined(flow, action, len(actions) + 1)
    size = (len(flow_ids) + 1) * (len(actions) + 1)
    held = np.flatnonzero(np.bincount(pair if keep is None else pair[keep], minlength=size))
    of_flow, of_action = held // (len(actions) + 1) - 1, held % (len(actions) + 1) - 1
    flows = _flow_names(frame, fields, flow, flow_ids, time)
    spelt, spelt_flows = [*map(str, actions), MISSING], [*map(str, flows), MISSING]
    plain = pd.Index([spelt[a] for a in of_action.tolist()], dtype="str")
    texts = list(plain)
    if len(np.unique(of_flow)) > 1:
        texts = [spelt_flows[f] + JOINT + a for f, a in zip(of_flow.tolist(), texts, strict=True)]
    order = np.array(sorted(range(len(texts)), key=lambda i: (texts[i], of_flow[i], of_action[i])), dtype=np.int64)
    number = np.zeros(size, dtype=np.int32)
    number[held[order]] = np.arange(len(order))
    node = number[pair]
    nodes = Nodes(
        label=pd.Index([texts[i] for i in order], dtype="str"),
        action=plain[order],
        flow=of_flow[order],
        flows=flows,
        flow_ids=flow_ids,
        kind=_kinds(frame, fields, node, len(order)),
    )
    return node, nodes


def _coded(frame: pd.DataFrame, fields: Fields, part: str) -> tuple[IntArray, pd.Index]:
    series = column(frame, fields, part)
    if series is None:
        return np.full(len(frame), -1, dtype=np.int64), pd.Index([], dtype="str")
    return words(series)


def _flow_names(frame: pd.DataFrame, fields: Fields, flow: IntArray, flow_ids: pd.Index, time: IntArray) -> pd.Index:
    """A distinct name for each flow: its latest FlowName, else its FlowId.

    A renamed flow keeps its FlowId, and the newest name is the one users know. Two flows of one name are told
    apart by the end of their ids.
    """
    name, names = _coded(frame, fields, "flow_name")
    best: list[Any] = list(flow_ids)
    if len(names) and len(flow_ids):
        height, width = len(flow_ids) + 1, len(names) + 1
        tally = np.bincount(joined(flow, name, width), minlength=height * width).reshape(height, width)
        for f in range(len(flow_ids)):
            held = np.flatnonzero(tally[f + 1, 1:])
            # Times are looked at only for a flow that was renamed.
            if len(held) > 1:
                rows = np.flatnonzero((flow == f) & (name >= 0))
                latest = np.full(len(names), NAT, dtype=np.int64)
                np.maximum.at(latest, name[rows], np.maximum(time[rows], NAT + 1))
                held = np.array([latest.argmax()])
            if len(held):
                best[f] = names[int(held[0])]
    twice = {text for text in best if best.count(text) > 1}
    return pd.Index(
        [f"{text} ({str(flow_ids[f])[-6:]})" if text in twice else text for f, text in enumerate(best)], dtype="str"
    )


def _kinds(frame: pd.DataFrame, fields: Fields, node: Int32Array, count: int) -> Any:
    """The most frequent ActionName of each node, None where there is none."""
    kind, kinds = _coded(frame, fields, "action_name")
    out = np.full(count, None, dtype=object)
    if len(kinds) and count:
        width = len(kinds) + 1
        # A missing kind is counted too, in a column of its own that is then left out.
        tally = np.bincount(joined(node, kind, width), minlength=(count + 1) * width)
        table = tally.reshape(count + 1, width)[1:, 1:]
        for n in np.flatnonzero(table.sum(axis=1)):
            out[n] = kinds[int(table[n].argmax())]
    return out
