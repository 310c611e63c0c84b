"""A real OpenSSH server on loopback, with keys and a configuration of its own, for the length of a test."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from insights_nb.access import Access
from tests.parts import SSHD


@dataclass
class OpenSSH:
    """A running server.

    Parameters
    ----------
    port : int
        Where it listens on 127.0.0.1.
    folder : Path
        Its keys and its log.
    key : Path
        A private key it lets in.
    fingerprints : dict of str to str
        Its host keys: key type to fingerprint.
    public : dict of str to str
        Its host keys: key type to the line of the public key file.
    """

    port: int
    folder: Path
    key: Path
    fingerprints: dict[str, str] = field(default_factory=dict)
    public: dict[str, str] = field(default_factory=dict)

    def access(self, root: Path, port: int | None = None) -> Access:
        """Return what a client needs to read files below ``root``."""
        return Access(
            host="127.0.0.1",
            port=port or self.port,
            username=getpass.getuser(),
            password=None,
            key_file=self.key,
            host_keys=tuple(self.fingerprints.values()),
            root=str(root),
        )


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair."""
    size = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "insights_nb test", "-f", str(path)], check=True
    )
    return path


def fingerprint_of(key: Path) -> str:
    """Return a key's fingerprint as ssh-keygen says it."""
    done = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


def free_port() -> int:
    """Return a port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    folder: Path, *kinds: str, settings: str = "", address: str = "127.0.0.1", enter: Sequence[str] = ()
) -> Iterator[OpenSSH]:
    """Run a server with host keys of these kinds (default Ed25519), its files in ``folder``.

    It can be put elsewhere than on loopback, and be run in another network namespace by a command that enters that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # As root the server insists on this empty folder to confine its first stage in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = OpenSSH(free_port(), folder, make_key(folder / "client"))
    shutil.copy(f"{server.key}.pub", folder / "authorized_keys")
    lines = [
        f"Port {server.port}",
        f"ListenAddress {address}",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication yes",
        "PermitRootLogin yes",
        "PidFile none",
        "Subsystem sftp internal-sftp",
        settings,
    ]
    for kind in kinds or ("ed25519",):
        key = make_key(folder / f"host_{kind}", kind)
        server.fingerprints[kind] = fingerprint_of(key)
        server.public[kind] = Path(f"{key}.pub").read_text()
        lines.append(f"HostKey {key}")
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*enter, str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        _await_listening(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _await_listening(server: OpenSSH, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server says that it takes connections."""
    for _ in range(1000):
        if f"port {server.port}." in (server.folder / "log").read_text():
            return
        if process.poll() is not None:
            break
        threading.Event().wait(0.01)
    raise RuntimeError("sshd did not start: " + (server.folder / "log").read_text())
