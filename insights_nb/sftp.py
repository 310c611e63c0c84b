"""Reading files over SFTP, version 3 of the protocol (draft-ietf-secsh-filexfer-02), on any pipe of bytes.

A reader of our own, because the library's loses data: its ``get`` called an early end a success, waited for
ever on a stall, and its prefetch leaked threads. This one asks for several blocks ahead, takes the answers in
any order, fills short ones, and calls nothing complete that is not.

It knows of neither paramiko nor files on disk, so a test can put any pipe and any server below it.
"""

import stat
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from insights_nb.errors import IntegrityError, TransferError

_HINT = "Ask again in a minute; if it stays so, run the query again for a new report (refresh=True)."
BLOCK = 255 * 1024  # what OpenSSH answers at most in one piece, less its headers
_LONGEST_PACKET = 1 << 20

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _FSTAT, _STAT = 1, 2, 3, 4, 5, 8, 17
_STATUS, _HANDLE, _DATA, _ATTRS = 101, 102, 103, 105
_END, _MISSING, _DENIED = 1, 2, 3
_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 1, 2, 4, 8


class LinkLostError(TransferError):
    """The connection stalled, ended or spoke nonsense; a new one may do better."""


class Pipe(Protocol):
    """A connection that raises :class:`LinkLostError` when it is lost."""

    def send(self, content: bytes) -> None:
        """Send all of it."""

    def receive(self) -> bytes:
        """Return the next bytes, at least one."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says about a file.

    Parameters
    ----------
    size : int
        Bytes.
    changed : int or None
        Time of the last change, Unix seconds, where the server says.
    """

    size: int
    changed: int | None


class Session:
    """One SFTP session; for one thread.

    Parameters
    ----------
    pipe : Pipe
        The connection, the subsystem already started.
    ahead : int
        How many requests may be on their way at once.
    """

    def __init__(self, pipe: Pipe, ahead: int) -> None:
        self._pipe = pipe
        self._ahead = ahead
        self._rest = memoryview(b"")  # came, and belongs to the next packet
        self._number = 0
        self._arrived: dict[int, tuple[int, memoryview]] = {}

    def greet(self) -> None:
        """Agree on the protocol; must come first."""
        self._pipe.send(struct.pack(">IBI", 5, _INIT, 3))
        kind, body = self._packet()
        if kind != _VERSION or len(body) < 4:
            raise _nonsense("it did not begin as an SFTP server does")

    def stat(self, paths: Iterable[str]) -> Iterator[Attributes]:
        """Yield what the server says about each path, many requests at once.

        Raises
        ------
        IntegrityError
            A path is missing, or no regular file of known size.
        TransferError
            The server refuses to say.
        """
        names = deque(paths)
        asked: deque[tuple[int, str]] = deque()
        while names or asked:
            while names and len(asked) < self._ahead:
                path = names.popleft()
                asked.append((self._ask(_STAT, _string(path.encode())), path))
            number, path = asked.popleft()
            yield _attributes(self._answer(number, _ATTRS, path), path)

    def open(self, path: str) -> "RemoteFile":
        """Open a file for reading that :meth:`stat` found regular: a FIFO would hang the server here."""
        body = self._answer(self._ask(_OPEN, _string(path.encode()), struct.pack(">II", 1, 0)), _HANDLE, path)
        return RemoteFile(self, path, bytes(_take_string(body)[0]))

    def attributes(self, handle: bytes, path: str) -> Attributes:
        """Return what the server says about an open file now."""
        return _attributes(self._answer(self._ask(_FSTAT, _string(handle)), _ATTRS, path), path)

    def close(self, handle: bytes, path: str) -> None:
        """Close an open file."""
        number = self._ask(_CLOSE, _string(handle))
        kind, _ = self._await(number)
        if kind != _STATUS:
            raise _nonsense(f"it did not answer the closing of {path}")

    def read(self, handle: bytes, path: str, start: int, end: int) -> Iterator[memoryview]:
        """Yield a file's bytes from ``start`` to ``end`` in order, asking ahead.

        Raises
        ------
        IntegrityError
            The file ends before ``end``.
        """
        asked: deque[tuple[int, int, int]] = deque()
        at = start
        while at < end or asked:
            while at < end and len(asked) < self._ahead:
                length = min(BLOCK, end - at)
                try:
                    number = self._ask_block(handle, at, length)
                except LinkLostError:
                    if not asked:
                        raise
                    # What came before the connection broke is still to be read; it need not be fetched again.
                    break
                asked.append((number, at, length))
                at += length
            number, offset, length = asked.popleft()
            while True:
                block = self._block(number, path, length)
                if not block:
                    raise IntegrityError(
                        f"{path} on the file server ends at byte {offset:,}, before the size it was said to have.",
                        _HINT,
                    )
                yield block
                offset += len(block)
                length -= len(block)
                if not length:
                    break
                # A server may answer with less than it was asked for; the rest is asked for at once.
                number = self._ask_block(handle, offset, length)

    def _ask_block(self, handle: bytes, offset: int, length: int) -> int:
        return self._ask(_READ, _string(handle), struct.pack(">QI", offset, length))

    def _block(self, number: int, path: str, length: int) -> memoryview:
        """Return one answer's bytes, none at the end of the file."""
        kind, body = self._await(number)
        if kind == _STATUS and _code(body) == _END:
            return memoryview(b"")
        if kind != _DATA:
            raise self._refusal(kind, body, path)
        block, _ = _take_string(body)
        if not 0 < len(block) <= length:
            raise _nonsense("it sent a block of another size than asked for")
        return block

    def _answer(self, number: int, wanted: int, path: str) -> memoryview:
        """Return the body of an answer of the wanted kind."""
        kind, body = self._await(number)
        if kind != wanted:
            raise self._refusal(kind, body, path)
        return body

    def _refusal(self, kind: int, body: memoryview, path: str) -> TransferError:
        """Return the error for an answer that is not what was asked for."""
        if kind != _STATUS:
            return _nonsense("it answered with something else than was asked for")
        code = _code(body)
        if code == _MISSING:
            what = f"{path} is not on the file server, though the service lists it."
            return IntegrityError(what, _HINT, missing=True)
        if code == _DENIED:
            return TransferError(
                f"the file server does not let this user read {path}.",
                "Look at sftp_username and sftp_root, or ask whoever runs the server.",
            )
        return LinkLostError(f"the file server could not serve {path} (SFTP status {code}).")

    def _ask(self, kind: int, *parts: bytes) -> int:
        """Send a request and return its number."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        body = b"".join(parts)
        self._pipe.send(struct.pack(">IBI", len(body) + 5, kind, self._number) + body)
        return self._number

    def _await(self, number: int) -> tuple[int, memoryview]:
        """Return the answer to a request: its kind and its body."""
        while number not in self._arrived:
            kind, body = self._packet()
            if len(body) < 4 or len(self._arrived) > self._ahead:
                raise _nonsense("it sent answers nobody asked for")
            self._arrived[int.from_bytes(body[:4], "big")] = (kind, body[4:])
        return self._arrived.pop(number)

    def _packet(self) -> tuple[int, memoryview]:
        """Return the next packet: its kind and what follows."""
        length = int.from_bytes(self._exactly(4), "big")
        if not 1 <= length <= _LONGEST_PACKET:
            raise _nonsense("it sent a packet of impossible length")
        packet = self._exactly(length)
        return packet[0], packet[1:]

    def _exactly(self, length: int) -> memoryview:
        """Return the next bytes, as many as asked for."""
        pieces = [self._rest]
        missing = length - len(self._rest)
        while missing > 0:
            pieces.append(memoryview(self._pipe.receive()))
            missing -= len(pieces[-1])
        # What came in one piece is not copied, the rest once.
        whole = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        self._rest = whole[length:]
        return whole[:length]


class RemoteFile:
    """An open file of a :class:`Session`."""

    def __init__(self, session: Session, path: str, handle: bytes) -> None:
        self._session = session
        self._path = path
        self._handle = handle

    def attributes(self) -> Attributes:
        """Return its size and time of change now."""
        return self._session.attributes(self._handle, self._path)

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield its bytes from ``start`` to ``end`` in order; IntegrityError where it ends before."""
        return self._session.read(self._handle, self._path, start, end)

    def goes_on(self, at: int) -> bool:
        """Whether there is a byte at this offset."""
        try:
            next(self.read(at, at + 1))
        except IntegrityError:
            return False
        return True

    def close(self) -> None:
        """Close it."""
        self._session.close(self._handle, self._path)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _take_string(body: memoryview) -> tuple[memoryview, memoryview]:
    """Return the string a body begins with, and the rest."""
    length = int.from_bytes(body[:4], "big")
    if len(body) < 4 + length:
        raise _nonsense("it sent an answer cut short")
    return body[4 : 4 + length], body[4 + length :]


def _code(body: memoryview) -> int:
    if len(body) < 4:
        raise _nonsense("it sent an answer cut short")
    return int.from_bytes(body[:4], "big")


def _attributes(body: memoryview, path: str) -> Attributes:
    """Read a file's attributes, of which only a regular file's size and time are of use."""
    flags = _code(body)
    at = 4
    found: dict[int, tuple[int, ...]] = {}
    for flag, form in ((_HAS_SIZE, ">Q"), (_HAS_OWNER, ">II"), (_HAS_MODE, ">I"), (_HAS_TIMES, ">II")):
        if flags & flag:
            if len(body) < at + struct.calcsize(form):
                raise _nonsense("it sent an answer cut short")
            found[flag] = struct.unpack_from(form, body, at)
            at += struct.calcsize(form)
    regular = _HAS_MODE not in found or stat.S_ISREG(found[_HAS_MODE][0])
    if not regular or _HAS_SIZE not in found:
        raise IntegrityError(f"{path} on the file server is no regular file of known size.", _HINT)
    return Attributes(found[_HAS_SIZE][0], found[_HAS_TIMES][1] if _HAS_TIMES in found else None)


def _nonsense(what: str) -> LinkLostError:
    return LinkLostError(f"the file server does not keep to the protocol: {what}.")
