"""Sending a query: once, whatever is killed or interrupted meanwhile, and only when a slot is likely to be free.

The service has no list of reports and no way to name a query of ours: the id in its answer is the only handle
there will ever be. So an intent is on disk before the POST, and the id before anything else happens. A query
whose answer was lost may be running all the same; it is sent once more after a time to settle, and not again.

The service takes two queries at a time and tells a third only "429". Kernels of this machine therefore queue by
the journal: who waited longest goes first, a kernel that died is passed over.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, auto

from insights_nb.account import Account
from insights_nb.cache import is_settled
from insights_nb.errors import ApiError, BusyError, CacheError, InsightsError
from insights_nb.journal import WORDS_SECONDS, Job, State
from insights_nb.spec import Query
from insights_nb.watch import shielded

SLOTS = 2
RESUBMISSIONS = 1


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


def post(account: Account, query: Query, *, refresh: bool = False) -> Job:
    """Send a query unless its report is already running, its slot is another's, or its last sending must settle.

    Parameters
    ----------
    account : Account
        Whose.
    query : Query
        What.
    refresh : bool, default False
        A report that is in the cache is no reason not to send.

    Returns
    -------
    Job
        RUNNING or READY with an id; DONE where it is in the cache by now; WAITING where no slot is free, with the
        service's refusal in ``messages`` where it was asked; AMBIGUOUS (or INTENT, of a killed kernel) where an answer
        was lost and must settle.

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
        own = _still_good(journal.load(query.digest), query, now)
        if own is not None and own.state is State.DONE and not refresh and account.cache.find(query.digest, now):
            # Published by another kernel since we looked.
            return own
        others = [job for job in journal.jobs() if job.digest != query.digest]
        since = own.submitted if own is not None and own.state is State.WAITING else now
        queued = Job(query.digest, query.text, query.asked, State.WAITING, since, now)
        verdict = decide(own, queued, others, lambda job: journal.is_driven(job.digest), now)
        if own is not None and verdict in (Verdict.PICK_UP, Verdict.SETTLE):
            return own
        if own is not None:
            # Asked for again by a person, after both lost ones had time to settle, the count begins anew.
            queued = replace(queued, lost=own.lost if own.lost <= RESUBMISSIONS else 0)
        if verdict is Verdict.QUEUE:
            # Looking again is no news; every record forced to the disk takes its time.
            unchanged = own is not None and own.state is State.WAITING and not own.messages
            return own if own is not None and unchanged else journal.save(queued, now)
        return shielded(lambda: _send(account, query, queued))


def _still_good(own: Job | None, query: Query, now: float) -> Job | None:
    """A record, or None for a report sent so long ago that a range still open then has gained rows since."""
    if own is None or own.state not in (State.RUNNING, State.READY):
        return own
    return own if is_settled(query.window[1], own.submitted) or now - own.submitted < WORDS_SECONDS else None


def _send(account: Account, query: Query, queued: Job) -> Job:
    """The POST between its two records."""
    journal, now = account.journal, account.clock.now()
    # An intent that is never answered counts as lost: a killed kernel cannot write that down any more.
    intent = journal.save(replace(queued, state=State.INTENT, submitted=now, lost=queued.lost + 1), now)
    try:
        report_id = account.client.submit(query.body)
    except BusyError as busy:
        return journal.save(replace(queued, messages=(busy.message,)), account.clock.now())
    except InsightsError as error:
        if not isinstance(error, ApiError) or not error.sent:
            journal.remove(query.digest)
            raise
        unknown = journal.save(replace(intent, state=State.AMBIGUOUS), account.clock.now())
        # Taken, but answered in a form we do not know: the next one would be answered so too.
        if unknown.lost > RESUBMISSIONS or error.status in (200, 201):
            raise
        return unknown
    running = replace(intent, state=State.RUNNING, report_id=report_id, lost=0)
    try:
        return journal.save(running, account.clock.now())
    except CacheError as error:
        # The id in hand is all there is of the report: go on with it, it is written down with the next step.
        warnings.warn(f"report {report_id} is running, but could not be written down: {error.message}", stacklevel=2)
        return running
