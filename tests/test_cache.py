"""The cache: entries appear whole, expire, are evicted and cleared."""

import gzip
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from insights_nb.cache import FRESH_SECONDS, Cache, Entry, Manifest, expiry
from insights_nb.check import ShardFacts, inspect_shard

DIGEST = "ab" * 32
MANIFEST = Manifest(DIGEST, "{}", "report-1", 1000.0, 2000.0, None, ())


def stage(cache: Cache, rows: int = 2, digest: str = DIGEST) -> tuple[Path, list[ShardFacts]]:
    folder = cache.staging(digest)
    path = folder / "shard-00000.csv.gz"
    path.write_bytes(gzip.compress(b"A\n" + b"x\n" * rows))
    return folder, [inspect_shard(path)]


def publish(cache: Cache, manifest: Manifest = MANIFEST, rows: int = 2) -> Entry:
    folder, facts = stage(cache, rows, manifest.digest)
    return cache.publish(folder, manifest, facts)


def test_nothing_is_visible_before_it_is_published(tmp_path: Path) -> None:
    """A staged report is no answer; a published one is, with what its shards hold."""
    cache = Cache(tmp_path, "account")
    folder, facts = stage(cache)
    assert cache.find(DIGEST, 0.0) is None
    assert cache.entries() == []
    entry = cache.publish(folder, MANIFEST, facts)
    assert cache.find(DIGEST, 0.0) == entry
    assert (entry.manifest.rows, entry.manifest.size) == (2, facts[0].size)
    assert [path.exists() for path in entry.paths] == [True]
    assert not folder.exists()


def test_another_account_sees_nothing(tmp_path: Path) -> None:
    """Reports of two accounts never meet."""
    publish(Cache(tmp_path, "one"))
    assert Cache(tmp_path, "two").find(DIGEST, 0.0) is None


def test_an_expired_entry_is_no_answer_but_the_same_report_is(tmp_path: Path) -> None:
    """After its time only the very report asked for is taken."""
    cache = Cache(tmp_path, "account")
    entry = publish(cache, replace(MANIFEST, expires=3000.0))
    assert cache.find(DIGEST, 2999.0) == entry
    assert cache.find(DIGEST, 3000.0) is None
    assert cache.find(DIGEST, 3000.0, "report-1") == entry
    assert cache.find(DIGEST, 3000.0, "report-2") is None


def test_the_newest_generation_answers(tmp_path: Path) -> None:
    """A refreshed report wins over the older one."""
    cache = Cache(tmp_path, "account")
    publish(cache)
    newer = publish(cache, replace(MANIFEST, report_id="report-2", fetched=2001.0))
    assert cache.find(DIGEST, 0.0) == newer
    assert [entry.manifest.report_id for entry in cache.entries()] == ["report-2", "report-1"]


@pytest.mark.parametrize("harm", ["cut", "gone", "touched", "link"])
def test_a_harmed_entry_is_no_answer(tmp_path: Path, harm: str) -> None:
    """A shard that is cut, missing, changed or replaced by a link is noticed."""
    cache = Cache(tmp_path, "account")
    path = publish(cache).paths[0]
    if harm == "cut":
        content = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(content[:-1])
    elif harm == "gone":
        path.unlink()
    elif harm == "touched":
        os.utime(path, ns=(0, 0))
    else:
        target = tmp_path / "target"
        path.rename(target)
        path.symlink_to(target)
    assert cache.find(DIGEST, 0.0) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"form": 2}', b'{"form": 1}', b'{"form": 1, "shards": [{}]}', b"\xff"]
)
def test_an_unknown_manifest_is_a_miss_and_stays(tmp_path: Path, content: bytes) -> None:
    """What we do not understand is neither used nor deleted."""
    cache = Cache(tmp_path, "account")
    path = publish(cache).folder / "manifest.json"
    path.chmod(0o600)
    path.write_bytes(content)
    assert cache.find(DIGEST, 0.0) is None
    assert path.read_bytes() == content


def test_leftovers_are_those_of_the_same_query(tmp_path: Path) -> None:
    """A killed kernel's shards are offered to the next one, and removed once the report is published."""
    cache = Cache(tmp_path, "account")
    dead, _ = stage(cache)
    cache.staging("cd" * 32)
    mine, facts = stage(cache)
    assert cache.leftovers(DIGEST, mine) == [dead]
    cache.publish(mine, MANIFEST, facts)
    assert not dead.exists()


def test_eviction_takes_the_least_recently_used(tmp_path: Path) -> None:
    """Over the cap the longest unused entry goes, never the one just published."""
    cache = Cache(tmp_path, "account")
    entries = [publish(cache, replace(MANIFEST, digest=f"{number:064d}")) for number in range(3)]
    size = entries[0].manifest.size
    for moment, entry in zip((30, 10, 20), entries, strict=True):
        (entry.folder / "used").touch()
        os.utime(entry.folder / "used", (moment, moment))
    newest = publish(cache, replace(MANIFEST, digest="9" * 64))
    cache.evict(3 * size, newest)
    assert {entry.manifest.digest for entry in cache.entries()} == {
        newest.manifest.digest,
        entries[0].manifest.digest,
        entries[2].manifest.digest,
    }
    cache.evict(0, newest)
    assert [entry.folder for entry in cache.entries()] == [newest.folder]


def test_a_superseded_generation_is_evicted(tmp_path: Path) -> None:
    """An older report of the same query goes when the newer one is published."""
    cache = Cache(tmp_path, "account")
    publish(cache)
    newer = publish(cache, replace(MANIFEST, fetched=2001.0))
    cache.evict(10**9, newer)
    assert cache.entries() == [newer]


def test_clear_leaves_no_byte(tmp_path: Path) -> None:
    """Entries and half-fetched shards go; the count and bytes are told."""
    cache = Cache(tmp_path, "account")
    entry = publish(cache)
    stage(cache)
    assert cache.clear() == (1, entry.manifest.size)
    assert list(tmp_path.rglob("*.gz")) == []
    assert cache.clear() == (0, 0)


def test_modes_and_tag(tmp_path: Path) -> None:
    """Folders 0700, files for the owner alone under any umask; backups are told to keep out."""
    old = os.umask(0)
    try:
        publish(Cache(tmp_path / "root", "account"))
    finally:
        os.umask(old)
    assert (tmp_path / "root" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    for path in (tmp_path / "root", *(tmp_path / "root").rglob("*")):
        if path.name != "shard-00000.csv.gz":  # written by this test
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_range_settles_after_a_day() -> None:
    """Open or recent ranges expire after 15 minutes; older ones stay."""
    end = datetime(2026, 11, 24, tzinfo=UTC)
    moment = end.timestamp()
    assert expiry(end, moment - 5) == moment - 5 + FRESH_SECONDS
    assert expiry(end, moment + 86399) == moment + 86399 + FRESH_SECONDS
    assert expiry(end, moment + 86400) is None
