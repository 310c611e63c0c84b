"""Verified shards to a typed DataFrame: every column declared, nothing guessed.

Readers that infer types turn ``+15555550123`` into a number, ``"NA"`` into nothing and ``0012`` into 12, and
readers that forgive shift a row's cells in silence. Here each column is read as text, strictly, and then turned
into its declared type or refused with its place: shard, row, column.
"""

import io
import re
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv

from insights_nb.catalog import FieldType
from insights_nb.check import header_end, inflate, parse_header
from insights_nb.errors import FrameError, IntegrityError

# Columns and compute functions go untyped: the stubs know no mix of column and plain value.
Column = Any
pc: Any = compute

TEXT = pa.large_string()  # 64-bit offsets: a column may hold more than 2 GiB of text
INSTANT = pa.timestamp("us", tz="UTC")
_ARROW: dict[FieldType, Any] = {
    FieldType.STRING: TEXT,
    FieldType.INTEGER: pa.int64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.TIMESTAMP: INSTANT,
}
# Timestamps need no entry: pandas makes them datetime64[us, UTC] by itself.
_PANDAS = {TEXT: pd.StringDtype(na_value=np.nan), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}

_BLOCK = 1 << 23  # a record longer than this is read again with the larger block
_LARGE_BLOCK = 1 << 28
_HINT = "The file is whole, so asking again will not help; please report it, with the query and the report id."
_INTEGER = re.compile(r"[+-]?[0-9]+")
_STAMP = re.compile(r"\d{4}-(\d\d)-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?( UTC|Z)?")


def read_frame(
    paths: Sequence[Path],
    columns: Sequence[str],
    types: Mapping[str, FieldType],
    *,
    dtype_backend: Literal["pyarrow"] | None = None,
    rows: int | None = None,
) -> pd.DataFrame:
    """Read gzip CSV shards that :func:`insights_nb.check.inspect_shard` found whole into one DataFrame.

    Parameters
    ----------
    paths : sequence of Path
        The shards, in the order their rows shall have. Their headers may differ in order and extent: they are
        united by column name, and cells a shard lacks are missing.
    columns : sequence of str
        The fields asked for, in the order wanted.
    types : mapping of str to FieldType
        Declared types; a column without one is a STRING.
    dtype_backend : "pyarrow" or None
        As in ``pandas.read_csv``: None gives ``str``, ``Int64``, ``boolean`` and ``datetime64[us, UTC]``;
        ``"pyarrow"`` gives ``ArrowDtype`` columns (large_string, int64, bool, timestamp[us, UTC]).
    rows : int or None
        How many rows the check counted, in all shards; None checks nothing.

    Returns
    -------
    pandas.DataFrame
        One row per record, RangeIndex, the columns asked for and then, as text and with a warning, any others
        the files have. An empty cell is missing: the file form cannot tell it from an empty string. The dtypes
        do not depend on what the cells hold, nor on whether there are any.

    Raises
    ------
    FrameError
        A record has more or fewer cells than its header, text is not UTF-8, a name stands twice in a header, a
        column asked for is in no shard, or a cell does not have its column's type.
    IntegrityError
        The file is not what it was when it was checked: not whole, or another number of rows.
    """
    asked = list(dict.fromkeys(columns))
    kinds = {name: types.get(name, FieldType.STRING) for name in asked}
    tables = [_read_shard(path, kinds) for path in paths]
    names = asked + _extras(tables, asked)
    whole = pa.concat_tables([_with_columns(table, names, kinds) for table in tables or [_empty(asked, kinds)]])
    if rows is not None and whole.num_rows != rows:
        raise IntegrityError(
            f"the files hold {whole.num_rows:,} rows where the check counted {rows:,}.",
            "Ask again with refresh=True to fetch the report anew.",
        )
    del tables
    mapper: Callable[[pa.DataType], Any] = pd.ArrowDtype if dtype_backend == "pyarrow" else _PANDAS.get
    # Nobody else holds the table, so pandas may free each column's buffers once it has its own.
    return whole.to_pandas(types_mapper=mapper, split_blocks=True, self_destruct=True)


def _read_shard(path: Path, kinds: Mapping[str, FieldType]) -> pa.Table:
    """Read one shard: declared columns typed, others as text, in file order."""
    header = _header(path)
    failure = ""
    for block in (_BLOCK, _LARGE_BLOCK):
        try:
            table = _parse(path, header, block)
            break
        except pa.ArrowInvalid as error:
            # Its text may show a whole row, which is personal data: it goes no further than this line.
            failure = str(error)
        if "straddl" not in failure:
            raise _malformed(path, header)
    else:
        raise FrameError(f"{path.name} has a record of over {_LARGE_BLOCK >> 20} MiB.", _HINT)
    if len(header) > 1:
        _refuse_empty_lines(path, header, table)
    for position, name in enumerate(header):
        if kind := kinds.get(name):
            typed = _READERS[kind](table.column(position), f"column {name} of {path.name}")
            table = table.set_column(position, name, typed)
    return table.rename_columns(list(header))


def _header(path: Path) -> tuple[str, ...]:
    """Return a shard's column names, which must all differ."""
    first = b""
    for piece in inflate(path):
        first += piece
        if end := header_end(first):
            first = first[:end]
            break
    header = parse_header(first, path.name)
    double = sorted({name for name in header if header.count(name) > 1})
    if double:
        raise FrameError(f"{path.name} has more than one column named {', '.join(double)}.", _HINT)
    return header


class _ShardText(io.RawIOBase):
    """A shard's text as a file for pyarrow, its header replaced by plain numbers.

    pyarrow takes a byte order mark at the start of its input away, be it ours to keep or not; with a header of
    our own in front, none that belongs to a cell is ever there.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._pieces = self._text(path, width)
        self._left = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return exactly ``size`` bytes except at the end: a block cut short would split a record."""
        parts = [self._left]
        length = len(self._left)
        while length < size and (piece := next(self._pieces, b"")):
            parts.append(piece)
            length += len(piece)
        text = b"".join(parts)
        self._left = text[size:]
        return text[:size]

    def close(self) -> None:
        """Close the shard."""
        self._pieces.close()
        super().close()

    @staticmethod
    def _text(path: Path, width: int) -> Generator[bytes]:
        yield ",".join(map(str, range(width))).encode() + b"\n"
        first: bytes | None = b""
        for piece in inflate(path):
            if first is None:
                yield piece
                continue
            first += piece
            if end := header_end(first):
                if len(first) > end:
                    yield first[end:]
                first = None


def _parse(
    path: Path,
    header: Sequence[str],
    block: int,
    *,
    threads: bool = True,
    ignore_empty_lines: bool = False,
) -> pa.Table:
    """Parse one shard as text, its columns named by their positions."""
    source: Any = pa.PythonFile(_ShardText(path, len(header)), mode="r")
    return csv.read_csv(
        source,
        read_options=csv.ReadOptions(block_size=block, use_threads=threads),
        parse_options=csv.ParseOptions(
            newlines_in_values=True,
            # In a file of one column an empty line is a row whose cell is empty.
            ignore_empty_lines=ignore_empty_lines,
        ),
        convert_options=csv.ConvertOptions(
            column_types={str(position): TEXT for position in range(len(header))},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=True,
        ),
    )


def _malformed(path: Path, header: Sequence[str]) -> FrameError:
    """Find out where a shard that does not parse goes wrong, by reading it again in one thread."""
    reason = ""
    try:
        _parse(path, header, _LARGE_BLOCK, threads=False)
    except pa.ArrowInvalid as error:
        reason = str(error)
    # pyarrow counts the header as row 1, and goes on to show the row, which we do not.
    if ragged := re.match(r"CSV parse error: Row #(\d+): Expected \d+ columns, got (\d+)", reason):
        row, cells = int(ragged[1]) - 1, ragged[2]
        return FrameError(f"row {row} of {path.name} has {cells} cells where its header has {len(header)}.", _HINT)
    place = re.match(r"In CSV column #(\d+): Row #(\d+)", reason)
    if place and "UTF8" in reason:
        name, row = header[int(place[1])], int(place[2]) - 1
        return FrameError(f"row {row} of {path.name} has text that is not UTF-8 in column {name}.", _HINT)
    return FrameError(f"{path.name} is not well-formed CSV.", _HINT)


def _refuse_empty_lines(path: Path, header: Sequence[str], table: pa.Table) -> None:
    """Refuse lines that hold nothing, not even commas: pyarrow reads one as a row of missing cells."""
    if any(column.null_count == 0 for column in table.columns):
        return
    empty: Column = table.column(0).is_null()
    for column in table.columns[1:]:
        empty = pc.and_(empty, column.is_null())
    if not pc.any(empty).as_py():
        return
    # A row of nothing but commas is legitimate; only leaving empty lines out tells the two apart.
    without = _parse(path, header, _LARGE_BLOCK, ignore_empty_lines=True).num_rows
    if without != table.num_rows:
        raise FrameError(f"{path.name} has {table.num_rows - without} empty lines among its rows.", _HINT)


def _text(column: Column, where: str) -> Column:
    return column


def _integers(column: Column, where: str) -> Column:
    if not _all(pc.ascii_is_decimal(column)):
        # arrow also reads 0x10 as 16, which no service meant.
        fits = pc.match_substring_regex(column, pattern=r"^[+-]?[0-9]+$")
        if not _all(fits):
            raise _unreadable(column, where, "a whole number", lambda text: bool(_INTEGER.fullmatch(text)))
        column = pc.replace_substring_regex(column, pattern=r"^\+", replacement="")
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        pass
    raise _unreadable(column, where, "a whole number of 64 bits", lambda text: -(2**63) <= int(text) < 2**63)


def _booleans(column: Column, where: str) -> Column:
    # How the service writes booleans is not documented: any case will do.
    lower = pc.ascii_lower(column)
    true = pc.equal(lower, "true")
    if _all(pc.or_(true, pc.equal(lower, "false"))):
        return true
    raise _unreadable(column, where, "true or false", lambda text: text.lower() in {"true", "false"})


def _instants(column: Column, where: str) -> Column:
    if _all(pc.ends_with(column, pattern=" UTC")):
        bare = pc.utf8_slice_codeunits(column, start=0, stop=-4)
    else:
        bare = pc.replace_substring_regex(column, pattern="( UTC|Z)$", replacement="")
    # arrow's own parser checks the rest; by length, what is left is a date, a time and at most six digits.
    length = pc.binary_length(bare)
    full = pc.and_(pc.and_(pc.greater_equal(length, 19), pc.less_equal(length, 26)), pc.not_equal(length, 20))
    if _all(full):
        try:
            return bare.cast(pa.timestamp("us")).cast(INSTANT)
        except pa.ArrowInvalid:
            pass
    raise _unreadable(column, where, "a time of the form YYYY-MM-DD HH:MM:SS UTC", _is_instant)


_READERS: dict[FieldType, Callable[[Column, str], Column]] = {
    FieldType.STRING: _text,
    FieldType.INTEGER: _integers,
    FieldType.BOOLEAN: _booleans,
    FieldType.TIMESTAMP: _instants,
}


def _all(mask: Column) -> bool:
    """Whether every cell that is there is true; also where none is."""
    return bool(pc.all(mask, min_count=0).as_py())


def _is_instant(text: str) -> bool:
    if not _STAMP.fullmatch(text):
        return False
    try:
        pa.scalar(text.removesuffix(" UTC").removesuffix("Z")).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return True


def _unreadable(column: Column, where: str, wanted: str, fits: Callable[[str], bool]) -> FrameError:
    """Return the error that names the first cell which is not what its column promises."""
    cells = ((row, cell.as_py()) for row, cell in enumerate(column, start=1))
    row, text = next(((row, text) for row, text in cells if text is not None and not fits(text)), (1, ""))
    shown = repr(text if len(text) <= 40 else f"{text[:40]}…")
    stamp = _STAMP.fullmatch(text)
    order = ""
    if wanted.startswith("a time") and stamp and int(stamp[1]) > 12:
        order = " The month stands second, and there is none above 12; the order is never guessed."
    return FrameError(f"row {row} in {where} is {shown}, not {wanted}.{order}", _HINT)


def _extras(tables: Sequence[pa.Table], asked: Sequence[str]) -> list[str]:
    """Return the columns nobody asked for, after making sure that none asked for is missing."""
    found = dict.fromkeys(name for table in tables for name in table.column_names)
    missing = [name for name in asked if name not in found]
    if tables and missing:
        raise FrameError(
            f"the report lacks {', '.join(missing)}, which the query asked for; its files have {', '.join(found)}.",
            _HINT,
        )
    extras = [name for name in found if name not in set(asked)]
    if extras:
        warnings.warn(
            f"the report has columns the query did not ask for; they are kept as text: {', '.join(extras)}",
            UserWarning,
            stacklevel=3,
        )
    return extras


def _with_columns(table: pa.Table, names: Sequence[str], kinds: Mapping[str, FieldType]) -> pa.Table:
    """Return the table with these columns in this order, those it lacks filled with nothing."""
    present = set(table.column_names)
    columns = []
    for name in names:
        kind = _ARROW[kinds.get(name, FieldType.STRING)]
        columns.append(table.column(name) if name in present else pa.nulls(table.num_rows, kind))
    return pa.table(columns, names=list(names))


def _empty(names: Sequence[str], kinds: Mapping[str, FieldType]) -> pa.Table:
    """Return a table without rows."""
    return pa.table([pa.nulls(0, _ARROW[kinds[name]]) for name in names], names=list(names))
