"""The report tree as SFTP shows it: read-only, and closed at its root."""

import os
import posixpath
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import paramiko
from paramiko.sftp import SFTP_FAILURE, SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED

from .faults import Fault, FaultPlan
from .sockets import abort

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LARGEST_READ = 256 * 1024


@dataclass(frozen=True)
class Visit:
    """One step of an SFTP client.

    Parameters
    ----------
    what
        ``SFTP connect``, ``SFTP auth``, ``SFTP stat``, ``SFTP open`` or ``SFTP read`` (one per closed file).
    subject
        The path; for ``SFTP auth`` the kind of proof (``password``, ``publickey``).
    ok
        Whether the client got what it asked for.
    size
        For ``SFTP read`` the bytes sent in all, else 0.
    at
        The service's clock.
    """

    what: str
    subject: str
    ok: bool
    size: int
    at: float


class Log:
    """A thread-safe list of visits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._visits: list[Visit] = []

    def add(self, what: str, subject: str = "", ok: bool = True, size: int = 0) -> None:
        """Note one step."""
        visit = Visit(what, subject, ok, size, self._clock())
        with self._lock:
            self._visits.append(visit)

    @property
    def visits(self) -> list[Visit]:
        """Return every step so far."""
        with self._lock:
            return list(self._visits)


@dataclass(frozen=True)
class Site:
    """What every connection shares.

    Parameters
    ----------
    tree
        The folder shown as ``/``.
    faults
        What goes wrong.
    log
        Where steps are noted.
    wait
        Waits for a fault's seconds or gate, as long as its second argument says that it is worth it.
    """

    tree: Path
    faults: FaultPlan
    log: Log
    wait: Callable[[Fault, Callable[[], bool]], None]

    def local(self, path: str) -> Path | None:
        """Return the file behind a client's path, or None if the tree has none such.

        ``..`` stops at the root as in a real chroot, and whatever a link leads to is not there.
        """
        inside = posixpath.normpath("/" + path).lstrip("/")
        try:
            found = self.tree / inside
            # The tree holds no links of its own making: a path that a link bends is not to be followed.
            if Path(os.path.realpath(found)) != found or not found.exists():
                return None
        except (OSError, ValueError):
            return None
        return found


class File(paramiko.SFTPHandle):
    """An open file, read by position, with whatever is to go wrong in this opening.

    Parameters
    ----------
    site
        What every connection shares.
    path
        The path the client asked for.
    local
        The file.
    faults
        The ``SFTP read`` faults of this opening.
    transport
        The connection, to be broken by a fault.
    """

    def __init__(
        self, site: Site, path: str, local: Path, faults: tuple[Fault, ...], transport: paramiko.Transport
    ) -> None:
        super().__init__(os.O_RDONLY)
        self._site = site
        self._path = path
        self._faults = faults
        self._transport = transport
        self._sent = 0
        self._open = True
        self._descriptor = os.open(local, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))

    def stat(self) -> paramiko.SFTPAttributes | int:
        """Return the attributes of the open file."""
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))

    def read(self, offset: int, length: int) -> bytes | int:
        """Return bytes from a position, none at the end of the file, or an SFTP error code."""
        length = min(length, _LARGEST_READ)
        for fault in self._faults:
            if fault.do in ("flip", "grow"):
                continue
            if offset >= fault.at:
                return self._fail(fault)
            length = min(length, fault.at - offset)
        try:
            content = os.pread(self._descriptor, length, offset)
        except (OSError, OverflowError):
            return SFTP_FAILURE
        for fault in self._faults:
            if fault.do == "flip" and offset <= fault.at < offset + len(content):
                changed = bytearray(content)
                changed[fault.at - offset] ^= 1
                content = bytes(changed)
            elif fault.do == "grow":
                end = os.fstat(self._descriptor).st_size + fault.at
                content += b"\0" * min(length - len(content), max(0, end - offset - len(content)))
        self._sent += len(content)
        return content

    def write(self, offset: int, data: "ReadableBuffer") -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def close(self) -> None:
        """Close the file and note how much of it was sent."""
        if self._open:
            self._open = False
            os.close(self._descriptor)
            self._site.log.add("SFTP read", self._path, size=self._sent)

    def _fail(self, fault: Fault) -> bytes | int:
        if fault.do == "cut":
            return b""
        if fault.do == "reset":
            reset(self._transport)
        elif fault.do == "stall":
            self._site.wait(fault, self._transport.is_active)
        return SFTP_FAILURE


class Files(paramiko.SFTPServerInterface):
    """The tree behind one connection.

    Parameters
    ----------
    server
        The connection's authentication object.
    site
        What every connection shares.
    transport
        The connection.
    """

    def __init__(self, server: paramiko.ServerInterface, site: Site, transport: paramiko.Transport, *_: Any) -> None:
        super().__init__(server)
        self._site = site
        self._transport = transport

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        """Return the entries of a folder."""
        local = self._site.local(path)
        if local is None or not local.is_dir():
            return SFTP_NO_SUCH_FILE
        return [
            paramiko.SFTPAttributes.from_stat(entry.lstat(), entry.name)
            for entry in sorted(local.iterdir())
            if not entry.is_symlink()
        ]

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        """Return the attributes of a path."""
        local = self._site.local(path)
        found: paramiko.SFTPAttributes | int = SFTP_NO_SUCH_FILE
        if local is not None:
            found = paramiko.SFTPAttributes.from_stat(local.stat())
        for fault in self._site.faults.strike("SFTP stat", path):
            if fault.do in ("missing", "refuse"):
                found = SFTP_NO_SUCH_FILE if fault.do == "missing" else SFTP_PERMISSION_DENIED
            elif isinstance(found, paramiko.SFTPAttributes):
                if fault.do == "size":
                    found.st_size = fault.at
                else:
                    found.st_mode = stat.S_IFDIR | 0o700
        self._site.log.add("SFTP stat", path, isinstance(found, paramiko.SFTPAttributes))
        return found

    def lstat(self, path: str) -> paramiko.SFTPAttributes | int:
        """Return the attributes of a path; there are no links, so the same as ``stat``."""
        return self.stat(path)

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        """Open a file for reading; every other way of opening is refused."""
        opened = self._opened(path, flags)
        self._site.log.add("SFTP open", path, isinstance(opened, File))
        return opened

    def _opened(self, path: str, flags: int) -> File | int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            return SFTP_PERMISSION_DENIED
        for fault in self._site.faults.strike("SFTP open", path):
            if fault.do == "delay":
                self._site.wait(fault, self._transport.is_active)
            elif fault.do == "reset":
                reset(self._transport)
                return SFTP_FAILURE
            else:
                return SFTP_NO_SUCH_FILE if fault.do == "missing" else SFTP_PERMISSION_DENIED
        local = self._site.local(path)
        if local is None:
            return SFTP_NO_SUCH_FILE
        if not local.is_file():
            return SFTP_FAILURE
        faults = self._site.faults.strike("SFTP read", path)
        try:
            return File(self._site, path, local, faults, self._transport)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    def canonicalize(self, path: str) -> str:
        """Return a path from the root, whatever ``..`` it holds."""
        return "/" + posixpath.normpath("/" + path).lstrip("/")

    def remove(self, path: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def rename(self, oldpath: str, newpath: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def rmdir(self, path: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def symlink(self, target_path: str, path: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED

    def readlink(self, path: str) -> int:
        """Refuse."""
        return SFTP_PERMISSION_DENIED


def reset(transport: paramiko.Transport) -> None:
    """Break a connection with RST."""
    abort(cast("socket.socket", transport.sock))
    transport.close()
