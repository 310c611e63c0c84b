"""What a notebook cell calls. Works the same in a script, without IPython."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from insights_nb import report as pipeline
from insights_nb.account import Account
from insights_nb.body import Body, read_body
from insights_nb.catalog import Schema
from insights_nb.connect import account_in_use
from insights_nb.errors import InsightsError, QueryError, Stopped
from insights_nb.gathering import Part, gather_parts
from insights_nb.reading import DtypeBackend, chosen
from insights_nb.report import OnEmpty, Report
from insights_nb.spec import Events, Query, build_query
from insights_nb.widgets import display_for
from insights_nb.window import Length, Moment


def query(
    query: Body | None = None,
    /,
    *,
    events: Events | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: Length | None = None,
    where: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    refresh: bool = False,
    timeout: float | None = None,
    progress: str = "auto",
    columns: Sequence[str] | None = None,
    on_empty: OnEmpty = "raise",
    dtype_backend: DtypeBackend = None,
    profile: str | None = None,
) -> pd.DataFrame:
    """Ask the service, wait, and return the rows.

    The same query is answered from the disk cache, and a report that is still running (asked for by a kernel
    that was stopped, killed, or is another one on this machine) is picked up instead of being submitted again.

    Parameters
    ----------
    query : dict, str or Path, optional
        The API's own JSON: a mapping, JSON text, or the path of a ``.json`` file. It may leave ``timestamp`` out
        where ``last``, or ``since`` and ``until``, say the range.
    events : str, list of str, or dict of str to list of str
        Events to fetch, and the fields of each; a name alone means every field. Instead of ``query``.
    since, until : str, datetime, Timestamp or date
        The range, both ends inclusive: ISO text, or relative as ``"-24h"`` and ``"now"``. Without an offset it is
        UTC. ``until`` defaults to now. Resolved to whole seconds before anything else happens.
    last : str or timedelta
        The range from that long ago until now: ``"24h"``, ``"7d"``.
    where : dict
        Keep matching rows: ``{"FlowId": "5dcf…"}``, ``{"EventVersion": {"$gt": 1}}``, or by event
        ``{"ApplicationExitEvent": {"ExitReason": "Busy"}}``. Rows of a session may be missing then; to keep
        whole sessions use ``scope``.
    scope : dict
        Keep every row, in the range, of the sessions that have a matching row; same form as ``where``.
    refresh : bool, default False
        Ask the service anew although the cache has an answer.
    timeout : float, optional
        Seconds to wait for the service in all; twelve hours unless said.
    progress : {"auto", "widget", "text", "line", "none"}
        How to show progress.
    columns : list of str, optional
        Read only these of the fields asked for, in this order. It changes nothing of what is fetched and cached:
        another call may read others without asking the service.
    on_empty : {"raise", "frame"}
        What to do when no rows match: raise, or return an empty frame with the right columns.
    dtype_backend : {"pyarrow"}, optional
        Arrow dtypes, as in pandas.
    profile : str, optional
        Profile of the configuration file to use for this call.

    Returns
    -------
    DataFrame
        One row an event, columns in the order asked, rows in no promised order, a RangeIndex. STRING → ``str``
        (``"0012"`` and ``"+1555…"`` stay as they are), INTEGER → ``Int64``, BOOLEAN → ``boolean``, TIMESTAMP →
        ``datetime64[us, UTC]``. ``attrs["insights"]`` holds the query, its digest, the report id, the window, the
        number of rows and shards, when it was fetched and whether it came from the cache.

    Raises
    ------
    QueryError
        The query does not fit the schema; nothing was sent, and every problem is listed.
    EmptyReportError, ReportFailedError, ReportTimeoutError, BusyError, AuthError, ApiError
        The service's side.
    HostKeyError, IntegrityError, TransferError
        The file server's side.
    CacheError, FrameError, ConfigError
        This side.

    Examples
    --------
    >>> insights.query(events={"ApplicationExitEvent": ["SessionId", "ExitReason"]}, last="24h")  # doctest: +SKIP
    """
    return _submitted(profile, progress, refresh, columns, (query, events, since, until, last, where, scope)).result(
        timeout, columns=columns, on_empty=on_empty, dtype_backend=dtype_backend
    )


def submit(
    query: Body | None = None,
    /,
    *,
    events: Events | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: Length | None = None,
    where: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    refresh: bool = False,
    progress: str = "auto",
    profile: str | None = None,
) -> Report:
    """Start a query and return at once; arguments as :func:`query`.

    Returns
    -------
    Report
        ``.id``, ``.query``, ``.status()``, and ``.result()``, which waits and returns the frame. For a report larger
        than the memory, ``.scan()`` and ``.iter_chunks()``.

    Raises
    ------
    QueryError, ApiError, CacheError, ConfigError
        The query was not sent, or was refused.
    """
    return _submitted(profile, progress, refresh, None, (query, events, since, until, last, where, scope))


def _submitted(
    profile: str | None, progress: str, refresh: bool, columns: Sequence[str] | None, question: tuple[Any, ...]
) -> Report:
    """Start a query; whatever is wrong with the call is said before anything is sent."""
    display_for(progress)
    account = account_in_use(profile)
    asked = _checked(account, *question)
    chosen(asked.columns, columns)
    stopped = False
    try:
        return pipeline.submit(account, asked, refresh=refresh, show=partial(display_for, progress))
    except KeyboardInterrupt:
        stopped = True
    assert stopped  # noqa: S101 - for the reader; only an interrupt comes here
    # A fresh one: the frames of the old one hold the request, and with it the token.
    raise Stopped("stopped; what the service took is written down. Run the cell again to pick it up.")


def gather(
    *queries: Report | Body,
    since: Moment | None = None,
    until: Moment | None = None,
    last: Length | None = None,
    refresh: bool = False,
    timeout: float | None = None,
    progress: str = "auto",
    on_empty: OnEmpty = "raise",
    dtype_backend: DtypeBackend = None,
    profile: str | None = None,
) -> list[pd.DataFrame]:
    """Ask several queries at once, and wait for all of them in one panel.

    Nothing is sent before every query has been checked, and each distinct one is sent once. The service takes two
    at a time; the others wait for their turn. Stop keeps all of them: run the cell again.

    Parameters
    ----------
    *queries : Report, dict, str or Path
        What :func:`submit` returned, or the API's own JSON as in :func:`query`.
    since, until, last
        The range of the queries whose JSON has no ``timestamp``, as in :func:`query`.
    refresh, timeout, progress, on_empty, dtype_backend, profile
        As in :func:`query`, for every one of them.

    Returns
    -------
    list of DataFrame
        In the order of the queries, each as :func:`query` returns it.

    Raises
    ------
    QueryError
        One of them does not fit the schema; nothing was sent.
    InsightsError
        The first error, after all have ended. Its notes say which query it was and which others failed; the frames
        of those that came through are in the cache.

    Examples
    --------
    >>> exits, keys = insights.gather(
    ...     {"data": {"ApplicationExitEvent": {"fields": ["SessionId", "ExitReason"]}}},
    ...     {"data": {"DtmfEvent": {"fields": ["SessionId", "ErrorReason"]}}},
    ...     last="24h",
    ... )  # doctest: +SKIP
    """
    display_for(progress)  # a wrong mode is refused before anything is sent
    account, now = account_in_use(profile), None
    asked: list[Report | Query] = []
    for number, item in enumerate(queries, 1):
        if isinstance(item, Report):
            asked.append(item)
            continue
        with _naming(f"query {number} of {len(queries)}"):
            if not isinstance(item, Mapping | str | Path):
                raise QueryError(["gather takes its queries one by one"], "Write gather(*queries).")
            body = read_body(item)
            span = (None, None, None) if "timestamp" in body else (since, until, last)
            now = now or datetime.fromtimestamp(account.clock.now(), UTC)
            asked.append(_checked(account, body, None, *span, None, None, now))
    parts: dict[Report | str, Part] = {}
    order = [one if isinstance(one, Report) else one.digest for one in asked]
    for number, (key, one) in enumerate(zip(order, asked, strict=True), 1):
        if key not in parts:
            query = one.query if isinstance(one, Report) else one
            name = f"{number}/{len(queries)} {', '.join(query.body['data'])}"
            parts[key] = _part(name, one, account, refresh)
    gather_parts(list(parts.values()), progress, timeout=timeout, on_empty=on_empty, dtype_backend=dtype_backend)
    frames = [parts[key].frame for key in order]
    # One query asked twice gives two frames: changing one must not change the other.
    return [frame.copy(deep=False) for frame in frames if frame is not None]


def _part(name: str, one: Report | Query, account: Account, refresh: bool) -> Part:
    """A report to gather; a query is sent now, and what keeps it from being sent is kept for later."""
    if isinstance(one, Report):
        return Part(name, one)
    try:
        return Part(name, pipeline.submit(account, one, refresh=refresh))
    except InsightsError as error:
        return Part(name, None, error=error)


@contextmanager
def _naming(which: str) -> Iterator[None]:
    """Note on an error which of several queries it is about."""
    try:
        yield
    except InsightsError as error:
        error.add_note(f"This was {which}.")
        raise


def schema(*, refresh: bool = False, profile: str | None = None) -> Schema:
    """Events and fields that may be asked for; a table in a notebook.

    Parameters
    ----------
    refresh : bool, default False
        Ask the service although a list younger than a day is on disk.
    profile : str, optional
        Profile of the configuration file to use.
    """
    return account_in_use(profile).schema(fresh=refresh)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a query would send, and what the cache says; nothing was sent.

    Parameters
    ----------
    text : str
        The exact JSON, indented.
    digest : str
        Its name in the cache.
    cached : str
        Whether the cache has it, in a sentence.
    """

    text: str
    digest: str
    cached: str

    def __repr__(self) -> str:
        return f"{self.text}\n\ndigest {self.digest}\n{self.cached}\nNothing was sent."

    def _repr_html_(self) -> str:
        return (
            f"<pre>{escape(self.text)}</pre><p>digest <code>{escape(self.digest)}</code><br>"
            f"{escape(self.cached)}<br>Nothing was sent.</p>"
        )


def dry_run(
    query: Body | None = None,
    /,
    *,
    events: Events | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: Length | None = None,
    where: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    profile: str | None = None,
) -> DryRun:
    """Check a query against the schema and show what would be sent; arguments as :func:`query`.

    Raises
    ------
    QueryError
        With everything that is wrong with the query.
    """
    account = account_in_use(profile)
    asked = _checked(account, query, events, since, until, last, where, scope)
    now = account.clock.now()
    entry = account.cache.find(asked.digest, now)
    job = account.journal.load(asked.digest)
    if entry is not None:
        cached = f"In the cache: {entry.manifest.rows:,} rows, fetched {_ago(now - entry.manifest.fetched)} ago."
    elif job is not None and job.unfinished:
        cached = f"Not in the cache, but already {job.state.value} as {job.report_id or '(no id yet)'}."
    else:
        cached = "Not in the cache."
    return DryRun(json.dumps(asked.body, indent=2, ensure_ascii=False), asked.digest, cached)


def _checked(
    account: Account,
    body: Body | None,
    events: Events | None,
    since: Moment | None,
    until: Moment | None,
    last: Length | None,
    where: Mapping[str, Any] | None,
    scope: Mapping[str, Any] | None,
    now: datetime | None = None,
) -> Query:
    moment = now or datetime.fromtimestamp(account.clock.now(), UTC)
    return account.check(
        lambda known: build_query(
            body, known, events=events, since=since, until=until, last=last, where=where, scope=scope, now=moment
        )
    )


def _ago(seconds: float) -> str:
    minutes = max(0, int(seconds // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} d"
