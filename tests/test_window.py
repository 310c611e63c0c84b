"""Time ranges as people write them."""

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.window import api_form, from_api_form, parse_length, parse_moment, resolve_window

NOW = datetime(2026, 11, 24, 14, 30, 15, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-24", "2026-11-24T00:00:00Z"),
        ("2026-11-24T14:00", "2026-11-24T14:00:00Z"),
        ("2026-11-24 14:00:07", "2026-11-24T14:00:07Z"),
        ("2026-11-24T14:00:07Z", "2026-11-24T14:00:07Z"),
        ("2026-11-24T14:00:07+02:00", "2026-11-24T12:00:07Z"),
        (datetime(2026, 11, 24, 14), "2026-11-24T14:00:00Z"),
        (datetime(2026, 11, 24, 14, tzinfo=timezone(timedelta(hours=-5))), "2026-11-24T19:00:00Z"),
        (pd.Timestamp("2026-11-24T14:00:00.000000123"), "2026-11-24T14:00:00Z"),
        (pd.Timestamp("2026-11-24T14:00", tz="US/Eastern"), "2026-11-24T19:00:00Z"),
        (date(2026, 11, 24), "2026-11-24T00:00:00Z"),
        ("now", "2026-11-24T14:30:15Z"),
        ("-24h", "2026-11-23T14:30:15Z"),
        ("-1d12h", "2026-11-23T02:30:15Z"),
        ("- 90 m", "2026-11-24T13:00:15Z"),
    ],
)
def test_a_moment_in_every_form(written: object, meant: str) -> None:
    """ISO text, Python's and pandas' times, and words relative to now; no offset means UTC."""
    moment, relative = parse_moment(written, NOW.replace(microsecond=0))  # type: ignore[arg-type]
    assert api_form(moment) == meant
    assert relative == (isinstance(written, str) and (written.startswith("-") or written == "now"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("24h", 'is a length, not a moment; for a time ago write "-24h"'),
        ("yesterday", "is no time; write ISO text"),
        ("2026-13-01", "is no time"),
        (7, "7 is no time"),
        (pd.NaT, "a time is missing (NaT)"),
    ],
)
def test_a_moment_that_is_none_says_what_to_write(written: object, said: str) -> None:
    """The message shows the forms."""
    with pytest.raises(ValueError) as caught:
        parse_moment(written, NOW)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_lengths() -> None:
    """Units add up; a timedelta is taken as it is."""
    assert parse_length("1d12h") == timedelta(hours=36)
    assert parse_length("90M") == timedelta(minutes=90)
    assert parse_length(pd.Timedelta("2h")) == timedelta(hours=2)
    for wrong in ("", "0h", "1y", "-1h", timedelta(0), 5):
        with pytest.raises(ValueError):
            parse_length(wrong)  # type: ignore[arg-type]


def test_last_ends_now() -> None:
    """A range said by its length ends at this second and counts as relative."""
    window = resolve_window(None, None, "24h", NOW)
    assert window is not None
    assert (api_form(window.start), api_form(window.end)) == ("2026-11-23T14:30:15Z", "2026-11-24T14:30:15Z")
    assert window.relative


def test_fractions_never_lose_what_was_asked_for() -> None:
    """The start goes down and the end up to a whole second."""
    window = resolve_window("2026-11-24T10:00:00.9", "2026-11-24T11:00:00.1", None, NOW)
    assert window is not None
    assert (api_form(window.start), api_form(window.end)) == ("2026-11-24T10:00:00Z", "2026-11-24T11:00:01Z")
    assert not window.relative


def test_no_words_no_range() -> None:
    """Without any keyword the range must be in the JSON."""
    assert resolve_window(None, None, None, NOW) is None


@pytest.mark.parametrize(
    ("since", "until", "last", "said"),
    [
        ("-1h", None, "1h", "leave out since and until"),
        (None, "now", None, "until needs a since"),
        ("now", "-1h", None, "after its end"),
    ],
)
def test_contradictions(since: str | None, until: str | None, last: str | None, said: str) -> None:
    """Keywords that contradict each other are refused."""
    with pytest.raises(ValueError, match=said):
        resolve_window(since, until, last, NOW)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)))
def test_the_api_form_reads_back(moment: datetime) -> None:
    """Law: writing a whole second and reading it gives the same second."""
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    assert from_api_form(api_form(whole)) == whole


@given(st.text(max_size=25))
def test_the_api_form_takes_nothing_else(text: str) -> None:
    """Law: what reads as the API's form is exactly what it writes."""
    moment = from_api_form(text)
    assert moment is None or api_form(moment) == text
