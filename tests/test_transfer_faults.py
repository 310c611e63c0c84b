"""Shards over a line that breaks at many places: against real OpenSSH and against the local service."""

import gzip
import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import paramiko
import pytest

from insights_nb.access import Access, Flow, Timeouts
from insights_nb.errors import IntegrityError, TransferError
from insights_nb.settings import Secret
from insights_nb.simulator import Fault as Played
from insights_nb.simulator import Simulator
from insights_nb.transfer import fetch_shards
from tests.openssh import serve
from tests.parts import require_openssh
from tests.proxy import Fault, Proxy, proxy
from tests.service import service

MIB = 1 << 20
# A connection may be broken before it brought anything, and the next one too: that is no reason to give up here.
PERSISTENT = Timeouts(connect=5, login=5, stall=2, pause=0.001, attempts=12)
BRISK = replace(PERSISTENT, attempts=3)
HANDSHAKE = 8000  # bytes from the server until the file service stands, and a little more


def shard_bytes(seed: int, size: int) -> bytes:
    """A gzip CSV of about this size, which hardly compresses."""
    noise = random.Random(seed)
    rows = [f"{noise.getrandbits(400):0100x},{number}\n" for number in range(size // 64)]
    return gzip.compress(("A,B\n" + "".join(rows)).encode(), 1, mtime=0)


LARGE = shard_bytes(99, 6 * MIB)
NARROW = Flow(8, 2 << 20, 1 << 17)
SMALL = [shard_bytes(number, 20_000) for number in range(3)]


@dataclass
class Host:
    """A file server and the folder that its users see."""

    port: int
    tree: Path
    access: Access

    def put(self, *contents: bytes) -> list[str]:
        """Put files there, dated long ago; return their paths."""
        paths = []
        for number, content in enumerate(contents):
            path = self.tree / f"reports-{number}.csv.gz"
            path.write_bytes(content)
            os.utime(path, (1_600_000_000, 1_600_000_000))
            paths.append(path.name)
        return paths

    def fetch(self, paths: Sequence[str], folder: Path, via: Proxy | None = None, **more: Any) -> list[Any]:
        """Fetch files, through a proxy where one is given."""
        access = replace(self.access, port=via.port if via else self.port)
        return fetch_shards(access, paths, folder, observe=lambda *_: None, **{"timeouts": PERSISTENT, **more})


def of(simulator: Simulator) -> Access:
    """How to reach the local service's files."""
    settings = simulator.settings
    return Access(
        host=settings["sftp_host"],
        port=int(settings["sftp_port"]),
        username=settings["sftp_username"],
        password=Secret(settings["sftp_password"]),
        key_file=None,
        host_keys=(settings["sftp_host_key"],),
    )


@pytest.fixture(scope="module", params=["OpenSSH", "simulator"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if request.param == "OpenSSH":
        require_openssh()
        tree = tmp_path_factory.mktemp("tree")
        with serve(tmp_path_factory.mktemp("ssh")) as running:
            yield Host(running.port, tree, running.access(tree))
    else:
        with service(size=200) as simulator:
            yield Host(int(simulator.settings["sftp_port"]), simulator._home / "tree", of(simulator))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let less be under way than a file holds, so that what a break costs can be told from what a file is."""
    monkeypatch.setattr("insights_nb.link.FLOW", NARROW)


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """No thread and no descriptor of ours outlives a test; the local service's come and go as it pleases."""

    def threads() -> set[threading.Thread]:
        ours = {thread for thread in threading.enumerate() if thread.name != "proxy"}
        if host.access.key_file is None:  # the service's side of each connection runs in this process too
            ours -= {thread for thread in ours if thread.name.startswith("simulator-")}
            ours -= {thread for thread in ours if getattr(thread, "server_mode", False) or "SFTP" in repr(thread)}
            ours -= {thread for thread in ours if isinstance(thread, threading.Timer)}
        return ours

    def settled() -> set[threading.Thread]:
        for thread in threads() - before:
            thread.join(5)
        return threads() - before

    before = threads()
    counted = sys.platform == "linux" and host.access.key_file is not None
    files = len(os.listdir("/proc/self/fd")) if counted else 0
    yield
    assert not settled()
    if counted:
        assert len(os.listdir("/proc/self/fd")) <= files


def broken_at(offsets: Sequence[int], what: Literal["reset", "flip"] = "reset") -> list[Fault | None]:
    return [Fault(offset, what) for offset in offsets]


def offsets(count: int, seed: int, last: int) -> list[int]:
    """Places in a connection's stream: half of them in the handshake, the rest in the file."""
    noise = random.Random(seed)
    early = [noise.randrange(HANDSHAKE) for _ in range(count // 2)]
    late = [noise.randrange(HANDSHAKE, last) for _ in range(count - len(early))]
    found = early + late
    noise.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(9))
def test_resets_at_fifty_places_cost_a_window_each(host: Host, tmp_path: Path, seed: int) -> None:
    """Six resets a transfer, nine transfers: the right bytes, and at most 1 MiB and a window fetched twice a reset."""
    # Three connections that end before 1.9 MB each never bring the whole file: every reset strikes.
    places = offsets(6, seed, 1_900_000)
    with proxy(host.port, broken_at(places)) as via:
        host.fetch(host.put(LARGE), tmp_path / "ours", via, connections=1)
        received = list(via.received)
    assert (tmp_path / "ours" / "shard-00000.csv.gz").read_bytes() == LARGE
    assert sorted(os.listdir(tmp_path / "ours")) == ["shard-00000.csv.gz", "shard-00000.ok.json"]
    assert len(received) > len(places)
    assert sum(received) <= len(LARGE) + len(places) * (MIB + NARROW.window + HANDSHAKE) + HANDSHAKE


@pytest.mark.long
@pytest.mark.parametrize("place", offsets(50, 1, len(LARGE)))
def test_a_reset_at_each_of_fifty_places(host: Host, tmp_path: Path, place: int) -> None:
    """The long form: a transfer of its own for each place."""
    with proxy(host.port, broken_at([place])) as via:
        host.fetch(host.put(LARGE), tmp_path / "ours", via, connections=1)
        received = sum(via.received)
    assert (tmp_path / "ours" / "shard-00000.csv.gz").read_bytes() == LARGE
    assert received <= len(LARGE) + MIB + NARROW.window + 2 * HANDSHAKE


@pytest.mark.parametrize("seed", range(3))
def test_bytes_turned_round_on_the_way_are_noticed(host: Host, tmp_path: Path, seed: int) -> None:
    """Whatever byte of the stream is changed, in the handshake or later, the file is right or there is our error."""
    with proxy(host.port, broken_at(offsets(10, 100 + seed, 4 * MIB), "flip")) as via:
        try:
            host.fetch(host.put(LARGE), tmp_path / "ours", via, connections=1)
        except TransferError:
            # A changed host key is a stranger's: that ends it at once, as it must.
            assert not (tmp_path / "ours" / "shard-00000.csv.gz").exists()
            host.fetch(host.put(LARGE), tmp_path / "ours")
    assert (tmp_path / "ours" / "shard-00000.csv.gz").read_bytes() == LARGE


def test_names_of_the_server_are_never_names_of_ours(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server calls its files, we open, rename and remove only what is below our folder."""
    odd = ["a b", "ß", "CON", "x" * 200, "a;rm -rf", "%2e%2e", "a:b", "…"]
    for name in odd:
        (host.tree / name).write_bytes(SMALL[0])
    touched: list[Path] = []
    folder = tmp_path / "ours"
    for call in ("open", "rename", "replace", "unlink", "link", "chmod", "mkdir"):
        real = getattr(os, call)

        def watched(*words: Any, real: Any = real, **more: Any) -> Any:
            touched.extend(Path(word) for word in words[:2] if isinstance(word, str | Path))
            return real(*words, **more)

        monkeypatch.setattr(os, call, watched)
    if host.access.key_file is not None:  # the local service's own calls would be among ours
        host.fetch(odd, folder)
        # The parent is opened to make the new folder's name last.
        assert {path for path in touched if folder not in (path, *path.parents)} <= {folder.parent}
    else:
        host.fetch(odd, folder)
    names = {f"shard-{number:05d}.{end}" for number in range(len(odd)) for end in ("csv.gz", "ok.json")}
    assert set(os.listdir(folder)) == names


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda packed: packed[:-20],
    "crc": lambda packed: packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
    "length": lambda packed: packed[:-4] + bytes([packed[-4] ^ 1]) + packed[-3:],
    "bit": lambda packed: bytes(byte ^ 4 if at == 9_000 else byte for at, byte in enumerate(packed)),
    "header": lambda packed: b"\x1f\x8c" + packed[2:],
    "trailing": lambda packed: packed + b"garbage",
}


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("harm", list(CORRUPTIONS))
def test_a_damaged_shard_in_any_place_is_never_published(host: Host, tmp_path: Path, harm: str, place: int) -> None:
    """Six kinds of damage in each of three shards: IntegrityError, and the damaged one never gets its name."""
    contents = list(SMALL)
    contents[place] = CORRUPTIONS[harm](SMALL[place])
    with pytest.raises(IntegrityError, match=f"shard-0000{place}.csv.gz"):
        host.fetch(host.put(*contents), tmp_path / "ours", timeouts=BRISK)
    assert not (tmp_path / "ours" / f"shard-0000{place}.csv.gz").exists()


def test_a_lost_trailing_member_shows_in_the_size_alone(tmp_path: Path) -> None:
    """Cut at a member's end the file is whole gzip and good CSV; that the server has more bytes gives it away."""
    first, second = gzip.compress(b"A,B\n1,2\n"), gzip.compress(b"3,4\n")
    with service(size=200) as simulator:
        there = Host(int(simulator.settings["sftp_port"]), simulator._home / "tree", of(simulator))
        (path,) = there.put(first + second)
        assert there.fetch([path], tmp_path / "whole")[0].rows == 2
        simulator.faults.add(Played(on="SFTP read", do="cut", at=len(first), times=0))
        with pytest.raises(IntegrityError, match=rf"ends at byte {len(first)}, before the size it was said to have"):
            there.fetch([path], tmp_path / "cut", timeouts=BRISK)
        simulator.faults.clear()
        simulator.faults.add(Played(on="SFTP stat", do="size", at=len(first), times=0))
        with pytest.raises(IntegrityError, match="changed on the file server"):
            there.fetch([path], tmp_path / "lied", timeouts=BRISK)
        assert not list(tmp_path.rglob("*.csv.gz"))[1:]


def test_what_a_plain_reader_makes_of_an_early_end() -> None:
    """The control: the library's own reading takes what came for the whole, without a word."""
    with service(size=200) as simulator, socket.create_connection(("127.0.0.1", of(simulator).port)) as line:
        there = Host(of(simulator).port, simulator._home / "tree", of(simulator))
        (path,) = there.put(SMALL[0])
        simulator.faults.add(Played(on="SFTP read", do="cut", at=5000))
        with paramiko.Transport(line) as transport:
            transport.connect(username=there.access.username, password=simulator.settings["sftp_password"])
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            with client.open(path) as file:
                assert len(file.read()) == 5000


def test_nothing_but_the_password_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of an agent, none found in the user's folder: one proof, the one that was set."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True)
    (folder / "id_ed25519").write_text("no key at all")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with socket.socket(socket.AF_UNIX) as agent, service(size=200) as simulator:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        agent.setblocking(False)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        there = Host(int(simulator.settings["sftp_port"]), simulator._home / "tree", of(simulator))
        there.fetch(there.put(SMALL[0]), tmp_path / "ours")
        assert [visit.subject for visit in simulator.visits if visit.what == "SFTP auth"] == ["password"]
        with pytest.raises(BlockingIOError):
            agent.accept()


def test_an_agreement_on_old_ciphers_is_refused(tmp_path: Path) -> None:
    """A server that has only CBC and SHA-1 gets no login, and the error says what to ask for."""
    require_openssh()
    with serve(tmp_path / "ssh", settings="Ciphers aes128-cbc\nMACs hmac-sha1") as server:
        access = replace(server.access(tmp_path), key_file=None, password=Secret("canary"))
        with pytest.raises(TransferError, match="no algorithm that this program still trusts"):
            fetch_shards(access, ["x"], tmp_path / "ours", observe=lambda *_: None, timeouts=BRISK)
        assert "Failed password" not in (server.folder / "log").read_text()
