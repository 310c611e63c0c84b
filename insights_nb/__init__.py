"""IntelePeer Insights in a notebook: one cell from a query to a DataFrame, its sessions and their charts.

>>> import insights_nb as insights
>>> insights.query(events="ApplicationExitEvent", last="24h")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
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
    from insights_nb.sessions import OutcomeRules, session_log

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
    "OutcomeRules",
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

# A name is fetched from its room when it is first used (PEP 562), so that an import costs little more than pandas'.
_ROOMS = {
    "accessor": "session_log",
    "catalog": "Schema",
    "connect": "configure demo",
    "errors": (
        "ApiError AuthError BusyError CacheError ConfigError EmptyReportError FrameError HostKeyError InsightsError "
        "IntegrityError QueryError ReportError ReportFailedError ReportTimeoutError ReportTooLargeError TransferError "
        "UnknownReportError"
    ),
    "inventory": "cache_info clear_cache info jobs",
    "notebook": "gather query schema submit",
    "report": "Report",
    "sessions": "OutcomeRules",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)


class _FirstUse:
    """``df.insights`` until it is first looked at, when the accessor comes and takes this place."""

    def __get__(self, frame: pd.DataFrame | None, kind: type) -> Any:
        if vars(pd.DataFrame).get("insights") is self:
            del pd.DataFrame.insights  # type: ignore[attr-defined]
            import_module(f"{__name__}.accessor").register()
        return getattr(kind if frame is None else frame, "insights")  # noqa: B009 - mypy knows no such attribute


if "insights" not in vars(pd.DataFrame):
    pd.DataFrame.insights = _FirstUse()  # type: ignore[attr-defined]
else:
    # A stranger's, which pandas warns of; or ours, before a reload.
    import_module(f"{__name__}.accessor").register()


def load_ipython_extension(ipython: Any) -> None:
    """Register ``%%insights`` and ``%insights``: ``%load_ext insights_nb``."""
    from insights_nb.magic import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``%%insights`` and ``%insights`` away again: ``%unload_ext insights_nb``."""
    from insights_nb.magic import unload_ipython_extension as unload

    unload(ipython)
