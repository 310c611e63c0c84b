"""One shard on disk: whether it is whole gzip, and what is in it.

The file server says a shard's size and nothing else, so gzip's own CRC-32 and length are the only end-to-end
check there is. CSV readers cannot be trusted with it: some ignore a bad CRC, some read an HTML page as a table
without rows. Here every byte is inflated and counted before anyone reads a value.

One streaming pass yields the SHA-256 of the compressed bytes, the inflated size, the header and the number of
rows. The text is held to RFC 4180 strictly, since a reader that guesses shifts columns in silence: a quoted
field begins and ends at a comma or line end, and a line ends with LF or CRLF.
"""

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insights_nb import disk
from insights_nb.errors import IntegrityError

# Twice as fast, with the same answers; there are platforms it is not built for.
_inflater: Any = zlib
try:
    from isal import isal_zlib
except ImportError:
    _ERRORS: tuple[Any, ...] = (zlib.error,)
else:
    _inflater, _ERRORS = isal_zlib, (zlib.error, isal_zlib.error)

MAX_INFLATED = 2 * 1024**4

_HINT = "Ask again: the shard is fetched anew. If it stays so, run the query again for a new report."
_GZIP_WINDOW = 31  # zlib's word for "a gzip member, with its header and trailer checked"
_STEP = 1 << 20  # inflate at most this much at a time, whatever a bomb would like
_LONGEST_HEADER = 1 << 20
_LONGEST_LINE = 1 << 26  # a newline-free bomb must not fill the memory
_MOST_QUOTES = 1 << 21  # in one line, or in a MiB of lines: so many pieces are held at once
_MANY = 10_000  # quoted fields in a MiB: more than a column or two
_BOM = b"\xef\xbb\xbf"
_BEFORE_QUOTE = frozenset(b",\n")
_AFTER_QUOTE = frozenset(b",\r\n")


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
        inspector.feed(chunk)
    return inspector.finish()


def inflate(path: Path) -> Iterator[bytes]:
    """Yield the text of a gzip file in pieces of at most 1 MiB, checking every member's CRC and length.

    Raises
    ------
    IntegrityError
        As :func:`inspect_shard`, without the checks on the CSV text.
    """
    members = _Members(path.name)
    for chunk in disk.read_blocks(path):
        yield from members.feed(chunk)
    members.finish()


def parse_header(record: bytes, name: str) -> tuple[str, ...]:
    """Return the column names in a shard's first record, without the byte order mark.

    Raises
    ------
    IntegrityError
        The record is empty, not UTF-8 or not CSV.
    """
    try:
        text = record.removeprefix(_BOM).decode()
        fields = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        fields = []
    if not any(fields):
        raise IntegrityError(f"{name} has no header: its first line names no columns.", _HINT)
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
        self._members = _Members(name)
        self._records = _Records(name)

    def feed(self, chunk: bytes) -> None:
        """Take the next compressed bytes; raise IntegrityError as soon as something is wrong."""
        self._hash.update(chunk)
        self._size += len(chunk)
        for text in self._members.feed(chunk):
            self._inflated += len(text)
            if self._inflated > self._max_inflated:
                raise IntegrityError(
                    f"{self._name} inflates to more than {self._max_inflated:,} bytes, the limit for one shard.",
                    "Ask for fewer columns or a shorter time range.",
                )
            self._records.feed(text)

    def finish(self) -> ShardFacts:
        """Say that no bytes follow, and return what was in them."""
        self._members.finish()
        rows, header = self._records.finish()
        return ShardFacts(self._size, self._hash.hexdigest(), self._inflated, rows, header)


class _Members:
    """Inflates concatenated gzip members; trailing NUL padding is allowed, anything else is not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start = b""
        self._inflater = _inflater.decompressobj(_GZIP_WINDOW)
        self._begun = False  # whether the current member has seen a byte
        self._whole = 0  # members that ended well
        self._padded = False
        self._pending = False  # whether there may be more text without more bytes

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` inflates to, at most 1 MiB at a time."""
        if not self._begun and not self._whole:
            # The magic number may arrive in two pieces.
            self._start += chunk
            if len(self._start) < 2:
                return
            chunk = self._start
            if chunk[:2] != b"\x1f\x8b":
                raise IntegrityError(f"{self._name} is not a gzip file: it looks like {_likeness(chunk)}.", _HINT)
        while chunk or self._pending:
            if not self._begun and self._whole:
                chunk = self._skip_padding(chunk)
                if not chunk:
                    return
            self._begun = True
            text, chunk = self._step(chunk)
            if text:
                yield text

    def finish(self) -> None:
        """Say that no bytes follow."""
        if self._begun:
            raise IntegrityError(f"{self._name} is cut short: it ends in the middle of its gzip data.", _HINT)
        if not self._whole:
            raise IntegrityError(f"{self._name} is not a gzip file: it looks like {_likeness(self._start)}.", _HINT)

    def _step(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Inflate once; return the text and the compressed bytes still to be taken."""
        failure = ""
        text = b""
        try:
            text = self._inflater.decompress(chunk, _STEP)
        except _ERRORS as error:
            # Its words carry no content: "Error -3 while decompressing data: incorrect data check".
            failure = re.sub(r"^Error -?\d+ (while decompressing data: )?", "", str(error)).lower()
            failure = failure.replace("incorrect checksum found", "incorrect data check")  # the same in isal's words
        if failure:
            raise IntegrityError(f"{self._name} is damaged: gzip reports {failure!r}.", _HINT)
        # All may have been taken in and not all given out.
        self._pending = len(text) == _STEP and not self._inflater.eof
        if not self._inflater.eof:
            return text, self._inflater.unconsumed_tail
        rest = self._inflater.unused_data
        self._inflater = _inflater.decompressobj(_GZIP_WINDOW)
        self._begun = False
        self._whole += 1
        return text, rest

    def _skip_padding(self, chunk: bytes) -> bytes:
        """Return what follows NUL bytes between members, which must be nothing once there were any."""
        rest = chunk.lstrip(b"\0")
        self._padded = self._padded or len(rest) < len(chunk)
        if rest and (self._padded or not b"\x1f\x8b".startswith(rest[:2])):
            raise IntegrityError(f"{self._name} carries bytes after the end of its gzip data.", _HINT)
        return rest


class _Records:
    """Counts RFC 4180 records and keeps the first: lines are cut at LF outside quotes.

    A quote toggles between inside and outside, and a doubled quote toggles twice, so after splitting a piece
    at its quotes every other segment lies outside. Working on whole lines means that no CRLF and no doubled
    quote is ever torn between two pieces.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self._lines = 0
        self._header: bytes | None = None
        self._first = b""
        self._tail: list[bytes] = []
        self._tail_size = 0

    def feed(self, text: bytes) -> None:
        """Take the next piece of text."""
        cut = text.rfind(b"\n") + 1
        if not cut:
            self._keep(text)
            return
        self._tail.append(text[:cut])
        whole = b"".join(self._tail)
        self._tail, self._tail_size = [], 0
        self._keep(text[cut:])
        self._count(whole)

    def finish(self) -> tuple[int, tuple[str, ...]]:
        """Return the number of records after the header, and the header's fields."""
        if rest := b"".join(self._tail):
            # A last line without its LF counts as a line.
            self._count(rest + b"\n")
        if self._inside:
            raise IntegrityError(f"{self._name} ends inside a quoted field.", _HINT)
        if self._header is None:
            raise IntegrityError(f"{self._name} is empty: it has not even a header.", _HINT)
        return self._lines - 1, parse_header(self._header, self._name)

    def _keep(self, text: bytes) -> None:
        """Put the beginning of a line aside."""
        if text:
            self._tail.append(text)
            self._tail_size += len(text)
            if self._tail_size > _LONGEST_LINE:
                raise IntegrityError(f"{self._name} has a line of over {_LONGEST_LINE >> 20} MiB.", _HINT)

    def _count(self, lines: bytes) -> None:
        """Count the records that end in whole lines."""
        if not self._lines and not self._first:
            lines = lines.removeprefix(_BOM)
        if self._header is None:
            self._seek_header(lines)
        if b'"' in lines:
            if lines.count(b'"') > _MOST_QUOTES:
                raise IntegrityError(f"{self._name} has a line of over {_MOST_QUOTES:,} quotes.", _HINT)
            segments = lines.split(b'"')
            outside = segments[self._inside :: 2]
            self._check_quotes(outside)
            self._inside ^= not len(segments) % 2
            text = b'"'.join(outside)
        else:
            text = b"" if self._inside else lines
        self._lines += text.count(b"\n")
        if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
            raise IntegrityError(f"{self._name} has a carriage return that ends no line.", _HINT)

    def _check_quotes(self, outside: list[bytes]) -> None:
        """Refuse a quote in the middle of a field, and text after a closing quote.

        A first segment outside begins a line, and a last one outside ends one; an empty segment is a doubled
        quote, or a quoted field at a line's start.
        """
        follows = outside if self._inside else outside[1:]
        if len(outside) > _MANY:
            # Where every field is quoted, nearly all segments are the same comma.
            follows, outside = list(set(follows)), list(set(outside))
        begins = {part[0] for part in follows if part}
        ends = {part[-1] for part in outside if part}
        if begins - _AFTER_QUOTE or ends - _BEFORE_QUOTE:
            raise IntegrityError(f"{self._name} is not well-formed CSV: a quote stands inside a field.", _HINT)

    def _seek_header(self, lines: bytes) -> None:
        """Keep the first record once it is whole."""
        self._first += lines[: _LONGEST_HEADER + 1 - len(self._first)]
        if end := header_end(self._first):
            self._header, self._first = self._first[:end], b""
            return
        if len(self._first) > _LONGEST_HEADER:
            raise IntegrityError(f"{self._name} has a header of over {_LONGEST_HEADER >> 20} MiB.", _HINT)


def _likeness(start: bytes) -> str:
    """Say what a file looks like, without showing what is in it."""
    text = start.lstrip(b" \t\r\n" + _BOM).lower()
    for beginning, likeness in (
        (b"<", "an HTML or XML page"),
        (b"{", "JSON"),
        (b"[", "JSON"),
        (b"pk\x03\x04", "a ZIP archive"),
        (b"\x28\xb5\x2f\xfd", "zstd data"),
        (b"par1", "a Parquet file"),
    ):
        if text.startswith(beginning):
            return likeness
    if not text:
        return "an empty file" if not start else "blank text"
    if not text.strip(b"\0"):
        return "NUL bytes"
    controls = set(text[:512]) & set(range(32)) - set(b"\t\r\n")
    return "binary data of another kind" if controls else "plain text"
