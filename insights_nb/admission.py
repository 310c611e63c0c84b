"""Sending a query: once, whatever is killed or interrupted meanwhile.

The service has no list of reports and no way to name a query of ours: the id in its answer is the only handle
there will ever be. So an intent is on disk before the POST, and the id before anything else happens.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from insights_nb.account import Account
from insights_nb.errors import ApiError, QueryError
from insights_nb.journal import Job, State
from insights_nb.spec import Query

_T = TypeVar("_T")


def post(account: Account, query: Query) -> Job:
    """Send a query unless its report is already running; its id is on disk when this returns.

    The POST and the record of its answer run in a thread of their own: an interrupt during them waits for the
    id to be written, since the service has no list to find it in again. A second interrupt does not wait.
    """
    with account.journal.admission():
        known = account.journal.load(query.digest)
        if known is not None and known.state is State.RUNNING:
            return known
        now = account.clock.now()
        intent = Job(query.digest, query.text, query.asked, State.INTENT, now, now)
        account.journal.save(intent, now)

        def send() -> Job:
            try:
                report_id = account.client.submit(query.body)
            except (ApiError, QueryError) as error:
                # Only a refusal proves that no report runs for us; a lost answer leaves the intent standing.
                if not (isinstance(error, ApiError) and error.sent):
                    account.journal.remove(query.digest)
                raise
            return account.journal.save(replace(intent, state=State.RUNNING, report_id=report_id), account.clock.now())

        return _shielded(send)


def _shielded(work: Callable[[], _T]) -> _T:
    """Run a piece of work to its end although the user may press Stop meanwhile; then heed the Stop."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
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
