"""One shard's file on disk, without a server."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insights_nb import disk, partial
from insights_nb.check import ShardFacts
from insights_nb.errors import IntegrityError
from insights_nb.partial import STEP, Part, Target
from insights_nb.sftp import Attributes, RemoteFile

CONTENT = gzip.compress(b"A,B\n1,2\n")
TARGET = Target(3, "reports/g/x.csv.gz", Attributes(len(CONTENT), 7))


def wanted() -> None:
    """Go on."""


def alone(_: Path) -> None:
    """Nothing reads along."""


class File:
    """A remote file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield a stretch in two pieces."""
        self.asked.append((start, end))
        middle = (start + end) // 2
        yield memoryview(self.content[start:middle])
        yield memoryview(self.content[middle:end])


class Blind:
    """A check that finds nothing wrong, for bytes that are no shard."""

    def __init__(self, name: str) -> None:
        """Be made like the real one."""

    def feed(self, _: bytes) -> Iterator[None]:
        """Find no record."""
        return iter(())


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "ShardInspector", Blind)


def publish(folder: Path, content: bytes = CONTENT, target: Target = TARGET) -> ShardFacts:
    part = Part(folder, target, wanted, alone)
    try:
        part.write(memoryview(content))
        return part.publish(target)
    finally:
        part.close()


def test_a_published_shard_is_taken_for_what_it_is(tmp_path: Path) -> None:
    """What was published is found again by number, path, size and time, and by nothing else."""
    facts = publish(tmp_path)
    assert facts.rows == 1
    assert disk.names(tmp_path) == ["shard-00003.csv.gz", "shard-00003.ok.json"]
    assert partial.verified(tmp_path, TARGET, wanted) == facts
    for other in (
        Target(4, TARGET.path, TARGET.remote),
        Target(3, "reports/g/y.csv.gz", TARGET.remote),
        Target(3, TARGET.path, Attributes(len(CONTENT) + 1, 7)),
        Target(3, TARGET.path, Attributes(len(CONTENT), 8)),
    ):
        assert partial.verified(tmp_path, other, wanted) is None


@pytest.mark.parametrize(
    "record", ["{}", "[]", "null", '{"schema": 2}', '{"facts": {"header": 3}}', '{"facts": {"x": []}}', "\0"]
)
def test_a_foolish_record_is_no_record(tmp_path: Path, record: str) -> None:
    """What another version or a torn disk left behind is a miss."""
    publish(tmp_path)
    (tmp_path / "shard-00003.ok.json").write_text(record)
    assert partial.verified(tmp_path, TARGET, wanted) is None


def test_what_fails_the_check_keeps_no_name(tmp_path: Path) -> None:
    """A file that is not whole, or not as long as the server said, is not published."""
    with pytest.raises(IntegrityError, match="cut short"):
        publish(tmp_path, CONTENT[:-1])
    with pytest.raises(IntegrityError, match="instead of"):
        publish(tmp_path, target=Target(3, TARGET.path, Attributes(len(CONTENT) + 1, 7)))
    assert [name for name in disk.names(tmp_path) if not name.endswith(".part")] == []
    partial.clear_leftovers(tmp_path)
    assert disk.names(tmp_path) == []


def test_a_copy_is_taken_over_where_links_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links a whole shard is copied, and sealed."""
    old, new = disk.make_private_folder(tmp_path / "old"), disk.make_private_folder(tmp_path / "new")
    facts = publish(old)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    assert partial.adopt(new, [tmp_path / "none", old], TARGET, wanted) == facts
    assert partial.verified(new, TARGET, wanted) == facts
    assert (new / "shard-00003.csv.gz").stat().st_mode & 0o777 == 0o400
    assert partial.adopt(new, [], TARGET, wanted) is None


def test_the_longest_unfinished_file_is_continued(tmp_path: Path) -> None:
    """Of several, the longest is chosen that belongs to the shard and is no longer than it."""
    target = Target(0, "x", Attributes(3 * STEP, None))
    for name, size in (("a", STEP), ("b", 2 * STEP), ("c", 4 * STEP), ("d", 10)):
        (tmp_path / f"shard-00000.{name}.part").write_bytes(bytes(size))
    (tmp_path / "shard-00001.e.part").write_bytes(bytes(3 * STEP))
    assert partial.leftover([tmp_path / "none", tmp_path], target) == tmp_path / "shard-00000.b.part"
    assert partial.leftover([tmp_path / "none"], target) is None


@pytest.mark.usefixtures("unchecked")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kept=st.integers(0, 3 * STEP),
    size=st.integers(0, 3 * STEP),
    lie=st.none() | st.integers(0, 3 * STEP),
    foreign=st.booleans(),
)
def test_resuming_never_goes_on_from_what_disagrees_at_its_end(
    tmp_path_factory: pytest.TempPathFactory, kept: int, size: int, lie: int | None, foreign: bool
) -> None:
    """What is kept is at most what there was, agrees at its end, and what is compared is bounded."""
    content = bytes(range(256)) * (3 * STEP // 256)
    ours = bytearray(content[:kept])
    if lie is not None and lie < kept:
        ours[lie] ^= 1
    folder = tmp_path_factory.mktemp("part")
    part = Part(folder, Target(0, "x", Attributes(size, None)), wanted, alone)
    if foreign:
        (folder / "left by another").write_bytes(ours)
        part.take_over(folder / "left by another")
    else:
        part.write(memoryview(bytes(ours)))
    before = part.length
    file = File(content)
    part.resume(cast("RemoteFile", file), size)
    assert part.length in {0, min(before, size)}
    doubted = STEP if foreign else STEP // 16
    begin = max(0, min(before, size) - doubted)
    agrees = bytes(ours[begin : min(before, size)]) == content[begin : min(before, size)]
    assert part.length == (min(before, size) if agrees else 0)
    assert sum(end - start for start, end in file.asked) <= doubted
    part.write(memoryview(b"next"))
    part.close()
    written = next(folder.glob("*.part")).read_bytes()
    assert written == bytes(ours[: part.length - 4]) + b"next"


def test_a_part_that_cannot_be_read_is_fetched(tmp_path: Path) -> None:
    """A leftover that vanished, or is a link, is as good as none."""
    part = Part(tmp_path, TARGET, wanted, alone)
    part.take_over(tmp_path / "gone")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    part.take_over(tmp_path / "link")
    assert part.length == 0
    part.close()
    part.close()
