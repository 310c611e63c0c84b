"""One shard on its way or on disk: whether it is whole gzip, and what is in it.

The file server says a shard's size and nothing else, so gzip's own CRC-32 and length are the only end-to-end
check there is. CSV readers cannot be trusted with it: some ignore a bad CRC, some read an HTML page as a table
without rows. Here every byte is inflated and counted before anyone may use a value.

One streaming pass yields the SHA-256 of the compressed bytes, the inflated size, the header and the number of
rows, and hands the text on, cut where a record ends. The text is held to RFC 4180 strictly, since a reader that
guesses shifts columns in silence: a quoted field begins and ends at a comma or line end, and a line ends with LF
or CRLF.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from insights_nb import disk
from insights_nb.errors import IntegrityError
from insights_nb.gunzip import ASK_AGAIN, BOM, Members

MAX_INFLATED = 2 * 1024**4

_LONGEST_HEADER = 1 << 20
_LONGEST_LINE = 1 << 26  # a newline-free bomb must not fill the memory
_MOST_QUOTES = 1 << 21  # in one line, or in a MiB of lines: so many places are held at once
_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'

Records = tuple[bytes, int]
"""Text of a shard, and where in it the last record ends that is whole."""


def _among(characters: bytes) -> Any:
    """Return a table that says of each byte whether it is one of these."""
    table = np.zeros(256, dtype=bool)
    table[list(characters)] = True
    return table


# A quote beside another one is a doubled quote: a field's, which says nothing about its edges.
_BEFORE_FIELD, _AFTER_FIELD = _among(b',\n"'), _among(b',\r\n"')


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What a whole, well-formed shard holds.

    Parameters
    ----------
    size : int
        Compressed bytes.
    sha256 : str
        Of the compressed bytes, 64 hex digits.
    inflated : int
        Bytes of CSV text.
    rows : int
        Records after the header.
    header : tuple of str
        Column names in file order, without a byte order mark.
    """

    size: int
    sha256: str
    inflated: int
    rows: int
    header: tuple[str, ...]


def inspect_shard(path: Path, *, max_inflated: int = MAX_INFLATED) -> ShardFacts:
    """Read one gzip CSV file whole and return what is in it.

    Parameters
    ----------
    path : Path
        The file.
    max_inflated : int
        Refuse a file whose text is longer than this many bytes. A ratio is no guard: a one-column report
        compresses 400 : 1 legitimately.

    Raises
    ------
    IntegrityError
        Not gzip, cut short, failing its CRC or length, trailed by anything but NUL padding, too large, without
        a header, or not RFC 4180.
    OSError
        The file cannot be read.
    """
    inspector = ShardInspector(path.name, max_inflated=max_inflated)
    for chunk in disk.read_blocks(path):
        for _ in inspector.feed(chunk):
            pass
    return inspector.finish()


def read_records(path: Path) -> Iterator[Records]:
    """Yield what follows a shard's header, checked as by :func:`inspect_shard` while it is read; its errors.

    The file as a whole is known to be sound only when this has ended.
    """
    inspector = ShardInspector(path.name)
    for chunk in disk.read_blocks(path):
        yield from inspector.feed(chunk)
    inspector.finish()
    yield inspector.last, len(inspector.last)


def parse_header(record: bytes, name: str) -> tuple[str, ...]:
    """Return the column names in a shard's first record, without the byte order mark.

    Raises
    ------
    IntegrityError
        The record is empty, not UTF-8 or not CSV.
    """
    try:
        text = record.removeprefix(BOM).decode()
        fields = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        fields = []
    if not any(fields):
        raise IntegrityError(f"{name} has no header: its first line names no columns.", ASK_AGAIN)
    return tuple(fields)


def header_end(text: bytes) -> int:
    """Return where the first record of a shard's text ends, its line end included; 0 where it is not whole yet."""
    start = 0
    inside = False
    while (end := text.find(b"\n", start) + 1) > 0:
        inside ^= text.count(b'"', start, end) % 2 == 1
        if not inside:
            return end
        start = end
    return 0


class ShardInspector:
    """The same check, fed with compressed bytes as they arrive.

    Parameters
    ----------
    name : str
        What to call the shard in messages.
    max_inflated : int
        As in :func:`inspect_shard`.
    """

    def __init__(self, name: str, *, max_inflated: int = MAX_INFLATED) -> None:
        self._name = name
        self._max_inflated = max_inflated
        self._hash = hashlib.sha256()
        self._size = 0
        self._inflated = 0
        self._members = Members(name)
        self._lines = _Lines(name)
        self.last = b""
        """The last record where no line end follows it, with one; known when all is finished."""

    @cached_property
    def header(self) -> tuple[str, ...]:
        """Column names in file order; there as soon as the first records are."""
        return parse_header(self._lines.header, self._name)

    def feed(self, chunk: bytes) -> Iterator[Records]:
        """Take the next compressed bytes, and yield the text that comes of them and belongs to no header.

        Nothing is done before the text is asked for. Raises IntegrityError as soon as something is wrong.
        """
        self._hash.update(chunk)
        self._size += len(chunk)
        for text in self._members.feed(chunk):
            self._inflated += len(text)
            if self._inflated > self._max_inflated:
                raise IntegrityError(
                    f"{self._name} inflates to more than {self._max_inflated:,} bytes, the limit for one shard.",
                    "Ask for fewer columns or a shorter time range.",
                )
            records = self._lines.feed(text)
            if records[0]:
                yield records

    def finish(self) -> ShardFacts:
        """Say that no bytes follow, and return what was in them."""
        self._members.finish()
        self.last = self._lines.finish()
        return ShardFacts(self._size, self._hash.hexdigest(), self._inflated, self._lines.count - 1, self.header)


class _Lines:
    """Counts RFC 4180 records, finds where they end, and keeps the first: lines are cut at LF outside quotes.

    A quote toggles between inside and outside, and a doubled quote toggles twice, so a place lies inside where an
    odd number of quotes comes before it. Working on whole lines means that no CRLF and no doubled quote is ever
    torn between two pieces.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self._first: bytes | None = b""  # of the header, until it is whole
        self._tail: list[bytes | memoryview] = []
        self._tail_size = 0
        self.count = 0
        self.header = b""

    def feed(self, text: bytes) -> Records:
        """Take the next piece of text; return the lines that are whole with it, the header left out."""
        cut = text.rfind(b"\n") + 1
        if not cut:
            self._keep(text)
            return b"", 0
        self._tail.append(memoryview(text)[:cut])
        whole = b"".join(self._tail)
        self._tail, self._tail_size = [], 0
        self._keep(text[cut:])
        return self._taken(whole)

    def finish(self) -> bytes:
        """Say that no text follows; return the last record where it has no line end, with one."""
        last = b""
        if rest := b"".join(self._tail):
            last, _ = self._taken(rest + b"\n")
        if self._inside:
            raise IntegrityError(f"{self._name} ends inside a quoted field.", ASK_AGAIN)
        if self._first is not None:
            raise IntegrityError(f"{self._name} is empty: it has not even a header.", ASK_AGAIN)
        return last

    def _keep(self, text: bytes) -> None:
        """Put the beginning of a line aside."""
        if text:
            self._tail.append(text)
            self._tail_size += len(text)
            if self._tail_size > _LONGEST_LINE:
                raise IntegrityError(f"{self._name} has a line of over {_LONGEST_LINE >> 20} MiB.", ASK_AGAIN)

    def _taken(self, lines: bytes) -> Records:
        """Check whole lines, count the records that end in them, and cut the header off."""
        if not self.count and self._first == b"":
            lines = lines.removeprefix(BOM)
        begin = self._header_in(lines)
        end = self._counted(lines)
        return (lines[begin:], max(end - begin, 0)) if self._first is None else (b"", 0)

    def _header_in(self, lines: bytes) -> int:
        """Keep the first record once it is whole; return how much of these lines belongs to it."""
        if self._first is None:
            return 0
        before = len(self._first)
        self._first += lines[: _LONGEST_HEADER + 1 - before]
        if end := header_end(self._first):
            self.header, self._first = self._first[:end], None
            return end - before
        if len(self._first) > _LONGEST_HEADER:
            raise IntegrityError(f"{self._name} has a header of over {_LONGEST_HEADER >> 20} MiB.", ASK_AGAIN)
        return 0

    def _counted(self, lines: bytes) -> int:
        """Count the records that end in whole lines, and return where the last of them ends, 0 for none."""
        if b'"' not in lines:
            if self._inside:
                return 0
            self.count += lines.count(b"\n")
            if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
                raise self._stray_return()
            return len(lines)
        if len(lines) > _MOST_QUOTES and lines.count(b'"') > _MOST_QUOTES:
            raise IntegrityError(f"{self._name} has a line of over {_MOST_QUOTES:,} quotes.", ASK_AGAIN)
        text = np.frombuffer(lines, np.uint8)
        quotes = np.flatnonzero(text == _QUOTE)

        def outside(character: int) -> Any:
            places = np.flatnonzero(text == character)
            return places[np.searchsorted(quotes, places) % 2 == self._inside]

        opening, closing = quotes[self._inside :: 2], quotes[1 - self._inside :: 2]
        # What opens at the very start begins a line. What closes is never the last: a line end is.
        edges = _BEFORE_FIELD[text[opening[opening > 0] - 1]].all() and _AFTER_FIELD[text[closing + 1]].all()
        if not edges:
            raise IntegrityError(f"{self._name} is not well-formed CSV: a quote stands inside a field.", ASK_AGAIN)
        if b"\r" in lines and (text[outside(_RETURN) + 1] != _LINE_FEED).any():
            raise self._stray_return()
        ends = outside(_LINE_FEED)
        self.count += len(ends)
        self._inside ^= len(quotes) % 2 == 1
        return int(ends[-1]) + 1 if len(ends) else 0

    def _stray_return(self) -> IntegrityError:
        return IntegrityError(f"{self._name} has a carriage return that ends no line.", ASK_AGAIN)
