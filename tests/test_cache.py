"""The cache: entries appear whole, expire, are evicted and cleared."""

import errno
import gzip
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from insights_nb import disk
from insights_nb.cache import FRESH_SECONDS, Cache, Entry, Manifest, expiry
from insights_nb.check import ShardFacts, inspect_shard
from insights_nb.errors import CacheError, IntegrityError

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


def test_rot_is_noticed_before_a_row_is_read(tmp_path: Path) -> None:
    """Any flipped byte of a shard fails the check, also where size and time stay; quarantined, it answers no more."""
    cache = Cache(tmp_path, "account")
    entry = publish(cache)
    cache.check(entry)
    path = entry.paths[0]
    whole, times = path.read_bytes(), path.stat()
    for place in range(0, len(whole), 5):
        path.chmod(0o600)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert cache.find(DIGEST, 0.0) == entry
        with pytest.raises(IntegrityError, match="has changed on the disk"):
            cache.check(entry)
    cache.quarantine(entry)
    assert cache.find(DIGEST, 0.0) is None
    assert len(list((cache.folder / "quarantine").iterdir())) == 1
    cache.quarantine(entry)


@pytest.mark.parametrize("place", ["root", "root/v1", "root/v1/account"])
@pytest.mark.parametrize("harm", ["open", "link"])
def test_a_cache_others_can_fill_is_refused(tmp_path: Path, place: str, harm: str) -> None:
    """A folder open to others, or a link in its place, is refused with its name."""
    cache = Cache(tmp_path / "root", "account")
    publish(cache)
    cache.require_ours()
    folder = tmp_path / place
    if harm == "open":
        folder.chmod(0o777)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match="lets other users in" if harm == "open" else "is a symbolic link") as caught:
        cache.require_ours()
    assert str(folder) in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_foreign_owners_cache_is_refused(tmp_path: Path) -> None:
    """A folder another user owns could hold anything."""
    cache = Cache(tmp_path / "root", "account")
    publish(cache)
    os.chown(tmp_path / "root", 65534, 65534)
    with pytest.raises(CacheError, match="belongs to another user"):
        cache.require_ours()


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
    assert expiry(end, moment - 5, moment) == moment + FRESH_SECONDS
    assert expiry(end, moment + 86399, moment + 86500) == moment + 86500 + FRESH_SECONDS
    assert expiry(end, moment + 86400, moment + 86500) is None


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOENT, errno.ELOOP])
def test_a_shard_that_cannot_be_read_any_more_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A bad sector or a file that is gone is the entry's trouble; too many open files are not."""
    cache = Cache(tmp_path, "account")
    entry = publish(cache)

    def refuse(*_: object) -> Iterator[bytes]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk, "read_blocks", refuse)
    with pytest.raises(IntegrityError, match="cannot be read any more"):
        cache.check(entry)
    code = errno.EMFILE
    with pytest.raises(CacheError):
        cache.check(entry)


def test_every_look_at_a_failing_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed, or cannot be looked at, is said in our words, not the system's."""
    cache = Cache(tmp_path, "account")
    mine = publish(cache).folder

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "names", refuse)
    for look in (lambda: cache.find(DIGEST, 0.0), cache.entries, lambda: cache.leftovers(DIGEST, mine)):
        with pytest.raises(CacheError, match="Input/output error"):
            look()
    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(CacheError, match="Input/output error"):
        cache.require_ours()
