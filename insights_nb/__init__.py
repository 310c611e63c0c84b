"""IntelePeer Insights in a notebook: one cell from a query to a DataFrame, its sessions and their charts.

>>> import insights_nb as insights
>>> insights.query(events="ApplicationExitEvent", last="24h")  # doctest: +SKIP
"""

from typing import Any

import insights_nb.accessor  # noqa: F401 - registers df.insights
from insights_nb.catalog import Schema
from insights_nb.connect import configure, demo
from insights_nb.errors import (
    ApiError,
    AuthError,
    BusyError,
    CacheError,
    ConfigError,
    EmptyReportError,
    FrameError,
    HostKeyError,
    InsightsError,
    IntegrityError,
    QueryError,
    ReportError,
    ReportFailedError,
    ReportTimeoutError,
    ReportTooLargeError,
    TransferError,
    UnknownReportError,
)
from insights_nb.inventory import cache_info, clear_cache, info, jobs
from insights_nb.notebook import gather, query, schema, submit
from insights_nb.report import Report
from insights_nb.sessions import session_log

__all__ = [
    "ApiError",
    "AuthError",
    "BusyError",
    "CacheError",
    "ConfigError",
    "EmptyReportError",
    "FrameError",
    "HostKeyError",
    "InsightsError",
    "IntegrityError",
    "QueryError",
    "Report",
    "ReportError",
    "ReportFailedError",
    "ReportTimeoutError",
    "ReportTooLargeError",
    "Schema",
    "TransferError",
    "UnknownReportError",
    "cache_info",
    "clear_cache",
    "configure",
    "demo",
    "gather",
    "info",
    "jobs",
    "load_ipython_extension",
    "query",
    "schema",
    "session_log",
    "submit",
    "unload_ipython_extension",
]
__version__ = "0.1.0"


def load_ipython_extension(ipython: Any) -> None:
    """Register ``%%insights`` and ``%insights``: ``%load_ext insights_nb``."""
    from insights_nb.magic import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``%%insights`` and ``%insights`` away again: ``%unload_ext insights_nb``."""
    from insights_nb.magic import unload_ipython_extension as unload

    unload(ipython)
