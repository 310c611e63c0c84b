"""The local service over SFTP: who may come in, what can be read, and that nothing else can be done."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from insights_nb.simulator import Simulator
from tests.parts import require
from tests.simulator_client import UNTIL, Client, fetched, query, transport


@pytest.fixture(scope="module")
def key() -> paramiko.ECDSAKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture(scope="module")
def client(key: paramiko.ECDSAKey) -> Iterator[Client]:
    line = f"{key.get_name()} {key.get_base64()} invented@example"
    with Simulator(size=500, until=UNTIL, sftp_key=line, shard_rows=100) as simulator, Client(simulator) as client:
        client.finish(query())
        yield client


@pytest.fixture(scope="module")
def path(client: Client) -> str:
    with client.sftp() as files:
        guid = files.listdir("reports")[0]
    return client.paths(guid)[0]


def test_the_host_key_is_the_published_one(client: Client) -> None:
    """The key shown to a client has the fingerprint in the settings, in OpenSSH's form."""
    with transport(client.settings) as connection:
        connection.start_client(timeout=5)
        assert connection.get_remote_server_key().fingerprint == client.settings["sftp_host_key"]
    assert client.settings["sftp_host_key"].startswith("SHA256:")
    assert len(client.settings["sftp_host_key"]) == len("SHA256:") + 43


def test_every_start_has_a_fresh_key() -> None:
    """Two services never share a host key."""
    prints = []
    for _ in range(2):
        with Simulator(size=1, until=UNTIL) as simulator:
            prints.append(simulator.settings["sftp_host_key"])
    assert prints[0] != prints[1]


@pytest.mark.parametrize(("username", "password"), [("reports", "wrong"), ("nobody", None), ("", None)])
def test_wrong_passwords_are_refused(client: Client, username: str, password: str | None) -> None:
    """Only the right user with the right password comes in."""
    with transport(client.settings) as connection:
        connection.start_client(timeout=5)
        with pytest.raises(paramiko.AuthenticationException):
            connection.auth_password(username, password or client.settings["sftp_password"])


def test_keys(client: Client, key: paramiko.ECDSAKey) -> None:
    """The configured key comes in, another does not, and both tries are noted."""
    with client.sftp(pkey=key) as files:
        assert files.listdir("/") == ["reports"]
    with transport(client.settings) as connection:
        connection.start_client(timeout=5)
        with pytest.raises(paramiko.AuthenticationException):
            connection.auth_publickey("reports", paramiko.ECDSAKey.generate())
    tries = [visit.ok for visit in client.simulator.visits if (visit.what, visit.subject) == ("SFTP auth", "publickey")]
    assert tries[-1] is False
    assert True in tries


def test_without_a_key_only_passwords_are_offered() -> None:
    """A service without a configured key does not invite keys."""
    with Simulator(size=1, until=UNTIL) as simulator, transport(simulator.settings) as connection:
        connection.start_client(timeout=5)
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            connection.auth_none("reports")
        assert caught.value.allowed_types == ["password"]


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "nonsense AAAA"])
def test_a_bad_key_line_is_said_at_once(line: str) -> None:
    """A key line that is none is refused when the service is made; an empty one means no key."""
    if line:
        with pytest.raises(ValueError, match="public key"):
            Simulator(size=1, sftp_key=line)
    else:
        Simulator(size=1, sftp_key=line).stop()


def test_reading(client: Client, path: str) -> None:
    """A shard is a regular file whose size is what comes, and listings show folders and files."""
    with client.sftp() as files:
        assert files.listdir("/reports") == [path.split("/")[1]]
        listed = files.listdir_attr("/".join(path.split("/")[:-1]))
        assert path.rsplit("/", 1)[1] in {entry.filename for entry in listed}
        assert files.stat(path).st_size == len(fetched(files, path)) == files.stat(f"/{path}").st_size
        assert files.normalize("..") == "/"
        with files.open(path) as file:
            file.seek(10)
            part = file.read(5)
            assert file.stat().st_size == files.stat(path).st_size
        assert part == fetched(files, path)[10:15]
    read = [visit for visit in client.simulator.visits if visit.what == "SFTP read"]
    assert read[-1].size > 0


WRITES: dict[str, Callable[[paramiko.SFTPClient, str], object]] = {
    "write": lambda files, path: files.open("new", "w"),
    "overwrite": lambda files, path: files.open(path, "w"),
    "append": lambda files, path: files.open(path, "a"),
    "update": lambda files, path: files.open(path, "r+"),
    "exclusive": lambda files, path: files.open("new", "x"),
    "remove": lambda files, path: files.remove(path),
    "rename": lambda files, path: files.rename(path, "new"),
    "posix rename": lambda files, path: files.posix_rename(path, "new"),
    "mkdir": lambda files, path: files.mkdir("new"),
    "rmdir": lambda files, path: files.rmdir("reports"),
    "chmod": lambda files, path: files.chmod(path, 0o777),
    "truncate": lambda files, path: files.truncate(path, 0),
    "symlink": lambda files, path: files.symlink(path, "new"),
    "readlink": lambda files, path: files.readlink(path),
}


@pytest.mark.parametrize("act", WRITES.values(), ids=WRITES)
def test_read_only(client: Client, path: str, act: Callable[[paramiko.SFTPClient, str], object]) -> None:
    """Whatever would change the tree is refused for want of permission, and changes nothing."""
    with client.sftp() as files:
        before = fetched(files, path)
        with pytest.raises(PermissionError):
            act(files, path)
        assert fetched(files, path) == before
        assert files.listdir("/") == ["reports"]


@pytest.mark.parametrize(
    "way",
    ["../../../../etc/passwd", "/etc/passwd", "/../etc/passwd", "reports/../../etc/passwd", "//etc/passwd", "a\0b"],
)
def test_no_way_out(client: Client, way: str) -> None:
    """No path leads out of the tree; what is not in it is not there."""
    with client.sftp() as files:
        for act in (files.open, files.stat, files.lstat, files.listdir):
            with pytest.raises(FileNotFoundError):
                act(way)


def test_links_lead_nowhere(client: Client, tmp_path: Path) -> None:
    """A link inside the tree is neither listed nor followed, whether to a file or a folder."""
    (tmp_path / "secret").write_text("secret")
    tree = client.simulator._home / "tree"
    links = [tree / "file", tree / "folder"]
    links[0].symlink_to(tmp_path / "secret")
    links[1].symlink_to(tmp_path)
    try:
        with client.sftp() as files:
            assert files.listdir("/") == ["reports"]
            for way in ("file", "folder", "folder/secret"):
                with pytest.raises(FileNotFoundError):
                    files.stat(way)
                with pytest.raises(FileNotFoundError):
                    files.open(way)
    finally:
        for link in links:
            link.unlink()


def test_folders_are_not_read_as_files(client: Client) -> None:
    """Opening a folder as a file fails."""
    with client.sftp() as files, pytest.raises(OSError, match="Failure"):
        files.open("reports")


def openssh(settings: dict[str, str], folder: Path, batch: str, host_key: str) -> subprocess.CompletedProcess[str]:
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{settings['sftp_port']} {host_key}\n")
    options = {
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentityFile": str(folder / "key"),
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return subprocess.run(
        ["sftp", "-q", "-F", "/dev/null", *flags, "-P", settings["sftp_port"], "-b", "-", "reports@127.0.0.1"],
        input=batch,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_openssh_client(tmp_path: Path) -> None:
    """OpenSSH's own client logs in with a key, checks the host key, fetches the files and may not write."""
    require("the OpenSSH client (openssh-client)", shutil.which("sftp") is not None)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    line = (tmp_path / "key.pub").read_text()
    with Simulator(size=500, until=UNTIL, sftp_key=line, shard_rows=100) as simulator, Client(simulator) as client:
        path = client.paths(client.finish(query()))[0]
        with transport(client.settings) as connection:
            connection.start_client(timeout=5)
            host = connection.get_remote_server_key()
        host_line = f"{host.get_name()} {host.get_base64()}"
        done = openssh(client.settings, tmp_path, f"pwd\nls -l reports\nget -p {path} got\n", host_line)
        assert (done.returncode, "Remote working directory: /" in done.stdout) == (0, True), done.stderr
        with client.sftp() as files:
            assert (tmp_path / "got").read_bytes() == fetched(files, path)
        refused = openssh(client.settings, tmp_path, "put got reports/new\n", host_line)
        assert refused.returncode == 1
        assert "ermission denied" in refused.stderr
