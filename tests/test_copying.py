"""The columnar copy made while shards arrive: the same as one made of them later, or none, and never in the way."""

import errno
import gzip
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb import columns, copyfile, copying, disk, parsing
from insights_nb.cache import Cache, Entry
from insights_nb.copying import Copyist, allowance, is_worth_it
from insights_nb.errors import FrameError, IntegrityError
from insights_nb.partial import Part, Target
from insights_nb.sftp import Attributes
from tests.test_cache import MANIFEST

FIELDS: list[Any] = [("A", pa.large_string()), ("I", pa.int64()), ("T", pa.timestamp("us", tz="UTC"))]
ASKED = pa.schema(FIELDS)
PLENTY = 1 << 50
TEXTS = ('T,A,I\n2026-03-01 00:00:00 UTC,"a ""1"",\nb",1\n,,\n', "A,X,I\nx,y,\n" + "z,,7\n" * 400, "I,T,A\n")


def wanted() -> None:
    """Go on."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces small enough for several; no thread is left."""
    monkeypatch.setattr(parsing, "_PIECE", 300)
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def arrive(folder: Path, texts: Sequence[str], copyist: Copyist, cut: int = 50, free: int = PLENTY) -> Entry:
    """Let shards arrive in pieces, with a copyist reading along, and publish them."""
    cache = Cache(folder, "account")
    staging = cache.staging(MANIFEST.digest)
    facts = []
    with copyist:
        for number, text in enumerate(texts):
            content = gzip.compress(text.encode(), 1, mtime=0)
            target = Target(number, "x", Attributes(len(content), 1))
            part = Part(staging, target, wanted, lambda path: copyist.follow(path, free))
            try:
                for at in range(0, len(content), cut):
                    part.write(memoryview(content)[at : at + cut])
                facts.append(part.publish(target))
            finally:
                part.close()
    return cache.publish(staging, MANIFEST, facts, beside=copyist.files)


rows = st.lists(
    st.tuples(
        st.sampled_from(["", "x", '"a,\nb"', '""""', "+15555550123", "é"]),
        st.sampled_from(["", "7", "-1"]),
        st.sampled_from(["", "2026-03-01 00:00:00 UTC", "2026-03-01 00:00:00.5 UTC"]),
    ),
    max_size=40,
)
orders = st.permutations(["A", "I", "T", "X"]).flatmap(lambda names: st.integers(1, 4).map(lambda n: names[:n]))


def shard_of(order: Sequence[str], cells: Sequence[tuple[str, str, str]], last_line: bool) -> str:
    at = {"A": 0, "I": 1, "T": 2, "X": 0}
    # A line of nothing is no row where there are several columns, and says nothing where there is one.
    lines = [",".join(row[at[name]] for name in order) for row in cells if len(order) > 1 or row[at[order[0]]]]
    return "\n".join([",".join(order), *lines]) + ("\n" if last_line else "")


@given(st.lists(st.tuples(orders, rows, st.booleans()), min_size=1, max_size=3), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_copy_made_on_arrival_is_the_one_made_later(
    tmp_path_factory: pytest.TempPathFactory, shards: list[tuple[list[str], Any, bool]], cut: int
) -> None:
    """Law: whatever the shards and wherever they are cut, reading along writes what reading them again writes."""
    texts = [shard_of(*shard) for shard in shards]
    entry = arrive(tmp_path_factory.mktemp("cache"), texts, Copyist(ASKED, PLENTY), cut)
    assert columns.lacking(entry) == []
    first = columns.open_table(entry, ASKED)
    copyfile.clear(entry.folder)
    copying.copy(entry, ASKED)
    again = columns.open_table(entry, ASKED)
    if first is None:
        assert not {"A", "I", "T"} <= {name for order, _, _ in shards for name in order}
        assert again is None
    else:
        assert first == again
        assert first.num_rows == entry.manifest.rows


def test_a_shard_that_begins_anew_is_copied_anew(tmp_path: Path) -> None:
    """What was read of bytes that were given up is in no copy."""
    copyist = Copyist(ASKED, PLENTY)
    cache = Cache(tmp_path, "account")
    staging = cache.staging(MANIFEST.digest)
    wrong, right = (gzip.compress(f"A,I,T\n{word},1,\n".encode() + b"x,2,\n" * 500, 1) for word in ("no", "yes"))
    target = Target(0, "x", Attributes(len(right), 1))
    with copyist:
        part = Part(staging, target, wanted, lambda path: copyist.follow(path, PLENTY))
        part.write(memoryview(wrong)[:-4])
        part.restart()
        part.write(memoryview(right))
        entry = cache.publish(staging, MANIFEST, [part.publish(target)], beside=copyist.files)
        part.close()
    table = columns.open_table(entry, ASKED)
    assert table is not None
    assert table.column("A").to_pylist()[:2] == ["yes", "x"]
    assert table.num_rows == 501


@pytest.mark.parametrize("operation", ["create_exclusive", "write_all", "close", "seal", "rename", "write_json"])
def test_a_disk_that_refuses_the_copy_keeps_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Whatever goes wrong with the copy, the report is whole, and no half of a copy is beside it."""
    real = getattr(disk, operation)

    def refuse(*given: Any) -> Any:
        if any("columns" in str(value) for value in given) or operation in {"write_all", "close"}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(copyfile, "disk", _Only(disk, operation, refuse))
    entry = arrive(tmp_path, TEXTS, Copyist(ASKED, PLENTY))
    assert entry.manifest.rows == 403
    assert copyfile.size_in(entry.folder) == 0


class _Only:
    """A module of which one function is another."""

    def __init__(self, real: Any, name: str, other: Any) -> None:
        self.__dict__.update(vars(real), **{name: other})


@pytest.mark.parametrize(
    ("texts", "allowed", "free"),
    [
        ([*TEXTS[:2], "A,I\nx,many\n"], PLENTY, PLENTY),
        ([*TEXTS[:2], "A,A\nx,y\n"], PLENTY, PLENTY),
        ([*TEXTS[:2], "A,I\nx\n"], PLENTY, PLENTY),
        (TEXTS, 100, PLENTY),
        (TEXTS, PLENTY, 200),
    ],
    ids=["a cell", "a header", "a record", "the cache", "the disk"],
)
def test_what_cannot_or_may_not_be_copied_has_no_copy(
    tmp_path: Path, texts: Sequence[str], allowed: int, free: int
) -> None:
    """One shard that is not what it should be, or too much of it: no copy of any, and all shards."""
    entry = arrive(tmp_path, texts, Copyist(ASKED, allowed), free=free)
    assert len(entry.paths) == 3
    assert copyfile.size_in(entry.folder) == 0
    if allowed == free == PLENTY:
        with pytest.raises(FrameError, match="shard-00002"):
            copying.copy(entry, ASKED)
        assert copyfile.size_in(entry.folder) == 0


def test_stop_leaves_no_copy_and_no_thread(tmp_path: Path) -> None:
    """Interrupted between two shards, or in the middle of one, nothing of a copy stays."""
    copyist = Copyist(ASKED, PLENTY)
    content = memoryview(gzip.compress(TEXTS[1].encode(), 1))
    target = Target(0, "x", Attributes(len(content), 1))

    def fetch() -> None:
        with copyist:
            for number, length in ((0, len(content)), (1, len(content) - 9)):
                here = Target(number, "x", target.remote)
                part = Part(tmp_path, here, wanted, lambda path: copyist.follow(path, PLENTY))
                part.write(content[:length])
                if number == 0:
                    part.publish(here)
                part.close()
            assert copyfile.size_in(tmp_path) > 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch()
    assert copyfile.size_in(tmp_path) == 0
    assert copyist.files == []


def test_only_what_is_missing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard's damaged copy is one shard's work; what Stop interrupts is gone on with."""
    entry = arrive(tmp_path, TEXTS, Copyist(ASKED, PLENTY))
    whole = columns.open_table(entry, ASKED)
    stamps = {path: (entry.folder / copyfile.files_of(path)[0]).stat().st_mtime_ns for path in entry.paths}
    copyfile.clear_shard(entry.paths[1])
    assert columns.lacking(entry) == [1]
    copying.copy(entry, ASKED)
    assert columns.open_table(entry, ASKED) == whole
    again = {path: (entry.folder / copyfile.files_of(path)[0]).stat().st_mtime_ns for path in entry.paths}
    assert [path for path in stamps if stamps[path] != again[path]] == [entry.paths[1]]
    copyfile.clear(entry.folder)
    finish = copyfile.Writer.finish

    def interrupted(writer: copyfile.Writer, sha256: str) -> None:
        if sha256 == entry.manifest.shards[1].sha256:
            raise KeyboardInterrupt
        finish(writer, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(copyfile.Writer, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            copying.copy(entry, ASKED)
    assert columns.lacking(entry) == [1, 2]
    copying.copy(entry, ASKED)
    assert columns.open_table(entry, ASKED) == whole


def test_rot_is_noticed_before_a_copy_is_made_of_it(tmp_path: Path) -> None:
    """A shard that is whole, but not the one that was published, gets no copy."""
    entry = arrive(tmp_path, TEXTS, Copyist(ASKED, PLENTY))
    copyfile.clear(entry.folder)
    entry.paths[2].unlink()
    entry.paths[2].write_bytes(gzip.compress(b"I,T,A\n9,,\n"))
    with pytest.raises(IntegrityError, match="has changed on the disk"):
        copying.copy(entry, ASKED)
    assert copyfile.size_in(entry.folder) == 0


def test_what_comes_late_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first shards lie plain, what follows so much text is compressed, on arrival and later alike."""
    monkeypatch.setattr(copying, "PLAIN", 1000)
    entry = arrive(tmp_path, [TEXTS[1]] * 3, Copyist(ASKED.remove(2), PLENTY))
    for _ in range(2):
        records = [copyfile.read_record(path) for path in entry.paths]
        assert [record.packed for record in records if record] == [False, True, True]
        copyfile.clear(entry.folder)
        copying.copy(entry, ASKED.remove(2))


def test_which_reports_get_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None for small ones, none for huge ones, none that would fill the disk or take more than half of the cache."""
    monkeypatch.undo()
    cache, cap = Cache(tmp_path, "account"), 100 * copying.LARGEST
    disk.make_private_folder(cache.folder)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 10 * copying.LARGEST)
    sizes = (0, copying.SMALLEST, copying.LARGEST, copying.LARGEST + 1)
    assert [is_worth_it(size, allowance(cache, cap)) for size in sizes] == [False, True, True, False]
    assert allowance(cache, 1000) == 500
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1000)
    assert allowance(cache, cap) == 500
    monkeypatch.setattr(disk, "free_bytes", lambda _: cache.folder.joinpath("gone").stat())
    assert allowance(cache, cap) == 0
