"""Reports asked for and not yet finished, on disk: what lets a restarted kernel pick one up.

One record per question (its digest), written before the POST and after every step that must not be lost::

    jobs/admission.lock     held while it is decided whether a query may be sent, and while it is sent
    jobs/<digest>.json      the record, replaced as a whole
    jobs/<digest>.lock      held by the kernel that drives the report; a dead kernel's lock is free

The service has no list of reports: an id that is not here is lost, and its report holds one of two slots.
"""

import errno
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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

    def settles(self, now: float) -> float:
        """Seconds until a query whose answer was lost may be sent again; 0 when it may."""
        return max(0.0, self.submitted + SETTLE_SECONDS - now) if self.state in UNCERTAIN else 0.0


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
        """The record of a query, or None when there is none that can be read."""
        return _from_json(disk.read_json(self._folder / f"{digest}.json"))

    def jobs(self) -> list[Job]:
        """Every readable record, the newest submission first."""
        names = [name for name in disk.names(self._folder) if name.endswith(".json") and not name.startswith(".")]
        found = [self.load(name.removesuffix(".json")) for name in names]
        return sorted((job for job in found if job), key=lambda job: job.submitted, reverse=True)

    def asked(self, words: str) -> Job | None:
        """The newest unfinished report asked for in the same words, relative range and all."""
        return next((job for job in self.jobs() if words and job.asked == words and job.unfinished), None)

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

    def forget(self, digest: str) -> None:
        """Drop the record of a query that is over, with the personal data its filters may hold."""
        job = self.load(digest)
        if job is not None and (not job.unfinished or job.state is State.WAITING):
            self.remove(digest)

    def prune(self, now: float) -> None:
        """Drop records finished a month ago and waits given up a day ago; running ones stay, they hold a slot."""
        for job in self.jobs():
            kept = QUEUE_SECONDS if job.state is State.WAITING else KEEP_SECONDS
            if (not job.unfinished or job.state is State.WAITING) and now - job.updated > kept:
                self.remove(job.digest)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold the account's submissions back while this one is decided and sent.

        Raises
        ------
        CacheError
            The disk said no.
        """
        lock = self._lock("admission")
        held = _acquire(lock, self._folder, timeout=-1)
        try:
            yield
        finally:
            if held:
                lock.release()

    def driver(self, digest: str) -> "Driver":
        """The right to drive a report; see :class:`Driver`."""
        return Driver(self._lock(digest))

    def is_driven(self, digest: str) -> bool:
        """Whether a living kernel drives a report or waits with it for a slot."""
        driver = self.driver(digest)
        free = driver.try_acquire()
        driver.release()
        return not free

    def _lock(self, name: str) -> FileLock:
        with disk.disk_errors(self._folder):
            disk.make_private_folder(self._folder)
        # Never a lock file that means "locked" by being there: a killed kernel would hold it for ever.
        return FileLock(self._folder / f"{name}.lock", mode=disk.FILE_MODE, fallback_to_soft=False)


class Driver:
    """One kernel at a time polls, fetches and publishes a report; the others wait for it.

    Parameters
    ----------
    lock : FileLock
        Freed by the system when its process dies.
    """

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    @property
    def is_sole(self) -> bool:
        """Whether the system itself keeps every other kernel out: not so where its file locks do not work."""
        return self._lock.is_locked

    def try_acquire(self) -> bool:
        """Take the right if nobody has it; at once.

        Raises
        ------
        CacheError
            The disk said no.
        """
        try:
            _acquire(self._lock, Path(self._lock.lock_file).parent, timeout=0)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Give the right back; harmless when it is not held."""
        self._lock.release()


def _acquire(lock: FileLock, folder: Path, timeout: float) -> bool:
    """Take a lock; False, with one warning, on a disk that has none: then kernels may do work twice, no more."""
    try:
        lock.acquire(timeout=timeout)
    except Timeout:  # an OSError too
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise disk.disk_refusal(error, folder) from error
        warnings.warn(
            f"file locks do not work in {folder}: kernels on this machine cannot wait for each other, and may "
            "submit and fetch the same query twice. Set INSIGHTS_CACHE_DIR to a local disk.",
            UserWarning,
            stacklevel=4,
        )
        return False
    return True


def _from_json(value: Any) -> Job | None:
    """A record from its JSON; None for anything else, also a newer form."""
    if not isinstance(value, dict) or value.get("form") != FORM:
        return None
    known = {field.name for field in fields(Job)}
    try:
        job = Job(**{name: inner for name, inner in value.items() if name in known})
        return replace(job, state=State(job.state), messages=tuple(job.messages))
    except (TypeError, ValueError):
        return None
