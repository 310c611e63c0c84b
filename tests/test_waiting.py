"""Waiting for the service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.waiting import poll_pause, timed_out


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
