"""A report on disk: gzip CSV shards in the vendor's naming, made aside and shown all at once.

The form is that of a BigQuery export: a header in every shard, commas, quotes only around texts that hold a
comma, a quote or a line end, LF after each row, ``true`` and ``false``, times as ``YYYY-MM-DD HH:MM:SS UTC``
with up to six digits of a fraction where there is one. NULL and an empty string are both an empty cell, so
a row of one NULL is an empty line.
"""

import csv
import io
import queue
import random
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from .arrow import Array

_LEVEL = 1  # fastest; the text is so repetitive that higher levels win little
_PRESSES = 2
_EMPTY_TAIL = 0.25


class StoppedError(Exception):
    """The service is being stopped; what was being written is of no use any more."""


def header(fields: Sequence[str]) -> bytes:
    """Return the header line that every shard begins with."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


def shard_name(guid: str, milliseconds: int, number: int) -> str:
    """Return a shard's file name."""
    return f"{guid}_QueryExport_{milliseconds}__{number:012d}.csv.gz"


def cut(batches: Iterable[Array], rows: int, dice: random.Random) -> Iterator[list[Array]]:
    """Yield the lines of one shard after the other.

    Parameters
    ----------
    batches
        Arrays of lines.
    rows
        The most lines a shard may have; each has between 70 and 100 % of it, as real exports vary too.
    dice
        Decides the sizes, and whether a report of several shards ends in one with only a header.
    """
    shard: list[Array] = []
    shards = 0
    space = size = _size(rows, dice)
    for batch in batches:
        start = 0
        while start < len(batch):
            piece = batch.slice(start, space)
            shard.append(piece)
            start += len(piece)
            space -= len(piece)
            if space == 0:
                yield shard
                shards += 1
                shard, space = [], (size := _size(rows, dice))
    if space < size:
        yield shard
        shards += 1
    if shards == 0 or (shards > 1 and dice.random() < _EMPTY_TAIL):
        yield []


def _size(rows: int, dice: random.Random) -> int:
    return max(1, round(rows * dice.uniform(0.7, 1.0)))


def write(
    shards: Iterable[list[Array]],
    first: bytes,
    folder: Path,
    name: Callable[[int], str],
    stopping: threading.Event,
) -> list[int]:
    """Write shards with two threads at work, and return the number of lines in each.

    Parameters
    ----------
    shards
        The lines of each shard.
    first
        The header line.
    folder, name
        Where to, and shard number to file name.
    stopping
        Give up when it is set.

    Raises
    ------
    StoppedError
        ``stopping`` was set before the end.
    OSError
        A file could not be written.
    """
    # Not a ThreadPoolExecutor: its threads would keep an interpreter alive that wants to end.
    waiting: queue.Queue[tuple[int, list[Array]] | None] = queue.Queue(maxsize=_PRESSES)
    failed: list[Exception] = []

    def press() -> None:
        while (job := waiting.get()) is not None:
            number, arrays = job
            try:
                if not stopping.is_set() and not failed:
                    (folder / name(number)).write_bytes(_packed(first, arrays))
            except Exception as error:  # raised again below, in the caller's thread
                failed.append(error)

    threads = [threading.Thread(target=press, name="simulator-press", daemon=True) for _ in range(_PRESSES)]
    for thread in threads:
        thread.start()
    counts: list[int] = []
    try:
        for number, arrays in enumerate(shards):
            if stopping.is_set() or failed:
                break
            waiting.put((number, arrays))
            counts.append(sum(len(array) for array in arrays))
    finally:
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]
    if stopping.is_set():
        raise StoppedError
    return counts


def _packed(first: bytes, arrays: list[Array]) -> bytes:
    # 31 asks zlib for gzip's own frame, with its CRC and length.
    press = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    parts = [press.compress(first)]
    parts += [press.compress(lines_of(array)) for array in arrays]
    parts.append(press.flush())
    return b"".join(parts)


def lines_of(array: Array) -> memoryview:
    """Return the bytes of consecutive strings, which Arrow holds side by side already."""
    if not len(array):
        return memoryview(b"")
    wide = pa.types.is_large_string(array.type)
    buffers: list[Any] = array.buffers()
    _, offsets, content = buffers
    places = memoryview(offsets).cast("q" if wide else "i")
    begin, end = places[array.offset], places[array.offset + len(array)]
    return memoryview(content)[begin:end]
