"""What the API's answers mean: every documented shape, verbatim, and the ones nobody documented."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.answers import Answer, Outcome, Status, refusal
from insights_nb.errors import ApiError, AuthError, BusyError, InsightsError, QueryError, UnknownReportError

DOCUMENTED: list[tuple[int, Any, type[InsightsError], str]] = [
    (
        400,
        {
            "code": 400,
            "message": {
                "Date_Filters": {
                    "message": "Invalid date filters [2019-10-19 01:45:36.123Z]. They must be in ISO8601 format. "
                    "Example: 'YYYY-MM-DDTHH:MM:SSZ'",
                    "code": "422-6",
                }
            },
        },
        QueryError,
        "Invalid date filters [2019-10-19 01:45:36.123Z]. They must be in ISO8601 format.",
    ),
    (
        400,
        {
            "code": 400,
            "message": {
                "Operators": "Invalid operators [gte, lte], try to use any of these ($gte, $lte, $gt, $lt, $ne, $eq)."
            },
        },
        QueryError,
        "Invalid operators [gte, lte], try to use any of these",
    ),
    (
        400,
        {"code": 400, "message": "Application ExitEvent is not a valid schema name."},
        QueryError,
        "Application ExitEvent is not a valid schema name.",
    ),
    (400, {"code": 400, "message": "Flow Id is not a valid field."}, QueryError, "Flow Id is not a valid field."),
    (
        429,
        {"code": 429, "message": "max concurrent queries per user (2) reached"},
        BusyError,
        "max concurrent queries per user (2) reached",
    ),
    (
        500,
        [
            {
                "message": "could not get QueryRequest object: QueryRequest matching query does not exist.",
                "code": 500,
            }
        ],
        UnknownReportError,
        "could not get QueryRequest object: QueryRequest matching query does not exist.",
    ),
    (401, {"code": 401, "error": "Unauthorized"}, AuthError, "Unauthorized"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), DOCUMENTED)
def test_documented_errors_keep_the_vendors_words(
    status: int, body: Any, kind: type[InsightsError], words: str
) -> None:
    """Each shape of the Overview page raises its class, with the service's own sentence in it."""
    error = refusal(Answer(status, body), "the query")
    assert type(error) is kind
    assert words in str(error)


def test_a_429_names_both_causes() -> None:
    """Slots and the size limit send the same answer, so the message names both."""
    error = refusal(Answer(429, {"code": 429, "message": "max"}), "the query")
    assert "every slot" in str(error)
    assert "1 TB" in str(error)


@pytest.mark.parametrize("status", [200, 201])
def test_good_answers_are_no_refusal(status: int) -> None:
    """Any JSON with 200 or 201 passes; its form is for the caller."""
    assert refusal(Answer(status, {"id": "x"}), "the query") is None


@pytest.mark.parametrize(
    ("status", "payload", "temporary", "sent"),
    [(200, None, True, True), (503, None, True, True), (500, {"message": "oops"}, True, True), (404, {}, False, False)],
)
def test_whose_fault_and_whether_to_ask_again(status: int, payload: Any, temporary: bool, sent: bool) -> None:
    """A page that is no JSON and a 5xx may pass; after a 5xx the query may be running all the same."""
    error = refusal(Answer(status, payload), "the query")
    assert isinstance(error, ApiError)
    assert (error.temporary, error.sent, error.status) == (temporary, sent, status)


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("Completed", Outcome.COMPLETED),
        ("COMPLETED ", Outcome.COMPLETED),
        ("Failed", Outcome.FAILED),
        ("Canceled", Outcome.CANCELED),
        ("Cancelled", Outcome.CANCELED),
        ("Pending", Outcome.RUNNING),
        ("Processing", Outcome.RUNNING),
        ("Paused for lunch", Outcome.RUNNING),
        ("", Outcome.RUNNING),
    ],
)
def test_status_words(word: str, outcome: Outcome) -> None:
    """Three words end a report, in any case; every other one means it is still running."""
    assert Status(word).outcome is outcome


def test_empty_is_told_from_failed() -> None:
    """The documented Failed body means no rows; other failures are failures."""
    documented = ("Query range to wide", "All data fields have empty values, advise adding core fields")
    assert Status("Failed", documented).is_empty
    assert not Status("Failed", ("Query range to wide",)).is_empty
    assert not Status("Failed").is_empty
    assert not Status("Completed", documented).is_empty


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "code", "error", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.integers(100, 599), JSON)
def test_any_answer_gets_a_verdict(status: int, payload: Any) -> None:
    """Law: whatever comes, the verdict is one of our errors or none, and none only for JSON with a 2xx."""
    error = refusal(Answer(status, payload), "the query")
    assert (error is None) == (200 <= status < 300 and payload is not None)
    assert error is None or (isinstance(error, InsightsError) and str(error))
