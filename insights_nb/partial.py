"""One shard on its way to the disk: what is there of it, what of that can be trusted, and when it gets its name.

A shard is written to a file of its own that nobody else ever opened for writing, and gets its final name,
read-only, when every byte was checked. Beside it goes a small record of what was found, so that a restarted
kernel takes it as it is. Names come from the shard's number, never from the server's.

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
from typing import Any

from insights_nb import disk
from insights_nb.check import ShardFacts, ShardInspector
from insights_nb.errors import IntegrityError
from insights_nb.sftp import Attributes, RemoteFile

SCHEMA = 1
STEP = 1 << 20  # what a dead kernel left is cut to a multiple of this, and its last such step compared
_TAIL = 1 << 16  # what we wrote ourselves is known to be there; this much of it is compared all the same

Wanted = Callable[[], None]


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
        digest = hashlib.sha256()
        size = 0
        for block in disk.read_blocks(folder / target.name):
            wanted()
            digest.update(block)
            size += len(block)
    except (OSError, KeyError, TypeError):
        return None
    whole = (size, digest.hexdigest()) == (facts.size, facts.sha256) == (target.remote.size, facts.sha256)
    return facts if whole else None


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
    """A file being written, ours alone.

    Parameters
    ----------
    folder : Path
        Where the shard will be.
    target : Target
        Which shard.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self._folder = folder
        self._path = folder / f"{target.stem}.{secrets.token_hex(6)}.part"
        self._fd: int | None = disk.create_exclusive(self._path)
        self._doubted = _TAIL
        self.length = 0

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

    def write(self, block: memoryview) -> None:
        """Append."""
        disk.write_all(self._open(), block)
        self.length += len(block)

    def restart(self) -> None:
        """Forget what was written."""
        disk.truncate(self._open(), 0)
        self.length = 0

    def publish(self, target: Target, wanted: Wanted) -> ShardFacts:
        """Check every byte as it came to rest on the disk, and give the file its name.

        Raises
        ------
        IntegrityError
            The file is not whole, or no well-formed shard; it stays unfinished.
        """
        disk.fsync(self._open())
        inspector = ShardInspector(target.name)
        for block in disk.read_blocks(self._path):
            wanted()
            inspector.feed(block)
        facts = inspector.finish()
        if facts.size != target.remote.size:
            raise IntegrityError(
                f"{target.name} came to {facts.size:,} bytes on our disk instead of {target.remote.size:,}.",
                "Ask again: the shard is fetched anew.",
            )
        self.close()
        disk.seal(self._path)
        disk.rename(self._path, self._folder / target.name)
        _record(self._folder, target, facts)
        return facts

    def close(self) -> None:
        """Close the file; what is in it stays for the next attempt."""
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


def _source(target: Target) -> dict[str, Any]:
    """Return what must not have changed for a shard on disk to be the one on the server."""
    return {"schema": SCHEMA, "remote": target.path, "size": target.remote.size, "changed": target.remote.changed}
