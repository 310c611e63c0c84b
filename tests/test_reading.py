"""An entry's rows, by every way there is: the same rows, checked, whatever became of the copy."""

import errno
import gzip
import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from insights_nb import copyfile, disk, frame, parsing
from insights_nb.cache import Cache, Entry
from insights_nb.check import inspect_shard
from insights_nb.errors import CacheError, FrameError, IntegrityError, QueryError
from insights_nb.reading import Rows, chosen
from tests.test_cache import MANIFEST

ASKED = ("SessionId", "EventVersion", "IsTriggerAction", "TimeStamp", "ExitReason")
CAP = 10**12
FILE = copyfile.files_of(Path("shard-00000.csv.gz"))[0]


def text(rows: int, start: int = 0) -> str:
    lines = [
        f"{n},{'' if n % 5 == 1 else n},{['true', 'FALSE', ''][n % 3]},2026-03-01 00:00:{n % 60:02d}.{n % 10} UTC,"
        f'"a ""{n % 4}"", b\nc"'
        for n in range(start, start + rows)
    ]
    return "\n".join([",".join(ASKED), *lines])


def publish(folder: Path, *texts: str) -> Rows:
    cache = Cache(folder, "account")
    staging = cache.staging(MANIFEST.digest)
    facts = []
    for number, content in enumerate(texts):
        path = staging / f"shard-{number:05d}.csv.gz"
        path.write_bytes(gzip.compress(content.encode(), 1))
        facts.append(inspect_shard(path))
    return Rows(cache, cache.publish(staging, MANIFEST, facts), ASKED, CAP, 1e10, fresh=False)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are small enough for several."""
    monkeypatch.setattr(parsing, "_PIECE", 1000)


def plain(rows: Rows) -> pd.DataFrame:
    return replace(rows, cap=0).frame(None, None)


def has_copy(entry: Entry) -> bool:
    return copyfile.size_in(entry.folder) > 0


def harm(path: Path) -> None:
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("dtype_backend", [None, "pyarrow"])
def test_every_way_gives_the_same_frame(tmp_path: Path, dtype_backend: None) -> None:
    """From the shards, with the copy being made, from the copy, and in chunks put together: equal frames and dtypes."""
    rows = publish(tmp_path, text(150), text(0), text(77, 150))
    without = replace(rows, cap=0).frame(None, dtype_backend)
    assert not has_copy(rows.entry)
    assert len(without) == 227
    first, again = rows.frame(None, dtype_backend), rows.frame(None, dtype_backend)
    assert has_copy(rows.entry)
    for found in (first, again, pd.concat(rows.chunks(10, None, dtype_backend))):
        assert_frame_equal(without, found)
    copyfile.clear(rows.entry.folder)
    chunks = list(rows.chunks(100, None, dtype_backend))
    assert [len(chunk) for chunk in chunks] == [100, 100, 27]
    assert isinstance(chunks[1].index, pd.RangeIndex)
    assert_frame_equal(without, pd.concat(chunks))
    assert not has_copy(rows.entry)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(1, 40))
def test_chunks_are_the_frame_cut_up(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], rows: int) -> None:
    """Law: any shards in chunks of any size, from shards and copy alike, put together are the frame."""
    found = publish(tmp_path_factory.mktemp("cache"), *[text(size, 7 * size) for size in sizes])
    whole = plain(found)
    for _ in range(2):
        chunks = list(found.chunks(rows, None, None))
        assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
        assert sum(map(len, chunks)) == len(whole)
        if chunks:
            assert_frame_equal(whole, pd.concat(chunks))
        found.dataset()


def test_only_some_columns(tmp_path: Path) -> None:
    """Any columns in any order, from shards and copy, in one frame and in chunks."""
    rows = publish(tmp_path, text(30))
    wanted = plain(rows)[["TimeStamp", "SessionId"]]
    for with_copy in (replace(rows, cap=0), rows, rows):
        assert_frame_equal(with_copy.frame(["TimeStamp", "SessionId"], None), wanted)
        assert_frame_equal(pd.concat(with_copy.chunks(9, ["TimeStamp", "SessionId"], None)), wanted)


def test_columns_are_chosen_or_refused_with_the_nearest_name() -> None:
    """Each once, in the order given; a wrong one is told with the name it was meant to be."""
    assert chosen(ASKED, None) is None
    assert chosen(ASKED, ["ExitReason", "SessionId", "ExitReason"]) == ["ExitReason", "SessionId"]
    assert chosen(ASKED, "SessionId") == ["SessionId"]
    with pytest.raises(QueryError, match=r'"exitreason" is not asked for by this query\. Did you mean "ExitReason"'):
        chosen(ASKED, ["SessionId", "exitreason"])
    with pytest.raises(QueryError, match="the list is empty"):
        chosen(ASKED, [])


def test_engines_query_the_dataset_without_loading_it(tmp_path: Path) -> None:
    """An engine takes what scan gives as a table; asked twice, the copy is written once."""
    rows = publish(tmp_path, text(150), text(50, 150))
    scanned = replace(rows, cap=0).dataset()  # noqa: F841 - duckdb finds it
    stamp = (rows.entry.folder / FILE).stat().st_mtime_ns
    rows.dataset()
    assert (rows.entry.folder / FILE).stat().st_mtime_ns == stamp
    found = duckdb.sql("SELECT ExitReason, count(*) FROM scanned GROUP BY ALL")
    assert found is not None
    assert dict(found.fetchall()) == plain(rows)["ExitReason"].value_counts().to_dict()


def test_a_damaged_copy_is_made_anew_in_silence(tmp_path: Path) -> None:
    """Rot in the copy: the right frame all the same, and a good copy afterwards."""
    rows = publish(tmp_path, text(150))
    whole = rows.frame(None, None)
    ways: tuple[Callable[[], pd.DataFrame], ...] = (
        lambda: rows.frame(None, None),
        lambda: pd.concat(rows.chunks(50, None, None)),
    )
    for read in ways:
        harm(rows.entry.folder / FILE)
        assert_frame_equal(whole, read())
    rows.dataset()
    harm(rows.entry.folder / FILE)
    assert len(rows.dataset().to_table()) == 150
    assert_frame_equal(whole, rows.frame(None, None))


@pytest.mark.parametrize("operation", ["create_exclusive", "write_all", "seal", "rename", "write_json"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_no_room_for_the_copy_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, number: int
) -> None:
    """Full, read-only or not ours: the frame comes from the shards; only scan, which needs the copy, says so."""
    rows = publish(tmp_path, text(150))
    whole = plain(rows)

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk, operation, refuse)
    assert_frame_equal(whole, rows.frame(None, None))
    assert_frame_equal(whole, pd.concat(rows.chunks(50, None, None)))
    with pytest.raises(CacheError):
        rows.dataset()


def test_rot_in_the_shards_is_noticed_where_there_is_no_copy(tmp_path: Path) -> None:
    """No way hands out a row of a shard that changed; a copy made before is still good."""
    rows = publish(tmp_path, text(150))
    whole = rows.frame(None, None)
    harm(rows.entry.paths[0])
    assert_frame_equal(whole, rows.frame(None, None))
    copyfile.clear(rows.entry.folder)
    for read in (lambda: rows.frame(None, None), rows.dataset, lambda: next(rows.chunks(1, None, None))):
        with pytest.raises(IntegrityError):
            read()
    assert not has_copy(rows.entry)


def test_a_report_that_cannot_be_read_leaves_no_copy(tmp_path: Path) -> None:
    """A cell of the wrong type in the last shard: the error says where, and no half copy stays."""
    rows = publish(tmp_path, text(150), text(5).replace("true", "perhaps", 1))
    with pytest.raises(FrameError, match=r"row 1 in column IsTriggerAction of shard-00001\.csv\.gz is 'perhaps'"):
        rows.frame(None, None)
    with pytest.raises(FrameError):
        rows.dataset()
    assert not has_copy(rows.entry)


def test_columns_nobody_asked_for_are_warned_of_each_time(tmp_path: Path) -> None:
    """From shards and copy alike, unless only some columns are wanted."""
    rows = replace(publish(tmp_path, text(20)), asked=ASKED[:3])
    for _ in range(2):
        with pytest.warns(UserWarning, match="kept as text: TimeStamp, ExitReason"):
            assert list(rows.frame(None, None)) == list(ASKED)
        assert list(rows.frame(["SessionId"], None)) == ["SessionId"]


def test_no_copy_where_the_cache_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where reports alone fill the cap, nor where the disk is nearly full: it would only be evicted again."""
    rows = publish(tmp_path, text(150))
    manifest = rows.entry.manifest
    assert not has_copy(rows.entry)
    replace(rows, cap=2 * manifest.inflated - 1).frame(None, None)
    assert not has_copy(rows.entry)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_bytes", lambda _: 2 * manifest.inflated - 1)
        rows.frame(None, None)
    assert not has_copy(rows.entry)
    replace(rows, cap=2 * manifest.inflated + manifest.size).frame(None, None)
    assert has_copy(rows.entry)


def test_an_error_names_the_row_of_the_shard_not_of_its_piece(tmp_path: Path) -> None:
    """Cut into pieces for reading, a shard's rows keep their numbers in messages."""
    good = text(300)
    for harmed, words in (
        (good + "\nx,1", "row 301 of shard-00000.csv.gz has 2 cells"),
        (good.replace("295,295", "295,many"), "row 296 in column EventVersion"),
    ):
        rows = publish(tmp_path, harmed)
        with pytest.raises(FrameError, match=words):
            rows.frame(None, None)


def test_reading_stopped_half_way_leaves_no_thread(tmp_path: Path) -> None:
    """A reader that is closed early has ended its threads."""
    rows = publish(tmp_path, text(300))
    before = threading.active_count()
    outline = frame.read_outline(rows.entry.paths, ASKED, {})
    with closing(frame.read_batches(rows.entry.paths, outline)) as batches:
        next(batches)
    assert threading.active_count() == before
