"""A query from start to finish: the story of this package.

::

    submit   cache?  ─ yes ─►  a finished Report
             journal? ─ yes ─► the Report some kernel already asked for
             POST, its id on disk before anything else happens
    result   drive: poll ─► location ─► fetch and verify shards ─► publish      (one kernel; the others wait)
             read the published entry into a typed frame

Nothing is asked twice: a killed kernel's report is picked up by whoever asks the same question next.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from insights_nb import disk, memory
from insights_nb.account import Account
from insights_nb.admission import post
from insights_nb.cache import Entry, Manifest, expiry
from insights_nb.catalog import type_of
from insights_nb.errors import (
    CacheError,
    EmptyReportError,
    IntegrityError,
    ReportTooLargeError,
    UnknownReportError,
)
from insights_nb.frame import read_frame
from insights_nb.journal import Job, State
from insights_nb.progress import Display, Silence, Stage
from insights_nb.spec import Query
from insights_nb.transfer import fetch_shards
from insights_nb.upkeep import evict, sweep
from insights_nb.waiting import (
    EMPTY,
    WAIT_SECONDS,
    settle,
    timed_out,
    wait_for_completion,
    wait_for_location,
    wait_for_slot,
)
from insights_nb.watch import SLICE_SECONDS, Watch
from insights_nb.window import api_form

MISSING_SECONDS = 60.0

DtypeBackend = Literal["pyarrow"] | None
OnEmpty = Literal["raise", "frame"]


class Report:
    """A query that was asked: running on the service, or finished on disk.

    Made by :func:`submit`. Attributes are plain; everything that talks to the service is a method.
    """

    def __init__(
        self,
        account: Account,
        query: Query,
        *,
        job: Job | None = None,
        entry: Entry | None = None,
        refresh: bool = False,
        show: Callable[[], Display] = Silence,
    ) -> None:
        self._account = account
        self._job = job
        self._entry = entry
        self._refresh = refresh
        self._damaged: Manifest | None = None
        self._sole = True
        self.show = show
        self.query = query

    @property
    def id(self) -> str:
        """The service's id; empty while the query waits for a slot."""
        if self._entry is not None:
            return self._entry.manifest.report_id
        return self._job.report_id if self._job else ""

    def __repr__(self) -> str:
        start, end = self.query.window
        state = "on disk" if self._entry else f"as {self.id}" if self.id else "waiting for a slot"
        return f"<insights report {state}: {api_form(start)} to {api_form(end)}, {', '.join(self.query.body['data'])}>"

    def status(self) -> str:
        """Where the report is: the service's own word, ``on disk``, or ``waiting for a slot``.

        Raises
        ------
        ApiError
            The service cannot be asked.
        """
        if self._entry is not None:
            return "on disk"
        return self._account.client.status(self.id).word if self.id else Stage.WAITING.value

    def result(
        self,
        timeout: float | None = None,
        *,
        on_empty: OnEmpty = "raise",
        dtype_backend: DtypeBackend = None,
    ) -> pd.DataFrame:
        """Wait for the report and read it.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for the service in all; None means twelve hours.
        on_empty : {"raise", "frame"}
            What to do when no rows matched.
        dtype_backend : {"pyarrow"} or None
            As in pandas.

        Returns
        -------
        DataFrame
            One row an event, in no order promised by the service; columns as asked; STRING → ``str``,
            INTEGER → ``Int64``, BOOLEAN → ``boolean``, TIMESTAMP → ``datetime64[us, UTC]``. ``attrs["insights"]``
            says what it is and where it came from.

        Raises
        ------
        ReportTimeoutError
            Time is up; the report goes on and the same query picks it up.
        EmptyReportError, ReportFailedError, BusyError, ApiError, TransferError, CacheError, FrameError
            As their names say.
        """
        display = self.show()
        watch = Watch(self._account.clock, display, WAIT_SECONDS if timeout is None else timeout)
        try:
            frame = self._frame(watch, on_empty, dtype_backend)
        except BaseException as error:
            failure = error
        else:
            display.close()
            return frame
        if isinstance(failure, KeyboardInterrupt):
            # A fresh one: the frames of the old one hold the request, and with it the token.
            failure = KeyboardInterrupt(self._stopped())
        display.close(failure, self._stopped())
        try:
            raise failure
        finally:
            del failure  # it holds this frame, which holds it

    def _frame(self, watch: Watch, on_empty: OnEmpty, dtype_backend: DtypeBackend) -> pd.DataFrame:
        kept = self._entry
        if kept is not None:
            try:
                self._account.cache.check(kept)
                return self._read(kept, watch, True, on_empty, dtype_backend)
            except (IntegrityError, CacheError):
                # It rotted on the disk, or another kernel removed it: out of the way with it, and fetch it anew.
                self._account.cache.quarantine(kept)
                self._entry, self._damaged = None, kept.manifest
        try:
            entry = self._obtain(watch)
        except EmptyReportError:
            if on_empty == "raise":
                raise
            return self._read(None, watch, False, on_empty, dtype_backend)
        return self._read(entry, watch, False, on_empty, dtype_backend)

    def _stopped(self) -> str:
        """What an interrupted user needs to know."""
        if not self.id:
            return "stopped waiting; the query has no slot on the service yet. Run the cell again to go on."
        return f"stopped waiting; report {self.id} is still running on the service. Run the cell again to pick it up."

    def _obtain(self, watch: Watch) -> Entry:
        """The published entry: by driving the report ourselves, or by waiting for the kernel that does."""
        account = self._account
        with self._driving(watch) as self._sole:
            wanted = self.id if self._refresh else ""
            found = account.cache.find(self.query.digest, account.clock.now(), wanted)
            if found is None:
                found = self._fetched_again(watch) or self._pursued(watch)
        self._entry = found
        return found

    def _pursued(self, watch: Watch) -> Entry:
        """The entry of a report we see through ourselves."""
        self._job = self._job or wait_for_slot(self._account, self.query, watch)
        wait_for_completion(self._account, self._job, watch)
        return self._fetch(self._job, watch)

    def _fetched_again(self, watch: Watch) -> Entry | None:
        """The files of a damaged entry once more, where the service and the file server still have them."""
        damaged = self._damaged
        if damaged is None:
            return None
        job = Job(damaged.digest, damaged.text, self.query.asked, State.READY, damaged.submitted, 0, damaged.report_id)
        with suppress(UnknownReportError, IntegrityError):
            return self._fetch(job, watch)
        return None

    @contextmanager
    def _driving(self, watch: Watch) -> Iterator[bool]:
        """Hold the right to drive the report; yields whether every other kernel is kept out."""
        driver = self._account.journal.driver(self.query.digest)
        try:
            while not driver.try_acquire():
                watch.tell(stage=Stage.FOLLOWING, report_id=self.id or None)
                if not watch.pause(SLICE_SECONDS):
                    raise timed_out(self.id, "another kernel still works on it")
            yield driver.is_sole
        finally:
            driver.release()

    def _fetch(self, job: Job, watch: Watch) -> Entry:
        """Fetch and verify every shard, then publish them as one entry."""
        account = self._account
        remote = wait_for_location(account, job, watch)
        access = account.access()
        watch.tell(stage=Stage.DOWNLOADING, shards=len(remote), shards_done=0, report_id=job.report_id)
        staging = account.cache.staging(self.query.digest)

        def observe(done: int, received: int, total: int) -> None:
            watch.tell(stage=Stage.DOWNLOADING, shards_done=done, bytes_done=received, bytes_total=total)

        until = watch.elapsed() + MISSING_SECONDS
        while True:
            leftovers = account.cache.leftovers(self.query.digest, staging)
            try:
                facts = fetch_shards(access, remote, staging, observe=observe, adopt=leftovers)
                break
            except IntegrityError as error:
                # A file server behind the service may show a listed file a little later.
                if not error.missing or watch.elapsed() > until or not watch.pause(2.0):
                    raise
            remote = wait_for_location(account, job, watch)
        now = account.clock.now()
        manifest = Manifest(
            digest=self.query.digest,
            text=self.query.text,
            report_id=job.report_id,
            submitted=job.submitted,
            fetched=now,
            expires=expiry(self.query.window[1], job.submitted, now),
            shards=(),
        )
        entry = account.cache.publish(staging, manifest, facts, sweep=self._sole)
        settle(account, job, State.DONE)
        # What cannot be tidied up now is with the next report; this one is there.
        with suppress(CacheError):
            evict(account.cache, account.settings.cache_max_bytes, entry, now)
            sweep(account.cache, now)
            account.journal.prune(now)
        return entry

    def _read(
        self, entry: Entry | None, watch: Watch, cached: bool, on_empty: OnEmpty, dtype_backend: DtypeBackend
    ) -> pd.DataFrame:
        """Read an entry, or nothing at all, into a frame that says where it came from."""
        paths: list[Path] = entry.paths if entry else []
        manifest = entry.manifest if entry else None
        size = manifest.size if manifest else 0
        if manifest:
            self._require_memory(manifest, paths[0].parent if paths else Path())
        watch.tell(stage=Stage.READING, report_id=self.id or None, shards=len(paths), bytes_total=size, cached=cached)
        types = {column: type_of(column) for column in self.query.columns}
        rows = manifest.rows if manifest else 0
        with disk.disk_errors(self._account.cache.folder):
            frame = read_frame(paths, self.query.columns, types, dtype_backend=dtype_backend, rows=rows)
        if frame.empty and on_empty == "raise":
            raise EmptyReportError(*EMPTY, report_id=self.id)
        start, end = self.query.window
        fetched = manifest.fetched if manifest else self._account.clock.now()
        frame.attrs["insights"] = {
            "query": self.query.body,
            "digest": self.query.digest,
            "report_id": self.id,
            "window": [api_form(start), api_form(end)],
            "rows": len(frame),
            "shards": len(paths),
            "fetched_at": pd.Timestamp(fetched, unit="s", tz="UTC").isoformat(timespec="seconds"),
            "settled": manifest is not None and manifest.expires is None,
            "cached": cached,
        }
        watch.tell(
            stage=Stage.DONE,
            report_id=self.id or None,
            rows=len(frame),
            columns=frame.shape[1],
            shards=len(paths),
            shards_done=len(paths),
            bytes_total=size,
            cached=cached,
            age=max(0.0, self._account.clock.now() - fetched),
        )
        return frame

    def _require_memory(self, manifest: Manifest, folder: Path) -> None:
        """Say that a report is too large before it fills the memory and the kernel is killed."""
        needed, free = memory.needed(manifest.inflated), memory.available()
        if needed > free:
            raise ReportTooLargeError(
                f"report {manifest.report_id} takes about {needed / 1e9:,.1f} GB of memory as a frame "
                f"({manifest.rows:,} rows, {manifest.inflated / 1e9:,.1f} GB of CSV); {free / 1e9:,.1f} GB are free.",
                f"Ask for fewer fields or a shorter range, or free some memory. It is on disk: {folder}",
                report_id=manifest.report_id,
            )


def submit(account: Account, query: Query, *, refresh: bool = False, show: Callable[[], Display] = Silence) -> Report:
    """Find a query's report on disk or in the journal, or send the query; returns at once.

    Parameters
    ----------
    account : Account
        Whose.
    query : Query
        What.
    refresh : bool, default False
        Ask the service anew although the cache has an answer. A report that is still running is new enough.
    show : callable
        Makes the display of each ``result()``.

    Returns
    -------
    Report
        With an empty ``id`` when every slot is taken; its ``result()`` waits for one.

    Raises
    ------
    QueryError, ApiError, CacheError
        The query was not sent, or was refused.
    """
    words = account.journal.asked(query.asked, account.clock.now())
    if words is not None and words.state is not State.WAITING:
        query = replace(query, text=words.text)
    account.cache.require_ours()
    _catch_up(account, query)
    entry = None if refresh else account.cache.find(query.digest, account.clock.now())
    if entry is not None:
        return Report(account, query, entry=entry, show=show)
    job = post(account, query)
    return Report(account, query, job=job if job.report_id else None, refresh=refresh, show=show)


def _catch_up(account: Account, query: Query) -> None:
    """Write down that a report is done whose kernel died between publishing it and saying so.

    Else it would be picked up, and fetched, once more when the entry has expired.
    """
    job = account.journal.load(query.digest)
    if job is not None and job.state is State.READY:
        # On a read-only disk what is there is still read.
        with suppress(CacheError):
            if account.cache.find(query.digest, account.clock.now(), job.report_id):
                settle(account, job, State.DONE)
