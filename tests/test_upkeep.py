"""Keeping the cache small and sound."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from insights_nb import copyfile
from insights_nb.cache import Cache, Entry
from insights_nb.errors import CacheError
from insights_nb.journal import SETTLE_SECONDS, Job, Journal, State
from insights_nb.upkeep import (
    LEFTOVER_SECONDS,
    accounts,
    clear,
    clear_everything,
    evict,
    last_used,
    repair,
    sweep,
    verify,
)
from tests.test_cache import MANIFEST, publish, stage
from tests.test_columns import write as write_copy

LATE = 1e10
CANARY = "+15555550142"


def used(entry: Entry, moment: float) -> None:
    (entry.folder / "used").touch()
    os.utime(entry.folder / "used", (moment, moment))


def test_eviction_takes_the_least_recently_used(tmp_path: Path) -> None:
    """Over the cap the longest unused entry goes, never the one just published."""
    cache = Cache(tmp_path, "account")
    entries = [publish(cache, replace(MANIFEST, digest=f"{number:064d}")) for number in range(3)]
    size = entries[0].manifest.size
    for moment, entry in zip((30, 10, 20), entries, strict=True):
        used(entry, moment)
    newest = publish(cache, replace(MANIFEST, digest="9" * 64))
    evict(cache, 3 * size, newest, LATE)
    kept = {entry.folder for entry in cache.entries()}
    assert kept == {newest.folder, entries[0].folder, entries[2].folder}
    evict(cache, 0, newest, LATE)
    assert [entry.folder for entry in cache.entries()] == [newest.folder]


def test_copies_go_before_reports(tmp_path: Path) -> None:
    """Over the cap, columnar copies are let go first, the least recently used one's first; the newest keeps its own."""
    cache = Cache(tmp_path, "account")
    entries = [publish(cache, replace(MANIFEST, digest=f"{number:064d}")) for number in range(3)]
    newest = publish(cache, replace(MANIFEST, digest="9" * 64))
    for moment, entry in zip((30, 10, LATE), entries, strict=True):
        used(entry, moment)
    for entry in [*entries, newest]:
        write_copy(entry, pa.schema([("A", pa.large_string())]), [])
    shards, copy = newest.manifest.size, copyfile.size_in(newest.folder)
    for cap, copied in ((4 * (shards + copy), 4), (4 * shards + 3 * copy, 3), (4 * shards + copy, 1)):
        evict(cache, cap, newest, LATE)
        assert sum(copyfile.size_in(entry.folder) > 0 for entry in [*entries, newest]) == copied
        assert copyfile.size_in(entries[1].folder) == 0 or copied == 4
        assert len(cache.entries()) == 4
    evict(cache, 3 * shards + copy, newest, LATE)
    assert entries[1].folder not in {entry.folder for entry in cache.entries()}
    assert len(cache.entries()) == 3
    assert copyfile.size_in(newest.folder)


def test_what_was_used_within_the_hour_stays(tmp_path: Path) -> None:
    """Another kernel may be reading it, whatever the cap says."""
    cache = Cache(tmp_path, "account")
    reading = publish(cache)
    newest = publish(cache, replace(MANIFEST, digest="9" * 64))
    used(reading, LATE - 3599)
    evict(cache, 0, newest, LATE)
    assert len(cache.entries()) == 2
    used(reading, LATE - 3601)
    evict(cache, 0, newest, LATE)
    assert len(cache.entries()) == 1


def test_a_superseded_generation_is_evicted(tmp_path: Path) -> None:
    """An older report of the same query goes when the newer one is published."""
    cache = Cache(tmp_path, "account")
    publish(cache)
    newer = publish(cache, replace(MANIFEST, fetched=2001.0))
    evict(cache, 10**9, newer, LATE)
    assert cache.entries() == [newer]


def test_reading_counts_as_use(tmp_path: Path) -> None:
    """Finding an entry marks it; before that, its fetching counts."""
    cache = Cache(tmp_path, "account")
    entry = publish(cache)
    assert last_used(entry) == entry.manifest.fetched
    cache.find(entry.manifest.digest, 0.0)
    assert last_used(entry) > 1.7e9


def canaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_clear_leaves_no_byte_but_of_running_reports(tmp_path: Path) -> None:
    """Entries, shards half fetched, quarantine and finished records go; a running report keeps its record."""
    cache, journal = Cache(tmp_path, "account"), Journal(tmp_path / "v1" / "account" / "jobs")
    entry = publish(cache, replace(MANIFEST, text=CANARY))
    cache.quarantine(publish(cache, replace(MANIFEST, text=CANARY, digest="8" * 64)))
    stage(cache)[0].joinpath("shard-00001.part").write_text(CANARY)
    for number, state in enumerate(State):
        journal.save(Job(f"{number}" * 64, CANARY, "", state, 1.0, 1.0, report_id=str(number)), 1.0)
    (tmp_path / "v1" / "account" / "jobs" / f".{'0' * 64}.json.0123456789ab.tmp").write_text(CANARY)
    assert clear(cache, journal, 2.0) == (1, entry.manifest.size)
    left = [job.state for job in journal.jobs()]
    assert set(left) == {State.INTENT, State.AMBIGUOUS, State.RUNNING, State.READY}
    assert {path.suffix for path in canaries(tmp_path)} == {".json"}
    assert {path.parent.name for path in canaries(tmp_path)} == {"jobs"}
    assert clear(cache, journal, 1.0 + SETTLE_SECONDS) == (0, 0)
    assert {job.state for job in journal.jobs()} == {State.RUNNING, State.READY}
    assert sorted(clear_everything(tmp_path)) == sorted(job.report_id for job in journal_states())
    assert canaries(tmp_path) == []
    assert clear_everything(tmp_path) == []


def journal_states() -> list[Job]:
    unfinished = (State.RUNNING, State.READY)
    numbers = {state: number for number, state in enumerate(State)}
    return [Job("", "", "", state, 0, 0, report_id=str(numbers[state])) for state in unfinished]


def test_clear_by_age_takes_only_the_old(tmp_path: Path) -> None:
    """What was fetched since stays."""
    cache, journal = Cache(tmp_path, "account"), Journal(tmp_path / "v1" / "account" / "jobs")
    publish(cache)
    newer = publish(cache, replace(MANIFEST, digest="7" * 64, fetched=5000.0))
    assert clear(cache, journal, LATE, older_than=3000.0)[0] == 1
    assert cache.entries() == [newer]


def test_verify_names_the_unsound_and_repair_moves_them_away(tmp_path: Path) -> None:
    """A flipped bit in any account is found by the full check; repair leaves only sound entries."""
    one, two = Cache(tmp_path, "one"), Cache(tmp_path, "two")
    publish(one)
    path = publish(two).paths[0]
    assert [finding.trouble for finding in verify(tmp_path)] == ["", ""]
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-9] ^= 4
    path.chmod(0o600)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [bool(finding.trouble) for finding in verify(tmp_path)] == [False, True]
    assert accounts(tmp_path) == ["one", "two"]
    stale = stage(one)[0]
    os.utime(stale, (1, 1))
    list(repair(tmp_path, LATE))
    assert [finding.trouble for finding in verify(tmp_path)] == [""]
    assert not stale.exists()


def test_a_folder_that_is_not_ours_is_never_cleared(tmp_path: Path) -> None:
    """A link in place of the versioned folder is refused, and what it points to stays."""
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("keep")
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "root" / "v1").symlink_to(target)
    with pytest.raises(CacheError, match="symbolic link"):
        clear_everything(tmp_path / "root")
    assert (target / "file").read_text() == "keep"


def test_what_killed_kernels_left_is_swept(tmp_path: Path) -> None:
    """A half-removed entry goes at once; half-fetched and quarantined ones after a week, whoever is at them."""
    cache = Cache(tmp_path, "account")
    trash = cache.folder / "trash" / "0123456789ab"
    trash.mkdir(parents=True)
    (trash / "shard-00000.csv.gz").write_text(CANARY)
    half = stage(cache)[0]
    cache.quarantine(publish(cache, replace(MANIFEST, digest="8" * 64)))
    odd = next((cache.folder / "quarantine").iterdir())
    now = half.stat().st_mtime
    sweep(cache, now + 60)
    assert canaries(tmp_path) == []
    assert half.exists()
    assert odd.exists()
    sweep(cache, now + LEFTOVER_SECONDS + 60)
    assert not half.exists()
    assert not odd.exists()


def test_an_expired_entry_is_evicted(tmp_path: Path) -> None:
    """What is no answer any more goes with the next report, unless it was read within the hour."""
    cache = Cache(tmp_path, "account")
    expired = publish(cache, replace(MANIFEST, digest="8" * 64, expires=3000.0))
    newest = publish(cache)
    used(expired, LATE - 60)
    evict(cache, 10**9, newest, LATE)
    assert len(cache.entries()) == 2
    used(expired, LATE - 7200)
    evict(cache, 10**9, newest, LATE)
    assert cache.entries() == [newest]
