"""The columnar copy: the same rows or no copy, whatever happens to its file."""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb import columns, copyfile, disk
from insights_nb.cache import Cache, Entry
from tests.test_cache import publish

FIELDS: list[Any] = [("A", pa.large_string()), ("I", pa.int64()), ("T", pa.timestamp("us", tz="UTC"))]
SCHEMA = pa.schema(FIELDS)
FILE, RECORD = copyfile.files_of(Path("shard-00000.csv.gz"))
ASKED = SCHEMA
MORE = pa.field("M", pa.int64())


def batch(rows: int, start: int = 0) -> pa.RecordBatch:
    texts = [None if n % 7 == 3 else f"text {n}" for n in range(start, start + rows)]
    numbers = [None if n % 5 == 2 else n for n in range(start, start + rows)]
    cells: list[list[Any]] = [texts, numbers, [n * 10**6 for n in range(rows)]]
    columns = [pa.array(part, field.type) for part, field in zip(cells, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def batches(rows: int) -> list[pa.RecordBatch]:
    return [batch(rows // 2), batch(rows - rows // 2, rows // 2)]


def write(entry: Entry, schema: pa.Schema, parts: Iterable[pa.RecordBatch], packed: bool = False) -> None:
    copyfile.clear(entry.folder)
    writer = copyfile.Writer(entry.paths[0], schema, packed)
    try:
        for part in parts:
            writer.write(part)
        writer.finish(entry.manifest.shards[0].sha256)
    finally:
        writer.abandon()


def copied(folder: Path, rows: int = 100, packed: bool = False) -> Entry:
    entry = publish(Cache(folder, "account"), rows=rows)
    write(entry, SCHEMA, batches(rows), packed)
    return entry


def overwrite(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """All rows and columns, or the ones wanted in the order wanted; private and read-only."""
    entry = copied(tmp_path)
    whole = pa.Table.from_batches(batches(100))
    assert columns.open_table(entry, ASKED) == whole
    assert columns.open_table(entry, ASKED, ["I", "A"]) == whole.select(["I", "A"])
    found = columns.open_dataset(entry, ASKED)
    assert found is not None
    assert found.to_table() == whole
    for name in (FILE, RECORD):
        assert (entry.folder / name).stat().st_mode & 0o777 == 0o400
    assert copyfile.size_in(entry.folder) == sum((entry.folder / name).stat().st_size for name in (FILE, RECORD))


def test_what_is_packed_reads_the_same(tmp_path: Path) -> None:
    """Compressed columns are smaller; no caller can tell."""
    plain = copyfile.size_in(copied(tmp_path / "plain", 50_000).folder)
    entry = copied(tmp_path / "packed", 50_000, packed=True)
    assert copyfile.size_in(entry.folder) < 0.6 * plain
    whole = pa.Table.from_batches(batches(50_000))
    assert columns.open_table(entry, ASKED) == whole
    assert columns.open_table(entry, ASKED, ["I", "A"]) == whole.select(["I", "A"])


@pytest.mark.parametrize("packed", [False, True])
def test_any_damage_drops_the_copy(tmp_path: Path, packed: bool) -> None:
    """Any byte flipped, anywhere in the file: no copy, and it is gone, so that it is made anew."""
    entry = copied(tmp_path, packed=packed)
    kept = {name: (entry.folder / name).read_bytes() for name in (FILE, RECORD)}
    content = kept[FILE]
    for place in range(0, len(content), 13):
        overwrite(entry.folder / FILE, content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        overwrite(entry.folder / RECORD, kept[RECORD])
        assert columns.open_table(entry, ASKED) is None, place
        assert copyfile.size_in(entry.folder) == 0
        if place % 5 == 0:
            overwrite(entry.folder / FILE, content[:place])
            overwrite(entry.folder / RECORD, kept[RECORD])
            assert columns.open_dataset(entry, ASKED) is None


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([FILE, RECORD]))
def test_garbage_is_no_copy(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    """Whatever stands in place of the file or its record, there is a good copy or none, never an error."""
    entry = copied(tmp_path_factory.mktemp("cache"))
    overwrite(entry.folder / name, content)
    assert columns.open_table(entry, ASKED) is None
    assert columns.open_dataset(entry, ASKED) is None


def test_only_the_columns_wanted_are_read(tmp_path: Path) -> None:
    """Damage in a column nobody wants is not looked at; in one that is wanted it is."""
    entry = copied(tmp_path, 2_000_000)
    path = entry.folder / FILE
    content = bytearray(path.read_bytes())
    assert len(content) > 30 * copyfile.BLOCK
    at = content.index(b"text 500000") + 3
    content[at] ^= 1
    overwrite(path, bytes(content))
    table = columns.open_table(entry, ASKED, ["I"])
    assert table is not None
    assert table.column("I").to_pylist()[:3] == [0, 1, None]
    assert columns.open_table(entry, ASKED, ["A"]) is None


@pytest.mark.parametrize("key", ["form", "shard", "size", "hashes", "batches"])
@pytest.mark.parametrize("honest", [False, True])
def test_a_copy_of_something_else_is_no_copy(tmp_path: Path, key: str, honest: bool) -> None:
    """Another form, other shards, another size or other hashes than written down, be it rot or meant: made anew."""
    entry = copied(tmp_path)
    path = entry.folder / RECORD
    record = json.loads(path.read_bytes())
    record[key] = 99 if isinstance(record[key], int) else []
    del record["own"]
    overwrite(path, json.dumps({**record, "own": copyfile._own_hash(record) if honest else ""}).encode())
    assert columns.open_table(entry, ASKED) is None
    write(entry, SCHEMA, batches(100))
    assert columns.open_table(entry, ASKED) is not None


def test_other_types_than_today_s_are_no_copy(tmp_path: Path) -> None:
    """A column that has got another type since is not read as the old one, nor is one that is not there made up."""
    entry = copied(tmp_path)
    for asked in (pa.schema([("A", pa.int64())]), pa.schema([("I", pa.large_string())]), pa.schema([*ASKED, MORE])):
        assert columns.open_table(entry, asked) is None
        write(entry, SCHEMA, batches(100))
        assert columns.open_dataset(entry, asked) is None
        write(entry, SCHEMA, batches(100))


def test_too_few_rows_are_no_copy(tmp_path: Path) -> None:
    """A copy must have the rows its entry has."""
    entry = copied(tmp_path)
    write(entry, SCHEMA, batches(99))
    assert columns.open_table(entry, ASKED) is None


def test_a_link_in_its_place_is_no_copy(tmp_path: Path) -> None:
    """A symbolic link is not followed."""
    entry = copied(tmp_path)
    (entry.folder / FILE).rename(tmp_path / "elsewhere")
    (entry.folder / FILE).symlink_to(tmp_path / "elsewhere")
    assert columns.open_table(entry, ASKED) is None


@pytest.mark.parametrize("operation", ["create_exclusive", "write_all", "close", "seal", "rename", "write_json"])
def test_a_disk_that_says_no_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Full at any point: an OSError for the caller to take, no half copy, nothing left over but what clear takes."""
    entry = copied(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, operation, full)
        with pytest.raises(OSError, match="No space left"):
            write(entry, SCHEMA, batches(100))
    assert columns.open_table(entry, ASKED) is None
    write(entry, SCHEMA, batches(100))
    assert columns.open_table(entry, ASKED) is not None
    assert not [name for name in os.listdir(entry.folder) if name.endswith(".tmp")]


def test_an_error_while_rows_are_made_leaves_no_copy(tmp_path: Path) -> None:
    """Rows that turn out wrong half-way, or Stop: nothing of them stays."""
    entry = copied(tmp_path)

    def torn() -> Iterator[pa.RecordBatch]:
        yield batch(50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(entry, SCHEMA, torn())
    assert copyfile.size_in(entry.folder) == 0
    assert sorted(os.listdir(entry.folder)) == ["manifest.json", "shard-00000.csv.gz"]


def test_what_is_open_outlives_its_removal(tmp_path: Path) -> None:
    """A copy evicted while somebody reads it stays readable to him."""
    entry = copied(tmp_path)
    table = columns.open_table(entry, ASKED)
    copyfile.clear(entry.folder)
    assert table == pa.Table.from_batches(batches(100))


def test_another_kernel_s_half_written_copy_stays_until_it_is_old(tmp_path: Path) -> None:
    """What is being written is left alone, and counted; what a killed kernel left an hour ago goes."""
    entry = copied(tmp_path)
    stray = entry.folder / f".{FILE}.0123456789ab{disk.TEMPORARY}"
    stray.write_bytes(b"half")
    copyfile.clear(entry.folder)
    assert copyfile.size_in(entry.folder) == 4
    os.utime(stray, (1, 1))
    write(entry, SCHEMA, batches(100))
    assert not stray.exists()
    assert columns.open_table(entry, ASKED) is not None
