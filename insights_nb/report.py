"""A query from start to finish: the story of this package.

::

    submit   cache?  ─ yes ─►  a finished Report
             journal? ─ yes ─► the Report some kernel already asked for
             POST, its id on disk before anything else happens
    result   drive: poll ─► location ─► fetch and verify shards ─► publish      (one kernel; the others wait)
             read the published entry into a typed frame

Nothing is asked twice: a killed kernel's report is picked up by whoever asks the same question next.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import pandas as pd

from insights_nb.account import Account
from insights_nb.admission import post
from insights_nb.answers import Outcome, Status
from insights_nb.cache import Entry, Manifest, expiry
from insights_nb.catalog import type_of
from insights_nb.errors import (
    ApiError,
    BusyError,
    EmptyReportError,
    ReportFailedError,
    ReportTimeoutError,
    UnknownReportError,
)
from insights_nb.frame import read_frame
from insights_nb.journal import Job, State
from insights_nb.progress import Display, Silence, Stage
from insights_nb.spec import Query
from insights_nb.transfer import fetch_shards
from insights_nb.watch import SLICE_SECONDS, Watch
from insights_nb.window import api_form

WAIT_SECONDS = 12 * 3600.0
SLOT_SECONDS = 3600.0
LOCATION_SECONDS = 300.0
GRACE_SECONDS = 60.0
LOST_POLLS = 20

DtypeBackend = Literal["pyarrow"] | None
OnEmpty = Literal["raise", "frame"]
_T = TypeVar("_T")


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
        self._show = show
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
        display = self._show()
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
        raise failure

    def _frame(self, watch: Watch, on_empty: OnEmpty, dtype_backend: DtypeBackend) -> pd.DataFrame:
        entry, cached = self._entry, self._entry is not None
        try:
            entry = entry or self._obtain(watch)
        except EmptyReportError:
            if on_empty == "raise":
                raise
        return self._read(entry, watch, cached, on_empty, dtype_backend)

    def _stopped(self) -> str:
        """What an interrupted user needs to know."""
        if not self.id:
            return "stopped waiting; the query has no slot on the service yet. Run the cell again to go on."
        return f"stopped waiting; report {self.id} goes on on the service. Run the cell again to pick it up."

    def _obtain(self, watch: Watch) -> Entry:
        """The published entry: by driving the report ourselves, or by waiting for the kernel that does."""
        account = self._account
        with self._driving(watch):
            wanted = self.id if self._refresh else ""
            found = account.cache.find(self.query.digest, account.clock.now(), wanted)
            if found is None:
                if self._job is None:
                    self._submit_when_free(watch)
                self._await_completion(watch)
                found = self._fetch(self._await_location(watch), watch)
        self._entry = found
        return found

    @contextmanager
    def _driving(self, watch: Watch) -> Iterator[None]:
        driver = self._account.journal.driver(self.query.digest)
        while not driver.try_acquire():
            watch.tell(stage=Stage.FOLLOWING, report_id=self.id or None)
            if not watch.pause(SLICE_SECONDS):
                raise self._timed_out("another kernel still works on it")
        try:
            yield
        finally:
            driver.release()

    def _submit_when_free(self, watch: Watch) -> None:
        """Submit, waiting for a slot as long as the user waits and no longer than an hour."""
        bound = watch.elapsed() + SLOT_SECONDS
        pause = 2.0
        while True:
            try:
                self._job = post(self._account, self.query)
            except BusyError:
                if watch.elapsed() + pause > bound:
                    raise
                running = sum(job.unfinished for job in self._account.journal.jobs())
                watch.tell(stage=Stage.WAITING, note=f"{running} of ours running; the service takes 2 at a time")
            else:
                return
            if not watch.pause(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load, guards nothing
                raise self._timed_out("no slot came free")
            pause = min(pause * 1.5, 60.0)

    def _await_completion(self, watch: Watch) -> None:
        def ended() -> Status | None:
            status = self._account.client.status(self.id)
            return None if status.outcome is Outcome.RUNNING else status

        status = self._await(ended, watch, WAIT_SECONDS, "the service still works on it")
        if status.outcome is not Outcome.COMPLETED:
            raise self._failure(status)

    def _await_location(self, watch: Watch) -> list[str]:
        """The shards' paths: the service may say Completed a moment before it says where."""
        where = partial(self._account.client.location, self.id)
        return self._await(where, watch, LOCATION_SECONDS, "it is complete, but the service does not say where it is")

    def _await(self, ask: Callable[[], _T | None], watch: Watch, bound: float, why: str) -> _T:
        """Ask until there is an answer; a lost answer is asked for again, and the report is never given up."""
        job, lost, until = self._running_job(), 0, watch.elapsed() + bound
        while True:
            ran = max(0.0, self._account.clock.now() - job.submitted)
            watch.tell(stage=Stage.RUNNING, report_id=job.report_id)
            try:
                answer = ask()
                lost = 0
            except UnknownReportError:
                # Right after our own POST the service may not see the report yet.
                if ran > GRACE_SECONDS:
                    self._settle(State.LOST)
                    raise
                answer = None
            except ApiError as error:
                lost += 1
                if not error.temporary or lost > LOST_POLLS:
                    raise
                answer = None
            if answer is not None:
                return answer
            if watch.elapsed() > until or not watch.pause(poll_pause(ran, random.random())):  # noqa: S311
                raise self._timed_out(why)

    def _fetch(self, remote: list[str], watch: Watch) -> Entry:
        """Fetch and verify every shard, then publish them as one entry."""
        account, job = self._account, self._running_job()
        watch.tell(stage=Stage.DOWNLOADING, shards=len(remote), shards_done=0, report_id=job.report_id)
        staging = account.cache.staging(self.query.digest)

        def observe(done: int, received: int, total: int) -> None:
            watch.tell(stage=Stage.DOWNLOADING, shards_done=done, bytes_done=received, bytes_total=total)

        leftovers = account.cache.leftovers(self.query.digest, staging)
        facts = fetch_shards(account.access(), remote, staging, observe=observe, adopt=leftovers)
        now = account.clock.now()
        manifest = Manifest(
            digest=self.query.digest,
            text=self.query.text,
            report_id=job.report_id,
            submitted=job.submitted,
            fetched=now,
            expires=expiry(self.query.window[1], now),
            shards=(),
        )
        entry = account.cache.publish(staging, manifest, facts)
        self._settle(State.DONE)
        account.cache.evict(account.settings.cache_max_bytes, entry)
        account.journal.prune(now)
        return entry

    def _read(
        self, entry: Entry | None, watch: Watch, cached: bool, on_empty: OnEmpty, dtype_backend: DtypeBackend
    ) -> pd.DataFrame:
        """Read an entry, or nothing at all, into a frame that says where it came from."""
        paths: list[Path] = entry.paths if entry else []
        manifest = entry.manifest if entry else None
        size = manifest.size if manifest else 0
        watch.tell(stage=Stage.READING, report_id=self.id or None, shards=len(paths), bytes_total=size, cached=cached)
        types = {column: type_of(column) for column in self.query.columns}
        rows = manifest.rows if manifest else 0
        frame = read_frame(paths, self.query.columns, types, dtype_backend=dtype_backend, rows=rows)
        if frame.empty and on_empty == "raise":
            raise EmptyReportError(*_EMPTY, report_id=self.id)
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

    def _running_job(self) -> Job:
        if self._job is None:
            raise AssertionError("a report is polled only after it was submitted")
        return self._job

    def _settle(self, state: State, messages: tuple[str, ...] = ()) -> None:
        """Write down how the report ended."""
        job = replace(self._running_job(), state=state, messages=messages)
        self._job = self._account.journal.save(job, self._account.clock.now())

    def _failure(self, status: Status) -> Exception:
        """The error for a report that ended without files, in the service's own words."""
        said = "; ".join(status.messages)
        if status.is_empty:
            self._settle(State.EMPTY, status.messages)
            message = f'{_EMPTY[0]} The service said: "{said}".'
            return EmptyReportError(message, _EMPTY[1], report_id=self.id, messages=status.messages)
        self._settle(State.FAILED, status.messages)
        verb = "canceled" if status.outcome is Outcome.CANCELED else "could not make"
        return ReportFailedError(
            f"the service {verb} report {self.id}" + (f': "{said}".' if said else " and gave no reason."),
            "A narrower range or fewer fields often help: a query that takes too long is canceled.",
            report_id=self.id,
            messages=status.messages,
        )

    def _timed_out(self, why: str) -> ReportTimeoutError:
        where = f"report {self.id} goes on on the service" if self.id else "the query was not taken by the service"
        return ReportTimeoutError(
            f"we stopped waiting: {why}; {where}.",
            "Ask the same query again to pick it up; timeout= says how long to wait.",
            report_id=self.id or None,
        )


_EMPTY = (
    "the query matched no rows.",
    'Widen the range, loosen the filters, or say on_empty="frame" to get an empty table.',
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
    words = account.journal.asked(query.asked)
    if words is not None and words.report_id:
        query = replace(query, text=words.text)
    entry = None if refresh else account.cache.find(query.digest, account.clock.now())
    if entry is not None:
        return Report(account, query, entry=entry, show=show)
    try:
        job = post(account, query)
    except BusyError:
        return Report(account, query, refresh=refresh, show=show)
    return Report(account, query, job=job, refresh=refresh, show=show)


def poll_pause(ran: float, chance: float) -> float:
    """Seconds until the next look at a running report.

    Often at first, then after a twelfth of the time it has run so far, at most a minute; spread by a fifth either
    way so that kernels do not ask in step.

    Parameters
    ----------
    ran : float
        Seconds since it was submitted.
    chance : float
        A random number from 0 to 1.
    """
    return min(max(0.3, ran / 12), 60.0) * (0.8 + 0.4 * chance)
