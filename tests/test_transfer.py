"""Shards over SFTP from a real OpenSSH server, through a proxy that goes wrong on purpose."""

import contextlib
import errno
import gzip
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from insights_nb import disk
from insights_nb.check import ShardFacts, inspect_shard
from insights_nb.errors import CacheError, HostKeyError, InsightsError, IntegrityError, TransferError
from insights_nb.settings import Secret
from insights_nb.transfer import Access, Timeouts, fetch_shards
from tests.openssh import OpenSSH, make_key, serve
from tests.parts import require_openssh
from tests.proxy import Fault, Proxy, proxy

BRISK = Timeouts(connect=5, login=2, stall=0.5, pause=0.01, attempts=3)
MIB = 1 << 20


def shard_bytes(seed: int, size: int) -> bytes:
    """Return a gzip CSV of about this size, which hardly compresses."""
    noise = random.Random(seed)
    rows = [f"{noise.getrandbits(400):0100x},{number}\n" for number in range(size // 64)]
    return gzip.compress(("A,B\n" + "".join(rows)).encode(), 1, mtime=0)


SMALL = [shard_bytes(number, 20_000) for number in range(4)]
LARGE = shard_bytes(99, 6 * MIB)  # about 6 MB in all


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSSH]:
    """A server for the whole module."""
    require_openssh()
    with serve(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(server: OpenSSH) -> Iterator[None]:
    """No thread and no descriptor outlives a test, however the transfer ended."""

    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name != "proxy"}

    before, files = threads(), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    yield
    for thread in threads() - before:
        thread.join(2)
    assert threads() <= before
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= files


class Remote:
    """A folder on the server, and a folder of ours."""

    def __init__(self, server: OpenSSH, folder: Path) -> None:
        self.server = server
        self.root = folder / "remote"
        self.root.mkdir()
        self.folder = folder / "staging"
        self.observed: list[tuple[int, int, int]] = []

    def put(self, *contents: bytes) -> list[str]:
        """Put files on the server, dated long ago; return their names."""
        names = []
        for number, content in enumerate(contents):
            name = f"reports-{number}.csv.gz"
            (self.root / name).write_bytes(content)
            os.utime(self.root / name, (1_600_000_000, 1_600_000_000))
            names.append(name)
        return names

    def fetch(self, names: Sequence[str], via: Proxy | None = None, **more: Any) -> list[ShardFacts]:
        """Fetch files, through a proxy where one is given."""
        access = more.pop("access", None) or self.server.access(self.root, via.port if via else None)
        more.setdefault("timeouts", BRISK)
        more.setdefault("observe", lambda *figures: self.observed.append(figures))
        return fetch_shards(access, names, self.folder, **more)

    def ours(self, number: int = 0) -> bytes:
        """Return what we have of a shard."""
        return (self.folder / f"shard-{number:05d}.csv.gz").read_bytes()

    def parts(self) -> list[Path]:
        """Return the unfinished files."""
        return sorted(self.folder.glob("*.part"))


@pytest.fixture
def remote(server: OpenSSH, tmp_path: Path) -> Remote:
    return Remote(server, tmp_path)


def failing(kind: type[InsightsError], call: Callable[[], object]) -> InsightsError:
    """Return the error a call ends in, which is exactly of this class and carries no other along."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert caught.value.hint
    if kind is not CacheError:
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_shards_arrive_whole_in_order_and_private(remote: Remote, connections: int) -> None:
    """Every shard is fetched, checked, sealed and recorded, and nothing else is left."""
    facts = remote.fetch(remote.put(*SMALL), connections=connections)
    assert [remote.ours(number) for number in range(4)] == SMALL
    assert facts == [inspect_shard(remote.folder / f"shard-{number:05d}.csv.gz") for number in range(4)]
    assert disk.names(remote.folder) == sorted(
        f"shard-{number:05d}.{end}" for number in range(4) for end in ("csv.gz", "ok.json")
    )
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in remote.folder.iterdir()}
    assert modes == {".gz": 0o400, ".json": 0o600}
    assert stat.S_IMODE(remote.folder.stat().st_mode) == 0o700
    total = sum(map(len, SMALL))
    assert remote.observed[-1] == (4, total, total)
    assert remote.observed == sorted(remote.observed)


def test_no_shards_is_no_connection(remote: Remote) -> None:
    """An empty list asks nobody."""
    assert remote.fetch([], access=replace(remote.server.access(remote.root), port=1)) == []


def test_paramiko_is_imported_only_to_connect() -> None:
    """Importing the transfer does not import paramiko."""
    code = "import sys, insights_nb.transfer; assert 'paramiko' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- who the server is, and who we are -------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["ed25519", "ecdsa", "rsa"])
def test_a_server_with_several_host_keys_is_known_by_any(tmp_path: Path, pin: str) -> None:
    """Whichever of its keys is pinned, the server is asked for that one."""
    with serve(tmp_path / "ssh", "ed25519", "ecdsa", "rsa") as server:
        remote = Remote(server, tmp_path)
        access = replace(server.access(remote.root), host_keys=(server.fingerprints[pin],))
        remote.fetch(remote.put(SMALL[0]), access=access)
        assert remote.ours() == SMALL[0]


def test_an_unknown_host_key_is_refused_before_anything_is_sent(remote: Remote, tmp_path: Path) -> None:
    """Another fingerprint than the pinned one is refused, with the setting that would pin it, and nobody logs in."""
    other = "SHA256:" + "A" * 43
    with serve(tmp_path / "ssh", settings="LogLevel DEBUG1") as server:
        access = replace(server.access(remote.root), host_keys=(other,), password=Secret("canary-password"))
        error = failing(HostKeyError, lambda: remote.fetch(remote.put(SMALL[0]), access=access))
        log = (server.folder / "log").read_text()
        seen = server.fingerprints["ed25519"]
    assert f"shows the host key {seen} (ssh-ed25519), not {other}" in error.message
    assert f'insights.configure(sftp_host_key="{seen}")' in error.hint
    assert f"INSIGHTS_SFTP_HOST_KEY={seen}" in error.hint
    assert "userauth-request" not in log


def known_hosts_lines(server: OpenSSH, tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Return, by case, the content of a known_hosts file and what the error must say ("" = none)."""
    name = f"[127.0.0.1]:{server.port}"
    line = f"{name} {server.public['ed25519']}"
    other = Path(f"{make_key(tmp_path / 'other')}.pub").read_text()
    rsa = Path(f"{make_key(tmp_path / 'rsa', 'rsa')}.pub").read_text()
    (tmp_path / "hashed").write_text(line)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "hashed")], check=True, capture_output=True)
    return {
        "plain": (line, ""),
        "hashed": ((tmp_path / "hashed").read_text(), ""),
        "pattern": (f"*.example,[127.0.0.?]:* {server.public['ed25519']}", ""),
        "after garbage": (f"# comment\n\nnonsense\n{name} ssh-ed25519 !!!\n{line}", ""),
        "empty": ("", "neither a pinned key nor"),
        "another host": (f"files.example {server.public['ed25519']}", "neither a pinned key nor"),
        "another port": (f"127.0.0.1 {server.public['ed25519']}", "neither a pinned key nor"),
        "excluded": (f"*,!{name} {server.public['ed25519']}", "neither a pinned key nor"),
        "changed": (f"{name} {other}", "the key has changed"),
        "another type": (f"{name} {rsa}", "by a key of another type"),
        "revoked": (f"@revoked {line}\n{line}", "revoked"),
        "authority": (f"@cert-authority {line}", "neither a pinned key nor"),
    }


CASES = ["plain", "hashed", "pattern", "after garbage", "empty", "another host", "another port", "excluded", "changed",
         "another type", "revoked", "authority"]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_known_hosts_decides_where_nothing_is_pinned(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The user's known_hosts is read as OpenSSH reads it, and never written."""
    text, words = known_hosts_lines(remote.server, tmp_path)[case]
    (tmp_path / ".ssh").mkdir()
    file = tmp_path / ".ssh" / "known_hosts"
    file.write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path))
    access = replace(remote.server.access(remote.root), host_keys=())
    names = remote.put(SMALL[0])
    if words:
        assert words in failing(HostKeyError, lambda: remote.fetch(names, access=access)).message
    else:
        remote.fetch(names, access=access)
        assert remote.ours() == SMALL[0]
    assert file.read_text() == text


def test_a_home_without_known_hosts_knows_nobody(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file is an empty one, and is not made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    access = replace(remote.server.access(remote.root), host_keys=())
    failing(HostKeyError, lambda: remote.fetch(remote.put(SMALL[0]), access=access))
    assert not (tmp_path / ".ssh").exists()


def test_a_wrong_password_is_said_and_carried_nowhere(remote: Remote) -> None:
    """The refusal names user, server and settings; no frame, message or chain holds the password."""
    access = replace(remote.server.access(remote.root), key_file=None, password=Secret("canary-password"))
    error = failing(TransferError, lambda: remote.fetch(remote.put(SMALL[0]), access=access))
    assert f"127.0.0.1:{remote.server.port} does not let the user" in error.message
    assert "the password" in error.message
    assert "sftp_password" in error.hint
    frames, trace = [], error.__traceback__
    while trace:
        frames.append(trace.tb_frame.f_locals)
        trace = trace.tb_next
    assert frames
    assert "canary-password" not in repr(frames)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_key_with_a_pass_phrase(remote: Remote, tmp_path: Path, kind: str) -> None:
    """The password opens the key file; a wrong one and none at all are told apart."""
    key = make_key(tmp_path / "locked", kind, "pass phrase")
    with (remote.server.folder / "authorized_keys").open("a") as file:
        file.write(Path(f"{key}.pub").read_text())
    access = replace(remote.server.access(remote.root), key_file=key, password=Secret("pass phrase"))
    names = remote.put(SMALL[0])
    remote.fetch(names, access=access)
    assert remote.ours() == SMALL[0]
    wrong = failing(TransferError, lambda: remote.fetch(names, access=replace(access, password=Secret("other"))))
    assert "sftp_password is not its pass phrase" in wrong.message
    none = failing(TransferError, lambda: remote.fetch(names, access=replace(access, password=None)))
    assert "needs a pass phrase" in none.message


def test_keys_that_do_not_open_the_door(remote: Remote, tmp_path: Path) -> None:
    """A key the server does not know, a file that is no key, a missing file and no credentials each say so."""
    access = remote.server.access(remote.root)
    (tmp_path / "text").write_text("no key")
    names = remote.put(SMALL[0])
    for change, words in (
        ({"key_file": make_key(tmp_path / "stranger")}, "does not let the user"),
        ({"key_file": tmp_path / "text"}, "no private key"),
        ({"key_file": tmp_path / "missing"}, "No such file"),
        ({"key_file": None}, "no password and no key file are set"),
        ({"username": "nobody-of-that-name"}, "'nobody-of-that-name'"),
    ):
        wrong: Access = replace(access, **change)
        assert words in failing(TransferError, lambda: remote.fetch(names, access=wrong)).message  # noqa: B023


def test_nobody_listens(remote: Remote) -> None:
    """A refused connection is tried a few times and then said."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
    access = replace(remote.server.access(remote.root), port=port)
    error = failing(TransferError, lambda: remote.fetch(remote.put(SMALL[0]), access=access))
    assert f"127.0.0.1:{port} cannot be reached: Connection refused" in error.message
    assert "3 connections in a row" in error.message


def test_an_unknown_name(remote: Remote) -> None:
    """A host name that does not resolve is said as such."""
    access = replace(remote.server.access(remote.root), host="files.invalid")
    error = failing(TransferError, lambda: remote.fetch(remote.put(SMALL[0]), access=access))
    assert "files.invalid, is not known" in error.message


# --- what the server says of the files --------------------------------------------------------------------------


def test_a_missing_file(remote: Remote) -> None:
    """A listed shard that is not there is an IntegrityError naming it."""
    names = [*remote.put(SMALL[0]), "gone.csv.gz"]
    error = failing(IntegrityError, lambda: remote.fetch(names))
    assert "gone.csv.gz is not on the file server" in error.message


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_regular_file_is_not_read(remote: Remote, what: str) -> None:
    """A folder or a pipe in a shard's place is refused without opening it."""
    if what == "folder":
        (remote.root / "x").mkdir()
    else:
        os.mkfifo(remote.root / "x")
    assert "no regular file" in failing(IntegrityError, lambda: remote.fetch(["x"])).message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"<html>Sign in</html>", "an HTML or XML page"),
        (LARGE[:-9], "cut short"),
        (LARGE[:-6] + b"XX" + LARGE[-4:], "incorrect data check"),
    ],
)
def test_damaged_content_is_fetched_twice_and_then_refused(remote: Remote, content: bytes, words: str) -> None:
    """A shard that fails its checks is fetched once more from the beginning, and then an IntegrityError."""
    names = remote.put(SMALL[0], content)
    error = failing(IntegrityError, lambda: remote.fetch(names))
    assert words in error.message
    assert "fetched twice" in error.message
    assert not (remote.folder / "shard-00001.csv.gz").exists()


# --- connections that break -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["reset", "close", "stall"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.55, 0.8, 0.999])
def test_a_broken_connection_is_resumed(remote: Remote, what: Any, share: float) -> None:
    """Wherever and however a connection breaks, the next goes on near that place and the file is right."""
    fault = Fault(int(len(LARGE) * share), what)
    with proxy(remote.server.port, [fault]) as via:
        facts = remote.fetch(remote.put(LARGE), via, connections=1)
        received = via.received
    assert remote.ours() == LARGE
    assert facts[0].size == len(LARGE)
    assert remote.parts() == []
    # What was under way is lost, a little is compared; the rest is hand-shakes. A reset also takes away what
    # the system had not handed over yet, and how much that is, nobody says.
    assert sum(received) < len(LARGE) * (2 if what == "reset" else 1) + 3 * MIB


def test_connections_that_break_all_the_time_get_there(remote: Remote) -> None:
    """As long as each connection brings something, there is no limit to how many it takes."""
    # Closed, not reset: a reset also takes back what has arrived and was not read, which on a busy machine may be all.
    with proxy(remote.server.port, rest=Fault(MIB * 3 // 2, "close")) as via:
        remote.fetch(remote.put(LARGE), via)
        assert len(via.received) > BRISK.attempts
    assert remote.ours() == LARGE


@pytest.mark.parametrize("what", ["reset", "close", "stall"])
def test_connections_that_bring_nothing_end_in_an_error_and_a_part_that_is_kept(remote: Remote, what: Any) -> None:
    """Without progress a few attempts are made; the error says how far it came, and asking again goes on there."""
    names = remote.put(LARGE)
    dead = Fault(0, what)
    with proxy(remote.server.port, [Fault(len(LARGE) * 3 // 4, "close")], rest=dead) as via:
        error = failing(TransferError, lambda: remote.fetch(names, via, connections=1))
    assert "3 connections in a row brought nothing" in error.message
    assert "0 of 1 files are here" in error.message
    assert "ask again" in error.hint
    (part,) = remote.parts()
    # A busy machine may take the first connection for stalled before it broke; what had come by then is kept.
    kept = part.stat().st_size // MIB * MIB
    with proxy(remote.server.port) as via:
        remote.fetch(names, via)
        assert sum(via.received) < len(LARGE) - kept + MIB * 3 // 2
    assert remote.ours() == LARGE
    assert remote.parts() == []


def test_a_server_that_allows_one_connection_is_enough(remote: Remote) -> None:
    """Where a second connection is refused, the first does the work."""
    with proxy(remote.server.port, [None], rest=Fault(0)) as via:
        remote.fetch(remote.put(*SMALL), via, connections=4)
    assert [remote.ours(number) for number in range(4)] == SMALL


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + bytes(range(256)) * 9])
def test_a_server_that_speaks_something_else(remote: Remote, answer: bytes) -> None:
    """What does not speak SSH ends in a TransferError within the time allowed."""
    names = remote.put(SMALL[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client:
                    client.sendall(answer)

        thread = threading.Thread(target=speak, name="proxy")
        thread.start()
        access = replace(remote.server.access(remote.root), port=listener.getsockname()[1])
        error = failing(TransferError, lambda: remote.fetch(names, access=access, timeouts=replace(BRISK, attempts=2)))
        thread.join()
    assert "connections in a row brought nothing" in error.message


# --- files that change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["grow", "shrink", "replace", "touch"])
def test_a_file_that_changes_is_fetched_anew(remote: Remote, change: str) -> None:
    """A file that grows, shrinks or is replaced under way is fetched again as it then is."""
    names = remote.put(LARGE)
    path = remote.root / names[0]
    after = {"grow": LARGE + SMALL[0], "shrink": SMALL[1], "replace": shard_bytes(7, MIB), "touch": LARGE}[change]

    def act() -> None:
        if change == "replace":
            (remote.root / "new").write_bytes(after)
            (remote.root / "new").rename(path)
        else:
            path.write_bytes(after)

    with proxy(remote.server.port, [Fault(2 * MIB, "call", act)]) as via:
        remote.fetch(names, via)
    assert remote.ours() == after


def test_a_file_that_keeps_changing_is_given_up(remote: Remote) -> None:
    """A file that is another one each time is an IntegrityError."""
    names = remote.put(LARGE)
    path = remote.root / names[0]

    def grow() -> None:
        with path.open("ab") as file:
            file.write(SMALL[0])

    with proxy(remote.server.port, rest=Fault(2 * MIB, "call", grow)) as via:
        error = failing(IntegrityError, lambda: remote.fetch(names, via))
    # Which of the two it notices depends on when the server reads the longer file.
    assert "changed on the file server" in error.message or "before the size it was said to have" in error.message
    assert "It was fetched twice." in error.message


# --- what is there already ------------------------------------------------------------------------------------------


def test_shards_that_are_there_are_not_fetched_again(remote: Remote) -> None:
    """A second call takes the checked shards as they are, and gives the same facts."""
    names = remote.put(LARGE, SMALL[0])
    first = remote.fetch(names)
    with proxy(remote.server.port) as via:
        assert remote.fetch(names, via) == first
        assert sum(via.received) < MIB // 2
    assert remote.observed[-1][0] == 2


@pytest.mark.parametrize("harm", ["bit", "cut", "record", "nonsense", "time", "gone"])
def test_a_shard_that_is_not_what_was_recorded_is_fetched_again(remote: Remote, harm: str) -> None:
    """Bit rot, truncation, a lost or foolish record, and a newer file on the server are all noticed."""
    names = remote.put(LARGE)
    first = remote.fetch(names)
    ours, record = remote.folder / "shard-00000.csv.gz", remote.folder / "shard-00000.ok.json"
    ours.chmod(0o600)
    if harm == "bit":
        ours.write_bytes(LARGE[:5000] + bytes([LARGE[5000] ^ 1]) + LARGE[5001:])
    elif harm == "cut":
        ours.write_bytes(LARGE[:-1])
    elif harm == "record":
        record.unlink()
    elif harm == "nonsense":
        record.write_text('{"schema": 1, "facts": 3}')
    elif harm == "time":
        os.utime(remote.root / names[0], (1_700_000_000, 1_700_000_000))
    else:
        ours.unlink()
    with proxy(remote.server.port) as via:
        assert remote.fetch(names, via) == first
        assert sum(via.received) > len(LARGE)
    assert remote.ours() == LARGE


def test_whole_shards_of_a_dead_kernel_are_taken_over(remote: Remote, tmp_path: Path) -> None:
    """What another folder holds whole and recorded is not fetched again."""
    names = remote.put(LARGE, SMALL[0])
    first = remote.fetch(names)
    old = remote.folder
    remote.folder = tmp_path / "second"
    with proxy(remote.server.port) as via:
        assert remote.fetch(names, via, adopt=[tmp_path / "nowhere", old]) == first
        assert sum(via.received) < MIB // 2
    assert (remote.ours(0), remote.ours(1)) == (LARGE, SMALL[0])


@pytest.mark.parametrize("lie", [None, 0, 3 * MIB, "longer"])
def test_unfinished_files_of_a_dead_kernel_are_continued_where_they_agree(
    remote: Remote, tmp_path: Path, lie: int | str | None
) -> None:
    """A part is continued from a copy; one that lies is noticed by its end, or else by the check."""
    names = remote.put(LARGE)
    old = tmp_path / "old"
    old.mkdir()
    content = bytearray(LARGE[: 4 * MIB + 77])
    if isinstance(lie, int):
        content[lie + 20] ^= 1
    if lie == "longer":
        content += bytes(len(LARGE))
    (old / "shard-00000.aaaaaaaaaaaa.part").write_bytes(content)
    (old / "shard-00000.bbbbbbbbbbbb.part").write_bytes(b"short")
    with proxy(remote.server.port) as via:
        remote.fetch(names, via, adopt=[old])
        received = sum(via.received)
    assert remote.ours() == LARGE
    assert (received > len(LARGE)) == (lie is not None)
    assert (old / "shard-00000.aaaaaaaaaaaa.part").read_bytes() == bytes(content)


# --- the disk --------------------------------------------------------------------------------------------------------


def test_a_disk_without_room_is_noticed_before_the_first_byte(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the report cannot fit, the error says what is needed and what is free, and nothing is written."""
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1000)
    error = failing(CacheError, lambda: remote.fetch(remote.put(LARGE)))
    assert "the disk is full" in error.message
    assert f"{len(LARGE) * 1.02 / 1e6:.1f} MB are needed" in error.message
    assert disk.names(remote.folder) == []


@pytest.mark.parametrize("operation", ["create_exclusive", "write_all", "fsync", "seal", "rename", "truncate"])
def test_a_disk_that_says_no_is_a_cache_error(remote: Remote, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Whichever operation fails, it is said in our words, nothing is published, and the next call succeeds."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    names = remote.put(SMALL[0])
    with monkeypatch.context() as patch:
        patch.setattr(disk, operation, refuse)
        assert "the disk is full" in failing(CacheError, lambda: remote.fetch(names)).message
    assert not (remote.folder / "shard-00000.csv.gz").exists()
    remote.fetch(names)
    assert remote.ours() == SMALL[0]


def test_a_planted_link_is_not_written_through(remote: Remote, tmp_path: Path) -> None:
    """A link in the final name's place is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    remote.folder.mkdir(mode=0o700)
    (remote.folder / "shard-00000.csv.gz").symlink_to(victim)
    (remote.folder / "shard-00000.ok.json").symlink_to(victim)
    remote.fetch(remote.put(SMALL[0]))
    assert victim.read_bytes() == b"precious"
    assert remote.ours() == SMALL[0]


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_an_interrupt_in_the_observer_leaves_nothing_running(remote: Remote) -> None:
    """Ctrl-C at the first progress leaves at once, untouched by any error of ours, and the next call succeeds."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    names = remote.put(LARGE, *SMALL)
    with pytest.raises(KeyboardInterrupt):
        remote.fetch(names, observe=interrupt)
    remote.fetch(names)
    assert remote.ours(0) == LARGE


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("after", [0, 10, 2 * MIB])
def test_an_interrupt_while_nothing_comes_is_heard_at_once(remote: Remote, after: int) -> None:
    """With half-minute timeouts, a stalled connection does not hold Ctrl-C back."""
    stall = Fault(after, "stall", lambda: os.kill(os.getpid(), signal.SIGINT))
    names = remote.put(LARGE)
    with proxy(remote.server.port, [stall]) as via, pytest.raises(KeyboardInterrupt):
        remote.fetch(names, via, timeouts=Timeouts())
    remote.fetch(names)
    assert remote.ours() == LARGE


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue of connections behaves otherwise elsewhere")
def test_an_interrupt_while_connecting_is_heard_at_once(remote: Remote) -> None:
    """A server that does not even take the connection does not hold Ctrl-C back."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        access = replace(remote.server.access(remote.root), port=listener.getsockname()[1])
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            remote.fetch(["x"], access=access, timeouts=Timeouts(connect=60))
        timer.join()
