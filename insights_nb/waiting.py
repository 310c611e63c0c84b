"""Waiting for the service: for a slot, for a report to end, for the place of its files.

Waits end: with an answer, with the user's deadline, or with a bound of their own. A lost answer to a question is
asked for again; no wait ever gives a report up.
"""

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from insights_nb.account import Account
from insights_nb.admission import SLOTS, post
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
BUSY_HINT = (
    "Wait for the running reports to finish (another user or machine may hold the slots), or narrow the query's range "
    "and fields: one over the limit never gets in."
)
_LOST_ANSWER = (
    "the answer to our query was lost, so it may be running all the same and hold one of two slots; it is sent once "
    "more in {:.0f} s, and not again."
)

_T = TypeVar("_T")


def wait_for_slot(account: Account, query: Query, watch: Watch) -> Job:
    """Submit a query, as soon as it is its turn and the service has a slot for it.

    Raises
    ------
    BusyError
        The service refused for an hour although none of ours was running.
    ReportTimeoutError
        The user's time is up.
    ApiError
        The answer was lost twice; or the service cannot be reached.
    """
    alone, pause, warned = watch.elapsed(), 2.0, False
    next_look: dict[str, float] = {}
    while True:
        job = post(account, query)
        if job.report_id:
            return job
        now = account.clock.now()
        if settles := job.settles(now):
            if not warned:
                warnings.warn(_LOST_ANSWER.format(settles), UserWarning, stacklevel=2)
                warned = True
            watch.tell(stage=Stage.WAITING, note=f"an answer was lost; our query is sent once more in {settles:.0f} s")
            enough = watch.pause(settles)
        else:
            others = [other for other in account.journal.jobs() if other.digest != query.digest]
            running = [other for other in others if other.occupies(now)]
            _look_after(account, running, next_look)
            if running:
                alone = watch.elapsed()
            elif watch.elapsed() - alone > SLOT_SECONDS:
                raise BusyError(job.messages[0] if job.messages else "every slot stayed taken.", BUSY_HINT)
            ids = ", ".join(other.report_id[:8] for other in running if other.report_id)
            held = f"{len(running)} of ours running{f' ({ids})' if ids else ''}"
            watch.tell(stage=Stage.WAITING, note=f"{held}, the service takes {SLOTS} at a time")
            # Asking the service costs it something; looking into our own journal does not.
            enough = watch.pause(pause * random.uniform(0.8, 1.2) if job.messages else 0.3)  # noqa: S311
            pause = min(pause * 1.5, 60.0) if job.messages else 2.0
        if not enough:
            raise timed_out("", "no slot came free")


def _look_after(account: Account, running: Sequence[Job], next_look: dict[str, float]) -> None:
    """Ask for the reports no living kernel polls: one that has ended frees its slot only when somebody reads so."""
    for job in running:
        now = account.clock.now()
        if job.state is not State.RUNNING or now < next_look.get(job.digest, 0.0):
            continue
        driver = account.journal.driver(job.digest)
        try:
            # Its kernel may have seen it through since we read its record.
            if not driver.try_acquire() or account.journal.load(job.digest) != job:
                continue
            status = account.client.status(job.report_id)
            if status.outcome is Outcome.COMPLETED:
                settle(account, job, State.READY)
            elif status.outcome is not Outcome.RUNNING:
                _failure(account, job, status)
        except UnknownReportError:
            settle(account, job, State.LOST)
        except ApiError:
            pass  # asked again at the next look
        finally:
            driver.release()
        next_look[job.digest] = now + poll_pause(now - job.submitted, random.random())  # noqa: S311


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

    if job.state is State.READY:  # read once, it never goes back
        return
    status = _ask_until(ended, account, job, watch, WAIT_SECONDS, "the service still works on it")
    if status.outcome is not Outcome.COMPLETED:
        raise _failure(account, job, status)
    settle(account, job, State.READY)  # its slot is free for the next, while we fetch


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
    """Write down where a report is, unless the question has got another report since."""
    known = account.journal.load(job.digest)
    if known is None or known.report_id in ("", job.report_id):
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
