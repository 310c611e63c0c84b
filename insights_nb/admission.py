"""Sending a query: once, whatever is killed or interrupted meanwhile, and only when a slot is likely to be free.

The service has no list of reports and no way to name a query of ours: the id in its answer is the only handle
there will ever be. So an intent is on disk before the POST, and the id before anything else happens. A query
whose answer was lost may be running all the same; it is sent once more after a time to settle, and not again.

The service takes two queries at a time and tells a third only "429". Kernels of this machine therefore queue by
the journal: who waited longest goes first, a kernel that died is passed over.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, TypeVar

from insights_nb.account import Account
from insights_nb.errors import ApiError, BusyError, QueryError
from insights_nb.journal import UNCERTAIN, Job, State
from insights_nb.spec import Query

SLOTS = 2
RESUBMISSIONS = 1

_T = TypeVar("_T")


class Verdict(Enum):
    """What to do with a query."""

    PICK_UP = auto()
    SETTLE = auto()
    QUEUE = auto()
    SEND = auto()


def decide(own: Job | None, queued: Job, others: Sequence[Job], is_alive: Callable[[Job], bool], now: float) -> Verdict:
    """Whether a query is sent now.

    Parameters
    ----------
    own : Job or None
        Its record, from earlier.
    queued : Job
        The record it waits with: its place in the queue.
    others : sequence of Job
        Every other record of the account.
    is_alive : callable
        Whether a living kernel waits with a record; asked only of those ahead in the queue.
    now : float
        Unix time.
    """
    if own is not None and own.state in (State.RUNNING, State.READY):
        return Verdict.PICK_UP
    if own is not None and own.settles(now) > 0:
        return Verdict.SETTLE
    free = SLOTS - sum(job.occupies(now) for job in others)
    place = (queued.submitted, queued.digest)
    ahead = [job for job in others if job.state is State.WAITING and (job.submitted, job.digest) < place]
    if free <= 0 or sum(map(is_alive, ahead)) >= free:
        return Verdict.QUEUE
    return Verdict.SEND


def post(account: Account, query: Query) -> Job:
    """Send a query unless its report is already running, its slot is another's, or its last sending must settle.

    Returns
    -------
    Job
        RUNNING or READY with an id; WAITING where no slot is free, with the service's refusal in ``messages`` where
        it was asked; AMBIGUOUS (or INTENT, of a killed kernel) where an answer was lost and must settle.

    Raises
    ------
    QueryError, ApiError
        The service refused the query, or was certainly not reached.
    ApiError
        With ``sent`` true: the answer was lost a second time.
    """
    journal = account.journal
    with journal.admission():
        now = account.clock.now()
        own = journal.load(query.digest)
        others = [job for job in journal.jobs() if job.digest != query.digest]
        since = own.submitted if own is not None and own.state is State.WAITING else now
        queued = Job(query.digest, query.text, query.asked, State.WAITING, since, now)
        verdict = decide(own, queued, others, lambda job: journal.is_driven(job.digest), now)
        if own is not None and verdict in (Verdict.PICK_UP, Verdict.SETTLE):
            return own
        if verdict is Verdict.QUEUE:
            return journal.save(queued, now)
        lost = own.lost if own is not None and own.state in UNCERTAIN else 0
        if lost > RESUBMISSIONS:  # asked for again by a person, after both had time to settle
            lost = 0
        return _shielded(lambda: _send(account, query, queued, lost))


def _send(account: Account, query: Query, queued: Job, lost: int) -> Job:
    """The POST between its two records."""
    journal, now = account.journal, account.clock.now()
    # An intent that is never answered counts as lost: a killed kernel cannot write that down any more.
    intent = journal.save(replace(queued, state=State.INTENT, submitted=now, lost=lost + 1), now)
    try:
        report_id = account.client.submit(query.body)
    except BusyError as busy:
        return journal.save(replace(queued, messages=(busy.message,)), account.clock.now())
    except QueryError:
        journal.remove(query.digest)
        raise
    except ApiError as error:
        if not error.sent:
            journal.remove(query.digest)
            raise
        unknown = journal.save(replace(intent, state=State.AMBIGUOUS), account.clock.now())
        if unknown.lost > RESUBMISSIONS:
            raise
        return unknown
    return journal.save(replace(intent, state=State.RUNNING, report_id=report_id, lost=0), account.clock.now())


def _shielded(work: Callable[[], _T]) -> _T:
    """Run a piece of work to its end although the user may press Stop meanwhile; then heed the Stop.

    The service has no list to find a lost id in again. A second interrupt does not wait.
    """
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:  # handed to the caller's thread whole
            outcome.append((False, error))

    thread = threading.Thread(target=run, name="insights-submit", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        thread.join()
        raise
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    result: _T = value
    return result
