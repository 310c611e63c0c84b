"""Verified shards to typed columns and to a DataFrame: every column declared, nothing guessed.

Readers that infer types turn ``+15555550123`` into a number, ``"NA"`` into nothing and ``0012`` into 12, and
readers that forgive shift a row's cells in silence. Here each column is read as text, strictly, and then turned
into its declared type or refused with its place: shard, row, column.

A shard is cut into pieces of whole records as it is inflated, and the pieces are parsed by a few threads, so that a
report of any size goes through in bounded memory, and in its own order.
"""

import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from insights_nb.catalog import FieldType
from insights_nb.cells import ARROW, HINT, TEXT, Column, MisfitError, pc, typed
from insights_nb.check import header_end, inflate, parse_header
from insights_nb.errors import FrameError, IntegrityError

# Timestamps need no entry: pandas makes them datetime64[us, UTC] by itself.
_PANDAS = {TEXT: pd.StringDtype(na_value=np.nan), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}

_PIECE = 1 << 23  # text parsed at once: less makes a frame of more pieces, more leaves the processor's cache
_LONGEST_RECORD = 1 << 28
_WORKERS = max(2, min(4, os.cpu_count() or 1))
_LISTED = 30  # column names a message holds at most

Refusal = Callable[[int], FrameError]
"""Makes the error for a piece from the number of the shard's rows before it."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a report's shards are as one table.

    Parameters
    ----------
    asked : tuple of str
        Columns the query asked for, in that order.
    headers : tuple of tuple of str
        Each shard's columns in file order.
    schema : pyarrow.Schema
        The table's: columns asked for, then any others as text.
    """

    asked: tuple[str, ...]
    headers: tuple[tuple[str, ...], ...]
    schema: pa.Schema


def read_frame(
    paths: Sequence[Path],
    columns: Sequence[str],
    types: Mapping[str, FieldType],
    *,
    dtype_backend: Literal["pyarrow"] | None = None,
    rows: int | None = None,
    only: Sequence[str] | None = None,
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
    only : sequence of str or None
        Keep only these of the columns, in this order.

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
    outline = read_outline(paths, columns, types)
    warn_of_extras(outline.schema.names if only is None else [], outline.asked)
    with closing(read_batches(paths, outline, rows, only)) as batches:
        table = pa.Table.from_batches(list(batches), _of(outline.schema, only))
    return as_frame(table, dtype_backend)


def read_outline(paths: Sequence[Path], columns: Iterable[str], types: Mapping[str, FieldType]) -> Outline:
    """Read every shard's header and unite them; arguments and errors as :func:`read_frame`."""
    asked = tuple(dict.fromkeys(columns))
    headers = tuple(_header(path) for path in paths)
    found = dict.fromkeys(name for header in headers for name in header)
    missing = [name for name in asked if name not in found]
    if headers and missing:
        raise FrameError(
            f"the report lacks {_listed(missing)}, which the query asked for; its files have {_listed(found)}.", HINT
        )
    wanted = set(asked)
    extras = [pa.field(name, TEXT) for name in found if name not in wanted]
    return Outline(asked, headers, pa.schema([*arrow_schema(asked, types), *extras]))


def warn_of_extras(names: Iterable[str], asked: Iterable[str]) -> None:
    """Warn of columns that nobody asked for."""
    wanted = set(asked)
    if extras := [name for name in names if name not in wanted]:
        warnings.warn(
            f"the report has columns the query did not ask for; they are kept as text: {_listed(extras)}",
            UserWarning,
            stacklevel=3,
        )


def read_batches(
    paths: Sequence[Path], outline: Outline, rows: int | None = None, only: Sequence[str] | None = None
) -> Generator[pa.RecordBatch]:
    """Yield the shards' rows in order, in batches of some megabytes; close it when done with it.

    Parameters
    ----------
    paths : sequence of Path
        The shards.
    outline : Outline
        Theirs.
    rows : int or None
        As in :func:`read_frame`; looked at after the last batch.
    only : sequence of str or None
        Keep only these columns.

    Raises
    ------
    FrameError, IntegrityError
        As :func:`read_frame`.
    """
    kinds = {field.name: kind for field in outline.schema for kind, of in ARROW.items() if field.type == of}
    schema = _of(outline.schema, only)
    total = 0
    under_way: deque[tuple[Path, Future[pa.RecordBatch | Refusal]]] = deque()
    before: Counter[Path] = Counter()

    def settled() -> pa.RecordBatch:
        path, future = under_way.popleft()
        found = future.result()
        if not isinstance(found, pa.RecordBatch):
            raise found(before[path])
        before[path] += found.num_rows
        return found

    with ThreadPoolExecutor(_WORKERS, "insights-parse") as pool:
        try:
            for path, header in zip(paths, outline.headers, strict=True):
                for piece in _pieces(path, len(header)):
                    under_way.append((path, pool.submit(_parsed, piece, path, header, kinds, schema)))
                    if len(under_way) > _WORKERS:
                        yield (batch := settled())
                        total += batch.num_rows
            while under_way:
                yield (batch := settled())
                total += batch.num_rows
        finally:
            for _, future in under_way:
                future.cancel()
    if rows is not None and total != rows:
        raise IntegrityError(
            f"the files hold {total:,} rows where the check counted {rows:,}.",
            "Ask again with refresh=True to fetch the report anew.",
        )


def as_frame(table: pa.Table, dtype_backend: Literal["pyarrow"] | None = None, start: int = 0) -> pd.DataFrame:
    """Make a DataFrame of a table, with the dtypes of :func:`read_frame`, its RangeIndex beginning at ``start``."""
    mapper: Callable[[pa.DataType], Any] = pd.ArrowDtype if dtype_backend == "pyarrow" else _PANDAS.get
    frame = table.to_pandas(types_mapper=mapper, split_blocks=True)
    if start:
        frame.index = pd.RangeIndex(start, start + len(frame))
    return frame


def frames_of(
    batches: Iterable[pa.RecordBatch], rows: int, dtype_backend: Literal["pyarrow"] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield batches as frames of ``rows`` rows each, the last one shorter; put together they are the whole frame."""
    held: list[pa.RecordBatch] = []
    start, count = 0, 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield as_frame(table.slice(0, rows), dtype_backend, start)
            held = table.slice(rows).to_batches() or [batch.slice(0, 0)]
            start, count = start + rows, count - rows
    if count:
        yield as_frame(pa.Table.from_batches(held), dtype_backend, start)


def arrow_schema(columns: Iterable[str], types: Mapping[str, FieldType]) -> pa.Schema:
    """Return the schema of the columns asked for, whatever the shards have besides."""
    return pa.schema([(name, ARROW[types.get(name, FieldType.STRING)]) for name in dict.fromkeys(columns)])


def _of(schema: pa.Schema, only: Sequence[str] | None) -> pa.Schema:
    return schema if only is None else pa.schema([schema.field(name) for name in only])


def _header(path: Path) -> tuple[str, ...]:
    """Return a shard's column names, which must all differ."""
    first = b""
    for piece in inflate(path):
        first += piece
        if end := header_end(first):
            first = first[:end]
            break
    header = parse_header(first, path.name)
    double = [name for name, count in Counter(header).items() if count > 1]
    if double:
        raise FrameError(f"{path.name} has more than one column named {_listed(double)}.", HINT)
    return header


def _pieces(path: Path, width: int) -> Iterator[pa.Buffer]:
    """Yield a shard's records in pieces of whole records, in front of each a header of plain numbers.

    pyarrow takes a byte order mark at the start of its input away, be it ours to keep or not; with a header of
    our own in front, none that belongs to a cell is ever there.
    """
    head = ",".join(map(str, range(width))).encode() + b"\n"
    parts, length, enough = [head], 0, _PIECE
    first: bytes | None = b""
    for text in inflate(path):
        if first is not None:
            first += text
            if not (end := header_end(first)):
                continue
            text, first = first[end:], None
        parts.append(text)
        length += len(text)
        if length < enough:
            continue
        whole = b"".join(parts)
        end = _last_record_end(whole, len(head))
        if end > len(head):
            yield pa.py_buffer(whole).slice(0, end)
            parts, length, enough = [head, whole[end:]], len(whole) - end, _PIECE
        elif length > _LONGEST_RECORD:
            raise FrameError(f"{path.name} has a record of over {_LONGEST_RECORD >> 20} MiB.", HINT)
        else:
            parts, enough = [whole], 2 * length
    if length:
        yield pa.py_buffer(b"".join(parts))


def _last_record_end(text: bytes, start: int) -> int:
    """Return where the last whole record ends in a text whose first record begins at ``start``."""
    end = text.rfind(b"\n", start) + 1
    inside = text.count(b'"', start, end) % 2 == 1
    while inside and end:
        # From its last quote on, all of it lies within a field: the line that quote stands in is not whole.
        quote = text.rfind(b'"', start, end)
        before = text.rfind(b"\n", start, quote) + 1
        inside ^= text.count(b'"', max(before, start), end) % 2 == 1
        end = before
    return max(end, start)


def _parsed(
    piece: pa.Buffer, path: Path, header: Sequence[str], kinds: Mapping[str, FieldType], schema: pa.Schema
) -> pa.RecordBatch | Refusal:
    """Parse one piece of a shard into the columns of the whole report, or say what is wrong with it."""
    failure = ""
    try:
        table = _parse(piece, len(header))
    except pa.ArrowInvalid as error:
        # Its text may show a whole row, which is personal data: it goes no further than the message made of it.
        failure = str(error)
    if failure:
        return lambda before: _malformed(failure, path, header, before)
    if len(header) > 1 and (empty := _empty_lines(piece, table)):
        return lambda _: FrameError(f"{path.name} has {empty} empty lines among its rows.", HINT)
    at = {name: position for position, name in enumerate(header)}
    columns = []
    for field in schema:
        if field.name not in at:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        misfit = None
        try:
            columns.append(typed(_whole(table.column(at[field.name])), kinds[field.name]))
        except MisfitError as error:
            misfit, name = error, _listed([field.name])
        if misfit is not None:
            return lambda before, misfit=misfit, name=name: misfit.placed(name, path.name, before)  # type: ignore[misc]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _whole(column: Column) -> Column:
    """Return a column as one array; a piece is parsed as one block, so there is no more than one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _parse(piece: pa.Buffer, width: int, *, ignore_empty_lines: bool = False) -> pa.Table:
    """Parse a piece as text in this thread, its columns named by their positions."""
    source: Any = pa.BufferReader(piece)
    return csv.read_csv(
        source,
        # One thread, or the errors do not say in which row.
        read_options=csv.ReadOptions(block_size=piece.size + 1, use_threads=False),
        parse_options=csv.ParseOptions(
            newlines_in_values=True,
            # In a file of one column an empty line is a row whose cell is empty.
            ignore_empty_lines=ignore_empty_lines,
        ),
        convert_options=csv.ConvertOptions(
            column_types={str(position): TEXT for position in range(width)},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=True,
        ),
    )


def _malformed(reason: str, path: Path, header: Sequence[str], before: int) -> FrameError:
    """Say in our words what pyarrow says of a piece."""
    # pyarrow counts the header as row 1, and goes on to show the row, which we do not.
    if ragged := re.match(r"CSV parse error: Row #(\d+): Expected \d+ columns, got (\d+)", reason):
        row, cells = before + int(ragged[1]) - 1, ragged[2]
        return FrameError(f"row {row} of {path.name} has {cells} cells where its header has {len(header)}.", HINT)
    place = re.match(r"In CSV column #(\d+): Row #(\d+)", reason)
    if place and "UTF8" in reason:
        name, row = _listed([header[int(place[1])]]), before + int(place[2]) - 1
        return FrameError(f"row {row} of {path.name} has text that is not UTF-8 in column {name}.", HINT)
    return FrameError(f"{path.name} is not well-formed CSV.", HINT)


def _empty_lines(piece: pa.Buffer, table: pa.Table) -> int:
    """Count lines that hold nothing, not even commas: pyarrow reads one as a row of missing cells."""
    if any(column.null_count == 0 for column in table.columns):
        return 0
    empty: Column = table.column(0).is_null()
    for column in table.columns[1:]:
        empty = pc.and_(empty, column.is_null())
    if not pc.any(empty).as_py():
        return 0
    # A row of nothing but commas is legitimate; only leaving empty lines out tells the two apart.
    return table.num_rows - _parse(piece, table.num_columns, ignore_empty_lines=True).num_rows


def _listed(names: Iterable[str]) -> str:
    """Column names for a message: a few, and harmless ones, since a file may name its columns as it likes."""
    shown = [name if name.isprintable() and len(name) < 80 else ascii(name[:80]) for name in islice(names, _LISTED + 1)]
    return ", ".join([*shown[:_LISTED], "…"] if len(shown) > _LISTED else shown)
