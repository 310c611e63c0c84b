"""A query from start to finish: the story of this package.

::

    submit   cache?  ─ yes ─►  a finished Report
             journal? ─ yes ─► the Report some kernel already asked for
             POST, its id on disk before anything else happens
    result   drive: poll ─► location ─► fetch and verify shards ─► publish      (one kernel; the others wait)
             read the published entry into a typed frame

Nothing is asked twice: a killed kernel's report is picked up by whoever asks the same question next.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pandas as pd

from insights_nb import memory
from insights_nb.account import Account
from insights_nb.admission import post
from insights_nb.cache import Entry
from insights_nb.catalog import type_of
from insights_nb.errors import CacheError, EmptyReportError, IntegrityError, ReportTooLargeError, Stopped
from insights_nb.frame import read_frame
from insights_nb.journal import Job, State
from insights_nb.progress import Display, Silence, Stage
from insights_nb.pursuit import Pursuit
from insights_nb.reading import DtypeBackend, Rows, chosen
from insights_nb.spec import Query
from insights_nb.waiting import EMPTY, WAIT_SECONDS, settle
from insights_nb.watch import Watch
from insights_nb.window import api_form

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

ATTEMPTS = 10  # of reading an entry that other kernels keep removing

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
        self._pursuit = Pursuit(account, query, job, entry, refresh)
        self.show = show
        self.query = query

    @property
    def id(self) -> str:
        """The service's id; empty while the query waits for a slot."""
        return self._pursuit.id

    def __repr__(self) -> str:
        start, end = self.query.window
        state = "on disk" if self._pursuit.entry else f"as {self.id}" if self.id else "waiting for a slot"
        return f"<insights report {state}: {api_form(start)} to {api_form(end)}, {', '.join(self.query.body['data'])}>"

    def status(self) -> str:
        """Where the report is: the service's own word, ``on disk``, or ``waiting for a slot``.

        Raises
        ------
        ApiError
            The service cannot be asked.
        """
        if self._pursuit.entry is not None:
            return "on disk"
        return self._account.client.status(self.id).word if self.id else Stage.WAITING.value

    def result(
        self,
        timeout: float | None = None,
        *,
        columns: Sequence[str] | None = None,
        on_empty: OnEmpty = "raise",
        dtype_backend: DtypeBackend = None,
    ) -> pd.DataFrame:
        """Wait for the report and read it.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for the service in all; None means twelve hours.
        columns : sequence of str or None
            Read only these of the columns asked for, in this order.
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
        only = chosen(self.query.columns, columns)

        def read(watch: Watch) -> pd.DataFrame:
            try:
                return self._using(watch, lambda entry, cached: self._read(entry, watch, cached, only, dtype_backend))
            except EmptyReportError:
                if on_empty == "raise":
                    raise
            types = {column: type_of(column) for column in self.query.columns}
            frame = read_frame([], self.query.columns, types, dtype_backend=dtype_backend, only=only)
            return self._told(frame, None, watch, False)

        return self._shown(timeout, read)

    def scan(self, timeout: float | None = None) -> "Dataset":
        """Wait for the report and return its rows as a lazy dataset, for reports larger than the memory.

        The rows stay on disk, in a columnar copy that is written while the report is fetched, or now where there is
        none: the first 2 GiB of CSV as they are, what follows compressed to about a third. duckdb and polars take the
        dataset as it is and read only the columns and rows they need.

        Parameters
        ----------
        timeout : float or None
            As in :meth:`result`.

        Returns
        -------
        pyarrow.dataset.Dataset
            Columns as asked: STRING → large_string, INTEGER → int64, BOOLEAN → bool, TIMESTAMP →
            timestamp[us, UTC]. It is good until the cache lets the report go.

        Raises
        ------
        EmptyReportError, CacheError, and others
            As :meth:`result`.

        Examples
        --------
        >>> rows = insights.submit(events="ApplicationExitEvent", last="30d").scan()  # doctest: +SKIP
        >>> duckdb.sql("SELECT ExitReason, count(*) FROM rows GROUP BY ALL")  # doctest: +SKIP
        >>> polars.scan_pyarrow_dataset(rows).group_by("ExitReason").len().collect()  # doctest: +SKIP
        """
        return self._shown(
            timeout,
            lambda watch: self._using(
                watch,
                lambda entry, cached: self._done(self._rows(entry, cached).dataset(), entry, watch, cached),
                to_scan=True,
            ),
        )

    def iter_chunks(
        self,
        rows: int = 1_000_000,
        timeout: float | None = None,
        *,
        columns: Sequence[str] | None = None,
        dtype_backend: DtypeBackend = None,
    ) -> Iterator[pd.DataFrame]:
        """Wait for the report and return an iterator over its rows, a frame at a time, in bounded memory.

        Parameters
        ----------
        rows : int, default 1,000,000
            Rows of each frame; the last has what is left.
        timeout, columns, dtype_backend
            As in :meth:`result`.

        Returns
        -------
        iterator of DataFrame
            As :meth:`result` returns it, piece by piece: the index goes on from one to the next. No row is handed
            out before all of the report was checked.

        Raises
        ------
        ValueError
            ``rows`` is less than one.
        EmptyReportError, CacheError, and others
            As :meth:`result`.
        """
        if rows < 1:
            raise ValueError("rows must be at least 1")
        only = chosen(self.query.columns, columns)

        def begin(entry: Entry, cached: bool) -> Iterator[pd.DataFrame]:
            return self._rows(entry, cached).chunks(rows, only, dtype_backend)

        return self._shown(
            timeout,
            lambda watch: self._using(
                watch, lambda entry, cached: self._done(begin(entry, cached), entry, watch, cached)
            ),
        )

    def _shown(self, timeout: float | None, work: Callable[[Watch], _T]) -> _T:
        """Do some work with the display open, and close it as the work ended."""
        display = self.show()
        watch = Watch(self._account.clock, display, WAIT_SECONDS if timeout is None else timeout)
        try:
            outcome = work(watch)
        except BaseException as error:
            failure = error
        else:
            display.close()
            return outcome
        if isinstance(failure, KeyboardInterrupt):
            # A fresh one: the frames of the old one hold the request, and with it the token.
            failure = Stopped(self._stopped())
        display.close(failure, self._stopped())
        try:
            raise failure
        finally:
            del failure  # it holds this frame, which holds it

    def _using(self, watch: Watch, use: Callable[[Entry, bool], _T], *, to_scan: bool = False) -> _T:
        """Use the entry on disk; where there is none, or none that is sound, obtain it first."""
        for attempt in range(ATTEMPTS):
            kept = self._pursuit.entry
            entry = kept or self._pursuit.obtain(watch, to_scan=to_scan)
            try:
                return use(entry, kept is not None)
            except (IntegrityError, CacheError) as error:
                # What was verified just now has not rotted, and a disk that says no does so to the next one, too.
                sound = kept is None or isinstance(error, CacheError)
                if (sound and self._account.cache.is_whole(entry)) or attempt == ATTEMPTS - 1:
                    raise
                # It rotted on the disk, or another kernel removed it: out of the way with it, and fetch it anew.
                self._pursuit.give_up(entry)
        raise AssertionError("the last attempt returns or raises")

    def _rows(self, entry: Entry, cached: bool) -> Rows:
        account = self._account
        cap, now = account.settings.cache_max_bytes, account.clock.now()
        return Rows(account.cache, entry, self.query.columns, cap, now, fresh=not cached)

    def _stopped(self) -> str:
        """What an interrupted user needs to know."""
        if not self.id:
            return "stopped waiting; the query has no slot on the service yet. Run the cell again to go on."
        return f"stopped waiting; report {self.id} is still running on the service. Run the cell again to pick it up."

    def _read(
        self, entry: Entry, watch: Watch, cached: bool, only: Sequence[str] | None, dtype_backend: DtypeBackend
    ) -> pd.DataFrame:
        """Read an entry into a frame that says where it came from."""
        self._require_memory(entry, len(only) / len(self.query.columns) if only is not None else 1.0)
        shards = len(entry.paths)
        watch.tell(
            stage=Stage.READING,
            report_id=self.id or None,
            shards=shards,
            bytes_total=entry.manifest.size,
            cached=cached,
        )
        frame = self._rows(entry, cached).frame(only, dtype_backend)
        if frame.empty:
            raise EmptyReportError(*EMPTY, report_id=self.id)
        return self._told(frame, entry, watch, cached)

    def _told(self, frame: pd.DataFrame, entry: Entry | None, watch: Watch, cached: bool) -> pd.DataFrame:
        """Write into a frame where it came from."""
        start, end = self.query.window
        manifest = entry.manifest if entry else None
        fetched = manifest.fetched if manifest else self._account.clock.now()
        frame.attrs["insights"] = {
            "query": self.query.body,
            "digest": self.query.digest,
            "report_id": self.id,
            "window": [api_form(start), api_form(end)],
            "rows": len(frame),
            "shards": len(manifest.shards) if manifest else 0,
            "fetched_at": pd.Timestamp(fetched, unit="s", tz="UTC").isoformat(timespec="seconds"),
            "settled": manifest is not None and manifest.expires is None,
            "cached": cached,
        }
        return self._done(frame, entry, watch, cached, columns=frame.shape[1])

    def _done(self, outcome: _T, entry: Entry | None, watch: Watch, cached: bool, **more: Any) -> _T:
        """Say that all is there."""
        manifest = entry.manifest if entry else None
        shards = len(manifest.shards) if manifest else 0
        now = self._account.clock.now()
        watch.tell(
            stage=Stage.DONE,
            report_id=self.id or None,
            rows=manifest.rows if manifest else 0,
            shards=shards,
            shards_done=shards,
            bytes_total=manifest.size if manifest else 0,
            cached=cached,
            age=max(0.0, now - manifest.fetched) if manifest else 0.0,
            **more,
        )
        return outcome

    def _require_memory(self, entry: Entry, share: float) -> None:
        """Say that a report is too large before it fills the memory and the kernel is killed."""
        manifest = entry.manifest
        needed, free = memory.needed(int(manifest.inflated * share)), memory.available()
        if needed > free:
            raise ReportTooLargeError(
                f"report {manifest.report_id} takes about {needed / 1e9:,.1f} GB of memory as a frame "
                f"({manifest.rows:,} rows, {manifest.inflated / 1e9:,.1f} GB of CSV); {free / 1e9:,.1f} GB are free.",
                "Read only some columns: query(…, columns=[…]); or query it where it is, with duckdb or polars: "
                "insights.submit(…).scan(); or take it piece by piece: insights.submit(…).iter_chunks(rows=…). "
                f"It is on disk: {entry.folder}",
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
    job = post(account, query, refresh=refresh)
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
