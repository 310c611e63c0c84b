"""A finished report whose files are on a real OpenSSH server: all of the way but the API's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ways import account_and_query

from insights_nb import pursuit
from insights_nb.access import Access
from insights_nb.journal import Job, State
from insights_nb.report import Report


def arriving(access: Access, remote: Sequence[str], root: Path) -> Report:
    """Return a report whose next step is to fetch its files.

    Parameters
    ----------
    access : Access
        The file server.
    remote : sequence of str
        The files there.
    root : Path
        The cache.
    """
    account, query = account_and_query(root)
    account.access = lambda: access
    # Two questions to the API, which has no part in what is measured.
    answers: Any = pursuit
    answers.wait_for_completion = lambda *_: None
    answers.wait_for_location = lambda *_: list(remote)
    return Report(account, query, job=Job(query.digest, query.text, query.asked, State.READY, 1.0, 0, "r"))
