"""Every way this package can fail.

::

    InsightsError
    ├── ConfigError            a setting is missing, unreadable or contradicts another
    ├── QueryError             the query does not fit the schema; .problems lists all of them
    ├── ApiError               the API answered with something unexpected; .status
    │   ├── AuthError          wrong user, password or expired token
    │   ├── BusyError          every slot stayed taken (or the query is over the size limit: both send 429)
    │   └── UnknownReportError the API does not know this report id
    ├── ReportError            the report did not complete; .report_id
    │   ├── EmptyReportError   the query matched no rows
    │   ├── ReportFailedError  the API gave up; .messages
    │   ├── ReportTimeoutError we stopped waiting; ask again to resume (also a TimeoutError)
    │   └── ReportTooLargeError it does not fit into memory; nothing was read (also a MemoryError)
    ├── TransferError          a shard could not be fetched
    │   ├── HostKeyError       the file server is not the one we expect
    │   └── IntegrityError     a shard is missing, short, or fails its checks
    ├── CacheError             the disk said no (full, read-only, not ours)
    └── FrameError             a file or frame lacks what the schema promises

    Stopped                    the Stop button (a KeyboardInterrupt, so that no ``except Exception`` swallows it)

A message says what happened and what it means; ``hint`` says what to do next. In a notebook the cell fails
with those lines alone; ``%tb`` shows the whole traceback.
"""

import traceback
from collections.abc import Sequence


class InsightsError(Exception):
    """Base class of every error this package raises on purpose.

    Parameters
    ----------
    message : str
        What happened, and what it means.
    hint : str, default ""
        What to do next; shown on a line of its own.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        return _rendered(self)


class Stopped(KeyboardInterrupt):
    """The Stop button, with what goes on on the service and how to pick it up; a cell shows that and no frames."""

    def _render_traceback_(self) -> list[str]:
        return _rendered(self)


# What a kernel tells its front end: some know an interrupted cell by this name.
Stopped.__name__ = KeyboardInterrupt.__name__


def _rendered(error: BaseException) -> list[str]:
    """What IPython shows in place of a traceback: our lines alone, or the whole story when ``%tb`` asks.

    One text: IPython joins several with a line end or, in Plain mode, with nothing.
    """
    if _asked_by_tb_magic():
        return ["".join(traceback.format_exception(error)).rstrip()]
    notes: list[str] = getattr(error, "__notes__", [])
    return ["\n".join([f"{type(error).__name__}: {error}", *notes])]


def _asked_by_tb_magic() -> bool:
    """Whether IPython's ``%tb`` is on the stack: it renders through the same hook as a failing cell."""
    return any(
        frame.f_code.co_name == "tb" and frame.f_globals.get("__name__", "").startswith("IPython.")
        for frame, _ in traceback.walk_stack(None)
    )


class ConfigError(InsightsError):
    """A setting is missing, unreadable or contradicts another."""


class QueryError(InsightsError):
    """The query does not fit the schema.

    Parameters
    ----------
    problems : sequence of str
        Everything found wrong, each with its JSON path and, where there is one, the nearest valid name.
    hint : str, default ""
        What to do next.
    """

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        self.problems = list(problems)
        lead = "the query has a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        if len(self.problems) == 1:
            message = f"{lead}: {self.problems[0]}"
        else:
            message = f"the query has {lead}:\n" + "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(message, hint)

    def __reduce__(self) -> tuple[type["QueryError"], tuple[list[str], str]]:
        return type(self), (self.problems, self.hint)


class ApiError(InsightsError):
    """The API answered with something unexpected.

    Parameters
    ----------
    message, hint : str
        As in :class:`InsightsError`.
    status : int or None
        The HTTP status, or None when no answer came.
    temporary : bool
        Whether the same request may well succeed later.
    sent : bool
        Whether the service may have taken the request although no good answer came.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int | None = None,
        temporary: bool = False,
        sent: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.temporary = temporary
        self.sent = sent


class AuthError(ApiError):
    """Wrong user, password or expired token."""


class BusyError(ApiError):
    """Every slot stayed taken, or the query is over the size limit: the API answers 429 to both."""


class UnknownReportError(ApiError):
    """The API does not know this report id."""


class ReportError(InsightsError):
    """The report did not complete.

    Parameters
    ----------
    message, hint : str
        As in :class:`InsightsError`.
    report_id : str or None
        The service's id of the report.
    messages : sequence of str
        The service's own words, where it gave any.
    """

    def __init__(
        self, message: str, hint: str = "", *, report_id: str | None = None, messages: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint)
        self.report_id = report_id
        self.messages = list(messages)


class EmptyReportError(ReportError):
    """The query matched no rows."""


class ReportFailedError(ReportError):
    """The API gave up on the report; ``messages`` holds its words."""


class ReportTimeoutError(ReportError, TimeoutError):
    """We stopped waiting. The report goes on; asking again picks it up."""


class ReportTooLargeError(ReportError, MemoryError):
    """The report does not fit into this machine's memory; it is on disk, and nothing was read."""


class TransferError(InsightsError):
    """A shard could not be fetched."""


class HostKeyError(TransferError):
    """The file server is not the one we expect."""


class IntegrityError(TransferError):
    """A shard is missing, short, or fails its checks.

    Parameters
    ----------
    message, hint : str
        As in :class:`InsightsError`.
    missing : bool
        Whether the file server does not have it (yet), rather than that its content is wrong.
    """

    def __init__(self, message: str, hint: str = "", *, missing: bool = False) -> None:
        super().__init__(message, hint)
        self.missing = missing


class CacheError(InsightsError):
    """The disk said no: full, read-only, or not ours."""


class FrameError(InsightsError):
    """A file or frame lacks what the schema promises."""
