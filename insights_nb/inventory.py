"""What this machine has asked for and keeps: reports running and finished, and the cache. Asks no service."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from insights_nb.cache import VERSION, Cache
from insights_nb.connect import account_in_use, is_demo
from insights_nb.errors import ConfigError
from insights_nb.journal import Journal
from insights_nb.spec import Query
from insights_nb.upkeep import accounts, clear, clear_everything
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
        ``bytes`` (Int64), ``events`` (str), ``start``, ``end`` (datetime64[us, UTC]), ``digest`` (str).
    """
    rows = [
        {
            "report_id": entry.manifest.report_id,
            "fetched": entry.manifest.fetched,
            "expires": entry.manifest.expires,
            "rows": entry.manifest.rows,
            "shards": len(entry.manifest.shards),
            "bytes": entry.manifest.size,
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
        return clear(Cache(root, account), Journal(root / VERSION / account / "jobs"), before)[0]
    return clear(here.cache, here.journal, before)[0]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where this process is connected, what is running and what the cache holds."""

    rows: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<14}{value}" for name, value in self.rows)

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self.rows
        )
        return f"<table><tbody>{cells}</tbody></table>"


def connection(profile: str | None = None) -> Connection:
    """Where this process is connected, what is running and what the cache holds. Asks nobody."""
    account = account_in_use(profile)
    settings = account.settings
    running = [job for job in account.journal.jobs() if job.unfinished]
    entries = account.cache.entries()
    size = sum(entry.manifest.size for entry in entries)
    return Connection(
        (
            ("API", settings.api_url + (" (the local demo service)" if is_demo() else "")),
            ("user", settings.username or "(not set)"),
            ("file server", f"{settings.sftp_host}:{settings.sftp_port}" if settings.sftp_host else "(not set)"),
            ("profile", settings.profile or "(none)"),
            ("running", ", ".join(job.report_id or job.state.value for job in running) or "nothing"),
            ("cache", f"{len(entries)} reports, {size / 1e6:,.1f} MB of {settings.cache_max_bytes / 1e9:,.0f} GB"),
            ("cache folder", str(account.cache.folder)),
        )
    )


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
