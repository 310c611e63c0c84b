"""What this machine has asked for and keeps: reports running and finished, and the cache. Asks no service."""

import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from insights_nb.cache import VERSION, Cache
from insights_nb.connect import account_in_use, is_demo
from insights_nb.errors import ConfigError, FrameError
from insights_nb.journal import Journal
from insights_nb.spec import Query
from insights_nb.upkeep import accounts, bytes_of, clear, clear_everything
from insights_nb.window import Length, parse_length


def jobs() -> pd.DataFrame:
    """Reports this machine has asked for, running and finished; the newest first. Asks nobody.

    Returns
    -------
    DataFrame
        ``report_id`` (str), ``state`` (str), ``submitted``, ``updated`` (datetime64[us, UTC]), ``events`` (str),
        ``start``, ``end`` (datetime64[us, UTC]; the range), ``messages`` (str), ``digest`` (str).
    """
    rows = [
        {
            "report_id": job.report_id,
            "state": job.state.value,
            "submitted": job.submitted,
            "updated": job.updated,
            **_question(job.text),
            "messages": "; ".join(job.messages),
            "digest": job.digest,
        }
        for job in account_in_use().journal.jobs()
    ]
    return _table(rows, ["report_id", "state", "submitted", "updated", "events", "start", "end", "messages", "digest"])


def cache_info() -> pd.DataFrame:
    """Reports on disk for this account, the newest first.

    Returns
    -------
    DataFrame
        ``report_id`` (str), ``fetched``, ``expires`` (datetime64[us, UTC]; NaT = does not), ``rows``, ``shards``,
        ``bytes`` (Int64; on disk, the columnar copy too), ``events`` (str), ``start``, ``end``
        (datetime64[us, UTC]), ``digest`` (str).
    """
    rows = [
        {
            "report_id": entry.manifest.report_id,
            "fetched": entry.manifest.fetched,
            "expires": entry.manifest.expires,
            "rows": entry.manifest.rows,
            "shards": len(entry.manifest.shards),
            "bytes": bytes_of(entry),
            **_question(entry.manifest.text),
            "digest": entry.manifest.digest,
        }
        for entry in account_in_use().cache.entries()
    ]
    return _table(
        rows, ["report_id", "fetched", "expires", "rows", "shards", "bytes", "events", "start", "end", "digest"]
    )


def clear_cache(*, account: str | None = None, older_than: Length | None = None, everything: bool = False) -> int:
    """Remove reports from disk; how many there were.

    Files are removed, not overwritten: on SSDs, copy-on-write disks and in backups their bytes may live on.

    Parameters
    ----------
    account : str, optional
        Folder of another account than the one in use, as ``everything`` and the cache folder show it.
    older_than : str or timedelta, optional
        Only reports fetched longer ago than this, such as ``"7d"``; finished and running ones of any age keep
        their records.
    everything : bool, default False
        Every account's reports and records. Running reports then hold their slots, and cannot be picked up any
        more: a warning names them.

    Raises
    ------
    CacheError
        The disk said no, or the folder is not ours.
    ConfigError
        The arguments contradict each other or cannot be read.
    """
    here = account_in_use()
    root = here.settings.cache_dir
    trouble, before = "", None
    if everything and (account or older_than is not None):
        trouble = "everything=True leaves no room for account= or older_than="
    elif account and account not in accounts(root):
        trouble = f'there is no account "{account}" in {root}; there are: {", ".join(accounts(root)) or "none"}'
    elif older_than is not None:
        try:
            before = here.clock.now() - parse_length(older_than).total_seconds()
        except ValueError as error:
            trouble = str(error)
    if trouble:
        raise ConfigError(f"{trouble}.", "Nothing was removed.")
    if everything:
        count = sum(len(Cache(root, name).entries()) for name in accounts(root))
        if running := clear_everything(root):
            warnings.warn(
                f"{len(running)} reports were still running and cannot be picked up any more: {', '.join(running)}",
                UserWarning,
                stacklevel=2,
            )
        return count
    if account:
        return clear(Cache(root, account), Journal(root / VERSION / account / "jobs"), here.clock.now(), before)[0]
    return clear(here.cache, here.journal, here.clock.now(), before)[0]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where this process is connected, what is running and what the cache holds.

    Parameters
    ----------
    rows : tuple of (str, str, str)
        What, its value, and where a setting came from.
    """

    rows: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<14}{value}{f'  ({origin})' if origin else ''}" for name, value, origin in self.rows)

    def _repr_html_(self) -> str:
        return _table_of(((name, value, f"({origin})" if origin else "") for name, value, origin in self.rows))


def connection(profile: str | None = None) -> Connection:
    """Where this process is connected, what is running and what the cache holds. Asks nobody."""
    account = account_in_use(profile)
    settings, now = account.settings, account.clock.now()
    running = [job for job in account.journal.jobs() if job.unfinished]
    entries = account.cache.entries()
    size = sum(map(bytes_of, entries))
    told = settings.origins.get
    going = ", ".join(f"{job.report_id or job.state.value} for {_length(now - job.submitted)}" for job in running)
    return Connection(
        (
            ("API", settings.api_url, "the local demo service" if is_demo() else told("api_url", "")),
            ("user", settings.username or "(not set)", told("username", "")),
            (
                "file server",
                f"{settings.sftp_host}:{settings.sftp_port}" if settings.sftp_host else "(not set)",
                told("sftp_host", ""),
            ),
            ("profile", settings.profile or "(none)", told("profile", "")),
            ("running", going or "nothing", ""),
            (
                "cache",
                f"{len(entries)} reports, {size / 1e6:,.1f} MB of {settings.cache_max_bytes / 1e9:,.0f} GB",
                told("cache_max_bytes", ""),
            ),
            ("cache folder", str(account.cache.folder), told("cache_dir", "")),
        )
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a frame came from, and how to get it again.

    Parameters
    ----------
    query : dict
        The exact JSON that was sent.
    report_id, digest : str
        The report's id on the service, and its name in the cache.
    window : tuple of str
        First and last moment of the range.
    rows, shards : int
        What was fetched.
    fetched_at : str
        When, UTC.
    settled : bool
        Whether the range was long over when it was fetched, so that the answer will not change.
    cached : bool
        Whether the frame was read from the cache.
    now : int
        Rows the frame has now.
    """

    query: dict[str, Any]
    report_id: str
    digest: str
    window: tuple[str, str]
    rows: int
    shards: int
    fetched_at: str
    settled: bool
    cached: bool
    now: int

    @property
    def cell(self) -> str:
        """A cell that gets the same rows again."""
        return f"%%insights df\n{_compact(self.query)}"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is known, each with its value in words."""
        files = f"{self.shards} file{'' if self.shards == 1 else 's'}"
        changed = "" if self.now == self.rows else f"; changed since, it has {self.now:,} now"
        open_ = "" if self.settled else ", not settled: the answer may still grow"
        return (
            ("report", self.report_id or "(none: no rows matched)"),
            ("range", f"{' to '.join(self.window)}{open_}"),
            ("fetched", f"{self.fetched_at}, {self.rows:,} rows in {files}{changed}"),
            ("read from", "the cache" if self.cached else "the service"),
            ("digest", self.digest),
        )

    def __repr__(self) -> str:
        return "\n".join([*(f"{name:<11}{value}" for name, value in self.facts), "", self.cell])

    def _repr_html_(self) -> str:
        return f"{_table_of(self.facts)}<pre>{escape(self.cell)}</pre>"


def info(df: pd.DataFrame) -> Origin:
    """Where a frame came from: the exact query, the report, its range, and a cell that gets it again.

    Parameters
    ----------
    df : DataFrame
        From ``query()`` or ``%%insights``, also filtered or sorted since.

    Returns
    -------
    Origin
        A table in a notebook. ``.query`` is the JSON that was sent, ``.cell`` the cell.

    Raises
    ------
    FrameError
        The frame does not say: it is none of ours, or lost its notes, as pandas lets them go when frames of
        different origin are put together.
    """
    told = df.attrs.get("insights")
    if not isinstance(told, dict) or not isinstance(told.get("query"), dict):
        raise FrameError(
            "this frame does not say where it came from.",
            "Frames of query() and %%insights do, until pandas drops their attrs (concat does). "
            "insights.jobs() lists what was asked.",
        )
    start, end = told.get("window") or ("?", "?")
    return Origin(
        query=told["query"],
        report_id=str(told.get("report_id") or ""),
        digest=str(told.get("digest") or ""),
        window=(str(start), str(end)),
        rows=int(told.get("rows") or 0),
        shards=int(told.get("shards") or 0),
        fetched_at=str(told.get("fetched_at") or "at an unknown time"),
        settled=bool(told.get("settled")),
        cached=bool(told.get("cached")),
        now=len(df),
    )


def _table_of(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a table without a head: names in the first column; everything escaped."""
    left = 'style="text-align:left"'
    body = "".join(
        f"<tr><th {left}>{escape(name)}</th>" + "".join(f"<td {left}>{escape(cell)}</td>" for cell in rest) + "</tr>"
        for name, *rest in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _compact(query: dict[str, Any]) -> str:
    """A query's JSON as a person would lay it out: a line a part and an event, long lists of fields folded."""
    parts = []
    for part, value in query.items():
        inner = _text(value)
        if part in ("data", "filters") and isinstance(value, dict) and value:
            inner = (
                "{\n" + ",\n".join(f"    {_text(name)}: {_folded(entry)}" for name, entry in value.items()) + "\n  }"
            )
        parts.append(f"  {_text(part)}: {inner}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _folded(entry: Any, width: int = 84) -> str:
    plain = _text(entry)
    if len(plain) + 8 <= width or not isinstance(entry, dict) or list(entry) != ["fields"]:
        return plain
    lines = [""]
    for field in entry["fields"]:
        if len(lines[-1]) + len(_text(field)) + 8 > width:
            lines.append("")
        lines[-1] += f"{_text(field)}, "
    return '{"fields": [\n      ' + "\n      ".join(lines).replace(", \n", ",\n").removesuffix(", ") + "\n    ]}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _length(seconds: float) -> str:
    minutes = max(0, int(seconds // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _question(text: str) -> dict[str, Any]:
    """Events and range of a query, for a table."""
    with suppress(ValueError, KeyError, AssertionError):
        asked = Query(text)
        start, end = asked.window
        return {"events": ", ".join(asked.body["data"]), "start": start.timestamp(), "end": end.timestamp()}
    return {"events": "", "start": None, "end": None}


def _table(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """Rows as a typed frame: the same dtypes for no rows as for many."""
    frame = pd.DataFrame(rows, columns=columns)
    for name in columns:
        if name in {"submitted", "updated", "fetched", "expires", "start", "end"}:
            seconds = pd.to_numeric(frame[name]).astype("float64")
            frame[name] = pd.to_datetime(seconds, unit="s", utc=True).dt.floor("s").astype("datetime64[us, UTC]")
        elif name in {"rows", "shards", "bytes"}:
            frame[name] = frame[name].astype("Int64")
        else:
            frame[name] = frame[name].astype("str")
    return frame
