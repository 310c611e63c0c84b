"""The operations on private files."""

import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insights_nb import disk
from insights_nb.errors import CacheError
from insights_nb.report import submit
from insights_nb.spec import Query
from tests.service import BODY, QuickClock, account_for, service


@pytest.fixture(params=[0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("umask")
def test_modes_hold_under_any_umask(tmp_path: Path) -> None:
    """Folders are 0700, files 0600 and sealed files 0400, whatever the umask."""
    folder = disk.make_private_folder(tmp_path / "a" / "b")
    assert mode_of(folder) == mode_of(folder.parent) == 0o700
    os.close(disk.create_exclusive(folder / "part"))
    assert mode_of(folder / "part") == 0o600
    disk.write_atomic(folder / "record", b"x")
    assert mode_of(folder / "record") == 0o600
    disk.write_atomic(folder / "manifest", b"x", disk.SEALED_MODE)
    assert mode_of(folder / "manifest") == 0o400
    disk.seal(folder / "part")
    assert mode_of(folder / "part") == 0o400


def test_make_private_folder_leaves_an_existing_one_alone(tmp_path: Path) -> None:
    """A folder that exists keeps its mode and its content."""
    tmp_path.chmod(0o755)
    (tmp_path / "kept").touch()
    disk.make_private_folder(tmp_path)
    assert mode_of(tmp_path) == 0o755
    assert disk.names(tmp_path) == ["kept"]


def test_make_private_folder_refuses_a_file_of_that_name(tmp_path: Path) -> None:
    """A file where the folder should be is an error, not a surprise later."""
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        disk.make_private_folder(tmp_path / "a")


def test_create_exclusive_refuses_files_and_links(tmp_path: Path) -> None:
    """Neither an existing file nor a planted link is written through."""
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("victim", "link", "dangling"):
        with pytest.raises(FileExistsError):
            disk.create_exclusive(tmp_path / name)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_reading_refuses_a_link(tmp_path: Path) -> None:
    """A link in a file's place is not followed, and as JSON it is a miss."""
    (tmp_path / "real").write_bytes(b"{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError) as caught:
        disk.read_bytes(tmp_path / "link")
    assert caught.value.errno == errno.ELOOP
    assert disk.read_json(tmp_path / "link") is None
    assert disk.read_json(tmp_path / "real") == {}


def test_write_atomic_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The new content takes the old one's place and no temporary file stays."""
    disk.write_atomic(tmp_path / "record", b"old")
    disk.write_atomic(tmp_path / "record", b"new")
    assert disk.read_bytes(tmp_path / "record") == b"new"
    assert disk.names(tmp_path) == ["record"]


@pytest.mark.parametrize("broken", ["write_all", "fsync", "rename"])
def test_write_atomic_failing_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Whichever step fails, the old content stands and no temporary file stays."""
    disk.write_atomic(tmp_path / "record", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, broken, fail)
    with pytest.raises(OSError):
        disk.write_atomic(tmp_path / "record", b"new")
    assert disk.read_bytes(tmp_path / "record") == b"old"
    assert disk.names(tmp_path) == ["record"]


def test_json_round_trip_and_garbage_is_a_miss(tmp_path: Path) -> None:
    """A written value comes back; a torn, missing or endlessly nested file reads as None."""
    disk.write_json(tmp_path / "a.json", {"name": "José", "n": [1, None]})
    assert disk.read_json(tmp_path / "a.json") == {"name": "José", "n": [1, None]}
    (tmp_path / "torn.json").write_bytes(b'{"name": "Jo\xc3')
    (tmp_path / "deep.json").write_bytes(b"[" * 200_000)
    assert disk.read_json(tmp_path / "torn.json") is None
    assert disk.read_json(tmp_path / "deep.json") is None
    assert disk.read_json(tmp_path / "none.json") is None


def test_copy_read_and_truncate(tmp_path: Path) -> None:
    """A prefix is copied exactly, read back at an offset, and cut to a length."""
    content = bytes(range(256)) * 4096
    (tmp_path / "source").write_bytes(content)
    fd = disk.create_exclusive(tmp_path / "target")
    disk.copy_into(fd, tmp_path / "source", 700_001)
    assert disk.read_at(fd, 699_990, 100) == content[699_990:700_001]
    disk.truncate(fd, 10)
    disk.write_all(fd, b"tail")
    disk.close(fd)
    assert (tmp_path / "target").read_bytes() == content[:10] + b"tail"


def test_link_or_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second name is a hard link where that works and a copy where it does not."""
    (tmp_path / "a").write_bytes(b"abc")
    disk.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    disk.link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"abc"


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    """Removal is idempotent, and what is missing has no names and no size."""
    disk.remove(tmp_path / "gone")
    disk.remove_tree(tmp_path / "gone")
    assert disk.names(tmp_path / "gone") == []
    assert disk.size_of(tmp_path / "gone") == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "limit for one file"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not be written"),
        (errno.EIO, "failed"),
    ],
)
def test_disk_errors_are_said_in_our_words(tmp_path: Path, code: int, words: str) -> None:
    """Each kind of refusal names the folder, what it means and the setting that moves the cache."""
    with pytest.raises(CacheError) as caught, disk.disk_errors(tmp_path, 5_000_000):
        raise OSError(code, os.strerror(code))
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "cache_dir" in caught.value.hint
    if code == errno.ENOSPC:
        assert "5.0 MB are needed" in caught.value.message
        assert "are free" in caught.value.message


def test_a_full_disk_is_noticed_while_writing() -> None:
    """/dev/full, which takes nothing, ends in the full-disk error."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(CacheError, match="full"), disk.disk_errors(Path("/dev")):
            disk.write_all(fd, b"x" * 1000)
    finally:
        os.close(fd)


class Ledger:
    """What would be on the disk if the power failed: operations as they pass, and names that came too early.

    A file's bytes are safe once it was forced to the disk after its last write; a name, once its folder was. A
    name may reach the disk long before that: so it must not be given before what it stands for is safe.
    """

    def __init__(self) -> None:
        self.unsafe_files: set[Path] = set()
        self.unsafe_folders: set[Path] = set()
        self.faults: list[str] = []
        self.renames = 0
        self._open: dict[int, Path] = {}
        self._lock = threading.Lock()

    def note(self, name: str, given: tuple[Any, ...], came: Any) -> None:
        """Take an operation and its result."""
        with self._lock:
            step = getattr(self, f"_{name}", None)
            if step is not None:
                step(given, came)

    def _open_(self, given: tuple[Any, ...], fd: int) -> None:
        path, flags = Path(given[0]), given[1] if len(given) > 1 else 0
        self._open[fd] = path
        if flags & os.O_CREAT and path.name != "used":
            self.unsafe_files.add(path)
            self.unsafe_folders.add(path.parent)

    def _write(self, given: tuple[Any, ...], _: int) -> None:
        self.unsafe_files.add(self._open[given[0]])

    def _fsync(self, given: tuple[Any, ...], _: None) -> None:
        path = self._open[given[0]]
        self.unsafe_files.discard(path)
        self.unsafe_folders.discard(path)

    def _mkdir(self, given: tuple[Any, ...], _: None) -> None:
        self.unsafe_folders.add(Path(given[0]).parent)

    def _unlink(self, given: tuple[Any, ...], _: None) -> None:
        self.unsafe_files.discard(Path(given[0]))

    def _replace(self, given: tuple[Any, ...], _: None) -> None:
        source, target = Path(given[0]), Path(given[1])
        self.renames += 1
        # The columnar copy is derived: what a power cut tears of it fails its hash and is made anew.
        early = [path for path in self.unsafe_files if path == source or source in path.parents]
        early = [path for path in early if ".columns." not in path.name]
        early += [path for path in self.unsafe_folders if path == source or source in path.parents]
        self.faults += [f"{target.name} before {path.name}" for path in early]
        self.unsafe_files -= {*early}
        self.unsafe_folders -= {*early}
        self.unsafe_folders |= {source.parent, target.parent}


class Watched:
    """The module ``os`` as the room sees it, with every operation noted after it was done."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in {"open", "write", "fsync", "mkdir", "unlink", "replace"}:
            return real

        def noted(*given: Any, **named: Any) -> Any:
            came = real(*given, **named)
            self._ledger.note({"open": "open_"}.get(name, name), given, came)
            return came

        return noted


def run_watched(monkeypatch: pytest.MonkeyPatch, cache: Path) -> tuple[Ledger, list[str]]:
    """One query from POST to publication; the ledger, and what was not safe when the query was sent."""
    ledger, at_post = Ledger(), list[str]()
    monkeypatch.setattr(disk, "os", Watched(ledger))
    with service(size=500, shard_rows=100) as simulator:
        account = account_for(simulator, cache, QuickClock())
        send = account.client.submit

        def submit_noted(body: Any) -> str:
            unsafe = ledger.unsafe_files | ledger.unsafe_folders
            at_post.extend(str(path) for path in unsafe if "jobs" in path.parts or path == cache)
            return send(body)

        monkeypatch.setattr(account.client, "submit", submit_noted)
        assert len(submit(account, Query(json.dumps(BODY))).result()) > 50
        account.client.close()
    monkeypatch.undo()
    return ledger, at_post


def test_the_power_may_fail_at_any_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No name before its bytes, no entry before its shards and manifest, no POST before its record, all the way."""
    ledger, at_post = run_watched(monkeypatch, tmp_path / "cache")
    assert ledger.renames > 10
    assert ledger.faults == []
    assert at_post == []
    kept = {path for path in ledger.unsafe_folders if path.exists() and not {"partial", "trash"} & set(path.parts)}
    assert kept == set()


@pytest.mark.parametrize("without", ["fsync", "fsync_dir"])
def test_a_disk_that_is_not_forced_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without: str) -> None:
    """Control: leave out forcing files, or folders, and the ledger has something to say."""
    monkeypatch.setattr(disk, without, lambda *_: None)
    ledger, at_post = run_watched(monkeypatch, tmp_path / "cache")
    assert ledger.faults
    assert bool(at_post) is (without == "fsync_dir")


def test_a_folder_is_removed_though_another_kernel_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that vanish while a tree is removed are no failure, and the rest goes too."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(5):
        (tree / str(number)).touch()
    unlink, first = os.unlink, [True]

    def overtaken(path: Any, **more: Any) -> None:
        unlink(path, **more)
        if first.pop() if first else False:
            unlink(path, **more)

    monkeypatch.setattr(os, "unlink", overtaken)
    disk.remove_tree(tree)
    assert not tree.exists()


def test_a_failed_mode_leaves_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mode cannot be set the file is closed again."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    close, closed = os.close, list[int]()

    def noted(fd: int) -> None:
        closed.append(fd)
        close(fd)

    monkeypatch.setattr(os, "close", noted)
    with pytest.raises(OSError):
        disk.create_exclusive(tmp_path / "part")
    assert len(closed) == 1
