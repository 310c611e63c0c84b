"""Keeping the cache small and sound: eviction, clearing, checking every entry, repairing.

Nothing outside ``<root>/v1`` is ever touched, no link is followed, and nothing we do not understand is deleted
but by :func:`clear` of everything.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from insights_nb import copyfile, disk
from insights_nb.cache import VERSION, Cache, Entry
from insights_nb.check import inspect_shard
from insights_nb.errors import CacheError, IntegrityError
from insights_nb.journal import Journal

BUSY_SECONDS = 3600.0
LEFTOVER_SECONDS = 7 * 86400.0


def evict(cache: Cache, max_bytes: int, keep: Entry, now: float) -> None:
    """Remove what is no answer any more, then the least recently used, until the account fits ``max_bytes``.

    No answer any more is what a newer report supersedes, or whose time is over. Of what is used least, columnar
    copies go first: they are made anew from the shards, which would have to be fetched again.

    An entry used within the hour stays: another kernel may be reading it. Its copy may go, which takes nothing from
    whoever has it open.

    Parameters
    ----------
    cache : Cache
        The account's.
    max_bytes : int
        Bytes to stay under, of shards and copies.
    keep : Entry
        The one just published or copied; it stays whatever its size.
    now : float
        Unix time.

    Raises
    ------
    CacheError
        The disk said no.
    """
    with disk.disk_errors(cache.folder):
        total = bytes_of(keep)
        others = []
        for entry in sorted(cache.entries(), key=last_used):
            if entry.folder == keep.folder:
                continue
            superseded = (
                entry.manifest.digest == keep.manifest.digest and entry.manifest.fetched <= keep.manifest.fetched
            )
            expired = entry.manifest.expires is not None and entry.manifest.expires < now
            if (superseded or expired) and not _is_busy(entry, now):
                cache.remove(entry)
                continue
            others.append(entry)
            total += bytes_of(entry)
        for entry in others:
            if total > max_bytes and (copied := copyfile.size_in(entry.folder)):
                copyfile.clear_quietly(entry.folder)
                total -= copied - copyfile.size_in(entry.folder)
        for entry in others:
            if total > max_bytes and not _is_busy(entry, now):
                cache.remove(entry)
                total -= entry.manifest.size


def bytes_of(entry: Entry) -> int:
    """Bytes an entry takes on the disk, its columnar copy too."""
    return entry.manifest.size + copyfile.size_in(entry.folder)


def _is_busy(entry: Entry, now: float) -> bool:
    return now - last_used(entry) <= BUSY_SECONDS


def sweep(cache: Cache, now: float) -> None:
    """Remove what killed kernels left: half-removed entries, and half-fetched or quarantined ones of a week ago.

    Raises
    ------
    CacheError
        The disk said no.
    """
    with disk.disk_errors(cache.folder):
        for place, age in (("trash", 0.0), ("partial", LEFTOVER_SECONDS), ("quarantine", LEFTOVER_SECONDS)):
            for name in disk.names(cache.folder / place):
                # Another kernel may be sweeping too.
                with suppress(FileNotFoundError):
                    if now - disk.changed(cache.folder / place / name) >= age:
                        disk.remove_tree(cache.folder / place / name)


def last_used(entry: Entry) -> float:
    """Unix time of an entry's last reading, or of its fetching when nobody has read it."""
    with suppress(OSError):
        return disk.changed(entry.folder / "used")
    return entry.manifest.fetched


def clear(cache: Cache, journal: Journal, now: float, older_than: float | None = None) -> tuple[int, int]:
    """Remove an account's reports, half-fetched shards and finished records.

    Parameters
    ----------
    cache, journal : Cache, Journal
        The account's.
    now : float
        Unix time.
    older_than : float or None
        Only entries fetched before this Unix time; None removes all there is but records of running reports,
        which still hold a slot.

    Returns
    -------
    entries, bytes : int
        What was removed.

    Raises
    ------
    CacheError
        The disk said no.
    """
    cache.require_ours()
    gone = [entry for entry in cache.entries() if older_than is None or entry.manifest.fetched < older_than]
    size = sum(map(bytes_of, gone))
    for entry in gone:
        cache.remove(entry)
        journal.forget(entry.manifest.digest, now)
    if older_than is None:
        for job in journal.jobs():
            journal.forget(job.digest, now)
        # What another kernel is just writing down about its query must not be taken from under it.
        with journal.admission():
            journal.remove_strays(math.inf)
        with disk.disk_errors(cache.folder):
            for name in ("entries", "partial", "trash", "quarantine"):
                disk.remove_tree(cache.folder / name)
    return len(gone), size


def clear_everything(root: Path) -> list[str]:
    """Remove every account's reports and records; ids of reports that were still running.

    Raises
    ------
    CacheError
        The disk said no, or the folder is no cache of ours.
    """
    disk.require_ours(root, private=False)
    disk.require_ours(root / VERSION, private=True)
    if not (root / VERSION).exists():
        return []
    running = [
        job.report_id
        for account in accounts(root)
        for job in Journal(root / VERSION / account / "jobs").jobs()
        if job.unfinished and job.report_id
    ]
    with disk.disk_errors(root):
        disk.remove_tree(root / VERSION)
    return running


def accounts(root: Path) -> list[str]:
    """Names of the accounts that have a folder."""
    return disk.names(root / VERSION)


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry's check: ``trouble`` is empty for a sound one."""

    cache: Cache
    entry: Entry
    trouble: str


def verify(root: Path) -> Iterator[Finding]:
    """Check every entry of every account whole: sizes, SHA-256, CRC of every gzip member, rows."""
    for account in accounts(root):
        cache = Cache(root, account)
        cache.require_ours()
        for entry in cache.entries():
            yield Finding(cache, entry, _trouble(entry))


def repair(root: Path, now: float) -> Iterator[Finding]:
    """Check every entry, quarantine the unsound, and remove what dead kernels left a week ago."""
    for finding in verify(root):
        if finding.trouble:
            finding.cache.quarantine(finding.entry)
        yield finding
    for account in accounts(root):
        sweep(Cache(root, account), now)


def _trouble(entry: Entry) -> str:
    """What is wrong with an entry, in words; empty when nothing is."""
    for path, shard in zip(entry.paths, entry.manifest.shards, strict=True):
        try:
            facts = inspect_shard(path)
        except (IntegrityError, CacheError) as error:
            return error.message
        except OSError as error:
            return f"{path}: {error.strerror}"
        if (facts.size, facts.sha256, facts.rows) != (shard.size, shard.sha256, shard.rows):
            return f"{path} is not what was published"
    return ""
