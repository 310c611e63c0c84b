"""Finished reports on disk, addressed by the digest of their query.

::

    <root>/CACHEDIR.TAG                       backups and indexers: keep out, personal data
    <root>/v1/<account>/partial/<digest>.<hex>/   shards being fetched, one folder a kernel
    <root>/v1/<account>/entries/<kk>/<digest>/<generation>/
        manifest.json · shard-00000.csv.gz …      complete, verified, read-only
        used                                      touched by every reader
        shard-00000.columns.arrow · .json …       derived from the shards, see insights_nb.columns
    <root>/v1/<account>/quarantine/               entries that failed a later check

A folder becomes an entry by one rename, after every shard was verified: a reader sees a whole report or none.
"""

import errno
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insights_nb import disk
from insights_nb.check import ShardFacts
from insights_nb.errors import IntegrityError

FORM = 1
VERSION = "v1"
FRESH_SECONDS = 15 * 60.0
SETTLED_SECONDS = 86400.0
_DAMAGE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ELOOP, errno.ESTALE})
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Reports fetched by insights_nb; they hold personal data.\n"


@dataclass(frozen=True, slots=True)
class Shard:
    """One verified file of an entry; sizes in bytes, ``mtime_ns`` as the file system gave it."""

    file: str
    size: int
    sha256: str
    inflated: int
    rows: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an entry holds. Times are Unix seconds.

    Parameters
    ----------
    digest, text : str
        The query; see :class:`insights_nb.spec.Query`.
    report_id : str
        The service's id of the report.
    submitted, fetched : float
        When the query was sent, and when the last shard was verified.
    expires : float or None
        When the entry stops being an answer; None for a range that was settled.
    shards : tuple of Shard
        In the order the service listed them.
    """

    digest: str
    text: str
    report_id: str
    submitted: float
    fetched: float
    expires: float | None
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def size(self) -> int:
        """Compressed bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    @property
    def inflated(self) -> int:
        """Bytes of CSV in all shards."""
        return sum(shard.inflated for shard in self.shards)


@dataclass(frozen=True, slots=True)
class Entry:
    """One complete report on disk."""

    folder: Path
    manifest: Manifest

    @property
    def paths(self) -> list[Path]:
        """The shards, in order."""
        return [self.folder / shard.file for shard in self.manifest.shards]


def is_settled(end: datetime, submitted: float) -> bool:
    """Whether a range can gain no more rows after its query was sent: it had ended a day before."""
    return submitted - end.astimezone(UTC).timestamp() >= SETTLED_SECONDS


def expiry(end: datetime, submitted: float, fetched: float) -> float | None:
    """When an entry stops being an answer.

    A settled range has no expiry; another is kept for 15 minutes after it was fetched.
    """
    return None if is_settled(end, submitted) else fetched + FRESH_SECONDS


class Cache:
    """The entries of one account.

    Parameters
    ----------
    root : Path
        Root of the cache; made on first write, mode 0700.
    account : str
        Folder of the account under it.
    """

    def __init__(self, root: Path, account: str) -> None:
        self.root = root
        self.folder = root / VERSION / account

    def find(self, digest: str, now: float, report_id: str = "") -> Entry | None:
        """The newest whole entry that still answers a query, or None.

        Parameters
        ----------
        digest : str
            The query.
        now : float
            Unix time; an expired entry is no answer.
        report_id : str, default ""
            Accept only this report.
        """
        for entry in self._generations(digest):
            manifest = entry.manifest
            fresh = manifest.expires is None or now < manifest.expires
            wanted = manifest.report_id == report_id if report_id else fresh
            if wanted and _intact(entry):
                with suppress(OSError):
                    disk.touch(entry.folder / "used")
                return entry
        return None

    def entries(self) -> list[Entry]:
        """Every readable entry, expired ones too, the newest first."""
        found = []
        for shelf in self._names(self.folder / "entries"):
            for digest in self._names(self.folder / "entries" / shelf):
                found += list(self._generations(digest))
        return sorted(found, key=lambda entry: entry.manifest.fetched, reverse=True)

    def staging(self, digest: str) -> Path:
        """A fresh folder of our own for the shards of a report.

        Raises
        ------
        CacheError
            The disk said no.
        """
        with disk.disk_errors(self.folder):
            disk.make_private_folder(self.root)
            if "CACHEDIR.TAG" not in disk.names(self.root):
                disk.write_atomic(self.root / "CACHEDIR.TAG", _TAG)
            return disk.make_private_folder(self.folder / "partial" / f"{digest}.{secrets.token_hex(6)}")

    def leftovers(self, digest: str, mine: Path) -> list[Path]:
        """Folders a killed kernel left for the same query: what they hold need not be fetched again."""
        partial = self.folder / "partial"
        return [partial / name for name in self._names(partial) if name.startswith(digest) and name != mine.name]

    def publish(
        self,
        staging: Path,
        manifest: Manifest,
        facts: Sequence[ShardFacts],
        *,
        beside: Sequence[str] = (),
        sweep: bool = True,
    ) -> Entry:
        """Make the verified shards of a folder an entry, by one rename.

        Parameters
        ----------
        staging : Path
            From :meth:`staging`; holds one verified file per shard.
        manifest : Manifest
            Without its shards: they are described here, from the files.
        facts : sequence of ShardFacts
            What the check of each shard found, in order.
        beside : sequence of str
            Names of other files of the folder to keep: what was derived from the shards.
        sweep : bool, default True
            Remove what other kernels left of the same query; only for the kernel that has the right to drive it.

        Raises
        ------
        CacheError
            The disk said no; nothing was published.
        """
        with disk.disk_errors(self.folder):
            shards = tuple(
                Shard(name, fact.size, fact.sha256, fact.inflated, fact.rows, disk.stamp(staging / name)[1])
                for name, fact in zip(_shard_names(len(facts)), facts, strict=True)
            )
            complete = replace(manifest, shards=shards)
            kept = {*(shard.file for shard in shards), *beside}
            for name in disk.names(staging):
                if name not in kept:
                    disk.remove(staging / name)
            disk.write_json(staging / "manifest.json", {"form": FORM, **asdict(complete)}, disk.SEALED_MODE)
            home = disk.make_private_folder(self._home(manifest.digest))
            # Names sort by time, so the newest generation is the last one.
            generation = home / f"{int(manifest.fetched * 1000):015d}-{secrets.token_hex(4)}"
            disk.rename(staging, generation)
            disk.fsync_dir(home)
            disk.fsync_dir(staging.parent)
            for leftover in self.leftovers(manifest.digest, staging) if sweep else []:
                disk.remove_tree(leftover)
        return Entry(generation, complete)

    def remove(self, entry: Entry) -> None:
        """Remove one entry; a kernel that is reading it notices a missing file and fetches again.

        Raises
        ------
        CacheError
            The disk said no.
        """
        with disk.disk_errors(self.folder):
            # Out of sight first, in one step: a half-removed entry is never found.
            trash = disk.make_private_folder(self.folder / "trash") / secrets.token_hex(6)
            with suppress(FileNotFoundError):
                disk.rename(entry.folder, trash)
            disk.remove_tree(trash)

    def check(self, entry: Entry) -> None:
        """Read every shard and hold it against the manifest: rot on the disk is noticed before a row is.

        Raises
        ------
        IntegrityError
            A shard is not what was published, or gone.
        CacheError
            The disk said no, for a reason that is not the entry's.
        """
        with disk.disk_errors(self.folder):
            for path, shard in zip(entry.paths, entry.manifest.shards, strict=True):
                digest = hashlib.sha256()
                try:
                    for block in disk.read_blocks(path):
                        digest.update(block)
                    trouble = (
                        "" if digest.hexdigest() == shard.sha256 else "has changed on the disk since it was fetched"
                    )
                except OSError as error:
                    if error.errno not in _DAMAGE:
                        raise
                    trouble = f"cannot be read any more: {error.strerror}"
                if trouble:
                    raise IntegrityError(
                        f"{path} {trouble}.", "Nothing of it is used. Ask the query again; it is fetched anew."
                    )

    def is_whole(self, entry: Entry) -> bool:
        """Whether every shard is there as it was published, by a look at size and time of change."""
        return _intact(entry)

    def quarantine(self, entry: Entry) -> None:
        """Put an entry that failed its check out of every reader's way, for a person to look at.

        Raises
        ------
        CacheError
            The disk said no.
        """
        with disk.disk_errors(self.folder):
            place = disk.make_private_folder(self.folder / "quarantine")
            with suppress(FileNotFoundError):
                disk.rename(entry.folder, place / f"{entry.manifest.digest}.{secrets.token_hex(6)}")

    def require_ours(self) -> None:
        """Refuse a cache that somebody else could have filled.

        Raises
        ------
        CacheError
            A folder is a link, another user's, or open to others.
        """
        disk.require_ours(self.root, private=False)
        disk.require_ours(self.root / VERSION, private=True)
        disk.require_ours(self.folder, private=True)

    def _home(self, digest: str) -> Path:
        return self.folder / "entries" / digest[:2] / digest

    def _names(self, folder: Path) -> list[str]:
        with disk.disk_errors(self.folder):
            return disk.names(folder)

    def _generations(self, digest: str) -> Iterator[Entry]:
        home = self._home(digest)
        for name in reversed(self._names(home)):
            manifest = _from_json(disk.read_json(home / name / "manifest.json"))
            if manifest is not None and manifest.digest == digest:
                yield Entry(home / name, manifest)


def _shard_names(count: int) -> list[str]:
    return [f"shard-{index:05d}.csv.gz" for index in range(count)]


def _intact(entry: Entry) -> bool:
    """Whether every shard is there as it was published, by size and time of change."""
    for path, shard in zip(entry.paths, entry.manifest.shards, strict=True):
        try:
            if disk.stamp(path) != (shard.size, shard.mtime_ns):
                return False
        except OSError:
            return False
    return True


def _from_json(value: Any) -> Manifest | None:
    """A manifest from its JSON; None for anything else, also a newer form."""
    if not isinstance(value, dict) or value.get("form") != FORM:
        return None
    known = {field.name for field in fields(Manifest)}
    try:
        shards = tuple(Shard(**shard) for shard in value["shards"])
        if [shard.file for shard in shards] != _shard_names(len(shards)):
            return None
        return replace(Manifest(**{name: value[name] for name in known}), shards=shards)
    except (KeyError, TypeError, ValueError):
        return None
