"""Waiting for the service: for a slot, for a report to end, for the place of its files.

Waits end: with an answer, with the user's deadline, or with a bound of their own. A lost answer to a question is
asked for again; no wait ever gives a report up.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from insights_nb.account import Account
from insights_nb.admission import post
from insights_nb.answers import Outcome, Status
from insights_nb.errors import (
    ApiError,
    BusyError,
    EmptyReportError,
    ReportError,
    ReportFailedError,
    ReportTimeoutError,
    UnknownReportError,
)
from insights_nb.journal import Job, State
from insights_nb.progress import Stage
from insights_nb.spec import Query
from insights_nb.watch import Watch

WAIT_SECONDS = 12 * 3600.0
SLOT_SECONDS = 3600.0
LOCATION_SECONDS = 300.0
GRACE_SECONDS = 60.0
LOST_POLLS = 20
EMPTY = (
    "the query matched no rows.",
    'Widen the range, loosen the filters, or say on_empty="frame" to get an empty table.',
)

_T = TypeVar("_T")


def wait_for_slot(account: Account, query: Query, watch: Watch) -> Job:
    """Submit a query, as soon as the service has a slot for it.

    Raises
    ------
    BusyError
        Every slot stayed taken for an hour.
    ReportTimeoutError
        The user's time is up.
    """
    bound = watch.elapsed() + SLOT_SECONDS
    pause = 2.0
    while True:
        try:
            return post(account, query)
        except BusyError:
            if watch.elapsed() + pause > bound:
                raise
        running = sum(job.unfinished for job in account.journal.jobs())
        watch.tell(stage=Stage.WAITING, note=f"{running} of ours running; the service takes 2 at a time")
        if not watch.pause(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load, guards nothing
            raise timed_out("", "no slot came free")
        pause = min(pause * 1.5, 60.0)


def wait_for_completion(account: Account, job: Job, watch: Watch) -> None:
    """Poll a report until it is complete.

    Raises
    ------
    EmptyReportError, ReportFailedError
        It ended without files; the journal says so too.
    ReportTimeoutError
        The user's time is up; the report goes on.
    UnknownReportError, ApiError
        The service does not know the report, or could not be asked twenty times in a row.
    """

    def ended() -> Status | None:
        status = account.client.status(job.report_id)
        return None if status.outcome is Outcome.RUNNING else status

    status = _ask_until(ended, account, job, watch, WAIT_SECONDS, "the service still works on it")
    if status.outcome is not Outcome.COMPLETED:
        raise _failure(account, job, status)


def wait_for_location(account: Account, job: Job, watch: Watch) -> list[str]:
    """Paths of a complete report's shards: the service may say Completed a moment before it says where.

    Raises
    ------
    ReportTimeoutError, UnknownReportError, ApiError
        As :func:`wait_for_completion`; the service has five minutes to say where.
    """
    where = partial(account.client.location, job.report_id)
    why = "it is complete, but the service does not say where its files are"
    return _ask_until(where, account, job, watch, LOCATION_SECONDS, why)


def _ask_until(ask: Callable[[], _T | None], account: Account, job: Job, watch: Watch, bound: float, why: str) -> _T:
    """Ask until there is an answer; a lost answer is asked for again."""
    lost, until = 0, watch.elapsed() + bound
    while True:
        ran = max(0.0, account.clock.now() - job.submitted)
        watch.tell(stage=Stage.RUNNING, report_id=job.report_id)
        answer = None
        try:
            answer = ask()
            lost = 0
        except UnknownReportError:
            # Right after our own POST the service may not see the report yet.
            if ran > GRACE_SECONDS:
                settle(account, job, State.LOST)
                raise
        except ApiError as error:
            lost += 1
            if not error.temporary or lost > LOST_POLLS:
                raise
        if answer is not None:
            return answer
        if watch.elapsed() > until or not watch.pause(poll_pause(ran, random.random())):  # noqa: S311
            raise timed_out(job.report_id, why)


def settle(account: Account, job: Job, state: State, messages: tuple[str, ...] = ()) -> None:
    """Write down how a report ended."""
    account.journal.save(replace(job, state=state, messages=messages), account.clock.now())


def timed_out(report_id: str, why: str) -> ReportTimeoutError:
    """The error for a wait that ended before the report did."""
    where = f"report {report_id} goes on on the service" if report_id else "the query was not taken by the service"
    return ReportTimeoutError(
        f"we stopped waiting: {why}; {where}.",
        "Ask the same query again to pick it up; timeout= says how long to wait.",
        report_id=report_id or None,
    )


def poll_pause(ran: float, chance: float) -> float:
    """Seconds until the next look at a running report.

    Often at first, then after a twelfth of the time it has run so far, at most a minute; spread by a fifth
    either way so that kernels do not ask in step.

    Parameters
    ----------
    ran : float
        Seconds since it was submitted.
    chance : float
        A random number from 0 to 1.
    """
    return min(max(0.3, ran / 12), 60.0) * (0.8 + 0.4 * chance)


def _failure(account: Account, job: Job, status: Status) -> ReportError:
    """The error for a report that ended without files, in the service's own words."""
    said = "; ".join(status.messages)
    if status.is_empty:
        settle(account, job, State.EMPTY, status.messages)
        message = f'{EMPTY[0]} The service said: "{said}".'
        return EmptyReportError(message, EMPTY[1], report_id=job.report_id, messages=status.messages)
    settle(account, job, State.FAILED, status.messages)
    verb = "canceled" if status.outcome is Outcome.CANCELED else "could not make"
    return ReportFailedError(
        f"the service {verb} report {job.report_id}" + (f': "{said}".' if said else " and gave no reason."),
        "A narrower range or fewer fields often help: a query that takes too long is canceled.",
        report_id=job.report_id,
        messages=status.messages,
    )
