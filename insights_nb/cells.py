"""A column of text to its declared type: right or refused, never guessed.

Each reader takes the cells as they stand in the file and turns all of them, or refuses with the place of the first
that is not what its column promises. Pure: no file, no thread.
"""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import compute

from insights_nb.catalog import FieldType
from insights_nb.errors import FrameError

# Columns and compute functions go untyped: the stubs know no mix of column and plain value.
Column = Any
pc: Any = compute

TEXT = pa.large_string()  # 64-bit offsets: a column may hold more than 2 GiB of text
INSTANT = pa.timestamp("us", tz="UTC")
ARROW: dict[FieldType, Any] = {
    FieldType.STRING: TEXT,
    FieldType.INTEGER: pa.int64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.TIMESTAMP: INSTANT,
}

HINT = "The file is whole, so asking again will not help; please report it, with the query and the report id."
_INTEGER = re.compile(r"[+-]?[0-9]+")
_STAMP = re.compile(r"\d{4}-(\d\d)-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?( UTC|Z)?")


class MisfitError(Exception):
    """A cell is not what its column promises; known to the rooms that read, which say where it is.

    Parameters
    ----------
    row : int
        Its place in the column, from 0.
    says : str
        What it is and what was wanted.
    """

    def __init__(self, row: int, says: str) -> None:
        super().__init__(says)
        self.row = row
        self.says = says

    def placed(self, name: str, file: str, before: int) -> FrameError:
        """Return our error, with the row's number in the whole file."""
        return FrameError(f"row {before + self.row + 1} in column {name} of {file} is {self.says}", HINT)


def typed(column: Column, kind: FieldType) -> Column:
    """Turn a column of text into its declared type; missing cells stay missing.

    Raises
    ------
    MisfitError
        A cell does not have the type.
    """
    return _READERS[kind](column)


def is_all(mask: Column) -> bool:
    """Whether every cell that is there is true; also where none is."""
    return bool(pc.all(mask, min_count=0).as_py())


def _text(column: Column) -> Column:
    return column


def _integers(column: Column) -> Column:
    if not is_all(pc.ascii_is_decimal(column)):
        # arrow also reads 0x10 as 16, which no service meant.
        fits = pc.match_substring_regex(column, pattern=r"^[+-]?[0-9]+$")
        if not is_all(fits):
            raise _misfit(column, "a whole number", lambda text: bool(_INTEGER.fullmatch(text)))
        column = pc.replace_substring_regex(column, pattern=r"^\+", replacement="")
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        pass
    raise _misfit(column, "a whole number of 64 bits", lambda text: -(2**63) <= int(text) < 2**63)


def _booleans(column: Column) -> Column:
    # How the service writes booleans is not documented: any case will do.
    lower = pc.ascii_lower(column)
    true = pc.equal(lower, "true")
    if is_all(pc.or_(true, pc.equal(lower, "false"))):
        return true
    raise _misfit(column, "true or false", lambda text: text.lower() in {"true", "false"})


def _instants(column: Column) -> Column:
    if is_all(pc.ends_with(column, pattern=" UTC")):
        # As bytes, which need not be counted as characters.
        bare = pc.binary_slice(column.view(pa.large_binary()), start=0, stop=-4).view(TEXT)
    else:
        bare = pc.replace_substring_regex(column, pattern="( UTC|Z)$", replacement="")
    # arrow's own parser checks the rest; by length, what is left is a date, a time and at most six digits.
    length = pc.binary_length(bare)
    full = pc.and_(pc.and_(pc.greater_equal(length, 19), pc.less_equal(length, 26)), pc.not_equal(length, 20))
    if is_all(full):
        try:
            return bare.cast(pa.timestamp("us")).cast(INSTANT)
        except pa.ArrowInvalid:
            pass
    raise _misfit(column, "a time of the form YYYY-MM-DD HH:MM:SS UTC", _is_instant)


_READERS: dict[FieldType, Callable[[Column], Column]] = {
    FieldType.STRING: _text,
    FieldType.INTEGER: _integers,
    FieldType.BOOLEAN: _booleans,
    FieldType.TIMESTAMP: _instants,
}


def _is_instant(text: str) -> bool:
    if not _STAMP.fullmatch(text):
        return False
    try:
        pa.scalar(text.removesuffix(" UTC").removesuffix("Z")).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return True


def _misfit(column: Column, wanted: str, fits: Callable[[str], bool]) -> MisfitError:
    """Find the first cell which is not what its column promises."""
    cells = ((row, cell.as_py()) for row, cell in enumerate(column))
    row, text = next(((row, text) for row, text in cells if text is not None and not fits(text)), (0, ""))
    shown = repr(text if len(text) <= 40 else f"{text[:40]}…")
    stamp = _STAMP.fullmatch(text)
    order = ""
    if wanted.startswith("a time") and stamp and int(stamp[1]) > 12:
        order = " The month stands second, and there is none above 12; the order is never guessed."
    return MisfitError(row, f"{shown}, not {wanted}.{order}")
