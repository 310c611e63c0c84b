"""Whole paths: which sequences of actions sessions took, grouped exactly and ranked reproducibly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .columns import BoolArray, IntArray
from .core import Core, Int32Array, reduce_slices
from .endings import Endings
from .visits import Visits


@dataclass(frozen=True, eq=False)
class Paths:
    """The path of every session as one array of nodes.

    Attributes
    ----------
    node : ndarray of int32
        Nodes of all sessions, one after another.
    offsets : ndarray of int64, shape (S + 1,)
        The path of session ``s`` is ``node[offsets[s]:offsets[s + 1]]``.
    """

    node: Int32Array
    offsets: IntArray


@dataclass(frozen=True, eq=False)
class Variants:
    """Sessions grouped by their path.

    Attributes
    ----------
    rank : ndarray of int64, shape (S,)
        0-based rank of each session's variant: most sessions first, ties by the path's labels.
    size : ndarray of int64, shape (P,)
        Sessions per variant, by rank.
    example : ndarray of int64, shape (P,)
        First session (in id order) of each variant, by rank.
    paths : Paths
        What was grouped.
    """

    rank: IntArray
    size: IntArray
    example: IntArray
    paths: Paths


def session_paths(core: Core, visits: Visits, endings: Endings, collapse_repeats: bool) -> Paths:
    """The nodes each session visited before its end, in order; repeats in a row once if ``collapse_repeats``."""
    kept = np.flatnonzero(~endings.after)
    code, node = visits.code[kept], visits.node[kept]
    if collapse_repeats and len(code):
        fresh = np.ones(len(code), dtype=bool)
        fresh[1:] = (code[1:] != code[:-1]) | (node[1:] != node[:-1])
        places = np.flatnonzero(fresh)
        code, node = code[places], node[places]
    lengths = np.bincount(code, minlength=core.sessions)
    return Paths(node, np.concatenate([[0], np.cumsum(lengths)]))


def group_paths(paths: Paths) -> Variants:
    """Group sessions whose paths are equal.

    Grouping goes by a hash, and then every session is compared with its group's first one, node by node: a collision
    is found and hashed again with other factors, so the answer is exact.
    """
    length = np.diff(paths.offsets)
    for seed in range(8):
        group, example = _by_hash(paths, length, seed)
        if _same_as_example(paths, length, group, example):
            return _ranked(paths, length, group, example)
    group, example = _by_value(paths)
    return _ranked(paths, length, group, example)


def _by_hash(paths: Paths, length: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """A group number per session and a first session per group, by a polynomial hash of the path."""
    draw = np.random.default_rng(0x1D_5E55 + seed)
    values = draw.integers(1, 2**63, size=int(paths.node.max(initial=0)) + 1, dtype=np.uint64)
    base = draw.integers(1, 2**63, dtype=np.uint64) | np.uint64(1)
    place = np.arange(len(paths.node)) - np.repeat(paths.offsets[:-1], length)
    with np.errstate(over="ignore"):
        powers = np.multiply.accumulate(np.full(int(length.max(initial=0)) + 1, base, dtype=np.uint64))
        terms = values[paths.node] * powers[place]
        hashed = reduce_slices(np.add, terms, paths.offsets, np.uint64(0)) ^ length.astype(np.uint64) * powers[0]
    order = np.argsort(hashed, kind="stable")
    ranked = hashed[order]
    head = np.ones(len(order), dtype=bool)
    head[1:] = ranked[1:] != ranked[:-1]
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(head) - 1
    return group, order[head]


def _same_as_example(paths: Paths, length: IntArray, group: IntArray, example: IntArray) -> bool:
    """Whether every session's path equals that of its group's first session."""
    if not np.array_equal(length, length[example][group]):
        return False
    shift = np.repeat(paths.offsets[:-1][example][group] - paths.offsets[:-1], length)
    return bool((paths.node == paths.node[np.arange(len(paths.node)) + shift]).all())


def _by_value(paths: Paths) -> tuple[IntArray, IntArray]:
    """The same grouping without a hash, for paths that collide under every seed (built to, if at all)."""
    found: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(paths.offsets) - 1, dtype=np.int64)
    for session in range(len(group)):
        path = paths.node[paths.offsets[session] : paths.offsets[session + 1]].tobytes()
        group[session] = found.setdefault(path, len(found))
        if group[session] == len(first):
            first.append(session)
    return group, np.array(first, dtype=np.int64)


def _ranked(paths: Paths, length: IntArray, group: IntArray, example: IntArray) -> Variants:
    """Number the groups by falling size, equal sizes by their labels in order (nodes are numbered by label)."""
    size = np.bincount(group, minlength=len(example))
    order = np.argsort(-size, kind="stable")
    run = _runs(size[order])
    chunk = 0
    # Equal sizes are compared four nodes at a time, and only those still equal go on to the next four.
    while len(run) and chunk * 4 <= int(length[example].max(initial=0)):
        open_ = _shared(run)
        if not open_.any():
            break
        key = _packed(paths, length, example[order[open_]], chunk * 4)
        inner = np.lexsort(np.stack([*key[::-1], run[open_]]))
        order[open_] = order[open_][inner]
        fresh = np.ones(len(run), dtype=bool)
        fresh[1:] = run[1:] != run[:-1]
        moved = [part[inner] for part in key]
        differs = np.zeros(len(inner), dtype=bool)
        differs[1:] = np.logical_or.reduce([part[1:] != part[:-1] for part in moved])
        fresh[np.flatnonzero(open_)] |= differs
        run = np.cumsum(fresh)
        chunk += 1
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return Variants(number[group], size[order], example[order], paths)


def _runs(values: IntArray) -> IntArray:
    """Number of the run of equal values each value is in."""
    fresh = np.ones(len(values), dtype=np.int64)
    fresh[1:] = values[1:] != values[:-1]
    return np.cumsum(fresh)


def _shared(run: IntArray) -> BoolArray:
    """Members of runs of more than one."""
    out = np.zeros(len(run), dtype=bool)
    out[1:] = run[1:] == run[:-1]
    out[:-1] |= run[:-1] == run[1:]
    return out


def _packed(paths: Paths, length: IntArray, sessions: IntArray, start: int) -> list[npt.NDArray[np.int32]]:
    """Nodes ``start`` to ``start + 3`` of the sessions' paths, -1 past a path's end."""
    out = []
    for place in range(start, start + 4):
        inside = length[sessions] > place
        at = np.where(inside, paths.offsets[sessions] + place, 0)
        nodes = np.append(paths.node, -1)[np.minimum(at, len(paths.node))]
        out.append(np.where(inside, nodes, -1).astype(np.int32))
    return out
