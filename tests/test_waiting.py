"""Waiting for the service."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.account import Account
from insights_nb.answers import Status
from insights_nb.journal import Job, State
from insights_nb.settings import resolve
from insights_nb.waiting import _look_after, poll_pause, settle, timed_out


def test_poll_pauses_grow_with_the_run() -> None:
    """Soon at first, a twelfth of the run later, a minute at most, a fifth either way."""
    assert poll_pause(0, 0.5) == pytest.approx(0.3)
    assert poll_pause(120, 0.5) == pytest.approx(10)
    assert poll_pause(1e6, 0.5) == pytest.approx(60)
    assert poll_pause(120, 0) == pytest.approx(8)
    assert poll_pause(120, 1) == pytest.approx(12)


@given(st.floats(0, 1e9), st.floats(0, 1))
def test_a_finished_report_is_noticed_soon(ran: float, chance: float) -> None:
    """Law: never later than a second or a tenth of the run, as long as that is under a minute."""
    rounding = 1e-9
    assert 0.2 <= poll_pause(ran, chance) <= min(72.0, max(1.0, 0.1 * ran)) * (1 + rounding)


def test_a_timeout_says_what_goes_on() -> None:
    """With an id the report goes on; without one nothing was taken."""
    assert "report abc goes on on the service" in str(timed_out("abc", "why"))
    assert "the query was not taken by the service" in str(timed_out("", "why"))


def test_the_end_of_an_old_report_is_not_written_over_a_newer_one(tmp_path: Path) -> None:
    """A kernel that comes late with news of a report that was replaced leaves the record alone."""
    account = Account(resolve({"cache_dir": tmp_path}, environ={"INSIGHTS_CONFIG": ""}))
    old = Job("d" * 64, "{}", "", State.RUNNING, 1.0, 1.0, report_id="old")
    account.journal.save(replace(old, report_id="new"), 2.0)
    settle(account, old, State.READY)
    kept = account.journal.load(old.digest)
    assert kept is not None
    assert (kept.report_id, kept.state) == ("new", State.RUNNING)
    settle(account, kept, State.READY)
    kept = account.journal.load(old.digest)
    assert kept is not None
    assert kept.state is State.READY


def test_a_report_its_kernel_saw_through_meanwhile_is_not_looked_after(tmp_path: Path) -> None:
    """Between our reading its record and our taking its lock, the driver finished: nothing is asked or written."""
    account = Account(resolve({"cache_dir": tmp_path}, environ={"INSIGHTS_CONFIG": ""}))
    job = account.journal.save(Job("d" * 64, "{}", "", State.RUNNING, 1.0, 1.0, report_id="id"), 1.0)
    account.journal.save(replace(job, state=State.DONE), 2.0)

    def fail(report_id: str) -> Status:
        raise AssertionError("asked")

    account.client.status = fail  # type: ignore[method-assign]
    _look_after(account, [job], {})
    kept = account.journal.load(job.digest)
    assert kept is not None
    assert kept.state is State.DONE
