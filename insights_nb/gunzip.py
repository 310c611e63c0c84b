"""Gzip, read as strictly as it was meant: every member whole, its CRC and length right, and nothing behind the last.

The door to isal, which is twice as fast as zlib and gives the same answers.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insights_nb import disk
from insights_nb.errors import IntegrityError

_inflater: Any = zlib
# There are platforms isal is not built for.
try:
    from isal import isal_zlib
except ImportError:
    _ERRORS: tuple[Any, ...] = (zlib.error,)
else:
    _inflater, _ERRORS = isal_zlib, (zlib.error, isal_zlib.error)

ASK_AGAIN = "Ask again: the shard is fetched anew. If it stays so, run the query again for a new report."
BOM = b"\xef\xbb\xbf"
_GZIP_WINDOW = 31  # zlib's word for "a gzip member, with its header and trailer checked"
_STEP = 1 << 20  # inflate at most this much at a time, whatever a bomb would like


def inflate(path: Path) -> Iterator[bytes]:
    """Yield the text of a gzip file in pieces of at most 1 MiB, checking every member's CRC and length.

    Raises
    ------
    IntegrityError
        Not gzip, cut short, failing its CRC or length, or trailed by anything but NUL padding.
    OSError
        The file cannot be read.
    """
    members = Members(path.name)
    for chunk in disk.read_blocks(path):
        yield from members.feed(chunk)
    members.finish()


class Members:
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
                raise IntegrityError(f"{self._name} is not a gzip file: it looks like {_likeness(chunk)}.", ASK_AGAIN)
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
            raise IntegrityError(f"{self._name} is cut short: it ends in the middle of its gzip data.", ASK_AGAIN)
        if not self._whole:
            raise IntegrityError(f"{self._name} is not a gzip file: it looks like {_likeness(self._start)}.", ASK_AGAIN)

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
            raise IntegrityError(f"{self._name} is damaged: gzip reports {failure!r}.", ASK_AGAIN)
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
            raise IntegrityError(f"{self._name} carries bytes after the end of its gzip data.", ASK_AGAIN)
        return rest


def _likeness(start: bytes) -> str:
    """Say what a file looks like, without showing what is in it."""
    text = start.lstrip(b" \t\r\n" + BOM).lower()
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
