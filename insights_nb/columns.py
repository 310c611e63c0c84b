"""The columnar copy of a cached report: the same rows, typed, in a file that is mapped rather than read.

::

    <entry>/columns.arrow   Arrow IPC file (0400)
    <entry>/columns.json    its form and size, the shards it was made from, and a hash of every MiB of it

Derived, and treated so: the gzip shards stay the truth. A copy that is missing, made from other shards, of another
form, or not what was written byte by byte is dropped in silence, and made anew by the next reading. The hash guards
against rot, not against a person: whoever can write to this folder can also write the shards.
"""

import io
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash
from pyarrow import dataset

from insights_nb import disk
from insights_nb.cache import Entry

FORM = 1
FILE = "columns.arrow"
RECORD = "columns.json"
BLOCK = 1 << 20
STRAY_SECONDS = 3600.0

# By bytes of CSV, which the columns take about as many of. Below the first, reading the shards is as quick as
# mapping a copy; up to the second it is mapped as it lies; then it is compressed, and has to be taken apart to be
# read, yet still far sooner than the shards. Above the last nothing is kept unless somebody asks to scan it.
SMALLEST = 1 << 21
PLAIN = 2 << 30
LARGEST = 16 << 30
SHARE = 0.5  # of the cache's cap, that one copy may take


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down about a copy.

    Parameters
    ----------
    form : int
        Of the copy; another one is made anew.
    shards : tuple of str
        SHA-256 of the shards it was made from, in order.
    size : int
        Bytes of the file.
    hashes : tuple of str
        XXH3 of each block of the file.
    batches : tuple of int
        Where each batch of rows begins in the file, and where the last one ends.
    packed : bool
        Whether the columns are compressed.
    """

    form: int
    shards: tuple[str, ...]
    size: int
    hashes: tuple[str, ...]
    batches: tuple[int, ...]
    packed: bool


def is_worth_it(inflated: int, cap: int) -> bool:
    """Whether a report of so much CSV gets a copy without being asked, in a cache of ``cap`` bytes."""
    return SMALLEST <= inflated <= min(LARGEST, int(cap * SHARE))


def write(entry: Entry, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write an entry's copy, one batch at a time.

    Parameters
    ----------
    entry : Entry
        Published.
    schema : pyarrow.Schema
        Of every batch.
    batches : iterable of RecordBatch
        All its rows. An error while they are made leaves no copy.

    Raises
    ------
    OSError
        The disk said no; there is no copy.
    """
    clear(entry)
    packed = entry.manifest.inflated > PLAIN
    options = pa.ipc.IpcWriteOptions(compression="lz4" if packed else None)
    temporary = entry.folder / f".{FILE}.{secrets.token_hex(6)}{disk.TEMPORARY}"
    fd = disk.create_exclusive(temporary)
    try:
        sink = _Sink(fd)
        try:
            starts = []
            with pa.ipc.new_file(sink, schema, options=options) as writer:
                for batch in batches:
                    starts.append(sink.tell())
                    writer.write_batch(batch)
                starts.append(sink.tell())
            record = Record(FORM, _made_from(entry), sink.tell(), tuple(sink.hashes()), tuple(starts), packed)
        finally:
            disk.close(fd)
        disk.seal(temporary)
        # Nothing is forced to the disk: what a power cut tears fails its hash and is made anew.
        disk.rename(temporary, entry.folder / FILE)
    except BaseException:
        with suppress(OSError):
            disk.remove(temporary)
        raise
    content = {field.name: getattr(record, field.name) for field in fields(Record)}
    disk.write_json(entry.folder / RECORD, {**content, "own": _own_hash(content)}, disk.SEALED_MODE)


def open_table(entry: Entry, asked: pa.Schema, only: Sequence[str] | None = None) -> pa.Table | None:
    """Return an entry's rows from its copy, every byte handed out checked; None where there is no good copy.

    Parameters
    ----------
    entry : Entry
        Published.
    asked : pyarrow.Schema
        The columns the copy must begin with.
    only : sequence of str or None
        Only these columns, in this order; of a copy that is not compressed no others are read, nor checked.
    """
    opened = _opened(entry)
    if opened is None:
        return None
    record, mapped = opened
    table = None
    # Whatever pyarrow makes of a damaged file, it is no reason to fail. What is found is checked before it is used.
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, IndexError, AttributeError):
        table = _checked_table(record, mapped, asked, only)
    if table is None or table.num_rows != entry.manifest.rows:
        clear_quietly(entry)
        return None
    return table


def open_dataset(entry: Entry, asked: pa.Schema) -> dataset.Dataset | None:
    """Return an entry's copy, checked whole, for an engine to query without loading it; None where there is none."""
    opened = _opened(entry)
    if opened is None:
        return None
    record, mapped = opened
    if _is_as_written(record, mapped, range(len(record.hashes))):
        found = dataset.dataset(str(entry.folder / FILE), format="ipc")
        if _begins_with(found.schema, asked):
            return found
    clear_quietly(entry)
    return None


def size(entry: Entry) -> int:
    """Bytes an entry's copy takes, half-written ones of killed kernels too."""
    return sum(disk.size_of(path) for path in _files(entry))


def clear(entry: Entry) -> None:
    """Remove an entry's copy; OSError where the disk says no. Who has it mapped keeps what he reads."""
    # The record first: a file without one is no copy.
    disk.remove(entry.folder / RECORD)
    for path in _files(entry):
        # Another kernel may be writing one just now; a killed one does not any more.
        if path.suffix != disk.TEMPORARY or time.time() - disk.changed(path) > STRAY_SECONDS:
            disk.remove(path)


def clear_quietly(entry: Entry) -> None:
    """Remove an entry's copy where that is possible."""
    with suppress(OSError):
        clear(entry)


def _files(entry: Entry) -> list[Path]:
    return [entry.folder / name for name in disk.names(entry.folder) if name.lstrip(".").startswith((FILE, RECORD))]


def _made_from(entry: Entry) -> tuple[str, ...]:
    return tuple(shard.sha256 for shard in entry.manifest.shards)


def _opened(entry: Entry) -> tuple[Record, pa.Buffer] | None:
    """The record and the mapped file of a copy that was made from this entry's shards; nothing of it checked yet."""
    record = _from_json(disk.read_json(entry.folder / RECORD))
    if record is None or (record.form, record.shards) != (FORM, _made_from(entry)):
        return None
    try:
        mapped = pa.py_buffer(disk.map_file(entry.folder / FILE))
    except (OSError, ValueError):
        return None
    whole = mapped.size == record.size and len(record.hashes) == -(-record.size // BLOCK) and record.batches
    return (record, mapped) if whole else None


def _from_json(value: Any) -> Record | None:
    """A record from its JSON; None for anything else, be it one character."""
    try:
        if value.pop("own") != _own_hash(value):
            return None
        return Record(
            int(value["form"]),
            tuple(map(str, value["shards"])),
            int(value["size"]),
            tuple(map(str, value["hashes"])),
            tuple(map(int, value["batches"])),
            bool(value["packed"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _own_hash(content: dict[str, Any]) -> str:
    return _hash(json.dumps(content, sort_keys=True).encode())


def _checked_table(record: Record, mapped: pa.Buffer, asked: pa.Schema, only: Sequence[str] | None) -> pa.Table | None:
    """The table in a mapped file; None where a byte of it is not what was written, or it has other columns."""
    if record.packed and not _is_as_written(record, mapped, range(len(record.hashes))):
        return None
    reader = pa.ipc.open_file(pa.BufferReader(mapped))
    if not _begins_with(reader.schema, asked):
        return None
    if record.packed and only is not None:
        fields = sorted(reader.schema.get_field_index(name) for name in only)
        reader = pa.ipc.open_file(pa.BufferReader(mapped), options=pa.ipc.IpcReadOptions(included_fields=fields))
    table = reader.read_all()
    if only is not None:
        table = table.select(list(only))
    if not record.packed and not _is_as_written(record, mapped, _blocks_of(record, mapped, table)):
        return None
    return table


def _begins_with(schema: pa.Schema, asked: pa.Schema) -> bool:
    """Whether a copy has the columns asked for, with the types they have today, before any others."""
    return len(schema) >= len(asked) and all(schema.field(n).equals(asked.field(n)) for n in range(len(asked)))


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


def _is_as_written(record: Record, mapped: pa.Buffer, blocks: Iterable[int]) -> bool:
    """Whether these blocks of the file have the hashes that were written down."""

    def differs(numbers: Sequence[int]) -> bool:
        return any(_hash(view[n * BLOCK : (n + 1) * BLOCK]) != record.hashes[n] for n in numbers)

    view = memoryview(mapped)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "insights-hash") as pool:
        return not any(pool.map(differs, _portions(list(blocks), 32)))


def _portions(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


def _hash(block: bytes | memoryview) -> str:
    return xxhash.xxh3_64_hexdigest(block)


class _Sink(io.RawIOBase):
    """A descriptor as a file that pyarrow writes to, hashing every block on its way."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._length = 0
        self._done: list[str] = []
        self._open = xxhash.xxh3_64()

    def writable(self) -> bool:
        """It can be written."""
        return True

    def tell(self) -> int:
        """Return how much was written."""
        return self._length

    def write(self, content: Any) -> int:
        """Write all of it."""
        view = memoryview(content).cast("B")
        disk.write_all(self._fd, view)
        left = view
        while left:
            part = left[: BLOCK - self._length % BLOCK]
            self._open.update(part)
            self._length += len(part)
            left = left[len(part) :]
            if not self._length % BLOCK:
                self._done.append(self._open.hexdigest())
                self._open = xxhash.xxh3_64()
        return len(view)

    def hashes(self) -> list[str]:
        """Return the hash of every block, a last short one too."""
        return self._done + ([self._open.hexdigest()] if self._length % BLOCK else [])
