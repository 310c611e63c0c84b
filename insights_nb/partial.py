"""One shard on its way to the disk: what is there of it, what of that can be trusted, and when it gets its name.

A shard is written to a file of its own that nobody else ever opened for writing, every byte is checked on its way
there, and it gets its final name, read-only, when all of it was and came to rest as it was written. Beside it goes
a small record of what was found, so that a restarted kernel takes it as it is. Names come from the shard's number,
never from the server's.

=================================  =================================================================
``shard-00000.<12 hex>.part``      being written (0600); left behind by a kernel that died
``shard-00000.csv.gz``             whole and checked (0400)
``shard-00000.ok.json``            where it came from and what is in it (0600)
=================================  =================================================================
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from insights_nb import disk
from insights_nb.check import Records, ShardFacts, ShardInspector
from insights_nb.errors import IntegrityError
from insights_nb.sftp import Attributes, RemoteFile

SCHEMA = 1
STEP = 1 << 20  # what a dead kernel left is cut to a multiple of this, and its last such step compared
_TAIL = 1 << 16  # what we wrote ourselves is known to be there; this much of it is compared all the same

Wanted = Callable[[], None]


class Follower(Protocol):
    """What reads along with a shard while it arrives; it raises nothing."""

    def take(self, header: tuple[str, ...], records: Records) -> None:
        """Take the next records."""

    def end(self, facts: ShardFacts, last: bytes) -> None:
        """Take the last record of a shard that is whole, checked and in its place."""

    def drop(self) -> None:
        """Forget the shard: it is not wanted any more, or begins anew."""


@dataclass(frozen=True, slots=True)
class Target:
    """A shard to fetch.

    Parameters
    ----------
    index : int
        Its place in the report, from 0.
    path : str
        Where it is on the file server.
    remote : Attributes
        Its size and time there when it was last looked up.
    """

    index: int
    path: str
    remote: Attributes

    @property
    def name(self) -> str:
        """Its final name on our disk."""
        return f"{self.stem}.csv.gz"

    @property
    def stem(self) -> str:
        """What all its names on our disk begin with."""
        return f"shard-{self.index:05d}"


def verified(folder: Path, target: Target, wanted: Wanted) -> ShardFacts | None:
    """Return what a shard holds that was fetched and checked before, or None where it must be fetched.

    Parameters
    ----------
    folder : Path
        Where it would be.
    target : Target
        What it must be: the same remote path, size and time.
    wanted : callable
        Called now and then; raises where the work is to stop.
    """
    record: Any = disk.read_json(folder / f"{target.stem}.ok.json")
    if not isinstance(record, dict) or {key: record.get(key) for key in _source(target)} != _source(target):
        return None
    try:
        facts = ShardFacts(**{**record["facts"], "header": tuple(record["facts"]["header"])})
        found = _digest(folder / target.name, wanted)
    except (OSError, KeyError, TypeError):
        return None
    return facts if found == (facts.size, facts.sha256) == (target.remote.size, facts.sha256) else None


def adopt(folder: Path, others: Sequence[Path], target: Target, wanted: Wanted) -> ShardFacts | None:
    """Take a checked shard over from a folder a dead kernel left, or return None where none has it."""
    for other in others:
        if facts := verified(other, target, wanted):
            path = folder / target.name
            disk.remove(path)
            # The file is sealed and nobody can write to it any more: a second name is as good as a copy.
            disk.link_or_copy(other / target.name, path)
            disk.seal(path)
            _record(folder, target, facts)
            return facts
    return None


def leftover(folders: Sequence[Path], target: Target) -> Path | None:
    """Return the longest unfinished file of a shard, at most as long as the shard, or None."""
    best: tuple[int, Path] | None = None
    for folder in folders:
        for name in disk.names(folder):
            if name.startswith(f"{target.stem}.") and name.endswith(".part"):
                size = disk.size_of(folder / name)
                if STEP <= size <= target.remote.size and (best is None or size > best[0]):
                    best = size, folder / name
    return best[1] if best else None


def clear_leftovers(folder: Path) -> None:
    """Remove every unfinished file."""
    for name in disk.names(folder):
        if name.endswith(".part"):
            disk.remove(folder / name)


class Part:
    """A file being written, ours alone, and checked while it is.

    Parameters
    ----------
    folder : Path
        Where the shard will be.
    target : Target
        Which shard.
    wanted : callable
        Called now and then; raises where the work is to stop.
    follow : callable
        Makes what reads along, if anything does, from the shard's path.
    """

    def __init__(self, folder: Path, target: Target, wanted: Wanted, follow: Callable[[Path], Follower | None]) -> None:
        self._final = folder / target.name
        self._path = folder / f"{target.stem}.{secrets.token_hex(6)}.part"
        self._wanted = wanted
        self._follow = follow
        self._fd: int | None = disk.create_exclusive(self._path)
        self._doubted = _TAIL
        self.length = 0
        self._checked = 0  # bytes that went through the check
        self._follower: Follower | None = None
        self._begin()

    def take_over(self, source: Path) -> None:
        """Begin with what a dead kernel left: copied, since it may not be as dead as it seems."""
        # What cannot be read is fetched.
        with suppress(OSError):
            length = disk.size_of(source) // STEP * STEP
            disk.copy_into(self._open(), source, length)
            self.length, self._doubted = length, STEP

    def resume(self, file: RemoteFile, size: int) -> None:
        """Keep what agrees with the file on the server, which is compared at its end, and go on from there."""
        fd = self._open()
        length = min(self.length, size)
        begin = max(0, length - self._doubted)
        if length and disk.read_at(fd, begin, length - begin) != b"".join(file.read(begin, length)):
            length = 0
        disk.truncate(fd, length)
        self.length, self._doubted = length, _TAIL
        if self._checked != length:
            self._begin()
            for block in disk.read_blocks(self._path):
                self._wanted()
                self._check(block)

    def write(self, block: memoryview) -> None:
        """Append; IntegrityError as soon as the shard cannot be whole and well-formed any more."""
        disk.write_all(self._open(), block)
        self.length += len(block)
        self._check(bytes(block))

    def restart(self) -> None:
        """Forget what was written."""
        disk.truncate(self._open(), 0)
        self.length = 0
        self._begin()

    def publish(self, target: Target) -> ShardFacts:
        """Finish the check, hold the file as it came to rest on the disk against it, and give it its name.

        Raises
        ------
        IntegrityError
            The file is not whole, or no well-formed shard; it stays unfinished.
        """
        facts = self._inspector.finish()
        if facts.size != target.remote.size:
            raise IntegrityError(
                f"{target.name} came to {facts.size:,} bytes on our disk instead of {target.remote.size:,}.",
                "Ask again: the shard is fetched anew.",
            )
        disk.fsync(self._open())
        if _digest(self._path, self._wanted) != (facts.size, facts.sha256):
            raise IntegrityError(
                f"{target.name} is not on our disk as it was written there.",
                "Ask again: the shard is fetched anew. If it stays so, the disk is failing.",
            )
        self._close_file()
        disk.seal(self._path)
        disk.rename(self._path, self._final)
        _record(self._final.parent, target, facts)
        if self._follower:
            self._follower.end(facts, self._inspector.last)
        return facts

    def close(self) -> None:
        """Close the file; what is in it stays for the next attempt."""
        self._close_file()
        if self._follower:
            self._follower.drop()

    def _begin(self) -> None:
        """Begin the check anew, and what reads along."""
        if self._follower:
            self._follower.drop()
        self._inspector = ShardInspector(self._final.name)
        self._follower = self._follow(self._final)
        self._checked = 0

    def _check(self, block: bytes) -> None:
        self._checked += len(block)
        for records in self._inspector.feed(block):
            if self._follower:
                self._follower.take(self._inspector.header, records)

    def _close_file(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            disk.close(fd)

    def _open(self) -> int:
        if self._fd is None:
            raise ValueError("the file was closed")
        return self._fd


def _record(folder: Path, target: Target, facts: ShardFacts) -> None:
    """Write down that a shard is whole; from here on a restarted kernel takes it as it is."""
    disk.write_json(folder / f"{target.stem}.ok.json", {**_source(target), "facts": asdict(facts)})


def _digest(path: Path, wanted: Wanted) -> tuple[int, str]:
    """Return the size and SHA-256 of a file on the disk."""
    digest = hashlib.sha256()
    size = 0
    for block in disk.read_blocks(path):
        wanted()
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _source(target: Target) -> dict[str, Any]:
    """Return what must not have changed for a shard on disk to be the one on the server."""
    return {"schema": SCHEMA, "remote": target.path, "size": target.remote.size, "changed": target.remote.changed}
