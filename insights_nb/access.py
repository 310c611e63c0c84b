"""Where the report files are, who may read them, and how patient to be: values that the transfer works by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Secret(Protocol):
    """A value that does not show itself."""

    def reveal(self) -> str:
        """Return it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the files are and who may read them.

    Parameters
    ----------
    host, port : str, int
        The file server.
    username : str
        The user there.
    password : Secret or None
        The password, or the pass phrase of ``key_file``.
    key_file : Path or None
        A private key; with one, the password is not sent.
    host_keys : tuple of str
        Fingerprints, ``SHA256:…``, any of which the server may show; none means ``~/.ssh/known_hosts`` decides.
    root : str, default ""
        Put before each report's relative path.
    """

    host: str
    port: int
    username: str
    password: Secret | None
    key_file: Path | None
    host_keys: tuple[str, ...]
    root: str = ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Parameters
    ----------
    connect : float
        For the TCP connection.
    login : float
        For each of banner, key exchange, login and opening the session.
    stall : float
        For the next bytes, once the session stands.
    pause : float
        Before the first new connection after one was lost; twice that before the next, and so on.
    attempts : int
        Connections without progress after which a shard is given up.
    """

    connect: float = 10.0
    login: float = 20.0
    stall: float = 30.0
    pause: float = 0.5
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Flow:
    """How much may be under way at once.

    Parameters
    ----------
    ahead : int
        Requests for a block.
    window, packet : int
        Bytes of the channel's window, and of its largest packet.
    """

    ahead: int
    window: int
    packet: int


# Measured against OpenSSH 9.2 on loopback and 10, 40 and 120 ms away. 4 MB asked for fill what a Linux server lets onto
# the line by default (tcp_wmem). More waits in the server's memory, which moves it about: 40 ms away 16 requests bring
# 53 MB/s, 32 bring 43, 64 bring 25. The window is never what is waited for; it bounds the memory.
FLOW = Flow(16, 8 << 20, 1 << 17)
PATIENT = Timeouts()
