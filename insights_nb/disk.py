"""Files that hold personal data: the few operations on them, each in the form that does not go wrong.

Every touch of the disk by cache, journal and transfer goes through here, for three reasons: modes are set
explicitly and so hold under any umask; a name never appears before its bytes are on the disk; and a test can
make any single operation fail by replacing one function of this module.

Functions raise plain ``OSError``; a caller wraps its work in :func:`disk_errors` to say it in our words.
"""

import errno
import json
import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from insights_nb.errors import CacheError

FILE_MODE = 0o600
SEALED_MODE = 0o400
FOLDER_MODE = 0o700
TEMPORARY = ".tmp"

# Windows has neither; there, link planting needs a privilege and text translation must be off.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def make_private_folder(path: Path) -> Path:
    """Make a folder and its missing parents, each readable by the owner alone; return ``path``.

    A folder that was there already keeps its mode: whether to trust it is for the caller to judge.
    """
    missing = []
    for folder in (path, *path.parents):
        if _is_there(folder):
            break
        missing.append(folder)
    for folder in reversed(missing):
        # Another kernel may make the same folder at the same moment.
        with suppress(FileExistsError):
            os.mkdir(folder, FOLDER_MODE)
            os.chmod(folder, FOLDER_MODE)
            # Else a power cut could take the folder away, and with it every record that was forced to the disk.
            fsync_dir(folder.parent)
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return path


def create_exclusive(path: Path) -> int:
    """Create a file that was not there, mode 0600, and return its descriptor, open for reading and writing.

    Raises
    ------
    FileExistsError
        Something of that name exists, be it a link to nowhere.
    """
    fd = _private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY)
    try:
        _set_mode(fd, path, FILE_MODE)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_bytes(path: Path) -> bytes:
    """Return a whole small file, refusing a symbolic link in its place (``OSError`` with ``ELOOP``)."""
    return b"".join(read_blocks(path))


def read_blocks(path: Path, block: int = 1 << 18) -> Iterator[bytes]:
    """Yield a file in blocks of at most ``block`` bytes, refusing a symbolic link in its place."""
    # A file object closes itself when an interrupt strikes before it has a name; a bare descriptor does not.
    with open(path, "rb", buffering=0, opener=_private) as file:
        while chunk := os.read(file.fileno(), block):
            yield chunk


def map_file(path: Path) -> mmap.mmap:
    """Return a file's bytes without reading them yet, refusing a symbolic link and an empty file (``OSError``).

    The mapping outlives the file's name: what is removed meanwhile stays readable to whoever holds it.
    """
    with open(path, "rb", buffering=0, opener=_private) as file:
        if not os.fstat(file.fileno()).st_size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def write_all(fd: int, content: bytes | memoryview) -> None:
    """Write every byte at the descriptor's position: a full disk may take a part and say so only next time."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def read_at(fd: int, offset: int, length: int) -> bytes:
    """Return up to ``length`` bytes at ``offset``; the descriptor's position afterwards is unspecified."""
    os.lseek(fd, offset, os.SEEK_SET)
    parts = []
    while length and (part := os.read(fd, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def truncate(fd: int, length: int) -> None:
    """Cut the file at ``length`` bytes and place the descriptor there."""
    os.ftruncate(fd, length)
    os.lseek(fd, length, os.SEEK_SET)


def fsync(fd: int) -> None:
    """Force a file's bytes to the disk."""
    os.fsync(fd)


def fsync_dir(path: Path) -> None:
    """Force a folder's names to the disk, where the system lets a folder be opened (not on Windows)."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def close(fd: int) -> None:
    """Close a descriptor."""
    os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Move a file onto a name, replacing what has it, or a folder onto a name that is free or empty."""
    os.replace(source, target)


def seal(path: Path) -> None:
    """Make a finished file read-only, for the owner alone (0400)."""
    os.chmod(path, SEALED_MODE)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a sealed file a second name, or copy it where the file system knows no hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):
        fd = create_exclusive(target)
        try:
            copy_into(fd, source, None)
        finally:
            close(fd)


def copy_into(fd: int, source: Path, length: int | None) -> None:
    """Append the first ``length`` bytes of a file (None: all of them) to a descriptor."""
    left = length
    for block in read_blocks(source):
        if left is None:
            write_all(fd, block)
            continue
        write_all(fd, block[:left])
        left -= min(left, len(block))
        if not left:
            return


def remove(path: Path) -> None:
    """Remove a file; one that is gone already is fine."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, following no link; one that is gone already is fine."""
    while os.path.lexists(path):
        # Another kernel may be removing the same folder: what it took first is no failure of ours.
        with suppress(FileNotFoundError):
            shutil.rmtree(path)


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; a folder that is not there has none."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def size_of(path: Path) -> int:
    """Return a file's size, 0 where there is none; a link counts as itself."""
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def changed(path: Path) -> float:
    """Return the Unix time of a file's or folder's last change."""
    return os.lstat(path).st_mtime


def stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time of change in ns, which differ when somebody edited it; of a link, its own."""
    found = os.lstat(path)
    return found.st_size, found.st_mtime_ns


def touch(path: Path) -> None:
    """Set a file's time of change to now; made where it is missing."""
    with open(path, "ab", buffering=0, opener=_private) as file:
        os.utime(file.fileno() if os.utime in os.supports_fd else path)


def require_ours(folder: Path, *, private: bool) -> None:
    """Refuse a folder that somebody else could have filled.

    Parameters
    ----------
    folder : Path
        One that is not there is fine: it will be made by us.
    private : bool
        Whether others may not even read it, or only not write to it.

    Raises
    ------
    CacheError
        It is a link, belongs to another user, or its mode lets others in.
    """
    try:
        with disk_errors(folder):
            found = os.lstat(folder)
    except CacheError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return
        raise
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        wrong = "is a symbolic link"
    elif hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        wrong = "belongs to another user"
    elif hasattr(os, "geteuid") and mode & (0o077 if private else 0o022):
        wrong = f"lets other users in (mode {mode:o})"
    else:
        return
    raise CacheError(
        f"{folder} {wrong}, so what is in it cannot be trusted, and reports are not kept there.",
        "Mend it (chmod 700), or set another folder by insights.configure(cache_dir=…) or INSIGHTS_CACHE_DIR.",
    )


def free_bytes(folder: Path) -> int:
    """Return how many bytes the folder's file system still gives to this user."""
    return shutil.disk_usage(folder).free


def write_atomic(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Write a small file so that a reader sees the old content or the new one, whatever is killed and when.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    content : bytes
        All of it.
    mode : int, default 0o600
        Its mode, whatever the umask.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")
    try:
        with open(temporary, "xb", buffering=0, opener=partial(os.open, mode=FILE_MODE)) as file:
            write_all(file.fileno(), content)
            _set_mode(file.fileno(), temporary, mode)
            fsync(file.fileno())
        rename(temporary, path)
    except BaseException:
        # Also on KeyboardInterrupt: no stray file. What failed is what the caller must hear of, so a
        # second failure here stays silent.
        with suppress(OSError):
            remove(temporary)
        raise
    fsync_dir(path.parent)


def write_json(path: Path, value: Any, mode: int = FILE_MODE) -> None:
    """Write a value as JSON by :func:`write_atomic`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    write_atomic(path, text.encode(), mode)


def read_json(path: Path) -> Any:
    """Return a JSON file's value, or None where the file is missing, unreadable or not JSON.

    What another version, another program or a torn disk left behind is a miss, never a crash.
    """
    try:
        return json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return None


@contextmanager
def disk_errors(folder: Path, needed: int | None = None) -> Iterator[None]:
    """Say an ``OSError`` of the disk operations inside in our words.

    Parameters
    ----------
    folder : Path
        Where the work happens; named in the message.
    needed : int or None
        Bytes the work takes in all, where that is known.

    Raises
    ------
    CacheError
        For every ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise disk_refusal(error, folder, needed) from error


def disk_refusal(error: OSError, folder: Path, needed: int | None = None) -> CacheError:
    """Return the :class:`CacheError` that says what an ``OSError`` means and what to do."""
    other = "Set another folder by insights.configure(cache_dir=…) or INSIGHTS_CACHE_DIR."
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        limit = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "your disk quota is used up",
            errno.EFBIG: "the file is larger than the limit for one file",
        }[error.errno]
        size = f"; {_megabytes(needed)} are needed" if needed is not None else ""
        with suppress(OSError):
            size += f"; {_megabytes(free_bytes(folder))} are free"
        return CacheError(
            f"{limit} in {folder}{size}. What was fetched so far is kept.",
            f"Make room (insights.clear_cache() removes cached reports), then ask again. {other}",
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        why = "is read-only" if error.errno == errno.EROFS else "may not be written by this user"
        return CacheError(f"{folder} {why}, so reports cannot be kept there.", other)
    reason = error.strerror or type(error).__name__
    return CacheError(f"a file operation in {folder} failed: {reason}.", other)


def _private(path: Path | str, flags: int) -> int:
    """Open a file for the owner alone, refusing a symbolic link in its place; also what ``open`` takes as opener."""
    return os.open(path, flags | _NOFOLLOW, FILE_MODE)


def _is_there(path: Path) -> bool:
    """Whether a name leads to something."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _set_mode(fd: int, path: Path, mode: int) -> None:
    """Set a mode on an open file, by its descriptor where the system can."""
    if hasattr(os, "fchmod"):
        os.fchmod(fd, mode)
    else:
        os.chmod(path, mode)


def _megabytes(count: int) -> str:
    """Return a byte count as a person reads it."""
    return f"{count / 1e6:,.1f} MB"
