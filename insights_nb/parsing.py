"""Records of a shard to batches of typed columns: by a few threads, in order, a few pieces ahead.

Each column is read as text, strictly, and then turned into its declared type or refused with its place: shard, row,
column. Records are collected into pieces large enough to be worth a thread and small enough for the processor's
cache, so that a report of any size goes through in bounded memory.
"""

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
from pyarrow import csv

from insights_nb.cells import ARROW, HINT, TEXT, Column, MisfitError, pc, typed
from insights_nb.check import Records
from insights_nb.errors import FrameError

WORKERS = max(2, min(4, os.cpu_count() or 1))
_KINDS = {of: kind for kind, of in ARROW.items()}

_PIECE = 1 << 23  # text parsed at once: less makes a frame of more pieces, more leaves the processor's cache
_LONGEST_RECORD = 1 << 28
_LISTED = 30  # column names a message holds at most

Refusal = Callable[[int], FrameError]
"""Makes the error for a piece from the number of the shard's rows before it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a shard is to be read as.

    Parameters
    ----------
    name : str
        What to call it in messages.
    header : tuple of str
        Its columns in file order.
    schema : pyarrow.Schema
        The columns wanted, with their types; those it lacks are missing cells.
    """

    name: str
    header: tuple[str, ...]
    schema: pa.Schema


class Parser:
    """Parses shards one after another; fed with their records, it gives the batches back in order.

    Parameters
    ----------
    pool : Executor
        The threads that parse.
    ahead : int, default twice WORKERS
        Pieces that may be under way while others are collected.
    """

    def __init__(self, pool: Executor, ahead: int = 2 * WORKERS) -> None:
        self._pool = pool
        self._ahead = ahead
        self._under_way: deque[tuple[_Place, Future[pa.RecordBatch | Refusal]]] = deque()
        self._place = _Place(Shape("", (), pa.schema([])))
        self._parts: list[bytes | memoryview] = []
        self._length = 0

    def begin(self, shape: Shape) -> None:
        """Say whose records come next."""
        self._place = _Place(shape)

    def feed(self, records: Records) -> Iterator[pa.RecordBatch]:
        """Take the next records, and yield what is ready where much is under way.

        Raises
        ------
        FrameError
            A record has more or fewer cells than the header, text is not UTF-8, or a cell does not have its
            column's type.
        """
        text, end = records
        if end:
            self._put(memoryview(text)[:end])
            if self._length >= _PIECE:
                self._submit()
        self._put(memoryview(text)[end:])
        if not end and self._length > _LONGEST_RECORD:
            name = self._place.shape.name
            raise FrameError(f"{name} has a record of over {_LONGEST_RECORD >> 20} MiB.", HINT)
        while len(self._under_way) > self._ahead:
            yield self._settled()

    def end(self) -> None:
        """Say that the shard has no more records."""
        if self._length:
            self._submit()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield all that is still under way; errors as :meth:`feed`."""
        while self._under_way:
            yield self._settled()

    def drop(self) -> None:
        """Forget what is under way."""
        while self._under_way:
            self._under_way.pop()[1].cancel()
        self._parts, self._length = [], 0

    def _put(self, text: memoryview) -> None:
        if text:
            self._parts.append(text)
            self._length += len(text)

    def _submit(self) -> None:
        """Hand the records collected so far to a thread, in front of them a header of plain numbers.

        pyarrow takes a byte order mark at the start of its input away, be it ours to keep or not; with a header of
        our own in front, none that belongs to a cell is ever there.
        """
        head = ",".join(map(str, range(len(self._place.shape.header)))).encode() + b"\n"
        piece = pa.py_buffer(b"".join([head, *self._parts]))
        self._parts, self._length = [], 0
        self._under_way.append((self._place, self._pool.submit(_parsed, piece, self._place.shape)))

    def _settled(self) -> pa.RecordBatch:
        place, future = self._under_way.popleft()
        found = future.result()
        if not isinstance(found, pa.RecordBatch):
            raise found(place.rows)
        place.rows += found.num_rows
        return found


@dataclass(slots=True)
class _Place:
    """How far a shard was read."""

    shape: Shape
    rows: int = 0


def distinct(header: tuple[str, ...], name: str) -> None:
    """Raise FrameError where a shard's column names do not all differ."""
    if double := [column for column, count in Counter(header).items() if count > 1]:
        raise FrameError(f"{name} has more than one column named {listed(double)}.", HINT)


def listed(names: Iterable[str]) -> str:
    """Column names for a message: a few, and harmless ones, since a file may name its columns as it likes."""
    shown = [name if name.isprintable() and len(name) < 80 else ascii(name[:80]) for name in islice(names, _LISTED + 1)]
    return ", ".join([*shown[:_LISTED], "…"] if len(shown) > _LISTED else shown)


def _parsed(piece: pa.Buffer, shape: Shape) -> pa.RecordBatch | Refusal:
    """Parse one piece of a shard into the columns wanted, or say what is wrong with it."""
    failure = ""
    try:
        table = _parse(piece, len(shape.header))
    except pa.ArrowInvalid as error:
        # Its text may show a whole row, which is personal data: it goes no further than the message made of it.
        failure = str(error)
    if failure:
        return lambda before: _malformed(failure, shape, before)
    if len(shape.header) > 1 and (empty := _empty_lines(piece, table)):
        return lambda _: FrameError(f"{shape.name} has {empty} empty lines among its rows.", HINT)
    at = {name: position for position, name in enumerate(shape.header)}
    columns = []
    for field in shape.schema:
        if field.name not in at:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        misfit = None
        try:
            columns.append(typed(_whole(table.column(at[field.name])), _KINDS[field.type]))
        except MisfitError as error:
            misfit, name = error, listed([field.name])
        if misfit is not None:
            return lambda before, misfit=misfit, name=name: misfit.placed(name, shape.name, before)  # type: ignore[misc]
    return pa.RecordBatch.from_arrays(columns, schema=shape.schema)


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


def _malformed(reason: str, shape: Shape, before: int) -> FrameError:
    """Say in our words what pyarrow says of a piece."""
    # pyarrow counts the header as row 1, and goes on to show the row, which we do not.
    if ragged := re.match(r"CSV parse error: Row #(\d+): Expected \d+ columns, got (\d+)", reason):
        row, cells = before + int(ragged[1]) - 1, ragged[2]
        return FrameError(
            f"row {row} of {shape.name} has {cells} cells where its header has {len(shape.header)}.", HINT
        )
    place = re.match(r"In CSV column #(\d+): Row #(\d+)", reason)
    if place and "UTF8" in reason:
        name, row = listed([shape.header[int(place[1])]]), before + int(place[2]) - 1
        return FrameError(f"row {row} of {shape.name} has text that is not UTF-8 in column {name}.", HINT)
    return FrameError(f"{shape.name} is not well-formed CSV.", HINT)


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
