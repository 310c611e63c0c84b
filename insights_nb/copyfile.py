"""The columnar copy of one shard, as a file: written once, named when it is whole, removed when it is in the way.

::

    shard-00000.columns.arrow   Arrow IPC file (0400)
    shard-00000.columns.json    its form and size, the shard it was made from, and a hash of every MiB of it
"""

import errno
import io
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from insights_nb import disk

FORM = 2
FILE = ".columns.arrow"
RECORD = ".columns.json"
BLOCK = 1 << 20
STRAY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down about a shard's copy.

    Parameters
    ----------
    form : int
        Of the copy; another one is made anew.
    shard : str
        SHA-256 of the shard it was made from.
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
    shard: str
    size: int
    hashes: tuple[str, ...]
    batches: tuple[int, ...]
    packed: bool


class Writer:
    """Writes one shard's copy, a batch at a time; there is none before it is finished.

    Parameters
    ----------
    path : Path
        The shard.
    schema : pyarrow.Schema
        Of every batch.
    packed : bool
        Compress the columns.
    """

    def __init__(self, path: Path, schema: pa.Schema, packed: bool) -> None:
        self._path = path
        self._packed = packed
        self._temporary = path.parent / f".{_stem(path)}{FILE}.{secrets.token_hex(6)}{disk.TEMPORARY}"
        self._sink = _Sink(disk.create_exclusive(self._temporary))
        self._starts: list[int] = []
        options = pa.ipc.IpcWriteOptions(compression="lz4" if packed else None)
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append; OSError where the disk says no."""
        self._starts.append(self._sink.tell())
        self._writer.write_batch(batch)

    def finish(self, sha256: str) -> None:
        """Give the copy its name and its record, the shard's hash in it; OSError where the disk says no."""
        self._starts.append(self._sink.tell())
        self._writer.close()
        hashes, size = tuple(self._sink.hashes()), self._sink.tell()
        self._close()
        disk.seal(self._temporary)
        # Nothing is forced to the disk: what a power cut tears fails its hash and is made anew.
        disk.rename(self._temporary, beside(self._path, FILE))
        record = Record(FORM, sha256, size, hashes, tuple(self._starts), self._packed)
        content = {field.name: getattr(record, field.name) for field in fields(Record)}
        disk.write_json(beside(self._path, RECORD), {**content, "own": _own_hash(content)}, disk.SEALED_MODE)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            disk.remove(self._temporary)

    def _close(self) -> None:
        if (fd := self._sink.let_go()) is not None:
            disk.close(fd)


def read_record(path: Path) -> Record | None:
    """What is written down about a shard's copy; None for anything else, be it one character."""
    value: Any = disk.read_json(beside(path, RECORD))
    try:
        if value.pop("own") != _own_hash(value):
            return None
        return Record(
            int(value["form"]),
            str(value["shard"]),
            int(value["size"]),
            tuple(map(str, value["hashes"])),
            tuple(map(int, value["batches"])),
            bool(value["packed"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def files_of(path: Path) -> tuple[str, str]:
    """Names of the files that are a shard's copy."""
    return beside(path, FILE).name, beside(path, RECORD).name


def size_in(folder: Path) -> int:
    """Bytes the copies in a folder take, half-written files of killed kernels too."""
    return sum(disk.size_of(folder / name) for name in disk.names(folder) if _is_ours(name))


def clear(folder: Path) -> None:
    """Remove the copies in a folder; OSError where the disk says no. Who has one mapped reads on."""
    _remove([folder / name for name in disk.names(folder) if _is_ours(name)])


def clear_shard(path: Path) -> None:
    """Remove one shard's copy; OSError where the disk says no."""
    names = disk.names(path.parent)
    _remove([path.parent / name for name in names if _is_ours(name) and name.lstrip(".").startswith(_stem(path))])


def _remove(mine: list[Path]) -> None:
    # The record first: a file without one is no copy.
    for path in sorted(mine, key=lambda path: not path.name.endswith(RECORD)):
        # Another kernel may be writing one just now; a killed one does not any more.
        if path.suffix != disk.TEMPORARY or time.time() - disk.changed(path) > STRAY_SECONDS:
            disk.remove(path)


def clear_quietly(folder: Path) -> None:
    """Remove the copy in a folder where that is possible."""
    with suppress(OSError):
        clear(folder)


def clear_shard_quietly(path: Path) -> None:
    """Remove one shard's copy where that is possible."""
    with suppress(OSError):
        clear_shard(path)


def _is_ours(name: str) -> bool:
    return FILE in name or RECORD in name


def _stem(path: Path) -> str:
    return path.name.removesuffix(".csv.gz")


def beside(path: Path, ending: str) -> Path:
    """Return where a file of a shard's copy is."""
    return path.parent / f"{_stem(path)}{ending}"


def _own_hash(content: dict[str, Any]) -> str:
    return hash_of(json.dumps(content, sort_keys=True).encode())


def hash_of(block: bytes | memoryview) -> str:
    """Return the XXH3 of some bytes, 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(block)


class _Sink(io.RawIOBase):
    """A descriptor as a file that pyarrow writes to, hashing every block on its way."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
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
        if self._fd is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
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

    def let_go(self) -> int | None:
        """Return the descriptor, and never write to it again: its number may soon be another file's."""
        fd, self._fd = self._fd, None
        return fd
