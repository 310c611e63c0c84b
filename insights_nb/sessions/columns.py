"""Reading one column into plain arrays, whatever its dtype: times, truth values, words.

A frame may come from ``query()``, from a CSV the user read, from Parquet: the same values as ``str``, object,
category or Arrow-backed columns have to give the same sessions. So every column passes through one of these three.
"""

import re
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from insights_nb.errors import FrameError

IntArray = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.signedinteger[Any]]
BoolArray = npt.NDArray[np.bool_]

#: How numpy writes "not a time" in the int64 behind a datetime64.
NAT = np.iinfo(np.int64).min
UNITS = ("s", "ms", "us", "ns")
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_ZONE = re.compile(r"(?:Z|UTC|[+-]\d\d:?\d\d)\s*$")
_TRUE = frozenset({"true", "t", "1", "1.0", "yes", "y"})
_FALSE = frozenset({"false", "f", "0", "0.0", "no", "n"})


def instants(series: pd.Series, name: str) -> tuple[IntArray, str]:
    """Times as int64 counts since 1970 UTC, with their unit.

    Parameters
    ----------
    series : Series
        Zone-aware datetimes (numpy- or Arrow-backed), or text such as ``2020-04-11 01:02:03 UTC``.
    name : str
        The column's name, for messages.

    Returns
    -------
    ticks : ndarray of int64
        Counts of ``unit``; ``NAT`` where the time is missing.
    unit : str
        ``s``, ``ms``, ``us`` or ``ns``: the resolution of the column.

    Raises
    ------
    FrameError
        When the times carry no zone, are not times, or hold a month above 12 (the API's dictionary writes
        ``YYYY-DD-MM``, which is read as a slip: nothing is guessed).
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        ticks, unit = instants(pd.Series(series.cat.categories), name)
        return np.append(ticks, NAT)[series.cat.codes.to_numpy()], unit
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind == "M":
        arrow: Any = dtype.pyarrow_dtype
        unit, zone = arrow.unit, arrow.tz
        series = series.astype(pd.DatetimeTZDtype(unit, zone) if zone else np.dtype(f"M8[{unit}]"))
    elif not isinstance(dtype, pd.DatetimeTZDtype) and not pd.api.types.is_datetime64_dtype(dtype):
        series = _parsed(series, name)
    if not isinstance(series.dtype, pd.DatetimeTZDtype):
        raise FrameError(
            f"{name} holds times without a zone, so they could be anyone's local time.",
            f'If they are UTC, say so: df["{name}"] = df["{name}"].dt.tz_localize("UTC")',
        )
    unit = series.dtype.unit
    plain = series.dt.tz_convert(None).to_numpy()
    return plain.astype(f"M8[{unit}]", copy=False).view(np.int64), unit


def _parsed(series: pd.Series, name: str) -> pd.Series:
    """Text, or objects, as zone-aware datetimes."""
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind in ("datetime", "datetime64"):
        return _united(series, name)
    if kind == "empty":
        return pd.Series(pd.NaT, index=series.index, dtype="datetime64[us, UTC]")
    if kind not in ("string", "mixed"):
        raise FrameError(
            f"{name} holds {kind} values; sessions need times.",
            f'Convert it first: df["{name}"] = pd.to_datetime(df["{name}"], unit="s", utc=True), or the unit it has.',
        )
    text = series.astype("str").str.strip()
    text = text.mask(text.eq(""))
    zoned = text.str.contains(_ZONE, na=True)
    if not zoned.all():
        row = int(np.flatnonzero(~zoned.to_numpy(dtype=bool))[0])
        raise FrameError(
            f"{name} holds times without a zone, first in row {row}: {text.iloc[row]!r}.",
            f'If they are UTC, say so: df["{name}"] = pd.to_datetime(df["{name}"], utc=True)',
        )
    iso = text.str.replace(r"\s*UTC$", "Z", regex=True)
    try:
        return pd.to_datetime(iso, format="ISO8601", utc=True)
    except ValueError:
        bad = pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce").isna() & iso.notna()
        row = int(np.flatnonzero(bad.to_numpy())[0])
    raise FrameError(
        f"{name} is not a time in row {row}: {text.iloc[row]!r} (read as year-month-day).",
        "Times are written YYYY-MM-DD HH:MM:SS UTC. Day and month are not swapped on a guess: mend the column first.",
    )


def _united(series: pd.Series, name: str) -> pd.Series:
    """Datetime objects as one zone-aware column."""
    if any(value.tzinfo is None for value in series.dropna()):
        raise FrameError(
            f"{name} holds times without a zone.",
            f'If they are UTC, say so: df["{name}"] = pd.to_datetime(df["{name}"], utc=True)',
        )
    return pd.to_datetime(series, utc=True)


def in_unit(ticks: IntArray, unit: str, wanted: str) -> IntArray:
    """Counts of ``unit`` as counts of ``wanted``; ``NAT`` stays ``NAT``."""
    if unit == wanted:
        return ticks
    return ticks.view(f"M8[{unit}]").astype(f"M8[{wanted}]").view(np.int64)


def truths(series: pd.Series) -> tuple[BoolArray, int]:
    """Truth values in any spelling, and how many cells held neither true nor false.

    The spelling of booleans in result files is not documented: ``TRUE``, ``true``, ``t``, ``1`` are all read.
    A cell that is empty or says anything else counts as not true.
    """
    codes, values = pd.factorize(series)
    words = [str(value).strip().casefold() for value in values]
    table = np.array([word in _TRUE for word in words] + [False], dtype=bool)
    unknown = np.array([word not in _TRUE and word not in _FALSE for word in words] + [True], dtype=bool)
    return table[codes], int(unknown[codes].sum())


def words(series: pd.Series) -> tuple[AnyInts, pd.Index]:
    """A column of words as codes into its sorted distinct values; missing and blank cells are -1.

    Returns
    -------
    codes : ndarray of ints
        One per row; of few bytes, so widen before multiplying.
    values : Index of str
        Distinct, in text order; never blank.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return tidy(series.cat.codes.to_numpy(), pd.Index(series.cat.categories))
    found, uniques = pd.factorize(series)
    return tidy(found, pd.Index(uniques), every=True)


def tidy(codes: npt.NDArray[np.integer[Any]], values: pd.Index, every: bool = False) -> tuple[AnyInts, pd.Index]:
    """Sort the distinct values as text, drop blank and unused ones, and renumber the codes to match.

    With ``every``, each value is known to be used.
    """
    text = pd.Index(values.astype("str")) if len(values) else pd.Index([], dtype="str")
    kept = ~np.asarray(text.str.strip() == "", dtype=bool)
    if not every:
        used = np.zeros(len(text) + 1, dtype=bool)
        used[codes] = True
        kept &= used[:-1]
    order = np.flatnonzero(kept)
    order = order[np.asarray(text[order].argsort())]
    if len(order) == len(text) and np.array_equal(order, np.arange(len(text))):
        return codes.astype(smallest(len(text)), copy=False), text
    # Two values may spell alike as text (1 and "1"): they share one number.
    picked = text[order]
    fresh = np.concatenate([[True], np.asarray(picked[1:] != picked[:-1])]) if len(picked) else np.zeros(0, bool)
    number = np.full(len(text) + 1, -1, dtype=smallest(len(picked)))
    number[order] = np.cumsum(fresh) - 1
    return number[codes], picked[fresh]


def smallest(count: int) -> type[np.signedinteger[Any]]:
    """The integers of fewest bytes that number ``count`` values: room for large arrays costs time, not only memory."""
    return np.int16 if count < np.iinfo(np.int16).max else np.int32


def category(codes: AnyInts, values: pd.Index) -> pd.Categorical:
    """Codes and their values as a categorical of ``str``; -1 is missing."""
    return cast("pd.Categorical", pd.Categorical.from_codes(cast("Any", codes), categories=values))


def times(ticks: IntArray, unit: str) -> pd.DatetimeIndex:
    """Counts since 1970 as zone-aware UTC times in ``unit``."""
    return pd.DatetimeIndex(ticks.view(f"M8[{unit}]")).tz_localize("UTC")


def spans(ticks: IntArray, unit: str) -> npt.NDArray[np.timedelta64]:
    """Counts of ``unit`` as ``timedelta64``; ``NAT`` is missing."""
    return ticks.view(f"m8[{unit}]")
