"""Client and service are two witnesses of the API page: one table on which both must agree.

A row is a query and whether it is one. The service judges by rules of its own; where it refuses, its answer is
the documented body, and the client's reading of the same query finds a problem too, before anything is sent.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from insights_nb.body import check_body
from insights_nb.catalog import DOCUMENTED, Schema
from insights_nb.simulator import Simulator
from tests.service import BODY, RANGE, service

FLOW = {"FlowId": {"$eq": "5dcf48b453e0ab04386da7d1"}}
EXIT = "ApplicationExitEvent"

TABLE: list[tuple[str, dict[str, Any], bool]] = [
    ("minimal", BODY, True),
    ("exclusive bounds", {**BODY, "timestamp": {"$gt": RANGE["$gte"], "$lt": RANGE["$lte"]}}, True),
    ("common fields of every event", {**BODY, "data": {"CallEvent": {"fields": ["SessionId"]}}}, True),
    ("two events", {**BODY, "data": {EXIT: {"fields": ["Path"]}, "DtmfEvent": {"fields": ["DtmfInput"]}}}, True),
    ("filters", {**BODY, "filters": {EXIT: FLOW}}, True),
    ("empty filters", {**BODY, "filters": {}}, True),
    ("an empty list of fields", {**BODY, "data": {EXIT: {"fields": []}}}, False),
    ("an unknown part", {**BODY, "filter": {}}, False),
    ("a number for a text field", {**BODY, "filters": {EXIT: {"EventVersion": {"$eq": "one"}}}}, False),
    ("null as a value", {**BODY, "filters": {EXIT: {"FlowId": {"$eq": None}}}}, False),
    ("a scope without criteria", {**BODY, "scope": {"filters": {}, "scope": "SessionId"}}, False),
    ("every operator", {**BODY, "filters": {EXIT: {"EventVersion": {"$gte": 1, "$lt": 9, "$ne": 5}}}}, True),
    ("scope by event", {**BODY, "scope": {"filters": {EXIT: FLOW}, "scope": "SessionId"}}, True),
    ("scope in a list", {**BODY, "scope": {"filters": {EXIT: FLOW}, "scope": ["SessionId"]}}, True),
    (
        "scope directly by session",
        {**BODY, "scope": {"filters": {"SessionId": {"$eq": "a"}}, "scope": "SessionId"}},
        True,
    ),
    ("no timestamp", {"data": BODY["data"]}, False),
    ("no data", {"timestamp": RANGE}, False),
    ("date with a fraction", {**BODY, "timestamp": {**RANGE, "$gte": "2019-10-19 01:45:36.123Z"}}, False),
    ("date alone", {**BODY, "timestamp": {**RANGE, "$gte": "2019-10-19"}}, False),
    ("no such day", {**BODY, "timestamp": {**RANGE, "$gte": "2019-02-30T00:00:00Z"}}, False),
    ("operators without $", {**BODY, "timestamp": {"gte": RANGE["$gte"], "lte": RANGE["$lte"]}}, False),
    ("an operator of MongoDB's that is not here", {**BODY, "filters": {EXIT: {"FlowId": {"$in": ["a"]}}}}, False),
    ("event with a space", {**BODY, "data": {"Application ExitEvent": {"fields": ["FlowId"]}}}, False),
    ("event in other case", {**BODY, "data": {"dtmfEvent": {"fields": ["FlowId"]}}}, False),
    ("field with a space", {**BODY, "data": {EXIT: {"fields": ["Flow Id"]}}}, False),
    ("field of another event", {**BODY, "data": {"DtmfEvent": {"fields": ["ExitReason"]}}}, False),
    ("filter on an unknown field", {**BODY, "filters": {EXIT: {"Flow": {"$eq": "a"}}}}, False),
    ("scope without filters", {**BODY, "scope": {"scope": "SessionId"}}, False),
    ("scope without scope", {**BODY, "scope": {"filters": {EXIT: FLOW}}}, False),
]

VERBATIM: dict[str, dict[str, Any]] = {
    "date with a fraction": {
        "code": 400,
        "message": {
            "Date_Filters": {
                "message": "Invalid date filters [2019-10-19 01:45:36.123Z]. They must be in ISO8601 format. "
                "Example: 'YYYY-MM-DDTHH:MM:SSZ'",
                "code": "422-6",
            }
        },
    },
    "operators without $": {
        "code": 400,
        "message": {
            "Operators": "Invalid operators [gte, lte], try to use any of these ($gte, $lte, $gt, $lt, $ne, $eq)."
        },
    },
    "event with a space": {"code": 400, "message": "Application ExitEvent is not a valid schema name."},
    "field with a space": {"code": 400, "message": "Flow Id is not a valid field."},
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with service(slots=1000) as found:
        yield found


@pytest.fixture(scope="module")
def http(simulator: Simulator) -> Iterator[requests.Session]:
    settings = simulator.settings
    login = {"username": settings["username"], "password": settings["password"]}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{settings['auth_url']}/_rest/v4/authenticate", json=login, timeout=10)
        session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield session


@pytest.mark.parametrize(("name", "body", "valid"), TABLE, ids=[name for name, _, _ in TABLE])
def test_client_and_service_agree(
    simulator: Simulator, http: requests.Session, name: str, body: dict[str, Any], valid: bool
) -> None:
    """Both witnesses give the same verdict, and the documented refusals come word for word."""
    answer = http.post(f"{simulator.settings['api_url']}/_rest/v4/dwh/Q", json=body, timeout=10)
    assert (answer.status_code == 201) == valid, answer.text
    assert (check_body(body, DOCUMENTED) == []) == valid, check_body(body, DOCUMENTED)
    if name in VERBATIM:
        assert (answer.status_code, answer.json()) == (400, VERBATIM[name])


def test_the_service_lists_the_documented_schema(simulator: Simulator, http: requests.Session) -> None:
    """GET Q names each event's own fields alone, as the vendor's example does."""
    answer = http.get(f"{simulator.settings['api_url']}/_rest/v4/dwh/Q", timeout=10).json()
    assert Schema.from_answer(answer) == DOCUMENTED
    assert answer["DtmfEvent"] == {"fields": ["DtmfInput", "DtmfSource", "ErrorReason"]}
