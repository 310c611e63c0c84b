"""Intervals for shares and for their differences: small counts must not look certain."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
#: Two-sided 95 %.
Z = 1.959963984540054


def wilson(hits: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Wilson's score interval of a share, 95 %.

    Parameters
    ----------
    hits, trials : array of numbers
        Counts.

    Returns
    -------
    low, high : ndarray of float
        Bounds in 0..1; NaN where there were no trials.
    """
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        # Exact at the ends, where rounding would leave a hair.
        low = np.where(k == 0, 0.0, centre - half)
        high = np.where(k == n, 1.0, centre + half)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def newcombe(
    hits: npt.ArrayLike, trials: npt.ArrayLike, other_hits: npt.ArrayLike, other_trials: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Newcombe's interval of the difference of two shares (first minus second), from their Wilson bounds, 95 %.

    Parameters
    ----------
    hits, trials, other_hits, other_trials : array of numbers
        Counts of both groups.

    Returns
    -------
    low, high : ndarray of float
        Bounds in -1..1; NaN where either group is empty.
    """
    one, two = wilson(hits, trials), wilson(other_hits, other_trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(hits, dtype=np.float64) / np.asarray(trials, dtype=np.float64)
        q = np.asarray(other_hits, dtype=np.float64) / np.asarray(other_trials, dtype=np.float64)
    low = p - q - np.sqrt((p - one[0]) ** 2 + (two[1] - q) ** 2)
    high = p - q + np.sqrt((one[1] - p) ** 2 + (q - two[0]) ** 2)
    return low, high


def share(hits: npt.ArrayLike, trials: npt.ArrayLike) -> FloatArray:
    """``hits / trials``, NaN where there were no trials."""
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    out = np.full(np.broadcast(k, n).shape, np.nan)
    np.divide(k, n, out=out, where=n > 0)
    return out
