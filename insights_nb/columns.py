"""The columnar copy of a cached report: the same rows, typed, in files that are mapped rather than read.

Derived, and treated so: the gzip shards stay the truth. A copy that is missing, made from another shard, of another
form, or not what was written byte by byte is dropped in silence, and made anew by the next reading. The hash guards
against rot, not against a person: whoever can write to this folder can also write the shards.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import dataset

from insights_nb import disk
from insights_nb.cache import Entry, Shard
from insights_nb.cells import TEXT
from insights_nb.copyfile import BLOCK, FILE, FORM, Record, beside, clear_shard_quietly, hash_of, read_record


def open_table(entry: Entry, asked: pa.Schema, only: Sequence[str] | None = None) -> pa.Table | None:
    """Return an entry's rows from its copy, every byte handed out checked; None where a shard's is missing or bad.

    Parameters
    ----------
    entry : Entry
        Published.
    asked : pyarrow.Schema
        The columns that were asked for.
    only : sequence of str or None
        Only these columns, in this order; of what is not compressed no others are read, nor checked.
    """
    tables, schemas = [], []
    with _hashing() as pool:
        for path, shard in zip(entry.paths, entry.manifest.shards, strict=True):
            found = None
            # Whatever pyarrow makes of a damaged file, it is no reason to fail. What is found is checked before use.
            with suppress(OSError, pa.ArrowException, ValueError, KeyError, IndexError, AttributeError):
                if opened := _opened(path, shard):
                    found = _checked_table(pool, *opened, asked, only)
            if found is None or found[0].num_rows != shard.rows:
                clear_shard_quietly(path)
            else:
                tables.append(found[0])
                schemas.append(found[1])
    united = _united(schemas, asked)
    if len(tables) < len(entry.paths) or united is None:
        return None
    wanted = united if only is None else pa.schema([united.field(name) for name in only])
    return pa.concat_tables([_completed(table, wanted) for table in tables])


def open_dataset(entry: Entry, asked: pa.Schema) -> dataset.Dataset | None:
    """Return an entry's copy, checked whole, for an engine to query without loading it.

    None where a shard's copy is missing or bad.
    """
    schemas = []
    with _hashing() as pool:
        for path, shard in zip(entry.paths, entry.manifest.shards, strict=True):
            schema = None
            with suppress(OSError, pa.ArrowException, ValueError):
                if opened := _opened(path, shard):
                    schema = _checked_schema(pool, *opened, asked)
            if schema is None:
                clear_shard_quietly(path)
            else:
                schemas.append(schema)
    united = _united(schemas, asked)
    if len(schemas) < len(entry.paths) or united is None:
        return None
    return dataset.dataset([str(beside(path, FILE)) for path in entry.paths], schema=united, format="ipc")


def lacking(entry: Entry) -> list[int]:
    """Numbers of the shards that have no copy, by a look at its record."""
    shards = enumerate(zip(entry.paths, entry.manifest.shards, strict=True))
    return [number for number, (path, shard) in shards if _opened(path, shard) is None]


def _opened(path: Path, shard: Shard) -> tuple[Record, pa.Buffer] | None:
    """The record and the mapped file of the copy that was made from this shard; nothing of it checked yet."""
    record = read_record(path)
    if record is None or (record.form, record.shard) != (FORM, shard.sha256):
        return None
    try:
        mapped = pa.py_buffer(disk.map_file(beside(path, FILE)))
    except (OSError, ValueError):
        return None
    whole = mapped.size == record.size and len(record.hashes) == -(-record.size // BLOCK) and record.batches
    return (record, mapped) if whole else None


def _checked_table(
    pool: Executor, record: Record, mapped: pa.Buffer, asked: pa.Schema, only: Sequence[str] | None
) -> tuple[pa.Table, pa.Schema] | None:
    """The columns wanted of a mapped file, and all it has; None where a byte was not written so, or a type is old."""
    every = range(len(record.hashes))
    if record.packed and not _is_as_written(pool, record, mapped, every):
        return None
    reader = pa.ipc.open_file(pa.BufferReader(mapped))
    if not _fits(reader.schema, asked):
        return None
    schema = reader.schema
    fields = None if only is None else [n for n, field in enumerate(schema) if field.name in set(only)]
    if record.packed and fields:
        reader = pa.ipc.open_file(pa.BufferReader(mapped), options=pa.ipc.IpcReadOptions(included_fields=fields))
    table = reader.read_all()
    if fields and not record.packed:
        table = table.select(fields)
    if not record.packed and not _is_as_written(pool, record, mapped, _blocks_of(record, mapped, table)):
        return None
    return table, schema


def _checked_schema(pool: Executor, record: Record, mapped: pa.Buffer, asked: pa.Schema) -> pa.Schema | None:
    """The schema of a mapped file; None where any byte of it is not what was written, or a type is not today's."""
    if not _is_as_written(pool, record, mapped, range(len(record.hashes))):
        return None
    schema = pa.ipc.open_file(pa.BufferReader(mapped)).schema
    return schema if _fits(schema, asked) else None


def _fits(schema: pa.Schema, asked: pa.Schema) -> bool:
    """Whether a copy's columns have the types they have today; what was not asked for is text."""
    types = {field.name: field.type for field in asked}
    return all(field.type == types.get(field.name, TEXT) for field in schema)


def _united(schemas: Sequence[pa.Schema], asked: pa.Schema) -> pa.Schema | None:
    """The columns asked for, then all others in the order found; None where one that was asked for is nowhere."""
    found = {field.name: field for schema in schemas for field in schema}
    if not set(asked.names) <= found.keys():
        return None
    return pa.schema([*asked, *(field for name, field in found.items() if name not in asked.names)])


def _completed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The columns wanted of one shard's table; cells of those it lacks are missing."""
    there = set(table.column_names)
    columns = [
        table.column(field.name) if field.name in there else pa.nulls(table.num_rows, field.type) for field in wanted
    ]
    return pa.Table.from_arrays(columns, schema=wanted)


def _blocks_of(record: Record, mapped: pa.Buffer, table: pa.Table) -> Iterable[int]:
    """Numbers of the file's blocks that a table was made from: its columns, and what says where they are."""
    spans = [(0, record.batches[0]), (record.batches[-1], record.size)]
    # A message begins with four bytes of ones and its length; the columns come after it.
    lengths = [int.from_bytes(mapped.slice(start + 4, 4).to_pybytes(), "little") for start in record.batches[:-1]]
    spans += [(start, start + 8 + length) for start, length in zip(record.batches, lengths, strict=False)]
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None and buffer.size:
                    begin = buffer.address - mapped.address
                    if not 0 <= begin <= record.size - buffer.size:
                        return range(len(record.hashes))  # a copy of its own; where from cannot be told
                    spans.append((begin, begin + buffer.size))
    last = len(record.hashes) - 1
    return sorted({n for begin, end in spans for n in range(begin // BLOCK, min((end - 1) // BLOCK, last) + 1)})


def _hashing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1), "insights-hash")


def _is_as_written(pool: Executor, record: Record, mapped: pa.Buffer, blocks: Iterable[int]) -> bool:
    """Whether these blocks of the file have the hashes that were written down."""

    def differs(numbers: Sequence[int]) -> bool:
        return any(hash_of(view[n * BLOCK : (n + 1) * BLOCK]) != record.hashes[n] for n in numbers)

    view = memoryview(mapped)
    return not any(pool.map(differs, _portions(list(blocks), 32)))


def _portions(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))
