"""Counting and ranking over groups by sorting one packed int64 instead of several columns."""

import numpy as np
import numpy.typing as npt

from .columns import NAT, AnyInts, IntArray

FloatArray = npt.NDArray[np.float64]

#: Below one group in so many values, groups are taken one by one.
FEW_GROUPS = 256


def distinct(keys: IntArray) -> IntArray:
    """The distinct values, sorted; several times as fast where keys are nearly in order, so pack the session first."""
    ranked = np.sort(keys, kind="stable")
    if not len(ranked):
        return ranked
    return ranked[np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))]


def joined(high: AnyInts, low: AnyInts, width: int) -> IntArray:
    """Two numbers from -1 as one from 0: ``(high + 1) * width + low + 1``, with no array made on the way."""
    out = high.astype(np.int64)
    out += 1
    out *= width
    out += low
    out += 1
    return out


def sorting(codes: AnyInts) -> IntArray:
    """Positions that put small numbers (from 0) in order, equal ones as they stand.

    numpy sorts 16 bits by counting, in half the time of its sort of 64.
    """
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    left = int(codes.max(initial=0)) >> 16
    shift = 16
    while left:
        order = order[np.argsort((codes >> shift).astype(np.uint16)[order], kind="stable")]
        left, shift = left >> 16, shift + 16
    return order


def tally(keys: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The distinct keys that occur and how often, sorted by key.

    Parameters
    ----------
    keys : ndarray of int64
        Not negative.
    size : int
        Keys are below it. A table of that size is used while it is not much larger than the keys.
    """
    if size <= max(4 * len(keys), 1 << 20):
        counts = np.bincount(keys, minlength=1)
        held = np.flatnonzero(counts)
        return held, counts[held]
    ranked = np.sort(keys, kind="stable")
    if not len(ranked):
        return ranked, ranked
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    return ranked[starts], np.diff(np.append(starts, len(ranked)))


def numbered(keys: IntArray, held: IntArray) -> IntArray:
    """Where each key stands among the distinct ones, which are sorted: read from a table while that is small."""
    if not len(held) or held[-1] >= 1 << 20:
        return np.searchsorted(held, keys)
    table = np.zeros(int(held[-1]) + 1, dtype=np.int64)
    table[held] = np.arange(len(held))
    return table[keys]


def group_quantiles(
    group: IntArray, values: IntArray, count: int, shares: tuple[float, ...], grain: int = 1
) -> list[IntArray]:
    """Quantiles of each group's values, interpolated linearly between neighbours and rounded.

    Parameters
    ----------
    group : ndarray of int64
        Group of each value, from 0.
    values : ndarray of int64
        Not negative.
    count : int
        How many groups there are.
    shares : tuple of float
        Which quantiles, 0 to 1.
    grain : int, default 1
        Divides every value: fewer bits to sort.

    Returns
    -------
    list of ndarray of int64, shape (count,)
        One per share; ``NAT`` for a group without values.
    """
    values = values // grain if grain > 1 else values
    sizes = np.bincount(group, minlength=count)
    starts = np.cumsum(sizes) - sizes
    bits = int(values.max(initial=0)).bit_length()
    if count * FEW_GROUPS < len(values):
        ranked = values[sorting(group)]
        # Only the values at the ranks asked for have to stand in their places.
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            if size > 1:
                low = {int((size - 1) * share) for share in shares}
                ranked[start : start + size].partition(sorted(low | {min(rank + 1, size - 1) for rank in low}))
    elif bits + int(max(count, 1)).bit_length() < 63:
        ranked = np.sort((group << bits) | values) & ((1 << bits) - 1)
    else:
        ranked = values[np.lexsort((values, group))]
    out = []
    filled = sizes > 0
    for share in shares:
        picked = np.full(count, NAT, dtype=np.int64)
        place = (sizes[filled] - 1) * share
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, sizes[filled] - 1)
        below, above = ranked[starts[filled] + low] * grain, ranked[starts[filled] + high] * grain
        # The step is added to the exact value below: a time in nanoseconds does not fit a float.
        picked[filled] = below + np.rint((above - below) * (place - low)).astype(np.int64)
        out.append(picked)
    return out
