"""Reports asked for and not yet finished, on disk: what lets a restarted kernel pick one up.

One record per question (its digest), written before the POST and after every step that must not be lost::

    jobs/admission.lock     held while it is decided whether a query may be sent, and while it is sent
    jobs/<digest>.json      the record, replaced as a whole
    jobs/<digest>.lock      held by the kernel that drives the report; a dead kernel's lock is free

The service has no list of reports: an id that is not here is lost, and its report holds one of two slots.

A record that cannot be understood (torn by the disk, or of a newer version) counts as a query whose answer was
lost: it holds a slot for its time to settle, and is replaced only when the same question is asked again.
"""

import errno
import json
import os
import platform
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from insights_nb import disk

FORM = 1
KEEP_SECONDS = 30 * 86400
QUEUE_SECONDS = 86400
SETTLE_SECONDS = 120.0
WORDS_SECONDS = 12 * 3600.0
STRAY_SECONDS = 3600.0
_RECORD = re.compile(r"([0-9a-f]{64})\.json")


class State(StrEnum):
    """Where a report is, as far as this machine knows."""

    WAITING = "waiting for a slot"
    INTENT = "being submitted"
    AMBIGUOUS = "submitted, but the answer was lost"
    RUNNING = "running"
    READY = "ready on the service"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    LOST = "lost"


_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
UNFINISHED = frozenset({State.WAITING, State.INTENT, State.AMBIGUOUS, State.RUNNING, State.READY})
UNCERTAIN = frozenset({State.INTENT, State.AMBIGUOUS})


@dataclass(frozen=True, slots=True)
class Job:
    """One record of the journal.

    Parameters
    ----------
    digest, text, asked : str
        The query; see :class:`insights_nb.spec.Query`.
    state : State
        Where it is.
    submitted : float
        Unix time just before the POST; while it waits for a slot, when it began to wait.
    updated : float
        Unix time of the record.
    report_id : str
        The service's id; empty until it answered.
    messages : tuple of str
        The service's words, where it failed.
    process : str
        Process and host that wrote the record.
    lost : int
        POSTs whose answer was lost since the query was last answered.
    """

    digest: str
    text: str
    asked: str
    state: State
    submitted: float
    updated: float
    report_id: str = ""
    messages: tuple[str, ...] = ()
    process: str = ""
    lost: int = 0

    @property
    def unfinished(self) -> bool:
        """Whether the report may still be had, or still holds a slot."""
        return self.state in UNFINISHED

    def occupies(self, now: float) -> bool:
        """Whether it holds one of the service's slots, for all we know.

        A query whose answer was lost may be running; it counts until it has had time to settle.
        """
        return self.state is State.RUNNING or (self.state in UNCERTAIN and self.settles(now) > 0)

    def is_over(self, now: float) -> bool:
        """Whether nothing is lost with the record: no report can be had by it, and no slot is held."""
        return self.state not in (State.RUNNING, State.READY) and self.settles(now) == 0

    def settles(self, now: float) -> float:
        """Seconds until a query whose answer was lost may be sent again; 0 when it may."""
        # Either way, so that a clock that was set back makes nobody wait for years.
        return max(0.0, SETTLE_SECONDS - abs(now - self.submitted)) if self.state in UNCERTAIN else 0.0


class Journal:
    """The records of one account.

    Parameters
    ----------
    folder : Path
        Made on first write, mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, digest: str) -> Job | None:
        """The record of a query, or None when there is none.

        Raises
        ------
        CacheError
            The disk said no: a record that is there but cannot be read now is not the same as none.
        """
        path = self._folder / f"{digest}.json"
        with disk.disk_errors(self._folder):
            try:
                content, moment = disk.read_bytes(path), disk.changed(path)
            except FileNotFoundError:
                return None
        lost = Job(digest, "", "", State.AMBIGUOUS, moment, moment, messages=("its record cannot be read",), lost=1)
        return _from_json(content) or lost

    def jobs(self) -> list[Job]:
        """Every record, the newest submission first.

        Raises
        ------
        CacheError
            The disk said no.
        """
        with disk.disk_errors(self._folder):
            names = disk.names(self._folder)
        found = [self.load(match[1]) for name in names if (match := _RECORD.fullmatch(name))]
        return sorted((job for job in found if job), key=lambda job: job.submitted, reverse=True)

    def asked(self, words: str, now: float) -> Job | None:
        """The newest unfinished report asked for in the same words, relative range and all.

        "The last 24 hours" of yesterday are another question: words count for twelve hours, as long as a call waits.
        """
        if not words:
            return None
        same = (job for job in self.jobs() if job.asked == words and job.unfinished)
        return next((job for job in same if now - job.submitted < WORDS_SECONDS), None)

    def save(self, job: Job, now: float) -> Job:
        """Write a record; on return it is on the disk.

        Raises
        ------
        CacheError
            The disk said no.
        """
        written = replace(job, updated=now, process=f"{os.getpid()}@{platform.node()}")
        with disk.disk_errors(self._folder):
            disk.make_private_folder(self._folder)
            disk.write_json(self._folder / f"{job.digest}.json", {"form": FORM, **asdict(written)})
        return written

    def remove(self, digest: str) -> None:
        """Drop the record of a query the service refused."""
        with disk.disk_errors(self._folder):
            disk.remove(self._folder / f"{digest}.json")

    def forget(self, digest: str, now: float) -> None:
        """Drop the record of a query that is over, with the personal data its filters may hold."""
        job = self.load(digest)
        if job is not None and job.is_over(now):
            self.remove(digest)

    def prune(self, now: float) -> None:
        """Drop records finished a month ago and queries given up a day ago; running ones stay, they hold a slot."""
        for job in self.jobs():
            kept = QUEUE_SECONDS if job.unfinished else KEEP_SECONDS
            # One without a text was not understood; it may be a newer version's.
            if job.text and job.is_over(now) and now - job.updated > kept:
                self.remove(job.digest)
        self.remove_strays(now - STRAY_SECONDS)

    def remove_strays(self, before: float) -> None:
        """Remove half-written records of killed kernels last changed before a Unix time: they hold filters, too."""
        with disk.disk_errors(self._folder):
            for name in disk.names(self._folder):
                with suppress(FileNotFoundError):
                    if name.endswith(disk.TEMPORARY) and disk.changed(self._folder / name) < before:
                        disk.remove(self._folder / name)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold the account's submissions back while this one is decided and sent.

        Raises
        ------
        CacheError
            The disk said no.
        """
        lock = self._lock("admission")
        try:
            _acquire(lock, timeout=-1)
            yield
        finally:
            # An interrupt may strike between taking it and knowing so.
            lock.release()

    def driver(self, digest: str) -> "Driver":
        """The right to drive a report; see :class:`Driver`."""
        return Driver(self._lock(digest))

    def is_driven(self, digest: str) -> bool:
        """Whether a living kernel drives a report or waits with it for a slot."""
        driver = self.driver(digest)
        try:
            return not driver.try_acquire()
        finally:
            driver.release()

    def _lock(self, name: str) -> FileLock:
        with disk.disk_errors(self._folder):
            disk.make_private_folder(self._folder)
        return _file_lock(self._folder / f"{name}.lock")


class Driver:
    """One kernel at a time polls, fetches and publishes a report; the others wait for it.

    Parameters
    ----------
    lock : FileLock
        Freed by the system when its process dies.
    """

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock
        self._sole = False

    @property
    def is_sole(self) -> bool:
        """Whether the system itself keeps every other kernel out: not so where its file locks do not work."""
        return self._sole and self._lock.is_locked

    def try_acquire(self) -> bool:
        """Take the right if nobody has it; at once.

        Raises
        ------
        CacheError
            The disk said no.
        """
        try:
            self._sole = _acquire(self._lock, timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Give the right back; harmless when it is not held."""
        self._lock.release()


def _file_lock(path: Path) -> FileLock:
    # Never a lock file that means "locked" by being there: a killed kernel would hold it for ever.
    return FileLock(path, mode=disk.FILE_MODE, fallback_to_soft=False)


def _acquire(lock: FileLock, timeout: float) -> bool:
    """Take a lock; False, with one warning, on a disk that has none: then kernels may do work twice, no more."""
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=timeout)
        if _excludes(path):
            return True
    except Timeout:  # an OSError too
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise disk.disk_refusal(error, path.parent) from error
    warnings.warn(
        f"file locks do not work in {path.parent}: kernels on this machine cannot wait for each other, and may "
        "submit and fetch the same query twice. Set INSIGHTS_CACHE_DIR to a local disk.",
        UserWarning,
        stacklevel=4,
    )
    return False


def _excludes(path: Path) -> bool:
    """Whether a lock that is held keeps a second one out: some network disks grant both."""
    second = _file_lock(path)
    try:
        second.acquire(timeout=0)
    except Timeout:
        return True
    finally:
        second.release()
    return False


def _from_json(content: bytes) -> Job | None:
    """A record from its JSON; None for anything else, also a newer form."""
    known = {field.name for field in fields(Job)}
    try:
        value: Any = json.loads(content)
        if not isinstance(value, dict) or value.get("form") != FORM:
            return None
        job = Job(**{name: inner for name, inner in value.items() if name in known})
        return replace(job, state=State(job.state), messages=tuple(job.messages))
    except (TypeError, ValueError, RecursionError):
        return None
