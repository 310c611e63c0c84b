"""One connection to the file server: found, proven to be the one we expect, logged in, and always closed.

The door to paramiko, which is imported when a connection is made and not before. Whatever paramiko raises
becomes an error of ours outside its ``except`` block: the frames of a foreign exception hold the password.

A host key is judged before anything is sent, the user's name included. Nothing is ever trusted at first sight.
"""

import errno
import functools
import logging
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from insights_nb.access import FLOW, Access, Secret, Timeouts
from insights_nb.errors import InsightsError, TransferError
from insights_nb.hostkeys import Trust, fingerprint, known_hosts, pinned, stranger
from insights_nb.sftp import LinkLostError, Session

if TYPE_CHECKING:
    import paramiko

# Without a handler of its own, paramiko's log would reach the notebook through logging's last resort.
logging.getLogger("insights_nb").addHandler(logging.NullHandler())

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr")
_DIGESTS = ("hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
_FAMILIES = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY}
_SLICE = 0.1  # seconds until a waiting thread looks whether it is still wanted

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(method: "Callable[Concatenate[Link, P], R]") -> "Callable[Concatenate[Link, P], R]":
    """Turn whatever the library raises into an error of ours, without carrying its frames along."""

    def guarded(self: "Link", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except InsightsError as error:
            failure = error
        except Exception as error:
            failure = self._translated(error)
        try:
            # Ours too begins anew here: the frames below hold the library's transport, and that the password.
            raise failure.with_traceback(None)
        finally:
            del failure

    return functools.update_wrapper(guarded, method)


class Link:
    """A connection made when it is first needed, used by one thread; any thread may close it.

    Parameters
    ----------
    access : Access
        Where to, and as whom.
    timeouts : Timeouts
        How long to wait for what.
    """

    def __init__(self, access: Access, timeouts: Timeouts) -> None:
        self._access = access
        self._timeouts = timeouts
        self._address = f"{access.host}:{access.port}"
        self._ended = threading.Event()
        self._socket: socket.socket | None = None
        self._transport: paramiko.Transport | None = None
        self._channel: paramiko.Channel | None = None
        self._session: Session | None = None
        self._kinds: tuple[str, ...] = ()  # host key types that led to a trusted key

    @property
    def connected(self) -> bool:
        """Whether there is a session that was not lost."""
        return self._session is not None

    def session(self) -> Session:
        """Return the SFTP session, connecting first where there is none.

        Raises
        ------
        HostKeyError
            The server is not one we know; nothing was sent to it.
        TransferError
            The login is refused, or the key file cannot be used.
        LinkLostError
            The server cannot be reached, or the connection broke.
        """
        if self._session is None:
            self.hang_up()
            session = self._connect()
            session.greet()
            self._session = session
        return self._session

    def hang_up(self) -> None:
        """Close the connection; :meth:`session` makes a new one."""
        transport, sock = self._transport, self._socket
        self._session = self._channel = self._transport = self._socket = None
        _close(transport, sock)

    def end(self) -> None:
        """Close the connection for good, waking the thread that waits on it."""
        self._ended.set()
        self.hang_up()

    @_guarded
    def send(self, content: bytes) -> None:
        """Send all of it (the session's pipe)."""
        self._standing().sendall(content)

    @_guarded
    def receive(self) -> bytes:
        """Return the next bytes (the session's pipe)."""
        content = self._standing().recv(FLOW.packet)
        if not content:
            raise LinkLostError(f"{self._address} closed the connection.")
        return content

    def _standing(self) -> "paramiko.Channel":
        """Return the channel, unless another thread hung up."""
        channel = self._channel
        if channel is None:
            raise self._closed()
        return channel

    def _must_stand(self) -> None:
        """Raise where another thread ended the connection while this one was making it."""
        if self._ended.is_set():
            raise self._closed()

    def _closed(self) -> LinkLostError:
        return LinkLostError(f"the connection to {self._address} was closed.")

    @_guarded
    def _connect(self) -> Session:
        """Connect, prove the host, log in and start the file service."""
        transport = self._proven()
        self._log_in(transport)
        transport.set_keepalive(30)
        channel = transport.open_session(FLOW.window, FLOW.packet, timeout=self._timeouts.login)
        channel.settimeout(self._timeouts.stall)
        # Nothing has come yet, and a channel that closed before this is refused below.
        channel.in_buffer = cast("Any", _Inbox())
        with self._limited(transport):
            channel.invoke_subsystem("sftp")
        self._channel = channel
        self._must_stand()
        return Session(self, FLOW.ahead)

    @contextmanager
    def _limited(self, transport: "paramiko.Transport") -> Iterator[None]:
        """End the connection when the server does not answer: the library waits for some answers without a limit."""
        limit = threading.Timer(self._timeouts.login, transport.close)
        limit.start()
        try:
            yield
        finally:
            limit.cancel()
            limit.join()

    def _proven(self) -> "paramiko.Transport":
        """Return a connection whose host key is trusted.

        A server may own keys of several types and shows one of the type we ask for, so a server whose key is not
        the one we know is asked for its other types, on connections of their own, before it is refused.
        """
        trust = self._trust()
        known = {_family(kind) for kind in trust.accepted.values() if _family(kind)}
        first = self._kinds or tuple(kind for family in sorted(known) for kind in family) or sum(_FAMILIES, ())
        seen: dict[str, str] = {}
        for kinds in (first, *_FAMILIES):
            if kinds in {_family(kind) for kind in seen.values()} or (seen and not trust.accepted):
                continue
            self._must_stand()
            sock = self._dial()
            transport = self._negotiated(sock, kinds)
            if transport is None:
                continue
            key = transport.get_remote_server_key()
            shown = fingerprint(key.asbytes())
            if trust.accepts(shown):
                self._kinds = kinds
                return transport
            seen[shown] = key.get_name()
            self.hang_up()
        if not seen:
            raise TransferError(
                f"{self._address} speaks SSH, but no algorithm that this program still trusts.",
                "Ask whoever runs the server for AES in GCM or CTR mode and an Ed25519, ECDSA or RSA-SHA2 host key.",
            )
        raise stranger(self._address, trust, seen)

    def _trust(self) -> Trust:
        """Return what is known about the server: what is pinned, or else what the user's file says."""
        if self._access.host_keys:
            return pinned(self._access.host_keys)
        try:
            text = Path("~/.ssh/known_hosts").expanduser().read_text(encoding="utf-8", errors="replace")
        except (OSError, RuntimeError):
            text = ""
        return known_hosts(text, self._access.host, self._access.port)

    def _dial(self) -> socket.socket:
        """Open a TCP connection, looking ten times a second whether it is still wanted."""
        until = time.monotonic() + self._timeouts.connect
        failure: OSError = TimeoutError()
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._access.host, self._access.port, type=socket.SOCK_STREAM
        ):
            sock = self._socket = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                code = sock.connect_ex(address)
                with selectors.DefaultSelector() as waiting:
                    waiting.register(sock, selectors.EVENT_WRITE)
                    while code in _UNDER_WAY and time.monotonic() < until and not self._ended.is_set():
                        if waiting.select(_SLICE):
                            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    _keep_alive(sock, self._timeouts.stall)
                    return sock
                failure = TimeoutError() if code in _UNDER_WAY else OSError(code, os.strerror(code))
            except OSError as error:
                failure = error
            sock.close()
        raise failure

    def _negotiated(self, sock: socket.socket, kinds: tuple[str, ...]) -> "paramiko.Transport | None":
        """Exchange keys, asking for a host key of these types; None where the server has none."""
        import paramiko

        transport = self._transport = paramiko.Transport(sock)
        transport.set_log_channel("insights_nb.link")
        transport.banner_timeout = transport.auth_timeout = self._timeouts.login
        transport.handshake_timeout = self._timeouts.login
        options = transport.get_security_options()
        # Never CBC, SHA-1 or MD5: what is left withstands Terrapin also without strict key exchange.
        options.ciphers = _CIPHERS
        options.digests = _DIGESTS
        options.key_types = kinds
        self._must_stand()
        try:
            transport.start_client(timeout=self._timeouts.login)
        except paramiko.ssh_exception.IncompatiblePeer:
            self.hang_up()
            return None
        finally:
            if self._transport is not transport:
                # Another thread hung up just before it began, and so closed nothing.
                _close(transport, sock)
        return transport

    def _log_in(self, transport: "paramiko.Transport") -> None:
        """Log in by key or by password, offering nothing else: no agent, no key found lying about."""
        import paramiko

        access = self._access
        refused = ""
        lost = False
        further: list[str] = []
        try:
            if access.key_file is not None:
                further = transport.auth_publickey(access.username, _private_key(access.key_file, access.password))
            elif access.password is not None:
                further = transport.auth_password(access.username, access.password.reveal())
            else:
                refused = "no password and no key file are set"
        except paramiko.AuthenticationException as error:
            if not transport.is_active() or "timeout" in str(error).lower():
                lost = True
            allowed = getattr(error, "allowed_types", [])
            refused = f"it takes only {', '.join(map(str, allowed))}" if allowed else "it refused them"
        if lost:
            raise LinkLostError(f"{self._address} broke off during the login.")
        if further:
            refused = f"it asks for {', '.join(further)} besides"
        if refused:
            means = f"the key {access.key_file}" if access.key_file is not None else "the password"
            raise TransferError(
                f"{self._address} does not let the user {access.username!r} in with {means}: {refused}.",
                "Look at sftp_username, sftp_password and sftp_key_file: python -m insights_nb config shows where "
                "each comes from.",
            )

    def _translated(self, error: Exception) -> InsightsError:
        """Return our error for one of the library's or the system's."""
        if isinstance(error, TimeoutError):
            return LinkLostError(f"nothing came from {self._address} within the time allowed.")
        if isinstance(error, socket.gaierror):
            return LinkLostError(f"the name of the file server, {self._access.host}, is not known.")
        if isinstance(error, OSError):
            return LinkLostError(f"{self._address} cannot be reached: {error.strerror or type(error).__name__}.")
        return LinkLostError(f"the connection to {self._address} broke ({type(error).__name__}).")


class _Inbox:
    """What came over a channel and was not read yet: the packets as they are, no more than the channel's window.

    The library's own copies each byte three times, and moves all that stays: half of a transfer's processor time.
    """

    def __init__(self) -> None:
        self._packets: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def feed(self, content: bytes) -> None:
        """Take a packet in; an empty one would look like the end."""
        if content:
            self._packets.put(content)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._packets.put(b"")

    def read(self, _: int, timeout: float | None = None) -> bytes:
        """Return the next packet, nothing at the end."""
        try:
            content = self._packets.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if not content:
            self.close()
        return content


def _family(kind: str) -> tuple[str, ...]:
    """Return the signature algorithms that go with a key type; none for one that is not supported."""
    if kind == "ssh-rsa":
        return _FAMILIES[2]
    return next((family for family in _FAMILIES if kind in family), ())


def _keep_alive(sock: socket.socket, stall: float) -> None:
    """Let the system notice a peer that is gone, and send small requests at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))


def _private_key(path: Path, secret: Secret | None) -> "paramiko.PKey":
    """Load a private key of any type, its pass phrase being the password where it needs one."""
    import paramiko

    load: Any = paramiko.PKey.from_path
    reason = ""
    try:
        return cast("paramiko.PKey", load(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except TypeError:
        reason = "it needs a pass phrase; set it as sftp_password"
    except Exception:
        reason = "it is no private key of a kind that is known"
    if secret is not None and "pass phrase" in reason:
        try:
            return cast("paramiko.PKey", load(path, secret.reveal().encode()))
        except Exception:
            reason = "sftp_password is not its pass phrase"
    raise TransferError(f"the key file {path} cannot be used: {reason}.", "Set another one: sftp_key_file.")


def _close(transport: "paramiko.Transport | None", sock: socket.socket | None) -> None:
    """Close a connection, and end the library's thread."""
    # Never the graceful way: on a stalled connection that would wait for another timeout. Shutting the
    # socket down wakes the library's thread, which closing alone does not.
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    if transport is not None:
        with suppress(Exception):
            transport.close()
    if sock is not None:
        with suppress(OSError):
            sock.close()
    if transport is not None and transport is not threading.current_thread():
        with suppress(RuntimeError):
            transport.join(2)
        with suppress(Exception):
            # It leaves the timer of a handshake that failed running.
            transport.packetizer.complete_handshake()
