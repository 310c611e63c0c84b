"""The SFTP socket: who may come in, one paramiko transport per connection, and all of them ended by stop."""

import base64
import logging
import socket
import threading
from dataclasses import dataclass

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from .files import Files, Site
from .sockets import abort

_LOGGER = "insights_nb.simulator.sftp"
_WINDOW = 4 * 1024 * 1024
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")

# paramiko logs every refused login with a traceback; the service's user reads it from Visit instead.
logging.getLogger(_LOGGER).addHandler(logging.NullHandler())
logging.getLogger(_LOGGER).propagate = False


@dataclass(frozen=True)
class Account:
    """The one user of the file server.

    Parameters
    ----------
    username, password
        The login.
    key
        The public key that is good too, or None.
    """

    username: str
    password: str
    key: paramiko.PKey | None


def public_key(line: str) -> paramiko.PKey:
    """Return the key in a line of the ``authorized_keys`` form; raises ValueError if it is none."""
    words = line.split()
    try:
        return paramiko.PKey.from_type_string(words[0], _decoded(words[1]))
    except (IndexError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise ValueError(f"not an OpenSSH public key line: {line[:40]!r}") from error


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


class _Visitor(paramiko.ServerInterface):
    """One connection's way through the login."""

    def __init__(self, site: Site, account: Account, transport: paramiko.Transport) -> None:
        self._site = site
        self._account = account
        self._transport = transport

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey" if self._account.key else "password"

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == (self._account.username, self._account.password)
        return self._judged("password", username, good)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == self._account.username and key == self._account.key
        return self._judged("publickey", username, good)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return OPEN_SUCCEEDED
        return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def _judged(self, kind: str, username: str, good: bool) -> int:
        for fault in self._site.faults.strike("SFTP auth", username):
            if fault.do == "delay":
                self._site.wait(fault, self._transport.is_active)
            else:
                good = False
        self._site.log.add("SFTP auth", kind, good)
        return AUTH_SUCCESSFUL if good else AUTH_FAILED


class _Session(paramiko.SFTPServer):
    """paramiko's session thread, written down before it starts so that stop can wait for it."""

    def __init__(
        self,
        channel: paramiko.Channel,
        name: str,
        server: paramiko.ServerInterface,
        files: type[Files],
        site: Site,
        transport: paramiko.Transport,
        sessions: "list[threading.Thread]",
    ) -> None:
        super().__init__(channel, name, server, files, site, transport)
        self._sessions = sessions

    def start(self) -> None:
        self._sessions.append(self)
        super().start()


class FileServer:
    """An SFTP server for one tree and one account.

    Parameters
    ----------
    bound
        A listening socket; the server takes it over.
    site
        The tree, and what goes wrong with it.
    account
        Who may come in.
    """

    def __init__(self, bound: socket.socket, site: Site, account: Account) -> None:
        self._bound = bound
        self._site = site
        self._account = account
        self._key = paramiko.ECDSAKey.generate()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._transports: list[paramiko.Transport] = []
        self._sessions: list[threading.Thread] = []
        self._silent: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="simulator-sftp", daemon=True)

    @property
    def fingerprint(self) -> str:
        """Return the host key's fingerprint as OpenSSH prints it, ``SHA256:`` and unpadded base64."""
        return str(self._key.fingerprint)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._bound.settimeout(0.05)  # seconds between looks at whether to stop
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, break the open ones, and wait for every thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._bound.close()
        with self._lock:
            transports, self._transports = self._transports, []
            for connection in self._silent:
                connection.close()
        for transport in transports:
            transport.close()
        for transport in transports:
            if transport.ident is not None:  # one that was broken off before its handshake has no thread
                transport.join()
        # Only a transport's thread begins sessions, so from here on there are no new ones.
        for session in self._sessions:
            session.join()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, (host, port) = self._bound.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._welcome(connection, f"{host}:{port}")

    def _welcome(self, connection: socket.socket, peer: str) -> None:
        key = self._key
        for fault in self._site.faults.strike("SFTP connect", peer):
            if fault.do == "wrong_key":
                key = paramiko.ECDSAKey.generate()
                continue
            self._site.log.add("SFTP connect", peer, ok=False)
            if fault.do == "reset":
                abort(connection)
            else:
                with self._lock:
                    self._silent.append(connection)
            return
        self._site.log.add("SFTP connect", peer)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            transport = paramiko.Transport(connection, default_window_size=_WINDOW)
        except (paramiko.SSHException, OSError):
            connection.close()
            return
        transport.daemon = True
        transport.set_log_channel(_LOGGER)
        transport.get_security_options().ciphers = _CIPHERS
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", _Session, Files, self._site, transport, self._sessions)
        with self._lock:
            self._transports = [known for known in self._transports if known.is_alive()]
            self._sessions[:] = [session for session in self._sessions if session.is_alive()]
            self._transports.append(transport)
        try:
            # With an event paramiko negotiates in the transport's own thread, so a slow client blocks nobody.
            transport.start_server(event=threading.Event(), server=_Visitor(self._site, self._account, transport))
        except (paramiko.SSHException, OSError, EOFError):
            transport.close()
