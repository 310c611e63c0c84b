"""Verified shards to typed columns and to a DataFrame: every column declared, nothing guessed.

Readers that infer types turn ``+15555550123`` into a number, ``"NA"`` into nothing and ``0012`` into 12, and
readers that forgive shift a row's cells in silence. Here each column is read as text, strictly, and then turned
into its declared type or refused with its place: shard, row, column.
"""

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from insights_nb.catalog import FieldType
from insights_nb.cells import ARROW, HINT, TEXT
from insights_nb.check import header_end, parse_header, read_records
from insights_nb.errors import FrameError, IntegrityError
from insights_nb.gunzip import inflate
from insights_nb.parsing import WORKERS, Parser, Shape, distinct, listed

# Timestamps need no entry: pandas makes them datetime64[us, UTC] by itself.
_PANDAS = {TEXT: pd.StringDtype(na_value=np.nan), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


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
            f"the report lacks {listed(missing)}, which the query asked for; its files have {listed(found)}.", HINT
        )
    wanted = set(asked)
    extras = [pa.field(name, TEXT) for name in found if name not in wanted]
    return Outline(asked, headers, pa.schema([*arrow_schema(asked, types), *extras]))


def warn_of_extras(names: Iterable[str], asked: Iterable[str]) -> None:
    """Warn of columns that nobody asked for."""
    wanted = set(asked)
    if extras := [name for name in names if name not in wanted]:
        warnings.warn(
            f"the report has columns the query did not ask for; they are kept as text: {listed(extras)}",
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
    schema = _of(outline.schema, only)
    total = 0
    with ThreadPoolExecutor(WORKERS, "insights-parse") as pool:
        parser = Parser(pool)
        try:
            for batch in _parsed(parser, paths, outline, schema):
                yield batch
                total += batch.num_rows
        finally:
            parser.drop()
    if rows is not None and total != rows:
        raise IntegrityError(
            f"the files hold {total:,} rows where the check counted {rows:,}.",
            "Ask again with refresh=True to fetch the report anew.",
        )


def _parsed(parser: Parser, paths: Sequence[Path], outline: Outline, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for path, header in zip(paths, outline.headers, strict=True):
        parser.begin(Shape(path.name, header, schema))
        for records in read_records(path):
            yield from parser.feed(records)
        parser.end()
    yield from parser.rest()


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
    distinct(header, path.name)
    return header
